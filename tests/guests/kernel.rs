//! A kernel of our own: with krundl's program in the guest, and with an init of the guest's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use krundl::doctor::{Purpose, check_kernel};
use krundl::{Exit, VmSpec};
use serde_json::{Value, json};

use crate::breadth::{ext4, read_ext4, run, spec};
use crate::stage::{Stage, mount_option};
use crate::talk::all;
use crate::terminal;

/// What libkrun's own line has, and nothing quiet.
const LIBKRUNS_INIT: &str = "reboot=k panic=-1 rootfstype=virtiofs rw init=/init.krun";

fn with_kernel(stage: &Stage, script: &str, fields: Value) -> VmSpec {
    let mut all = json!({"kernel": {"path": stage.kernel}});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec(stage, script, all)
}

pub fn piped_streams_and_the_exit_status_are_the_workloads(stage: &Stage) {
    const SCRIPT: &str = "echo an error >&2; cat; cat /workspace/f; echo back > /workspace/g; exit 42";
    let dir = stage.dir_with("dir", "of the host\n");
    let kernel = stage.kernel.to_str().unwrap();
    let mut guest = stage.sh(&["--kernel", kernel, "--mount", &mount_option(&dir, "/workspace")], SCRIPT);
    // More than a port's queue holds, and of all bytes.
    let input: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let fed = guest.feed(input.clone());
    let end = guest.end();
    fed.join().unwrap();
    assert_eq!((end.status, end.stderr.as_str()), (Some(42), "an error\n"));
    assert!(end.stdout == [&input[..], b"of the host\n"].concat(), "{} bytes came out", end.stdout.len());
    assert_eq!(fs::read_to_string(dir.join("g")).unwrap(), "back\n");
}

pub fn the_terminal_is_the_workloads(stage: &Stage) {
    terminal::with(stage, &["--kernel", stage.kernel.to_str().unwrap()]);
}

pub fn a_root_on_a_disk_beside_a_qcow2_and_a_read_only_one(stage: &Stage) {
    let dir = stage.dir("disks");
    let (root, data, fixed) = (dir.join("root.img"), dir.join("data.qcow2"), dir.join("fixed.img"));
    ext4(&root, Some(&stage.root));
    ext4(&dir.join("data.img"), None);
    convert(&dir.join("data.img"), "qcow2", &data);
    ext4(&fixed, Some(&stage.dir_with("content", "fixed\n")));
    let before = fs::read(&fixed).unwrap();
    const SCRIPT: &str = "grep -c '^/dev/vda / ext4 rw' /proc/mounts
        mkdir /b /c && mount -t ext4 /dev/vdb /b && echo data > /b/made && echo root > /made
        mount -t ext4 -o ro /dev/vdc /c && cat /c/f; mount -o remount,rw /c 2>/dev/null || echo refused
        exit 42";
    let spec = with_kernel(
        stage,
        SCRIPT,
        json!({
            "root": {"disk": {"fstype": "ext4"}},
            "disks": [{"path": root}, {"path": data, "format": "qcow2"}, {"path": fixed, "read_only": true}],
        }),
    );
    assert_eq!(run(stage, &spec), ("1\nfixed\nrefused\n".to_owned(), 42));
    let raw = dir.join("again.img");
    convert(&data, "raw", &raw);
    assert_eq!((read_ext4(&root, "/made"), read_ext4(&raw, "/made")), ("root\n".to_owned(), "data\n".to_owned()));
    assert!(fs::read(&fixed).unwrap() == before, "the disk was written to");
}

fn convert(from: &Path, format: &str, to: &Path) {
    let output = Command::new("qemu-img").args(["convert", "-O", format]).args([from, to]).output();
    let output = output.expect("qemu-img, of qemu-utils");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where that works; where overlayfs cannot copy a file, it is refused. libkrunfw's kernel does the same as ours.
pub fn an_overlay_takes_what_is_written_and_the_hosts_files_stay(stage: &Stage) {
    const SCRIPT: &str = "cd /workspace && cat f && echo changed > f && cat f && rm old && ls && echo new > made
        stat -c '%a %u' . && echo inner > inner/deep/f && exit 9";
    let (dir, inner) = (stage.dir_with("dir", "of the host\n"), stage.dir("inner"));
    fs::write(dir.join("old"), "").unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    let mounts = json!([
        {"host": dir, "overlay": true}, {"host": inner, "guest": "/workspace/inner/deep"},
    ]);
    let own = with_kernel(stage, SCRIPT, json!({"mounts": mounts}));
    if stage.version < semver::Version::new(1, 19, 6) {
        let problems = stage.problems(&own).join("\n");
        assert!(problems.starts_with("mounts[0].overlay: before 1.19.6"), "{problems}");
        return;
    }
    for spec in [own, spec(stage, SCRIPT, json!({"mounts": mounts}))] {
        let said = "of the host\nchanged\nf\ninner\n750 0\n".to_owned();
        assert_eq!(run(stage, &spec), (said, 9));
        assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), "of the host\n");
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["f", "old"], "the host's directory is as it was");
        assert_eq!(fs::read_to_string(inner.join("f")).unwrap(), "inner\n", "the mount within is none");
        fs::remove_file(inner.join("f")).unwrap();
    }
}

pub fn a_dax_window_works_with_the_fragments_of_dax(stage: &Stage) {
    const SCRIPT: &str = "grep ' /workspace ' /proc/mounts | grep -q dax=always &&
        /workspace/busybox echo through the window && echo written > /workspace/g";
    let dir = stage.dir("dir");
    fs::copy(stage.root.join("bin/busybox"), dir.join("busybox")).unwrap();
    let mounts = json!([{"host": dir, "tag": "share", "dax_mib": 128}]);
    assert_eq!(
        run(stage, &with_kernel(stage, SCRIPT, json!({"mounts": mounts}))),
        ("through the window\n".to_owned(), 0)
    );
    assert_eq!(fs::read_to_string(dir.join("g")).unwrap(), "written\n");
}

pub fn the_kernels_log_is_where_it_was_asked_for(stage: &Stage) {
    let dir = stage.dir("logs");
    let (console, serial) = (dir.join("hvc0"), dir.join("ttyS0"));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let kernel = |line: String| json!({"path": stage.kernel, "cmdline": line});

    let on_hvc0 = kernel(format!("console=hvc0 {LIBKRUNS_INIT}"));
    let spec = with_kernel(stage, "echo out", json!({"kernel": on_hvc0, "console": {"file": console}}));
    assert_eq!(run(stage, &spec), (String::new(), 0));
    // From when hvc0 is there: what the kernel said before is not repeated on it.
    let log = read(&console);
    assert!(log.contains("Run /init.krun as init process") && log.contains("out\r\n"), "{log}");

    // All of it, and the workload's streams stay its own.
    let on_ttys0 = kernel(format!("console=ttyS0 {LIBKRUNS_INIT}"));
    let spec = with_kernel(stage, "echo out", json!({"kernel": on_ttys0, "serial": {"output": serial}}));
    assert_eq!(run(stage, &spec), ("out\n".to_owned(), 0));
    let log = read(&serial);
    assert!(log.contains("Linux version") && !log.contains("out\r\n"), "{log}");
}

/// As SmolVM has it: a disk with an init of its own, and a share that it mounts.
pub fn an_init_of_the_guests_own_on_a_disk(stage: &Stage) {
    let root = stage.own_root();
    init(&root.join("sbin/init"), "echo init speaks");
    let (share, console, disk) = (stage.dir_with("share", "of the host\n"), stage.dir("log"), stage.dir("disk"));
    let (console, disk) = (console.join("console"), disk.join("root.img"));
    ext4(&disk, Some(&root));
    let spec = own_init(
        "console=hvc0 root=/dev/vda rw init=/sbin/init reboot=k panic=-1 quiet",
        stage,
        json!({"disks": [{"path": disk}], "mounts": [share_of(&share)], "console": {"file": console}}),
    );
    end(stage, &spec, &share);
    let log = fs::read_to_string(&console).unwrap();
    assert!(log.contains("init speaks\r\n"), "{log}");
    assert_eq!(read_ext4(&disk, "/made"), "by init\n");
}

pub fn an_init_of_the_guests_own_in_a_directory(stage: &Stage) {
    let root = stage.own_root();
    init(&root.join("sbin/init"), "");
    let share = stage.dir_with("share", "of the host\n");
    let spec = own_init(
        "console=hvc0 root=/dev/root rootfstype=virtiofs rw init=/sbin/init reboot=k panic=-1 quiet",
        stage,
        json!({"root": {"dir": root}, "mounts": [share_of(&share)]}),
    );
    end(stage, &spec, &share);
    assert_eq!(fs::read_to_string(root.join("made")).unwrap(), "by init\n");
}

pub fn an_initial_ram_disk_boots_alone(stage: &Stage) {
    let (tree, share) = (stage.own_root(), stage.dir_with("share", "of the host\n"));
    init(&tree.join("init"), "");
    let initrd = stage.dir("initrd").join("initrd");
    let pack = format!("find . | bin/busybox cpio -o -H newc > {}", initrd.display());
    assert!(Command::new("sh").args(["-c", &pack]).current_dir(&tree).status().unwrap().success());
    let mut spec = own_init("console=hvc0 reboot=k panic=-1 quiet", stage, json!({"mounts": [share_of(&share)]}));
    spec.kernel.as_mut().unwrap().initrd = Some(initrd);
    end(stage, &spec, &share);
}

pub fn the_kernel_says_what_it_was_built_with(stage: &Stage) {
    for file in [stage.kernel.clone(), stage.kernel.with_file_name("config")] {
        let check = check_kernel(&file, Purpose::ALL);
        assert!(check.is_good() && check.kernel.release.is_some(), "{check}");
    }
}

/// A VM without a workload.
fn own_init(line: &str, stage: &Stage, fields: Value) -> VmSpec {
    let mut all = json!({"vcpus": 1, "memory_mib": 256, "kernel": {"path": stage.kernel, "cmdline": line}});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    VmSpec::from_json(&all.to_string()).unwrap()
}

fn share_of(host: &Path) -> Value {
    json!({"host": host, "tag": "share"})
}

/// Mounts the share, says on it what it found there, and restarts the machine, which ends it.
fn init(path: &PathBuf, more: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    let script = format!(
        "#!/bin/sh\n{more}\nmount -t virtiofs share /mnt && cat /mnt/f > /mnt/seen\necho by init > /made\nsync\nreboot -f\n"
    );
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn end(stage: &Stage, spec: &VmSpec, share: &Path) {
    let guest = stage.launch(stage.prepare(spec));
    let said = [all(guest.vm.take_stdout().unwrap()), all(guest.vm.take_stderr().unwrap())].concat();
    let exit = guest.vm.wait().unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&said)));
    assert_eq!(exit, Exit::Unproved(0), "nobody tells how an init of the guest's own ended");
    let seen = fs::read_to_string(share.join("seen"))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&guest.vm.log())));
    assert_eq!(seen, "of the host\n");
}

/// The command with which docs/guest.md begins, with a kernel, a root and a directory in the place of those that it names.
pub fn what_the_documentation_begins_with_runs(stage: &Stage) {
    let text = include_str!("../../docs/guest.md");
    let line = text.lines().find(|line| line.starts_with("krundl run ")).expect("a command");
    let shared = stage.dir_with("shared", "of the host\n");
    let here = |command: String, (name, path): (&str, &Path)| {
        assert_eq!(command.matches(name).count(), 1, "{name} in {command}");
        command.replace(name, path.to_str().expect("a path of UTF-8"))
    };
    let (krundl, library, root) = (Path::new(env!("CARGO_BIN_EXE_krundl")), stage.library(), stage.own_root());
    let places =
        [("KERNEL/vmlinux", &*stage.kernel), (".:/workspace", &shared.join(".:/workspace")), ("./rootfs", &*root)];
    let command = places.into_iter().fold(line.to_owned(), here).replacen("krundl", &krundl.display().to_string(), 1);
    let output = Command::new("sh").args(["-c", &command]).env("KRUNDL_LIBRARY", library).output().expect("sh");
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy);
    assert_eq!((output.status.code(), said[0].as_ref()), (Some(0), ""), "{}", said[1]);
    assert_eq!(fs::read_to_string(shared.join("f")).expect("the host's file"), "of the host\n");
}
