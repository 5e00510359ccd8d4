//! `--net` and `--publish`.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use krundl::error::{Problem, ProblemKind};
use krundl::spec::{Forward, Gvproxy, Nic, Passt, Port, Protocol, Tsi, VmSpec};

use super::args::{NET, Published};

/// Adds what the command line says to a spec.
pub fn apply(spec: &mut VmSpec, problems: &mut Vec<Problem>, nets: &[OsString], ports: Vec<Published>) {
    for text in nets {
        if let Err(reason) = net(spec, text) {
            let field = format!("--net {}", text.display());
            problems.push(Problem::new(ProblemKind::Invalid, field, reason).fix(format!("--net {NET}")));
        }
    }
    for port in ports {
        let field = format!("--publish {}", port.text);
        if let Err((reason, fix)) = publish(spec, port) {
            problems.push(Problem::new(ProblemKind::Invalid, field, reason).fix(fix));
        }
    }
}

fn net(spec: &mut VmSpec, text: &OsStr) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (kind, value) = match bytes.iter().position(|b| *b == b'=') {
        Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
        None => (bytes, None),
    };
    let nic = match (kind, value) {
        (b"tsi", None) => {
            spec.tsi.get_or_insert_default().inet = true;
            return Ok(());
        }
        (b"none", None) => {
            spec.tsi = Some(Tsi { inet: false, ..Tsi::default() });
            spec.nics.clear();
            return Ok(());
        }
        (b"passt", None) => Nic { passt: Some(Passt::default()), ..Nic::default() },
        (b"passt", Some(path)) => Nic { unixstream: Some(path.into()), ..Nic::default() },
        (b"gvproxy", None) => Nic { gvproxy: Some(Gvproxy::default()), ..Nic::default() },
        (b"gvproxy", Some(path)) => Nic { unixgram: Some(path.into()), vfkit: true, ..Nic::default() },
        (b"tap", Some(name)) => {
            let name = name.into_string().map_err(|_| "the name of an interface must be UTF-8".to_owned())?;
            Nic { tap: Some(name), ..Nic::default() }
        }
        _ => return Err("is no network".to_owned()),
    };
    spec.nics.push(nic);
    Ok(())
}

/// Opens a port by the first card that can, or by TSI where there is no card.
fn publish(spec: &mut VmSpec, port: Published) -> Result<(), (String, String)> {
    let Published { address, host, guest, protocol, .. } = port;
    if let Some(ports) = spec.nics.iter_mut().find_map(Nic::ports_mut) {
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST);
        ports.push(Forward { host: host.unwrap_or(0), guest, address, protocol });
        return Ok(());
    }
    let passt = || "--net passt".to_owned();
    if !spec.nics.is_empty() {
        return Err(("this kind of card opens no ports".to_owned(), passt()));
    }
    if spec.tsi.as_ref().is_some_and(|tsi| !tsi.inet) {
        return Err(("there is no network".to_owned(), passt()));
    }
    match (address, host, protocol) {
        (None, Some(host), Protocol::Tcp) => {
            spec.tsi.get_or_insert_default().ports.push(Port { host, guest });
            Ok(())
        }
        (Some(_), ..) => Err(("TSI opens ports on all addresses".to_owned(), passt())),
        (_, None, _) => Err(("TSI chooses no numbers".to_owned(), format!("say both, or {}", passt()))),
        (.., Protocol::Udp) => Err(("TSI maps TCP ports only".to_owned(), passt())),
    }
}

/// What is said of a port whose number was chosen.
pub fn opened(port: &krundl::plan::OpenPort) -> String {
    let at = SocketAddrV4::new(port.address, port.host);
    format!("{} port {} of the guest is {at} here", port.protocol, port.guest)
}

#[cfg(test)]
mod tests {
    use super::super::args::published;
    use super::*;

    fn spec(nets: &[&str], ports: &[&str]) -> (VmSpec, Vec<String>) {
        let (mut spec, mut problems) = (VmSpec::default(), Vec::new());
        let nets: Vec<OsString> = nets.iter().map(Into::into).collect();
        apply(&mut spec, &mut problems, &nets, ports.iter().map(|text| published(text).unwrap()).collect());
        (spec, problems.iter().map(|problem| problem.field.clone()).collect())
    }

    #[test]
    fn ports_are_open_here_alone_unless_an_address_is_named() {
        let (spec, problems) = spec(&["passt"], &["2222:22", "22", "0.0.0.0:53:5353/udp"]);
        assert_eq!(problems, [""; 0]);
        let ports = serde_json::to_value(&spec.nics[0].passt.as_ref().unwrap().ports).unwrap();
        assert_eq!(
            ports,
            serde_json::json!([
                {"host": 2222, "guest": 22, "address": "127.0.0.1", "protocol": "tcp"},
                {"host": 0, "guest": 22, "address": "127.0.0.1", "protocol": "tcp"},
                {"host": 53, "guest": 5353, "address": "0.0.0.0", "protocol": "udp"},
            ])
        );
        assert_eq!(self::spec(&["gvproxy"], &["2222:22"]).0.nics[0].gvproxy.as_ref().unwrap().ports[0].host, 2222);
        for wrong in ["", "a", "1:2:3", "1:2:3:4", "70000", "80/sctp", "::1:80:80", "1.2.3:80:80"] {
            assert!(published(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_card_they_are_tsis_which_can_do_less() {
        let (tsi, problems) = spec(&[], &["8080:80", "80", "127.0.0.1:8080:80", "53:53/udp"]);
        assert_eq!(tsi.tsi.unwrap().ports, [Port { host: 8080, guest: 80 }]);
        assert_eq!(problems, ["--publish 80", "--publish 127.0.0.1:8080:80", "--publish 53:53/udp"]);
        assert_eq!(spec(&["none"], &["80:80"]).1, ["--publish 80:80"]);
        assert_eq!(spec(&["tap=tap0"], &["80:80"]).1, ["--publish 80:80"]);
    }

    #[test]
    fn every_kind_of_network_has_its_words() {
        let (spec, problems) = spec(&["passt=/s/p", "gvproxy=/s/g", "tap=tap0", "passt", "gvproxy", "tsi"], &[]);
        assert_eq!(problems, [""; 0]);
        let [stream, gram, tap, passt, gvproxy] = &spec.nics[..] else { panic!("five cards") };
        assert!(gvproxy.gvproxy.is_some() && !gvproxy.vfkit);
        assert!(stream.unixstream.is_some() && gram.unixgram.is_some() && gram.vfkit);
        assert!(tap.tap.as_deref() == Some("tap0") && passt.passt.is_some() && spec.tsi.is_some());
        assert_eq!(
            self::spec(&["tap", "slirp", "passt=", "none=1"], &[]).1,
            ["--net tap", "--net slirp", "--net none=1"]
        );
    }
}
