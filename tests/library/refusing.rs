//! Files that are no libkrun, and what is said about them.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use krundl::error::AttemptKind;
use krundl::library::inspect;
use krundl_test_support::stubs::Stub;

use super::{cc, mentions_firmware, only, refusal, temp};

#[test]
fn a_missing_file_is_told_from_what_is_no_library() {
    let (_temp, dir) = temp();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    };
    symlink("gone", dir.join("dangling.so")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket.so")).unwrap();
    let fifo = CString::new(dir.join("fifo.so").into_os_string().into_vec()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    for (path, kind, words) in [
        (dir.join("nothing.so"), AttemptKind::Missing, vec!["no such file"]),
        (file("text.so", b"").join("below"), AttemptKind::Missing, vec!["no such file"]),
        (dir.join("dangling.so"), AttemptKind::Missing, vec!["a link to gone"]),
        (
            file("text.so", b"/* GNU ld script: for the compiler, not for the loader */ INPUT(libkrun.so.1)\n"),
            AttemptKind::NotALibrary,
            vec!["a text file", "invalid ELF header"],
        ),
        (file("empty.so", b""), AttemptKind::NotALibrary, vec!["an empty file", "file too short"]),
        (file("other.so", b"\0\x01\x02 and so on"), AttemptKind::NotALibrary, vec!["another kind", "the loader: "]),
        (file("lib.a", b"!<arch>\n\0\0"), AttemptKind::NotALibrary, vec!["an archive", "the loader: "]),
        (dir.clone(), AttemptKind::NotALibrary, vec!["a directory", "the loader: "]),
        (dir.join("fifo.so"), AttemptKind::NotALibrary, vec!["a FIFO"]),
        (dir.join("socket.so"), AttemptKind::NotALibrary, vec!["a socket"]),
        ("/dev/zero".into(), AttemptKind::NotALibrary, vec!["a device"]),
        (
            file("mac.dylib", b"\xcf\xfa\xed\xfe\x07\0\0\x01"),
            AttemptKind::WrongArchitecture,
            vec!["macOS", "the loader: "],
        ),
    ] {
        let error = refusal(&only(&path));
        assert_eq!(error.kind, kind, "{}: {}", path.display(), error.message);
        for words in words {
            assert!(error.message.contains(words), "{}: {}", path.display(), error.message);
        }
    }
}

#[test]
fn a_file_that_may_not_be_read_is_no_missing_file() {
    let (_temp, dir) = temp();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.join("libkrun.so.1");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let error = std::thread::spawn(move || {
        // SAFETY: changes what this thread may do with files, and root's rights with it.
        unsafe { libc::setfsuid(65534) };
        refusal(&only(path))
    });
    let error = error.join().unwrap();
    assert_eq!(error.kind, AttemptKind::Unreadable, "{}", error.message);
    assert!(error.message.contains("the loader: ") && error.message.contains("Permission denied"), "{}", error.message);
}

#[test]
fn a_truncated_library_never_reaches_the_loader() {
    let stub = Stub::new("1.17.4").build();
    let whole = fs::read(&stub.path).unwrap();
    let cut = stub.dir.join("cut.so");
    for length in [1, 3, 4, 10, 19, 20, 40, 63, 64, 100, 700, whole.len() / 2, whole.len() - 1] {
        fs::write(&cut, &whole[..length]).unwrap();
        let error = refusal(&only(&cut));
        assert_eq!(error.kind, AttemptKind::NotALibrary, "{length}: {}", error.message);
        assert!(length < 4 || error.message.contains("truncated"), "{length}: {}", error.message);
    }
}

#[test]
fn libraries_for_other_machines_and_other_elf_files_are_named() {
    let stub = Stub::new("1.17.4").build();
    let whole = fs::read(&stub.path).unwrap();
    let patched = stub.dir.join("patched.so");
    let other = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
    for (at, byte, kind, words) in [
        (18, other.0, AttemptKind::WrongArchitecture, other.1),
        (18, 40, AttemptKind::WrongArchitecture, "arm (64-bit"),
        (4, 1, AttemptKind::WrongArchitecture, "32-bit"),
        (5, 2, AttemptKind::WrongArchitecture, "big-endian"),
        (16, 1, AttemptKind::NotALibrary, "an object file"),
        (16, 2, AttemptKind::NotALibrary, "a program"),
        (16, 4, AttemptKind::NotALibrary, "a core dump"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        fs::write(&patched, bytes).unwrap();
        let error = refusal(&only(&patched));
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.contains(words) && error.message.contains("the loader: "), "{}", error.message);
    }
}

#[test]
fn damaged_files_are_read_without_harm() {
    let stub = mentions_firmware("1.19.0", "libkrunfw.so.5").build();
    let whole = fs::read(&stub.path).unwrap();
    let damaged = stub.dir.join("damaged.so");
    let mut random = 1_u64;
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The headers, the dynamic tables and the section headers are at both ends.
            let at = (random >> 33) as usize % 4096;
            let at = if random & 1 == 0 { at } else { bytes.len() - 1 - at };
            bytes[at] = (random >> 25) as u8;
        }
        fs::write(&damaged, bytes).unwrap();
        let _report_or_error = inspect(&damaged);
    }
}

#[test]
fn a_missing_dependency_is_named() {
    let stub = Stub::new("1.17.4").needs_missing("libnotthere.so.9").build();
    let error = refusal(&only(&stub.link));
    assert_eq!(error.kind, AttemptKind::MissingDependency);
    assert!(error.message.contains("it needs libnotthere.so.9, which is not there"), "{}", error.message);
    assert!(error.message.contains("cannot open shared object file"), "{}", error.message);
}

#[test]
fn the_loaders_other_refusals_keep_its_words() {
    let (_temp, dir) = temp();
    let library = dir.join("libkrun.so.1");
    cc(&library, "extern int nowhere; int *data = &nowhere; int krun_create_ctx(void) { return 0; }", &[]);
    let error = refusal(&only(&library));
    assert_eq!(error.kind, AttemptKind::Refused);
    assert!(error.message.contains("undefined symbol: nowhere"), "{}", error.message);
}

#[test]
fn another_library_is_not_run() {
    let (_temp, dir) = temp();
    let (library, ran) = (dir.join("libkrun.so.1"), dir.join("ran"));
    let source = format!(
        "#include <fcntl.h>\n\
         __attribute__((constructor)) void run(void) {{ creat(\"{}\", 0600); }}\n\
         int other(void) {{ return 0; }}",
        ran.display()
    );
    cc(&library, &source, &[]);
    assert_eq!(refusal(&only(&library)).kind, AttemptKind::NotLibkrun);
    assert!(!ran.exists());
}
