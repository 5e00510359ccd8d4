//! Where `krundl-vmm` is.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::library::{Environment, containing};

/// The program's name.
const NAME: &str = "krundl-vmm";
/// The first argument with which it is told that krundl starts it, not a person.
const MARK: &str = "--krundl-helper";
/// The second, where it is to write krundl's program for the guest to its standard output.
const PROGRAM: &str = "guest-program";

/// Whether this very program can be its own helper.
static OWN_HELPER: AtomicBool = AtomicBool::new(false);

/// What a helper is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Open libkrun and say what it is.
    Probe,
    /// Carry out a plan.
    Run,
}

impl Mode {
    pub(crate) fn arguments(self) -> [OsString; 2] {
        let mode = match self {
            Mode::Probe => "probe",
            Mode::Run => "run",
        };
        [MARK.into(), mode.into()]
    }
}

/// What this process was started for, and with which descriptors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Started {
    pub mode: Mode,
    /// To probe: the connection to the caller. To run: the request, the statuses, and the further ones in the caller's
    /// order.
    pub descriptors: Vec<RawFd>,
}

/// What this process was started for, if krundl started it as a helper.
pub(crate) fn started_as(arguments: impl IntoIterator<Item = OsString>) -> Option<Started> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != OsStr::new(MARK) {
        return None;
    }
    let mode = match arguments.next()?.to_str()? {
        "probe" => Mode::Probe,
        "run" => Mode::Run,
        _ => return None,
    };
    let descriptors: Vec<RawFd> = arguments.map(|number| number.to_str()?.parse().ok()).collect::<Option<_>>()?;
    let least = if mode == Mode::Probe { 1 } else { 2 };
    (descriptors.len() >= least).then_some(Started { mode, descriptors })
}

/// Whether this process is to give away krundl's program for the guest.
pub(crate) fn asks_for_program(arguments: impl IntoIterator<Item = OsString>) -> bool {
    arguments.into_iter().skip(1).eq([MARK, PROGRAM].map(OsString::from))
}

/// Notes that this program calls [`crate::vmm_main`] and so can be started again as its own helper.
pub fn become_own_helper() {
    OWN_HELPER.store(true, Ordering::Relaxed);
}

/// A helper program and the program or library that looked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The helper.
    pub path: PathBuf,
    /// Our own program, or the library that holds krundl.
    pub caller: PathBuf,
}

impl Helper {
    /// Finds the helper: the path given; `KRUNDL_VMM` (empty means unset; not in a privileged process); this program
    /// itself where it calls [`crate::vmm_main`]; beside our own library or program; in `libexec/krundl` next to
    /// them; for a Python module in the `bin` of its installation; in the system's libexec directories.
    ///
    /// # Errors
    /// [`Error::HelperNotFound`] with every place. A path that was named is the only one that is tried.
    pub fn find(explicit: Option<&Path>) -> Result<Helper> {
        let caller = own_file();
        let variable = || {
            let named = std::env::var_os("KRUNDL_VMM").filter(|path| !path.is_empty());
            named.filter(|_| !Environment::current().privileged).map(PathBuf::from)
        };
        let named = explicit.map(Path::to_owned).or_else(variable);
        let candidates = match named {
            // Absolute, because a bare name would be searched in PATH when it is started.
            Some(path) => vec![std::path::absolute(&path).unwrap_or(path)],
            None => candidates(&caller),
        };
        match candidates.iter().find(|path| is_program(path)) {
            Some(path) => Ok(Helper { path: path.clone(), caller }),
            None => Err(Error::HelperNotFound { tried: candidates }),
        }
    }
}

impl Helper {
    /// Writes krundl's program for the guest into `file`. The helper alone has it, so that a Python package or a command
    /// line need not bring it a second time.
    pub(crate) fn write_guest_program(&self, file: std::fs::File) -> std::io::Result<()> {
        use std::process::{Command, Stdio};
        let mut command = Command::new(&self.path);
        command.args([MARK, PROGRAM]).stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = crate::error::Words::quote(&output.stderr);
        let reason = format!("{} gave no program for the guest ({}){said}", self.path.display(), output.status);
        Err(std::io::Error::other(reason))
    }
}

fn candidates(caller: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let program = std::env::current_exe().ok();
    if OWN_HELPER.load(Ordering::Relaxed) {
        found.extend(program.clone());
    }
    for own in [Some(caller.to_owned()), program].into_iter().flatten() {
        let Some(dir) = own.parent() else { continue };
        found.push(dir.join(NAME));
        found.push(dir.join("../libexec/krundl").join(NAME));
        // From lib/x86_64-linux-gnu.
        found.push(dir.join("../../libexec/krundl").join(NAME));
        // From lib/python3.N/site-packages/krundl, and from what `pip install --target` makes.
        if cfg!(feature = "python") {
            found.push(dir.join("../../../../bin").join(NAME));
            found.push(dir.join("../bin").join(NAME));
        }
    }
    found.extend(
        ["/usr/local/libexec/krundl", "/usr/libexec/krundl", "/usr/lib/krundl"].map(|dir| Path::new(dir).join(NAME)),
    );
    let mut seen = Vec::new();
    found.retain(|path| {
        !seen.contains(path) && {
            seen.push(path.clone());
            true
        }
    });
    found
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// An address of the program, whichever library this code is in.
fn of_program() -> *const libc::c_void {
    #[cfg(target_os = "linux")]
    // SAFETY: getauxval takes any number, and there is always an entry.
    unsafe {
        libc::getauxval(libc::AT_ENTRY) as *const libc::c_void
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: 0 is the program, and every process has one.
    unsafe {
        _dyld_get_image_header(0)
    }
}

#[cfg(not(target_os = "linux"))]
unsafe extern "C" {
    fn _dyld_get_image_header(index: u32) -> *const libc::c_void;
}

/// The file that holds this very code: a program, or a shared library such as a Python module.
fn own_file() -> PathBuf {
    let own = containing(own_file as fn() -> PathBuf as *const libc::c_void);
    let program = containing(of_program()).map(|(start, _)| start);
    // The loader knows the program itself by the name that it was started by, which may be that of another file here.
    let library = own.filter(|(start, _)| Some(*start) != program);
    let library = library.and_then(|(_, path)| path.canonicalize().ok());
    library.unwrap_or_else(|| std::env::current_exe().unwrap_or_default())
}
