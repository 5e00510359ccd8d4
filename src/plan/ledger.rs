//! The ledger: for each of libkrun's functions the field of a spec that reaches it, or the reason why none does.
//!
//! The match below has every function of the table, so that a new one cannot be forgotten; the tests compare it with
//! the calls that a plan can make.

use crate::symbols::Function;

/// Whether and how a function is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any of these fields of a spec makes a plan call it; the text, which may be empty, says more.
    Field(&'static [&'static str], &'static str),
    /// Plans call it whatever the spec says.
    Always(&'static str),
    /// krundl asks it about the library, outside of any plan.
    Asked(&'static str),
    /// Nothing reaches it.
    Never(&'static str),
}

impl Reach {
    /// Whether a plan can call the function.
    pub fn by_plan(self) -> bool {
        matches!(self, Reach::Field(..) | Reach::Always(_))
    }
}

/// What reaches a function.
pub fn reach(function: Function) -> Reach {
    use Function::*;
    use Reach::{Always, Asked, Field, Never};
    match function {
        krun_create_ctx => Always("every VM has one context"),
        krun_free_ctx => Never("a context that was not started ends with its process"),
        krun_set_vm_config => Field(&["vcpus", "memory_mib"], ""),
        krun_start_enter => Always("the last call of every plan"),
        krun_get_shutdown_eventfd => {
            Never("there is nothing to shut down on Linux: gone since 1.19.6, and -EINVAL before that")
        }
        krun_set_log_level => Field(&["log_level"], "before 1.13.0"),
        krun_init_log => Field(&["log_level", "log_file"], ""),
        krun_has_feature => Asked("for the capabilities, when the library is probed"),
        krun_get_max_vcpus => Never("the host checks ask /dev/kvm themselves, which no library needs to be opened for"),
        krun_check_nested_virt => Never("the host checks read the KVM module's parameter themselves, as it does"),
        krun_set_exec => Field(&["exec"], "it starts krundl's program in the guest, which runs the workload"),
        krun_set_env => {
            Never("krundl's program in the guest gives the workload its environment; the command line would corrupt it")
        }
        krun_set_workdir => {
            Never("krundl's program in the guest enters the working directory; the command line would corrupt it")
        }
        krun_set_rlimits => Field(&["rlimits"], ""),
        krun_set_root => Field(&["root.dir"], "with root.dax_mib 512, before 1.9.5"),
        krun_add_virtiofs => Field(&["root.dir", "root.disk", "mounts"], ""),
        krun_add_virtiofs2 => Field(&["root.dax_mib", "mounts[].dax_mib"], ""),
        krun_add_virtiofs3 => Field(&["root.read_only", "mounts[].read_only", "mounts[].overlay"], ""),
        krun_add_virtiofs4 => Field(&["mounts[].semantics"], ""),
        krun_set_mapped_volumes => Never("dead: it refuses with -EINVAL since 1.8.0; mounts take its place"),
        krun_disable_implicit_init => {
            Never("libkrun's init starts krundl's program in the guest and tells the exit status")
        }
        krun_get_default_init => Never("libkrun's init is used where it is, not copied"),
        krun_fs_add_overlay_file => Field(&["overlay.files", "exec"], "it brings krundl's program in"),
        krun_fs_add_overlay_dir => Field(&["overlay.dirs", "mounts[].guest", "root.disk"], ""),
        krun_add_disk => Field(&["disks"], ""),
        krun_add_disk2 => Field(&["disks[].format"], ""),
        krun_add_disk3 => Field(&["disks[].direct_io", "disks[].sync"], ""),
        krun_set_root_disk_remount => Field(&["root.disk"], "before 1.19.0"),
        krun_set_root_disk => Never("ignored without a word beside krun_add_disk, which takes its place"),
        krun_set_data_disk => Never("ignored without a word beside krun_add_disk, which takes its place"),
        krun_add_net_unixstream => Field(&["nics[].passt", "nics[].unixstream"], ""),
        krun_add_net_unixgram => Field(&["nics[].unixgram"], ""),
        krun_add_net_tap => Field(&["nics[].tap"], ""),
        krun_set_passt_fd => Field(&["nics[].passt", "nics[].unixstream"], "before 1.15.0"),
        krun_set_gvproxy_path => Field(&["nics[].unixgram"], "before 1.15.0"),
        krun_set_net_mac => Field(&["nics[].mac"], "before 1.15.0"),
        krun_add_vsock => Field(&["tsi", "vsock.ports"], ""),
        krun_disable_implicit_vsock => Field(&["tsi", "vsock.ports", "kernel"], ""),
        krun_add_vsock_port => Field(&["vsock.ports", "exec"], "it carries the guest's word"),
        krun_add_vsock_port2 => Field(&["vsock.ports[].listen"], ""),
        krun_set_port_map => Field(&["tsi.ports", "tsi.only_ports"], ""),
        krun_set_console_output => Field(&["console.file"], ""),
        krun_disable_implicit_console => Field(&["console"], ""),
        krun_add_virtio_console_default => Field(&["console"], ""),
        krun_add_virtio_console_multiport => Field(&["console_ports", "kernel"], "it carries the guest's word"),
        krun_add_console_port_tty => Field(&["console_ports[].tty"], ""),
        krun_add_console_port_inout => Field(&["console_ports[].input", "console_ports[].output"], ""),
        krun_add_serial_console_default => Field(&["serial", "firmware"], ""),
        krun_set_kernel_console => Field(&["kernel_console"], ""),
        krun_set_kernel => Field(&["kernel"], ""),
        krun_set_firmware => Field(&["firmware"], ""),
        krun_set_nested_virt => Field(&["nested_virt"], ""),
        krun_split_irqchip => Field(&["split_irqchip"], ""),
        krun_set_smbios_oem_strings => Field(&["smbios_oem_strings"], ""),
        krun_setuid => Field(&["uid"], ""),
        krun_setgid => Field(&["gid"], ""),
        krun_set_gpu_options => Field(&["gpu"], ""),
        krun_set_gpu_options2 => Field(&["gpu.shm_mib"], ""),
        krun_set_gpu_render_server_fd => {
            Never("it takes a connection to a render server, which nobody but a desktop session's code can make")
        }
        krun_set_display_backend => {
            Never("it takes functions of a program, which would have to live in the VM's process")
        }
        krun_add_display => Field(&["displays"], ""),
        krun_display_set_edid => Field(&["displays[].edid"], ""),
        krun_display_set_physical_size => Field(&["displays[].physical_size_mm"], ""),
        krun_display_set_refresh_rate => Field(&["displays[].refresh_rate"], ""),
        krun_display_set_dpi => Field(&["displays[].dpi"], ""),
        krun_add_input_device => Never("it takes functions of a program, which would have to live in the VM's process"),
        krun_add_input_device_fd => Field(&["inputs"], ""),
        krun_set_snd_device => Field(&["sound"], ""),
        krun_set_tee_config_file => Field(&["tee"], ""),
        krun_set_attestation_url => Never("gone since 1.4.1: the file of krun_set_tee_config_file has the address"),
        krun_nitro_set_image => Never("gone since 1.17.0; krundl does not run Nitro enclaves, which have no virtio-fs"),
        krun_nitro_set_start_flags => {
            Never("gone since 1.17.0; krundl does not run Nitro enclaves, which have no virtio-fs")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Call;
    use crate::symbols::FunctionSet;

    #[test]
    fn what_the_ledger_calls_reached_is_what_a_plan_can_call() {
        let called: FunctionSet = Call::FUNCTIONS.iter().copied().collect();
        assert_eq!(called.len(), Call::FUNCTIONS.len(), "one variant for each function");
        let reached: FunctionSet = Function::ALL.iter().copied().filter(|f| reach(*f).by_plan()).collect();
        assert_eq!(called.difference(reached).iter().collect::<Vec<_>>(), [], "called, and the ledger says never");
        assert_eq!(reached.difference(called).iter().collect::<Vec<_>>(), [], "no call is there for it");
    }

    #[test]
    fn every_field_is_one_of_the_spec() {
        let docs = include_str!("../../docs/spec.md");
        for function in Function::ALL {
            let Reach::Field(fields, _) = reach(*function) else { continue };
            for field in fields {
                let shown = ["| `", ", `"].iter().any(|before| {
                    ["`", ".", "[]"].iter().any(|after| docs.contains(&format!("{before}{field}{after}")))
                });
                assert!(shown, "{function}: docs/spec.md has no {field}");
            }
        }
    }

    #[test]
    fn every_reason_is_given() {
        for function in Function::ALL {
            match reach(*function) {
                Reach::Field(fields, _) => assert!(!fields.is_empty(), "{function}"),
                Reach::Always(why) | Reach::Asked(why) | Reach::Never(why) => assert!(why.len() > 10, "{function}"),
            }
        }
    }
}
