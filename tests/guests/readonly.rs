//! What the guest may not write to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::stage::{Stage, mount_option};
use crate::talk::Talk;

/// Every kind of change that a file system has.
const CHANGES: &[&str] = &[
    "echo new > new",
    "echo more >> f",
    ": > f",
    "truncate -s 1 f",
    "dd if=/dev/zero of=f count=1 conv=notrunc",
    "mkdir new",
    "mkfifo new",
    "ln -s f new",
    "ln f new",
    "mv f new",
    "mv dir new",
    "rm -f f",
    "rmdir dir",
    "chmod 777 f",
    "chown 1:1 f",
    "touch -d 2000-01-01 f",
];

/// Also when the guest makes its own side of the mount writable: the host's side refuses.
pub fn a_read_only_mount_refuses_every_write_and_its_neighbour_none(stage: &Stage) {
    const SCRIPT: &str = "
        try() { cd $1 && shift && for change; do
            if words=$(eval \"$change\" 2>&1); then echo \"$change: done\"; else echo \"$change: ${words##*: }\"; fi
        done; }
        modes() { sed -n 's,.* /workspace virtiofs \\(..\\).*,\\1,p' /proc/mounts; }
        modes; try /workspace \"$@\"
        mount -o remount,rw /workspace
        modes; try /workspace \"$@\"
        try /mnt ': > new' 'mv f gone' 'rmdir dir'
        read line || echo stdin is at its end";
    let make = |name: &str| {
        let dir = stage.dir_with(name, "content\n");
        fs::create_dir(dir.join("dir")).unwrap();
        symlink("f", dir.join("link")).unwrap();
        dir
    };
    let (kept, changed) = (make("kept"), make("changed"));
    let before = snapshot(&kept);
    let options = ["--mount", &mount_option(&kept, "/workspace:ro"), "--mount", &mount_option(&changed, "/mnt:rw")];
    let command = [&["sh", "-c", SCRIPT, "sh"], CHANGES].concat();
    let end = Talk::without_stdin(stage.krundl(&options, &stage.root, &command)).end();

    let refused: String = CHANGES.iter().map(|change| format!("{change}: Read-only file system\n")).collect();
    let allowed = ": > new: done\nmv f gone: done\nrmdir dir: done\n";
    end.expect(&format!("ro\n{refused}rw\n{refused}{allowed}stdin is at its end\n"));
    assert_eq!(snapshot(&kept), before);
    assert!(changed.join("gone").exists() && changed.join("new").exists() && !changed.join("dir").exists());
}

/// Everything that a change changes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut paths = vec![dir.to_owned()];
    paths.extend(fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()));
    let state = |path: &PathBuf| {
        let data = fs::symlink_metadata(path).unwrap();
        let times = (data.mtime(), data.mtime_nsec());
        format!("{:?}", (data.ino(), data.mode(), data.uid(), data.nlink(), times, fs::read_to_string(path).ok()))
    };
    paths.into_iter().map(|path| (path.clone(), state(&path))).collect()
}

pub fn a_read_only_root_refuses_writes_and_takes_mounts(stage: &Stage) {
    const SCRIPT: &str = "
        cat $1/f
        echo new > /new
        mount -o remount,rw /
        mkdir /new
        mount -t tmpfs none /tmp && echo kept > /tmp/f && cat /tmp/f
        echo written > $1/f";
    let dir = stage.dir_with("dir", "from the host\n");
    // The first directory of this path is in no root; an overlay provides it although nobody can write there.
    let point = if stage.has_overlays() { "/new-in/the-root" } else { "/workspace" };
    let options = ["--read-only", "--mount", &mount_option(&dir, point)];
    let end = Talk::with(stage.krundl(&options, &stage.root, &["sh", "-c", SCRIPT, "sh", point])).end();
    assert_eq!((end.status, end.text()), (Some(0), "from the host\nkept\n"), "{}", end.stderr);
    assert_eq!(end.stderr.matches("Read-only file system").count(), 2, "{}", end.stderr);
    assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), "written\n");
}

pub fn a_read_only_root_needs_its_mount_points(stage: &Stage) {
    let dir = stage.dir("dir");
    let refused = |point: &str| {
        let options = ["--read-only", "--mount", &mount_option(&dir, point)];
        let end = Talk::with(stage.krundl(&options, &stage.root, &["true"])).end();
        assert_eq!((end.status, end.text()), (Some(125), ""));
        end.stderr
    };
    let later = refused("/mnt/later");
    assert!(later.contains("mounts[0].guest: /mnt/later does not exist in the root"), "{later}");
    if !stage.has_overlays() {
        let first = refused("/new-in/the-root");
        assert!(first.contains("mounts[0].guest: /new-in/the-root does not exist in the root"), "{first}");
        assert!(first.contains("needs krun_fs_add_overlay_dir (libkrun 1.19.0"), "{first}");
    }
}
