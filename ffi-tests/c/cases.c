/* The cases of tests/cases/cases.json: the same answers as in every other language. */
#include <krundl.h>

#include "cases.h"
#include "check.h"

static char answer[1 << 16];

static void say(const char *format, const char *a, const char *b, const char *c) {
    size_t end = strlen(answer);
    snprintf(answer + end, sizeof answer - end, format, a, b, c);
}

static void say_error(const char *step, krundl_error *error) {
    char number[32];
    snprintf(number, sizeof number, "%d", krundl_error_status(error));
    say("%s %s %s\n", step, number, krundl_status_name(krundl_error_status(error)));
    if (krundl_error_function(error))
        say("function %s%s%s\n", krundl_error_function(error), "", "");
    if (krundl_error_errno(error)) {
        snprintf(number, sizeof number, "%d", krundl_error_errno(error));
        say("errno %s%s%s\n", number, "", "");
    }
    for (size_t i = 0; i < krundl_error_problem_count(error); i++) {
        say("problem %s %s%s", krundl_error_problem_kind(error, i), krundl_error_problem_field(error, i), "");
        if (krundl_error_problem_function(error, i))
            say(" %s %s%s", krundl_error_problem_function(error, i), krundl_error_problem_since(error, i), "");
        say("\n%s%s%s", "", "", "");
    }
    for (size_t i = 0; i < krundl_error_attempt_count(error); i++)
        say("attempt %s %s%s\n", krundl_error_attempt_origin(error, i), krundl_error_attempt_kind(error, i), "");
    krundl_error_free(error);
}

/* Answers the questions that the expected lines are the answers to. */
static void say_found(const krundl_probe *probe, const char *expected) {
    static const char *const SUPPORT[] = {"absent", "yes", "refuses", "no_effect", "unknown"};
    static const char *const FEATURE[] = {"unasked", "yes", "no", "unknown"};
    char line[512], kind[64], name[128], number[16];
    while (sscanf(expected, "%511[^\n]", line) == 1) {
        expected += strlen(line) + 1;
        kind[0] = name[0] = 0;
        sscanf(line, "%63s %127s", kind, name);
        if (!strcmp(kind, "generation"))
            say("generation %s%s%s\n", krundl_probe_generation(probe) == KRUNDL_GENERATION_ONE ? "one" : "unknown", "", "");
        else if (!strcmp(kind, "version"))
            say("version %s%s%s\n", krundl_probe_version(probe), "", "");
        else if (!strcmp(kind, "level")) {
            snprintf(number, sizeof number, "%d", krundl_probe_level(probe, name));
            say("level %s %s%s\n", name, number, "");
        } else if (!strcmp(kind, "support"))
            say("support %s %s%s\n", name, SUPPORT[krundl_probe_support(probe, name)], "");
        else if (!strcmp(kind, "feature"))
            say("feature %s %s%s\n", name, FEATURE[krundl_probe_feature(probe, name)], "");
    }
}

static void run(const krundl_plan *plan) {
    static const char *const KINDS[] = {"running", "code", "signal", "not_executed", "stopped", "unproved"};
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    options.start_timeout_ms = 1500;
    krundl_vm *vm = NULL;
    krundl_error *error = NULL;
    if (krundl_launch(plan, &options, &vm, &error)) {
        say_error("error", error);
        return;
    }
    krundl_status ready = krundl_vm_wait_ready(vm, 300, &error);
    if (ready == KRUNDL_STATUS_TIMED_OUT)
        CHECK(krundl_vm_kill(vm, NULL) == KRUNDL_STATUS_OK);
    if (ready == KRUNDL_STATUS_TIMED_OUT || ready == KRUNDL_STATUS_READINESS_UNKNOWN)
        say_error("ready", error);
    else
        krundl_error_free(error);
    krundl_exit kind;
    int32_t status;
    if (krundl_vm_wait(vm, -1, &kind, &status, &error)) {
        say_error("error", error);
    } else {
        char number[16];
        snprintf(number, sizeof number, "%d", status);
        say("exit %s %s%s\n", KINDS[kind], number, "");
    }
    krundl_vm_free(vm);
}

static void answer_to(const struct expected_case *it) {
    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = it->library;
    options.helper = it->helper;
    krundl_probe *probe = NULL;
    krundl_plan *plan = NULL;
    krundl_error *error = NULL;
    if (krundl_probe_new(&options, &probe, &error)) {
        say_error("error", error);
    } else if (!it->spec) {
        say_found(probe, it->expected);
    } else if (krundl_plan_from_json(probe, it->spec, &plan, &error)) {
        say_error("error", error);
    } else if (it->run) {
        run(plan);
    } else {
        for (size_t i = 0; i < krundl_plan_call_count(plan); i++)
            say("call %s%s%s\n", krundl_plan_call_function(plan, i), "", "");
    }
    krundl_plan_free(plan);
    krundl_probe_free(probe);
}

int main(void) {
    size_t count = sizeof CASES / sizeof *CASES;
    for (size_t i = 0; i < count; i++) {
        answer[0] = 0;
        answer_to(&CASES[i]);
        if (strcmp(answer, CASES[i].expected)) {
            failures++;
            fprintf(stderr, "%s:\n%sinstead of\n%s", CASES[i].name, answer, CASES[i].expected);
        }
    }
    printf("%zu cases\n", count);
    return failures || count < 60;
}
