//! Opens libkrun and says what it is.

use super::{Reporter, exit};
use crate::helper::wire::Status;
use crate::library::{Options, Progress, open};

pub(super) fn probe(options: &Options, kernel_release: bool, status: &mut Reporter) -> ! {
    let mut say = |progress: &Progress| match progress {
        Progress::Trying { candidate, origin } => {
            status.say(&Status::Trying { candidate: candidate.clone(), origin: *origin });
        }
        Progress::Failed(attempt) => status.say(&Status::Attempted(attempt.clone())),
        _ => {}
    };
    // SAFETY: this process exists to find out what these libraries do; whatever it is, they do it to it alone.
    let opened = unsafe { open(options, &mut say) };
    match opened {
        Ok((library, attempts)) => {
            // The chosen one is the last; the others were told while they were tried.
            if let Some(chosen) = attempts.iter().find(|attempt| attempt.error.is_none()) {
                status.say(&Status::Attempted(chosen.clone()));
            }
            let mut observation = library.observation().clone();
            status.say(&Status::Observed(Box::new(observation.clone())));
            // SAFETY: as above; what libkrunfw does on opening, libkrun would make it do.
            unsafe { observation.firmware.ask(kernel_release) };
            status.say(&Status::Firmware(Box::new(observation.firmware)));
        }
        Err(_) => status.say(&Status::NotFound),
    }
    exit(0)
}
