//! Opens again, in the process that runs the VM, the very library that was probed.

use std::path::Path;

use super::inspect;
use super::loader::{self, Handle};
use super::report::Identity;
use crate::symbols::Functions;

/// Opens the library at `path`, after the libkrunfw at `firmware` where one is given, and compares it with what was
/// probed. It is never closed.
///
/// # Errors
/// What differs, or the loader's own words.
///
/// # Safety
/// The constructors of both run in this process: the caller vouches for them.
pub(crate) unsafe fn reopen(path: &Path, probed: &Identity, firmware: Option<&Path>) -> Result<Functions, String> {
    let now = inspect::identify(path).map_err(|error| error.message)?;
    if let Some(difference) = probed.difference(&now) {
        return Err(difference);
    }
    if let Some(firmware) = firmware {
        // SAFETY: the caller vouches for it.
        unsafe { Handle::open(firmware.as_os_str(), loader::FIRMWARE) }
            .map_err(|said| format!("its firmware {} does not open: {said}", firmware.display()))?;
    }
    // SAFETY: the caller vouches for it.
    let handle = unsafe { Handle::open(path.as_os_str(), loader::LAZY) }?;
    Ok(handle.functions())
}
