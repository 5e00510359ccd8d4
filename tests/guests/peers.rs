//! What speaks with a guest over its network, on the host's side, and a guest that speaks.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use krundl::VmSpec;

use crate::stage::{Guest, Stage};
use crate::talk::LONG;

/// An address of the host's that a guest can reach, and not the loopback's.
pub const HOST: &str = "198.51.100.1";

/// A network for the lab, which has none: an interface that leads nowhere, with a default route.
pub fn host_network() {
    if !Path::new("/sys/class/net/krundl0").exists() {
        ip("link add krundl0 type dummy");
        ip(&format!("addr add {HOST}/24 dev krundl0"));
        ip("link set krundl0 up");
        ip("route add default via 198.51.100.254 dev krundl0");
    }
}

/// `ip ARGUMENTS`.
pub fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip, of iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A server that says the same to everybody.
pub struct Server {
    at: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn new(address: &str, says: &'static str) -> Server {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let (at, over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let ends = over.clone();
        let thread = std::thread::spawn(move || {
            for mut client in listener.incoming().flatten().take_while(|_| !ends.load(Ordering::SeqCst)) {
                let _ = client.write_all(says.as_bytes());
            }
        });
        Server { at, over, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.at.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.at);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A server that sends everything back by UDP.
pub struct Echo {
    socket: UdpSocket,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn new(address: &str) -> Echo {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let (own, over) = (socket.try_clone().unwrap(), Arc::new(AtomicBool::new(false)));
        let ends = over.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((length, from)) = own.recv_from(&mut bytes) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let _ = own.send_to(&bytes[..length], from);
            }
        });
        Echo { socket, over, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.socket.send_to(b"over", self.socket.local_addr().unwrap());
        self.thread.take().map(JoinHandle::join);
    }
}

/// What comes back from a UDP port of this host; what is sent before anybody listens in the guest is lost.
pub fn echoed(port: u16, text: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let started = Instant::now();
    let mut bytes = [0; 2048];
    loop {
        let _ = socket.send(text.as_bytes());
        match socket.recv(&mut bytes) {
            Ok(length) => return String::from_utf8_lossy(&bytes[..length]).into_owned(),
            Err(error) if started.elapsed() > LONG => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Each process with a name that begins so.
pub fn processes(begin: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(begin)))
        .collect()
}

/// Waits until there is none any more: what ends with its VM's connection does so a moment later.
pub fn ends(begin: &str) {
    let started = Instant::now();
    while !processes(begin).is_empty() {
        assert!(started.elapsed() < LONG, "{begin} ends with the VM");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub struct Talking {
    pub guest: Guest,
    output: BufReader<ChildStdout>,
}

impl Talking {
    pub fn launch(stage: &Stage, spec: &VmSpec) -> Talking {
        let guest = stage.launch(stage.prepare(spec));
        let output = BufReader::new(guest.vm.take_stdout().unwrap());
        guest.vm.wait_ready(Some(LONG)).unwrap_or_else(|error| panic!("{error}"));
        Talking { guest, output }
    }

    pub fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if line.trim_end() != expected {
            let mut errors = String::new();
            self.guest.vm.kill().unwrap();
            let _ = self.guest.vm.take_stderr().map(|mut stderr| stderr.read_to_string(&mut errors));
            panic!("{line:?} instead of {expected:?}: {errors}\n{}", String::from_utf8_lossy(&self.guest.vm.log()));
        }
    }
}

/// What a server says to one who comes from the host.
pub fn says(port: u16) -> String {
    let started = Instant::now();
    // passt takes a connection before it knows that nobody listens in the guest yet.
    loop {
        let mut said = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        // Debian 12's passt opens the way to a server that speaks first only once the client has said something.
        stream.write_all(b"anything\n").unwrap();
        if stream.read_to_string(&mut said).is_ok_and(|length| length > 0) || started.elapsed() > LONG {
            return said;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
