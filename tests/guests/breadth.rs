//! Everything beside directories, streams and exit codes: disks, sockets, ports, consoles, users, limits.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use krundl::VmSpec;
use serde_json::{Value, json};

use crate::stage::{Guest, Stage};
use crate::talk::all;

/// A spec that runs a script, with these fields besides.
pub fn spec(stage: &Stage, script: &str, fields: Value) -> VmSpec {
    let mut spec: Value = serde_json::from_str(&stage.spec(script).to_json()).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    VmSpec::from_json(&spec.to_string()).unwrap()
}

fn launch(stage: &Stage, spec: &VmSpec) -> Guest {
    stage.launch(stage.prepare(spec))
}

/// What a guest says before its end, and how that is told.
pub fn run(stage: &Stage, spec: &VmSpec) -> (String, i32) {
    let guest = launch(stage, spec);
    let said = [all(guest.vm.take_stdout().unwrap()), all(guest.vm.take_stderr().unwrap())].concat();
    let status = guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status();
    (String::from_utf8_lossy(&said).into_owned(), status)
}

/// An ext4 file system, with the content of a directory.
pub fn ext4(path: &Path, content: Option<&Path>) {
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4"]);
    if let Some(content) = content {
        make.arg("-d").arg(content);
    }
    let output = make.arg(path).arg("16M").output().expect("mke2fs, of e2fsprogs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A file of an ext4 file system that nobody uses.
pub fn read_ext4(image: &Path, file: &str) -> String {
    let output = Command::new("debugfs").args(["-R", &format!("cat {file}")]).arg(image).output().expect("debugfs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn a_root_on_a_disk_tells_its_exit_status_and_keeps_what_was_written(stage: &Stage) {
    let dir = stage.dir("disks");
    let (root, data) = (dir.join("root.img"), dir.join("data.img"));
    ext4(&root, Some(&stage.root));
    ext4(&data, None);
    let share = stage.dir_with("share", "of the host\n");
    const SCRIPT: &str = "grep -c '^/dev/vda / ext4 rw' /proc/mounts
        cat /mnt/new/f
        mkdir /x && mount -t ext4 /dev/vdb /x && echo data > /x/made && echo root > /made
        exit 42";
    let spec = spec(
        stage,
        SCRIPT,
        json!({
            "root": {"disk": {"fstype": "ext4"}}, "disks": [{"path": root}, {"path": data, "sync": "full"}],
            "mounts": [{"host": share, "guest": "/mnt/new"}],
        }),
    );
    assert_eq!(run(stage, &spec), ("1\nof the host\n".to_owned(), 42));
    assert_eq!((read_ext4(&root, "/made"), read_ext4(&data, "/made")), ("root\n".to_owned(), "data\n".to_owned()));
}

pub fn a_read_only_disk_stays_as_it_is(stage: &Stage) {
    let image = stage.dir("disks").join("root.img");
    ext4(&image, Some(&stage.root));
    let before = fs::read(&image).unwrap();
    const SCRIPT: &str = "touch /x 2>/dev/null || echo refused
        mount -o remount,rw / 2>/dev/null || echo refused
        exit 7";
    let disks = json!([{"path": image, "read_only": true}]);
    let spec = spec(stage, SCRIPT, json!({"root": {"disk": {}, "read_only": true}, "disks": disks}));
    assert_eq!(run(stage, &spec), ("refused\nrefused\n".to_owned(), 7));
    assert!(fs::read(&image).unwrap() == before, "the image has changed");
}

/// A root with a program that speaks over vsock: `vsock connect PORT`, `vsock listen PORT`.
fn root_with_vsock(stage: &Stage) -> PathBuf {
    let root = stage.own_root();
    let source = stage.dir("source").join("vsock.c");
    fs::write(&source, include_str!("vsock.c")).unwrap();
    let output = Command::new("cc").args(["-static", "-O1", "-o"]).arg(root.join("bin/vsock")).arg(&source).output();
    let output = output.expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    root
}

pub fn vsock_ports_work_both_ways_and_the_socket_goes_with_the_vm(stage: &Stage) {
    let root = root_with_vsock(stage);
    let dir = stage.dir("sockets");
    let (to_host, to_guest) = (dir.join("to-host"), dir.join("to-guest"));
    let server = UnixListener::bind(&to_host).unwrap();
    let ports = json!([
        {"port": 5000, "path": to_host}, {"port": 5001, "path": to_guest, "listen": true},
    ]);
    let script = "vsock connect 5000; vsock listen 5001; exit 3";
    let guest = launch(stage, &spec(stage, script, json!({"root": {"dir": root}, "vsock": {"ports": ports}})));

    let mut from_guest = BufReader::new(server.accept().unwrap().0);
    let mut line = String::new();
    from_guest.read_line(&mut line).unwrap();
    assert_eq!(line, "from the guest\n");
    from_guest.get_mut().write_all(b"from the host\n").unwrap();
    let mut output = BufReader::new(guest.vm.take_stdout().unwrap());
    let mut hear = |expected: &str| {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    };
    hear("from the host");

    hear("listening");
    assert!(fs::symlink_metadata(&to_guest).unwrap().file_type().is_socket());
    let mut client = UnixStream::connect(&to_guest).unwrap();
    client.write_all(b"to the guest\n").unwrap();
    hear("to the guest");
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer of the guest\n");
    assert_eq!(guest.vm.wait().unwrap().status(), 3);
    assert!(!to_guest.exists(), "the socket is still there");
    assert!(to_host.exists(), "the other is the host's own");
}

/// And all others under their own: that is refused to whoever does not want it, and noted for everybody else.
pub fn a_port_is_open_under_the_number_that_was_asked_for(stage: &Stage) {
    let free = || TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (renamed, other) = (free(), free());
    let script = format!(
        "echo renamed | nc -l -p 8080 &
         echo other | nc -l -p {other} &
         sleep 1; echo listening; wait"
    );
    let ports = json!([{"host": renamed, "guest": 8080}]);
    let only = json!({"tsi": {"ports": ports, "only_ports": true}});
    let problems = stage.problems(&spec(stage, &script, only));
    assert!(problems.len() == 1 && problems[0].starts_with("tsi.only_ports: "), "{problems:?}");

    let prepared = stage.prepare(&spec(stage, &script, json!({"tsi": {"ports": ports}})));
    assert!(prepared.plan.notes.iter().any(|note| note.contains("other TCP ports")), "{:?}", prepared.plan.notes);
    let guest = stage.launch(prepared);
    let mut output = BufReader::new(guest.vm.take_stdout().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "listening\n");
    for (port, expected) in [(renamed, "renamed\n"), (other, "other\n")] {
        let mut answer = String::new();
        TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
    guest.vm.kill().unwrap();
    guest.vm.wait().unwrap();
}

pub fn the_console_goes_to_a_file_and_a_port_to_another(stage: &Stage) {
    let dir = stage.dir("console");
    let (console, port) = (dir.join("console"), dir.join("port"));
    const SCRIPT: &str = r#"echo out; echo err >&2
        for port in /sys/class/virtio-ports/*/name; do
            [ "$(cat $port)" = extra ] && name=$(basename $(dirname $port)) && echo through > /dev/$name
        done
        exit 3"#;
    let ports = json!([{"name": "extra", "output": port}]);
    let spec = spec(stage, SCRIPT, json!({"console": {"file": console}, "console_ports": ports}));
    assert_eq!(run(stage, &spec), (String::new(), 3));
    assert_eq!(fs::read_to_string(&console).unwrap(), "out\r\nerr\r\n");
    assert_eq!(fs::read_to_string(&port).unwrap(), "through\n");
}

pub fn another_user_owns_what_the_guest_makes_and_cannot_read_what_is_roots(stage: &Stage) {
    const USER: u32 = 1000;
    let root = stage.own_root();
    for path in [root.clone(), root.join("tmp")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    let secret = root.join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let kvm = fs::metadata("/dev/kvm").unwrap().permissions();
    fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o666)).unwrap();
    let script = "touch /tmp/made; cat /secret 2>/dev/null || echo refused; exit 5";
    let spec = spec(stage, script, json!({"root": {"dir": root}, "uid": USER, "gid": USER}));
    let guest = launch(stage, &spec);
    let mut status = String::new();
    guest.vm.wait_ready(None).unwrap();
    if let Ok(mut file) = fs::File::open(format!("/proc/{}/status", guest.vm.pid())) {
        let _ = file.read_to_string(&mut status);
    }
    let said = all(guest.vm.take_stdout().unwrap());
    assert_eq!((String::from_utf8_lossy(&said).as_ref(), guest.vm.wait().unwrap().status()), ("refused\n", 5));
    fs::set_permissions("/dev/kvm", kvm).unwrap();
    let made = fs::metadata(root.join("tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (USER, USER));
    // It may have ended before it was looked at.
    if let Some(groups) = status.lines().find_map(|line| line.strip_prefix("Groups:")) {
        assert_eq!(groups.trim(), "", "supplementary groups are left");
    }
}

pub fn limits_and_files_laid_over_the_root_reach_the_workload(stage: &Stage) {
    let mut fields = json!({"rlimits": {"NOFILE": {"soft": 77, "hard": 99}, "CORE": {"soft": 0}}});
    let mut script = "ulimit -n; ulimit -Hn; ulimit -c".to_owned();
    let mut expected = "77\n99\n0\n".to_owned();
    if stage.has_overlays() {
        let from = stage.dir_with("from", "of the host\n").join("f");
        fields["overlay"] = json!({
            "files": [
                {"path": "/message", "text": "laid over\n"}, {"path": "/new/deep/file", "from": from, "mode": 0o600},
            ],
            "dirs": [{"path": "/new/empty", "mode": 0o700}],
        });
        script += "; cat /message /new/deep/file; stat -c %a /message /new/deep/file /new/empty";
        expected += "laid over\nof the host\n644\n600\n700\n";
    }
    assert_eq!(run(stage, &spec(stage, &script, fields)), (expected, 0));
    assert!(!stage.root.join("message").exists() && !stage.root.join("new").exists());
}
