//! The calls for one and the same VM with libraries of eight releases, to the letter.

use krundl::plan::{Channel, GuestMount};
use serde_json::json;

use super::{library, lines, mounts, plan};

const BOOTSTRAP: &str = "krun_set_exec args=[\"-c\",\"mount -t virtiofs krundl /dev/shm && exec /dev/shm/guest \
    /dev/shm/orders --detach=/dev/shm\"] env=[\"KRUN_CONFIG=/dev/krundl-no-config\",\
    \"PATH=/bin:/sbin:/usr/bin:/usr/sbin\"] path=/bin/sh";
const OVERLAY: &str =
    "krun_set_exec args=[\"/.krundl/orders\"] env=[\"KRUN_CONFIG=/dev/krundl-no-config\"] path=/.krundl/guest";
const CONFIG: [&str; 2] = ["krun_create_ctx", "krun_set_vm_config ram_mib=512 vcpus=2"];
const CONSOLE: [&str; 2] =
    ["krun_disable_implicit_console", "krun_add_virtio_console_default error=stderr input=stdin output=stdout"];
const VSOCK: [&str; 2] = ["krun_disable_implicit_vsock", "krun_add_vsock tsi_features=1"];
const CHANNEL: &str = "krun_add_vsock_port port=1802663278 socket=channel";
const INIT_LOG: &str = "krun_init_log level=2 options=1 style=2 target=log";
const SHARES: [&str; 2] =
    ["krun_add_virtiofs dir=/srv/root#0 tag=/dev/root", "krun_add_virtiofs dir=/srv/data#1 tag=mount0"];
const LAID_OVER: [&str; 3] = [
    "krun_fs_add_overlay_dir fs_tag=/dev/root mode=16877 path=.krundl",
    "krun_fs_add_overlay_file content=guest_program fs_tag=/dev/root mode=33261 one_shot=false path=.krundl/guest",
    "krun_fs_add_overlay_file content=orders fs_tag=/dev/root mode=33024 one_shot=true path=.krundl/orders",
];
const START: &str = "krun_start_enter";

/// A root, `/srv/data` at `/workspace`, and what else the mount wants.
fn calls(release: &str, wish: serde_json::Value) -> Vec<String> {
    let mut mount = json!({"host": "/srv/data"});
    mount.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
    lines(&plan(&mounts(json!([mount])), &library(release)))
}

#[test]
fn before_1_13_the_log_has_only_a_level_and_all_devices_but_shares_are_implicit() {
    let share = "krun_add_virtiofs dir=(bootstrap) tag=krundl";
    let expected = [&["krun_set_log_level level=2"][..], &CONFIG, &[CHANNEL], &SHARES, &[share], &[BOOTSTRAP, START]];
    assert_eq!(calls("1.8.0", json!({})), expected.concat());
    assert_eq!(calls("1.11.0", json!({})), expected.concat());
}

#[test]
fn from_1_13_the_log_goes_where_krundl_reads_it() {
    let share = "krun_add_virtiofs dir=(bootstrap) tag=krundl";
    let expected = [&[INIT_LOG][..], &CONFIG, &[CHANNEL], &SHARES, &[share], &[BOOTSTRAP, START]];
    assert_eq!(calls("1.13.0", json!({})), expected.concat());
}

#[test]
fn from_1_16_the_console_is_explicit() {
    let share = "krun_add_virtiofs dir=(bootstrap) tag=krundl";
    let expected = [&[INIT_LOG][..], &CONFIG, &CONSOLE, &[CHANNEL], &SHARES, &[share], &[BOOTSTRAP, START]];
    assert_eq!(calls("1.16.0", json!({})), expected.concat());
}

#[test]
fn from_1_17_vsock_is_explicit() {
    let share = "krun_add_virtiofs dir=(bootstrap) tag=krundl";
    let expected = [&[INIT_LOG][..], &CONFIG, &CONSOLE, &VSOCK, &[CHANNEL], &SHARES, &[share], &[BOOTSTRAP, START]];
    assert_eq!(calls("1.17.4", json!({})), expected.concat());
}

#[test]
fn from_1_18_the_bootstrap_share_is_read_only() {
    let share = "krun_add_virtiofs3 dir=(bootstrap) read_only=true shm_size=0 tag=krundl";
    let expected = [&[INIT_LOG][..], &CONFIG, &CONSOLE, &VSOCK, &[CHANNEL], &SHARES, &[share], &[BOOTSTRAP, START]];
    assert_eq!(calls("1.18.0", json!({})), expected.concat());
}

#[test]
fn from_1_19_krundls_program_is_laid_over_the_root() {
    let expected =
        [&[INIT_LOG][..], &CONFIG, &CONSOLE, &VSOCK, &[CHANNEL], &SHARES, &LAID_OVER, &[OVERLAY, START]].concat();
    assert_eq!(calls("1.19.0", json!({})), expected);
    assert_eq!(calls("1.19.7", json!({})), expected);
}

#[test]
fn a_share_takes_the_lowest_function_that_carries_the_wish() {
    let share = |wish| calls("1.19.7", wish).into_iter().find(|line| line.contains("tag=mount0")).unwrap();
    assert_eq!(share(json!({})), "krun_add_virtiofs dir=/srv/data#1 tag=mount0");
    assert_eq!(share(json!({"dax_mib": 64})), "krun_add_virtiofs2 dir=/srv/data#1 shm_size=67108864 tag=mount0");
    assert_eq!(
        share(json!({"read_only": true})),
        "krun_add_virtiofs3 dir=/srv/data#1 read_only=true shm_size=0 tag=mount0"
    );
    assert_eq!(
        share(json!({"semantics": "simplified"})),
        "krun_add_virtiofs4 dir=/srv/data#1 read_only=false semantics=1 shm_size=0 tag=mount0"
    );
    assert_eq!(
        share(json!({"semantics": "complete", "read_only": true, "dax_mib": 2})),
        "krun_add_virtiofs4 dir=/srv/data#1 read_only=true semantics=0 shm_size=2097152 tag=mount0"
    );
}

#[test]
fn what_the_guest_is_told_is_what_the_spec_says() {
    let spec = mounts(json!([{"host": "/srv/data", "guest": "/mnt", "read_only": true, "tag": "data"}]));
    let guest = plan(&spec, &library("1.18.0")).guest.unwrap();
    assert_eq!(guest.channel, Channel::Vsock { port: 0x6b72_756e });
    assert_eq!(
        guest.mounts,
        [GuestMount {
            tag: "data".into(),
            path: "/mnt".into(),
            create: false,
            read_only: true,
            overlay: false,
            dax: false
        }]
    );
    assert_eq!((guest.exec, guest.args), ("/bin/ls".into(), vec!["-l".into()]));
    assert_eq!((guest.env, guest.workdir), (vec!["HOME=/".into(), "PATH=/bin".into()], "/".into()));
    assert!(!guest.reopen_stdio);
}

/// libkrun offers no file for DAX by itself, so that a window that nobody asks for is not used.
#[test]
fn a_dax_window_is_asked_for_in_the_guest() {
    let spec = mounts(json!([{"host": "/srv/a", "guest": "/a", "dax_mib": 2}, {"host": "/srv/b", "guest": "/b"}]));
    let guest = plan(&spec, &library("1.19.7")).guest.unwrap();
    assert_eq!(guest.mounts.iter().map(|mount| mount.dax).collect::<Vec<_>>(), [true, false]);
    let environment = |release: &str, root| {
        let lines = lines(&plan(&super::spec(json!({"root": root})), &library(release)));
        let exec = lines.into_iter().find(|line| line.starts_with("krun_set_exec")).unwrap();
        exec.contains("rootflags=dax=always")
    };
    for release in ["1.9.5", "1.18.0", "1.19.7"] {
        assert!(environment(release, json!({"dir": "/srv/root", "dax_mib": 512})), "{release}");
        assert!(!environment(release, json!({"dir": "/srv/root"})), "{release}");
    }
}

#[test]
fn the_log_level_never_goes_below_errors() {
    for (level, number) in [("off", 1), ("error", 1), ("warn", 2), ("info", 3), ("debug", 4), ("trace", 5)] {
        let spec = super::spec(json!({"log_level": level}));
        assert_eq!(lines(&plan(&spec, &library("1.8.0")))[0], format!("krun_set_log_level level={number}"));
        assert_eq!(
            lines(&plan(&spec, &library("1.13.0")))[0],
            format!("krun_init_log level={number} options=1 style=2 target=log")
        );
    }
}
