/* Asks a question and makes a plan through the C ABI. The benchmark counts what happens in the measured functions. */
#include <krundl.h>
#include <stdio.h>
#include <stdlib.h>

#define QUESTIONS 1000
#define PLANS 10

__attribute__((noinline)) int measured_questions(const krundl_probe *probe) {
    int yes = 0;
    for (int i = 0; i < QUESTIONS; i++)
        yes += krundl_probe_support(probe, "krun_add_virtiofs3") == KRUNDL_SUPPORT_YES;
    return yes;
}

__attribute__((noinline)) int measured_plans(const krundl_probe *probe, const char *spec) {
    int calls = 0;
    for (int i = 0; i < PLANS; i++) {
        krundl_plan *plan = NULL;
        if (krundl_plan_from_json(probe, spec, &plan, NULL))
            exit(1);
        calls += (int)krundl_plan_call_count(plan);
        krundl_plan_free(plan);
    }
    return calls;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = argv[1];
    krundl_probe *probe = NULL;
    krundl_error *error = NULL;
    if (krundl_probe_new(&options, &probe, &error)) {
        fprintf(stderr, "%s\n", krundl_error_message(error));
        return 1;
    }
    printf("%d %d\n", measured_questions(probe), measured_plans(probe, argv[2]));
    krundl_probe_free(probe);
    return 0;
}
