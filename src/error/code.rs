//! The one table of codes.

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $name:ident = $number:literal, fix $fix:literal; )+) => {
        /// The number of an error. Numbers are fixed and never reused; new ones are added within their hundred.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum Code {
            $( $(#[doc = $doc])+ $name = $number, )+
        }

        /// Every code with its name, meaning and remedy.
        pub const CODES: &[CodeInfo] = &[
            $( CodeInfo {
                code: Code::$name,
                name: stringify!($name),
                meaning: concat!($($doc),+),
                fix: $fix,
            }, )+
        ];
    };
}

impl Code {
    /// Its row in [`CODES`].
    pub fn info(self) -> &'static CodeInfo {
        CODES.iter().find(|info| info.code == self).expect("every code has its row")
    }
}

/// A row of [`CODES`].
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The code; `code as u32` is its number.
    pub code: Code,
    /// Its name in Rust.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What usually mends it.
    pub fix: &'static str,
}

codes! {
    /// No candidate is a libkrun that opens.
    LibraryNotFound = 100, fix "Install libkrun, or name it with KRUNDL_LIBRARY; the list of attempts says what is wrong with each candidate.";
    /// The library speaks an API generation that krundl does not.
    GenerationUnknown = 101, fix "Install libkrun 1.x beside it, or name another library.";
    /// The library is not the one that was probed.
    LibraryChanged = 102, fix "Probe again, then launch.";
    /// The spec is wrong in itself or on this host.
    InvalidSpec = 200, fix "Mend the fields that the problems name.";
    /// This libkrun cannot do what the spec asks for.
    Unsupported = 201, fix "Install the release that the problem names, or ask for less.";
    /// The helper program krundl-vmm was not found.
    HelperNotFound = 300, fix "Install krundl-vmm beside the program or library, or name it with KRUNDL_VMM.";
    /// The helper is of another version, or is no krundl-vmm at all.
    HelperMismatch = 301, fix "Install both from the same release.";
    /// The helper could not be started, or stopped in the middle of a sentence.
    HelperFailed = 302, fix "Its own words say why.";
    /// A program that krundl starts for a network card could not be started, or ended before it served.
    Network = 303, fix "Its own words say why.";
    /// One of libkrun's functions refused.
    Call = 400, fix "The errno and libkrun's words say why.";
    /// krun_start_enter came back instead of running the VM.
    Start = 401, fix "libkrun's words say why; ENOENT is a missing libkrunfw.";
    /// libkrun's process died before the guest was up.
    Crashed = 402, fix "libkrun's words say why; /dev/kvm that is missing or closed to this user is the usual cause.";
    /// The VM ended without the guest ever having been up.
    NeverUp = 403, fix "The log says why: a host whose KVM runs no ordinary guests, a root on which init cannot work, a kernel panic.";
    /// Our program in the guest could not prepare the workload.
    GuestSetup = 404, fix "The message names the mount or path.";
    /// The guest was up and vanished without telling how the workload ended.
    GuestLost = 405, fix "The log says why: a kernel panic, a reboot or power-off inside, or a kill from outside.";
    /// The time given was over.
    TimedOut = 406, fix "Give it longer, or look at the log for what it waits for.";
    /// Readiness cannot be told with this libkrun.
    ReadinessUnknown = 407, fix "Install a libkrun with krun_add_vsock_port (1.8.0).";
    /// The guest's control port cannot be reached, or the conversation broke off.
    ControlLost = 408, fix "Give the VM a control port (control in its spec, or --name) and wait until it is up; a VM that has ended has none.";
    /// The operating system refused something that krundl itself needs.
    Os = 500, fix "The message says what was refused.";
    /// A function of krundl was given something that it cannot take.
    InvalidArgument = 600, fix "The message names the argument or option.";
    /// krundl itself has failed, which is a mistake in it.
    Internal = 601, fix "Report it with the message.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_sorted() {
        let numbers: Vec<u32> = CODES.iter().map(|info| info.code as u32).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(numbers, sorted);
    }
}
