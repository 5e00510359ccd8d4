// RAII over krundl's handles, from C++11 on: what a C++ program would write for itself, to be copied from.
#ifndef KRUNDL_HPP
#define KRUNDL_HPP

#include <krundl.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace krundl {

struct Free {
    void operator()(krundl_error *handle) const { krundl_error_free(handle); }
    void operator()(krundl_probe *handle) const { krundl_probe_free(handle); }
    void operator()(krundl_inspection *handle) const { krundl_inspection_free(handle); }
    void operator()(krundl_spec *handle) const { krundl_spec_free(handle); }
    void operator()(krundl_plan *handle) const { krundl_plan_free(handle); }
    void operator()(krundl_report *handle) const { krundl_report_free(handle); }
    void operator()(krundl_vm *handle) const { krundl_vm_free(handle); }
};

template <typename T> using Handle = std::unique_ptr<T, Free>;

inline std::string text(const char *of) { return of ? of : ""; }

struct Problem {
    std::string kind, field, reason, function, since, fix;
};

// A failure; it has copied everything, so it can be thrown and kept.
class Error : public std::runtime_error {
  public:
    explicit Error(Handle<krundl_error> error)
        : std::runtime_error(text(krundl_error_message(error.get()))), status(krundl_error_status(error.get())) {
        for (std::size_t i = 0; i < krundl_error_problem_count(error.get()); i++)
            problems.push_back({text(krundl_error_problem_kind(error.get(), i)),
                                text(krundl_error_problem_field(error.get(), i)),
                                text(krundl_error_problem_reason(error.get(), i)),
                                text(krundl_error_problem_function(error.get(), i)),
                                text(krundl_error_problem_since(error.get(), i)),
                                text(krundl_error_problem_fix(error.get(), i))});
    }

    krundl_status status;
    std::vector<Problem> problems;
};

// Takes the error by its place, because arguments may be evaluated in any order.
inline void check(krundl_status status, krundl_error **error) {
    if (status != KRUNDL_STATUS_OK)
        throw Error(Handle<krundl_error>(*error));
}

class Probe {
  public:
    // An empty path searches.
    explicit Probe(const std::string &library = "") {
        krundl_probe_options options = krundl_probe_options();
        options.struct_size = sizeof options;
        options.library = library.empty() ? nullptr : library.c_str();
        krundl_probe *out = nullptr;
        krundl_error *error = nullptr;
        check(krundl_probe_new(&options, &out, &error), &error);
        handle.reset(out);
    }

    bool can_mount_read_only() const { return krundl_probe_can_mount_read_only(handle.get()); }
    std::string version() const { return text(krundl_probe_version(handle.get())); }

    Handle<krundl_probe> handle;
};

class Spec {
  public:
    Spec(std::uint32_t vcpus, std::uint32_t memory_mib) : handle(krundl_spec_new(vcpus, memory_mib)) {}

    Spec &root(const std::string &dir, bool read_only = false) {
        krundl_spec_set_root_dir(handle.get(), dir.c_str(), read_only);
        return *this;
    }
    Spec &mount(const std::string &host, const std::string &guest, bool read_only = false) {
        krundl_spec_add_mount(handle.get(), host.c_str(), guest.c_str(), read_only);
        return *this;
    }
    Spec &exec(const std::string &path, const std::vector<std::string> &args = {}) {
        krundl_spec_set_exec(handle.get(), path.c_str());
        for (const std::string &arg : args)
            krundl_spec_add_arg(handle.get(), arg.c_str());
        return *this;
    }

    Handle<krundl_spec> handle;
};

// Everything that stands between a spec and a VM; nothing is in the way of an empty list.
inline std::vector<Problem> problems(const Probe &probe, const Spec &spec) {
    krundl_error *error = nullptr;
    krundl_status status = krundl_check(probe.handle.get(), spec.handle.get(), &error);
    if (status == KRUNDL_STATUS_OK)
        return {};
    Error refused{Handle<krundl_error>(error)};
    if (status == KRUNDL_STATUS_INVALID_SPEC || status == KRUNDL_STATUS_UNSUPPORTED)
        return refused.problems;
    throw refused;
}

// What files say about themselves that are read and not opened: an item for each architecture in a file, and one for each
// file that cannot be read.
class Inspection {
  public:
    explicit Inspection(const std::vector<std::string> &files, const std::string &root = "") {
        std::vector<const char *> array;
        for (const std::string &file : files)
            array.push_back(file.c_str());
        array.push_back(nullptr);
        krundl_inspection *out = nullptr;
        krundl_error *error = nullptr;
        check(krundl_inspect(array.data(), root.empty() ? nullptr : root.c_str(), &out, &error), &error);
        handle.reset(out);
    }

    std::size_t size() const { return krundl_inspection_count(handle.get()); }
    std::string path(std::size_t i) const { return text(krundl_inspection_path(handle.get(), i)); }
    // Why it could not be read; empty if it was.
    std::string error(std::size_t i) const { return text(krundl_inspection_error_message(handle.get(), i)); }
    std::string architecture(std::size_t i) const { return text(krundl_inspection_architecture(handle.get(), i)); }
    // Empty where it is no libkrun.
    std::string version(std::size_t i) const { return text(krundl_inspection_version(handle.get(), i)); }
    bool has(std::size_t i, const std::string &function) const {
        return krundl_inspection_has(handle.get(), i, function.c_str()) == 1;
    }

    Handle<krundl_inspection> handle;
};

class Vm {
  public:
    explicit Vm(krundl_vm *vm) : handle(vm) {}

    std::int64_t pid() const { return krundl_vm_pid(handle.get()); }

    // Waits until it is up; a negative time is without end.
    void wait_ready(std::int64_t timeout_ms = -1) const {
        krundl_error *error = nullptr;
        check(krundl_vm_wait_ready(handle.get(), timeout_ms, &error), &error);
    }

    // Asks the workload to end; false where it cannot hear and the VM's process was asked instead.
    bool terminate() const {
        krundl_error *error = nullptr;
        bool workload = false;
        check(krundl_vm_terminate(handle.get(), &workload, &error), &error);
        return workload;
    }

    // Presses ^C on the guest's console.
    void interrupt() const {
        krundl_error *error = nullptr;
        check(krundl_vm_interrupt(handle.get(), &error), &error);
    }

    // Lets it run on, and returns the number of its process, which the caller has to reap.
    std::int64_t detach() { return krundl_vm_detach(handle.release()); }

    // Waits until it has ended, and returns the status as a shell would put it.
    int wait() const {
        krundl_error *error = nullptr;
        std::int32_t status = -1;
        check(krundl_vm_wait(handle.get(), -1, nullptr, &status, &error), &error);
        return status;
    }

    Handle<krundl_vm> handle;
};

class Plan {
  public:
    Plan(const Probe &probe, const Spec &spec) {
        krundl_plan *out = nullptr;
        krundl_error *error = nullptr;
        check(krundl_plan_new(probe.handle.get(), spec.handle.get(), &out, &error), &error);
        handle.reset(out);
    }

    std::vector<std::string> calls() const {
        std::vector<std::string> names;
        for (std::size_t i = 0; i < krundl_plan_call_count(handle.get()); i++)
            names.push_back(krundl_plan_call_function(handle.get(), i));
        return names;
    }

    Vm launch(const krundl_launch_options &options) const {
        krundl_vm *out = nullptr;
        krundl_error *error = nullptr;
        check(krundl_launch(handle.get(), &options, &out, &error), &error);
        return Vm(out);
    }

    Handle<krundl_plan> handle;
};

} // namespace krundl

#endif
