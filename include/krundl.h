/* krundl: opens libkrun at run time, tells what it can do, and runs microVMs with it in a child process.
 *
 * Written by `cargo xtask generate` from src/capi. docs/embedding-c.md begins with a program that runs; docs/abi.md says
 * what stays as it is.
 *
 * Ownership. What a function gives through `out` or `error` is the caller's, to be freed with that type's _free. Every
 * text that krundl returns belongs to the handle that it was asked of, lives as long as that, ends with NUL and is UTF-8.
 * Nothing that the caller gives is kept.
 *
 * NULL. A handle, text or pointer that must not be NULL is refused with KRUNDL_STATUS_INVALID_ARGUMENT; questions about a
 * NULL handle answer NULL, 0 or false; every _free takes NULL. `out` and `error` are written to by every call, also with
 * NULL.
 *
 * Threads. Handles that do not change (krundl_error, krundl_probe, krundl_inspection, krundl_plan, krundl_report) and
 * krundl_vm and krundl_exec may be used by any number of threads at the same time; krundl_spec by one at a time. Nothing is
 * kept by thread.
 *
 * Errors. A function that can fail returns a krundl_status, and the reason through `error`, which may be NULL. Whatever
 * goes wrong inside krundl is KRUNDL_STATUS_INTERNAL: no panic gets out. Only a lack of memory ends the process.
 *
 * Paths are C strings of any bytes, other texts UTF-8. A structure begins with its size in bytes, which the caller sets.
 */

#ifndef KRUNDL_H
#define KRUNDL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number of the ABI, which is that of the soname: krundl_abi_version() of the library that is loaded is the same. */
#define KRUNDL_ABI_VERSION 1
/* The version of krundl that this header is of; functions may be younger than the library that is loaded. */
#define KRUNDL_VERSION "0.1.0"
#define KRUNDL_VERSION_MAJOR 0
#define KRUNDL_VERSION_MINOR 1
#define KRUNDL_VERSION_PATCH 0
/* To compare with, as in `#if KRUNDL_VERSION_NUMBER >= 0x000100`. */
#define KRUNDL_VERSION_NUMBER 0x000100


/**
 * How a call went. The numbers are those of docs/errors.md, the same in every language; none is ever reused, and new
 * ones are added.
 */
enum krundl_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It did what was asked for.
     */
    KRUNDL_STATUS_OK = 0,
    /**
     * No candidate is a libkrun that opens.
     */
    KRUNDL_STATUS_LIBRARY_NOT_FOUND = 100,
    /**
     * The library speaks an API generation that krundl does not.
     */
    KRUNDL_STATUS_GENERATION_UNKNOWN = 101,
    /**
     * The library is not the one that was probed.
     */
    KRUNDL_STATUS_LIBRARY_CHANGED = 102,
    /**
     * The spec is wrong in itself or on this host.
     */
    KRUNDL_STATUS_INVALID_SPEC = 200,
    /**
     * This libkrun cannot do what the spec asks for.
     */
    KRUNDL_STATUS_UNSUPPORTED = 201,
    /**
     * The helper program krundl-vmm was not found.
     */
    KRUNDL_STATUS_HELPER_NOT_FOUND = 300,
    /**
     * The helper is of another version, or is no krundl-vmm at all.
     */
    KRUNDL_STATUS_HELPER_MISMATCH = 301,
    /**
     * The helper could not be started, or stopped in the middle of a sentence.
     */
    KRUNDL_STATUS_HELPER_FAILED = 302,
    /**
     * A program that krundl starts for a network card could not be started, or ended before it served.
     */
    KRUNDL_STATUS_NETWORK = 303,
    /**
     * One of libkrun's functions refused.
     */
    KRUNDL_STATUS_CALL = 400,
    /**
     * krun_start_enter came back instead of running the VM.
     */
    KRUNDL_STATUS_START = 401,
    /**
     * libkrun's process died before the guest was up.
     */
    KRUNDL_STATUS_CRASHED = 402,
    /**
     * The VM ended without the guest ever having been up.
     */
    KRUNDL_STATUS_NEVER_UP = 403,
    /**
     * krundl's program in the guest could not prepare the workload.
     */
    KRUNDL_STATUS_GUEST_SETUP = 404,
    /**
     * The guest was up and vanished without telling how the workload ended.
     */
    KRUNDL_STATUS_GUEST_LOST = 405,
    /**
     * The time given was over.
     */
    KRUNDL_STATUS_TIMED_OUT = 406,
    /**
     * Readiness cannot be told with this libkrun.
     */
    KRUNDL_STATUS_READINESS_UNKNOWN = 407,
    /**
     * The guest's control port cannot be reached, or the conversation broke off.
     */
    KRUNDL_STATUS_CONTROL_LOST = 408,
    /**
     * The operating system refused something that krundl itself needs.
     */
    KRUNDL_STATUS_OS = 500,
    /**
     * A function was given something that it cannot take: NULL, text that is not UTF-8, a name that there is not.
     */
    KRUNDL_STATUS_INVALID_ARGUMENT = 600,
    /**
     * krundl itself has failed, which is a mistake in it.
     */
    KRUNDL_STATUS_INTERNAL = 601,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_status krundl_status;
#else
typedef int32_t krundl_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An API generation of libkrun.
 */
enum krundl_generation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * One that krundl does not speak: nothing of it is called.
     */
    KRUNDL_GENERATION_UNKNOWN = 0,
    /**
     * Context numbers and setters: libkrun 0.1 to 1.19.
     */
    KRUNDL_GENERATION_ONE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_generation krundl_generation;
#else
typedef int32_t krundl_generation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whether a function of libkrun does what its name says.
 */
enum krundl_support
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * krundl knows no function of that name.
     */
    KRUNDL_SUPPORT_NO_SUCH_FUNCTION = -1,
    /**
     * It is not there.
     */
    KRUNDL_SUPPORT_ABSENT = 0,
    /**
     * It is there, and a build that has it means it.
     */
    KRUNDL_SUPPORT_YES = 1,
    /**
     * It is there and refuses: this build lacks the means.
     */
    KRUNDL_SUPPORT_REFUSES = 2,
    /**
     * It is there, returns 0 and does nothing: this build lacks the means.
     */
    KRUNDL_SUPPORT_NO_EFFECT = 3,
    /**
     * It is there, and whether this build has the means cannot be told.
     */
    KRUNDL_SUPPORT_UNKNOWN = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_support krundl_support;
#else
typedef int32_t krundl_support;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a libkrun says about a feature.
 */
enum krundl_feature_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * krundl knows no feature of that name.
     */
    KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE = -1,
    /**
     * It was not asked: it has no krun_has_feature.
     */
    KRUNDL_FEATURE_STATE_UNASKED = 0,
    /**
     * It was built with it.
     */
    KRUNDL_FEATURE_STATE_YES = 1,
    /**
     * It was built without it.
     */
    KRUNDL_FEATURE_STATE_NO = 2,
    /**
     * It does not know its number: it is older than the feature.
     */
    KRUNDL_FEATURE_STATE_UNKNOWN = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_feature_state krundl_feature_state;
#else
typedef int32_t krundl_feature_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a VM ended.
 */
enum krundl_exit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It still runs.
     */
    KRUNDL_EXIT_RUNNING = 0,
    /**
     * The workload exited with `status`, 0 to 255.
     */
    KRUNDL_EXIT_CODE = 1,
    /**
     * A signal killed the workload; `status` is 128 and its number.
     */
    KRUNDL_EXIT_SIGNAL = 2,
    /**
     * The workload could not be executed; `status` is 127 where there is no such program, else 126.
     */
    KRUNDL_EXIT_NOT_EXECUTED = 3,
    /**
     * The caller stopped the VM before the workload had ended; `status` is 128 and the signal's number.
     */
    KRUNDL_EXIT_STOPPED = 4,
    /**
     * The VM's process exited with `status`, and this libkrun has no way for the guest to say more.
     */
    KRUNDL_EXIT_UNPROVED = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_exit krundl_exit;
#else
typedef int32_t krundl_exit;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a check came out.
 */
enum krundl_check_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no such check.
     */
    KRUNDL_CHECK_STATUS_NONE = -1,
    /**
     * Fine.
     */
    KRUNDL_CHECK_STATUS_PASS = 0,
    /**
     * It may be in the way.
     */
    KRUNDL_CHECK_STATUS_WARN = 1,
    /**
     * It is in the way.
     */
    KRUNDL_CHECK_STATUS_FAIL = 2,
    /**
     * It was not checked: it does not apply, or something else is missing.
     */
    KRUNDL_CHECK_STATUS_SKIP = 3,
    /**
     * What was looked at took its process along.
     */
    KRUNDL_CHECK_STATUS_CRASH = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_check_status krundl_check_status;
#else
typedef int32_t krundl_check_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Where one of the workload's standard streams goes.
 */
enum krundl_stream
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Where the caller's own goes.
     */
    KRUNDL_STREAM_INHERIT = 0,
    /**
     * Nowhere; reading gives the end at once.
     */
    KRUNDL_STREAM_NULL = 1,
    /**
     * Into a pipe, whose other end krundl_vm_take_input, _output or _error gives.
     */
    KRUNDL_STREAM_PIPE = 2,
    /**
     * To the descriptor that the options name.
     */
    KRUNDL_STREAM_DESCRIPTOR = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum krundl_stream krundl_stream;
#else
typedef int32_t krundl_stream;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why a call failed: everything that krundl knows about it. It does not change, so any thread may read it.
 */
typedef struct krundl_error krundl_error;

/**
 * A command in a guest. Data flows while somebody waits for it. Any thread may call anything at any time, but
 * krundl_exec_free.
 */
typedef struct krundl_exec krundl_exec;

/**
 * What files say about themselves that were read and not opened: an item for each architecture in each of them, and
 * one for each file that could not be read. It does not change, so any thread may ask it.
 */
typedef struct krundl_inspection krundl_inspection;

/**
 * An ordered list of calls, with everything open that was checked for it. It does not change: any thread may read and
 * launch it, any number of times.
 */
typedef struct krundl_plan krundl_plan;

/**
 * A libkrun that was probed: what it is and what it can do. It does not change, so any thread may ask it.
 */
typedef struct krundl_probe krundl_probe;

/**
 * What the doctor found. It does not change, so any thread may read it.
 */
typedef struct krundl_report krundl_report;

/**
 * A microVM as its user describes it (docs/spec.md). It changes with every setter: one thread at a time.
 */
typedef struct krundl_spec krundl_spec;

/**
 * A VM that runs, or has ended. Any thread may call anything at any time, and one may wait while another one kills;
 * only the last call, krundl_vm_free or krundl_vm_detach, must be alone. It belongs to the process that launched it: in a
 * fork of that everything is refused with KRUNDL_STATUS_INVALID_ARGUMENT, and krundl_vm_free frees the handle alone.
 */
typedef struct krundl_vm krundl_vm;

/**
 * What to probe. Zeroes are the defaults: `krundl_probe_options options = {.struct_size = sizeof options};`. Every
 * text may be NULL, and nothing of it is kept.
 */
typedef struct krundl_probe_options {
    /**
     * sizeof(krundl_probe_options), so that fields can be added.
     */
    size_t struct_size;
    /**
     * The library's file; NULL: KRUNDL_LIBRARY, then a search.
     */
    const char *library;
    /**
     * A directory to search instead of the usual places; NULL: KRUNDL_LIBRARY_DIR, then a search.
     */
    const char *directory;
    /**
     * The helper program krundl-vmm; NULL: KRUNDL_VMM, then a search.
     */
    const char *helper;
    /**
     * How long opening one candidate may take before it counts as hung, in milliseconds; 0: 10 seconds.
     */
    uint64_t timeout_ms;
} krundl_probe_options;

/**
 * A directory of the host that the guest sees. Zeroes are the defaults: `krundl_mount mount = {.struct_size = sizeof
 * mount};`.
 */
typedef struct krundl_mount {
    /**
     * sizeof(krundl_mount), so that fields can be added.
     */
    size_t struct_size;
    /**
     * The directory on the host; not NULL.
     */
    const char *host;
    /**
     * Where the guest sees it: absolute, UTF-8; NULL: "/workspace".
     */
    const char *guest;
    /**
     * The virtio-fs tag, at most 36 bytes; NULL: chosen by krundl.
     */
    const char *tag;
    /**
     * Who owns what: "complete" or "simplified"; NULL: libkrun's default.
     */
    const char *semantics;
    /**
     * Size of the DAX window in MiB, a multiple of 2; 0 for none.
     */
    uint32_t dax_mib;
    /**
     * Whether the guest may not write, enforced on the host's side.
     */
    bool read_only;
    /**
     * Whether the guest may write without changing anything on the host.
     */
    bool overlay;
} krundl_mount;

/**
 * A disk. Zeroes are the defaults: `krundl_disk disk = {.struct_size = sizeof disk};`.
 */
typedef struct krundl_disk {
    /**
     * sizeof(krundl_disk), so that fields can be added.
     */
    size_t struct_size;
    /**
     * The image or block device; not NULL.
     */
    const char *path;
    /**
     * The disk's serial number, at most 20 bytes; NULL: chosen by krundl.
     */
    const char *id;
    /**
     * "raw", "qcow2" or "vmdk"; NULL: "raw".
     */
    const char *format;
    /**
     * What the guest's flushes do: "none", "relaxed" or "full"; NULL: libkrun's default.
     */
    const char *sync;
    /**
     * Whether the guest may not write to it.
     */
    bool read_only;
    /**
     * Whether the host's page cache is passed by.
     */
    bool direct_io;
} krundl_disk;

/**
 * A network card: exactly one of passt, gvproxy, unixstream, unixgram and tap. Zeroes are the defaults: `krundl_nic nic =
 * {sizeof nic};`.
 */
typedef struct krundl_nic {
    /**
     * sizeof(krundl_nic), so that fields can be added.
     */
    size_t struct_size;
    /**
     * The stream socket on which a passt listens, or NULL.
     */
    const char *unixstream;
    /**
     * The datagram socket of a gvproxy or vmnet-helper, or NULL.
     */
    const char *unixgram;
    /**
     * The name of a tap interface of the host, or NULL.
     */
    const char *tap;
    /**
     * The hardware address, such as "5a:94:ef:e4:0c:ee"; NULL: chosen by krundl.
     */
    const char *mac;
    /**
     * What is offered to the guest's driver: an array that ends with NULL, of "csum", "guest_csum", "guest_tso4",
     * "guest_tso6", "guest_ufo", "host_tso4", "host_tso6", "host_ufo"; NULL: libkrun's usual set.
     */
    const char *const *features;
    /**
     * The card's IPv4 address and its network's prefix, such as "192.0.2.7/24"; NULL: with passt 10.0.2.15/24, else
     * none.
     */
    const char *address;
    /**
     * The way out of that network; NULL: with passt 10.0.2.2, or the network's first address, else none.
     */
    const char *gateway;
    /**
     * The name servers: an array that ends with NULL; NULL: those that DHCP names, with passt the host's.
     */
    const char *const *dns;
    /**
     * The program of passt; NULL: searched in PATH.
     */
    const char *passt_program;
    /**
     * Whether the card has a passt of its own, which krundl starts, and which ends with the VM;
     * krundl_spec_add_forward opens ports by it.
     */
    bool passt;
    /**
     * With passt, whether the guest reaches what listens on this host's loopback, at the gateway's address.
     */
    bool host_loopback;
    /**
     * Whether the other end of unixgram waits for vfkit's first word, as gvproxy does.
     */
    bool vfkit;
    /**
     * Whether krundl's program in the guest asks for an address with DHCP.
     */
    bool dhcp;
    /**
     * Whether the workload runs although the card could not be set up.
     */
    bool optional;
    /**
     * Whether the card has a gvproxy of its own, which krundl starts, and which ends with the VM;
     * krundl_spec_add_forward opens ports by it.
     */
    bool gvproxy;
    /**
     * The program of gvproxy; NULL: searched in PATH and where podman keeps it.
     */
    const char *gvproxy_program;
} krundl_nic;

/**
 * A display of the graphics card. Zeroes are the defaults: `krundl_display display = {.struct_size = sizeof
 * display};`.
 */
typedef struct krundl_display {
    /**
     * sizeof(krundl_display), so that fields can be added.
     */
    size_t struct_size;
    /**
     * A file with the display's whole EDID block instead of the fields below width and height, or NULL.
     */
    const char *edid;
    /**
     * Width in pixels.
     */
    uint32_t width;
    /**
     * Height in pixels.
     */
    uint32_t height;
    /**
     * Refresh rate in Hz; 0: libkrun's default.
     */
    uint32_t refresh_rate;
    /**
     * Dots per inch; 0: libkrun's default.
     */
    uint32_t dpi;
    /**
     * Width in millimetres; 0 with height_mm 0: libkrun's default.
     */
    uint16_t width_mm;
    /**
     * Height in millimetres.
     */
    uint16_t height_mm;
} krundl_display;

/**
 * How a VM's process is started. Zeroes are the defaults: `krundl_launch_options options = {.struct_size = sizeof
 * options};`. Descriptors are copied and stay the caller's.
 */
typedef struct krundl_launch_options {
    /**
     * sizeof(krundl_launch_options), so that fields can be added.
     */
    size_t struct_size;
    /**
     * The helper program krundl-vmm; NULL: KRUNDL_VMM, then a search.
     */
    const char *helper;
    /**
     * The workload's standard input: a krundl_stream.
     */
    int32_t input;
    /**
     * Its descriptor, for KRUNDL_STREAM_DESCRIPTOR.
     */
    int32_t input_fd;
    /**
     * The workload's standard output: a krundl_stream.
     */
    int32_t output;
    /**
     * Its descriptor, for KRUNDL_STREAM_DESCRIPTOR.
     */
    int32_t output_fd;
    /**
     * The workload's standard error: a krundl_stream.
     */
    int32_t error;
    /**
     * Its descriptor, for KRUNDL_STREAM_DESCRIPTOR.
     */
    int32_t error_fd;
    /**
     * The file that libkrun's log is added to, for KRUNDL_STREAM_DESCRIPTOR in `log`.
     */
    int32_t log_fd;
    /**
     * libkrun's log: KRUNDL_STREAM_INHERIT keeps it for krundl_vm_log (or in the spec's log_file),
     * KRUNDL_STREAM_DESCRIPTOR adds it to the file log_fd.
     */
    int32_t log;
    /**
     * How long it may take until libkrun is entered, in milliseconds; 0: 30 seconds.
     */
    uint64_t start_timeout_ms;
    /**
     * Whether the VM dies with this process, however that ends.
     */
    bool die_with_parent;
    /**
     * Whether the VM's process leads a session of its own, away from the caller's terminal and its signals.
     */
    bool new_session;
} krundl_launch_options;

/**
 * How a command is run. Zeroes are the defaults: `krundl_exec_options options = {.struct_size = sizeof options};`.
 * Descriptors are copied and stay the caller's.
 */
typedef struct krundl_exec_options {
    /**
     * sizeof(krundl_exec_options), so that fields can be added.
     */
    size_t struct_size;
    /**
     * Variables, each NAME=value, up to a NULL; on top of the workload's. NULL for none.
     */
    const char *const *env;
    /**
     * The working directory in the guest; NULL for the workload's.
     */
    const char *workdir;
    /**
     * The user that it runs as.
     */
    uint32_t uid;
    /**
     * The group; 0 for a user other than 0: that of the user in the guest's /etc/passwd.
     */
    uint32_t gid;
    /**
     * Standard input: KRUNDL_STREAM_INHERIT, _NULL or _DESCRIPTOR.
     */
    int32_t input;
    /**
     * Its descriptor.
     */
    int32_t input_fd;
    /**
     * Standard output: the same.
     */
    int32_t output;
    /**
     * Its descriptor.
     */
    int32_t output_fd;
    /**
     * Standard error: the same.
     */
    int32_t error;
    /**
     * Its descriptor.
     */
    int32_t error_fd;
    /**
     * How long a guest that does not answer yet is waited for, in milliseconds; 0: 10 seconds.
     */
    uint64_t connect_timeout_ms;
    /**
     * The lines of its terminal.
     */
    uint16_t rows;
    /**
     * The characters in each.
     */
    uint16_t columns;
    /**
     * Whether it has a terminal of its own, of that size, instead of three streams: output and errors are one.
     */
    bool terminal;
    /**
     * Whether its environment has those variables alone.
     */
    bool clear_env;
} krundl_exec_options;

/**
 * A guest's figures at one moment; one that its kernel does not have is 0.
 */
typedef struct krundl_figures {
    /**
     * sizeof(krundl_figures), so that fields can be added.
     */
    size_t struct_size;
    /**
     * Since the guest's kernel started, in milliseconds.
     */
    uint64_t uptime_ms;
    /**
     * Processors that are running.
     */
    uint64_t cpus;
    /**
     * Their time in programs since then, in milliseconds, all together.
     */
    uint64_t cpu_user_ms;
    /**
     * In the kernel.
     */
    uint64_t cpu_system_ms;
    /**
     * With nothing to do.
     */
    uint64_t cpu_idle_ms;
    /**
     * With nothing to do but to wait for a disk.
     */
    uint64_t cpu_wait_ms;
    /**
     * Taken away by the host, as far as it says so.
     */
    uint64_t cpu_stolen_ms;
    /**
     * Memory that the guest's kernel has to give, in bytes.
     */
    uint64_t memory_total;
    /**
     * In use for nothing.
     */
    uint64_t memory_free;
    /**
     * What programs could still get, by the kernel's estimate.
     */
    uint64_t memory_available;
    /**
     * Files kept in memory.
     */
    uint64_t memory_cached;
    /**
     * Processes that run or wait for a disk, on average over a minute.
     */
    double load_1;
    /**
     * Over 5 minutes.
     */
    double load_5;
    /**
     * Over 15 minutes.
     */
    double load_15;
    /**
     * Processes that there are.
     */
    uint64_t processes;
} krundl_figures;

/**
 * What the doctor is to find out. Zeroes are the defaults: `krundl_doctor_options options = {.struct_size = sizeof
 * options};`. Every pointer may be NULL, and nothing of it is kept.
 */
typedef struct krundl_doctor_options {
    /**
     * sizeof(krundl_doctor_options), so that fields can be added.
     */
    size_t struct_size;
    /**
     * Which libkrun, and how it is probed; NULL: as krundl_probe_new does it.
     */
    const struct krundl_probe_options *probe;
    /**
     * A spec whose mounts are judged, and nothing else of it.
     */
    const struct krundl_spec *mounts_of;
    /**
     * A kernel to judge: a file.
     */
    const char *kernel;
    /**
     * A release to compare with, such as "1.19.7".
     */
    const char *compare;
    /**
     * Only these checks, by id or group: an array that ends with NULL.
     */
    const char *const *only;
    /**
     * Whether to boot a guest, which may take a minute.
     */
    bool boot;
} krundl_doctor_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The number of the ABI that this library speaks, which is that of its soname. It is KRUNDL_ABI_VERSION of the header
 * that belongs to it; functions may have been added since the header was made.
 *
 * Threads: any. Cannot fail.
 */
uint32_t krundl_abi_version(void);

/**
 * This library's version, such as "0.1.0". The text is the library's own and lives for ever.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_version(void);

/**
 * The name of a status as it is in JSON, such as "library_not_found"; NULL for a number that this library does not
 * know. The text is the library's own and lives for ever.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_status_name(int32_t status);

/**
 * Frees an error; its texts go with it. error: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_error_free(struct krundl_error *error);

/**
 * The status that came with the error; KRUNDL_STATUS_OK for NULL.
 *
 * Threads: any. Cannot fail.
 */
krundl_status krundl_error_status(const struct krundl_error *error);

/**
 * What went wrong and what would mend it, for people: one or more lines. NULL for NULL. The text is the error's
 * own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_message(const struct krundl_error *error);

/**
 * The error as JSON: an object with `error` (code, name, message), `problems` and, where there are any,
 * `attempts`. NULL for NULL. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_json(const struct krundl_error *error);

/**
 * What libkrun, its process or the guest's kernel wrote, without control characters, at most about 4 KiB; NULL
 * where there is nothing. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_words(const struct krundl_error *error);

/**
 * The function of libkrun that refused, or during which its process died or was given up; NULL where there is
 * none. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_function(const struct krundl_error *error);

/**
 * The positive errno that libkrun or the operating system gave; 0 where there is none
 * and for NULL.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_error_errno(const struct krundl_error *error);

/**
 * The number of problems, which only KRUNDL_STATUS_INVALID_SPEC and KRUNDL_STATUS_UNSUPPORTED have; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_error_problem_count(const struct krundl_error *error);

/**
 * Whose fault a problem is: "invalid" (the spec's own), "host" (it does not fit this host), "unsupported" (this
 * libkrun cannot do it), "not_offered" (krundl does not); NULL for NULL and an index that there is not. index: from 0.
 * The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_kind(const struct krundl_error *error, size_t index);

/**
 * The field of the spec that a problem is about, such as "mounts[0].read_only"; NULL for an index that there is
 * not. index: from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_field(const struct krundl_error *error, size_t index);

/**
 * Why, in a sentence; NULL for NULL and an index that there is not. index: from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_reason(const struct krundl_error *error, size_t index);

/**
 * The function of libkrun that is missing; NULL where none is; NULL for NULL and an index that there is not. index:
 * from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_function(const struct krundl_error *error, size_t index);

/**
 * The first release of libkrun that has that function, such as "1.18.0"; NULL where none is missing; NULL for an
 * index that there is not. index: from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_since(const struct krundl_error *error, size_t index);

/**
 * What libkrun must be built with for that function; NULL where every build has it; NULL for an index that there
 * is not. index: from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_built_with(const struct krundl_error *error, size_t index);

/**
 * What would mend it; NULL where that is not known; NULL for NULL and an index that there is not. index: from 0. The
 * text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_problem_fix(const struct krundl_error *error, size_t index);

/**
 * The number of candidates for libkrun that were tried, which only KRUNDL_STATUS_LIBRARY_NOT_FOUND has; 0 for
 * NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_error_attempt_count(const struct krundl_error *error);

/**
 * A candidate: a path, or a soname for the system's loader; NULL for NULL and an index that there is not. index: from
 * 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_attempt_candidate(const struct krundl_error *error, size_t index);

/**
 * Why it was tried: "explicit", "env_library", "directory", "env_directory", "loader", "well_known", "bundled"; NULL
 * for an index that there is not. index: from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_attempt_origin(const struct krundl_error *error, size_t index);

/**
 * Why it was not it: "missing", "unreadable", "not_a_library", "wrong_architecture", "missing_dependency",
 * "not_libkrun", "crashed", "refused"; NULL for the chosen one; NULL for NULL and an index that there is not. index:
 * from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_attempt_kind(const struct krundl_error *error, size_t index);

/**
 * The loader's own words, or what was found in the file; NULL for the chosen one; NULL for an index that there is
 * not. index: from 0. The text is the error's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_error_attempt_message(const struct krundl_error *error, size_t index);

/**
 * Opens libkrun in a child process, so that whatever it does there cannot hurt the caller, and learns what it can do.
 *
 * options: NULL for all defaults. out: gets the probe, which is the caller's, to be freed with krundl_probe_free; NULL
 * on failure. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
 * NULL.
 *
 * Threads: any, also at the same time. It waits for the child, usually some milliseconds. It changes nothing of the
 * process, starts no thread, and no child of it is left.
 *
 * Errors: KRUNDL_STATUS_LIBRARY_NOT_FOUND with every attempt, KRUNDL_STATUS_HELPER_NOT_FOUND,
 * KRUNDL_STATUS_HELPER_MISMATCH, KRUNDL_STATUS_HELPER_FAILED, KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_probe_new(const struct krundl_probe_options *options,
                               struct krundl_probe **out,
                               struct krundl_error **error);

/**
 * Frees a probe; its texts go with it, plans made with it stay. probe: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_probe_free(struct krundl_probe *probe);

/**
 * The library as it was found: the path that was tried, or the one that the loader chose. NULL for NULL. The text
 * is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_path(const struct krundl_probe *probe);

/**
 * The same without links. NULL for NULL. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_real_path(const struct krundl_probe *probe);

/**
 * The name that it gives itself; NULL where it has none. NULL for NULL. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_soname(const struct krundl_probe *probe);

/**
 * Its variant: "plain", "sev", "tdx", "aws_nitro", "efi". NULL for NULL. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_flavour(const struct krundl_probe *probe);

/**
 * The releases that it can be, as a semver requirement such as "=1.18.0" or ">=1.18.0, <1.19.0"; "*" where its
 * functions fit none. NULL for NULL. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_version(const struct krundl_probe *probe);

/**
 * The library in a few words, such as "libkrun =1.18.0 (/usr/lib64/libkrun.so.1.18.0)". NULL for NULL. The text is
 * the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_description(const struct krundl_probe *probe);

/**
 * How its API generation was told. NULL for NULL. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_generation_reason(const struct krundl_probe *probe);

/**
 * What libraries printed when they were opened, without control characters; NULL where nothing was. NULL for NULL.
 * The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_words(const struct krundl_probe *probe);

/**
 * How the child ended after it had told what libkrun is, if not well; NULL if well. NULL for NULL. The text is the
 * probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_died(const struct krundl_probe *probe);

/**
 * Everything that was found, as JSON: the parts `library`, `levels`, `doubts`, `attempts` and `firmware` of
 * docs/doctor.schema.json. NULL for NULL. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_json(const struct krundl_probe *probe);

/**
 * Whether it shares directories of the host; false for NULL.
 *
 * Threads: any. Cannot fail.
 */
bool krundl_probe_can_mount(const struct krundl_probe *probe);

/**
 * Whether it shares them read-only, enforced on the host's side; false for NULL.
 *
 * Threads: any. Cannot fail.
 */
bool krundl_probe_can_mount_read_only(const struct krundl_probe *probe);

/**
 * Its API generation; KRUNDL_GENERATION_UNKNOWN for NULL.
 *
 * Threads: any. Cannot fail.
 */
krundl_generation krundl_probe_generation(const struct krundl_probe *probe);

/**
 * The number of functions that krundl knows and the library has; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_probe_function_count(const struct krundl_probe *probe);

/**
 * How far a group of its functions goes; 0 is not at all, -1 for NULL or a group that there is not. group:
 * "virtiofs" (1: shares, 2: with a DAX window, 3: read-only, 4: with a choice of ownership semantics), "disk" (1:
 * raw, 2: qcow2 and vmdk, 3: direct I/O and sync modes), "net" (1: one card, 2: several), "vsock" (1: ports from
 * guest to host, 2: and back, 3: an explicit device), "console" (1: output to a file, 2: explicit, 3: named
 * ports), "kernel" (1: of the user's own, 2: firmware as well), "overlay" (1).
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_probe_level(const struct krundl_probe *probe, const char *group);

/**
 * Whether the library has a function, such as "krun_add_virtiofs3"; presence is no proof, see
 * krundl_probe_support. false for NULL and for names that krundl does not know.
 *
 * Threads: any. Cannot fail.
 */
bool krundl_probe_has(const struct krundl_probe *probe, const char *function);

/**
 * Whether a function does what its name says; KRUNDL_SUPPORT_NO_SUCH_FUNCTION for NULL and for names that krundl
 * does not know.
 *
 * Threads: any. Cannot fail.
 */
krundl_support krundl_probe_support(const struct krundl_probe *probe, const char *function);

/**
 * What the library says about a feature that it may be built with: "net", "blk", "gpu", "snd", "input", "efi",
 * "tee", "amd_sev", "intel_tdx", "aws_nitro", "virgl_resource_map2", "init_blob".
 * KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE for NULL and for other names.
 *
 * Threads: any. Cannot fail.
 */
krundl_feature_state krundl_probe_feature(const struct krundl_probe *probe, const char *feature);

/**
 * Whether it is a release, such as "1.18.0", or a later one, as its functions prove: 1 or 0; -1 for NULL or what
 * is no release.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_probe_at_least(const struct krundl_probe *probe, const char *release);

/**
 * The number of witnesses to its version; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_probe_evidence_count(const struct krundl_probe *probe);

/**
 * What kind of witness: "function_present", "function_absent", "feature_id", "file_name", "pkg_config"; NULL for
 * an index that there is not. index: from 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_evidence_kind(const struct krundl_probe *probe, size_t index);

/**
 * The releases that fit it, as a semver requirement; NULL for NULL and an index that there is not. index: from 0. The
 * text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_evidence_says(const struct krundl_probe *probe, size_t index);

/**
 * Why; NULL for NULL and an index that there is not. index: from 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_evidence_because(const struct krundl_probe *probe, size_t index);

/**
 * The number of contradictions among them, none of which was resolved by guessing; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_probe_conflict_count(const struct krundl_probe *probe);

/**
 * What contradicts what; NULL for NULL and an index that there is not. index: from 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_conflict(const struct krundl_probe *probe, size_t index);

/**
 * The number of candidates for libkrun that were tried, the chosen one last; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_probe_attempt_count(const struct krundl_probe *probe);

/**
 * A candidate: a path, or a soname for the system's loader; NULL for NULL and an index that there is not. index: from
 * 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_attempt_candidate(const struct krundl_probe *probe, size_t index);

/**
 * Why it was tried: "explicit", "env_library", "directory", "env_directory", "loader", "well_known", "bundled"; NULL
 * for an index that there is not. index: from 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_attempt_origin(const struct krundl_probe *probe, size_t index);

/**
 * Why it was not it: "missing", "unreadable", "not_a_library", "wrong_architecture", "missing_dependency",
 * "not_libkrun", "crashed", "refused"; NULL for the chosen one; NULL for NULL and an index that there is not. index:
 * from 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_attempt_kind(const struct krundl_probe *probe, size_t index);

/**
 * The loader's own words, or what was found in the file; NULL for the chosen one; NULL for an index that there is
 * not. index: from 0. The text is the probe's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_probe_attempt_message(const struct krundl_probe *probe, size_t index);

/**
 * Reads what libraries say about themselves, of any system and architecture, and opens none of them: nothing of theirs
 * runs. A file that cannot be read is no failure: its item says why.
 *
 * files: the files to read, an array that ends with NULL; NULL or empty: those in the places of `root` where libkrun is
 * looked for, which may be none. root: a directory that the files are in, as of an image: their paths are those in it,
 * and links do not lead out of it; NULL: the machine's own. One of the two must be given, and both stay the caller's.
 * out: gets the inspection, which is the caller's, to be freed with krundl_inspection_free; NULL on failure. error: may
 * be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time. It starts no process. Errors: KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_inspect(const char *const *files,
                             const char *root,
                             struct krundl_inspection **out,
                             struct krundl_error **error);

/**
 * Frees an inspection; its texts go with it. inspection: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_inspection_free(struct krundl_inspection *inspection);

/**
 * All of it for people, as `krundl inspect` prints it. NULL for NULL. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_text(const struct krundl_inspection *inspection);

/**
 * All of it as JSON, as `krundl inspect --json` prints it: an array with an object for each file, which has `parts`.
 * NULL for NULL. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_json(const struct krundl_inspection *inspection);

/**
 * The number of items; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_count(const struct krundl_inspection *inspection);

/**
 * The file that an item is of, as it was named. NULL for NULL and an index that there is not. index: from 0. The text
 * is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_path(const struct krundl_inspection *inspection, size_t index);

/**
 * The same without links, within the root; NULL where there is no such file. NULL for NULL and an index that there is
 * not. index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_real_path(const struct krundl_inspection *inspection, size_t index);

/**
 * Why a file could not be read: "missing", "unreadable", "not_a_library", "refused"; NULL for one that was read. NULL
 * for NULL and an index that there is not. index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_error_kind(const struct krundl_inspection *inspection, size_t index);

/**
 * The same in words; NULL for one that was read. NULL for NULL and an index that there is not. index: from 0. The text
 * is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_error_message(const struct krundl_inspection *inspection, size_t index);

/**
 * The architecture that it is for, such as "x86_64" or "aarch64". NULL for a file that could not be read, for NULL and
 * an index that there is not. index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_architecture(const struct krundl_inspection *inspection, size_t index);

/**
 * The kind of file: "elf", "mach_o". NULL for a file that could not be read, for NULL and an index that there is not.
 * index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_format(const struct krundl_inspection *inspection, size_t index);

/**
 * The name that it gives itself; NULL where it has none. NULL for a file that could not be read, for NULL and an index
 * that there is not. index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_soname(const struct krundl_inspection *inspection, size_t index);

/**
 * The mark that the linker left in it, in hexadecimal; NULL where it has none. NULL for a file that could not be read,
 * for NULL and an index that there is not. index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_build_id(const struct krundl_inspection *inspection, size_t index);

/**
 * Its variant, by its names: "plain", "sev", "tdx", "aws_nitro", "efi"; NULL where it is no libkrun. NULL for a file
 * that could not be read, for NULL and an index that there is not. index: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_flavour(const struct krundl_inspection *inspection, size_t index);

/**
 * The releases that it can be, by its functions and names, as a semver requirement such as "=1.18.0" or ">=1.18.0,
 * <1.19.0"; "*" where its functions fit none; NULL where it is no libkrun or its functions cannot be told. NULL for a
 * file that could not be read, for NULL and an index that there is not. index: from 0. The text is the inspection's
 * own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_version(const struct krundl_inspection *inspection, size_t index);

/**
 * Whether it offers a function, such as "krun_add_virtiofs3": 1 or 0; -1 where its functions cannot be told, for names
 * that krundl does not know, for a file that could not be read, for NULL and an index that there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_inspection_has(const struct krundl_inspection *inspection, size_t index, const char *function);

/**
 * What its functions prove about a feature that it may be built with (the names are those of krundl_probe_feature):
 * KRUNDL_FEATURE_STATE_YES or KRUNDL_FEATURE_STATE_NO. KRUNDL_FEATURE_STATE_UNASKED where they prove nothing: only the
 * library itself can tell, when it is opened. KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE for other names, for a file that
 * could not be read, for NULL and an index that there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
krundl_feature_state krundl_inspection_feature(const struct krundl_inspection *inspection,
                                               size_t index,
                                               const char *feature);

/**
 * The number of witnesses to its version; 0 for a file that could not be read, for NULL and an index that there is
 * not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_evidence_count(const struct krundl_inspection *inspection, size_t index);

/**
 * What kind of witness: "function_present", "function_absent", "file_name", "pkg_config". NULL for NULL and indices
 * that there are not. index: from 0. number: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_evidence_kind(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * The releases that fit it, as a semver requirement. NULL for NULL and indices that there are not. index: from 0.
 * number: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_evidence_says(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * Why. NULL for NULL and indices that there are not. index: from 0. number: from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_evidence_because(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * The number of contradictions among them, none of which was resolved by guessing; 0 for a file that could not be
 * read, for NULL and an index that there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_conflict_count(const struct krundl_inspection *inspection, size_t index);

/**
 * What contradicts what. NULL for NULL and indices that there are not. index: from 0. number: from 0. The text is the
 * inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_conflict(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * The number of functions named krun_ that it offers and krundl does not know: those of a newer release, or a fork; 0
 * for a file that could not be read, for NULL and an index that there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_unknown_function_count(const struct krundl_inspection *inspection, size_t index);

/**
 * The name of one. NULL for NULL and indices that there are not. index: from 0. number: from 0. The text is the
 * inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_unknown_function(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * The number of libraries that it is linked with; 0 for a file that could not be read, for NULL and an index that
 * there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_needed_count(const struct krundl_inspection *inspection, size_t index);

/**
 * A library that it is linked with. NULL for NULL and indices that there are not. index: from 0. number: from 0. The
 * text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_needed(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * The number of directories in which it has those looked for; 0 for a file that could not be read, for NULL and an
 * index that there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_run_path_count(const struct krundl_inspection *inspection, size_t index);

/**
 * A directory in which it has them looked for. NULL for NULL and indices that there are not. index: from 0. number:
 * from 0. The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_run_path(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * The number of names of libkrunfw that it mentions; 0 for a file that could not be read, for NULL and an index that
 * there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_inspection_firmware_count(const struct krundl_inspection *inspection, size_t index);

/**
 * A name of libkrunfw that it mentions. NULL for NULL and indices that there are not. index: from 0. number: from 0.
 * The text is the inspection's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_inspection_firmware(const struct krundl_inspection *inspection, size_t index, size_t number);

/**
 * A new spec with these two fields and nothing else; NULL only by a mistake in krundl. vcpus: number of virtual CPUs.
 * memory_mib: memory of the guest in MiB (2^20 bytes). The spec is the caller's, to be freed with krundl_spec_free.
 *
 * Threads: any. Errors: none; numbers that cannot be are told by krundl_plan_new.
 */
struct krundl_spec *krundl_spec_new(uint32_t vcpus, uint32_t memory_mib);

/**
 * A spec from JSON (docs/spec.md).
 *
 * json: not NULL; it stays the caller's. out: gets the spec, which is the caller's, to be freed with krundl_spec_free;
 * NULL on failure. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
 * NULL.
 *
 * Threads: any. Errors: KRUNDL_STATUS_INVALID_SPEC with every mistake of the text, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_spec_from_json(const char *json, struct krundl_spec **out, struct krundl_error **error);

/**
 * The spec as JSON, every field written out. The text is the spec's own and lives until the next call with that spec.
 *
 * spec: not NULL. out: gets the text; NULL on failure. error: may be NULL; gets the failure, which is the caller's, to
 * be freed with krundl_error_free, or NULL.
 *
 * Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT, also for a path that is not UTF-8, which JSON cannot
 * carry.
 */
krundl_status krundl_spec_json(struct krundl_spec *spec, const char **out, struct krundl_error **error);

/**
 * Frees a spec; plans made with it stay. spec: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_spec_free(struct krundl_spec *spec);

/**
 * The workload: its path in the guest, of any bytes; without a slash it is searched in the PATH of its
 * environment. path: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_exec(struct krundl_spec *spec, const char *path);

/**
 * One more argument of the workload, which does not count its own name, of any bytes. arg: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_arg(struct krundl_spec *spec, const char *arg);

/**
 * A variable of the workload's environment, which has nothing of the host's; PATH and HOME are added where they
 * are not set. name: not NULL, UTF-8. value: not NULL, of any bytes.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_env(struct krundl_spec *spec, const char *name, const char *value);

/**
 * The workload's working directory, absolute; "/" where it is not set. dir: not NULL, of any bytes.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_workdir(struct krundl_spec *spec, const char *dir);

/**
 * A kernel of the caller's own instead of libkrunfw's. path: not NULL. format: "auto", "raw", "elf", "pe_gz",
 * "image_bz2", "image_gz", "image_zstd"; NULL for "auto". initrd: an initial RAM disk, or NULL. cmdline: the
 * kernel's command line in ASCII, or NULL for libkrun's.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_kernel(struct krundl_spec *spec,
                                     const char *path,
                                     const char *format,
                                     const char *initrd,
                                     const char *cmdline);

/**
 * The console of the guest's kernel: "hvc0" or "ttyS0"; NULL for that of its command line.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_kernel_console(struct krundl_spec *spec, const char *console);

/**
 * A firmware file to boot instead of a kernel; there is no root, workload or mount then. path: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_firmware(struct krundl_spec *spec, const char *path);

/**
 * The workload's standard streams and the console go nowhere.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_console_none(struct krundl_spec *spec);

/**
 * Output of the workload and of the console goes into this file, which is truncated. path: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_console_file(struct krundl_spec *spec, const char *path);

/**
 * A resource limit of the workload. name: Linux's name without RLIMIT_, such as "NOFILE"; not NULL. soft, hard: in
 * the resource's own unit; UINT64_MAX for none.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_rlimit(struct krundl_spec *spec, const char *name, uint64_t soft, uint64_t hard);

/**
 * The user that the VM's process becomes, which takes root. uid: the user's number.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_uid(struct krundl_spec *spec, uint32_t uid);

/**
 * The group that the VM's process becomes, which takes root. gid: the group's number.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_gid(struct krundl_spec *spec, uint32_t gid);

/**
 * What libkrun logs, and where. level: "off", "error", "warn", "info", "debug", "trace"; NULL for "warn". file:
 * the file that the log is added to, or NULL to keep it for krundl_vm_log.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_log(struct krundl_spec *spec, const char *level, const char *file);

/**
 * A directory of the host as the guest's root. dir: not NULL. read_only: whether the guest may not write to it.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_root_dir(struct krundl_spec *spec, const char *dir, bool read_only);

/**
 * The size of the root directory's DAX window. mib: in MiB, a multiple of 2; 0 for none.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_root_dax(struct krundl_spec *spec, uint32_t mib);

/**
 * The file system on one of the disks as the guest's root. device: the block device in the guest; NULL for
 * "/dev/vda", the first disk. fstype: the file system's type; NULL to try all that the kernel knows. options: as
 * for mount -o, or NULL. read_only: whether it is mounted read-only.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_root_disk(struct krundl_spec *spec,
                                        const char *device,
                                        const char *fstype,
                                        const char *options,
                                        bool read_only);

/**
 * A directory of the host that the guest sees. host: the directory; not NULL. guest: where the guest sees it:
 * absolute, UTF-8; NULL for "/workspace". read_only: whether the guest may not write, enforced on the host's side.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_mount(struct krundl_spec *spec, const char *host, const char *guest, bool read_only);

/**
 * The same with everything that a mount can have. mount: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_mount_with(struct krundl_spec *spec, const struct krundl_mount *mount);

/**
 * A disk, which the guest has as /dev/vda, /dev/vdb and so on. disk: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_disk(struct krundl_spec *spec, const struct krundl_disk *disk);

/**
 * A file that only this guest sees, laid over the root directory. path: where the guest sees it: absolute, UTF-8;
 * not NULL. bytes: its contents; may be NULL where size is 0. size: their number. mode: its permissions, such as
 * 0644.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_overlay_bytes(struct krundl_spec *spec,
                                            const char *path,
                                            const uint8_t *bytes,
                                            size_t size,
                                            uint32_t mode);

/**
 * The same with the contents of a file of the host, read when the VM starts. path, from: not NULL. mode: its
 * permissions, such as 0644.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_overlay_file(struct krundl_spec *spec, const char *path, const char *from, uint32_t mode);

/**
 * An empty directory that only this guest sees. path: absolute, UTF-8; not NULL. mode: its permissions, such as
 * 0755.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_overlay_dir(struct krundl_spec *spec, const char *path, uint32_t mode);

/**
 * libkrun's network without a card: the guest's sockets are the host's. inet: those of IPv4 and IPv6.
 * unix_sockets: those of the unix family. only_ports: whether ports that krundl_spec_add_port does not name stay
 * closed on the host.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_tsi(struct krundl_spec *spec, bool inet, bool unix_sockets, bool only_ports);

/**
 * A TCP port of the guest that is open on the host under a number of the caller's choice, with TSI. host, guest:
 * its numbers there.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_port(struct krundl_spec *spec, uint16_t host, uint16_t guest);

/**
 * A network card. nic: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_nic(struct krundl_spec *spec, const struct krundl_nic *nic);

/**
 * A port of the host that leads to one of the guest, by the last network card, which has passt or gvproxy. protocol: "tcp" or
 * "udp". address: the host's IPv4 address on which it is open; NULL: 127.0.0.1. host: its number on the host; 0 for any
 * that is free, which krundl_vm_host_port tells. guest: its number in the guest.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_forward(struct krundl_spec *spec,
                                      const char *protocol,
                                      const char *address,
                                      uint16_t host,
                                      uint16_t guest);

/**
 * A vsock port. port: its number. socket: the unix socket of the host; not NULL. listen: false: the guest connects
 * to the port, and somebody listens on the socket by then; true: the guest listens, and libkrun makes the socket.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_vsock_port(struct krundl_spec *spec, uint32_t port, const char *socket, bool listen);

/**
 * A serial console. input: what is read into it, or NULL. output: the file that its output is added to; not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_serial(struct krundl_spec *spec, const char *input, const char *output);

/**
 * A further port of a virtio console: tty, or one or both of input and output. name: its name in the guest; not
 * NULL. input: what is read into it, or NULL. output: the file that its output is added to, or NULL. tty: a
 * terminal for both, or NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_console_port(struct krundl_spec *spec,
                                           const char *name,
                                           const char *input,
                                           const char *output,
                                           const char *tty);

/**
 * Whether the guest may run virtual machines itself; x86-64 only.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_nested_virt(struct krundl_spec *spec, bool enabled);

/**
 * Whether the interrupt controller is split between KVM and the process; x86-64 only.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_split_irqchip(struct krundl_spec *spec, bool enabled);

/**
 * An OEM string in the guest's SMBIOS tables; aarch64 only. string: not NULL, UTF-8.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_smbios_oem_string(struct krundl_spec *spec, const char *string);

/**
 * A graphics card. virgl_flags: virglrenderer's flags, as libkrun.h has them. shm_mib: size of the window for
 * shared memory in MiB; 0 for libkrun's default.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_gpu(struct krundl_spec *spec, uint32_t virgl_flags, uint32_t shm_mib);

/**
 * A display of the graphics card, which krundl shows nowhere. display: not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_display(struct krundl_spec *spec, const struct krundl_display *display);

/**
 * Whether there is a sound card.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_sound(struct krundl_spec *spec, bool enabled);

/**
 * An input device of the host that the guest has. path: such as "/dev/input/event0"; not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_add_input(struct krundl_spec *spec, const char *path);

/**
 * A confidential guest. config: the file with libkrun's configuration for it; not NULL.
 *
 * spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
 * told again by krundl_plan_new with the field's name.
 */
krundl_status krundl_spec_set_tee(struct krundl_spec *spec, const char *config);

/**
 * Checks a spec against this host and negotiates it with a libkrun: a plan, or every reason why not in one answer,
 * those that the setters of the spec have noted among them.
 *
 * probe, spec: not NULL; they stay the caller's, and the plan does not need them any more. out: gets the plan, which
 * is the caller's, to be freed with krundl_plan_free; NULL on failure. error: may be NULL; gets the failure, which is
 * the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time with one probe. The plan keeps some file descriptors open, all close-on-exec.
 *
 * Errors: KRUNDL_STATUS_INVALID_SPEC and KRUNDL_STATUS_UNSUPPORTED with every problem, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_plan_new(const struct krundl_probe *probe,
                              const struct krundl_spec *spec,
                              struct krundl_plan **out,
                              struct krundl_error **error);

/**
 * The same from a spec as JSON (docs/spec.md): mistakes of the text, of the host and of the library in one answer.
 *
 * probe, json: not NULL; they stay the caller's. out and error: as for krundl_plan_new.
 *
 * Threads: any, also at the same time with one probe.
 *
 * Errors: as for krundl_plan_new.
 */
krundl_status krundl_plan_from_json(const struct krundl_probe *probe,
                                    const char *json,
                                    struct krundl_plan **out,
                                    struct krundl_error **error);

/**
 * Checks a spec as krundl_plan_new does and keeps nothing: no plan, no open file descriptors. Success says that nothing
 * is in the way.
 *
 * probe, spec: not NULL; they stay the caller's. error: may be NULL; gets every problem, and is the caller's, to be freed
 * with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time with one probe.
 *
 * Errors: as for krundl_plan_new.
 */
krundl_status krundl_check(const struct krundl_probe *probe,
                           const struct krundl_spec *spec,
                           struct krundl_error **error);

/**
 * The same for a spec as JSON (docs/spec.md).
 *
 * probe, json: not NULL; they stay the caller's. error: as for krundl_check.
 *
 * Threads: any, also at the same time with one probe.
 *
 * Errors: as for krundl_plan_new.
 */
krundl_status krundl_check_json(const struct krundl_probe *probe, const char *json, struct krundl_error **error);

/**
 * Frees a plan; its texts go with it, VMs launched with it stay. plan: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_plan_free(struct krundl_plan *plan);

/**
 * Carries out a plan in this very process, which becomes the VM's: for a child that the caller has forked, and for
 * programs that exist to run one VM. Comes back only when that failed. libkrun ends the process with the workload's
 * status, or with 0 whatever happened where the root is on a disk: nobody hears the guest's own word. libkrun's own
 * words go to standard error, or to the spec's log_file. Sockets that the spec makes libkrun listen on are left
 * behind.
 *
 * plan: not NULL; it stays the caller's. error: may be NULL; gets the failure, which is the caller's, to be freed with
 * krundl_error_free.
 *
 * Threads: in a process with several threads, only in a child that was forked while no other thread was inside krundl.
 * After a failure tell of it and exit: the standard streams may be rearranged, and libkrun stays loaded.
 *
 * Errors: KRUNDL_STATUS_CALL, KRUNDL_STATUS_START, KRUNDL_STATUS_LIBRARY_CHANGED, KRUNDL_STATUS_HELPER_FAILED,
 * KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT. What libkrun does wrong besides, it does to this process.
 */
krundl_status krundl_plan_enter(const struct krundl_plan *plan, struct krundl_error **error);

/**
 * The plan for people, as `krundl plan` prints it: the library, the calls, what happens in the guest, notes. NULL
 * for NULL. The text is the plan's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_plan_text(const struct krundl_plan *plan);

/**
 * The plan as JSON, as `krundl plan --json` prints it. NULL for NULL. The text is the plan's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_plan_json(const struct krundl_plan *plan);

/**
 * The number of calls; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_plan_call_count(const struct krundl_plan *plan);

/**
 * The function that a call is of, such as "krun_add_virtiofs3"; NULL for NULL and an index that there is not. index:
 * from 0. The text is the plan's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_plan_call_function(const struct krundl_plan *plan, size_t index);

/**
 * Its arguments for people, such as `tag: "mount0", dir: "/srv/data", shm_size: 0, read_only: true`; NULL for an
 * index that there is not. index: from 0. The text is the plan's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_plan_call_arguments(const struct krundl_plan *plan, size_t index);

/**
 * The number of notes on what happens on the way that the user may not expect; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_plan_note_count(const struct krundl_plan *plan);

/**
 * A note; NULL for NULL and an index that there is not. index: from 0. The text is the plan's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_plan_note(const struct krundl_plan *plan, size_t index);

/**
 * Starts a VM in a child process. Returns when libkrun has been entered: every call before that was accepted. Whether
 * the guest comes up is told by krundl_vm_wait_ready, how it ends by krundl_vm_wait.
 *
 * plan: not NULL; it stays the caller's and can be launched again. options: NULL for all defaults. out: gets the VM,
 * which is the caller's, to be freed with krundl_vm_free or krundl_vm_detach; NULL on failure. error: may be NULL;
 * gets the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time with one plan. The VM's process is a child of this one; krundl reaps it.
 *
 * Errors: KRUNDL_STATUS_CALL, KRUNDL_STATUS_CRASHED, KRUNDL_STATUS_LIBRARY_CHANGED, KRUNDL_STATUS_TIMED_OUT,
 * KRUNDL_STATUS_HELPER_NOT_FOUND, KRUNDL_STATUS_HELPER_MISMATCH, KRUNDL_STATUS_HELPER_FAILED, KRUNDL_STATUS_OS,
 * KRUNDL_STATUS_INVALID_ARGUMENT. Nothing is left running then.
 */
krundl_status krundl_launch(const struct krundl_plan *plan,
                            const struct krundl_launch_options *options,
                            struct krundl_vm **out,
                            struct krundl_error **error);

/**
 * Kills a VM that still runs, waits for its process, and frees the handle; its texts go with it. In a child forked after
 * the launch it only frees. vm: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_vm_free(struct krundl_vm *vm);

/**
 * Frees the handle, as krundl_vm_free does, and lets the VM run on. Returns the number of its process, which the
 * caller has to reap from now on; nobody keeps its log any more. 0 for NULL.
 *
 * Threads: any, one that no other one uses it with. Cannot fail.
 */
int64_t krundl_vm_detach(struct krundl_vm *vm);

/**
 * The number of the VM's process; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
int64_t krundl_vm_pid(const struct krundl_vm *vm);

/**
 * The number of the host's port that leads to that port of the guest through a network card's own program, also where
 * the spec left it open: known once libkrun has been entered. protocol: "tcp" or "udp". 0 where there is none, and for
 * NULL.
 *
 * Threads: any. Cannot fail.
 */
uint16_t krundl_vm_host_port(const struct krundl_vm *vm, const char *protocol, uint16_t guest);

/**
 * A descriptor that becomes readable when the VM's process ends, for poll and the like; -1 for NULL and where the
 * kernel has none (Linux before 5.3). It is the VM's own: it must not be closed, and goes with the handle.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_vm_pidfd(const struct krundl_vm *vm);

/**
 * The write end of the workload's standard input where that is KRUNDL_STREAM_PIPE, once: the descriptor is the
 * caller's, who closes it. -1 for NULL, where there is none or it was taken, and when the VM has ended.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_vm_take_input(const struct krundl_vm *vm);

/**
 * The read end of the workload's standard output where that is KRUNDL_STREAM_PIPE, once: the descriptor is the
 * caller's, who closes it. -1 for NULL, and where there is none or it was taken.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_vm_take_output(const struct krundl_vm *vm);

/**
 * The read end of the workload's standard error where that is KRUNDL_STREAM_PIPE, once: the descriptor is the
 * caller's, who closes it. -1 for NULL, and where there is none or it was taken.
 *
 * Threads: any. Cannot fail.
 */
int32_t krundl_vm_take_error(const struct krundl_vm *vm);

/**
 * What libkrun has written so far, at most about 128 KiB, the middle left out: copies what fits into buffer and
 * returns the number of all bytes, of which no NUL is the last. It may contain any bytes.
 *
 * buffer: may be NULL where size is 0; it stays the caller's. size: its size in bytes. 0 for a vm that is NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_vm_log(const struct krundl_vm *vm, char *buffer, size_t size);

/**
 * Waits for the guest's first word: everything is mounted and the workload runs.
 *
 * vm: not NULL. timeout_ms: how long, in milliseconds; negative: without end. error: may be NULL; gets the failure,
 * which is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time.
 *
 * Errors: KRUNDL_STATUS_TIMED_OUT; KRUNDL_STATUS_READINESS_UNKNOWN where this libkrun has no channel; whatever ended
 * the VM before: KRUNDL_STATUS_START, KRUNDL_STATUS_CRASHED, KRUNDL_STATUS_NEVER_UP, KRUNDL_STATUS_GUEST_SETUP;
 * KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_vm_wait_ready(const struct krundl_vm *vm, int64_t timeout_ms, struct krundl_error **error);

/**
 * Waits until the VM has ended and says how. When the time is over, that is no failure: kind is KRUNDL_EXIT_RUNNING.
 *
 * vm: not NULL. timeout_ms: how long, in milliseconds; negative: without end; 0: not at all. kind: may be NULL; gets
 * how it ended. status: may be NULL; gets the status as a shell would put it, -1 while it runs. error: may be NULL;
 * gets the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time. It can be asked again afterwards.
 *
 * Errors: where the workload's end is not on the guest's word: KRUNDL_STATUS_START, KRUNDL_STATUS_CRASHED,
 * KRUNDL_STATUS_NEVER_UP, KRUNDL_STATUS_GUEST_SETUP, KRUNDL_STATUS_GUEST_LOST; KRUNDL_STATUS_OS,
 * KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_vm_wait(const struct krundl_vm *vm,
                             int64_t timeout_ms,
                             krundl_exit *kind,
                             int32_t *status,
                             struct krundl_error **error);

/**
 * Asks the workload to end: krundl's program in the guest sends it SIGTERM, and what it makes of that is told by
 * krundl_vm_wait. Where nobody there can hear (it is not up yet, or has no channel) the VM's process gets SIGTERM
 * instead, which ends it at once. A VM that has ended is no error.
 *
 * vm: not NULL. workload: may be NULL; gets whether the workload was asked. error: may be NULL; gets the failure,
 * which is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also while others wait. Errors: KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_vm_terminate(const struct krundl_vm *vm, bool *workload, struct krundl_error **error);

/**
 * Presses ^C, as a terminal would: libkrun hands a SIGINT of its process to the guest's console, where it reaches the
 * workload if the workload's streams are there. What comes of it is told by krundl_vm_wait. A VM that has ended is no
 * error.
 *
 * vm: not NULL. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
 * NULL.
 *
 * Threads: any, also while others wait. Errors: KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_vm_interrupt(const struct krundl_vm *vm, struct krundl_error **error);

/**
 * Kills the VM's process (SIGKILL); the guest is not asked. A VM that has ended is no error.
 *
 * vm: not NULL. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
 * NULL.
 *
 * Threads: any, also while others wait. Errors: KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_vm_kill(const struct krundl_vm *vm, struct krundl_error **error);

/**
 * Ends the VM and waits for it: as krundl_vm_terminate, and as krundl_vm_kill when it still runs after the grace.
 *
 * vm: not NULL. grace_ms: in milliseconds; negative counts as 0. kind, status, error: as for krundl_vm_wait.
 *
 * Threads: any, also while others wait. Errors: as for krundl_vm_terminate and krundl_vm_wait.
 */
krundl_status krundl_vm_stop(const struct krundl_vm *vm,
                             int64_t grace_ms,
                             krundl_exit *kind,
                             int32_t *status,
                             struct krundl_error **error);

/**
 * How it ended, for people, such as "the workload exited with status 7": once krundl_vm_wait or krundl_vm_stop has
 * said it; NULL before that, after a failure, and for NULL. The text is the VM's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_vm_exit_text(const struct krundl_vm *vm);

/**
 * Gives the VM a control port: the way for further commands, figures and the request to end, from libkrun 1.10.0 on.
 * Whoever can connect to its socket can do anything in the guest.
 *
 * spec: not NULL. socket: its path, at most 107 bytes, in a directory with mode 0700; NULL: in a directory that krundl
 * makes for this VM alone, where krundl_vm_control finds it.
 *
 * Threads: any, one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_spec_set_control(struct krundl_spec *spec, const char *socket);

/**
 * The path of the control port's socket; NULL for NULL, and where the spec has none. The text is the handle's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_vm_control(const struct krundl_vm *vm);

/**
 * Starts a command in a running guest. That its program is not there, or cannot be executed, is no failure but how it
 * ended: krundl_exec_wait says KRUNDL_EXIT_NOT_EXECUTED.
 *
 * guest: the VM's name (krundl run --name), or the path of its control socket, with a slash (krundl_vm_control); not
 * NULL. path: the program, in the guest; a name is searched in the PATH of its environment; not NULL. args: its
 * arguments without its own name, up to a NULL; may be NULL. options: may be NULL. out: gets the command, which is the
 * caller's, to be freed with krundl_exec_free. error: may be NULL; gets the failure, which is the caller's, to be freed
 * with krundl_error_free, or NULL.
 *
 * Threads: any. Errors: KRUNDL_STATUS_CONTROL_LOST; KRUNDL_STATUS_GUEST_SETUP when the guest cannot prepare it (working
 * directory, user, terminal); KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_exec_new(const char *guest,
                              const char *path,
                              const char *const *args,
                              const struct krundl_exec_options *options,
                              struct krundl_exec **out,
                              struct krundl_error **error);

/**
 * Frees the command; if it still runs, the guest kills it with its process group. exec: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_exec_free(struct krundl_exec *exec);

/**
 * The command's number in the guest; 0 for NULL, and where it was not executed.
 *
 * Threads: any. Cannot fail.
 */
int64_t krundl_exec_pid(const struct krundl_exec *exec);

/**
 * Waits until the command has ended and everything that it wrote is where it belongs, and says how. When the time is
 * over, that is no failure: kind is KRUNDL_EXIT_RUNNING. Its streams flow meanwhile; writing to one whose reader has
 * gone raises SIGPIPE, as it does everywhere.
 *
 * exec: not NULL. timeout_ms: how long, in milliseconds; negative: without end; 0: not at all. kind: may be NULL; gets
 * how it ended. status: may be NULL; gets the status as a shell would put it, -1 while it runs. error: may be NULL; gets
 * the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any, also at the same time. It can be asked again afterwards. Errors: KRUNDL_STATUS_CONTROL_LOST when the
 * guest or its VM ends first; KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_exec_wait(const struct krundl_exec *exec,
                               int64_t timeout_ms,
                               krundl_exit *kind,
                               int32_t *status,
                               struct krundl_error **error);

/**
 * How the command ended, in words; NULL for NULL, and before krundl_exec_wait has told. The text is the handle's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_exec_exit_text(const struct krundl_exec *exec);

/**
 * Sends a signal, by Linux's number, to the command and its process group. Nothing for NULL, or when it has ended.
 *
 * Threads: any, also while others wait. Cannot fail.
 */
void krundl_exec_signal(const struct krundl_exec *exec, int32_t number);

/**
 * Tells the command's terminal its size. Nothing for NULL, or when it has ended.
 *
 * Threads: any, also while others wait. Cannot fail.
 */
void krundl_exec_resize(const struct krundl_exec *exec, uint16_t rows, uint16_t columns);

/**
 * A guest's figures.
 *
 * guest: as for krundl_exec_new. timeout_ms: how long a guest that does not answer yet is waited for, in milliseconds; not
 * at all where negative. out: not NULL, with its struct_size set; gets them. error: may be NULL; gets the failure, which
 * is the caller's, to be freed with krundl_error_free, or NULL.
 *
 * Threads: any. Errors: KRUNDL_STATUS_CONTROL_LOST, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_guest_figures(const char *guest,
                                   int64_t timeout_ms,
                                   struct krundl_figures *out,
                                   struct krundl_error **error);

/**
 * Asks the workload of a guest to end: it gets SIGTERM, and whoever launched the VM hears what it made of that.
 *
 * guest, timeout_ms: as for krundl_guest_figures. error: may be NULL; as for krundl_guest_figures.
 *
 * Threads: any. Errors: KRUNDL_STATUS_CONTROL_LOST, KRUNDL_STATUS_INVALID_ARGUMENT.
 */
krundl_status krundl_guest_terminate(const char *guest, int64_t timeout_ms, struct krundl_error **error);

/**
 * Finds out what this machine's libkrun can do, whether a VM could run here, what is in the way and what would mend
 * it. A machine without libkrun is no failure: the report says it.
 *
 * options: NULL for all defaults. out: gets the report, which is the caller's, to be freed with krundl_report_free;
 * NULL on failure. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
 * NULL.
 *
 * Threads: any, also at the same time. It waits for a child that opens libkrun, and with `boot` for a guest.
 *
 * Errors: KRUNDL_STATUS_INVALID_ARGUMENT, also for a check or a release that there is not.
 */
krundl_status krundl_doctor(const struct krundl_doctor_options *options,
                            struct krundl_report **out,
                            struct krundl_error **error);

/**
 * Frees a report; its texts go with it. report: may be NULL.
 *
 * Threads: any, one that no other one uses it with.
 */
void krundl_report_free(struct krundl_report *report);

/**
 * Whether nothing is in the way; with strict: nor may be. false for NULL.
 *
 * Threads: any. Cannot fail.
 */
bool krundl_report_is_fine(const struct krundl_report *report, bool strict);

/**
 * The report for people, as `krundl doctor` prints it. NULL for NULL. The text is the report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_text(const struct krundl_report *report);

/**
 * The report as JSON (docs/doctor.schema.json). NULL for NULL. The text is the report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_json(const struct krundl_report *report);

/**
 * The number of checks; 0 for NULL.
 *
 * Threads: any. Cannot fail.
 */
size_t krundl_report_check_count(const struct krundl_report *report);

/**
 * How a check came out; KRUNDL_CHECK_STATUS_NONE for NULL and an index that there is not. index: from 0.
 *
 * Threads: any. Cannot fail.
 */
krundl_check_status krundl_report_check_status(const struct krundl_report *report, size_t index);

/**
 * The name of a check, stable across releases (docs/doctor.md); NULL for NULL and an index that there is not. index:
 * from 0. The text is the report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_check_id(const struct krundl_report *report, size_t index);

/**
 * What a check is about, where it is made for several things; NULL where not; NULL for an index that there is not.
 * index: from 0. The text is the report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_check_subject(const struct krundl_report *report, size_t index);

/**
 * How a check came out, in a line; NULL for NULL and an index that there is not. index: from 0. The text is the
 * report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_check_summary(const struct krundl_report *report, size_t index);

/**
 * More about it, in lines; NULL where there is no more; NULL for NULL and an index that there is not. index: from 0.
 * The text is the report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_check_detail(const struct krundl_report *report, size_t index);

/**
 * What would mend it, in words and below that the commands; NULL where nothing has to be; NULL for an index that
 * there is not. index: from 0. The text is the report's own.
 *
 * Threads: any. Cannot fail.
 */
const char *krundl_report_check_fix(const struct krundl_report *report, size_t index);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KRUNDL_H */
