//! The names of libkrun's and libkrunfw's files.
//!
//! libkrun's Makefile installs `libkrun.so.1.18.0` with the links `libkrun.so.1` and `libkrun.so`, on macOS
//! `libkrun.1.18.0.dylib`, `libkrun.1.dylib` and `libkrun.dylib`. A variant stands after `libkrun`; libkrunfw does the
//! same.

use crate::symbols::named;

named! {
    /// The variant of a libkrun, as its file name or soname has it.
    ///
    /// Builds by cargo alone are named like the plain one whatever they were built with: what a library can do is told
    /// by [`crate::symbols::Feature`], not by this.
    #[non_exhaustive]
    pub enum Flavour {
        /// The ordinary one.
        Plain => "plain",
        /// For confidential guests with AMD SEV.
        Sev => "sev",
        /// For confidential guests with Intel TDX.
        Tdx => "tdx",
        /// For AWS Nitro enclaves.
        AwsNitro => "aws_nitro",
        /// With built-in EFI firmware; only ever made for macOS.
        Efi => "efi",
    }
}

impl Flavour {
    /// What stands after `libkrun` in the names of its files.
    fn infix(self) -> &'static str {
        match self {
            Flavour::Plain => "",
            Flavour::Sev => "-sev",
            Flavour::Tdx => "-tdx",
            Flavour::AwsNitro => "-awsnitro",
            Flavour::Efi => "-efi",
        }
    }

    /// Those that exist on this system, the ordinary one first.
    pub(super) fn here() -> impl Iterator<Item = Flavour> {
        Flavour::ALL.iter().copied().filter(|flavour| *flavour != Flavour::Efi || cfg!(target_os = "macos"))
    }
}

/// The file name of a libkrun on this system; without a number, the name that compilers look for.
pub(super) fn libkrun(flavour: Flavour, major: Option<u32>) -> String {
    let infix = flavour.infix();
    match (major, cfg!(target_os = "macos")) {
        (Some(major), false) => format!("libkrun{infix}.so.{major}"),
        (Some(major), true) => format!("libkrun{infix}.{major}.dylib"),
        (None, false) => format!("libkrun{infix}.so"),
        (None, true) => format!("libkrun{infix}.dylib"),
    }
}

/// What the name of a file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The variant.
    pub(super) flavour: Flavour,
    /// The first number.
    pub(super) major: Option<u32>,
    /// All numbers, where there is more than the first: `1.18.0`.
    pub(super) version: Option<String>,
}

impl Name {
    /// Reads a file name or soname that begins with `stem`, which is `libkrun` or `libkrunfw`.
    pub(super) fn parse(stem: &str, name: &str) -> Option<Name> {
        let rest = name.strip_prefix(stem)?;
        let flavour = Flavour::ALL.iter().copied().rev().find(|flavour| rest.starts_with(flavour.infix()))?;
        let rest = &rest[flavour.infix().len()..];
        let numbers = match (rest.strip_prefix(".so"), rest.strip_suffix(".dylib")) {
            (Some(numbers), _) | (None, Some(numbers)) => numbers,
            (None, None) => return None,
        };
        if numbers.is_empty() {
            return Some(Name { flavour, major: None, version: None });
        }
        let numbers = numbers.strip_prefix('.')?;
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let major = parts.next()??;
        if parts.clone().any(|part| part.is_none()) {
            return None;
        }
        let version = parts.next().map(|_| numbers.to_owned());
        Some(Name { flavour, major: Some(major), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_variant_and_numbers() {
        let name =
            |flavour, major, version: Option<&str>| Some(Name { flavour, major, version: version.map(str::to_owned) });
        assert_eq!(Name::parse("libkrun", "libkrun.so"), name(Flavour::Plain, None, None));
        assert_eq!(Name::parse("libkrun", "libkrun.so.1"), name(Flavour::Plain, Some(1), None));
        assert_eq!(Name::parse("libkrun", "libkrun-sev.so.1.18.0"), name(Flavour::Sev, Some(1), Some("1.18.0")));
        assert_eq!(Name::parse("libkrun", "libkrun-awsnitro.so.2"), name(Flavour::AwsNitro, Some(2), None));
        assert_eq!(Name::parse("libkrun", "libkrun.1.18.0.dylib"), name(Flavour::Plain, Some(1), Some("1.18.0")));
        assert_eq!(Name::parse("libkrun", "libkrun-efi.dylib"), name(Flavour::Efi, None, None));
        assert_eq!(Name::parse("libkrunfw", "libkrunfw-tdx.so.5"), name(Flavour::Tdx, Some(5), None));
    }

    #[test]
    fn other_names_tell_nothing() {
        for other in ["libkrunfw.so.5", "libkrun-other.so.1", "libkrun.so.1.old", "libkrun.so1", "krun.so", "libkrun"] {
            assert_eq!(Name::parse("libkrun", other), None, "{other}");
        }
    }
}
