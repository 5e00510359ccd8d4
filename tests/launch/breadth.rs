//! Every part of a VM arrives at libkrun with the right arguments: numbers, arrays, bytes, and things of the host that
//! are open and of the right kind.

use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener};

use krundl::{Exit, LogTarget, launch};
use krundl_test_support::stubs::{Call, Start, Stub};
use serde_json::{Value, json};

use super::{HELPER, Lab, in_time, newest, options, saw, seen, up};

/// What the library was told, as `function: argument argument`, for one function.
fn told(stub: Stub, fields: Value, function: &str) -> Vec<String> {
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    launch(lab.prepare(fields), options()).unwrap().wait().unwrap();
    lab.stub.calls_of(function).iter().map(|call| call.args[1..].join(" ")).collect()
}

/// C statements that note what is at the end of a path: its type and its first bytes.
fn look(path: &str) -> String {
    format!(
        "{{ struct stat s; char b[32] = {{0}}; if (stat({path}, &s)) return -errno; \
         int f = (S_ISREG(s.st_mode)) ? open({path}, O_RDONLY) : -1; if (f >= 0) read(f, b, 8); \
         snprintf(b + 10, 20, \"%o\", s.st_mode & S_IFMT); b[strnlen(b, 9)] = ' '; memmove(b + strcspn(b, \" \") + 1, b + 10, 10); {} }}",
        saw("b")
    )
}

#[test]
fn numbers_and_arrays() {
    let one = |fields: Value, function: &str| told(newest(), fields, function);
    let ports = json!({"tsi": {"ports": [{"host": 8080, "guest": 80}, {"host": 2222, "guest": 22}]}});
    assert_eq!(one(ports, "krun_set_port_map"), ["[8080:80,2222:22]"]);
    let closed = told(Stub::new("1.16.0"), json!({"tsi": {"only_ports": true}}), "krun_set_port_map");
    assert_eq!(closed, ["[]"], "not NULL, which is a crash");
    assert_eq!(one(json!({"tsi": {"unix": true}}), "krun_add_vsock"), ["3"]);
    let limits = json!({"rlimits": {"NOFILE": {"soft": 64, "hard": 128}, "AS": {"soft": u64::MAX}}});
    let limits = one(limits, "krun_set_rlimits");
    assert_eq!(limits, ["[9=18446744073709551615:18446744073709551615,7=64:128]"]);
    assert_eq!(one(json!({"split_irqchip": cfg!(target_arch = "x86_64")}), "krun_split_irqchip").len(), 1);
    assert_eq!(one(json!({"kernel_console": "hvc0"}), "krun_set_kernel_console"), ["hvc0"]);
}

#[test]
fn disks_are_the_files_that_were_checked_and_images_with_companions_go_by_path() {
    let stub = newest().on("krun_add_disk", &look("disk_path")).on("krun_add_disk3", &look("disk_path"));
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("raw"), [b"checked ".as_slice(), &[0; 504]].concat()).unwrap();
    fs::write(path("qcow2"), b"QFI\xfb").unwrap();
    let disks = json!([
        {"path": path("raw"), "id": "a"}, {"path": path("qcow2"), "format": "qcow2", "read_only": true},
    ]);
    let prepared = lab.prepare(json!({"disks": disks}));
    fs::remove_file(path("raw")).unwrap();
    fs::write(path("raw"), [0; 512]).unwrap();
    launch(prepared, options()).unwrap().wait().unwrap();
    assert!(seen(&lab.stub)[0].starts_with("checked "), "{:?}", seen(&lab.stub));
    let [raw] = &lab.stub.calls_of("krun_add_disk")[..] else { panic!("one disk") };
    assert!(raw.args[2].starts_with("/proc/self/fd/") && raw.args[1] == "a" && raw.args[3] == "0", "{raw}");
    let [qcow2] = &lab.stub.calls_of("krun_add_disk2")[..] else { panic!("one disk") };
    let canonical = path("qcow2").canonicalize().unwrap();
    assert_eq!(qcow2.args[1..], ["disk0", canonical.to_str().unwrap(), "1", "1"]);
}

#[test]
fn cards_get_their_socket_their_address_and_their_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let _passt = UnixListener::bind(path("passt")).unwrap();
    let _gvproxy = UnixDatagram::bind(path("gvproxy")).unwrap();
    let nics = json!({"nics": [
        {"unixstream": path("passt")}, {"unixgram": path("gvproxy"), "vfkit": true, "features": []},
    ]});
    let connects = |kind: &str| {
        format!(
            "{{ struct sockaddr_un a = {{.sun_family = AF_UNIX}}; strncpy(a.sun_path, c_path, 100); \
             int f = socket(AF_UNIX, {kind}, 0); if (connect(f, (void *)&a, sizeof a)) return -errno; close(f); }}"
        )
    };
    let stub = newest()
        .on("krun_add_net_unixstream", &connects("SOCK_STREAM"))
        .on("krun_add_net_unixgram", &connects("SOCK_DGRAM"));
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    launch(lab.prepare(nics), options()).unwrap().wait().unwrap();
    let args = |function: &str| lab.stub.calls_of(function)[0].args[2..].join(" ");
    assert_eq!(args("krun_add_net_unixstream"), "-1 5a:94:ef:e4:0c:ee 19587 0");
    assert_eq!(args("krun_add_net_unixgram"), "-1 5a:94:ef:e4:0c:ef 0 1");
    assert_eq!(lab.stub.calls_of("krun_set_port_map"), []);
}

#[test]
fn the_one_card_of_old_releases_is_a_connection_that_the_child_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passt");
    let server = UnixListener::bind(&path).unwrap();
    let stub = Stub::new("1.14.0").on("krun_set_passt_fd", "if (write(fd, \"frame\", 5) != 5) return -errno;");
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let prepared = lab.prepare(json!({"nics": [{"unixstream": path, "mac": "02:00:00:00:00:09"}]}));
    launch(prepared, options()).unwrap().wait().unwrap();
    let mut said = String::new();
    server.accept().unwrap().0.read_to_string(&mut said).unwrap();
    assert_eq!(said, "frame");
    assert_eq!(lab.stub.calls_of("krun_set_net_mac")[0].args[1], "02:00:00:00:00:09");
}

#[test]
fn vsock_sockets_lie_in_the_directory_that_was_checked_and_those_of_libkrun_go_at_the_end() {
    let lab = Lab::new(&newest().start(up("")).then_hang());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("made");
    let ports = json!([{"port": 7, "path": socket, "listen": true}]);
    let vm = launch(lab.prepare(json!({"vsock": {"ports": ports}})), options()).unwrap();
    vm.wait_ready(None).unwrap();
    assert!(socket.exists(), "the stub made it");
    vm.kill().unwrap();
    assert_eq!(vm.wait().unwrap(), Exit::Stopped(libc::SIGKILL));
    assert!(!socket.exists(), "it is still there");
    let [call] = &lab.stub.calls_of("krun_add_vsock_port2")[..] else { panic!("one port") };
    assert!(call.args[2].starts_with("/proc/self/fd/") && call.args[2].ends_with("/made"), "{call}");
    assert_eq!((call.args[1].as_str(), call.args[3].as_str()), ("7", "1"));
}

#[test]
fn consoles_get_descriptors_that_are_open_and_only_those_that_were_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("in"), "typed").unwrap();
    let write = |fd: &str, text: &str| format!("if (write({fd}, \"{text}\", {}) < 0) return -errno;", text.len());
    let stub = newest()
        .on("krun_add_serial_console_default", &(write("output_fd", "serial") + "close(output_fd); close(input_fd);"))
        .on("krun_add_console_port_inout", &write("output_fd", "port"))
        .on("krun_set_console_output", "{ int f = open(c_filepath, O_WRONLY | O_TRUNC); write(f, \"console\", 7); }");
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    fs::write(path("console"), "something old and long").unwrap();
    let prepared = lab.prepare(json!({
        "console": {"file": path("console")}, "serial": {"input": path("in"), "output": path("serial")},
        "console_ports": [{"name": "extra", "output": path("port")}],
    }));
    launch(prepared, options()).unwrap().wait().unwrap();
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    assert_eq!((read("serial"), read("port"), read("console")), ("serial".into(), "port".into(), "console".into()));
    let [port] = &lab.stub.calls_of("krun_add_console_port_inout")[..] else { panic!("one port") };
    assert_eq!((port.args[2].as_str(), port.args[3].as_str()), ("extra", "-1"));
    assert_eq!(lab.stub.calls_of("krun_disable_implicit_console"), [], "the file is the implicit console's");
}

#[test]
fn a_console_that_goes_nowhere_leaves_the_streams_alone() {
    let lab = Lab::new(&newest().prints("to nobody").start(up("exit 0\n")));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let options = krundl::LaunchOptions { stdout: krundl::Stream::Fd(writer.into()), ..options() };
    launch(lab.prepare(json!({"console": "none"})), options).unwrap().wait().unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn overlays_carry_the_texts_and_files_of_the_spec() {
    let text = "if (strstr(path, \"conf\")) { char b[32] = {0}; memcpy(b, data, data_len < 31 ? data_len : 31);";
    let stub = newest().on("krun_fs_add_overlay_file", &format!("{text} {} }}", saw("b")));
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::write(&from, "of the host").unwrap();
    let prepared = lab.prepare(json!({"overlay": {"files": [
        {"path": "/conf-a", "text": "of the spec"}, {"path": "/new/conf-b", "from": from, "mode": 0o600},
        {"path": "/conf-c", "text": ""},
    ]}}));
    fs::remove_file(&from).unwrap();
    launch(prepared, options()).unwrap().wait().unwrap();
    assert_eq!(seen(&lab.stub), ["of the spec", "of the host", ""]);
    let modes: Vec<String> = lab
        .stub
        .calls_of("krun_fs_add_overlay_file")
        .iter()
        .filter(|call| call.args[2].contains("conf"))
        .map(|call| call.args[2].clone() + " " + &call.args[5])
        .collect();
    assert_eq!(modes, ["conf-a 33188", "new/conf-b 33152", "conf-c 33188"]);
}

#[test]
fn devices_get_what_they_were_given() {
    let dir = tempfile::tempdir().unwrap();
    let edid = dir.path().join("edid");
    fs::write(&edid, [7; 128]).unwrap();
    let stub = newest().features(&["blk", "net", "gpu", "snd", "input"]).on(
        "krun_add_input_device_fd",
        "{ struct stat s; if (fstat(input_fd, &s) || !S_ISCHR(s.st_mode)) return -errno; }",
    );
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let prepared = lab.prepare(json!({
        // Any character device will do for a stub.
        "gpu": {"virgl_flags": 9, "shm_mib": 2}, "sound": true, "inputs": ["/dev/zero"],
        "displays": [
            {"width": 800, "height": 600, "refresh_rate": 60, "dpi": 96, "physical_size_mm": [300, 200]},
            {"width": 1, "height": 2, "edid": edid},
        ],
    }));
    launch(prepared, options()).unwrap().wait().unwrap();
    let calls: Vec<Call> = lab.stub.calls();
    let line = |function: &str, n: usize| {
        let of: Vec<&Call> = calls.iter().filter(|call| call.function == function).collect();
        of[n].args[1..].join(" ")
    };
    assert_eq!(line("krun_set_gpu_options2", 0), "9 2097152");
    assert_eq!((line("krun_add_display", 0), line("krun_add_display", 1)), ("800 600".into(), "1 2".into()));
    assert_eq!(line("krun_display_set_physical_size", 0), "0 300 200");
    assert_eq!(line("krun_display_set_refresh_rate", 0), "0 60");
    assert_eq!(line("krun_display_set_dpi", 0), "0 96");
    assert!(line("krun_display_set_edid", 0).starts_with("1 128:"), "{}", line("krun_display_set_edid", 0));
    assert_eq!(line("krun_set_snd_device", 0), "1");
}

#[test]
fn the_log_goes_to_the_file_of_the_spec_unless_the_caller_names_another() {
    let log = "{ if (write(target_fd, \"libkrun's words\", 15) < 0) return -errno; }";
    let lab = Lab::new(&newest().on("krun_init_log", log).start(up("exit 0\n")));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("log"), "before ").unwrap();
    let vm = launch(lab.prepare(json!({"log_file": path("log")})), options()).unwrap();
    vm.wait().unwrap();
    assert_eq!(fs::read_to_string(path("log")).unwrap(), "before libkrun's words");
    assert_eq!(vm.log(), b"libkrun's words", "only this VM's part of it");

    let other = fs::File::options().read(true).append(true).create(true).open(path("other")).unwrap();
    let options = krundl::LaunchOptions { log: LogTarget::File(other), ..options() };
    launch(lab.prepare(json!({"log_file": path("log")})), options).unwrap().wait().unwrap();
    assert_eq!(fs::read_to_string(path("log")).unwrap(), "before libkrun's words");
    assert_eq!(fs::read_to_string(path("other")).unwrap(), "libkrun's words");
}

#[test]
fn firmware_starts_without_anybody_inside_and_its_end_is_unproved() {
    let lab = Lab::new(&newest().start(Start::Exit(0)));
    let dir = tempfile::tempdir().unwrap();
    let firmware = dir.path().join("fw");
    fs::write(&firmware, "firmware").unwrap();
    let spec = krundl::VmSpec { vcpus: 1, memory_mib: 256, firmware: Some(firmware), ..krundl::VmSpec::default() };
    let prepared = krundl::prepare(&spec, &lab.capabilities).unwrap();
    let vm = launch(prepared, options()).unwrap();
    let (ready, ended) = in_time(move || (vm.wait_ready(None).unwrap_err().code(), vm.wait().unwrap()));
    assert_eq!((ready, ended), (krundl::error::Code::ReadinessUnknown, Exit::Unproved(0)), "never a plain 0");
    assert_eq!(lab.stub.calls_of("krun_set_exec").len() + lab.stub.calls_of("krun_add_virtiofs").len(), 0);
}

#[test]
fn another_user_has_no_supplementary_groups_and_reaches_the_channel_and_the_bootstrap_share() {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self").unwrap().uid() != 0 || !fs::exists(HELPER).unwrap() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    // As libkrun does it, at the start.
    let become_user = "if (setgid(12346) || setuid(12345)) abort(); \
         { char b[64]; snprintf(b, 64, \"%d %d %d\", getuid(), getgid(), getgroups(0, NULL)); ";
    for release in ["1.18.0", "1.19.7"] {
        let readable = "if (!strcmp(c_tag, \"krundl\")) { struct stat s; char p[256]; \
             snprintf(p, 256, \"%s/orders\", c_path); if (stat(p, &s) || s.st_uid != 12345 || s.st_gid != 12346) return -13; }";
        let mut stub = Stub::new(release).on("krun_start_enter", &format!("{become_user} {} }}", saw("b")));
        if release == "1.18.0" {
            stub = stub.on("krun_add_virtiofs3", readable);
        }
        let lab = Lab::new(&stub.start(up("exit 4\n")));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(lab.root.path(), mode).unwrap();
        fs::set_permissions(&lab.stub.dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let spec = lab.spec(json!({"uid": 12345, "gid": 12346}));
        // The machine's /dev/kvm is none of our business here.
        let checked = krundl::spec::check(&spec);
        assert!(checked.problems.iter().all(|problem| problem.reason.contains("/dev/kvm")), "{:?}", checked.problems);
        let plan = krundl::negotiate(&spec, &checked.findings, &lab.capabilities).unwrap();
        let vm = launch(krundl::Prepared { plan, held: checked.held }, options()).unwrap();
        vm.wait_ready(None).unwrap();
        assert_eq!(vm.wait().unwrap(), Exit::Code(4), "{release}: the channel was closed to that user");
        assert_eq!(lab.stub.calls_of("krun_setuid")[0].args[1], "12345");
        assert_eq!(seen(&lab.stub), ["12345 12346 0"], "{release}: supplementary groups are left");
    }
}
