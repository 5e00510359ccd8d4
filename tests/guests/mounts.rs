//! Directories of the host in the guest.

use std::fs;

use krundl::spec::Mount;

use crate::stage::{Stage, mount, mount_option};
use crate::talk::{Talk, all};

/// Standard input is a pipe that nobody writes to or closes: the end does not wait for it.
pub fn cat_prints_exactly_the_hosts_bytes(stage: &Stage) {
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let dir = stage.dir_with("dir", &bytes);
    let option = mount_option(&dir, "/workspace");
    let end = Talk::with(stage.krundl(&["--mount", &option], &stage.root, &["cat", "/workspace/f"])).end();
    assert_eq!((end.status, end.stderr.as_str()), (Some(0), ""));
    assert!(end.stdout == bytes, "{} bytes came, and they are not those of the file", end.stdout.len());
}

pub fn both_sides_see_what_the_other_writes(stage: &Stage) {
    const SCRIPT: &str = "
        cat /workspace/f
        mkdir /workspace/made && echo from the guest > /workspace/made/g && rm /workspace/old && echo written
        read the_host_has_written
        cat /workspace/f /workspace/new
        exit 42";
    let dir = stage.dir_with("dir", "from the host\n");
    fs::write(dir.join("old"), "").unwrap();
    let mut guest = stage.sh(&["--mount", &mount_option(&dir, "/workspace")], SCRIPT);
    guest.hear("from the host");
    guest.hear("written");
    assert_eq!(fs::read_to_string(dir.join("made/g")).unwrap(), "from the guest\n");
    assert!(!dir.join("old").exists());

    // Of the same length: a guest that knows a file already knows its length too, for some seconds.
    fs::write(dir.join("f"), "FROM THE HOST\n").unwrap();
    fs::write(dir.join("new"), "new while the guest runs\n").unwrap();
    guest.say("go on");
    guest.hear("FROM THE HOST");
    guest.hear("new while the guest runs");
    let end = guest.end();
    assert_eq!((end.status, end.text(), end.stderr.as_str()), (Some(42), "", ""));
}

/// As many as fit, in the order in which nobody would mount them by hand.
pub fn many_mounts_nested_and_on_new_mount_points(stage: &Stage) {
    let mut points = vec![
        "/workspace/inner/deep", // made in the directory that is mounted on /workspace
        "/workspace",            // exists
        "/new/in/the-root",      // not even its first directory exists
        "/mnt/later",            // its last directory does not exist
        "/dev/of-the-guest",     // in a file system of the guest's own
    ];
    if stage.has_overlays() {
        points.push("/new/in/another");
    }
    let hosts: Vec<_> = points.iter().map(|point| stage.dir_with(&point.replace('/', "-"), *point)).collect();
    const SCRIPT: &str = r#"for point; do
        [ "$(cat $point/f)" = $point ] || echo "$point holds $(cat $point/f)"
        echo seen > $point/seen
    done"#;
    let mut spec = stage.spec(SCRIPT);
    spec.root.as_mut().unwrap().dir = Some(stage.own_root());
    spec.exec.as_mut().unwrap().args.push("sh".into());
    spec.exec.as_mut().unwrap().args.extend(points.iter().map(|point| (*point).into()));
    spec.mounts = points.iter().zip(&hosts).map(|(point, host)| mount(host, point)).collect();

    let prepared = stage.prepare(&spec);
    let notes = prepared.plan.notes.join("\n");
    let guest = stage.launch(prepared);
    let said = [all(guest.vm.take_stdout().unwrap()), all(guest.vm.take_stderr().unwrap())].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(guest.vm.wait().unwrap().success());
    for host in &hosts {
        assert_eq!(fs::read_to_string(host.join("seen")).unwrap(), "seen\n", "{}", host.display());
    }

    // What the guest had to make stays, and was announced.
    let made = |path: &str| spec.root.as_ref().unwrap().dir.as_ref().unwrap().join(path).is_dir();
    assert!(
        hosts[1].join("inner/deep").is_dir() && notes.contains("/workspace/inner/deep does not exist in mounts[1]")
    );
    assert!(made("mnt/later") && notes.contains("/mnt/later does not exist in the root"));
    // Overlays leave the root as it was.
    assert_eq!(made("new/in/the-root"), !stage.has_overlays());
    assert_eq!(notes.contains("/new/in/the-root does not exist"), !stage.has_overlays());

    let n = points.len();
    spec.mounts.push(mount(&hosts[0], "/mnt"));
    let problems = stage.problems(&spec).join("\n");
    let refusal = format!("mounts[{n}]: only {n} mounts fit beside the root");
    assert!(problems.starts_with(&refusal), "{problems}");
}

/// `dax=always` is refused where there is no window. Running a program maps it.
pub fn a_dax_window_is_used_where_it_was_asked_for(stage: &Stage) {
    const SCRIPT: &str = "
        grep ' /workspace ' /proc/mounts | grep -c dax=always
        grep ' /mnt ' /proc/mounts | grep -c dax
        grep ' / ' /proc/mounts | grep -c dax=always
        for tag in with without; do
            umount /mnt
            mount -t virtiofs -o dax=always $tag /mnt && /mnt/busybox echo $tag && echo written > /mnt/g
        done
        true";
    let dirs = [stage.dir("with"), stage.dir("without")];
    for dir in &dirs {
        fs::copy(stage.root.join("bin/busybox"), dir.join("busybox")).unwrap();
    }
    let mut spec = stage.spec(SCRIPT);
    spec.root.as_mut().unwrap().dax_mib = 128;
    spec.mounts = vec![
        Mount { tag: Some("with".to_owned()), dax_mib: 128, ..mount(&dirs[0], "/workspace") },
        Mount { tag: Some("without".to_owned()), ..mount(&dirs[1], "/mnt") },
    ];
    let guest = stage.launch(stage.prepare(&spec));
    let stdout = all(guest.vm.take_stdout().unwrap());
    let stderr = all(guest.vm.take_stderr().unwrap());
    assert!(guest.vm.wait().unwrap().success());
    assert_eq!(String::from_utf8_lossy(&stdout), "1\n0\n1\nwith\n", "{}", String::from_utf8_lossy(&stderr));
    assert!(String::from_utf8_lossy(&stderr).contains("mounting without on /mnt failed: Invalid argument"));
    assert_eq!(fs::read_to_string(dirs[0].join("g")).unwrap(), "written\n");
}

pub fn what_was_checked_is_mounted_although_its_name_leads_elsewhere(stage: &Stage) {
    let (root, dir) = (stage.own_root(), stage.dir_with("dir", "checked\n"));
    let mut spec = stage.spec("cat /workspace/f");
    spec.root.as_mut().unwrap().dir = Some(root.clone());
    spec.mounts.push(mount(&dir, "/workspace"));
    let prepared = stage.prepare(&spec);
    for name in [&root, &dir] {
        fs::rename(name, name.with_extension("away")).unwrap();
        fs::create_dir(name).unwrap();
        fs::write(name.join("f"), "put in its place\n").unwrap();
    }
    let guest = stage.launch(prepared);
    assert_eq!(all(guest.vm.take_stdout().unwrap()), b"checked\n");
    assert!(guest.vm.wait().unwrap().success());
}
