//! What a function needs from the build of libkrun, as types.

use serde::Serialize;

use super::named;

named! {
    /// What libkrun must be built with or for, to have a function or to have it do something.
    #[non_exhaustive]
    pub enum Build {
        /// Nothing: every build has it.
        Always => "always",
        /// Any build but one for confidential guests.
        NotTee => "not_tee",
        /// Any build but one for confidential guests or Nitro enclaves.
        NotTeeNorNitro => "not_tee_nor_nitro",
        /// Disk images.
        Blk => "blk",
        /// Disk images, and not confidential guests or Nitro enclaves.
        BlkNotTeeNorNitro => "blk_not_tee_nor_nitro",
        /// Network cards.
        Net => "net",
        /// A graphics card.
        Gpu => "gpu",
        /// Sound.
        Snd => "snd",
        /// Input devices.
        Input => "input",
        /// Confidential guests of any kind.
        Tee => "tee",
        /// Confidential guests with AMD SEV.
        AmdSev => "amd_sev",
        /// Nitro enclaves.
        Nitro => "nitro",
        /// A platform: which one depends on the release.
        Platform => "platform",
    }
}

/// What a build does about a function that it lacks the means for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Without {
    /// There is no such build.
    Always,
    /// It does not have the function.
    Absent,
    /// It has the function, which refuses with `-ENOTSUP` or `-EOPNOTSUPP`.
    Refuses,
    /// It has the function, which returns 0 and does nothing.
    NoEffect,
    /// Since this release it does not have the function; before that the function refuses with `-ENOTSUP`.
    AbsentSince(&'static str),
}
