//! How a call went.

use std::ffi::{CStr, c_char};

use crate::error::Code;

/// How a call went. The numbers are those of docs/errors.md, the same in every language; none is ever reused, and new
/// ones are added.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_status {
    /// It did what was asked for.
    Ok = 0,
    /// No candidate is a libkrun that opens.
    LibraryNotFound = 100,
    /// The library speaks an API generation that krundl does not.
    GenerationUnknown = 101,
    /// The library is not the one that was probed.
    LibraryChanged = 102,
    /// The spec is wrong in itself or on this host.
    InvalidSpec = 200,
    /// This libkrun cannot do what the spec asks for.
    Unsupported = 201,
    /// The helper program krundl-vmm was not found.
    HelperNotFound = 300,
    /// The helper is of another version, or is no krundl-vmm at all.
    HelperMismatch = 301,
    /// The helper could not be started, or stopped in the middle of a sentence.
    HelperFailed = 302,
    /// A program that krundl starts for a network card could not be started, or ended before it served.
    Network = 303,
    /// One of libkrun's functions refused.
    Call = 400,
    /// krun_start_enter came back instead of running the VM.
    Start = 401,
    /// libkrun's process died before the guest was up.
    Crashed = 402,
    /// The VM ended without the guest ever having been up.
    NeverUp = 403,
    /// krundl's program in the guest could not prepare the workload.
    GuestSetup = 404,
    /// The guest was up and vanished without telling how the workload ended.
    GuestLost = 405,
    /// The time given was over.
    TimedOut = 406,
    /// Readiness cannot be told with this libkrun.
    ReadinessUnknown = 407,
    /// The guest's control port cannot be reached, or the conversation broke off.
    ControlLost = 408,
    /// The operating system refused something that krundl itself needs.
    Os = 500,
    /// A function was given something that it cannot take: NULL, text that is not UTF-8, a name that there is not.
    InvalidArgument = 600,
    /// krundl itself has failed, which is a mistake in it.
    Internal = 601,
}

/// All of them but [`krundl_status::Ok`], in the order of [`CODES`].
pub(super) const STATUSES: &[krundl_status] = &[
    krundl_status::LibraryNotFound,
    krundl_status::GenerationUnknown,
    krundl_status::LibraryChanged,
    krundl_status::InvalidSpec,
    krundl_status::Unsupported,
    krundl_status::HelperNotFound,
    krundl_status::HelperMismatch,
    krundl_status::HelperFailed,
    krundl_status::Network,
    krundl_status::Call,
    krundl_status::Start,
    krundl_status::Crashed,
    krundl_status::NeverUp,
    krundl_status::GuestSetup,
    krundl_status::GuestLost,
    krundl_status::TimedOut,
    krundl_status::ReadinessUnknown,
    krundl_status::ControlLost,
    krundl_status::Os,
    krundl_status::InvalidArgument,
    krundl_status::Internal,
];

impl krundl_status {
    pub(super) fn of(code: Code) -> krundl_status {
        let same = STATUSES.iter().find(|status| **status as i32 == code as i32);
        *same.unwrap_or(&krundl_status::Internal)
    }
}

/// Names for C, as they are in JSON.
const NAMES: &[(i32, &CStr)] = &[
    (0, c"ok"),
    (100, c"library_not_found"),
    (101, c"generation_unknown"),
    (102, c"library_changed"),
    (200, c"invalid_spec"),
    (201, c"unsupported"),
    (300, c"helper_not_found"),
    (301, c"helper_mismatch"),
    (302, c"helper_failed"),
    (400, c"call"),
    (401, c"start"),
    (402, c"crashed"),
    (403, c"never_up"),
    (404, c"guest_setup"),
    (405, c"guest_lost"),
    (406, c"timed_out"),
    (407, c"readiness_unknown"),
    (408, c"control_lost"),
    (500, c"os"),
    (600, c"invalid_argument"),
    (601, c"internal"),
];

/// The number of the ABI that this library speaks, which is that of its soname. It is KRUNDL_ABI_VERSION of the header
/// that belongs to it; functions may have been added since the header was made.
///
/// Threads: any. Cannot fail.
#[unsafe(no_mangle)]
pub extern "C" fn krundl_abi_version() -> u32 {
    super::ABI_VERSION
}

/// This library's version, such as "0.1.0". The text is the library's own and lives for ever.
///
/// Threads: any. Cannot fail.
#[unsafe(no_mangle)]
pub extern "C" fn krundl_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no NUL"),
    };
    VERSION.as_ptr()
}

/// The name of a status as it is in JSON, such as "library_not_found"; NULL for a number that this library does not
/// know. The text is the library's own and lives for ever.
///
/// Threads: any. Cannot fail.
#[unsafe(no_mangle)]
pub extern "C" fn krundl_status_name(status: i32) -> *const c_char {
    NAMES.iter().find(|(number, _)| *number == status).map_or(std::ptr::null(), |(_, name)| name.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CODES;

    #[test]
    fn the_statuses_are_the_codes() {
        let codes: Vec<(i32, String)> = CODES.iter().map(|info| (info.code as i32, info.name.to_owned())).collect();
        let statuses: Vec<(i32, String)> =
            STATUSES.iter().map(|status| (*status as i32, format!("{status:?}"))).collect();
        assert_eq!(statuses, codes);
        assert!(CODES.iter().all(|info| krundl_status::of(info.code) as i32 == info.code as i32));
    }

    #[test]
    fn the_names_are_those_of_json() {
        assert_eq!(NAMES.len(), CODES.len() + 1);
        for info in CODES {
            let name = serde_json::to_value(info.code).unwrap();
            assert!(
                NAMES
                    .iter()
                    .any(|(number, text)| *number == info.code as i32 && text.to_str() == Ok(name.as_str().unwrap())),
                "{name}"
            );
        }
    }
}
