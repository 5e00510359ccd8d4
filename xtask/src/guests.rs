//! Tests that boot guests, in a lab.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::Lab;

/// Twice in some thousands of boots a guest of the lab was reset before its first word: libkrun exits with 0 then, as after
/// a restart, and has logged nothing. It came with two releases and both kernels, never on purpose, and no other way is known
/// to this message; the emulated processor is suspected.
const RESET: &str = "without the guest ever having been up (libkrun's process exited with status 0)";

/// Runs tests in a lab that captures, and shows what they said. If they fail with a guest that was [`RESET`], they run once
/// more.
///
/// # Errors
/// What failed: the tests, or the lab itself.
pub fn pass(lab: &Lab, command: &[OsString], tests: &str) -> Result<()> {
    let mut tried = false;
    loop {
        let result = lab.run(command)?;
        let (output, errors) = (String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
        print!("{output}");
        eprint!("{errors}");
        match result.outcome {
            Ok(0) => return Ok(()),
            Ok(_) if !tried && (output.contains(RESET) || errors.contains(RESET)) => {
                eprintln!("{tests}: a guest was reset before its first word; trying once more");
                tried = true;
            }
            Ok(status) => bail!("{tests} failed (status {status})"),
            Err(reason) => bail!("{tests}: the lab failed: {reason}"),
        }
    }
}
