//! Tests that boot guests, in labs.
//!
//! The emulated machine is not as steady as a real one. Twice in some thousands of boots a guest was reset before its first
//! word (libkrun exits with 0 then, as after a restart, and has logged nothing), and once SSH's connection into one was gone
//! between two commands; neither came on purpose again in hundreds. So tests that fail are run once more, and a run counts
//! how often that helped: a machine does it now and then, a mistake of ours comes back.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::Lab;

/// Tests with everything that they need, which have only to be run in their lab.
pub type Job = Box<dyn FnOnce() -> Result<()> + Send>;

/// A lab has one processor, and the smallest machine for this has two.
const AT_A_TIME: usize = 2;

/// How many of a run's labs may need a second try.
const UNSTEADY: usize = 2;

/// The tests of this run that passed only when they were tried again.
static SECOND_TRIES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs them all, two at a time.
///
/// # Errors
/// The first that failed; the others have run as well.
pub fn run(jobs: Vec<Job>) -> Result<()> {
    let queue = Mutex::new(VecDeque::from(jobs));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let outcomes = std::thread::scope(|scope| {
        let labs: Vec<_> = (0..AT_A_TIME)
            .map(|_| scope.spawn(|| std::iter::from_fn(next).map(|job| job()).collect::<Vec<_>>()))
            .collect();
        labs.into_iter()
            .flat_map(|lab| lab.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    outcomes.into_iter().collect()
}

/// Runs tests in a lab that captures, and shows what they said, of a first try that failed as well.
///
/// # Errors
/// What failed twice: the tests, or the lab itself.
pub fn pass(lab: &Lab, command: &[OsString], tests: &str) -> Result<()> {
    let begin = Instant::now();
    let Some(failed) = once(lab, command, tests)? else {
        eprintln!("{tests}: passed in {} s", begin.elapsed().as_secs());
        return Ok(());
    };
    eprintln!("{tests} failed (status {failed}); trying once more, for the machine is emulated");
    if let Some(status) = once(lab, command, tests)? {
        bail!("{tests} failed twice (status {failed}, then {status})");
    }
    SECOND_TRIES.lock().unwrap_or_else(PoisonError::into_inner).push(tests.to_owned());
    Ok(())
}

/// The status, if the tests failed.
fn once(lab: &Lab, command: &[OsString], tests: &str) -> Result<Option<u8>> {
    let result = lab.run(command)?;
    print!("{}", String::from_utf8_lossy(&result.stdout));
    eprint!("{}", String::from_utf8_lossy(&result.stderr));
    match result.outcome {
        Ok(0) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(reason) => bail!("{tests}: the lab failed: {reason}"),
    }
}

/// Names the tests that passed only when they were tried again.
///
/// # Errors
/// They are too many for the machine to be to blame.
pub fn judge() -> Result<()> {
    let again = SECOND_TRIES.lock().unwrap_or_else(PoisonError::into_inner);
    for tests in again.iter() {
        eprintln!("unsteady: {tests} failed, and passed when tried again");
    }
    if again.len() > UNSTEADY {
        bail!("{} labs' tests passed only when tried again, of which {UNSTEADY} may", again.len());
    }
    Ok(())
}
