//! Starts gvproxy for a network card.
//!
//! It cannot be given a connection, only names of sockets that it is to make: one for the card, and one on which it is told
//! over HTTP which ports to open. Both are in a directory of this VM's own, which is removed once there is a connection:
//! then gvproxy is as passt is, and ends when its connection is closed.
//!
//! The card's socket is the one for QEMU: a stream, each frame after its length, which libkrun speaks on every system. Of
//! the one for vfkit, of datagrams, gvproxy up to 0.8.8 knows nothing on Linux.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::{Failure, PATIENCE, Serving, apart, choose_ports, command, end};
use crate::plan::{Network, OpenPort};
use crate::sockets::OwnDir;
use crate::spec::{Gvproxy, Protocol, reserve};

/// How long it may be until its sockets are looked for again.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest path of a unix socket (Linux; 103 on macOS).
const MAX_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };
/// More of an answer is not read.
const MAX_ANSWER: u64 = 1 << 20;

pub(super) fn try_start(network: &Network, log: BorrowedFd<'_>) -> Result<Serving, Failure> {
    let os = |what| move |error| Failure::Os(what, error);
    let dir = OwnDir::make((None, None)).map_err(os("making the directory of its sockets"))?;
    let (card, api) = (dir.path().join("card"), dir.path().join("api"));
    if card.as_os_str().len() > MAX_PATH {
        let what = format!("could not be started: {} is too long for a socket's path", card.display());
        return Err(Failure::Refused(what));
    }
    let (ports, reserved) = choose_ports(network).map_err(os("choosing a port"))?;
    // It opens a port for SSH whatever is wished for, 2222 by default, and only late releases can be told not to. So it is
    // given one that is free, which it closes again before the guest is there.
    let ssh = reserve(Protocol::Tcp, Ipv4Addr::LOCALHOST, 0).map_err(os("choosing a port"))?;
    let mut command = command(network, log).map_err(os("keeping the log"))?;
    command.arg("-listen-qemu").arg(format!("unix://{}", card.display()));
    command.arg("-listen").arg(format!("unix://{}", api.display()));
    command.arg("-ssh-port").arg(ssh.1.to_string());
    apart(&mut command, None);
    let mut child = command.spawn().map_err(os("starting it"))?;
    match serve(&mut child, [&card, &api], SocketAddrV4::new(Ipv4Addr::LOCALHOST, ssh.1), &ports) {
        Ok(connection) => {
            drop(reserved);
            Ok(Serving { connection: connection.into(), pid: child.id(), ports })
        }
        Err(failure) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failure)
        }
    }
}

/// Waits until it is there, makes sure that it is what the plan takes it for, and has it open the ports. Returns the
/// connection for the card: it takes one, and ends with it.
fn serve(
    child: &mut Child,
    [card, api]: [&Path; 2],
    ssh: SocketAddrV4,
    ports: &[OpenPort],
) -> Result<UnixStream, Failure> {
    let deadline = Instant::now() + PATIENCE;
    connected(child, deadline, api)?;
    let mut asked = |what: &str, body: Value| {
        ask(api, deadline, what, &body).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Silent,
            // It has closed the connection, as it ends.
            _ => end(child).map_or_else(|error| Failure::Os("waiting for it", error), Failure::Ended),
        })
    };
    let (address, mac) = (Gvproxy::USUAL.address.to_string(), Gvproxy::MAC.map(|byte| format!("{byte:02x}")).join(":"));
    let said = asked("GET /leases", Value::Null)?;
    let leases: Value = said.ok().and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
    if leases.get(&address).and_then(Value::as_str) != Some(&mac) {
        let what = format!("does not give its guest {address}, to which its ports would lead, but has {leases}");
        return Err(Failure::Refused(what));
    }
    let refused = |what: String| move |reason: String| Failure::Refused(format!("did not {what}: {reason}"));
    let close = json!({"local": ssh.to_string(), "protocol": "tcp"});
    asked("POST /services/forwarder/unexpose", close)?.map_err(refused(format!("close its port for SSH, {ssh}")))?;
    for OpenPort { protocol, address: on, host, guest, .. } in ports {
        let local = SocketAddrV4::new(*on, *host).to_string();
        let open = json!({"local": local, "remote": format!("{address}:{guest}"), "protocol": protocol});
        asked("POST /services/forwarder/expose", open)?.map_err(refused(format!("open {protocol} {local}")))?;
    }
    connected(child, deadline, card)
}

/// Tries again and again, as a socket's being there wakes nobody.
fn connected(child: &mut Child, deadline: Instant, path: &Path) -> Result<UnixStream, Failure> {
    loop {
        if let Ok(connection) = UnixStream::connect(path) {
            return Ok(connection);
        }
        match child.try_wait() {
            Ok(Some(status)) => return Err(Failure::Ended(status)),
            Ok(None) if Instant::now() > deadline => return Err(Failure::Silent),
            Ok(None) => std::thread::sleep(PAUSE),
            Err(error) => return Err(Failure::Os("waiting for it", error)),
        }
    }
}

/// One request and its answer: what it holds, or why it was refused. HTTP/1.0, so that the answer is the connection's
/// rest and in one piece.
fn ask(api: &Path, deadline: Instant, what: &str, body: &Value) -> io::Result<Result<String, String>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
    let mut connection = UnixStream::connect(api)?;
    connection.set_read_timeout(Some(left))?;
    connection.set_write_timeout(Some(left))?;
    let length = body.len();
    write!(
        connection,
        "{what} HTTP/1.0\r\nHost: gvproxy\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    connection.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn parse(answer: &str) -> Option<Result<String, String>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.")?.split_once(' ')?.1;
    let body = body.trim().to_owned();
    Some(match status.starts_with("200") {
        true => Ok(body),
        false if body.is_empty() => Err(status.to_owned()),
        false => Err(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_it_holds_or_why_it_was_refused() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}\n"), Some(Ok("{}".to_owned())));
        assert_eq!(parse("HTTP/1.1 500 No\r\n\r\nin use\n"), Some(Err("in use".to_owned())));
        assert_eq!(parse("HTTP/1.1 404 Not Found\r\n\r\n"), Some(Err("404 Not Found".to_owned())));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }
}
