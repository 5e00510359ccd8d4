//! Networks of a guest by the real gvproxy (`KRUNDL_TEST_GVPROXY`), of Debian 13 or later.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::breadth::spec;
use crate::peers::{Echo, HOST, Server, Talking, echoed, ends, host_network, says};
use crate::stage::Stage;

/// The program; `KRUNDL_TEST_GVPROXY` names it where it is not installed.
fn card(ports: &Value) -> Value {
    json!({"gvproxy": {"program": std::env::var_os("KRUNDL_TEST_GVPROXY").map(PathBuf::from), "ports": ports}})
}

fn both_ways(stage: &Stage, fields: &Value) {
    host_network();
    let servers = [Server::new(HOST, "of the host\n"), Server::new("127.0.0.1", "of the host's loopback\n")];
    let [reached, loopback] = servers.each_ref().map(Server::port);
    let echo = Echo::new(HOST);
    let script = format!(
        "ip -4 addr show dev eth0 | grep -c 'inet 192.168.127.2/24'
         cat /etc/resolv.conf
         nslookup gateway.containers.internal | grep -c 'Address.*192.168.127.1$'
         sleep 1 | nc {HOST} {reached}
         sleep 1 | nc 192.168.127.254 {loopback}
         udp ask {HOST} {} 'over UDP'
         echo ready
         echo of the guest | nc -l -p 80 > /dev/null
         udp serve 53 1
         exit 7",
        echo.port()
    );
    let ports = json!([{"guest": 80}, {"guest": 53, "protocol": "udp"}]);
    let mut all = json!({"root": {"dir": stage.own_root()}, "nics": [card(&ports)]});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut guest = Talking::launch(stage, &spec(stage, &script, all));
    for line in ["1", "nameserver 192.168.127.1", "1", "of the host", "of the host's loopback", "over UDP", "ready"] {
        guest.hears(line);
    }
    let [tcp, udp] = guest.guest.vm.ports()[..] else { panic!("{:?}", guest.guest.vm.ports()) };
    assert_eq!(says(tcp.host), "of the guest\n");
    assert_eq!(echoed(udp.host, "into the guest"), "into the guest");
    assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 7);
    ends("gvproxy");
}

pub fn gvproxy_leads_both_ways_and_answers_for_names(stage: &Stage) {
    both_ways(stage, &json!({}));
}

/// Its own DHCP server gives the address; and the VM's process is another user, who could not reach gvproxy's sockets.
pub fn gvproxy_serves_another_user_and_by_dhcp(stage: &Stage) {
    let mut nic = card(&json!([{"guest": 80}]));
    nic["dhcp"] = json!(true);
    let script = "ip -4 addr show dev eth0 | grep -c 'inet 192.168.127.2/24'
                  ip route | grep -c 'default via 192.168.127.1'
                  grep -c 'nameserver 192.168.127.1' /etc/resolv.conf
                  echo ready
                  echo of the guest | nc -l -p 80 > /dev/null; exit 7";
    let root = stage.own_root();
    let given = Command::new("chown").args(["-R", "1000:1000"]).arg(&root).status().unwrap();
    assert!(given.success());
    let kvm = fs::metadata("/dev/kvm").unwrap().permissions();
    fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o666)).unwrap();
    let fields = json!({"nics": [nic], "root": {"dir": root}, "uid": 1000, "gid": 1000});
    let mut guest = Talking::launch(stage, &spec(stage, script, fields));
    for line in ["1", "1", "1", "ready"] {
        guest.hears(line);
    }
    assert_eq!(says(guest.guest.vm.ports()[0].host), "of the guest\n");
    assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 7);
    fs::set_permissions("/dev/kvm", kvm).unwrap();
}
