/* Running VMs: streams, the log, waiting, stopping, letting go. */
#include <errno.h>
#include <fcntl.h>
#include <krundl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static krundl_plan *plan_of(const char *name, const char *release) {
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = library(name, release);
    krundl_probe *probe = NULL;
    krundl_plan *plan = NULL;
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_add_mount(spec, place("data"), "/workspace", false);
    krundl_spec_set_exec(spec, "/bin/sh");
    CHECK(krundl_probe_new(&options, &probe, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_plan_new(probe, spec, &plan, NULL) == KRUNDL_STATUS_OK);
    krundl_spec_free(spec);
    krundl_probe_free(probe);
    return plan;
}

static krundl_vm *launched(const krundl_plan *plan, krundl_launch_options *options) {
    krundl_vm *vm = NULL;
    krundl_error *error = NULL;
    CHECK(krundl_launch(plan, options, &vm, &error) == KRUNDL_STATUS_OK);
    if (error)
        fprintf(stderr, "%s\n", krundl_error_message(error));
    krundl_error_free(error);
    return vm;
}

static krundl_launch_options silent(void) {
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    return options;
}

static void a_port_that_was_left_open_is_told(void) {
    krundl_probe_options of = {.struct_size = sizeof of};
    of.library = library("hangs", "1.19.7");
    krundl_probe *probe = NULL;
    krundl_plan *plan = NULL;
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_set_exec(spec, "/bin/sh");
    CHECK(krundl_spec_add_forward(spec, "tcp", NULL, 0, 22) == KRUNDL_STATUS_INVALID_ARGUMENT);
    krundl_spec_free(spec);
    spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_set_exec(spec, "/bin/sh");
    krundl_nic nic = {.struct_size = sizeof nic};
    nic.passt = true;
    nic.passt_program = place("passt");
    CHECK(krundl_spec_add_nic(spec, &nic) == KRUNDL_STATUS_OK);
    CHECK(krundl_spec_add_forward(spec, "tcp", NULL, 0, 22) == KRUNDL_STATUS_OK);
    CHECK(krundl_probe_new(&of, &probe, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_plan_new(probe, spec, &plan, NULL) == KRUNDL_STATUS_OK);
    CHECK_HAS(krundl_plan_text(plan), "tcp 127.0.0.1:any -> guest port 22");
    krundl_launch_options options = silent();
    krundl_vm *vm = launched(plan, &options);
    CHECK(krundl_vm_host_port(vm, "tcp", 22) != 0);
    CHECK(krundl_vm_host_port(vm, "udp", 22) == 0 && krundl_vm_host_port(vm, "tcp", 23) == 0);
    CHECK(krundl_vm_host_port(vm, "sctp", 22) == 0);
    krundl_vm_free(vm);
    krundl_plan_free(plan);
    krundl_spec_free(spec);
    krundl_probe_free(probe);
}

static void a_plan_shows_itself_and_starts_any_number_of_vms(void) {
    krundl_plan *plan = plan_of("exits-7", "1.19.7");
    CHECK_HAS(krundl_plan_text(plan), "mount -t virtiofs -o rw mount0 /workspace");
    CHECK_HAS(krundl_plan_json(plan), "\"function\": \"krun_start_enter\"");
    size_t count = krundl_plan_call_count(plan), mounts = 0;
    for (size_t i = 0; i < count; i++)
        mounts += strstr(krundl_plan_call_arguments(plan, i), "tag: \"mount0\"") != NULL;
    CHECK(count > 10 && mounts == 1);
    CHECK(krundl_plan_call_function(plan, count) == NULL);
    CHECK(krundl_plan_note(plan, krundl_plan_note_count(plan)) == NULL);
    krundl_launch_options options = silent();
    for (int i = 0; i < 3; i++) {
        krundl_vm *vm = launched(plan, &options);
        krundl_exit kind = KRUNDL_EXIT_RUNNING;
        int32_t status = 0;
        CHECK(krundl_vm_exit_text(vm) == NULL);
        CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
        CHECK(krundl_vm_wait(vm, -1, &kind, &status, NULL) == KRUNDL_STATUS_OK);
        CHECK(kind == KRUNDL_EXIT_CODE && status == 7);
        CHECK_TEXT(krundl_vm_exit_text(vm), "the workload exited with status 7");
        CHECK(krundl_vm_kill(vm, NULL) == KRUNDL_STATUS_OK && krundl_vm_terminate(vm, NULL, NULL) == KRUNDL_STATUS_OK);
        CHECK(krundl_vm_wait(vm, 0, &kind, NULL, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_CODE);
        krundl_vm_free(vm);
    }
    krundl_plan_free(plan);
}

static void a_vm_that_runs_is_waited_for_and_stopped(void) {
    krundl_plan *plan = plan_of("hangs", "1.19.7");
    krundl_launch_options options = silent();
    krundl_vm *vm = launched(plan, &options);
    krundl_exit kind = KRUNDL_EXIT_CODE;
    int32_t status = 0;
    CHECK(krundl_vm_pid(vm) > 0 && kill((pid_t)krundl_vm_pid(vm), 0) == 0);
    CHECK(krundl_vm_wait(vm, 20, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    CHECK(kind == KRUNDL_EXIT_RUNNING && status == -1);
    krundl_error *error = NULL;
    CHECK(krundl_vm_wait_ready(vm, 20, &error) == KRUNDL_STATUS_TIMED_OUT);
    CHECK_HAS(krundl_error_message(error), "within 20 ms");
    CHECK_TEXT(krundl_error_function(error), "krun_start_enter");
    krundl_error_free(error);

    struct pollfd ends = {krundl_vm_pidfd(vm), POLLIN, 0};
    /* Kernels before 5.3 have none, and neither has valgrind. */
    int has_pidfd = ends.fd >= 0;
    CHECK(poll(&ends, 1, 0) == 0);
    CHECK(krundl_vm_stop(vm, 5000, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    CHECK(kind == KRUNDL_EXIT_STOPPED && status == 128 + SIGTERM);
    CHECK(poll(&ends, 1, 0) == has_pidfd);
    CHECK(kill((pid_t)krundl_vm_pid(vm), 0) == -1 && errno == ESRCH);
    krundl_vm_free(vm);

    /* Nothing is up that could be asked, so its process is. */
    vm = launched(plan, &options);
    bool workload = true;
    CHECK(krundl_vm_terminate(vm, &workload, NULL) == KRUNDL_STATUS_OK && !workload);
    CHECK(krundl_vm_wait(vm, -1, &kind, NULL, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_STOPPED);
    krundl_vm_free(vm);

    /* One that is freed is killed. */
    vm = launched(plan, &options);
    pid_t pid = (pid_t)krundl_vm_pid(vm);
    krundl_vm_free(vm);
    CHECK(kill(pid, 0) == -1 && errno == ESRCH);

    /* One that is let go runs on, and is the caller's to reap. */
    pid = (pid_t)krundl_vm_detach(launched(plan, &options));
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, NULL, 0) == pid);
    krundl_plan_free(plan);
}

static void a_workload_that_is_up_is_asked(void) {
    krundl_plan *plan = plan_of("obeys", "1.19.7");
    krundl_launch_options options = silent();
    krundl_vm *vm = launched(plan, &options);
    CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
    bool workload = false;
    CHECK(krundl_vm_terminate(vm, &workload, NULL) == KRUNDL_STATUS_OK && workload);
    krundl_exit kind;
    int32_t status;
    CHECK(krundl_vm_wait(vm, -1, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    /* It is the workload's own end, not that of its VM. */
    CHECK(kind == KRUNDL_EXIT_SIGNAL && status == 128 + SIGTERM);
    workload = true;
    CHECK(krundl_vm_terminate(vm, &workload, NULL) == KRUNDL_STATUS_OK && !workload);
    krundl_vm_free(vm);

    vm = launched(plan, &options);
    CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_vm_stop(vm, 60000, &kind, &status, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_SIGNAL);
    krundl_vm_free(vm);
    krundl_plan_free(plan);

    /* One that is deaf to it is killed when the grace is over. */
    plan = plan_of("runs", "1.19.7");
    vm = launched(plan, &options);
    CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_vm_terminate(vm, &workload, NULL) == KRUNDL_STATUS_OK && workload);
    CHECK(krundl_vm_wait(vm, 20, &kind, NULL, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_RUNNING);
    CHECK(krundl_vm_stop(vm, 20, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    CHECK(kind == KRUNDL_EXIT_STOPPED && status == 128 + SIGKILL);
    krundl_vm_free(vm);
    krundl_plan_free(plan);
}

static void ctrl_c_reaches_the_workload(void) {
    krundl_plan *plan = plan_of("hears-ctrl-c", "1.19.7");
    krundl_launch_options options = silent();
    krundl_vm *vm = launched(plan, &options);
    CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_vm_interrupt(vm, NULL) == KRUNDL_STATUS_OK);
    krundl_exit kind;
    int32_t status;
    CHECK(krundl_vm_wait(vm, -1, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    CHECK(kind == KRUNDL_EXIT_SIGNAL && status == 128 + SIGINT);
    krundl_error *error = (krundl_error *)8;
    CHECK(krundl_vm_interrupt(vm, &error) == KRUNDL_STATUS_OK && error == NULL);
    krundl_vm_free(vm);
    krundl_plan_free(plan);
}

static void the_streams_are_pipes_or_descriptors(void) {
    krundl_plan *plan = plan_of("hangs", "1.19.7");
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_PIPE;
    krundl_vm *vm = launched(plan, &options);
    int input = krundl_vm_take_input(vm), output = krundl_vm_take_output(vm), error = krundl_vm_take_error(vm);
    CHECK(input >= 0 && output >= 0 && error >= 0);
    CHECK(krundl_vm_take_input(vm) == -1 && krundl_vm_take_output(vm) == -1 && krundl_vm_take_error(vm) == -1);
    CHECK(fcntl(input, F_GETFD) & FD_CLOEXEC);
    close(input);
    CHECK(krundl_vm_kill(vm, NULL) == KRUNDL_STATUS_OK);
    char buffer[16];
    CHECK(read(output, buffer, sizeof buffer) == 0 && read(error, buffer, sizeof buffer) == 0);
    close(output);
    close(error);
    krundl_vm_free(vm);
    krundl_plan_free(plan);

    plan = plan_of("succeeds", "1.19.7");
    int pipe_fds[2];
    CHECK(pipe(pipe_fds) == 0);
    options = silent();
    options.output = KRUNDL_STREAM_DESCRIPTOR;
    options.output_fd = pipe_fds[1];
    vm = launched(plan, &options);
    CHECK(krundl_vm_take_output(vm) == -1);
    CHECK(krundl_vm_wait(vm, -1, NULL, NULL, NULL) == KRUNDL_STATUS_OK);
    /* It was copied: ours is still open, and the only one. */
    CHECK(close(pipe_fds[1]) == 0);
    CHECK(read(pipe_fds[0], buffer, sizeof buffer) == 0);
    close(pipe_fds[0]);
    krundl_vm_free(vm);

    krundl_error *failure = NULL;
    options.output_fd = 999;
    CHECK(krundl_launch(plan, &options, &vm, &failure) == KRUNDL_STATUS_INVALID_ARGUMENT && vm == NULL);
    CHECK_HAS(krundl_error_message(failure), "output_fd: descriptor 999");
    krundl_error_free(failure);
    options.output_fd = -1;
    CHECK(krundl_launch(plan, &options, &vm, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    options.output = 77;
    CHECK(krundl_launch(plan, &options, &vm, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    options = silent();
    options.log = KRUNDL_STREAM_PIPE;
    CHECK(krundl_launch(plan, &options, &vm, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    options.log = KRUNDL_STREAM_INHERIT;
    options.helper = "/nowhere/krundl-vmm";
    CHECK(krundl_launch(plan, &options, &vm, NULL) == KRUNDL_STATUS_HELPER_NOT_FOUND);
    krundl_plan_free(plan);
}

static void what_libkrun_says_is_kept_or_goes_to_a_file(void) {
    krundl_plan *plan = plan_of("crashes", "1.19.7");
    krundl_launch_options options = silent();
    krundl_vm *vm = launched(plan, &options);
    krundl_error *error = NULL;
    CHECK(krundl_vm_wait(vm, -1, NULL, NULL, &error) == KRUNDL_STATUS_CRASHED);
    CHECK_TEXT(krundl_error_function(error), "krun_start_enter");
    krundl_error_free(error);
    CHECK(krundl_vm_exit_text(vm) == NULL);
    char log[8] = "xxxxxxx";
    size_t whole = krundl_vm_log(vm, NULL, 0);
    CHECK(krundl_vm_log(vm, log, 0) == whole && log[0] == 'x');
    CHECK(krundl_vm_log(vm, log, 4) == whole && log[4] == 'x');
    krundl_vm_free(vm);

    char path[4096];
    snprintf(path, sizeof path, "%s/log", place("empty"));
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    options.log = KRUNDL_STREAM_DESCRIPTOR;
    options.log_fd = file;
    options.new_session = options.die_with_parent = true;
    vm = launched(plan, &options);
    CHECK(krundl_vm_wait(vm, -1, NULL, NULL, NULL) == KRUNDL_STATUS_CRASHED);
    krundl_vm_free(vm);
    CHECK(fcntl(file, F_GETFD) >= 0);
    close(file);
    unlink(path);
    krundl_plan_free(plan);
}

int main(void) {
    a_plan_shows_itself_and_starts_any_number_of_vms();
    a_port_that_was_left_open_is_told();
    a_vm_that_runs_is_waited_for_and_stopped();
    a_workload_that_is_up_is_asked();
    ctrl_c_reaches_the_workload();
    the_streams_are_pipes_or_descriptors();
    what_libkrun_says_is_kept_or_goes_to_a_file();
    return failures != 0;
}
