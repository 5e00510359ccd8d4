/* Eight threads that probe, plan and launch at the same time, and one VM that several threads use. */
#include <krundl.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

#define THREADS 8

static const krundl_probe *shared_probe;
static const krundl_plan *shared_plan;
static const krundl_vm *shared_vm;

static krundl_launch_options silent(void) {
    krundl_launch_options options = {.struct_size = sizeof options};
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    return options;
}

static krundl_plan *plan_with(const krundl_probe *probe) {
    krundl_spec *spec = krundl_spec_new(1, 256);
    krundl_spec_set_root_dir(spec, place("root"), false);
    krundl_spec_set_exec(spec, "/bin/sh");
    krundl_plan *plan = NULL;
    CHECK(krundl_plan_new(probe, spec, &plan, NULL) == KRUNDL_STATUS_OK);
    krundl_spec_free(spec);
    return plan;
}

static void run(const krundl_plan *plan, int32_t expected) {
    krundl_launch_options options = silent();
    krundl_vm *vm = NULL;
    int32_t status = -1;
    CHECK(krundl_launch(plan, &options, &vm, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_vm_wait_ready(vm, -1, NULL) == KRUNDL_STATUS_OK);
    CHECK(krundl_vm_wait(vm, -1, NULL, &status, NULL) == KRUNDL_STATUS_OK && status == expected);
    krundl_vm_free(vm);
}

static void *on_its_own(void *number) {
    krundl_probe_options options = {.struct_size = sizeof options};
    int even = *(int *)number % 2;
    options.library = even ? library("exits-7", "1.19.7") : library("old-exits-3", "1.8.1");
    for (int round = 0; round < 4; round++) {
        krundl_probe *probe = NULL;
        krundl_error *error = NULL;
        CHECK(krundl_probe_new(&options, &probe, NULL) == KRUNDL_STATUS_OK);
        krundl_plan *plan = plan_with(probe);
        run(plan, even ? 7 : 3);
        krundl_plan *none = NULL;
        CHECK(krundl_plan_from_json(probe, "{}", &none, &error) == KRUNDL_STATUS_INVALID_SPEC);
        CHECK(krundl_error_problem_count(error) == 4);
        krundl_error_free(error);
        krundl_plan_free(plan);
        krundl_probe_free(probe);
    }
    return NULL;
}

static void *with_the_others(void *unused) {
    (void)unused;
    CHECK(krundl_probe_json(shared_probe) == krundl_probe_json(shared_probe));
    CHECK(krundl_plan_text(shared_plan) == krundl_plan_text(shared_plan));
    run(shared_plan, 7);
    return NULL;
}

static void *waits(void *unused) {
    (void)unused;
    krundl_exit kind = KRUNDL_EXIT_RUNNING;
    CHECK(krundl_vm_wait(shared_vm, -1, &kind, NULL, NULL) == KRUNDL_STATUS_OK && kind == KRUNDL_EXIT_STOPPED);
    CHECK_HAS(krundl_vm_exit_text(shared_vm), "SIGKILL");
    return NULL;
}

static void *looks(void *unused) {
    (void)unused;
    for (int i = 0; i < 1000; i++)
        (void)krundl_vm_log(shared_vm, NULL, 0);
    return NULL;
}

static void all(void *(*work)(void *)) {
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(void) {
    all(on_its_own);

    krundl_probe_options options = {.struct_size = sizeof options};
    options.library = library("exits-7", "1.19.7");
    krundl_probe *probe = NULL;
    CHECK(krundl_probe_new(&options, &probe, NULL) == KRUNDL_STATUS_OK);
    krundl_plan *plan = plan_with(probe);
    shared_probe = probe;
    shared_plan = plan;
    all(with_the_others);
    krundl_plan_free(plan);
    krundl_probe_free(probe);

    options.library = library("hangs", "1.19.7");
    CHECK(krundl_probe_new(&options, &probe, NULL) == KRUNDL_STATUS_OK);
    plan = plan_with(probe);
    krundl_launch_options launch = silent();
    krundl_vm *vm = NULL;
    CHECK(krundl_launch(plan, &launch, &vm, NULL) == KRUNDL_STATUS_OK);
    shared_vm = vm;
    pthread_t waiting[4], looking;
    for (int i = 0; i < 4; i++)
        pthread_create(&waiting[i], NULL, waits, NULL);
    pthread_create(&looking, NULL, looks, NULL);
    pthread_join(looking, NULL);
    CHECK(krundl_vm_kill(vm, NULL) == KRUNDL_STATUS_OK);
    for (int i = 0; i < 4; i++)
        pthread_join(waiting[i], NULL);
    krundl_vm_free(vm);
    krundl_plan_free(plan);
    krundl_probe_free(probe);
    return failures != 0;
}
