}

int main(void) {
    krundl_error *error = NULL;
    krundl_probe *probe = NULL;
    krundl_plan *plan = NULL;
    krundl_vm *vm = NULL;
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, "rootfs", false);
    krundl_spec_set_exec(spec, "/bin/sh");
    krundl_launch_options options = {.struct_size = sizeof options};
    if (krundl_probe_new(NULL, &probe, &error) || krundl_plan_new(probe, spec, &plan, &error) ||
        krundl_launch(plan, &options, &vm, &error)) {
        fprintf(stderr, "%s\n", krundl_error_message(error));
        return 1;
    }
    shown(probe, spec, plan, vm, error);
    krundl_vm_free(vm);
    krundl_plan_free(plan);
    krundl_spec_free(spec);
    krundl_probe_free(probe);
    return 0;
}
