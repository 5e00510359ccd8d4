/* Probe, fork, and use in the child what was probed; and a child that becomes the VM itself. */
#include <krundl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static krundl_plan *plan_with(const krundl_probe *probe) {
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_set_exec(spec, "/bin/sh");
    krundl_plan *plan = NULL;
    CHECK(krundl_plan_new(probe, spec, &plan, NULL) == KRUNDL_STATUS_OK);
    krundl_spec_free(spec);
    return plan;
}

static krundl_probe *probe_of(const char *name, const char *release) {
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = library(name, release);
    krundl_probe *probe = NULL;
    CHECK(krundl_probe_new(&options, &probe, NULL) == KRUNDL_STATUS_OK);
    return probe;
}

static int status_of(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The child plans with its parent's probe, and launches its own plan and its parent's. */
static int in_the_child(const krundl_probe *probe, const krundl_plan *theirs) {
    krundl_plan *plan = plan_with(probe);
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    options.die_with_parent = true;
    const krundl_plan *plans[] = {plan, theirs};
    for (int i = 0; i < 2; i++) {
        krundl_vm *vm = NULL;
        int32_t status = 0;
        CHECK(krundl_launch(plans[i], &options, &vm, NULL) == KRUNDL_STATUS_OK);
        CHECK(krundl_vm_wait(vm, -1, NULL, &status, NULL) == KRUNDL_STATUS_OK && status == 7);
        krundl_vm_free(vm);
    }
    krundl_plan_free(plan);
    return failures;
}

/* The child becomes the VM, and ends as libkrun ends it, or comes back with the reason. */
static int entered(const char *name, krundl_status expected) {
    krundl_probe *probe = probe_of(name, "1.19.7");
    krundl_plan *plan = plan_with(probe);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        krundl_error *error = NULL;
        krundl_status status = krundl_plan_enter(plan, &error);
        _exit(status == expected && error && krundl_error_status(error) == status ? 42 : 1);
    }
    int status = status_of(child);
    krundl_plan_free(plan);
    krundl_probe_free(probe);
    return status;
}

int main(void) {
    krundl_probe *probe = probe_of("exits-7", "1.19.7");
    krundl_plan *plan = plan_with(probe);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(in_the_child(probe, plan));
    CHECK(status_of(child) == 0);
    CHECK(in_the_child(probe, plan) == 0);
    krundl_plan_free(plan);
    krundl_probe_free(probe);

    CHECK(entered("silent", KRUNDL_STATUS_OK) == 0);
    CHECK(entered("mute", KRUNDL_STATUS_OK) == 4);
    CHECK(entered("returns", KRUNDL_STATUS_START) == 42);
    CHECK(entered("refuses", KRUNDL_STATUS_CALL) == 42);
    CHECK(entered("crashes", KRUNDL_STATUS_OK) == -6);
    return failures != 0;
}
