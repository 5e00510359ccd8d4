//! The features that `krun_has_feature` knows.

use super::named;

named! {
    /// Something that libkrun was built with or without, as `krun_has_feature` tells it.
    #[non_exhaustive]
    #[repr(u64)]
    pub enum Feature {
        /// Network cards.
        Net = 0 => "net",
        /// Disk images.
        Blk = 1 => "blk",
        /// A graphics card and displays.
        Gpu = 2 => "gpu",
        /// Sound.
        Snd = 3 => "snd",
        /// Input devices.
        Input = 4 => "input",
        /// Booting with built-in EFI firmware.
        Efi = 5 => "efi",
        /// Confidential guests.
        Tee = 6 => "tee",
        /// Confidential guests with AMD SEV.
        AmdSev = 7 => "amd_sev",
        /// Confidential guests with Intel TDX.
        IntelTdx = 8 => "intel_tdx",
        /// AWS Nitro enclaves.
        AwsNitro = 9 => "aws_nitro",
        /// virglrenderer's newer way of mapping resources.
        VirglResourceMap2 = 10 => "virgl_resource_map2",
        /// An init program inside the library.
        InitBlob = 11 => "init_blob",
    }
}

impl Feature {
    /// Its number in `krun_has_feature`.
    pub const fn id(self) -> u64 {
        self as u64
    }

    /// The feature with that number.
    pub fn from_id(id: u64) -> Option<Feature> {
        Feature::ALL.iter().copied().find(|feature| feature.id() == id)
    }

    /// The first release whose `krun_has_feature` knows its number.
    pub fn since(self) -> semver::Version {
        match self {
            Feature::InitBlob => semver::Version::new(1, 19, 0),
            _ => semver::Version::new(1, 17, 3),
        }
    }
}
