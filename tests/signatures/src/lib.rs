//! Compares krundl's table with the functions of the real libkrun: what differs does not compile.
//!
//! libkrun's crate is linked here, which krundl itself never does.
#![cfg(target_os = "linux")]

use krundl::symbols::{Function, types};

/// Assigns each function of the crate to the table's pointer type of that name.
macro_rules! compare {
    ($($name:ident)+) => {
        $(const _: types::$name = krun::$name;)+

        /// The functions whose signatures were compared.
        pub const COMPARED: &[Function] = &[$(Function::$name),+];
    };
}

compare! {
    krun_create_ctx
    krun_free_ctx
    krun_set_vm_config
    krun_start_enter
    krun_set_log_level
    krun_init_log
    krun_has_feature
    krun_get_max_vcpus
    krun_check_nested_virt
    krun_set_exec
    krun_set_env
    krun_set_workdir
    krun_set_rlimits
    krun_set_root
    krun_add_virtiofs
    krun_add_virtiofs2
    krun_add_virtiofs3
    krun_add_virtiofs4
    krun_set_mapped_volumes
    krun_disable_implicit_init
    krun_get_default_init
    krun_fs_add_overlay_file
    krun_fs_add_overlay_dir
    krun_add_disk
    krun_add_disk2
    krun_add_disk3
    krun_set_root_disk_remount
    krun_set_root_disk
    krun_set_data_disk
    krun_add_net_unixstream
    krun_add_net_unixgram
    krun_add_net_tap
    krun_set_passt_fd
    krun_set_gvproxy_path
    krun_set_net_mac
    krun_add_vsock
    krun_disable_implicit_vsock
    krun_add_vsock_port
    krun_add_vsock_port2
    krun_set_port_map
    krun_set_console_output
    krun_disable_implicit_console
    krun_add_virtio_console_default
    krun_add_virtio_console_multiport
    krun_add_console_port_tty
    krun_add_console_port_inout
    krun_add_serial_console_default
    krun_set_kernel_console
    krun_set_kernel
    krun_set_firmware
    krun_set_nested_virt
    krun_split_irqchip
    krun_set_smbios_oem_strings
    krun_setuid
    krun_setgid
    krun_set_gpu_options
    krun_set_gpu_options2
    krun_set_gpu_render_server_fd
    krun_add_display
    krun_display_set_edid
    krun_display_set_physical_size
    krun_display_set_refresh_rate
    krun_display_set_dpi
    krun_add_input_device
    krun_add_input_device_fd
    krun_set_snd_device
}

/// The functions whose signatures cannot be compared here, and why.
pub const NOT_COMPARED: &[(Function, &str)] = &[
    (Function::krun_get_shutdown_eventfd, "on aarch64 macOS only"),
    (
        Function::krun_set_display_backend,
        "the function of a build without gpu has one parameter more, which it ignores",
    ),
    (Function::krun_set_tee_config_file, "in builds for confidential guests only"),
    (Function::krun_set_attestation_url, "gone after 1.3.0"),
    (Function::krun_nitro_set_image, "gone after 1.16.0"),
    (Function::krun_nitro_set_start_flags, "gone after 1.16.0"),
];

#[cfg(test)]
mod tests {
    use krundl::symbols::FunctionSet;

    use super::*;

    #[test]
    fn every_function_is_compared_or_listed() {
        let compared: FunctionSet = COMPARED.iter().copied().collect();
        let listed: FunctionSet = NOT_COMPARED.iter().map(|(function, _)| *function).collect();
        assert_eq!(compared.len(), COMPARED.len(), "one is compared twice");
        assert_eq!(listed.len(), NOT_COMPARED.len(), "one is listed twice");
        assert!(compared.intersection(listed).is_empty(), "{:?}", compared.intersection(listed));
        assert_eq!(compared.union(listed), FunctionSet::ALL, "the rest is neither compared nor listed");
    }

    #[test]
    fn functions_that_are_gone_are_those_of_the_table() {
        for (function, why) in NOT_COMPARED {
            if let Some(until) = function.symbol().until {
                assert_eq!(*why, format!("gone after {until}"));
            }
        }
        assert!(COMPARED.iter().all(|function| function.symbol().until.is_none()));
    }
}
