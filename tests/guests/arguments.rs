//! What the workload is given.

use std::fs;
use std::os::unix::fs::symlink;

use krundl::spec::Text;
use serde_json::json;

use crate::stage::{Stage, mount};
use crate::talk::all;

/// Also where an image brings a configuration for libkrun's init.
pub fn the_workload_gets_exactly_what_was_asked_for(stage: &Stage) {
    // Its children look at the shell; the redirections are theirs, for the shell saves what it redirects itself.
    const SCRIPT: &str = "
        PATH=/bin
        (cat /proc/$$/cmdline > /workspace/cmdline)
        (cat /proc/$$/environ > /workspace/environ)
        (ls /proc/$$/fd > /workspace/descriptors)
        (pwd; id -u) > /workspace/place
        cat /.krundl/orders /dev/shm/orders > /workspace/orders
        cat /proc/mounts > /workspace/mounts
        exit 0";
    let root = stage.own_root();
    fs::create_dir_all(root.join("opt/tools")).unwrap();
    symlink("/bin/busybox", root.join("opt/tools/ash")).unwrap();
    let steering = json!({
        "Entrypoint": ["/bin/echo"], "Cmd": ["steered"], "args": ["/bin/echo", "steered"],
        "Env": ["STEERED=1"], "WorkingDir": "/tmp", "Cwd": "/tmp", "uid": 1, "gid": 1,
    });
    fs::write(root.join(".krun_config.json"), steering.to_string()).unwrap();
    let dir = stage.dir("dir");

    let mut spec = stage.spec("");
    spec.root.as_mut().unwrap().dir = Some(root);
    spec.mounts.push(mount(&dir, "/workspace"));
    spec.exec.as_mut().unwrap().path = "ash".into();
    spec.exec.as_mut().unwrap().workdir = "/opt/tools".into();
    let special: &[&[u8]] =
        &[b"", b"a b", b"\"'`$HOME\\", b"line\nline\n", b"\ttab", "ümläut ☃".as_bytes(), b"\xff\xfe\x01", b"--", b"-x"];
    spec.exec.as_mut().unwrap().args = ["-c", SCRIPT, "name"].map(Text::from).to_vec();
    spec.exec.as_mut().unwrap().args.extend(special.iter().map(|bytes| bytes.to_vec().into()));
    spec.exec.as_mut().unwrap().args.extend((0..1000).map(|n| format!("argument {n}").into()));
    spec.exec.as_mut().unwrap().args.push(vec![b'x'; 100_000].into());
    spec.exec.as_mut().unwrap().env.insert("PATH".to_owned(), "/nowhere:/opt/tools".into());
    spec.exec.as_mut().unwrap().env.insert("SECRET".to_owned(), "not for others".into());
    for (n, bytes) in special.iter().enumerate() {
        spec.exec.as_mut().unwrap().env.insert(format!("SPECIAL_{n}"), bytes.to_vec().into());
    }

    let guest = stage.launch(stage.prepare(&spec));
    let said = [all(guest.vm.take_stdout().unwrap()), all(guest.vm.take_stderr().unwrap())].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(guest.vm.wait().unwrap().success(), "{said}");

    let file = |name: &str| fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}; {said}"));
    let strings = |name: &str| -> Vec<Text> {
        let bytes = file(name);
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        bytes.split(|byte| *byte == 0).map(|string| string.to_vec().into()).collect()
    };
    assert!(
        strings("cmdline") == [&["ash".into()], spec.exec.as_mut().unwrap().args.as_slice()].concat(),
        "other arguments than given"
    );
    let mut given: Vec<Text> = vec!["HOME=/root".into()];
    for (name, value) in &spec.exec.as_mut().unwrap().env {
        given.push([name.as_bytes(), b"=", value.as_bytes()].concat().into());
    }
    let mut had = strings("environ");
    given.sort();
    had.sort();
    assert_eq!(had, given);
    assert_eq!(file("descriptors"), b"0\n1\n2\n");
    assert_eq!(file("place"), b"/opt/tools\n0\n");

    // Nothing of the way by which all this came is left to be read.
    assert_eq!(file("orders"), b"", "the orders can be read");
    let mounts = String::from_utf8(file("mounts")).unwrap();
    let shares: Vec<&str> = mounts.lines().filter(|line| line.contains("virtiofs")).collect();
    assert_eq!(shares.len(), 2, "the root and the mount: {shares:#?}");
}
