//! What a libkrun that was probed can do.

use std::ffi::c_char;

use super::boundary::{asked, infallible, text};
use super::krundl_probe;
use crate::capabilities::{Generation, Support};
use crate::library::FeatureState;
use crate::symbols::{Feature, Function};

/// An API generation of libkrun.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_generation {
    /// One that krundl does not speak: nothing of it is called.
    Unknown = 0,
    /// Context numbers and setters: libkrun 0.1 to 1.19.
    One = 1,
}

/// Whether a function of libkrun does what its name says.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_support {
    /// krundl knows no function of that name.
    NoSuchFunction = -1,
    /// It is not there.
    Absent = 0,
    /// It is there, and a build that has it means it.
    Yes = 1,
    /// It is there and refuses: this build lacks the means.
    Refuses = 2,
    /// It is there, returns 0 and does nothing: this build lacks the means.
    NoEffect = 3,
    /// It is there, and whether this build has the means cannot be told.
    Unknown = 4,
}

/// What a libkrun says about a feature.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_feature_state {
    /// krundl knows no feature of that name.
    NoSuchFeature = -1,
    /// It was not asked: it has no krun_has_feature.
    Unasked = 0,
    /// It was built with it.
    Yes = 1,
    /// It was built without it.
    No = 2,
    /// It does not know its number: it is older than the feature.
    Unknown = 3,
}

/// Whether it shares directories of the host; false for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_can_mount(probe: *const krundl_probe) -> bool {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, false, |probe| probe.probed.capabilities.can_mount()) }
}

/// Whether it shares them read-only, enforced on the host's side; false for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_can_mount_read_only(probe: *const krundl_probe) -> bool {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, false, |probe| probe.probed.capabilities.can_mount_read_only()) }
}

/// Its API generation; KRUNDL_GENERATION_UNKNOWN for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_generation(probe: *const krundl_probe) -> krundl_generation {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, krundl_generation::Unknown, |probe| match probe.probed.capabilities.generation {
            Generation::One => krundl_generation::One,
            Generation::Unknown => krundl_generation::Unknown,
        })
    }
}

/// The number of functions that krundl knows and the library has; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_function_count(probe: *const krundl_probe) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, 0, |probe| probe.probed.capabilities.observation.functions.len()) }
}

/// How far a group of its functions goes; 0 is not at all, -1 for NULL or a group that there is not. group:
/// "virtiofs" (1: shares, 2: with a DAX window, 3: read-only, 4: with a choice of ownership semantics), "disk" (1:
/// raw, 2: qcow2 and vmdk, 3: direct I/O and sync modes), "net" (1: one card, 2: several), "vsock" (1: ports from
/// guest to host, 2: and back, 3: an explicit device), "console" (1: output to a file, 2: explicit, 3: named
/// ports), "kernel" (1: of the user's own, 2: firmware as well), "overlay" (1).
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `group` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_level(probe: *const krundl_probe, group: *const c_char) -> i32 {
    infallible(-1, || {
        // SAFETY: the caller's promise is the same.
        let (probe, group) = unsafe { (probe.as_ref(), text("group", group)) };
        let (Some(probe), Ok(group)) = (probe, group) else { return -1 };
        let named = probe.probed.capabilities.levels.named();
        named.iter().find(|(name, ..)| *name == group).map_or(-1, |(_, level, _)| i32::from(*level))
    })
}

/// Whether the library has a function, such as "krun_add_virtiofs3"; presence is no proof, see
/// krundl_probe_support. false for NULL and for names that krundl does not know.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `function` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_has(probe: *const krundl_probe, function: *const c_char) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise is the same.
        let (probe, function) = unsafe { (probe.as_ref(), text("function", function)) };
        let (Some(probe), Ok(function)) = (probe, function) else { return false };
        Function::from_name(function).is_some_and(|function| probe.probed.capabilities.has(function))
    })
}

/// Whether a function does what its name says; KRUNDL_SUPPORT_NO_SUCH_FUNCTION for NULL and for names that krundl
/// does not know.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `function` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_support(probe: *const krundl_probe, function: *const c_char) -> krundl_support {
    infallible(krundl_support::NoSuchFunction, || {
        // SAFETY: the caller's promise is the same.
        let (probe, function) = unsafe { (probe.as_ref(), text("function", function)) };
        let (Some(probe), Ok(function)) = (probe, function) else { return krundl_support::NoSuchFunction };
        let Some(function) = Function::from_name(function) else { return krundl_support::NoSuchFunction };
        match probe.probed.capabilities.support(function) {
            Support::Yes => krundl_support::Yes,
            Support::Absent => krundl_support::Absent,
            Support::Refuses => krundl_support::Refuses,
            Support::NoEffect => krundl_support::NoEffect,
            Support::Unknown => krundl_support::Unknown,
        }
    })
}

/// What the library says about a feature that it may be built with: "net", "blk", "gpu", "snd", "input", "efi",
/// "tee", "amd_sev", "intel_tdx", "aws_nitro", "virgl_resource_map2", "init_blob".
/// KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE for NULL and for other names.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `feature` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_feature(
    probe: *const krundl_probe,
    feature: *const c_char,
) -> krundl_feature_state {
    infallible(krundl_feature_state::NoSuchFeature, || {
        // SAFETY: the caller's promise is the same.
        let (probe, feature) = unsafe { (probe.as_ref(), text("feature", feature)) };
        let (Some(probe), Ok(feature)) = (probe, feature) else { return krundl_feature_state::NoSuchFeature };
        let Some(feature) = Feature::ALL.iter().find(|known| known.name() == feature) else {
            return krundl_feature_state::NoSuchFeature;
        };
        match probe.probed.capabilities.feature(*feature) {
            FeatureState::Yes => krundl_feature_state::Yes,
            FeatureState::No => krundl_feature_state::No,
            FeatureState::Unknown => krundl_feature_state::Unknown,
            FeatureState::Unasked => krundl_feature_state::Unasked,
        }
    })
}

/// Whether it is a release, such as "1.18.0", or a later one, as its functions prove: 1 or 0; -1 for NULL or what
/// is no release.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `release` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_at_least(probe: *const krundl_probe, release: *const c_char) -> i32 {
    infallible(-1, || {
        // SAFETY: the caller's promise is the same.
        let (probe, release) = unsafe { (probe.as_ref(), text("release", release)) };
        let (Some(probe), Ok(release)) = (probe, release) else { return -1 };
        let Ok(release) = semver::Version::parse(release) else { return -1 };
        i32::from(probe.probed.capabilities.at_least(&release))
    })
}
