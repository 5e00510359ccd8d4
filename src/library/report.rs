//! What a library's file is found to be, or why it is none: what the readers of each format (`elf`, `macho`) fill in.

use serde::{Deserialize, Serialize};

use super::refuse;
use crate::error::{AttemptError, AttemptKind};
use crate::symbols::named;

/// What a library's file says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Which file it is.
    pub identity: Identity,
    /// The kind of file.
    pub format: FileFormat,
    /// The architecture it is for; from [`super::inspect`] it is this process's, anything else is an error.
    pub architecture: String,
    /// The name that it gives itself (`DT_SONAME`, `LC_ID_DYLIB`).
    pub soname: Option<String>,
    /// The libraries that it is linked with.
    pub needed: Vec<String>,
    /// Where it has them looked for before `LD_LIBRARY_PATH` (`DT_RPATH`; nothing where there is a `DT_RUNPATH`).
    pub rpath: Vec<String>,
    /// Where it has them looked for after that (`DT_RUNPATH`, `LC_RPATH`).
    pub runpath: Vec<String>,
    /// The functions that it offers, sorted; `None` if the file has no section headers to find them by.
    pub exports: Option<Vec<String>>,
    /// The names of libkrunfw that its bytes mention, sorted: those that stand together at the last place that has any,
    /// which is all of them in every build so far. Only looked for in a file that offers a `krun_` function.
    pub firmware_names: Vec<String>,
}

named! {
    /// A kind of file that libraries come in.
    #[non_exhaustive]
    pub enum FileFormat {
        /// Linux's.
        Elf => "elf",
        /// macOS's.
        MachO => "mach_o",
    }
}

impl FileReport {
    /// That of a file that says nothing about itself.
    pub(super) fn empty(format: FileFormat) -> FileReport {
        FileReport {
            identity: Identity::default(),
            format,
            architecture: std::env::consts::ARCH.to_owned(),
            soname: None,
            needed: Vec::new(),
            rpath: Vec::new(),
            runpath: Vec::new(),
            exports: None,
            firmware_names: Vec::new(),
        }
    }
}

/// What makes a file the one that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Identity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of its bytes, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// The mark that the linker left in it, in hexadecimal (GNU build id, Mach-O UUID); not every linker does.
    pub build_id: Option<String>,
}

impl Identity {
    /// The first mark that differs, in words; `None` if it is the same file with the same content.
    pub fn difference(&self, now: &Identity) -> Option<String> {
        let text = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
        if self.build_id != now.build_id {
            return Some(format!("its build id was {} and is {}", text(&self.build_id), text(&now.build_id)));
        }
        if (self.dev, self.ino) != (now.dev, now.ino) {
            let (was, is) = (format!("{}:{}", self.dev, self.ino), format!("{}:{}", now.dev, now.ino));
            return Some(format!("its device and inode were {was} and are {is}"));
        }
        if self.size != now.size {
            return Some(format!("its size was {} bytes and is {}", self.size, now.size));
        }
        (self.modified_ns != now.modified_ns).then(|| "it was written to".to_owned())
    }
}

/// Why a file is not a library for this process.
pub(super) struct Refusal {
    /// What is told.
    pub(super) error: AttemptError,
    /// Whether the loader can be asked for its own words without harm: it looks at the first bytes and refuses. It
    /// waits for a FIFO's writer, and reads beyond the end of a truncated file.
    pub(super) loader_may_be_asked: bool,
}

impl Refusal {
    pub(super) fn new(kind: AttemptKind, message: impl Into<String>) -> Refusal {
        Refusal { error: refuse(kind, message), loader_may_be_asked: false }
    }

    pub(super) fn ask_loader(mut self) -> Refusal {
        self.loader_may_be_asked = true;
        self
    }
}

/// A refusal for bytes that are no library of any kind, with what they look like.
pub(super) fn no_library(bytes: &[u8], expected: &str) -> Refusal {
    let start = &bytes[..bytes.len().min(64)];
    let what = if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "a text file"
    } else if start.starts_with(b"!<arch>\n") {
        "an archive for linking (.a)"
    } else {
        "a file of another kind"
    };
    Refusal::new(AttemptKind::NotALibrary, format!("{what}, not a shared library ({expected})")).ask_loader()
}
