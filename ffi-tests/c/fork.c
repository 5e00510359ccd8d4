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

/* A VM stays the parent's: the child can neither use it nor harm it. */
static void a_vm_is_not_its_forks(void) {
    krundl_probe *probe = probe_of("runs", "1.19.7");
    krundl_plan *plan = plan_with(probe);
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = KRUNDL_STREAM_PIPE;
    options.output = options.error = KRUNDL_STREAM_NULL;
    krundl_vm *vm = NULL;
    CHECK(krundl_launch(plan, &options, &vm, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        krundl_error *error = NULL;
        CHECK(krundl_vm_kill(vm, &error) == KRUNDL_STATUS_INVALID_ARGUMENT);
        CHECK_HAS(krundl_error_message(error), "vm: it belongs to process");
        krundl_error_free(error);
        CHECK(krundl_vm_wait(vm, 0, NULL, NULL, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
        CHECK(krundl_vm_terminate(vm, NULL, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
        CHECK(krundl_vm_interrupt(vm, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
        CHECK(krundl_vm_take_input(vm) == -1 && krundl_vm_log(vm, NULL, 0) == 0);
        krundl_vm_free(vm);
        _exit(failures);
    }
    CHECK(status_of(child) == 0);
    krundl_exit kind = KRUNDL_EXIT_CODE;
    CHECK(krundl_vm_wait(vm, 0, &kind, NULL, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_RUNNING);
    int input = krundl_vm_take_input(vm);
    CHECK(input >= 0 && close(input) == 0);
    krundl_vm_free(vm);
    krundl_plan_free(plan);
    krundl_probe_free(probe);
}

int main(void) {
    a_vm_is_not_its_forks();
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
