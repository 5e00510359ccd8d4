/* Runs a command in a microVM, with a directory of the host at /workspace.
 *
 *     cc launch.c $(pkg-config --cflags --libs krundl) -o launch
 *     ./launch ROOT DIRECTORY COMMAND [ARGUMENT...]
 *
 * The exit status is the workload's own; krundl's failures are 125.
 */
#include <krundl.h>
#include <stdio.h>

static int failed(krundl_error *error) {
    fprintf(stderr, "launch: %s\n", krundl_error_message(error));
    for (size_t i = 0; i < krundl_error_problem_count(error); i++)
        if (krundl_error_problem_function(error, i))
            fprintf(stderr, "launch: %s takes %s of libkrun %s\n", krundl_error_problem_field(error, i),
                    krundl_error_problem_function(error, i), krundl_error_problem_since(error, i));
    krundl_error_free(error);
    return 125;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: launch ROOT DIRECTORY COMMAND [ARGUMENT...]\n");
        return 2;
    }
    krundl_error *error = NULL;
    krundl_probe *probe = NULL;
    if (krundl_probe_new(NULL, &probe, &error))
        return failed(error);

    /* What is wrong with any of these is told by krundl_plan_new, all at once. */
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, argv[1], false);
    krundl_spec_add_mount(spec, argv[2], "/workspace", false);
    krundl_spec_set_exec(spec, argv[3]);
    for (int i = 4; i < argc; i++)
        krundl_spec_add_arg(spec, argv[i]);

    krundl_plan *plan = NULL;
    krundl_status planned = krundl_plan_new(probe, spec, &plan, &error);
    krundl_spec_free(spec);
    krundl_probe_free(probe);
    if (planned)
        return failed(error);

    krundl_launch_options options = {.struct_size = sizeof options};
    options.die_with_parent = true;
    krundl_vm *vm = NULL;
    krundl_status launched = krundl_launch(plan, &options, &vm, &error);
    krundl_plan_free(plan);
    if (launched)
        return failed(error);

    int32_t status = 0;
    if (krundl_vm_wait_ready(vm, 60 * 1000, &error) || krundl_vm_wait(vm, -1, NULL, &status, &error)) {
        krundl_vm_free(vm);
        return failed(error);
    }
    fprintf(stderr, "launch: %s\n", krundl_vm_exit_text(vm));
    krundl_vm_free(vm);
    return status;
}
