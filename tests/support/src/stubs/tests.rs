use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use libloading::Library;
use object::{Object as _, ObjectSymbol as _};

use super::*;

/// The functions that the file has, as its dynamic symbols say.
fn dynamic_symbols(library: &StubLibrary) -> BTreeSet<String> {
    let data = fs::read(&library.path).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let names = file.dynamic_symbols().filter(|symbol| symbol.is_definition()).map(|symbol| symbol.name().unwrap());
    names.filter(|name| name.starts_with("krun")).map(str::to_owned).collect()
}

fn open(library: &StubLibrary) -> Library {
    // SAFETY: the stub's constructors do what this test asked for.
    unsafe { Library::new(&library.link) }.unwrap()
}

/// Calls a function of the stub by a pointer of that type.
macro_rules! call {
    ($library:expr, $name:literal: fn($($type:ty),*), $($arg:expr),* $(,)?) => {{
        // SAFETY: the types are those of libkrun.h, and the arguments live until the call is over.
        unsafe { $library.get::<unsafe extern "C" fn($($type),*) -> i32>($name).unwrap()($($arg),*) }
    }};
}

type Str = *const c_char;
type List = *const Str;

#[test]
fn a_stub_has_what_its_release_has() {
    let old = Stub::new("1.17.4").build();
    let names = dynamic_symbols(&old);
    assert_eq!(names, Stub::new("1.17.4").exports().into_iter().collect());
    assert!(names.contains("krun_has_feature") && names.contains("krun_get_shutdown_eventfd"));
    assert!(!names.contains("krun_add_virtiofs3") && !names.contains("krun_set_tee_config_file"));
    // The first release, and those in which functions are gone.
    assert_eq!(Stub::new("0.1.1").exports().len(), 7);
    let has = |release, feature: &[&str], name: &str| {
        Stub::new(release).features(feature).exports().iter().any(|n| n == name)
    };
    assert!(
        has("1.3.0", &["amd-sev"], "krun_set_attestation_url")
            && !has("1.4.1", &["amd-sev"], "krun_set_attestation_url")
    );
    assert!(
        has("1.16.0", &["aws-nitro"], "krun_nitro_set_image") && !has("1.17.0", &["aws-nitro"], "krun_nitro_set_image")
    );
    assert!(has("1.19.3", &[], "krun_get_shutdown_eventfd") && !has("1.19.6", &[], "krun_get_shutdown_eventfd"));
    // What a build leaves out.
    assert!(has("1.19.7", &["blk"], "krun_add_disk3") && !has("1.19.7", &["net"], "krun_add_disk3"));
    assert!(!has("1.19.7", &["aws-nitro"], "krun_add_virtiofs") && has("1.19.7", &["aws-nitro"], "krun_set_firmware"));
    assert!(
        has("1.19.7", &["intel-tdx"], "krun_set_tee_config_file") && has("1.19.7", &["intel-tdx"], "krun_add_disk")
    );
    // As the real 1.19.7 with blk and net was seen to have.
    assert_eq!(Stub::new("1.19.7").exports().len(), 67);
}

#[test]
fn every_release_compiles() {
    let all = ["net", "blk", "gpu", "snd", "input", "tee", "amd-sev", "intel-tdx", "init-blob"];
    for (release, features) in
        [("0.1.1", &all[..]), ("1.4.1", &all), ("1.9.5", &[]), ("1.15.0", &["aws-nitro"]), ("1.19.7", &all)]
    {
        let stub = Stub::new(release).features(features);
        assert_eq!(dynamic_symbols(&stub.build()), stub.exports().into_iter().collect(), "{release}");
    }
    for release in releases() {
        let stub = Stub::new(&release.version);
        let builds = [stub.clone(), stub.clone().features(&all), stub.features(&["aws-nitro"])];
        assert!(builds[0].exports().len() >= 7, "{release:?}");
        for name in &release.new_functions {
            assert!(builds.iter().any(|stub| stub.exports().contains(name)), "{name} in {release:?}");
        }
    }
    let release = releases().into_iter().find(|release| release.version == "1.17.0").unwrap();
    assert_eq!((release.libkrunfw.as_str(), release.new_functions.len()), ("libkrunfw.so.5", 6));
}

#[test]
fn functions_refuse_or_do_nothing_without_their_feature() {
    let bare = Stub::new("1.14.0").features(&[]).build();
    let library = open(&bare);
    assert_eq!(call!(library, "krun_set_passt_fd": fn(u32, c_int), 0, 3), -libc::ENOTSUP);
    assert_eq!(call!(library, "krun_set_gpu_options": fn(u32, u32), 0, 3), 0);
    assert_eq!(bare.calls()[0], Call { function: "krun_set_passt_fd".into(), args: vec!["0".into(), "3".into()] });
    let net = open(&Stub::new("1.14.0").features(&["net"]).build());
    assert_eq!(call!(net, "krun_set_passt_fd": fn(u32, c_int), 0, 3), 0);
    assert!(!Stub::new("1.15.0").features(&[]).exports().contains(&"krun_set_passt_fd".to_owned()));
    let display = open(&Stub::new("1.19.7").build());
    assert_eq!(call!(display, "krun_add_display": fn(u32, u32, u32), 0, 640, 480), -libc::ENOTSUP);
    let tee = Stub::new("1.19.7").features(&["tee"]).build();
    assert_eq!(call!(open(&tee), "krun_set_kernel": fn(u32, Str), 0, std::ptr::null()), -libc::EOPNOTSUPP);
    assert_eq!(tee.calls()[0].to_string(), "krun_set_kernel(0, NULL)");
}

#[test]
fn features_are_answered_as_the_release_knows_them() {
    let answers = |release: &str, features: &[&str]| -> Vec<i32> {
        let library = open(&Stub::new(release).features(features).build());
        (0..14).map(|id| call!(library, "krun_has_feature": fn(u64), id)).collect()
    };
    assert_eq!(answers("1.17.4", &["blk", "net"]), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, -22, -22, -22]);
    assert_eq!(answers("1.19.0", &["amd-sev", "init_blob"]), [0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, -22, -22]);
}

#[test]
fn calls_are_written_down_with_their_arguments() {
    let stub = Stub::new("1.19.7").returns("krun_add_virtiofs3", -22).with_extra(&["krun_vm_pause"]).build();
    let library = open(&stub);
    assert!(stub.calls().is_empty());
    assert_eq!(call!(library, "krun_create_ctx": fn(),), 0);
    let strings = ["/bin/sh", "a\tb\n\\ü", "NULL", "x,[y]", ""].map(|text| CString::new(text).unwrap());
    let [exec, odd, null, list, empty] = &strings;
    let argv = [odd.as_ptr(), null.as_ptr(), list.as_ptr(), empty.as_ptr(), std::ptr::null()];
    let one = [empty.as_ptr(), std::ptr::null()];
    let krun_set_exec = |argv: List, envp: List| {
        let result = call!(library, "krun_set_exec": fn(u32, Str, List, List), 7, exec.as_ptr(), argv, envp);
        assert_eq!(result, 0);
    };
    krun_set_exec(argv.as_ptr(), std::ptr::null());
    krun_set_exec(one.as_ptr(), argv[4..].as_ptr());
    let shared = call!(
        library, "krun_add_virtiofs3": fn(u32, Str, Str, u64, bool),
        7, null.as_ptr(), odd.as_ptr(), 1 << 40, true,
    );
    assert_eq!(shared, -22);
    let file = call!(
        library, "krun_fs_add_overlay_file": fn(u32, Str, Str, *const u8, usize, u32, bool),
        7, exec.as_ptr(), exec.as_ptr(), b"foobar".as_ptr(), 6, 0o755, false,
    );
    assert_eq!(file, 0);
    let mac = [0x5a_u8, 0x94, 0xef, 0xe4, 0x0c, 0xee];
    call!(
        library, "krun_add_net_unixstream": fn(u32, Str, c_int, *const u8, u32, u32),
        7, std::ptr::null(), 9, mac.as_ptr(), 0, 0,
    );
    call!(library, "krun_set_display_backend": fn(u32, *const c_void, usize), 7, (&raw const mac).cast(), 6);
    assert_eq!(call!(library, "krun_vm_pause": fn(),), 0);
    assert_eq!(call!(library, "krun_get_max_vcpus": fn(),), 16);
    let lines: Vec<_> = fs::read_to_string(stub.calls_path()).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "krun_create_ctx",
            "krun_set_exec\t7\t/bin/sh\t[a\\tb\\n\\\\\\xc3\\xbc,\\x4eULL,x\\x2c\\x5by\\x5d,]\tNULL",
            "krun_set_exec\t7\t/bin/sh\t[\\e]\t[]",
            "krun_add_virtiofs3\t7\t\\x4eULL\ta\\tb\\n\\\\\\xc3\\xbc\t1099511627776\t1",
            "krun_fs_add_overlay_file\t7\t/bin/sh\t/bin/sh\t6:85944171f73967e8\t6\t493\t0",
            "krun_add_net_unixstream\t7\tNULL\t9\t5a:94:ef:e4:0c:ee\t0\t0",
            "krun_set_display_backend\t7\tPOINTER\t6",
            "krun_vm_pause",
            "krun_get_max_vcpus",
        ]
    );
    let calls = stub.calls();
    let text = |strings: &[CString]| strings.iter().map(|text| text.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((calls[1].list(2), calls[1].list(3)), (Some(text(&strings[1..])), None));
    assert_eq!((calls[2].list(2), calls[2].list(3)), (Some(vec![String::new()]), Some(Vec::new())));
    assert_eq!((calls[3].text(1).as_deref(), calls[3].number(3)), (Some("NULL"), 1 << 40));
    assert_eq!(stub.calls_of("krun_set_exec").len(), 2);
    stub.forget_calls();
    call!(library, "krun_free_ctx": fn(u32), 7);
    assert_eq!(stub.calls().iter().map(Call::to_string).collect::<Vec<_>>(), ["krun_free_ctx(7)"]);
}

#[test]
fn statements_run_in_functions_and_when_the_library_opens() {
    let stub = Stub::new("1.18.0").constructor("setenv(\"STUB_OPENED\", \"yes\", 1);");
    let stub = stub.on("krun_set_vm_config", "if (ram_mib == 13) return -33;");
    let library = open(&stub.build());
    let set = |ram| call!(library, "krun_set_vm_config": fn(u32, u8, u32), 0, 1, ram);
    assert_eq!((set(13), set(14)), (-33, 0));
    // SAFETY: a name with its NUL; nobody sets this variable meanwhile.
    assert!(!unsafe { libc::getenv(c"STUB_OPENED".as_ptr()) }.is_null());
}

#[test]
fn files_have_the_names_that_were_asked_for() {
    let stub = Stub::new("1.17.1").pc_version("1.17.0").build();
    assert_eq!(stub.path, stub.dir.join("libkrun.so.1.17.1"));
    assert_eq!(fs::canonicalize(&stub.link).unwrap(), stub.path);
    assert!(fs::read_to_string(stub.dir.join("pkgconfig/libkrun.pc")).unwrap().contains("Version: 1.17.0\n"));
    let dir = stub.dir.clone();
    drop(stub);
    assert!(!dir.exists());
    let variant = Stub::new("1.17.4").file_name("libkrun-sev.so.1.17.4").soname("libkrun-sev.so.1").build();
    assert_eq!(variant.link, variant.dir.join("libkrun-sev.so.1"));
    let plain = Stub::new("1.17.4").file_name("libkrun.so.1").no_soname().build();
    assert_eq!(plain.link, plain.path);
    let soname = |library: &StubLibrary| {
        let data = fs::read(&library.path).unwrap();
        let text = b"libkrun-sev.so.1\0";
        data.windows(text.len()).any(|window| window == text)
    };
    assert!(soname(&variant) && !soname(&plain));
    let temp = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let placed = Stub::new("0.2.1").build_in(&temp.path().join("lib64"));
        assert!(placed.link.ends_with("lib64/libkrun.so.0") && placed.link.exists());
    }
}

#[test]
fn a_library_that_it_needs_can_be_missing() {
    let stub = Stub::new("1.10.1").needs_missing("libnotthere.so.9").build();
    // SAFETY: it does not open.
    let error = unsafe { Library::new(&stub.path) }.unwrap_err();
    let words = std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| source.to_string());
    assert!(words.contains("libnotthere.so.9"), "{words}");
}

#[test]
fn many_at_once_get_one_library_each() {
    let stub = Stub::new("1.16.0").returns("krun_create_ctx", 40);
    let built: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| stub.build())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for library in &built {
        assert_eq!(call!(open(library), "krun_create_ctx": fn(),), 40);
        assert_eq!(library.calls().len(), 1);
    }
}

/// Not a test of its own: what the tests below run in another process, since it ends there.
#[test]
fn child() {
    let Some(path) = std::env::var_os("STUB_CHILD") else { return };
    // SAFETY: a stub of the tests below.
    let library = unsafe { Library::new(&path) }.unwrap();
    let text = |name| std::env::var(name).ok().map(|text| CString::new(text).unwrap());
    if let Some(path) = text("STUB_VSOCK") {
        call!(library, "krun_add_vsock_port2": fn(u32, u32, Str, bool), 0, 1024, path.as_ptr(), false);
        call!(library, "krun_add_vsock_port2": fn(u32, u32, Str, bool), 0, 1025, c"/not/this/one".as_ptr(), true);
    }
    if let Some(name) = text("STUB_PORT") {
        call!(library, "krun_add_console_port_inout": fn(u32, u32, Str, c_int, c_int), 0, 0, name.as_ptr(), 0, 1);
    }
    call!(library, "krun_add_virtio_console_default": fn(u32, c_int, c_int, c_int), 0, 0, 1, 2);
    let result = call!(library, "krun_start_enter": fn(u32), 0);
    std::process::exit(100 - result);
}

fn command(library: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "stubs::tests::child"]).env("STUB_CHILD", library);
    command
}

fn ended(start: Start) -> ExitStatus {
    let stub = Stub::new("1.17.4").start(start).build();
    let status = command(&stub.link).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(stub.calls_of("krun_start_enter").len(), 1);
    status
}

#[test]
fn starts_end_as_they_should() {
    assert_eq!(ended(Start::Return(-22)).code(), Some(122));
    assert_eq!(ended(Start::Exit(7)).code(), Some(7));
    assert_eq!(ended(Start::Abort).signal(), Some(libc::SIGABRT));
    assert_eq!(ended(Start::Segfault).signal(), Some(libc::SIGSEGV));
    let stub = Stub::new("1.17.4").start(Start::Hang).build();
    let mut child = command(&stub.link).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while stub.calls_of("krun_start_enter").is_empty() && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_guest_speaks_on_its_vsock_port() {
    let said = "{\"ready\":true}\n\0\u{fc}??=7\n";
    let stub = Stub::new("1.17.4").start(Start::guest(said)).exit_status(3).build();
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    // Through a descriptor, as for a path that is too long for a socket's address.
    let opened = fs::File::open(dir.path()).unwrap();
    let path = format!("/proc/{}/fd/{}/socket", std::process::id(), opened.as_raw_fd());
    let mut child = command(&stub.path).env("STUB_VSOCK", path).stdout(Stdio::null()).spawn().unwrap();
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, said);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_guest_speaks_on_its_console_port() {
    let stub = Stub::new("1.17.4").start(Start::guest("on the port\n")).prints("out\n").prints_error("err\n").build();
    let run = |name: &str| -> Output { command(&stub.path).env("STUB_PORT", name).output().unwrap() };
    let output = run("krundl");
    assert!(output.status.success());
    // The test harness says something first.
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("out\non the port\n"));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "err\n");
    let other = String::from_utf8(run("other").stderr).unwrap();
    assert!(other.contains("neither a vsock port nor a console port"), "{other}");
}

#[test]
fn a_stub_in_a_confined_process_still_writes_down() {
    // No new descriptors after the first call: as under a sandbox that no longer lets the file be opened.
    let limit = "struct { unsigned long now, most; } none = { 0, 1024 }; setrlimit(7, &none);";
    let stub = Stub::new("1.17.4").on("krun_add_virtio_console_default", limit).start(Start::Exit(5)).build();
    assert_eq!(command(&stub.path).stdout(Stdio::null()).status().unwrap().code(), Some(5));
    assert_eq!(stub.calls().last().unwrap().function, "krun_start_enter");
}

#[test]
#[should_panic(expected = "has no krun_add_virtiofs3")]
fn what_a_stub_does_not_have_cannot_be_told_to_return() {
    Stub::new("1.17.4").returns("krun_add_virtiofs3", -22).build();
}
