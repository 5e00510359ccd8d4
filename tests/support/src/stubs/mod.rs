//! Stub libraries: any release and build of libkrun, by its functions, without a hypervisor.
//!
//! A stub has exactly the functions that tests/data/symbols.tsv gives to its release and features, writes each call
//! down in a file beside it, and does in `krun_start_enter` what the test wants. It needs a C compiler, `cc` or `$CC`.
//!
//! ```no_run
//! use krundl_test_support::stubs::{Start, Stub};
//!
//! let stub = Stub::new("1.17.4").start(Start::Exit(7)).build();
//! // ... open stub.link, or stub.path, and call it ...
//! assert_eq!(stub.calls()[0].function, "krun_create_ctx");
//! ```

mod calls;
mod compile;
mod faults;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use calls::Call;
pub(crate) use compile::program;
pub use faults::Fault;
pub use table::{Release, releases};

/// What `krun_start_enter` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It returns this.
    Return(i32),
    /// It ends the process with this status, as libkrun does when the workload ends.
    Exit(i32),
    /// It aborts the process, as a panic in libkrun does.
    Abort,
    /// It reads where nothing is.
    Segfault,
    /// It never returns.
    Hang,
    /// The guest says this, as it is, and ends with [`Stub::exit_status`]: on the unix socket of the last vsock port
    /// on which the host listens, or else on the output of the last console port named `krundl`.
    Guest(String),
}

impl Start {
    /// [`Start::Guest`] of a text.
    pub fn guest(text: impl Into<String>) -> Start {
        Start::Guest(text.into())
    }
}

/// A stub to be built.
#[derive(Clone, Debug)]
pub struct Stub {
    release: String,
    features: Vec<String>,
    file_name: Option<String>,
    soname: Option<String>,
    without: Vec<String>,
    extra: Vec<String>,
    pc_version: Option<String>,
    constructor: Option<String>,
    needs_missing: Option<String>,
    returns: Vec<(String, i32)>,
    statements: Vec<(String, String)>,
    start: Start,
    exit_status: i32,
    hangs: bool,
    obeys: bool,
    prints: String,
    prints_error: String,
    faulty: bool,
}

impl Stub {
    /// A stub of that release, built with blk, net and init-blob; `krun_start_enter` returns 0.
    pub fn new(release: &str) -> Stub {
        let (major, ..) = table::numbers(release);
        Stub {
            release: release.to_owned(),
            features: ["blk", "net", "init-blob"].map(str::to_owned).to_vec(),
            file_name: None,
            soname: Some(format!("libkrun.so.{major}")),
            without: Vec::new(),
            extra: Vec::new(),
            pc_version: None,
            constructor: None,
            needs_missing: None,
            returns: Vec::new(),
            statements: Vec::new(),
            start: Start::Return(0),
            exit_status: 0,
            hangs: false,
            obeys: false,
            prints: String::new(),
            prints_error: String::new(),
            faulty: false,
        }
    }

    /// Built with these features and no others: blk, net, gpu, snd, input, efi, tee, amd-sev, intel-tdx, aws-nitro,
    /// virgl-resource-map2, init-blob. Those that libkrun turns on with others are added.
    pub fn features(mut self, features: &[&str]) -> Stub {
        self.features = features.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The name of the file; else `libkrun.so.` and the release.
    pub fn file_name(mut self, name: &str) -> Stub {
        self.file_name = Some(name.to_owned());
        self
    }

    /// The soname; else `libkrun.so.1`, or `libkrun.so.0` for the releases before 1.0.0.
    pub fn soname(mut self, name: &str) -> Stub {
        self.soname = Some(name.to_owned());
        self
    }

    /// No soname.
    pub fn no_soname(mut self) -> Stub {
        self.soname = None;
        self
    }

    /// Without these functions, although the release has them.
    pub fn without(mut self, functions: &[&str]) -> Stub {
        self.without.extend(functions.iter().map(|name| (*name).to_owned()));
        self
    }

    /// With these functions besides, each `int32_t f(void)`.
    pub fn with_extra(mut self, functions: &[&str]) -> Stub {
        self.extra.extend(functions.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Writes `pkgconfig/libkrun.pc` with this version beside the library.
    pub fn pc_version(mut self, version: &str) -> Stub {
        self.pc_version = Some(version.to_owned());
        self
    }

    /// C statements that run when the library is opened.
    pub fn constructor(mut self, statements: &str) -> Stub {
        self.constructor = Some(statements.to_owned());
        self
    }

    /// Makes the library need one of this soname, which is nowhere.
    pub fn needs_missing(mut self, soname: &str) -> Stub {
        self.needs_missing = Some(soname.to_owned());
        self
    }

    /// What that function returns; else 0, 16 vCPUs, numbers from 0 up for consoles and displays, and the answers
    /// that belong to the features.
    pub fn returns(mut self, function: &str, value: i32) -> Stub {
        self.returns.push((function.to_owned(), value));
        self
    }

    /// C statements that the function runs before it returns (and before [`Start`]); they see its parameters by the
    /// names of libkrun.h.
    pub fn on(mut self, function: &str, statements: &str) -> Stub {
        self.statements.push((function.to_owned(), statements.to_owned()));
        self
    }

    /// What `krun_start_enter` does.
    pub fn start(mut self, start: Start) -> Stub {
        self.start = start;
        self
    }

    /// The status with which a [`Start::Guest`] ends; else 0.
    pub fn exit_status(mut self, status: i32) -> Stub {
        self.exit_status = status;
        self
    }

    /// A [`Start::Guest`] does not end after what it said, but hangs.
    pub fn then_hang(mut self) -> Stub {
        self.hangs = true;
        self
    }

    /// A [`Start::Guest`] goes on until the host asks its workload to terminate, as which it then ends.
    pub fn then_obey(mut self) -> Stub {
        self.obeys = true;
        self
    }

    /// What the guest writes at its start to the output of `krun_add_virtio_console_default`, or to stdout.
    pub fn prints(mut self, text: &str) -> Stub {
        self.prints.push_str(text);
        self
    }

    /// What the guest writes at its start to the error output of `krun_add_virtio_console_default`, or to stderr.
    pub fn prints_error(mut self, text: &str) -> Stub {
        self.prints_error.push_str(text);
        self
    }

    /// The names of the functions that the library will have, those of [`Stub::with_extra`] last.
    pub fn exports(&self) -> Vec<String> {
        let names = self.functions().into_iter().map(|export| export.name.to_owned());
        names.chain(self.extra.iter().cloned()).collect()
    }

    /// Those of its functions that this build lacks the means for: they refuse, or do nothing.
    pub fn refusing(&self) -> Vec<String> {
        let functions = self.functions().into_iter();
        functions.filter(|export| export.refuses.is_some()).map(|export| export.name.to_owned()).collect()
    }

    fn functions(&self) -> Vec<table::Export> {
        for name in &self.without {
            assert!(table::is_function(name), "{name} is no function of libkrun");
        }
        let features = table::Features::new(&self.features.iter().map(String::as_str).collect::<Vec<_>>());
        let mut exports = table::exports(table::numbers(&self.release), &features);
        exports.retain(|export| !self.without.iter().any(|name| name == export.name));
        exports
    }

    /// Builds it into a temporary directory of its own.
    pub fn build(&self) -> StubLibrary {
        let dir = tempfile::Builder::new().prefix("stub-libkrun").tempdir().expect("a temporary directory");
        // Without symlinks, so that the path is the one that the loader and /proc show.
        let path = dir.path().canonicalize().expect("the path of a temporary directory");
        StubLibrary { temp: Some(dir), ..self.build_in(&path) }
    }

    /// Builds it into that directory, which is made if it is not there, and stays.
    pub fn build_in(&self, dir: &Path) -> StubLibrary {
        let compiled = compile::library(&source::source(self), self.soname.as_deref(), self.needs_missing.as_deref());
        fs::create_dir_all(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let file_name = self.file_name.clone().unwrap_or_else(|| format!("libkrun.so.{}", self.release));
        let path = dir.join(&file_name);
        // A file that a process has open must not change under it.
        let _absent = fs::remove_file(&path);
        fs::copy(compiled, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stem = file_name.split_once(".so").map_or("libkrun", |(stem, _)| stem);
        let link = dir.join(format!("{stem}.so.{}", table::numbers(&self.release).0));
        if link != path {
            let _absent = fs::remove_file(&link);
            symlink(&file_name, &link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        }
        if let Some(version) = &self.pc_version {
            let pc =
                format!("Name: libkrun\nDescription: a stub\nVersion: {version}\nLibs: -L{} -lkrun\n", dir.display());
            fs::create_dir_all(dir.join("pkgconfig")).expect("a directory made");
            fs::write(dir.join("pkgconfig/libkrun.pc"), pc).expect("a file written");
        }
        StubLibrary { dir: dir.to_owned(), path, link, temp: None }
    }
}

/// A stub that was built; its directory goes with it, unless [`Stub::build_in`] was told the directory.
#[derive(Debug)]
pub struct StubLibrary {
    /// The directory that it is in.
    pub dir: PathBuf,
    /// The file.
    pub path: PathBuf,
    /// `libkrun.so.1`, a symlink to the file (or the file itself if it bears that name).
    pub link: PathBuf,
    temp: Option<TempDir>,
}

impl StubLibrary {
    /// The file in which the library writes its calls down; there from the first call on.
    pub fn calls_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".calls");
        path.into()
    }

    /// The calls so far, of all processes.
    pub fn calls(&self) -> Vec<Call> {
        match fs::read_to_string(self.calls_path()) {
            Ok(text) => text.lines().map(Call::parse).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("{}: {error}", self.calls_path().display()),
        }
    }

    /// The calls of one function.
    pub fn calls_of(&self, function: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.function == function).collect()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        // Not removed: a process may have it open.
        if let Ok(file) = fs::OpenOptions::new().write(true).open(self.calls_path()) {
            file.set_len(0).expect("a file truncated");
        }
    }

    /// Keeps the directory, to look at it after the test.
    pub fn keep(&mut self) {
        if let Some(temp) = self.temp.take() {
            let _path = temp.keep();
        }
    }
}
