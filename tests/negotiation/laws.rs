//! What libkrun does not forgive in an order of calls, as it was read in its source and seen (1.8.0 to 1.19.7).

use krundl::symbols::Function as F;

const LOG: &[F] = &[F::krun_init_log, F::krun_set_log_level];
const DISKS: &[F] = &[F::krun_add_disk, F::krun_add_disk2, F::krun_add_disk3];
const OLD_DISKS: &[F] = &[F::krun_set_root_disk, F::krun_set_data_disk];
const REMOUNT: &[F] = &[F::krun_set_root_disk_remount];
const NICS: &[F] = &[F::krun_add_net_unixstream, F::krun_add_net_unixgram, F::krun_add_net_tap];
const OLD_NICS: &[F] = &[F::krun_set_passt_fd, F::krun_set_gvproxy_path, F::krun_set_net_mac];
const SHARES: &[F] =
    &[F::krun_set_root, F::krun_add_virtiofs, F::krun_add_virtiofs2, F::krun_add_virtiofs3, F::krun_add_virtiofs4];
const DISPLAY: &[F] = &[
    F::krun_display_set_edid,
    F::krun_display_set_physical_size,
    F::krun_display_set_refresh_rate,
    F::krun_display_set_dpi,
];

enum Law {
    /// At most one call of any of these.
    Once(&'static [F]),
    /// None of these beside one of those.
    Apart(&'static [F], &'static [F]),
    /// Every one of these before every one of those.
    Before(&'static [F], &'static [F]),
    /// Before each of these, one of those.
    Needs(&'static [F], &'static [F]),
    /// None of these.
    Never(&'static [F]),
}
use Law::{Apart, Before, Needs, Never, Once};

/// With what libkrun does otherwise.
const LAWS: &[(Law, &str)] = &[
    (Once(LOG), "a second logger aborts"),
    (Once(&[F::krun_create_ctx]), "the first context is never started"),
    (Once(&[F::krun_set_vm_config]), "the last one wins"),
    (Once(&[F::krun_set_exec]), "the last one wins"),
    (Once(&[F::krun_set_root]), "two devices of one tag"),
    (Once(&[F::krun_set_kernel]), "the last one wins"),
    (Once(&[F::krun_set_port_map]), "the last one wins"),
    (Once(&[F::krun_set_console_output]), "EINVAL"),
    (Once(&[F::krun_add_vsock]), "EEXIST"),
    (Once(REMOUNT), "EINVAL: there is a root already"),
    (Once(&[F::krun_start_enter]), "ENOENT: the context is used up"),
    (Before(LOG, &[F::krun_create_ctx]), "what is said before is lost"),
    (Apart(OLD_DISKS, DISKS), "they are silently ignored"),
    (Before(DISKS, REMOUNT), "EINVAL: there is no disk yet"),
    (Needs(REMOUNT, DISKS), "EINVAL: there is no disk"),
    (Apart(REMOUNT, &[F::krun_set_root]), "EINVAL, or two roots"),
    (Apart(OLD_NICS, NICS), "EINVAL"),
    (Apart(NICS, &[F::krun_set_port_map]), "EINVAL, or the ports are dropped"),
    (Apart(OLD_NICS, &[F::krun_set_port_map]), "the ports are dropped"),
    (Before(&[F::krun_disable_implicit_init], SHARES), "init is there already"),
    (Before(&[F::krun_disable_implicit_init], REMOUNT), "init is there already"),
    (Before(&[F::krun_disable_implicit_vsock], &[F::krun_add_vsock]), "EEXIST"),
    (Needs(&[F::krun_add_vsock], &[F::krun_disable_implicit_vsock]), "EEXIST"),
    (Needs(&[F::krun_add_virtio_console_default], &[F::krun_disable_implicit_console]), "two consoles want one stdin"),
    (Apart(&[F::krun_set_console_output], &[F::krun_disable_implicit_console]), "it has no effect"),
    (Needs(&[F::krun_add_console_port_inout], &[F::krun_add_virtio_console_multiport]), "EINVAL: no such console"),
    (Needs(DISPLAY, &[F::krun_add_display]), "EINVAL: no such display"),
    (Never(OLD_DISKS), "deprecated: from 1.9.5 on there is better, before that they cannot be told read-only"),
    (Never(&[F::krun_set_mapped_volumes]), "always EINVAL since 1.8.0"),
    (Never(&[F::krun_free_ctx]), "the context is the one that is started"),
];

/// Calls after krun_disable_implicit_vsock find no device without krun_add_vsock: ENODEV.
const VSOCK: &[F] = &[F::krun_add_vsock_port, F::krun_add_vsock_port2, F::krun_set_port_map];

/// The laws that this order of calls breaks.
pub fn broken(calls: &[F]) -> Vec<String> {
    let mut broken: Vec<String> =
        LAWS.iter().filter(|(law, _)| !law.holds(calls)).map(|(law, why)| format!("{law:?}: {why}")).collect();
    let without_vsock = calls.contains(&F::krun_disable_implicit_vsock) && !calls.contains(&F::krun_add_vsock);
    if without_vsock && calls.iter().any(|call| VSOCK.contains(call)) {
        broken.push("a vsock port without a vsock device: ENODEV".to_owned());
    }
    let ends = calls.last() == Some(&F::krun_start_enter);
    let context = calls.iter().position(|call| !LOG.contains(call)).map(|first| calls[first]);
    if !ends || context != Some(F::krun_create_ctx) {
        broken.push("it begins with a context and ends with the start".to_owned());
    }
    broken
}

impl Law {
    fn holds(&self, calls: &[F]) -> bool {
        let places = |of: &[F]| {
            let of = of.to_vec();
            calls.iter().enumerate().filter(move |(_, call)| of.contains(call)).map(|(place, _)| place)
        };
        match self {
            Once(these) => places(these).count() <= 1,
            Apart(these, those) => places(these).next().is_none() || places(those).next().is_none(),
            Before(these, those) => match (places(these).max(), places(those).min()) {
                (Some(last), Some(first)) => last < first,
                _ => true,
            },
            Needs(these, those) => match (places(these).min(), places(those).min()) {
                (Some(first), needed) => needed.is_some_and(|needed| needed < first),
                (None, _) => true,
            },
            Never(these) => places(these).next().is_none(),
        }
    }
}

impl std::fmt::Debug for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |of: &[F]| of.iter().map(|function| function.name()).collect::<Vec<_>>().join(" / ");
        match self {
            Once(these) => write!(f, "{} once", names(these)),
            Apart(these, those) => write!(f, "{} never beside {}", names(these), names(those)),
            Before(these, those) => write!(f, "{} before {}", names(these), names(those)),
            Needs(these, those) => write!(f, "{} needs {}", names(these), names(those)),
            Never(these) => write!(f, "never {}", names(these)),
        }
    }
}

#[test]
fn each_law_can_be_broken() {
    for (law, why) in LAWS {
        let calls = match law {
            Once(these) => vec![these[0], these[these.len() - 1]],
            Apart(these, those) => vec![these[0], those[0]],
            Before(these, those) => vec![those[0], these[0]],
            Needs(these, _) => vec![these[0]],
            Never(these) => vec![these[0]],
        };
        let calls = [&[F::krun_create_ctx], calls.as_slice(), &[F::krun_start_enter]].concat();
        let law = format!("{law:?}: {why}");
        assert!(broken(&calls).contains(&law), "{law} holds of {calls:?}");
    }
    let plain = [F::krun_init_log, F::krun_create_ctx, F::krun_set_exec, F::krun_start_enter];
    assert_eq!(broken(&plain), [""; 0]);
    for wrong in [&plain[..3], &plain[2..], &[]] {
        assert_ne!(broken(wrong), [""; 0], "{wrong:?}");
    }
    let ports = [F::krun_create_ctx, F::krun_disable_implicit_vsock, F::krun_add_vsock_port, F::krun_start_enter];
    assert_ne!(broken(&ports), [""; 0]);
}
