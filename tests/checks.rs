//! What the host says about each part of a spec, and that nothing stands in the way of a good one.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use krundl::VmSpec;
use krundl::spec::{Checked, HostPath, check};
use krundl_test_support::guest_root;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A root, a directory to put things into, and what stands in the way of specs.
struct Host {
    root: TempDir,
    dir: TempDir,
}

impl Host {
    fn new() -> Host {
        Host { root: guest_root(), dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn check(&self, fields: Value) -> Checked {
        let mut spec = json!({
            "vcpus": 1, "memory_mib": 256, "root": {"dir": self.root.path()}, "exec": {"path": "/bin/sh"},
        });
        for (name, value) in fields.as_object().unwrap() {
            match value {
                Value::Null => drop(spec.as_object_mut().unwrap().remove(name)),
                value => spec[name] = value.clone(),
            }
        }
        check(&VmSpec::from_json(&spec.to_string()).unwrap())
    }

    /// `field: reason` of each problem.
    fn problems(&self, fields: Value) -> Vec<String> {
        self.check(fields).problems.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn good(&self, fields: Value) {
        let text = fields.to_string();
        assert_eq!(self.problems(fields), [""; 0], "{text}");
    }

    /// Exactly these problems: the field of each, and a piece of its reason.
    #[track_caller]
    fn bad(&self, fields: Value, expected: &[(&str, &str)]) {
        let text = fields.to_string();
        let problems = self.check(fields).problems;
        let told: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(told, expected.iter().map(|(field, _)| *field).collect::<Vec<_>>(), "{text}\n{problems:#?}");
        for (problem, (_, piece)) in problems.iter().zip(expected) {
            assert!(problem.reason.contains(piece), "{problem}\nlacks {piece:?}");
        }
    }
}

fn is_root() -> bool {
    rustix_euid() == 0
}

fn rustix_euid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn root_and_workload_are_required_unless_something_else_boots() {
    let host = Host::new();
    host.bad(json!({"root": null, "exec": null}), &[("root", "required"), ("exec", "required")]);
    host.bad(json!({"root": {}}), &[("root.dir", "root.disk")]);
    let disk = host.file("a.img", [0; 1024]);
    host.bad(
        json!({"root": {"dir": host.root.path(), "disk": {}}, "disks": [{"path": disk}]}),
        &[("root.disk", "either")],
    );
    let firmware = host.file("fw", "firmware");
    host.good(json!({"root": null, "exec": null, "firmware": firmware, "disks": [{"path": disk}]}));
    host.bad(
        json!({
            "firmware": firmware, "mounts": [{"host": host.dir.path()}], "rlimits": {"NOFILE": {"soft": 1}},
            "overlay": {"files": [{"path": "/f", "text": ""}]}, "kernel_console": "hvc0",
        }),
        &[
            ("root", "disk of its own"),
            ("exec", "disk says"),
            ("mounts", "no program of krundl's"),
            ("overlay", "no root directory"),
            ("rlimits", "command line"),
            ("kernel_console", "command line"),
        ],
    );
    let config = host.file("tee.json", "{}");
    host.good(json!({"root": null, "exec": null, "tee": {"config": config}, "disks": [{"path": disk}]}));
    host.bad(
        json!({"root": null, "tee": {"config": host.path("none")}}),
        &[("exec", "confidential"), ("disks", "required"), ("tee.config", "cannot be read")],
    );
}

#[test]
fn disks_are_what_they_are_said_to_be() {
    let host = Host::new();
    let raw = host.file("raw", [0; 1024]);
    let qcow2 = host.file("qcow2", [b"QFI\xfb".as_slice(), &[0; 1020]].concat());
    let vmdk = host.file("vmdk", "# Disk DescriptorFile\nversion=1\n");
    let disk = |disk: Value| json!({"disks": [disk]});
    host.good(disk(json!({"path": raw})));
    host.good(disk(json!({"path": qcow2, "format": "qcow2", "direct_io": true, "sync": "full"})));
    host.good(disk(json!({"path": vmdk, "format": "vmdk", "read_only": true})));
    host.bad(disk(json!({"path": vmdk, "format": "vmdk"})), &[("disks[0].read_only", "only reads")]);
    host.bad(disk(json!({"path": qcow2})), &[("disks[0].format", "any file of the host")]);
    host.bad(disk(json!({"path": raw, "format": "qcow2"})), &[("disks[0].format", "no qcow2")]);
    host.bad(disk(json!({"path": host.path("none")})), &[("disks[0].path", "ENOENT")]);
    host.bad(disk(json!({"path": host.dir.path()})), &[("disks[0].path", "")]);
    host.bad(disk(json!({"path": "/dev/null"})), &[("disks[0].path", "neither")]);
    host.bad(disk(json!({"path": host.file("odd", [0; 700])})), &[("disks[0].path", "multiple of 512")]);
    host.bad(disk(json!({"path": raw, "id": "x".repeat(21)})), &[("disks[0].id", "20")]);
    let twice = json!({"disks": [{"path": raw, "id": "a"}, {"path": raw, "id": "a"}]});
    host.bad(twice, &[("disks[1].id", "disks[0]"), ("disks[1].path", "destroy")]);
    host.good(json!({"disks": [{"path": raw, "read_only": true}, {"path": raw, "read_only": true}]}));
    symlink(&qcow2, host.path("link")).unwrap();
    let checked = host.check(json!({"disks": [{"path": raw}, {"path": host.path("link"), "format": "qcow2"}]}));
    let canonical = |path: &str| Path::new(path).canonicalize().unwrap();
    let [first, second] = &checked.findings.disks[..] else { panic!("two disks") };
    assert!(first.held.is_some() && first.path.as_path() == canonical(&raw));
    let expected = HostPath { path: canonical(&qcow2).into(), held: None };
    assert_eq!(*second, expected, "its header names files relative to it");
}

#[test]
fn a_root_on_a_disk_names_one_that_is_there() {
    let host = Host::new();
    let disk = host.file("raw", [0; 1024]);
    let root = |root: Value| json!({"root": root, "disks": [{"path": disk}]});
    host.good(root(json!({"disk": {}})));
    host.good(root(json!({"disk": {"device": "/dev/vda2", "fstype": "ext4", "options": "noatime,data=ordered"}})));
    host.good(root(json!({"disk": {"device": "/dev/mapper/root"}})));
    host.bad(root(json!({"disk": {"device": "/dev/vdb"}})), &[("root.disk.device", "disk number 2")]);
    for device in ["/dev/vda", "/dev/sda1"] {
        host.bad(
            json!({"root": {"disk": {"device": device}}, "disks": []}),
            &[("root.disk", &format!("the root is on {device}, and the spec has no disks"))],
        );
    }
    host.bad(root(json!({"disk": {"device": "vda"}})), &[("root.disk.device", "/dev")]);
    host.bad(root(json!({"disk": {"options": "a b"}})), &[("root.disk.options", "blanks")]);
    host.bad(root(json!({"disk": {}, "dax_mib": 2})), &[("root.dax_mib", "no DAX")]);
    let read_only = json!({"root": {"disk": {}}, "disks": [{"path": disk, "read_only": true}]});
    host.bad(read_only, &[("root.read_only", "disks[0]")]);
}

#[test]
fn what_is_laid_over_the_root_hides_nothing_by_accident() {
    let host = Host::new();
    fs::create_dir(host.root.path().join("etc")).unwrap();
    fs::write(host.root.path().join("file"), "").unwrap();
    let from = host.file("from", "content");
    host.good(json!({"overlay": {
        "files": [{"path": "/file", "text": ""}, {"path": "/new/a", "from": from, "mode": 0o755}],
        "dirs": [{"path": "/new/b"}],
    }}));
    host.bad(
        json!({"overlay": {
            "files": [
                {"path": "/etc/motd", "text": ""}, {"path": "relative", "text": ""}, {"path": "/x"},
                {"path": "/y", "text": "", "from": from}, {"path": "/z", "from": host.path("none")},
                {"path": "/.krundl/guest", "text": ""}, {"path": "/init.krun", "text": ""},
                {"path": "/new", "text": "", "mode": 4096},
            ],
            "dirs": [{"path": "/etc"}, {"path": "/new"}],
        }}),
        &[
            ("overlay.dirs[0].path", "hidden"),
            ("overlay.files[0].path", "hidden"),
            ("overlay.files[1].path", "absolute"),
            ("overlay.files[2]", "either text or from"),
            ("overlay.files[3]", "either text or from"),
            ("overlay.files[4].from", "cannot be read"),
            ("overlay.files[5].path", "krundl's own"),
            ("overlay.files[6].path", "libkrun's own"),
            ("overlay.files[7].path", "twice"),
            ("overlay.files[7].mode", "4095"),
        ],
    );
}

#[test]
fn tsi_goes_with_libkrunfws_kernel_and_without_cards() {
    let host = Host::new();
    host.good(json!({"tsi": {"unix": true, "ports": [{"host": 80, "guest": 8080}, {"host": 81, "guest": 80}]}}));
    host.good(json!({"tsi": {"inet": false}}));
    host.good(json!({"tsi": {"only_ports": true}}));
    host.bad(json!({"tsi": {"inet": false, "only_ports": true}}), &[("tsi.only_ports", "off")]);
    let ports = json!([{"host": 80, "guest": 1}, {"host": 80, "guest": 0}, {"host": 5, "guest": 1}]);
    host.bad(
        json!({"tsi": {"ports": ports}}),
        &[("tsi.ports[1].host", "tsi.ports[0]"), ("tsi.ports[1].guest", "0"), ("tsi.ports[2].guest", "tsi.ports[0]")],
    );
    let kernel = host.path("vmlinux");
    fs::copy("/bin/true", &kernel).unwrap();
    host.bad(json!({"kernel": {"path": kernel}, "tsi": {}}), &[("tsi.inet", "libkrunfw")]);
    host.good(json!({"kernel": {"path": kernel}, "tsi": {"inet": false}}));
    let _server = UnixListener::bind(host.path("passt")).unwrap();
    let card = json!([{"unixstream": host.path("passt")}]);
    host.good(json!({"nics": card}));
    host.bad(json!({"nics": card, "tsi": {"only_ports": true}}), &[("tsi.inet", "card"), ("tsi.only_ports", "card")]);
}

#[test]
fn somebody_must_listen_on_the_socket_of_a_card_and_nobody_connects_to_find_out() {
    let host = Host::new();
    let server = UnixListener::bind(host.path("passt")).unwrap();
    let _datagram = UnixDatagram::bind(host.path("gvproxy")).unwrap();
    let nic = |nic: Value| json!({"nics": [nic]});
    host.good(nic(json!({"unixstream": host.path("passt")})));
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err(), "passt serves one client and ends");
    host.good(nic(json!({"unixgram": host.path("gvproxy"), "vfkit": true})));
    host.bad(nic(json!({"unixgram": host.path("passt")})), &[("nics[0].unixgram", "no datagram socket")]);
    host.bad(nic(json!({"unixstream": host.path("gvproxy")})), &[("nics[0].unixstream", "no stream socket")]);
    drop(server);
    host.bad(nic(json!({"unixstream": host.path("passt")})), &[("nics[0].unixstream", "nobody listens")]);
    host.bad(nic(json!({"unixstream": host.file("file", "")})), &[("nics[0].unixstream", "no socket")]);
    host.bad(nic(json!({"unixstream": host.path("none")})), &[("nics[0].unixstream", "cannot be found")]);
    host.bad(nic(json!({})), &[("nics[0]", "exactly one")]);
    host.bad(
        nic(json!({"unixgram": host.path("gvproxy"), "mac": "01:00:00:00:00:01", "features": ["guest_tso4"]})),
        &[("nics[0].mac", "one card"), ("nics[0].features", "guest_csum")],
    );
    for mac in ["5a:94:ef:e4:0c", "5a:94:ef:e4:0c:e", "5a:94:ef:e4:0c:eeg", "+1:94:ef:e4:0c:ee"] {
        host.bad(nic(json!({"unixgram": host.path("gvproxy"), "mac": mac})), &[("nics[0].mac", "six bytes")]);
    }
    host.bad(nic(json!({"tap": "a-name-of-16-byte"})), &[("nics[0].tap", "15")]);
    let second = json!({"nics": [
        {"unixgram": host.path("gvproxy")}, {"unixgram": host.path("gvproxy"), "mac": "5a:94:ef:e4:0c:ee"},
    ]});
    host.bad(second, &[("nics[1].mac", "nics[0]")]);
}

#[test]
fn a_passt_of_ones_own_needs_its_program_and_ports_that_are_free() {
    let host = Host::new();
    let program = host.file("passt", "#!/bin/sh\n");
    let passt = |ports: Value| json!({"nics": [{"passt": {"program": program, "ports": ports}}]});
    host.bad(passt(json!([])), &[("nics[0].passt.program", "no program that can be run")]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    host.good(passt(json!([{"guest": 22}, {"guest": 22, "protocol": "udp"}])));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    host.good(passt(json!([{"host": tcp, "guest": 22}, {"host": udp, "guest": 53, "protocol": "udp"}])));
    let _tcp = TcpListener::bind(("127.0.0.1", tcp)).unwrap();
    let _udp = UdpSocket::bind(("127.0.0.1", udp)).unwrap();
    host.bad(
        passt(json!([
            {"host": tcp, "guest": 22, "address": "0.0.0.0"}, {"host": udp, "guest": 53, "protocol": "udp"},
            {"guest": 0}, {"host": 1, "guest": 1, "address": "192.0.2.77"}, {"host": tcp, "guest": 23},
        ])),
        &[
            ("nics[0].passt.ports[2].guest", "0"),
            ("nics[0].passt.ports[0].host", &format!("tcp 0.0.0.0:{tcp} is in use on this host")),
            ("nics[0].passt.ports[1].host", &format!("udp 127.0.0.1:{udp} is in use on this host")),
            ("nics[0].passt.ports[3].host", "192.0.2.77 is no address of this host"),
            ("nics[0].passt.ports[4].host", "is also that of nics[0].passt.ports[0].host"),
        ],
    );
    // One card has one way out.
    let both = json!([{"passt": {"program": program}, "tap": "tap0"}]);
    let problems = host.problems(json!({"nics": both}));
    assert!(
        problems.iter().any(|problem| problem.contains("exactly one of passt, gvproxy, unixstream")),
        "{problems:?}"
    );
}

#[test]
fn the_address_of_a_card_is_one_cards_and_somebody_in_the_guest_sets_it() {
    let host = Host::new();
    let _server = UnixDatagram::bind(host.path("gvproxy")).unwrap();
    let card = |fields: Value| {
        let mut card = json!({"unixgram": host.path("gvproxy")});
        card.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"nics": [card]})
    };
    for good in ["192.0.2.7/24", "10.0.0.1/8", "192.0.2.7/32", "192.0.2.6/31", "10.255.255.254/8"] {
        host.good(card(json!({"address": good, "gateway": "192.0.2.1", "dns": ["192.0.2.53", "fd00::1"]})));
    }
    for bad in [
        "192.0.2.7",
        "192.0.2.7/33",
        "192.0.2.7/0",
        "192.0.2.7/024",
        "192.0.2.7/+24",
        "192.0.2.0/24",
        "192.0.2.255/24",
        "127.0.0.1/8",
        "224.0.0.1/24",
        "fd00::1/64",
        "0.0.0.0/32",
        "255.255.255.255/32",
        "/24",
        "",
    ] {
        host.bad(card(json!({"address": bad})), &[("nics[0].address", "192.0.2.7/24")]);
    }
    host.good(card(json!({"dhcp": true, "dns": []})));
    host.bad(
        card(json!({"dhcp": true, "address": "192.0.2.7/24", "gateway": "192.0.2.1"})),
        &[("nics[0].address", "DHCP"), ("nics[0].gateway", "DHCP")],
    );
    host.bad(card(json!({"gateway": "192.0.2.1"})), &[("nics[0].gateway", "takes an address")]);
    host.bad(card(json!({"dns": ["192.0.2.1"]})), &[("nics[0].dns", "takes an address")]);
    let passt = |fields: Value| {
        let mut card = json!({"passt": {"program": "/bin/true"}});
        card.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"nics": [card]})
    };
    host.good(passt(json!({"address": "192.0.2.1/24"})));
    host.good(passt(json!({"gateway": "10.0.2.99", "dhcp": true})));
    host.bad(passt(json!({"address": "192.0.2.1/32"})), &[("nics[0].gateway", "is required")]);
    host.bad(passt(json!({"gateway": "10.0.2.15"})), &[("nics[0].gateway", "own address")]);
    // An init of its own does it by itself; a passt is told what to say to it.
    let kernel = host.path("vmlinux");
    fs::copy("/bin/true", &kernel).unwrap();
    let own = |nics: Value| {
        let mut spec = nics;
        spec["kernel"] = json!({"path": kernel, "cmdline": "console=hvc0 root=/dev/vda rw"});
        spec["exec"] = Value::Null;
        spec["root"] = Value::Null;
        spec
    };
    host.good(own(passt(json!({"address": "192.0.2.7/24", "dns": ["192.0.2.1"]}))));
    host.bad(
        own(card(json!({"address": "192.0.2.7/24", "optional": true}))),
        &[("nics[0].address", "sets up its network itself"), ("nics[0].optional", "sets up its network itself")],
    );
    host.bad(own(passt(json!({"dhcp": true}))), &[("nics[0].dhcp", "sets up its network itself")]);
}

#[test]
fn a_gvproxy_of_ones_own_has_one_address_alone() {
    let host = Host::new();
    let card = |fields: Value| {
        let mut card = json!({"gvproxy": {"program": "/bin/true", "ports": [{"guest": 22}]}});
        card.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        card
    };
    let one = |fields: Value| json!({"nics": [card(fields)]});
    host.good(one(json!({})));
    host.good(one(json!({"dhcp": true, "mac": "5a:94:ef:e4:0c:ee"})));
    host.good(one(json!({"dns": ["192.0.2.1"]})));
    host.bad(
        one(json!({"address": "192.168.127.3/24", "gateway": "192.168.127.1", "mac": "02:00:00:00:00:01"})),
        &[("nics[0].address", "192.168.127.2"), ("nics[0].gateway", "192.168.127.1"), ("nics[0].mac", "192.168.127.2")],
    );
    // A second would have the same network, and its DHCP would give another address.
    host.bad(json!({"nics": [card(json!({})), card(json!({}))]}), &[("nics[1].mac", "5a:94:ef:e4:0c:ee alone")]);
    let both = json!({"mac": "5a:94:ef:e4:0c:ee"});
    host.bad(json!({"nics": [card(both.clone()), card(both)]}), &[("nics[1].mac", "nics[0]")]);
    host.bad(
        one(json!({"gvproxy": {"program": "/bin/true", "ports": [{"guest": 0}]}})),
        &[("nics[0].gvproxy.ports[0].guest", "0")],
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    host.bad(
        one(json!({"gvproxy": {"program": "/bin/true", "ports": [{"host": port, "guest": 1}]}})),
        &[("nics[0].gvproxy.ports[0].host", "is in use on this host")],
    );
    let checked = host.check(json!({"nics": [{"gvproxy": {"program": host.path("none")}}]}));
    assert_eq!(checked.problems[0].field, "nics[0].gvproxy.program");
    let fix = checked.problems[0].fix.clone().unwrap();
    assert!(fix.contains("gvisor-tap-vsock"), "{fix}");
}

#[test]
fn a_missing_passt_says_how_to_get_it() {
    let host = Host::new();
    let checked = host.check(json!({"nics": [{"passt": {"program": host.path("none")}}]}));
    let fix = checked.problems[0].fix.clone().unwrap();
    assert!(fix.contains("apt-get install passt"), "{fix}");
}

#[test]
fn vsock_sockets_lie_in_directories_that_exist_and_are_not_there_when_libkrun_makes_them() {
    let host = Host::new();
    let ports = |ports: Value| json!({"vsock": {"ports": ports}});
    let listening = UnixListener::bind(host.path("there")).unwrap();
    host.good(ports(json!([
        {"port": 1, "path": host.path("there")}, {"port": 2, "path": host.path("later")},
        {"port": 3, "path": host.path("new"), "listen": true},
    ])));
    host.bad(
        ports(json!([
            {"port": 1, "path": host.path("there"), "listen": true}, {"port": 1, "path": host.path("no/dir")},
            {"port": 0x6b72_756e, "path": format!("/{}", "x".repeat(107))}, {"port": 4, "path": host.file("file", "")},
            {"port": 5, "path": host.path("new"), "listen": true}, {"port": 6, "path": host.path("new"), "listen": true},
        ])),
        &[
            ("vsock.ports[1].port", "vsock.ports[0]"),
            ("vsock.ports[2].port", "krundl"),
            ("vsock.ports[0].path", "there already"),
            ("vsock.ports[1].path", "does not exist"),
            ("vsock.ports[2].path", "107"),
            ("vsock.ports[3].path", "no socket"),
            ("vsock.ports[5].path", "vsock.ports[4]"),
        ],
    );
    drop(listening);
}

#[test]
fn the_guests_address_is_3_and_no_other() {
    let host = Host::new();
    host.good(json!({"vsock": {"cid": 3}}));
    for cid in [0, 2, 4, u32::MAX] {
        host.bad(json!({"vsock": {"cid": cid}}), &[("vsock.cid", "always 3: libkrun has no function")]);
    }
}

#[test]
fn a_control_port_is_closed_to_others_and_takes_krundls_program() {
    let host = Host::new();
    let (own, open) = (host.path("own"), host.path("open"));
    for (dir, mode) in [(&own, 0o700), (&open, 0o755)] {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
    }
    let at = |dir: &str| json!({"socket": format!("{dir}/s")});
    host.good(json!({"control": "private"}));
    host.good(json!({"control": at(&own)}));
    host.bad(json!({"control": at(&open)}), &[("control.socket", "open to other users (mode 0755)")]);
    host.bad(json!({"control": at(&host.path("none"))}), &[("control.socket", "does not exist")]);
    host.file("own/s", "");
    host.bad(json!({"control": at(&own)}), &[("control.socket", "there already")]);
    assert!(Path::new(&own).join("s").exists(), "it is left alone");
    fs::remove_file(Path::new(&own).join("s")).unwrap();

    let ports = json!({"ports": [
        {"port": krundl::plan::CONTROL_PORT, "path": format!("{own}/a"), "listen": true},
        {"port": 1, "path": format!("{own}/s"), "listen": true},
    ]});
    host.bad(
        json!({"control": at(&own), "vsock": ports}),
        &[("vsock.ports[0].port", "krundl"), ("vsock.ports[1].path", "control.socket")],
    );
    let firmware = json!({"firmware": host.file("firmware", "x"), "root": null, "exec": null, "control": "private"});
    host.bad(firmware, &[("control", "krundl's program")]);
}

#[test]
fn consoles_and_ports_lead_somewhere_and_are_kept_open() {
    let host = Host::new();
    let input = host.file("in", "typed");
    let checked = host.check(json!({
        "console": {"file": host.path("console")}, "serial": {"input": input, "output": host.path("serial")},
        "console_ports": [{"name": "a", "input": input}, {"name": "b", "output": host.path("b")}],
        "log_file": host.path("log"), "kernel_console": "hvc0",
    }));
    assert!(checked.problems.is_empty(), "{:#?}", checked.problems);
    let findings = &checked.findings;
    let held = [
        &findings.console,
        &findings.serial.input,
        &findings.serial.output,
        &findings.console_ports[0].input,
        &findings.console_ports[1].output,
        &findings.log_file,
    ];
    assert!(held.iter().all(|file| file.as_ref().is_some_and(|file| file.held.is_some())), "{findings:#?}");
    host.bad(
        json!({
            "console": "none", "kernel_console": "hvc0",
            "console_ports": [
                {"name": "a"}, {"name": "a", "tty": input}, {"name": "krundl", "input": host.path("none")},
                {"name": "b c", "output": host.path("no/dir")}, {"name": "d", "tty": "/dev/tty", "input": input},
            ],
        }),
        &[
            ("kernel_console", "nowhere"),
            ("console_ports[0]", "leads nowhere"),
            ("console_ports[1].name", "twice"),
            ("console_ports[1].tty", "terminal"),
            ("console_ports[2].name", "own"),
            ("console_ports[2].input", "cannot be read"),
            ("console_ports[3].name", "blanks"),
            ("console_ports[3].output", "cannot be written"),
            ("console_ports[4]", "either a tty"),
        ],
    );
}

#[test]
fn the_kernels_console_must_be_replaceable() {
    let host = Host::new();
    let kernel = host.path("vmlinux");
    fs::copy("/bin/true", &kernel).unwrap();
    let with = |line: Option<&str>| json!({"kernel": {"path": kernel, "cmdline": line}, "kernel_console": "hvc0", "memory_mib": 4096});
    host.good(with(None));
    host.good(with(Some("console=ttyS0 init=/init.krun rootfstype=virtiofs rw")));
    for line in ["init=/init.krun rw", "init=/init.krun console=ttyS0"] {
        host.bad(with(Some(line)), &[("kernel_console", "aborts")]);
    }
    host.bad(json!({"kernel_console": "ttyS0"}), &[("kernel_console", "serial")]);
    let serial = json!({"output": host.path("serial")});
    host.bad(json!({"kernel_console": "ttyS0", "serial": serial}), &[("kernel_console", "kernel of your own")]);
    let own = json!({"path": kernel, "cmdline": "console=hvc0 init=/init.krun rw"});
    host.good(json!({"kernel_console": "ttyS0", "serial": serial, "kernel": own, "memory_mib": 4096}));
}

#[test]
fn an_init_of_the_guests_own_leaves_no_room_for_what_krundls_program_does() {
    let host = Host::new();
    let kernel = host.path("vmlinux");
    fs::copy("/bin/true", &kernel).unwrap();
    let kernel = |line: &str| json!({"path": kernel, "cmdline": line});
    let own = "console=hvc0 root=/dev/vda init=/sbin/init";
    let with = |fields: Value| {
        let mut all = json!({"kernel": kernel(own), "exec": null, "root": null, "memory_mib": 4096});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    let share = host.dir.path();
    host.good(with(json!({"mounts": [{"host": share, "guest": "/anywhere", "tag": "share"}]})));
    host.good(with(json!({"root": {"dir": share, "read_only": true}})));
    host.bad(
        with(json!({
            "root": {"disk": {}}, "disks": [{"path": host.file("disk", [0; 512])}],
            "mounts": [{"host": share, "overlay": true}], "overlay": {"dirs": [{"path": "/new"}]},
            "rlimits": {"NOFILE": {"soft": 64}},
        })),
        &[
            ("root.disk", "root=/dev/vda"),
            ("mounts[0].overlay", "own"),
            ("overlay", "nothing of krundl's"),
            ("rlimits", "limits"),
        ],
    );
    // One or the other: a workload runs by libkrun's init.
    host.bad(
        json!({"kernel": kernel(own), "memory_mib": 4096}),
        &[("kernel.cmdline", "without init=/init.krun the workload would never run")],
    );
    host.bad(
        with(json!({"kernel": kernel("init=/init.krun"), "root": {"dir": share}})),
        &[("exec", "init of the guest's own")],
    );
    host.bad(
        json!({"mounts": [{"host": share, "overlay": true, "read_only": true}]}),
        &[("mounts[0].overlay", "leave out")],
    );
}

#[test]
fn limits_names_and_devices() {
    let host = Host::new();
    host.good(json!({"rlimits": {"NOFILE": {"soft": 1, "hard": 2}, "CORE": {"soft": u64::MAX}}}));
    host.bad(
        json!({"rlimits": {"FILES": {"soft": 1}, "NOFILE": {"soft": 3, "hard": 2}}, "smbios_oem_strings": ["ok", "ü"]}),
        &[("rlimits.FILES", "NOFILE"), ("rlimits.NOFILE", "above"), ("smbios_oem_strings[1]", "ASCII")],
    );
    let edid = host.file("edid", [0; 128]);
    host.good(json!({"gpu": {}, "displays": [{"width": 1, "height": 1, "edid": edid}]}));
    host.bad(
        json!({"displays": [
            {"width": 0, "height": 1}, {"width": 1, "height": 1, "dpi": 1, "edid": host.file("short", [0; 100])},
        ]}),
        &[
            ("displays", "gpu"),
            ("displays[0]", "width"),
            ("displays[1].edid", "give either"),
            ("displays[1].edid", "100 bytes"),
        ],
    );
    host.bad(json!({"inputs": [host.file("event", "")]}), &[("inputs[0]", "no input device")]);
}

#[test]
fn another_user_takes_root_and_must_reach_what_the_vm_uses() {
    let host = Host::new();
    if !is_root() {
        host.bad(json!({"uid": 12345}), &[("uid", "only root")]);
        return;
    }
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // The device is the machine's, and none of our business here.
    let without_kvm = |fields: Value| {
        let problems = host.problems(fields);
        problems.into_iter().filter(|problem| !problem.contains("/dev/kvm")).collect::<Vec<_>>()
    };
    mode(host.root.path(), 0o755);
    mode(host.dir.path(), 0o755);
    let share = json!([{"host": host.dir.path()}]);
    assert_eq!(without_kvm(json!({"uid": 12345, "gid": 12345, "mounts": share})), [""; 0]);
    assert_eq!(without_kvm(json!({"uid": 0, "gid": 0})), [""; 0]);
    mode(host.dir.path(), 0o750);
    let problems = without_kvm(json!({"uid": 12345, "gid": 12345, "mounts": share}));
    assert!(problems.len() == 1 && problems[0].starts_with("mounts[0].host: user 12345"), "{problems:#?}");
    assert_eq!(without_kvm(json!({"uid": 12345, "gid": 0, "mounts": share})), [""; 0], "its group may");
    let port = json!({"ports": [{"port": 1, "path": host.path("new"), "listen": true}]});
    let problems = without_kvm(json!({"uid": 12345, "gid": 0, "vsock": port}));
    assert!(problems.len() == 1 && problems[0].contains("may not write to"), "{problems:#?}");
    host.bad(json!({"gid": u32::MAX}), &[("gid", "no number")]);
}
