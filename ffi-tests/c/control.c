/* A guest's control port. What plays the guest here is a child that speaks as docs/control.md has it; real ones are in the
   lab. */
#include <errno.h>
#include <fcntl.h>
#include <krundl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char directory[64], path[128];

/* A child that takes one connection, says this, and waits for the host to go. */
static pid_t guest(const char *said, size_t length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(directory, sizeof directory, "/tmp/control-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/guest", directory);
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        char heard[4096];
        int host = accept(listener, NULL, NULL);
        if (write(host, said, length) < 0)
            _exit(1);
        while (read(host, heard, sizeof heard) > 0)
            ;
        _exit(0);
    }
    close(listener);
    return child;
}

static void gone(pid_t child) {
    CHECK(waitpid(child, NULL, 0) == child);
    unlink(path);
    rmdir(directory);
}

#define HELLO "\x01\x12\0\0\0krundl-control\x01\0\0\0"
#define SAID(text) text, sizeof text - 1

static void a_command_has_its_streams_and_its_end(void) {
    pid_t child = guest(SAID(HELLO "\x02\x04\0\0\0\x2a\0\0\0"   /* started, 42 */
                                   "\x81\x03\0\0\0out\x82\x03\0\0\0err" /* data */
                                   "\x03\x04\0\0\0\x07\0\0\0"));  /* exited, 7 */
    int output[2], errors[2];
    CHECK(pipe(output) == 0 && pipe(errors) == 0);
    const char *args[] = {"-c", "exit 7", NULL}, *env[] = {"A=1", NULL};
    krundl_exec_options options = {.struct_size = sizeof options, .env = env, .workdir = "/"};
    options.input = KRUNDL_STREAM_NULL;
    options.output = options.error = KRUNDL_STREAM_DESCRIPTOR;
    options.output_fd = output[1];
    options.error_fd = errors[1];
    krundl_exec *exec = NULL;
    krundl_error *error = NULL;
    CHECK(krundl_exec_new(path, "sh", args, &options, &exec, &error) == KRUNDL_STATUS_OK && error == NULL);
    CHECK(krundl_exec_pid(exec) == 42);
    krundl_exec_signal(exec, SIGTERM);
    krundl_exec_resize(exec, 24, 80);
    krundl_exit kind = KRUNDL_EXIT_RUNNING;
    int32_t status = 0;
    CHECK(krundl_exec_wait(exec, -1, &kind, &status, &error) == KRUNDL_STATUS_OK && error == NULL);
    CHECK(kind == KRUNDL_EXIT_CODE && status == 7);
    CHECK_TEXT(krundl_exec_exit_text(exec), "the workload exited with status 7");
    CHECK(krundl_exec_wait(exec, 0, &kind, NULL, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_CODE);
    krundl_exec_free(exec);
    char text[8] = {0};
    CHECK(read(output[0], text, sizeof text) == 3 && memcmp(text, "out", 3) == 0);
    CHECK(read(errors[0], text, sizeof text) == 3 && memcmp(text, "err", 3) == 0);
    for (int n = 0; n < 2; n++) {
        close(output[n]);
        close(errors[n]);
    }
    gone(child);
}

static void a_command_that_runs_is_not_waited_for_for_ever(void) {
    pid_t child = guest(SAID(HELLO "\x02\x04\0\0\0\x01\0\0\0"));
    krundl_exec_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    krundl_exec *exec = NULL;
    krundl_exit kind = KRUNDL_EXIT_CODE;
    int32_t status = 0;
    CHECK(krundl_exec_new(path, "sleep", NULL, &options, &exec, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_exec_wait(exec, 20, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    CHECK(kind == KRUNDL_EXIT_RUNNING && status == -1 && krundl_exec_exit_text(exec) == NULL);
    krundl_exec_free(exec);
    gone(child);

    /* One whose guest goes away. */
    child = guest(SAID(HELLO "\x02\x04\0\0\0\x01\0\0\0"));
    krundl_error *error = NULL;
    CHECK(krundl_exec_new(path, "sleep", NULL, &options, &exec, NULL) == KRUNDL_STATUS_OK);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(krundl_exec_wait(exec, -1, &kind, &status, &error) == KRUNDL_STATUS_CONTROL_LOST);
    CHECK_HAS(krundl_error_message(error), "is gone");
    krundl_error_free(error);
    krundl_exec_free(exec);
    gone(child);
}

static void what_a_guest_cannot_do_is_said(void) {
    krundl_exec_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    krundl_exec *exec = NULL;
    krundl_exit kind = KRUNDL_EXIT_RUNNING;
    int32_t status = 0;
    pid_t child = guest(SAID(HELLO "\x05\x0b\0\0\0\x02\0\0\0\x03\0\0\0why")); /* not executed: ENOENT */
    CHECK(krundl_exec_new(path, "none", NULL, &options, &exec, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_exec_wait(exec, -1, &kind, &status, NULL) == KRUNDL_STATUS_OK);
    CHECK(kind == KRUNDL_EXIT_NOT_EXECUTED && status == 127 && krundl_exec_pid(exec) == 0);
    krundl_exec_free(exec);
    gone(child);

    child = guest(SAID(HELLO "\x06\x0b\0\0\0\x02\0\0\0\x03\0\0\0why")); /* failed */
    krundl_error *error = NULL;
    CHECK(krundl_exec_new(path, "sh", NULL, &options, &exec, &error) == KRUNDL_STATUS_GUEST_SETUP && exec == NULL);
    CHECK_HAS(krundl_error_message(error), "why");
    krundl_error_free(error);
    gone(child);

    options.connect_timeout_ms = 1;
    CHECK(krundl_exec_new("/no/such/socket", "sh", NULL, &options, &exec, &error) == KRUNDL_STATUS_CONTROL_LOST);
    krundl_error_free(error);
    CHECK(krundl_exec_new("no name", "sh", NULL, &options, &exec, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    const char *env[] = {"no value", NULL};
    options.env = env;
    CHECK(krundl_exec_new("/no/such/socket", "sh", NULL, &options, &exec, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
    options.env = NULL;
    options.output = KRUNDL_STREAM_PIPE;
    CHECK(krundl_exec_new("/no/such/socket", "sh", NULL, &options, &exec, NULL) == KRUNDL_STATUS_INVALID_ARGUMENT);
}

static void figures_are_told_by_their_names(void) {
    pid_t child = guest(SAID(HELLO "\x07\x39\0\0\0\x02\0\0\0"
                                   "\x0c\0\0\0memory_total\0\0\0\0\x01\0\0\0"
                                   "\x0c\0\0\0load_1_milli\xdc\x05\0\0\0\0\0\0"
                                   "\x01\0\0\0x"));
    krundl_figures figures = {.struct_size = sizeof figures, .processes = 7};
    krundl_error *error = NULL;
    /* A list of two, and something behind it: that is no answer. */
    CHECK(krundl_guest_figures(path, 0, &figures, &error) == KRUNDL_STATUS_CONTROL_LOST && figures.processes == 7);
    krundl_error_free(error);
    gone(child);

    child = guest(SAID(HELLO "\x07\x34\0\0\0\x02\0\0\0"
                             "\x0c\0\0\0memory_total\0\0\0\0\x01\0\0\0"
                             "\x0c\0\0\0load_1_milli\xdc\x05\0\0\0\0\0\0"));
    CHECK(krundl_guest_figures(path, 0, &figures, NULL) == KRUNDL_STATUS_OK);
    CHECK(figures.memory_total == UINT64_C(1) << 32 && figures.load_1 == 1.5 && figures.processes == 0);
    CHECK(figures.struct_size == sizeof figures);
    gone(child);

    child = guest(SAID(HELLO "\x08\0\0\0\0"));
    CHECK(krundl_guest_terminate(path, 0, NULL) == KRUNDL_STATUS_OK);
    gone(child);
}

static void a_spec_says_where_the_port_is(void) {
    krundl_spec *spec = krundl_spec_new(1, 256);
    CHECK(krundl_spec_set_control(spec, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_spec_set_control(spec, "/run/own/socket") == KRUNDL_STATUS_OK);
    krundl_spec_free(spec);
}

int main(void) {
    a_command_has_its_streams_and_its_end();
    a_command_that_runs_is_not_waited_for_for_ever();
    what_a_guest_cannot_do_is_said();
    figures_are_told_by_their_names();
    a_spec_says_where_the_port_is();
    return failures != 0;
}
