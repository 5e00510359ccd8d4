// Handles that free themselves, failures that are thrown, VMs that end with their scope.
#include "krundl.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include <sys/wait.h>

static int failures;

#define CHECK(what)                                                                                 \
    do {                                                                                            \
        if (!(what)) {                                                                              \
            failures++;                                                                             \
            std::cerr << __FILE__ << ":" << __LINE__ << ": failed: " << #what << std::endl;         \
        }                                                                                           \
    } while (0)

static std::string at(const std::string &path) { return std::string(std::getenv("KRUNDL_TEST_CASES")) + "/" + path; }

static krundl_launch_options silent() {
    krundl_launch_options options = krundl_launch_options();
    options.struct_size = sizeof options;
    options.input = options.output = options.error = KRUNDL_STREAM_NULL;
    return options;
}

static krundl::Spec spec() {
    krundl::Spec spec(1, 256);
    spec.root(at("files/root")).mount(at("files/data"), "/workspace", true).exec("/bin/sh", {"-c", "true"});
    return spec;
}

static void a_vm_from_beginning_to_end() {
    krundl::Probe probe(at("libraries/exits-7/libkrun.so.1.19.7"));
    CHECK(probe.can_mount_read_only() && probe.version() == "=1.19.7");
    krundl::Plan plan(probe, spec());
    CHECK(plan.calls().back() == "krun_start_enter");
    krundl::Vm vm = plan.launch(silent());
    vm.wait_ready();
    CHECK(vm.wait() == 7);
}

static void a_vm_ends_with_its_scope() {
    std::int64_t pid = 0;
    {
        krundl::Probe probe(at("libraries/hangs/libkrun.so.1.19.7"));
        krundl::Vm vm = krundl::Plan(probe, spec()).launch(silent());
        pid = vm.pid();
        CHECK(kill(static_cast<pid_t>(pid), 0) == 0);
        krundl::Vm moved = std::move(vm);
        CHECK(moved.pid() == pid && vm.pid() == 0);
    }
    CHECK(kill(static_cast<pid_t>(pid), 0) == -1 && errno == ESRCH);
}

static void a_failure_is_thrown_with_everything() {
    try {
        krundl::Probe nowhere("/nowhere/libkrun.so.1");
        CHECK(!"thrown");
    } catch (const krundl::Error &error) {
        CHECK(error.status == KRUNDL_STATUS_LIBRARY_NOT_FOUND && error.problems.empty());
    }
    try {
        krundl::Plan plan(krundl::Probe(at("libraries/1.17.4/libkrun.so.1.17.4")), spec());
        CHECK(!"thrown");
    } catch (const krundl::Error &error) {
        CHECK(error.status == KRUNDL_STATUS_UNSUPPORTED && error.problems.size() == 1);
        CHECK(error.problems[0].field == "mounts[0].read_only" && error.problems[0].since == "1.18.0");
        CHECK(std::string(error.what()).find("krun_add_virtiofs3") != std::string::npos);
    }
}

static krundl::Vm ready(const std::string &library) {
    krundl::Probe probe(at("libraries/" + library + "/libkrun.so.1.19.7"));
    krundl::Vm vm = krundl::Plan(probe, spec()).launch(silent());
    vm.wait_ready();
    return vm;
}

static void a_workload_is_asked_interrupted_or_let_go() {
    krundl::Vm obeys = ready("obeys");
    CHECK(obeys.terminate());
    CHECK(obeys.wait() == 128 + SIGTERM);
    krundl::Vm hears = ready("hears-ctrl-c");
    hears.interrupt();
    CHECK(hears.wait() == 128 + SIGINT);
    krundl::Vm runs = ready("runs");
    pid_t pid = static_cast<pid_t>(runs.detach());
    CHECK(runs.pid() == 0 && kill(pid, SIGKILL) == 0 && waitpid(pid, nullptr, 0) == pid);
}

static void what_is_in_the_way_is_a_list() {
    std::vector<krundl::Problem> found =
        krundl::problems(krundl::Probe(at("libraries/1.17.4/libkrun.so.1.17.4")), spec());
    CHECK(found.size() == 1 && found[0].field == "mounts[0].read_only" && !found[0].fix.empty());
    CHECK(krundl::problems(krundl::Probe(at("libraries/1.19.7/libkrun.so.1.19.7")), spec()).empty());
}

static void files_are_read_and_not_opened() {
    krundl::Inspection found({at("libraries/aborts/libkrun.so.1.18.0"), "/nowhere"});
    CHECK(found.size() == 2 && found.version(0) == "=1.18.0" && !found.architecture(0).empty());
    CHECK(found.has(0, "krun_add_virtiofs3") && !found.has(0, "krun_add_virtiofs4"));
    CHECK(found.error(0).empty() && found.error(1) == "no such file" && found.path(1) == "/nowhere");
    try {
        krundl::Inspection nothing({});
        CHECK(!"thrown");
    } catch (const krundl::Error &error) {
        CHECK(error.status == KRUNDL_STATUS_INVALID_ARGUMENT);
    }
}

int main() {
    a_workload_is_asked_interrupted_or_let_go();
    what_is_in_the_way_is_a_list();
    files_are_read_and_not_opened();
    a_vm_from_beginning_to_end();
    a_vm_ends_with_its_scope();
    a_failure_is_thrown_with_everything();
    return failures != 0;
}
