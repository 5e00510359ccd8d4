//! The library gets exactly the calls of the plan, with the things that were checked.

use std::fs;

use krundl::{Error, launch};
use krundl_test_support::stubs::{Call, Stub};
use serde_json::json;

use super::{Lab, newest, options, saw, seen, up};

/// The calls with every number of a descriptor as N, and bytes by their length alone.
fn normal(calls: &[Call]) -> Vec<String> {
    let word = |word: &String| {
        let mut parts: Vec<String> = word.split('/').map(str::to_owned).collect();
        for n in 1..parts.len() {
            if parts[n - 1] == "fd" && parts[n].bytes().all(|byte| byte.is_ascii_digit()) {
                parts[n] = "N".to_owned();
            }
        }
        parts.join("/")
    };
    calls
        .iter()
        .map(|call| call.function.clone() + " " + &call.args.iter().map(word).collect::<Vec<_>>().join(" "))
        .collect()
}

fn run(lab: &Lab, fields: serde_json::Value) -> Vec<Call> {
    launch(lab.prepare(fields), options()).unwrap().wait().unwrap();
    lab.stub.calls()
}

#[test]
fn the_newest_library_is_called_as_planned() {
    let descriptors = "struct stat s; if (fstat(input_fd, &s) || fstat(output_fd, &s) || fstat(err_fd, &s)) return -9;";
    let stub = newest().returns("krun_create_ctx", 7).on("krun_add_virtio_console_default", descriptors);
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let share = tempfile::tempdir().unwrap();
    let mount = json!({"host": share.path(), "guest": "/new/deep", "read_only": true, "tag": "data", "dax_mib": 2});
    let calls = run(&lab, json!({"mounts": [mount], "log_level": "debug"}));
    let mut lines = normal(&calls);
    // Numbers of descriptors: the log's, the streams'.
    assert!(calls[0].number(0) > 2);
    assert!((1..4).all(|n| calls[4].number(n) > 2), "libkrun's own words must not mix with the workload's");
    lines[0] = lines[0].replacen(&calls[0].args[0], "LOG", 1);
    lines[4].truncate("krun_add_virtio_console_default 7".len());
    for line in &mut lines[13..15] {
        let bytes = line.split(' ').nth(4).unwrap().to_owned();
        assert!(bytes.contains(':') && !bytes.starts_with("0:"), "{line}");
        *line = line.replacen(&bytes, "BYTES", 1);
        let size = bytes.split(':').next().unwrap();
        *line = line.replacen(&format!(" {size} "), " SIZE ", 1);
    }
    assert_eq!(
        lines,
        [
            "krun_init_log LOG 4 2 1",
            "krun_create_ctx ",
            "krun_set_vm_config 7 2 512",
            "krun_disable_implicit_console 7",
            "krun_add_virtio_console_default 7",
            "krun_disable_implicit_vsock 7",
            "krun_add_vsock 7 1",
            "krun_add_vsock_port 7 1802663278 /proc/self/fd/N",
            "krun_add_virtiofs 7 /dev/root /proc/self/fd/N/.",
            "krun_add_virtiofs3 7 data /proc/self/fd/N/. 2097152 1",
            "krun_fs_add_overlay_dir 7 /dev/root .krundl 16877",
            "krun_fs_add_overlay_dir 7 /dev/root new 16877",
            "krun_fs_add_overlay_dir 7 /dev/root new/deep 16877",
            "krun_fs_add_overlay_file 7 /dev/root .krundl/guest BYTES SIZE 33261 0",
            "krun_fs_add_overlay_file 7 /dev/root .krundl/orders BYTES SIZE 33024 1",
            "krun_set_exec 7 /.krundl/guest [/.krundl/orders] [KRUN_CONFIG=/dev/krundl-no-config]",
            "krun_start_enter 7",
        ]
    );
}

#[test]
fn the_oldest_library_is_called_as_planned() {
    let lab = Lab::new(&Stub::new("1.8.0").returns("krun_create_ctx", 3).start(up("exit 0\n")));
    assert_eq!(
        normal(&run(&lab, json!({}))),
        [
            "krun_set_log_level 2",
            "krun_create_ctx ",
            "krun_set_vm_config 3 2 512",
            "krun_add_vsock_port 3 1802663278 /proc/self/fd/N",
            "krun_add_virtiofs 3 /dev/root /proc/self/fd/N/.",
            "krun_add_virtiofs 3 krundl /proc/self/fd/N/.",
            "krun_set_exec 3 /bin/sh [-c,mount -t virtiofs krundl /dev/shm && exec /dev/shm/guest /dev/shm/orders \
             --detach=/dev/shm] [KRUN_CONFIG=/dev/krundl-no-config,PATH=/bin:/sbin:/usr/bin:/usr/sbin]",
            "krun_start_enter 3",
        ]
    );
}

#[test]
fn any_library_gets_the_calls_of_its_plan_in_their_order() {
    for release in ["1.9.5", "1.11.0", "1.13.0", "1.16.0", "1.17.4", "1.18.0", "1.19.0"] {
        let lab = Lab::new(&Stub::new(release).start(up("exit 0\n")));
        let prepared = lab.prepare(json!({}));
        let planned: Vec<&str> = prepared.plan.calls.iter().map(|call| call.function().name()).collect();
        launch(prepared, options()).unwrap().wait().unwrap();
        let made: Vec<String> = lab.stub.calls().into_iter().map(|call| call.function).collect();
        assert_eq!(made, planned, "{release}");
    }
}

#[test]
fn the_directories_that_were_checked_are_shared_whatever_their_names_lead_to_later() {
    let read = |path: &str| {
        format!(
            "{{ char p[256], b[64] = {{0}}; snprintf(p, sizeof p, \"%s/marker\", {path}); \
             int f = open(p, O_RDONLY); if (f < 0 || read(f, b, 63) < 0) return -errno; close(f); {} }}",
            saw("b")
        )
    };
    let stub = newest().on("krun_add_virtiofs", &read("c_path")).on("krun_add_virtiofs3", &read("c_path"));
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let dir = tempfile::tempdir().unwrap();
    let share = dir.path().join("share");
    fs::create_dir(&share).unwrap();
    let swap = |of: &std::path::Path, name: &str| {
        fs::write(of.join("marker"), name).unwrap();
        fs::rename(of, of.with_extension("away")).unwrap();
        fs::create_dir(of).unwrap();
        fs::write(of.join("marker"), "swapped").unwrap();
    };
    let prepared = lab.prepare(json!({"mounts": [{"host": share, "read_only": true}]}));
    swap(lab.root.path(), "the root");
    swap(&share, "the share");
    launch(prepared, options()).unwrap().wait().unwrap();
    assert_eq!(seen(&lab.stub), ["the root", "the share"]);
    fs::remove_dir_all(lab.root.path().with_extension("away")).unwrap();
}

#[test]
fn an_external_kernel_is_the_file_that_was_checked() {
    let stub = newest().on(
        "krun_set_kernel",
        &format!("{{ char b[5] = {{0}}; int f = open(kernel_path, O_RDONLY); read(f, b, 4); {} }}", saw("b")),
    );
    let lab = Lab::new(&stub.start(up("exit 5\n")));
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("vmlinux");
    // Any ELF program of this machine passes for a kernel here.
    fs::copy("/bin/true", &kernel).unwrap();
    let prepared = lab.prepare(json!({"kernel": {"path": kernel}}));
    fs::remove_file(&kernel).unwrap();
    fs::write(&kernel, "something else").unwrap();
    let vm = launch(prepared, options()).unwrap();
    vm.wait_ready(None).unwrap();
    assert_eq!(vm.wait().unwrap().status(), 5, "its word came over the console port");
    assert_eq!(seen(&lab.stub), ["\u{7f}ELF"]);
    assert_eq!(lab.stub.calls_of("krun_add_vsock").len() + lab.stub.calls_of("krun_add_vsock_port").len(), 0);
}

/// Writes the bytes of the orders to the file.
fn dump(file: &std::path::Path) -> String {
    format!(
        "if (strstr(path, \"orders\")) {{ int f = open(\"{}\", O_WRONLY | O_CREAT | O_TRUNC, 0600); \
         if (write(f, data, data_len) < 0) return -5; close(f); }}",
        file.display()
    )
}

#[test]
fn the_workloads_words_reach_the_guest_to_the_byte_and_not_over_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orders");
    let lab = Lab::new(&newest().on("krun_fs_add_overlay_file", &dump(&file)).start(up("exit 0\n")));
    let args = ["", "a\"b'c", "tab\tand\nline", "ümlaut", &"x".repeat(100_000)];
    let mut exec = json!({"path": "/bin/echo", "args": args, "env": {"ODD": "\" \u{1}"}, "workdir": "/a dir"});
    exec["args"].as_array_mut().unwrap().push(json!({"bytes": [255, 254, 1]}));
    let calls = run(&lab, json!({"exec": exec}));
    let orders = fs::read(&file).unwrap();
    let holds = |bytes: &[u8]| orders.windows(bytes.len().max(1)).any(|window| window == bytes);
    for word in args.iter().filter(|word| !word.is_empty()) {
        assert!(holds(word.as_bytes()), "{}", &word[..word.len().min(20)]);
    }
    assert!(holds(&[255, 254, 1]) && holds(b"ODD=\" \x01") && holds(b"/a dir") && holds(b"/bin/echo"));
    let exec = calls.iter().find(|call| call.function == "krun_set_exec").unwrap().to_string();
    assert!(!exec.contains("echo") && !exec.contains("tab"), "{exec}");
}

#[test]
fn before_1_19_program_and_orders_lie_on_a_share_that_goes_when_the_guest_is_up() {
    let look = format!(
        "if (!strcmp(c_tag, \"krundl\")) {{ struct stat s; char p[256], real[256] = {{0}}; \
         snprintf(p, 256, \"%s/guest\", c_path); if (stat(p, &s) || !(s.st_mode & 0100)) return -2; \
         snprintf(p, 256, \"%s/orders\", c_path); if (stat(p, &s) || (s.st_mode & 0377)) return -3; \
         snprintf(p, 256, \"%.*s\", (int)strlen(c_path) - 2, c_path); readlink(p, real, 255); {} }}",
        saw("real")
    );
    let lab = Lab::new(&Stub::new("1.18.0").on("krun_add_virtiofs3", &look).start(up("")).then_hang());
    let vm = lab.launch().unwrap();
    vm.wait_ready(None).unwrap();
    let share = seen(&lab.stub).remove(0);
    assert!(share.contains("/krundl-share-"), "{share}");
    assert!(!fs::exists(&share).unwrap(), "{share} is still there");
}

#[test]
fn a_library_with_nothing_but_the_newest_virtiofs_function_works_too() {
    let others = ["krun_add_virtiofs", "krun_add_virtiofs2", "krun_add_virtiofs3"];
    let overlays = ["krun_fs_add_overlay_file", "krun_fs_add_overlay_dir"];
    let lab = Lab::new(&newest().without(&others).without(&overlays).start(up("exit 6\n")));
    assert_eq!(lab.launch().unwrap().wait().unwrap().status(), 6);
}

#[test]
fn a_library_that_was_replaced_since_the_probe_is_not_opened() {
    let lab = Lab::new(&newest().start(up("exit 0\n")));
    let prepared = lab.prepare(json!({}));
    newest().constructor("fprintf(stderr, \"opened\\n\");").build_in(&lab.stub.dir);
    let Err(error) = launch(prepared, options()) else { panic!("launched") };
    let Error::LibraryChanged { path, reason } = &error else { panic!("{error}") };
    assert_eq!(*path, lab.stub.path);
    assert!(reason.contains("were") || reason.contains("was"), "{reason}");
    assert_eq!(lab.stub.calls(), []);

    let prepared = lab.prepare(json!({}));
    fs::remove_file(&lab.stub.path).unwrap();
    let Err(error) = launch(prepared, options()) else { panic!("launched") };
    assert!(matches!(error, Error::LibraryChanged { .. }), "{error}");
}
