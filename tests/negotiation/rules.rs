//! The rules of the negotiation, one by one.

use krundl::capabilities::Generation;
use krundl::error::ProblemKind;
use krundl::library::{FirmwareKernel, Flavour, Observation};
use krundl::plan::{Channel, Shared};
use krundl::spec::MountPoint;
use krundl::symbols::{Function as F, Functions};
use krundl::{Capabilities, VmSpec, negotiate};
use serde_json::{Value, json};

use super::{built, host, library, lines, mounts, names, plan, refusals, since, spec, spec_without, with_functions};

/// That many mounts of `/srv/N` at `/mnt/N`.
fn many(count: usize) -> Value {
    (0..count).map(|n| json!({"host": format!("/srv/{n}"), "guest": format!("/mnt/{n}")})).collect()
}

fn fields(spec: &VmSpec, library: &Capabilities) -> Vec<String> {
    refusals(spec, library).into_iter().map(|problem| problem.field).collect()
}

#[test]
fn set_root_is_called_only_where_nothing_else_carries_its_window() {
    let dax = |mib: u32| spec(json!({"root": {"dir": "/srv/root", "dax_mib": mib}}));
    assert!(names(&plan(&dax(512), &library("1.8.0"))).contains(&"krun_set_root"));
    assert_eq!(fields(&dax(256), &library("1.8.0")), ["root.dax_mib"], "krun_set_root always takes 512 MiB");
    for release in ["1.9.5", "1.18.0", "1.19.7"] {
        let plan = plan(&dax(512), &library(release));
        assert!(
            lines(&plan).contains(&"krun_add_virtiofs2 dir=/srv/root#0 shm_size=536870912 tag=/dev/root".to_owned())
        );
        assert!(!names(&plan).contains(&"krun_set_root"), "{release}");
    }
    let none = with_functions(library("1.7.2").observation.functions.iter());
    assert_eq!(fields(&dax(0), &none), ["root.dir"], "it would give the root a window that nobody asked for");
}

#[test]
fn a_read_only_root_goes_by_its_tag() {
    let plan = plan(&spec(json!({"root": {"dir": "/srv/root", "read_only": true}})), &library("1.18.0"));
    let root = "krun_add_virtiofs3 dir=/srv/root#0 read_only=true shm_size=0 tag=/dev/root";
    assert!(lines(&plan).contains(&root.to_owned()));
}

#[test]
fn init_never_reads_its_configuration_from_the_root() {
    for release in ["1.8.0", "1.17.4", "1.18.0", "1.19.7"] {
        let lines = lines(&plan(&spec(json!({})), &library(release)));
        let exec = lines.iter().find(|line| line.starts_with("krun_set_exec ")).unwrap();
        assert!(exec.contains(r#"env=["KRUN_CONFIG=/dev/"#), "{release}: {exec}");
    }
}

#[test]
fn nothing_of_the_workload_is_on_the_kernels_command_line() {
    let spec =
        spec(json!({"exec": {"path": "secret", "args": ["secret"], "env": {"A": "secret"}, "workdir": "/secret"}}));
    for release in ["1.8.0", "1.18.0", "1.19.7"] {
        assert!(!lines(&plan(&spec, &library(release))).concat().contains("secret"), "{release}");
    }
}

#[test]
fn an_external_kernel_has_no_vsock_and_speaks_over_a_console_port() {
    let spec = spec(json!({"kernel": {"path": "/boot/vmlinux", "cmdline": "init=/init.krun"}}));
    let plan = plan(&spec, &library("1.17.4"));
    assert_eq!(plan.channel(), Channel::Port);
    assert!(plan.guest.as_ref().unwrap().reopen_stdio);
    let lines = lines(&plan);
    for line in [
        "krun_disable_implicit_vsock",
        "krun_add_virtio_console_multiport",
        "krun_add_console_port_inout input=channel name=krundl output=channel",
        "krun_set_kernel cmdline=init=/init.krun file=/boot/vmlinux#99 format=1 initrd=null",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("krun_add_vsock")), "{lines:#?}");
    // The last console is the one that hears of the terminal's size.
    let at = |name: &str| lines.iter().position(|line| line.starts_with(name)).unwrap();
    assert!(at("krun_add_virtio_console_multiport") < at("krun_add_virtio_console_default"), "{lines:#?}");
}

#[test]
fn an_init_of_the_guests_own_gets_its_devices_and_nothing_of_krundls() {
    let line = "console=hvc0 root=/dev/vda rw init=/sbin/init reboot=k panic=-1";
    let spec = spec_without(
        &["root", "exec"],
        json!({
            "kernel": {"path": "/boot/vmlinux", "cmdline": line, "initrd": "/boot/initrd"},
            "disks": [{"path": "/d/root.img"}],
            "mounts": [{"host": "/srv/a", "guest": "/workspace", "read_only": true}],
        }),
    );
    let plan = plan(&spec, &library("1.19.7"));
    assert_eq!((plan.channel(), &plan.guest), (Channel::None, &None));
    let lines = lines(&plan);
    for line in [
        "krun_disable_implicit_vsock".to_owned(),
        "krun_add_disk disk=/d/root.img#40 id=disk0 read_only=false".to_owned(),
        "krun_add_virtiofs3 dir=/srv/a#1 read_only=true shm_size=0 tag=mount0".to_owned(),
        format!("krun_set_kernel cmdline={line} file=/boot/vmlinux#99 format=1 initrd=/boot/initrd#98"),
    ] {
        assert!(lines.contains(&line), "{line} in {lines:#?}");
    }
    let called = lines.join("\n");
    for none in ["krun_set_exec", "krun_fs_add_overlay", "multiport", "krundl", "/dev/root tag"] {
        assert!(!called.contains(none), "{none} in {called}");
    }
    assert!(plan.notes.iter().any(|note| note.ends_with("mount -t virtiofs mount0 /workspace")), "{:?}", plan.notes);
}

#[test]
fn a_serial_console_on_the_command_line_that_is_not_there_is_told() {
    let notes = |fields: Value| plan(&spec(fields), &library("1.19.7")).notes.join("\n");
    let kernel = json!({"path": "/boot/vmlinux", "cmdline": "console=ttyS0 init=/init.krun rootfstype=virtiofs rw"});
    assert!(notes(json!({"kernel": kernel})).contains("names a serial console, and there is none"));
    assert_eq!(notes(json!({"kernel": kernel, "serial": {"output": "/l/serial"}})), "");
}

#[test]
fn an_overlay_is_a_read_only_share_and_refused_where_overlayfs_fails() {
    let mounts = mounts(json!([{"host": "/srv/a", "overlay": true}, {"host": "/srv/b", "guest": "/workspace/new"}]));
    let mut findings = host(&mounts);
    findings.mounts[1].within = Some(0);
    findings.mounts[1].point = MountPoint::MissingTop;
    let plan = negotiate(&mounts, &findings, &library("1.19.7")).unwrap();
    let share = "krun_add_virtiofs3 dir=/srv/a#1 read_only=true shm_size=0 tag=mount0";
    assert!(lines(&plan).contains(&share.to_owned()), "{:#?}", lines(&plan));
    let guest = plan.guest.unwrap();
    assert_eq!((guest.mounts[0].overlay, guest.mounts[0].read_only), (true, false));
    // The guest makes the mount point in its own memory, so nothing stays that would have to be told.
    assert!(guest.mounts[1].create && plan.notes.is_empty(), "{:?}", plan.notes);

    for release in ["1.8.0", "1.18.0", "1.19.3"] {
        let problems = negotiate(&mounts, &findings, &library(release)).unwrap_err();
        let told = problems.iter().find(|problem| problem.field == "mounts[0].overlay").expect("a refusal");
        assert!(told.fix.as_deref().is_some_and(|fix| fix.contains("1.19.6")), "{told}");
    }
}

#[test]
fn a_build_for_confidential_guests_takes_no_external_kernel() {
    let kernel = spec(json!({"kernel": {"path": "/boot/vmlinux"}}));
    let sev = built("1.19.7", &["amd-sev"]);
    let problems = refusals(&kernel, &sev);
    let refusal = problems.iter().find(|problem| problem.field == "kernel").expect("a refusal");
    assert!(refusal.reason.contains("confidential") && refusal.needs.is_none(), "{refusal}");
    // Known by its name alone where it has no function that tells.
    let plain = library("1.19.7").observation;
    let named = Capabilities::judge(Observation { flavour: Flavour::Tdx, ..plain });
    assert_eq!(fields(&kernel, &named), ["kernel"]);
}

#[test]
fn root_and_six_shares_fit_and_one_less_where_krundl_takes_one_itself() {
    for (release, fit) in [("1.18.0", 5), ("1.19.0", 6)] {
        assert_eq!(fields(&mounts(many(fit)), &library(release)), [""; 0], "{release}");
        let too_many = mounts(many(fit + 2));
        let expected = [format!("mounts[{fit}]"), format!("mounts[{}]", fit + 1)];
        assert_eq!(fields(&too_many, &library(release)), expected, "{release}");
    }
    let mut elsewhere = library("1.19.0").observation;
    elsewhere.architecture = "aarch64".to_owned();
    assert_eq!(fields(&mounts(many(40)), &Capabilities::judge(elsewhere)), [""; 0]);
}

#[test]
fn mounts_are_made_parents_first_and_else_in_the_order_of_the_spec() {
    let at = |guest: &str| json!({"host": "/srv/data", "guest": guest});
    let spec = mounts(json!([at("/a/b/c"), at("/z"), at("/a/b"), at("/a")]));
    let mounts = plan(&spec, &library("1.19.7")).guest.unwrap().mounts;
    assert_eq!(mounts.iter().map(|mount| mount.path.as_str()).collect::<Vec<_>>(), ["/z", "/a", "/a/b", "/a/b/c"]);
    let tags: Vec<&str> = mounts.iter().map(|mount| mount.tag.as_str()).collect();
    assert_eq!(tags, ["mount1", "mount3", "mount2", "mount0"], "each with the tag of its own share");
}

#[test]
fn krundls_own_tags_avoid_those_of_the_spec() {
    let spec = mounts(json!([
        {"host": "/a", "guest": "/a"}, {"host": "/b", "guest": "/b", "tag": "mount0"}, {"host": "/c", "guest": "/c"},
    ]));
    assert_eq!(spec.tags(), ["mount1", "mount0", "mount2"]);
}

#[test]
fn a_missing_mount_point_is_laid_over_the_root_from_1_19_and_made_on_it_before() {
    let spec = mounts(json!([{"host": "/srv/data", "guest": "/new/deep"}]));
    let mut findings = host(&spec);
    findings.mounts[0].point = MountPoint::MissingTop;
    let overlaid = negotiate(&spec, &findings, &library("1.19.0")).unwrap();
    for path in ["new", "new/deep"] {
        let line = format!("krun_fs_add_overlay_dir fs_tag=/dev/root mode=16877 path={path}");
        assert!(lines(&overlaid).contains(&line), "{line}");
    }
    assert!(!overlaid.guest.as_ref().unwrap().mounts[0].create && overlaid.notes.is_empty());
    let made = negotiate(&spec, &findings, &library("1.18.0")).unwrap();
    assert!(made.guest.as_ref().unwrap().mounts[0].create);
    assert!(made.notes.iter().any(|note| note.contains("/new/deep") && note.contains("stays")), "{:?}", made.notes);
    // Below a directory that is there, an overlay would hide what the directory holds.
    findings.mounts[0].point = MountPoint::MissingBelow;
    assert!(negotiate(&spec, &findings, &library("1.19.0")).unwrap().guest.as_ref().unwrap().mounts[0].create);
}

#[test]
fn a_missing_mount_point_on_what_is_read_only_is_refused() {
    let spec = spec(json!({
        "root": {"dir": "/srv/root", "read_only": true},
        "mounts": [
            {"host": "/srv/a", "guest": "/new"},
            {"host": "/srv/b", "guest": "/etc/new"},
            {"host": "/srv/c", "guest": "/mnt", "read_only": true},
            {"host": "/srv/d", "guest": "/mnt/new"},
        ],
    }));
    let mut findings = host(&spec);
    findings.mounts[0].point = MountPoint::MissingTop;
    findings.mounts[1].point = MountPoint::MissingBelow;
    findings.mounts[3].point = MountPoint::MissingTop;
    findings.mounts[3].within = Some(2);
    let refused = |release: &str| -> Vec<(String, Option<String>)> {
        let problems = negotiate(&spec, &findings, &library(release)).unwrap_err();
        assert!(problems.iter().all(|problem| problem.kind == ProblemKind::Host && problem.fix.is_some()));
        problems.into_iter().map(|problem| (problem.field, problem.needs.map(|needs| needs.since))).collect()
    };
    let field = |n: usize| format!("mounts[{n}].guest");
    assert_eq!(refused("1.19.0"), [(field(1), None), (field(3), None)]);
    assert_eq!(refused("1.18.0"), [(field(0), Some("1.19.0".to_owned())), (field(1), None), (field(3), None)]);
}

#[test]
fn before_1_19_the_root_must_bring_a_shell_that_can_mount() {
    let spec = spec(json!({}));
    let mut findings = host(&spec);
    findings.no_shell_mount = Some("the root has no /bin/sh".to_owned());
    assert!(negotiate(&spec, &findings, &library("1.19.0")).is_ok());
    let problems = negotiate(&spec, &findings, &library("1.18.1")).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].reason.contains("no /bin/sh") && problems[0].field == "root.dir", "{}", problems[0]);
    assert_eq!(problems[0].needs.as_ref().unwrap().since, since(F::krun_fs_add_overlay_file));
}

#[test]
fn every_refusal_comes_at_once_with_its_field() {
    let spec = spec(json!({
        "root": {"dir": "/srv/root", "read_only": true},
        "kernel": {"path": "/boot/vmlinux"},
        "mounts": [
            {"host": "/srv/a", "guest": "/a", "read_only": true},
            {"host": "/srv/b", "guest": "/b", "dax_mib": 2},
            {"host": "/srv/c", "guest": "/c", "semantics": "complete"},
        ],
    }));
    assert_eq!(
        fields(&spec, &library("1.8.0")),
        ["kernel", "kernel", "root.read_only", "mounts[0].read_only", "mounts[1].dax_mib", "mounts[2].semantics"]
    );
}

#[test]
fn a_library_without_a_way_for_the_guests_word_is_used_and_that_is_said() {
    let mute = with_functions(library("1.19.7").observation.functions.iter().filter(|f| *f != F::krun_add_vsock_port));
    let plan = plan(&spec(json!({})), &mute);
    assert_eq!(plan.channel(), Channel::None);
    assert!(plan.notes[0].contains("whether the guest is up cannot be told"), "{:?}", plan.notes);
}

#[test]
fn another_generation_is_never_called() {
    let of = library("1.19.7").observation;
    let next = Observation { soname: Some("libkrun.so.2".into()), soname_major: Some(2), ..of.clone() };
    let mut broken = of;
    broken.functions.remove(F::krun_set_exec);
    for (observation, words) in [(next, "libkrun.so.2 is of major 2"), (broken, "it lacks krun_set_exec")] {
        let library = Capabilities::judge(observation);
        assert_eq!(library.generation, Generation::Unknown);
        let problems = refusals(&spec(json!({})), &library);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].reason.contains(words), "{}", problems[0]);
    }
}

#[test]
fn functions_that_the_table_does_not_know_are_left_alone() {
    let of = library("1.19.7").observation;
    let fork = Observation { exported_unknown: vec!["krun_vm_pause".into()], ..of.clone() };
    let (fork, plain) = (Capabilities::judge(fork), Capabilities::judge(of));
    assert_eq!(plan(&spec(json!({})), &fork), plan(&spec(json!({})), &plain));
}

#[test]
fn libkrunfws_kernel_must_fit_into_the_memory() {
    let mut observation = library("1.19.7").observation;
    observation.firmware.kernel = Some(FirmwareKernel { load_address: 16 << 20, size: 20 << 20, release: None });
    let library = Capabilities::judge(observation);
    assert_eq!(fields(&spec(json!({"memory_mib": 35})), &library), ["memory_mib"]);
    assert_eq!(fields(&spec(json!({"memory_mib": 36})), &library), [""; 0]);
    let own = spec(json!({"memory_mib": 8, "kernel": {"path": "/boot/vmlinux"}}));
    assert_eq!(fields(&own, &library), [""; 0], "another kernel is another matter");
}

#[test]
fn an_empty_table_is_refused_and_not_called() {
    let empty = Capabilities::judge(Observation::of_table(&Functions::default()));
    assert_eq!(empty.generation, Generation::Unknown);
    assert_eq!(refusals(&spec(json!({})), &empty).len(), 1);
}

#[test]
fn a_plan_travels_as_json() {
    let plan = plan(&mounts(many(3)), &library("1.18.0"));
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<krundl::Plan>(&text).unwrap(), plan);
    let is_bootstrap = |shared: &Shared| matches!(shared, Shared::Bootstrap { .. });
    assert!(is_bootstrap(&serde_json::from_str::<Shared>(r#"{"bootstrap": true}"#).unwrap()));
}

#[test]
fn a_plan_without_its_channel_calls_for_nothing_of_it() {
    let kernel = json!({"kernel": {"path": "/boot/vmlinux"}});
    let with_port = json!({"kernel": {"path": "/boot/vmlinux"}, "console_ports": [{"name": "more", "output": "/x"}]});
    for (fields, channel, consoles) in [
        (json!({}), Channel::Vsock { port: krundl::plan::CHANNEL_PORT }, 0),
        (kernel, Channel::Port, 0),
        (with_port, Channel::Port, 1),
    ] {
        let with = plan(&spec(fields), &library("1.19.7"));
        assert_eq!(with.channel(), channel);
        let without = with.clone().without_channel();
        assert_eq!(without.channel(), Channel::None);
        let text = serde_json::to_string(&without.calls).unwrap();
        assert!(!text.contains("channel") && !text.contains("\"krundl\""), "{text}");
        let of = |name: &str| names(&without).iter().filter(|found| **found == name).count();
        assert_eq!(of("krun_add_virtio_console_multiport"), consoles);
        assert_eq!(of("krun_add_console_port_inout"), consoles);
        assert!(without.calls.iter().all(|call| with.calls.contains(call)));
    }
}
