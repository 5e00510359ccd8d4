//! The table of libkrun's functions: the one place that knows names, signatures, releases and build features.

use core::ffi::{CStr, c_void};

use super::{Build, FunctionSet, Group, Symbol, Without, Without::*};

symbols! {
    Core {
        /// Makes a configuration context, returns its number from 0 up; from 1.11.0 on the first call loads libkrunfw.
        krun_create_ctx() -> i32,
            "int32_t ()",
            since "0.1.1";
        /// Drops a context that was never started.
        krun_free_ctx(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "0.1.1";
        /// Number of vCPUs and memory in MiB (else 1 and 128); 0 is refused, too much is not.
        krun_set_vm_config(ctx_id: u32, num_vcpus: u8, ram_mib: u32) -> i32,
            "int32_t (uint32_t ctx_id, uint8_t num_vcpus, uint32_t ram_mib)",
            since "0.1.1";
        /// Starts the guest, ends the process with its status; returns only if that fails, with the context used up.
        krun_start_enter(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "0.1.1";
        /// An eventfd that asks a guest booted through EFI to shut down; -EINVAL where there is none.
        krun_get_shutdown_eventfd(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "1.8.0", linux_until "1.19.3",
            needs Platform "all platforms to 1.19.3; aarch64 macOS only from 1.19.6",
            else Absent, "absent";
    }
    Log {
        /// Log level, 0 (off) to 5 (trace), of the log on stderr; a second log call in a process aborts it.
        krun_set_log_level(level: u32) -> i32,
            "int32_t (uint32_t level)",
            since "0.1.1";
        /// Target, level, style and options of the log; owns a descriptor from 3 up; a second log call aborts.
        krun_init_log(target_fd: c_int, level: u32, style: u32, options: u32) -> i32,
            "int32_t (int target_fd, uint32_t level, uint32_t style, uint32_t options)",
            since "1.13.0";
    }
    Host {
        /// 1 if the library was built with the feature, 0 if not, -EINVAL for a number that it does not know.
        krun_has_feature(feature: u64) -> i32,
            "int32_t (uint64_t feature)",
            since "1.17.3";
        /// The most vCPUs that the hypervisor allows; -EINVAL if it cannot be opened.
        krun_get_max_vcpus() -> i32,
            "int32_t (void)",
            since "1.16.0";
        /// 1 if nested virtualization is available, 0 if not, or a negative errno.
        krun_check_nested_virt() -> i32,
            "int32_t (void)",
            since "1.12.0";
    }
    Exec {
        /// Program, arguments after its name, and environment of the workload; NULL means this process's environment.
        krun_set_exec(
            ctx_id: u32, exec_path: *const c_char, argv: *const *const c_char, envp: *const *const c_char
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *exec_path, const char *const argv[], const char *const envp[])",
            since "0.1.1";
        /// Environment of the workload; NULL means this process's.
        krun_set_env(ctx_id: u32, envp: *const *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *const envp[])",
            since "1.3.0";
        /// Working directory of the workload, as a path in the guest.
        krun_set_workdir(ctx_id: u32, workdir_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *workdir_path)",
            since "0.1.3";
        /// Resource limits of the workload, each as `RESOURCE=soft:hard`.
        krun_set_rlimits(ctx_id: u32, rlimits: *const *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *const rlimits[])",
            since "0.1.5";
    }
    Virtiofs {
        /// A host directory as the root of the guest, writable; the path is not checked before the start.
        krun_set_root(ctx_id: u32, root_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *root_path)",
            since "0.1.1",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// Shares a host directory, writable, under a tag of up to 36 bytes.
        krun_add_virtiofs(ctx_id: u32, c_tag: *const c_char, c_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_tag, const char *c_path)",
            since "1.8.0",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// As krun_add_virtiofs, with the size of the DAX window.
        krun_add_virtiofs2(ctx_id: u32, c_tag: *const c_char, c_path: *const c_char, shm_size: u64) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size)",
            since "1.9.5",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// As krun_add_virtiofs2, and can be read-only.
        krun_add_virtiofs3(
            ctx_id: u32, c_tag: *const c_char, c_path: *const c_char, shm_size: u64, read_only: bool
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size, bool read_only)",
            since "1.18.0",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// As krun_add_virtiofs3, with the permission semantics: 0 for those of Linux, 1 for simpler ones.
        krun_add_virtiofs4(
            ctx_id: u32, c_tag: *const c_char, c_path: *const c_char, shm_size: u64, read_only: bool, semantics: u32
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size, bool read_only, \
             uint32_t semantics)",
            since "1.19.3",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// Volumes of releases before 1.8.0; refused with -EINVAL since then.
        krun_set_mapped_volumes(ctx_id: u32, mapped_volumes: *const *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *const mapped_volumes[])",
            since "0.1.3",
            needs NotTee "not tee",
            else Absent, "absent in the tee builds";
    }
    Overlay {
        /// Leaves the built-in init out, if called before the root is set; no effect in a build without init-blob.
        krun_disable_implicit_init(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "1.19.0",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// Address and size of the built-in init program; -ENOTSUP in a build without init-blob.
        krun_get_default_init(data_out: *mut *const u8, len_out: *mut usize) -> i32,
            "int32_t (const uint8_t **data_out, size_t *len_out)",
            since "1.19.0",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// Shows a file in a shared directory that the host does not have there; the data is borrowed until the end.
        krun_fs_add_overlay_file(
            ctx_id: u32, fs_tag: *const c_char, path: *const c_char, data: *const u8, data_len: usize, mode: u32,
            one_shot: bool
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *fs_tag, const char *path, const uint8_t *data, size_t data_len, \
             uint32_t mode, bool one_shot)",
            since "1.19.0",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
        /// Shows an empty directory in a shared directory that the host does not have there.
        krun_fs_add_overlay_dir(ctx_id: u32, fs_tag: *const c_char, path: *const c_char, mode: u32) -> i32,
            "int32_t (uint32_t ctx_id, const char *fs_tag, const char *path, uint32_t mode)",
            since "1.19.0",
            needs NotTeeNorNitro "not tee, not aws-nitro",
            else Absent, "absent in the tee and aws-nitro builds";
    }
    Disk {
        /// Adds a raw disk image.
        krun_add_disk(ctx_id: u32, block_id: *const c_char, disk_path: *const c_char, read_only: bool) -> i32,
            "int32_t (uint32_t ctx_id, const char *block_id, const char *disk_path, bool read_only)",
            since "1.9.5",
            needs Blk "blk",
            else Absent, "absent";
        /// Adds a disk image of a format: 0 raw, 1 qcow2, 2 vmdk.
        krun_add_disk2(
            ctx_id: u32, block_id: *const c_char, disk_path: *const c_char, disk_format: u32, read_only: bool
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *block_id, const char *disk_path, uint32_t disk_format, bool \
             read_only)",
            since "1.10.0",
            needs Blk "blk",
            else Absent, "absent";
        /// As krun_add_disk2, with direct I/O and the way of syncing: 0 none, 1 relaxed, 2 full.
        krun_add_disk3(
            ctx_id: u32, block_id: *const c_char, disk_path: *const c_char, disk_format: u32, read_only: bool,
            direct_io: bool, sync_mode: u32
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *block_id, const char *disk_path, uint32_t disk_format, bool \
             read_only, bool direct_io, uint32_t sync_mode)",
            since "1.17.0",
            needs Blk "blk",
            else Absent, "absent";
        /// Boots from a disk added before: its device, file system type and mount options.
        krun_set_root_disk_remount(
            ctx_id: u32, device: *const c_char, fstype: *const c_char, options: *const c_char
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *device, const char *fstype, const char *options)",
            since "1.15.0",
            needs BlkNotTeeNorNitro "blk, not tee, not aws-nitro",
            else Absent, "absent";
        /// Root disk of older releases; ignored without a word once krun_add_disk was used.
        krun_set_root_disk(ctx_id: u32, disk_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *disk_path)",
            since "0.1.8",
            needs Blk "blk",
            else Absent, "absent";
        /// Second disk of older releases; ignored without a word once krun_add_disk was used.
        krun_set_data_disk(ctx_id: u32, disk_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *disk_path)",
            since "1.5.0",
            needs Blk "blk",
            else Absent, "absent";
    }
    Net {
        /// Adds a network card on a stream socket (passt), by path or by descriptor.
        krun_add_net_unixstream(
            ctx_id: u32, c_path: *const c_char, fd: c_int, c_mac: *const u8, features: u32, flags: u32
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_path, int fd, uint8_t *const c_mac, uint32_t features, \
             uint32_t flags)",
            since "1.15.0",
            needs Net "net",
            else Absent, "absent";
        /// Adds a network card on a datagram socket (gvproxy, vmnet-helper), by path or by descriptor.
        krun_add_net_unixgram(
            ctx_id: u32, c_path: *const c_char, fd: c_int, c_mac: *const u8, features: u32, flags: u32
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_path, int fd, uint8_t *const c_mac, uint32_t features, \
             uint32_t flags)",
            since "1.15.0",
            needs Net "net",
            else Absent, "absent";
        /// Adds a network card on a tap device; -EINVAL outside Linux.
        krun_add_net_tap(ctx_id: u32, c_tap_name: *const c_char, c_mac: *const u8, features: u32, flags: u32) -> i32,
            "int32_t (uint32_t ctx_id, char *c_tap_name, uint8_t *const c_mac, uint32_t features, uint32_t flags)",
            since "1.15.0",
            needs Net "net",
            else Absent, "absent";
        /// The one network card of older releases, on the descriptor of a socket to passt.
        krun_set_passt_fd(ctx_id: u32, fd: c_int) -> i32,
            "int32_t (uint32_t ctx_id, int fd)",
            since "1.7.0",
            needs Net "net",
            else AbsentSince("1.15.0"), "absent since 1.15.0; before that a stub returning -ENOTSUP";
        /// The one network card of older releases, on the path of the socket of gvproxy.
        krun_set_gvproxy_path(ctx_id: u32, c_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, char *c_path)",
            since "1.8.0",
            needs Net "net",
            else AbsentSince("1.15.0"), "absent since 1.15.0; before that a stub returning -ENOTSUP";
        /// Hardware address of the one network card of older releases.
        krun_set_net_mac(ctx_id: u32, c_mac: *const u8) -> i32,
            "int32_t (uint32_t ctx_id, uint8_t *const c_mac)",
            since "1.8.0",
            needs Net "net",
            else AbsentSince("1.15.0"), "absent since 1.15.0; before that a stub returning -ENOTSUP";
    }
    Vsock {
        /// Adds the vsock device with a choice of TSI features; needs krun_disable_implicit_vsock before it.
        krun_add_vsock(ctx_id: u32, tsi_features: u32) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t tsi_features)",
            since "1.17.0";
        /// Leaves out the vsock device, and with it TSI, that a guest has otherwise.
        krun_disable_implicit_vsock(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "1.17.0";
        /// Connects a vsock port of the guest to a unix socket, on which the host listens.
        krun_add_vsock_port(ctx_id: u32, port: u32, c_filepath: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t port, const char *c_filepath)",
            since "1.8.0";
        /// As krun_add_vsock_port; with `listen`, the guest listens and libkrun makes the unix socket.
        krun_add_vsock_port2(ctx_id: u32, port: u32, c_filepath: *const c_char, listen: bool) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t port, const char *c_filepath, bool listen)",
            since "1.10.0";
        /// TCP ports of the guest that TSI opens on the host, each as `host:guest`; not called, it opens all.
        krun_set_port_map(ctx_id: u32, port_map: *const *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *const port_map[])",
            since "0.1.3";
    }
    Console {
        /// Writes the output of the implicit console into a file, which is truncated.
        krun_set_console_output(ctx_id: u32, c_filepath: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *c_filepath)",
            since "1.8.0";
        /// Leaves out the console that a guest has otherwise.
        krun_disable_implicit_console(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "1.16.0";
        /// Adds a console on three descriptors, with ports for those that are not a terminal.
        krun_add_virtio_console_default(ctx_id: u32, input_fd: c_int, output_fd: c_int, err_fd: c_int) -> i32,
            "int32_t (uint32_t ctx_id, int input_fd, int output_fd, int err_fd)",
            since "1.16.0";
        /// Adds a console without ports and returns its number.
        krun_add_virtio_console_multiport(ctx_id: u32) -> i32,
            "int32_t (uint32_t ctx_id)",
            since "1.17.0";
        /// Adds a port on a terminal to a console.
        krun_add_console_port_tty(ctx_id: u32, console_id: u32, name: *const c_char, tty_fd: c_int) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t console_id, const char *name, int tty_fd)",
            since "1.17.0";
        /// Adds a port with an input and an output descriptor to a console.
        krun_add_console_port_inout(
            ctx_id: u32, console_id: u32, name: *const c_char, input_fd: c_int, output_fd: c_int
        ) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t console_id, const char *name, int input_fd, int output_fd)",
            since "1.17.0";
        /// Adds a serial console; takes the descriptors over.
        krun_add_serial_console_default(ctx_id: u32, input_fd: c_int, output_fd: c_int) -> i32,
            "int32_t (uint32_t ctx_id, int input_fd, int output_fd)",
            since "1.16.0";
        /// Puts this name into the `console=` of the kernel command line, which must have one.
        krun_set_kernel_console(ctx_id: u32, console_id: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *console_id)",
            since "1.16.0";
    }
    Kernel {
        /// A kernel file, its format, an initramfs and a kernel command line instead of libkrunfw.
        krun_set_kernel(
            ctx_id: u32, kernel_path: *const c_char, kernel_format: u32, initramfs: *const c_char,
            cmdline: *const c_char
        ) -> i32,
            "int32_t (uint32_t ctx_id, const char *kernel_path, uint32_t kernel_format, const char *initramfs, \
             const char *cmdline)",
            since "1.11.0",
            needs NotTee "not tee",
            else Refuses, "a tee build exports it with two parameters and returns -EOPNOTSUPP";
        /// A firmware file to boot instead of a kernel.
        krun_set_firmware(ctx_id: u32, firmware_path: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *firmware_path)",
            since "1.16.0",
            needs NotTee "not tee",
            else Absent, "absent in the tee builds";
    }
    Machine {
        /// Allows virtual machines in the guest.
        krun_set_nested_virt(ctx_id: u32, enabled: bool) -> i32,
            "int32_t (uint32_t ctx_id, bool enabled)",
            since "1.11.0";
        /// Splits the interrupt controller between the kernel and the process; x86_64 only.
        krun_split_irqchip(ctx_id: u32, enable: bool) -> i32,
            "int32_t (uint32_t ctx_id, bool enable)",
            since "1.12.0";
        /// OEM strings in the SMBIOS tables; they reach the guest on aarch64 only.
        krun_set_smbios_oem_strings(ctx_id: u32, oem_strings: *const *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *const oem_strings[])",
            since "1.9.1";
    }
    Identity {
        /// The user id to take on at the start.
        krun_setuid(ctx_id: u32, uid: uid_t) -> i32,
            "int32_t (uint32_t ctx_id, uid_t uid)",
            since "1.11.0";
        /// The group id to take on at the start; supplementary groups stay.
        krun_setgid(ctx_id: u32, gid: gid_t) -> i32,
            "int32_t (uint32_t ctx_id, gid_t gid)",
            since "1.11.0";
    }
    Gpu {
        /// Adds a GPU with virglrenderer flags.
        krun_set_gpu_options(ctx_id: u32, virgl_flags: u32) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t virgl_flags)",
            since "1.8.0",
            needs Gpu "gpu",
            else NoEffect, "present, accepted and without effect";
        /// As krun_set_gpu_options, with the size of the shared memory window.
        krun_set_gpu_options2(ctx_id: u32, virgl_flags: u32, shm_size: u64) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t virgl_flags, uint64_t shm_size)",
            since "1.9.5",
            needs Gpu "gpu",
            else NoEffect, "present, accepted and without effect";
        /// The descriptor of a render server for the GPU.
        krun_set_gpu_render_server_fd(ctx_id: u32, fd: c_int) -> i32,
            "int32_t (uint32_t ctx_id, int fd)",
            since "1.19.6",
            needs Gpu "gpu",
            else NoEffect, "present, accepted and without effect";
    }
    Display {
        /// Table of functions of the program that shows the displays; the table is copied.
        krun_set_display_backend(ctx_id: u32, display_backend: *const c_void, backend_size: usize) -> i32,
            "int32_t (uint32_t ctx_id, const void *display_backend, size_t backend_size)",
            since "1.15.0",
            needs Gpu "gpu",
            else Refuses, "present, returns -ENOTSUP";
        /// Adds a display of a size and returns its number.
        krun_add_display(ctx_id: u32, width: u32, height: u32) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t width, uint32_t height)",
            since "1.15.0",
            needs Gpu "gpu",
            else Refuses, "present, returns -ENOTSUP";
        /// The whole EDID block of a display.
        krun_display_set_edid(ctx_id: u32, display_id: u32, edid_blob: *const u8, blob_size: usize) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t display_id, const uint8_t* edid_blob, size_t blob_size)",
            since "1.15.0",
            needs Gpu "gpu",
            else Refuses, "present, returns -ENOTSUP";
        /// Size of a display in millimetres.
        krun_display_set_physical_size(ctx_id: u32, display_id: u32, width_mm: u16, height_mm: u16) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t display_id, uint16_t width_mm, uint16_t height_mm)",
            since "1.15.0",
            needs Gpu "gpu",
            else Refuses, "present, returns -ENOTSUP";
        /// Refresh rate of a display.
        krun_display_set_refresh_rate(ctx_id: u32, display_id: u32, refresh_rate: u32) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t display_id, uint32_t refresh_rate)",
            since "1.15.0",
            needs Gpu "gpu",
            else Refuses, "present, returns -ENOTSUP";
        /// Dots per inch of a display.
        krun_display_set_dpi(ctx_id: u32, display_id: u32, dpi: u32) -> i32,
            "int32_t (uint32_t ctx_id, uint32_t display_id, uint32_t dpi)",
            since "1.15.0",
            needs Gpu "gpu",
            else Refuses, "present, returns -ENOTSUP";
    }
    Input {
        /// Adds an input device with two tables of functions.
        krun_add_input_device(
            ctx_id: u32, config_backend: *const c_void, config_backend_size: usize, events_backend: *const c_void,
            events_backend_size: usize
        ) -> c_int,
            "int (uint32_t ctx_id, const void *config_backend, size_t config_backend_size, const void \
             *events_backend, size_t events_backend_size)",
            since "1.16.0",
            needs Input "input",
            else Refuses, "present, returns -ENOTSUP";
        /// Adds an input device of the host, by its descriptor, which is borrowed until the end.
        krun_add_input_device_fd(ctx_id: u32, input_fd: c_int) -> c_int,
            "int (uint32_t ctx_id, int input_fd)",
            since "1.16.0",
            needs Input "input",
            else Refuses, "present, returns -ENOTSUP";
    }
    Sound {
        /// Adds a sound device.
        krun_set_snd_device(ctx_id: u32, enable: bool) -> i32,
            "int32_t (uint32_t ctx_id, bool enable)",
            since "1.9.0",
            needs Snd "snd",
            else NoEffect, "present, accepted and without effect";
    }
    Tee {
        /// Configuration file of a confidential guest.
        krun_set_tee_config_file(ctx_id: u32, filepath: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *filepath)",
            since "1.4.1",
            needs Tee "tee (amd-sev, tdx)",
            else Absent, "absent";
        /// URL of the attestation server, for AMD SEV.
        krun_set_attestation_url(ctx_id: u32, url: *const c_char) -> i32,
            "int32_t (uint32_t ctx_id, const char *url)",
            since "0.1.8", until "1.3.0",
            needs AmdSev "amd-sev",
            else Absent, "absent";
    }
    Nitro {
        /// Image of a Nitro enclave and its type.
        krun_nitro_set_image(ctx_id: u32, image_path: *const c_char, image_type: u32) -> i32,
            "int32_t (uint32_t ctx_id, const char *image_path, uint32_t image_type)",
            since "1.14.0", until "1.16.0",
            needs Nitro "aws-nitro",
            else Absent, "absent";
        /// Start flags of a Nitro enclave.
        krun_nitro_set_start_flags(ctx_id: u32, start_flags: u64) -> i32,
            "int32_t (uint32_t ctx_id, uint64_t start_flags)",
            since "1.14.0", until "1.16.0",
            needs Nitro "aws-nitro",
            else Absent, "absent";
    }
}
