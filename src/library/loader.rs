//! The dynamic loader: opening without ever closing, looking up, and what its messages mean.

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use libloading::os::unix;

use super::refuse;
use crate::error::{AttemptError, AttemptKind};
use crate::symbols::Functions;

/// For libkrun. Lazy, because builds with a graphics card refer to functions of virglrenderer that a host without it
/// does not have and a VM without a card never calls. A library linked with `-z now`, as rustc does by itself, is bound
/// at once all the same.
/// Local, so that its names, and those of whatever it is linked with, do not become those of this program.
pub(super) const LAZY: c_int = unix::RTLD_LAZY | unix::RTLD_LOCAL;

/// For libkrunfw: libkrun finds it later by its soname, and looks for nothing that is not there at once.
pub(super) const FIRMWARE: c_int = unix::RTLD_NOW | unix::RTLD_GLOBAL;

/// An open library. It is never closed, so this is no more than its address and may be copied.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    raw: *mut c_void,
    /// Where the library lies in memory.
    place: Place,
}

/// Where a library lies in memory.
#[derive(Clone, Copy)]
struct Place {
    base: *const c_void,
    /// Its end; null where nobody tells.
    end: *const c_void,
}

impl Place {
    const NOWHERE: Place = Place { base: std::ptr::null(), end: std::ptr::null() };

    /// Whether an address lies in the library. dladdr reads through the library's symbols each time, so it is only
    /// asked where the end is not known.
    fn has(self, address: *const c_void) -> bool {
        match self.end.is_null() {
            true => containing(address).is_some_and(|(base, _)| base == self.base),
            false => (self.base..self.end).contains(&address),
        }
    }
}

impl Handle {
    /// Opens a path or soname, for good: libkrun and libkrunfw have statics, threads and handlers that outlive any call
    /// and nobody takes down, so unmapping them would leave those behind without their code.
    ///
    /// The error is the loader's own message.
    ///
    /// # Safety
    ///
    /// The library's constructors and those of what it is linked with run in this process: the caller vouches for them.
    #[inline(never)] // The benchmark counts what happens in it.
    pub(super) unsafe fn open(target: &OsStr, flags: c_int) -> Result<Handle, String> {
        super::note::bring();
        // SAFETY: the caller vouches for the constructors; there will be no destructors.
        let library = unsafe { unix::Library::open(Some(target), flags) };
        // libloading's own message is no more than "dlopen failed".
        let library = library.map_err(|error| match std::error::Error::source(&error) {
            Some(said) => said.to_string(),
            None => error.to_string(),
        })?;
        let raw = library.into_raw();
        Ok(Handle { raw, place: place(raw) })
    }

    /// A library that is open already, by its soname or path.
    pub(super) fn already(target: &str) -> Option<Handle> {
        // SAFETY: RTLD_NOLOAD opens nothing, so no constructor runs.
        let library = unsafe { unix::Library::open(Some(target), LAZY | libc::RTLD_NOLOAD) };
        let raw = library.ok()?.into_raw();
        Some(Handle { raw, place: place(raw) })
    }

    /// The address of one of its functions; null if it does not have it.
    ///
    /// dlsym looks through the libraries that it is linked with as well, and so would find functions of another libkrun
    /// there: only what lies in this very library counts.
    pub(super) fn find(self, name: &CStr) -> *const c_void {
        let address = look_up(self.raw, name);
        if address.is_null() || !self.place.has(address) { std::ptr::null() } else { address }
    }

    /// The file, as the loader has it.
    pub(super) fn path(self) -> Option<PathBuf> {
        containing(self.place.base).map(|(_, path)| path)
    }

    /// Pointers to libkrun's functions in it.
    #[inline(never)] // As above.
    pub(super) fn functions(self) -> Functions {
        // SAFETY: each address is null or that of this library's function of that name, and the library is never
        // closed. That the name stands for the table's signature is libkrun's stable C interface.
        unsafe { Functions::resolve(|function| self.find(function.c_name())) }
    }
}

fn look_up(handle: *mut c_void, name: &CStr) -> *const c_void {
    // SAFETY: the handle comes from dlopen and was never closed; the name is a C string.
    unsafe { libc::dlsym(handle, name.as_ptr()) }
}

/// Start and file of the library or program that an address lies in, by the name that the loader has for it.
pub(crate) fn containing(address: *const c_void) -> Option<(*const c_void, PathBuf)> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr takes any address, and fills in a structure that is ours.
    if unsafe { libc::dladdr(address, &mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr succeeded; the name is the loader's and lives as long as the library, which is never closed.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some((info.dli_fbase.cast_const(), PathBuf::from(OsStr::from_bytes(name.to_bytes()))))
}

/// Where an open library lies: from the first to the last of the segments that its dynamic section is among.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn place(handle: *mut c_void) -> Place {
    /// The public beginning of glibc's `struct link_map`.
    #[repr(C)]
    struct LinkMap {
        addr: usize,
        name: *const libc::c_char,
        dynamic: *const c_void,
    }
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: the handle is open, and RTLD_DI_LINKMAP writes one pointer.
    let failed = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) } != 0;
    if failed || map.is_null() {
        return Place::NOWHERE;
    }
    // SAFETY: the map is the loader's and lives as long as the library, which is never closed.
    let mut search = Search { dynamic: unsafe { (*map).dynamic }, found: Place::NOWHERE };
    // SAFETY: the function is called before this returns, with the search that it expects.
    unsafe { libc::dl_iterate_phdr(Some(look_at), (&raw mut search).cast()) };
    search.found
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
struct Search {
    dynamic: *const c_void,
    found: Place,
}

/// Ends the search at the library with that dynamic section.
///
/// # Safety
///
/// For dl_iterate_phdr, with a [`Search`].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" fn look_at(info: *mut libc::dl_phdr_info, _: libc::size_t, search: *mut c_void) -> c_int {
    // SAFETY: the loader's description of one library and its program headers, and a search of ours.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
    // SAFETY: as above.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let address = |at: u64| (info.dlpi_addr.wrapping_add(at)) as *const c_void;
    let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC);
    if dynamic.is_none_or(|header| address(header.p_vaddr) != search.dynamic) {
        return 0;
    }
    let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let base = loaded().map(|header| address(header.p_vaddr)).min();
    let end = loaded().map(|header| address(header.p_vaddr.wrapping_add(header.p_memsz))).max();
    if let (Some(base), Some(end)) = (base, end) {
        search.found = Place { base, end };
    }
    1
}

/// Where an open library lies: where the first of libkrun's or libkrunfw's functions does that is found through it.
///
/// Without dlinfo this is the best there is: a library that has none of them itself and is linked with one that has is
/// taken for that one.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn place(handle: *mut c_void) -> Place {
    let names = crate::symbols::Function::ALL.iter().map(|function| function.c_name());
    let mut found = names.chain([c"krunfw_get_kernel"]).map(|name| look_up(handle, name));
    let first = found.find(|address| !address.is_null());
    first.and_then(containing).map_or(Place::NOWHERE, |(base, _)| Place { base, ..Place::NOWHERE })
}

/// The library that the loader missed, if that is what it says and it is not `target` itself.
pub(super) fn missing_dependency(said: &str, target: &str) -> Option<String> {
    // musl: "Error loading shared library NAME: No such file or directory (needed by WHO)". macOS: "Library not loaded:
    // NAME", and a new line.
    let name = if let Some((_, rest)) = said.split_once("Error loading shared library ") {
        rest.split(": ").next()
    } else if let Some((_, rest)) = said.split_once("Library not loaded: ") {
        rest.lines().next()
    } else if says(said, libc::ENOENT) {
        // glibc: "NAME: cannot open shared object file: No such file or directory", in the program's language.
        said.split(": ").next()
    } else {
        None
    };
    name.map(str::trim).filter(|name| *name != target).map(str::to_owned)
}

/// What the loader's refusal of `target` means. The message always has its own words.
pub(super) fn explain(said: &str, target: &str) -> AttemptError {
    let said = said.trim();
    if let Some(name) = missing_dependency(said, target) {
        return refuse(
            AttemptKind::MissingDependency,
            format!("it needs {name}, which is not there; the loader: {said}"),
        );
    }
    // "/lib/libc.so.6: version `GLIBC_2.38' not found (required by libkrun.so.1)"
    if said.contains(": version `") && said.contains("(required by ") {
        let what = "it needs a newer release of a library than there is";
        return refuse(AttemptKind::MissingDependency, format!("{what}; the loader: {said}"));
    }
    let kind = if says(said, libc::ENOENT) {
        AttemptKind::Missing
    } else if says(said, libc::EACCES) {
        AttemptKind::Unreadable
    } else if said.contains("invalid ELF header") || said.contains("file too short") {
        AttemptKind::NotALibrary
    } else {
        AttemptKind::Refused
    };
    refuse(kind, said)
}

/// Whether a message has the system's words for an errno, which depend on the program's language.
fn says(said: &str, errno: i32) -> bool {
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    said.contains(words.split(" (os error").next().unwrap_or(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_dependency_is_told_from_a_missing_library() {
        let glibc = "libnotthere.so.9: cannot open shared object file: No such file or directory";
        assert_eq!(missing_dependency(glibc, "/lib/libkrun.so.1").as_deref(), Some("libnotthere.so.9"));
        assert_eq!(explain(glibc, "/lib/libkrun.so.1").kind, AttemptKind::MissingDependency);
        assert_eq!(missing_dependency(glibc, "libnotthere.so.9"), None);
        assert_eq!(explain(glibc, "libnotthere.so.9").kind, AttemptKind::Missing);
        let musl = "Error loading shared library libz.so.1: No such file or directory (needed by /lib/libkrun.so.1)";
        assert_eq!(missing_dependency(musl, "/lib/libkrun.so.1").as_deref(), Some("libz.so.1"));
        let macos = "dlopen(/lib/libkrun.1.dylib, 0x0005): Library not loaded: /lib/libz.dylib\n  Referenced from: x";
        assert_eq!(missing_dependency(macos, "/lib/libkrun.1.dylib").as_deref(), Some("/lib/libz.dylib"));
    }

    #[test]
    fn other_refusals_keep_the_words() {
        let said = "/lib/libc.so.6: version `GLIBC_2.99' not found (required by /lib/libkrun.so.1)";
        let error = explain(said, "/lib/libkrun.so.1");
        assert_eq!(error.kind, AttemptKind::MissingDependency);
        assert!(error.message.contains(said));
        let error = explain("/lib/libkrun.so.1: undefined symbol: virgl_x", "/lib/libkrun.so.1");
        assert_eq!(error.kind, AttemptKind::Refused);
        let error = explain("/lib/libkrun.so.1: invalid ELF header", "libkrun.so.1");
        assert_eq!(error.kind, AttemptKind::NotALibrary);
    }
}
