//! Every part of a VM beside root, mounts and workload: which release takes it, and with exactly which calls.

use krundl::capabilities::Capabilities;
use krundl::library::{FeatureState, Observation};
use krundl::plan::{Call, Channel, GuestRoot, ledger};
use krundl::spec::{Findings, MountPoint};
use krundl::symbols::{Feature, Function as F, FunctionSet};
use krundl::{VmSpec, negotiate};
use krundl_test_support::stubs::releases;
use semver::Version;
use serde_json::{Value, json};

use super::{built, host, library, lines, names, plan, refusals, since, spec, spec_without, with_functions};

fn fields(spec: &VmSpec, library: &Capabilities) -> Vec<String> {
    refusals(spec, library).into_iter().map(|problem| problem.field).collect()
}

/// A newest library that says what it was built with.
fn with_features(state: FeatureState) -> Capabilities {
    let features = Feature::ALL.iter().map(|feature| (*feature, state)).collect();
    // Of a build for confidential guests it has nothing but the answer.
    let mut observation = Observation { features, ..library("1.19.7").observation };
    observation.features.insert(Feature::Tee, FeatureState::No);
    Capabilities::judge(observation)
}

fn on(architecture: &str) -> Capabilities {
    let observation = library("1.19.7").observation;
    Capabilities::judge(Observation { architecture: architecture.to_owned(), ..observation })
}

fn firmware(more: Value) -> VmSpec {
    let mut fields = json!({"firmware": "/fw/ovmf"});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec_without(&["root", "exec"], fields)
}

fn root_disk(disk: Value) -> VmSpec {
    spec(json!({"root": {"disk": disk}, "disks": [{"path": "/d/root.img"}]}))
}

/// A wish, and each function that it takes with the field that is refused without it.
type Wish = (VmSpec, &'static [(&'static str, F)]);

fn wishes() -> Vec<Wish> {
    let nic = |nic: Value| spec(json!({"nics": [nic]}));
    let disk = |fields: Value| {
        let mut disk = json!({"path": "/d/a.img"});
        disk.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        spec(json!({"disks": [disk]}))
    };
    vec![
        (disk(json!({})), &[("disks[0].path", F::krun_add_disk)]),
        (disk(json!({"read_only": true, "id": "data"})), &[("disks[0].path", F::krun_add_disk)]),
        (disk(json!({"format": "qcow2"})), &[("disks[0].format", F::krun_add_disk2)]),
        (disk(json!({"format": "vmdk", "read_only": true})), &[("disks[0].format", F::krun_add_disk2)]),
        (disk(json!({"direct_io": true})), &[("disks[0].direct_io", F::krun_add_disk3)]),
        (disk(json!({"sync": "none"})), &[("disks[0].sync", F::krun_add_disk3)]),
        (root_disk(json!({})), &[("root.disk", F::krun_set_root_disk_remount), ("disks[0].path", F::krun_add_disk)]),
        (firmware(json!({})), &[("firmware", F::krun_set_firmware), ("firmware", F::krun_disable_implicit_vsock)]),
        (spec(json!({"kernel_console": "hvc0"})), &[("kernel_console", F::krun_set_kernel_console)]),
        (spec(json!({"tsi": {"ports": [{"host": 8080, "guest": 80}]}})), &[]),
        (spec(json!({"tsi": {"inet": false}})), &[("tsi.inet", F::krun_add_vsock)]),
        (spec(json!({"tsi": {"unix": true}})), &[("tsi.unix", F::krun_add_vsock)]),
        (nic(json!({"tap": "tap0"})), &[("nics[0]", F::krun_add_net_tap)]),
        (spec(json!({"vsock": {"ports": [{"port": 7, "path": "/s/a"}]}})), &[]),
        (
            spec(json!({"vsock": {"ports": [{"port": 7, "path": "/s/a", "listen": true}]}})),
            &[("vsock.ports[0]", F::krun_add_vsock_port2)],
        ),
        (spec(json!({"control": "private"})), &[("control", F::krun_add_vsock_port2)]),
        (spec(json!({"console": {"file": "/l/console"}})), &[]),
        (spec(json!({"console": "none"})), &[("console", F::krun_add_virtio_console_default)]),
        (spec(json!({"serial": {"output": "/l/serial"}})), &[("serial", F::krun_add_serial_console_default)]),
        (
            spec(json!({"console_ports": [{"name": "log", "output": "/l/port"}]})),
            &[("console_ports[0]", F::krun_add_console_port_inout)],
        ),
        (
            spec(json!({"console_ports": [{"name": "tty", "tty": "/dev/tty1"}]})),
            &[("console_ports[0]", F::krun_add_console_port_tty)],
        ),
        (spec(json!({"rlimits": {"NOFILE": {"soft": 64}}})), &[]),
        (spec(json!({"uid": 1000})), &[("uid", F::krun_setuid)]),
        (spec(json!({"gid": 1000})), &[("gid", F::krun_setgid)]),
        (spec(json!({"nested_virt": true})), &[("nested_virt", F::krun_set_nested_virt)]),
        (spec(json!({"split_irqchip": true})), &[("split_irqchip", F::krun_split_irqchip)]),
        (
            spec(json!({"overlay": {"files": [{"path": "/motd", "text": "hello"}]}})),
            &[("overlay.files", F::krun_fs_add_overlay_file)],
        ),
        (spec(json!({"log_file": "/l/log"})), &[]),
    ]
}

fn all_since_1_8() -> impl Iterator<Item = String> {
    releases().into_iter().map(|release| release.version).skip_while(|version| version != "1.8.0")
}

#[test]
fn each_part_is_granted_from_the_release_that_brought_its_function_on() {
    let version = |text: &str| text.parse::<Version>().unwrap();
    let mut seen = [0, 0];
    for release in all_since_1_8() {
        let library = library(&release);
        for (spec, needed) in wishes() {
            let missing = needed.iter().filter(|(_, function)| version(&since(*function)) > version(&release));
            let mut expected: Vec<_> = missing.map(|(field, function)| (field.to_string(), *function)).collect();
            let mut told: Vec<_> = refusals(&spec, &library)
                .iter()
                .map(|problem| (problem.field.clone(), problem.needs.clone().expect("a function").function))
                .collect();
            expected.sort();
            told.sort();
            assert_eq!(told, expected, "{release}: {}", spec.to_json());
            seen[usize::from(expected.is_empty())] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "refused and granted: {seen:?}");
}

/// The lines that a spec adds to those of a bare one with the newest libkrun.
fn added(fields: Value) -> Vec<String> {
    let library = library("1.19.7");
    let bare = lines(&plan(&spec(json!({})), &library));
    lines(&plan(&spec(fields), &library)).into_iter().filter(|line| !bare.contains(line)).collect()
}

#[test]
fn each_part_is_these_calls() {
    let port = |listen: bool| json!({"vsock": {"ports": [{"port": 7, "path": "/s/a.sock", "listen": listen}]}});
    for (fields, expected) in [
        (json!({"disks": [{"path": "/d/a"}]}), vec!["krun_add_disk disk=/d/a#40 id=disk0 read_only=false"]),
        (
            json!({"disks": [{"path": "/d/a", "id": "disk0", "read_only": true}, {"path": "/d/b", "format": "qcow2"}]}),
            vec![
                "krun_add_disk disk=/d/a#40 id=disk0 read_only=true",
                "krun_add_disk2 disk=/d/b format=1 id=disk1 read_only=false",
            ],
        ),
        (
            json!({"disks": [{"path": "/d/a", "format": "vmdk", "read_only": true, "direct_io": true, "sync": "relaxed"}]}),
            vec!["krun_add_disk3 direct_io=true disk=/d/a format=2 id=disk0 read_only=true sync_mode=1"],
        ),
        (
            json!({"disks": [{"path": "/d/a", "direct_io": true}]}),
            vec!["krun_add_disk3 direct_io=true disk=/d/a#40 format=0 id=disk0 read_only=false sync_mode=2"],
        ),
        (json!({"kernel_console": "hvc0"}), vec!["krun_set_kernel_console console=hvc0"]),
        (
            json!({"serial": {"input": "/l/in", "output": "/l/out"}, "kernel_console": "ttyS0"}),
            vec![
                r#"krun_add_serial_console_default input={"held":72} output={"held":73}"#,
                "krun_set_kernel_console console=ttyS0",
            ],
        ),
        (
            json!({"tsi": {"ports": [{"host": 8080, "guest": 80}, {"host": 22, "guest": 22}]}}),
            vec![r#"krun_set_port_map ports=["8080:80","22:22"]"#],
        ),
        (json!({"tsi": {"unix": true}}), vec!["krun_add_vsock tsi_features=3"]),
        (json!({"tsi": {"inet": false}}), vec!["krun_add_vsock tsi_features=0"]),
        (port(false), vec!["krun_add_vsock_port port=7 socket=/s#60/a.sock"]),
        (port(true), vec!["krun_add_vsock_port2 listen=true port=7 socket=/s#60/a.sock"]),
        (
            json!({"nics": [{"unixstream": "/s/passt"}, {"tap": "tap0", "mac": "02:00:00:00:00:01"}]}),
            vec![
                "krun_add_vsock tsi_features=0",
                "krun_add_net_unixstream features=19587 flags=0 mac=5a:94:ef:e4:0c:ee socket=/s/passt#50",
                "krun_add_net_tap features=19587 flags=0 mac=02:00:00:00:00:01 name=tap0",
            ],
        ),
        (
            json!({"nics": [{"unixgram": "/s/gv", "vfkit": true, "features": ["csum", "host_tso6"]}]}),
            vec![
                "krun_add_vsock tsi_features=0",
                "krun_add_net_unixgram features=4097 flags=1 mac=5a:94:ef:e4:0c:ee socket=/s/gv#51",
            ],
        ),
        (
            json!({"nics": [{"passt": {"ports": [{"guest": 22}]}}, {"passt": {}}]}),
            vec![
                "krun_add_vsock tsi_features=0",
                r#"krun_add_net_unixstream features=19587 flags=0 mac=5a:94:ef:e4:0c:ee socket={"network":0}"#,
                r#"krun_add_net_unixstream features=19587 flags=0 mac=5a:94:ef:e4:0c:ef socket={"network":1}"#,
            ],
        ),
        (
            json!({"nics": [{"gvproxy": {"ports": [{"guest": 22}]}}]}),
            vec![
                "krun_add_vsock tsi_features=0",
                r#"krun_add_net_unixstream features=19587 flags=0 mac=5a:94:ef:e4:0c:ee socket={"network":0}"#,
            ],
        ),
        (json!({"console": "none"}), vec!["krun_add_virtio_console_default error=null input=null output=null"]),
        (json!({"console": {"file": "/l/console"}}), vec!["krun_set_console_output file=/l/console#70"]),
        (
            json!({"console_ports": [{"name": "a", "input": "/l/in"}, {"name": "b", "tty": "/dev/tty1"}]}),
            vec![
                "krun_add_virtio_console_multiport",
                r#"krun_add_console_port_inout input={"held":74} name=a output=null"#,
                r#"krun_add_console_port_tty name=b tty={"held":76}"#,
            ],
        ),
        (
            json!({"rlimits": {"NOFILE": {"soft": 64, "hard": 128}, "CORE": {"soft": 0}}}),
            vec![r#"krun_set_rlimits rlimits=["4=0:0","7=64:128"]"#],
        ),
        (json!({"uid": 1000, "gid": 100}), vec!["krun_setgid gid=100", "krun_setuid uid=1000"]),
        (json!({"nested_virt": true}), vec!["krun_set_nested_virt enabled=true"]),
        (json!({"split_irqchip": true}), vec!["krun_split_irqchip enable=true"]),
        (
            json!({"overlay": {
                "files": [{"path": "/motd", "text": "hi"}, {"path": "/conf/x/y", "from": "/h/y", "mode": 256}],
                "dirs": [{"path": "/conf/x", "mode": 448}],
            }}),
            vec![
                "krun_fs_add_overlay_dir fs_tag=/dev/root mode=16877 path=conf",
                "krun_fs_add_overlay_dir fs_tag=/dev/root mode=16832 path=conf/x",
                r#"krun_fs_add_overlay_file content={"text":"hi"} fs_tag=/dev/root mode=33188 one_shot=false path=motd"#,
                r#"krun_fs_add_overlay_file content={"file":{"held":30,"path":"/h/y"}} fs_tag=/dev/root mode=33024 one_shot=false path=conf/x/y"#,
            ],
        ),
    ] {
        let text = fields.to_string();
        assert_eq!(added(fields), expected, "{text}");
    }
}

#[test]
fn other_ports_are_closed_by_old_releases_only_and_a_promise_that_is_not_kept_is_refused() {
    let only = |ports: Value| spec(json!({"tsi": {"ports": ports, "only_ports": true}}));
    let one = json!([{"host": 8080, "guest": 80}]);
    let closed = plan(&only(json!([])), &library("1.16.0"));
    assert!(lines(&closed).contains(&"krun_set_port_map ports=[]".to_owned()), "an empty map, not none");
    for release in ["1.17.0", "1.18.0", "1.19.7"] {
        assert_eq!(fields(&only(one.clone()), &library(release)), ["tsi.only_ports"], "{release}");
    }
    let renamed = spec(json!({"tsi": {"ports": one}}));
    for (release, words) in [("1.16.0", "stay closed"), ("1.19.7", "are open")] {
        let plan = plan(&renamed, &library(release));
        assert!(lines(&plan).contains(&r#"krun_set_port_map ports=["8080:80"]"#.to_owned()));
        assert!(plan.notes.iter().any(|note| note.contains(words)), "{release}: {:?}", plan.notes);
    }
}

#[test]
fn a_passt_is_started_first_and_reaches_this_hosts_loopback_only_where_that_is_wished_for() {
    let spec = spec(json!({"nics": [{"passt": {
        "ports": [{"host": 2222, "guest": 22}, {"guest": 53, "protocol": "udp", "address": "0.0.0.0"}],
        "host_loopback": true,
    }}]}));
    for release in ["1.14.0", "1.19.7"] {
        let plan = plan(&spec, &library(release));
        assert_eq!(
            plan.to_string().lines().skip(1).take(3).collect::<Vec<_>>(),
            [
                "started first, for nics[0].passt: /usr/bin/passt --foreground --quiet --address 10.0.2.15 \
                 --netmask 24 --gateway 10.0.2.2 --dns 192.0.2.53",
                "     tcp 127.0.0.1:2222 -> guest port 22",
                "     udp 0.0.0.0:any -> guest port 53",
            ]
        );
    }
    let mut findings = host(&spec);
    findings.resolvers.clear();
    let closed = self::spec(json!({"nics": [{"passt": {}}]}));
    let plan = negotiate(&closed, &findings, &library("1.19.7")).unwrap();
    let args = plan.networks[0].args.join(" ");
    assert!(args.ends_with("--dns none --tcp-ports none --udp-ports none --no-map-gw"), "{args}");
    assert!(plan.notes.iter().any(|note| note.contains("/etc/resolv.conf")), "{:?}", plan.notes);
}

#[test]
fn a_gvproxy_is_started_first_and_the_guest_has_the_address_to_which_its_ports_lead() {
    let spec = spec(json!({"nics": [{"gvproxy": {"ports": [{"host": 2222, "guest": 22}]}}]}));
    for (release, call) in [("1.14.0", "krun_set_passt_fd"), ("1.19.7", "krun_add_net_unixstream")] {
        let plan = plan(&spec, &library(release));
        assert_eq!(
            plan.to_string().lines().skip(1).take(2).collect::<Vec<_>>(),
            [
                "started first, for nics[0].gvproxy: /usr/libexec/podman/gvproxy -mtu 1500",
                "     tcp 127.0.0.1:2222 -> guest port 22",
            ]
        );
        let card = lines(&plan).into_iter().find(|line| line.starts_with(call)).expect("a card");
        assert!(card.ends_with(r#"socket={"network":0}"#), "{card}");
        let [card] = &plan.guest.as_ref().unwrap().nics[..] else { panic!("one card") };
        let address = "192.168.127.2".parse().unwrap();
        let gateway = "192.168.127.1".parse().unwrap();
        assert_eq!(card.setup, krundl::plan::NicSetup::Static { address, prefix: 24, gateway: Some(gateway) });
        assert_eq!(card.dns, Some(vec![gateway.into()]));
    }
    let dhcp = self::spec(json!({"nics": [{"gvproxy": {}, "dhcp": true}]}));
    let card = &plan(&dhcp, &library("1.19.7")).guest.unwrap().nics[0];
    assert_eq!((&card.setup, &card.dns), (&krundl::plan::NicSetup::Dhcp, &None));
}

#[test]
fn a_console_in_a_file_is_the_implicit_one() {
    let plan = plan(&spec(json!({"console": {"file": "/l/console"}})), &library("1.19.7"));
    assert!(!names(&plan).contains(&"krun_disable_implicit_console"), "{:#?}", lines(&plan));
}

#[test]
fn before_1_19_libkruns_init_enters_a_disk_and_from_then_on_krundls_program() {
    let disk = json!({"device": "/dev/vda1", "fstype": "ext4", "options": "data=ordered"});
    let spec = spec(json!({
        "root": {"disk": disk, "read_only": true}, "disks": [{"path": "/d/root.img", "read_only": true}],
        "mounts": [{"host": "/srv/data"}],
    }));
    let mut findings = host(&spec);
    findings.mounts[0].point = MountPoint::Unknown;
    let old = negotiate(&spec, &findings, &library("1.18.0")).unwrap();
    let at = |plan: &krundl::Plan, name| names(plan).iter().position(|made| *made == name).unwrap();
    assert!(at(&old, "krun_add_disk") < at(&old, "krun_set_root_disk_remount"));
    let remount = "krun_set_root_disk_remount device=/dev/vda1 fstype=ext4 options=ro,data=ordered";
    assert!(lines(&old).contains(&remount.to_owned()));
    assert!(!lines(&old).iter().any(|line| line.contains("tag=/dev/root")), "two roots");
    assert!(old.notes.iter().any(|note| note.contains("/bin/sh")), "{:?}", old.notes);
    let guest = old.guest.unwrap();
    assert!(guest.root.is_none() && guest.root_on_disk && guest.mounts[0].create);

    let new = negotiate(&spec, &findings, &library("1.19.0")).unwrap();
    let made = lines(&new);
    let share = made.iter().position(|line| line == "krun_add_virtiofs dir=(nothing) tag=/dev/root").unwrap();
    for dir in ["dev", "proc", "sys", "newroot", ".krundl"] {
        let line = format!("krun_fs_add_overlay_dir fs_tag=/dev/root mode=16877 path={dir}");
        assert!(made[share..].contains(&line), "{line}");
    }
    assert!(!names(&new).contains(&"krun_set_root_disk_remount"), "the exit status would not travel");
    let guest = new.guest.unwrap();
    let root = GuestRoot {
        device: "/dev/vda1".to_owned(),
        fstype: Some("ext4".to_owned()),
        options: Some("data=ordered".to_owned()),
        read_only: true,
    };
    assert_eq!(guest.root, Some(root));
    assert!(guest.root_on_disk && guest.mounts[0].create);
}

#[test]
fn options_that_libkruns_init_passes_on_wrongly_are_refused_before_1_19() {
    let spec = root_disk(json!({"options": "data=ordered,noatime"}));
    assert_eq!(fields(&spec, &library("1.18.0")), ["root.disk.options"]);
    assert_eq!(fields(&spec, &library("1.19.0")), [""; 0]);
}

#[test]
fn a_root_on_a_disk_takes_a_disk() {
    for device in ["/dev/vda", "/dev/sda"] {
        let spec = spec(json!({"root": {"disk": {"device": device}}}));
        for release in all_since_1_8() {
            assert_eq!(fields(&spec, &library(&release)), ["root.disk"], "{release}");
        }
        // The check on the host says so as well, and it is told once.
        let error = krundl::prepare(&spec, &library("1.19.7")).unwrap_err();
        let told = format!("the root is on {device}, and the spec has no disks");
        assert!(matches!(error.problems(), [one] if one.reason == told), "{error}");
    }
}

#[test]
fn nothing_can_be_laid_over_a_root_on_a_disk() {
    let spec = spec(json!({
        "root": {"disk": {}}, "disks": [{"path": "/d/a"}], "overlay": {"files": [{"path": "/f", "text": ""}]},
    }));
    assert_eq!(fields(&spec, &library("1.19.7")), ["overlay.files"]);
}

#[test]
fn firmware_boots_alone() {
    let plan = plan(&firmware(json!({"disks": [{"path": "/d/a"}]})), &library("1.19.7"));
    assert_eq!(
        lines(&plan)[1..],
        [
            "krun_create_ctx",
            "krun_set_vm_config ram_mib=512 vcpus=2",
            "krun_disable_implicit_console",
            "krun_add_virtio_console_default error=stderr input=stdin output=stdout",
            "krun_add_serial_console_default input=null output=null",
            "krun_disable_implicit_vsock",
            "krun_add_disk disk=/d/a#40 id=disk0 read_only=false",
            "krun_set_firmware file=/fw/ovmf#97",
            "krun_start_enter",
        ]
    );
    assert_eq!(plan.channel(), Channel::None);
    assert!(plan.guest.is_none() && plan.notes[0].contains("cannot be told"), "{:?}", plan.notes);
}

#[test]
fn another_kernel_has_a_vsock_device_only_for_ports_and_never_tsi() {
    let ports = json!([{"port": 7, "path": "/s/a"}]);
    let asked = spec(json!({"kernel": {"path": "/boot/vmlinux"}, "vsock": {"ports": ports}}));
    let made = plan(&asked, &library("1.19.7"));
    assert!(lines(&made).contains(&"krun_add_vsock tsi_features=0".to_owned()));
    assert_eq!(made.channel(), Channel::Port);
    let without = fields(&asked, &library("1.16.0"));
    assert!(without.contains(&"vsock".to_owned()), "{without:?}");
}

#[test]
fn the_control_port_is_a_socket_in_a_directory_of_its_own_or_where_it_was_asked_for() {
    use krundl::plan::{CONTROL_PORT, Fd, Socket};
    let private = spec(json!({"control": "private"}));
    let made = plan(&private, &library("1.19.7"));
    assert!(lines(&made).contains(&format!("krun_add_vsock_port2 listen=true port={CONTROL_PORT} socket=control")));
    assert_eq!(
        (made.guest.as_ref().unwrap().control, made.control()),
        (Some(CONTROL_PORT), Some(&Socket::Ours(Fd::Control)))
    );
    assert!(made.sockets.is_empty(), "it goes with its directory");
    let alone = made.without_channel();
    assert_eq!((alone.control(), alone.guest.as_ref().unwrap().control), (None, None), "nobody would know of it");

    let at = spec(json!({"control": {"socket": "/s/web.sock"}}));
    let made = plan(&at, &library("1.10.0"));
    assert!(
        lines(&made).contains(&format!("krun_add_vsock_port2 listen=true port={CONTROL_PORT} socket=/s#65/web.sock"))
    );
    assert_eq!(made.sockets, [std::path::Path::new("/s/web.sock")]);
    assert_eq!(plan(&spec(json!({})), &library("1.19.7")).guest.unwrap().control, None);

    // Another kernel has a vsock device for it, without TSI, which takes a line as ports do.
    let kernel = |more: Value| {
        let mut fields = json!({"kernel": {"path": "/boot/vmlinux"}, "control": "private"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec(fields)
    };
    let made = plan(&kernel(json!({})), &library("1.19.7"));
    assert!(lines(&made).contains(&"krun_add_vsock tsi_features=0".to_owned()));
    assert_eq!((made.channel(), made.guest.unwrap().control), (Channel::Port, Some(CONTROL_PORT)));
    assert_eq!(fields(&kernel(json!({})), &library("1.16.0")), ["control"]);
}

#[test]
fn a_card_replaces_tsi_and_the_channel_keeps_its_device() {
    let card = spec(json!({"nics": [{"unixstream": "/s/passt"}]}));
    for release in ["1.15.0", "1.17.4", "1.19.7"] {
        let plan = plan(&card, &library(release));
        assert!(!lines(&plan).contains(&"krun_add_vsock tsi_features=1".to_owned()), "{release}");
        assert!(matches!(plan.channel(), Channel::Vsock { .. }), "{release}");
    }
}

#[test]
fn before_1_15_there_is_one_card_and_what_it_cannot_do_is_refused() {
    let old = library("1.14.0");
    let card = |card: Value| spec(json!({"nics": [card]}));
    let passt = plan(&card(json!({"unixstream": "/s/passt", "mac": "02:00:00:00:00:01"})), &old);
    let made = lines(&passt);
    let at = made.iter().position(|line| line == "krun_set_passt_fd socket=/s/passt#50").expect("passt");
    assert_eq!(made[at + 1], "krun_set_net_mac mac=02:00:00:00:00:01");
    assert!(passt.notes.iter().any(|note| note.contains("built with net")), "{:?}", passt.notes);
    let gvproxy = plan(&card(json!({"unixgram": "/s/gv", "vfkit": true})), &old);
    assert!(lines(&gvproxy).contains(&"krun_set_gvproxy_path socket=/s/gv#51".to_owned()));
    for (nic, field) in [
        (json!({"unixgram": "/s/gv"}), "nics[0].vfkit"),
        (json!({"unixstream": "/s/p", "features": ["csum"]}), "nics[0].features"),
        (json!({"tap": "tap0"}), "nics[0]"),
    ] {
        assert_eq!(fields(&card(nic.clone()), &old), [field], "{nic}");
    }
    let two = spec(json!({"nics": [{"unixstream": "/s/a"}, {"unixstream": "/s/b"}]}));
    assert_eq!(fields(&two, &old), ["nics[1]"]);
    // Not even where a build has a function for another kind: libkrun takes no card beside the one.
    let odd = with_functions(old.observation.functions.iter().chain([F::krun_add_net_tap]));
    let two = spec(json!({"nics": [{"unixstream": "/s/a"}, {"tap": "tap0"}]}));
    assert_eq!(fields(&two, &odd), ["nics[1]"]);
    let needed = |library| refusals(&two, library)[0].needs.as_ref().unwrap().function;
    assert_eq!(needed(&odd), F::krun_add_net_unixstream, "so that the first is not the only one");
    assert_eq!(needed(&old), F::krun_add_net_tap);
    let usual = ["csum", "guest_csum", "guest_tso4", "guest_ufo", "host_tso4", "host_ufo"];
    assert_eq!(fields(&card(json!({"unixstream": "/s/p", "features": usual})), &old), [""; 0]);
    // The same, once a build says what it lacks.
    let problems = refusals(&card(json!({"unixstream": "/s/p"})), &built("1.19.7", &["blk"]));
    let needs = problems[0].needs.as_ref().unwrap();
    assert_eq!((needs.function, needs.built_with.as_deref()), (F::krun_add_net_unixstream, Some("net")));
}

#[test]
fn krundls_program_sets_up_the_cards_of_which_the_spec_says_how_with_any_release() {
    let spec = spec(json!({"nics": [
        {"passt": {}}, {"tap": "tap0", "address": "192.0.2.7/24", "dns": ["192.0.2.1"], "optional": true},
        {"tap": "tap1", "dhcp": true}, {"tap": "tap2"}, {"passt": {}, "address": "10.9.8.1/28"},
    ]}));
    let plan = plan(&spec, &library("1.15.0"));
    assert!(lines(&plan).iter().filter(|line| line.contains("_net_")).all(|line| line.contains("flags=0")));
    let shown: Vec<String> =
        plan.to_string().lines().filter_map(|line| Some(line.split_once("network card ")?.1.to_owned())).collect();
    assert_eq!(
        shown,
        [
            "5a:94:ef:e4:0c:ee: address 10.0.2.15/24, gateway 10.0.2.2, name server 192.0.2.53",
            "5a:94:ef:e4:0c:ef: address 192.0.2.7/24, name server 192.0.2.1",
            "5a:94:ef:e4:0c:f0: address by DHCP",
            "5a:94:ef:e4:0c:f2: address 10.9.8.1/28, gateway 10.9.8.2, name server 192.0.2.53",
        ]
    );
    assert!(plan.networks[1].args.join(" ").contains("--address 10.9.8.1 --netmask 28 --gateway 10.9.8.2"));
    let cards = plan.guest.unwrap().nics;
    assert_eq!(cards.iter().map(|card| card.optional).collect::<Vec<_>>(), [false, true, false, false]);
}

#[test]
fn name_servers_need_a_file_to_be_laid_over() {
    let root = |read_only: bool| json!({"dir": "/srv/root", "read_only": read_only});
    let card = |dns: Value, read_only| spec(json!({"nics": [{"passt": {}, "dns": dns}], "root": root(read_only)}));
    let negotiated = |spec: &VmSpec| {
        let findings = Findings { resolv_conf: Some(false), ..host(spec) };
        negotiate(spec, &findings, &library("1.19.7"))
    };
    let plan = negotiated(&card(Value::Null, false)).unwrap();
    assert!(plan.notes[0].contains("no /etc/resolv.conf; the guest makes an empty one"), "{:?}", plan.notes);
    let plan = negotiated(&card(Value::Null, true)).unwrap();
    assert!(plan.notes[0].contains("is told no name servers"), "{:?}", plan.notes);
    assert_eq!(plan.guest.unwrap().nics[0].dns, Some(Vec::new()));
    let problems = negotiated(&card(json!(["192.0.2.1"]), true)).unwrap_err();
    assert_eq!(problems[0].field, "nics[0].dns");
    assert!(negotiated(&card(json!([]), true)).unwrap().notes.is_empty());
}

#[test]
fn what_only_some_builds_mean_is_refused_unless_this_one_says_that_it_does() {
    let wish = spec(json!({
        "gpu": {"virgl_flags": 5}, "sound": true, "inputs": ["/dev/input/event0"],
        "displays": [
            {"width": 800, "height": 600, "refresh_rate": 60, "dpi": 96, "physical_size_mm": [300, 200]},
            {"width": 1, "height": 1, "edid": "/e/edid"},
        ],
    }));
    let expected = ["displays[0]", "displays[1]", "gpu", "inputs[0]", "sound"];
    for (state, words) in [
        (FeatureState::No, ["refuses it", "does nothing"].as_slice()),
        (FeatureState::Unknown, &["is unknown"]),
        (FeatureState::Unasked, &["is unknown"]),
    ] {
        let problems = refusals(&wish, &with_features(state));
        let mut told: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{state:?}");
        for problem in &problems {
            assert!(words.iter().any(|word| problem.reason.contains(word)), "{state:?}: {problem}");
            assert!(problem.needs.as_ref().unwrap().built_with.is_some(), "{problem}");
        }
    }
    let granted = plan(&wish, &with_features(FeatureState::Yes));
    let made: Vec<String> = lines(&granted)
        .into_iter()
        .filter(|line| ["gpu", "display", "snd", "input_"].iter().any(|word| line.contains(word)))
        .collect();
    assert_eq!(
        made,
        [
            "krun_set_gpu_options virgl_flags=5",
            "krun_add_display height=600 width=800",
            "krun_display_set_physical_size height_mm=200 width_mm=300",
            "krun_display_set_refresh_rate refresh_rate=60",
            "krun_display_set_dpi dpi=96",
            "krun_add_display height=1 width=1",
            "krun_display_set_edid file=/e/edid#80",
            "krun_set_snd_device enable=true",
            r#"krun_add_input_device_fd device={"held":81}"#,
        ]
    );
    let window = spec(json!({"gpu": {"shm_mib": 256}}));
    let window = lines(&plan(&window, &with_features(FeatureState::Yes)));
    assert!(window.contains(&"krun_set_gpu_options2 shm_size=268435456 virgl_flags=0".to_owned()));
}

#[test]
fn silent_no_ops_of_an_architecture_are_refused() {
    let strings = spec(json!({"smbios_oem_strings": ["a=b"]}));
    assert_eq!(fields(&strings, &on("x86_64")), ["smbios_oem_strings"]);
    let made = lines(&plan(&strings, &on("aarch64")));
    assert!(made.contains(&r#"krun_set_smbios_oem_strings oem_strings=["a=b"]"#.to_owned()));
    for field in ["nested_virt", "split_irqchip"] {
        let wish = spec(json!({field: true}));
        assert_eq!(fields(&wish, &on("aarch64")), [field]);
        assert_eq!(fields(&wish, &on("x86_64")), [""; 0]);
    }
}

#[test]
fn a_confidential_guest_takes_a_build_for_them() {
    let tee = spec_without(&["root", "exec"], json!({"tee": {"config": "/t/tee.json"}, "disks": [{"path": "/d/a"}]}));
    assert_eq!(fields(&tee, &library("1.19.7")), ["tee"]);
    let sev = built("1.19.7", &["amd-sev", "blk"]);
    let plan = plan(&tee, &sev);
    assert!(lines(&plan).contains(&"krun_set_tee_config_file file=/t/tee.json#90".to_owned()));
    let unwanted = ["krun_set_exec", "krun_set_root_disk_remount", "krun_add_virtiofs"];
    assert!(!names(&plan).iter().any(|name| unwanted.contains(name)), "{:#?}", lines(&plan));
    assert_eq!((plan.channel(), plan.guest.is_none()), (Channel::None, true));
    // Without its configuration such a build does not start; it has no shared directories either.
    assert!(!fields(&spec(json!({})), &sev).is_empty());
}

#[test]
fn every_device_takes_a_line() {
    let full = json!({
        "disks": [{"path": "/d/a"}, {"path": "/d/b"}],
        "nics": [{"tap": "tap0"}, {"tap": "tap1"}],
        "console_ports": [{"name": "a", "output": "/l/a"}],
        "mounts": [{"host": "/srv/a", "guest": "/a"}],
    });
    assert_eq!(fields(&spec(full.clone()), &library("1.19.7")), [""; 0], "with root and vsock these are all");
    let mut more = full;
    more["disks"].as_array_mut().unwrap().push(json!({"path": "/d/c"}));
    assert_eq!(fields(&spec(more.clone()), &library("1.19.7")), ["mounts[0]"]);
    assert_eq!(fields(&spec(more.clone()), &library("1.18.0")), ["disks[2]", "mounts[0]"], "the bootstrap share");
    assert_eq!(fields(&spec(more), &on("aarch64")), [""; 0]);
}

#[test]
fn the_log_goes_to_the_specs_file_and_sockets_are_removed() {
    let spec = spec(json!({
        "log_file": "/l/log",
        "vsock": {"ports": [{"port": 1, "path": "/s/a"}, {"port": 2, "path": "/s/b", "listen": true}]},
    }));
    let plan = plan(&spec, &library("1.19.7"));
    assert_eq!(plan.log_file, Some(91));
    assert_eq!(plan.sockets, [std::path::PathBuf::from("/s/b")], "the other is not libkrun's");
}

/// Orders and exclusions that hold of every plan.
fn check(plan: &krundl::Plan, spec: &VmSpec) {
    let made = names(plan);
    let at = |name: &str| made.iter().position(|made| *made == name);
    let count = |name: &str| made.iter().filter(|made| **made == name).count();
    let text = || format!("{}\n{:#?}", spec.to_json(), lines(plan));
    for (before, after) in [
        ("krun_disable_implicit_console", "krun_add_virtio_console_default"),
        ("krun_disable_implicit_vsock", "krun_add_vsock"),
        ("krun_add_vsock", "krun_set_port_map"),
        ("krun_add_vsock", "krun_add_vsock_port"),
        ("krun_add_virtio_console_multiport", "krun_add_console_port_inout"),
        ("krun_add_virtio_console_multiport", "krun_add_console_port_tty"),
        ("krun_add_disk", "krun_set_root_disk_remount"),
        ("krun_add_display", "krun_display_set_dpi"),
        ("krun_set_passt_fd", "krun_set_net_mac"),
    ] {
        if let (Some(before), Some(after)) = (at(before), at(after)) {
            assert!(before < after, "{}", text());
        }
    }
    let cards = made.iter().filter(|name| name.starts_with("krun_add_net_")).count();
    let legacy = count("krun_set_passt_fd") + count("krun_set_gvproxy_path");
    assert!(cards == 0 || legacy == 0, "{}", text());
    assert!(legacy <= 1, "{}", text());
    assert!(count("krun_set_port_map") == 0 || cards + legacy == 0, "{}", text());
    assert!(count("krun_set_console_output") == 0 || count("krun_disable_implicit_console") == 0, "{}", text());
    let is_root = |line: &&String| line.starts_with("krun_add_virtiofs") && line.contains(" tag=/dev/root");
    let root_shares = lines(plan).iter().filter(is_root).count();
    let roots = root_shares + count("krun_set_root") + count("krun_set_root_disk_remount");
    assert_eq!(roots, usize::from(spec.root.is_some()), "{}", text());
    assert_eq!(made.last(), Some(&"krun_start_enter"));
    assert!(count("krun_create_ctx") == 1 && count("krun_set_exec") <= 1);
}

#[test]
fn orders_and_exclusions_hold_and_every_call_has_a_spec_that_makes_it() {
    let mut specs: Vec<VmSpec> = wishes().into_iter().map(|(spec, _)| spec).collect();
    specs.extend([
        spec(json!({"root": {"dir": "/srv/root", "dax_mib": 512}})),
        spec(json!({"root": {"dir": "/srv/root", "read_only": true}, "kernel": {"path": "/boot/vmlinux"}})),
        spec(json!({"mounts": [{"host": "/a", "semantics": "complete"}]})),
        spec(json!({"nics": [{"unixstream": "/s/p", "mac": "02:00:00:00:00:01"}]})),
        spec(json!({"nics": [{"unixgram": "/s/g", "vfkit": true}]})),
        spec(json!({"gpu": {"shm_mib": 1}, "sound": true, "inputs": ["/dev/input/event0"]})),
        spec(json!({"gpu": {}, "displays": [{"width": 1, "height": 1, "edid": "/e"}]})),
        spec(json!({"gpu": {}, "displays": [
            {"width": 1, "height": 1, "dpi": 1, "refresh_rate": 1, "physical_size_mm": [1, 1]},
        ]})),
        spec(json!({"smbios_oem_strings": ["a"]})),
        spec_without(&["root", "exec"], json!({"tee": {"config": "/t"}, "disks": [{"path": "/d/a"}]})),
    ]);
    let mut libraries: Vec<Capabilities> = all_since_1_8().map(|release| library(&release)).collect();
    libraries.extend([on("aarch64"), with_features(FeatureState::Yes), built("1.19.7", &["amd-sev", "blk"])]);
    libraries.push(with_functions(library("1.8.0").observation.functions.iter()));
    let mut called = FunctionSet::new();
    for spec in &specs {
        for library in &libraries {
            let Ok(plan) = negotiate(spec, &host(spec), library) else { continue };
            check(&plan, spec);
            for call in &plan.calls {
                assert!(library.has(call.function()), "{} is not there", call.function());
                assert!(
                    ledger::reach(call.function()).by_plan(),
                    "{} is called and the ledger denies it",
                    call.function()
                );
                called.insert(call.function());
            }
        }
    }
    let all: FunctionSet = Call::FUNCTIONS.iter().copied().collect();
    assert_eq!(all.difference(called).iter().collect::<Vec<_>>(), [], "no spec here makes them");
}
