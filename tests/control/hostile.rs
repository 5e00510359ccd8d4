//! Whatever bytes come, on either side: the guest's program lives on, and the host gets an error.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use krundl::control::{Sink, Size, Source, Streams, figures, output};
use krundl::{Error, Exit};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::program::frames::{Exec, Frame, LONGEST_REQUEST, Stream, WINDOW};
use crate::{LONG, Port, sh};

/// The guest's program is in this process: had it fallen, so had the test.
fn lives(port: &Port) {
    assert_eq!(port.sh("exit 7", b"").exit, Exit::Code(7));
}

fn request() -> Vec<u8> {
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    Frame::Exec(Exec { path: b"cat".to_vec(), env: words(&["PATH=/bin"]), ..Exec::default() }).encode()
}

#[test]
fn a_guest_outlives_any_bytes() {
    let port = Port::open();
    let frames = prop_oneof![
        Just(request()),
        (0_usize..3, vec(any::<u8>(), 0..50)).prop_map(|(stream, bytes)| {
            Frame::Data([Stream::Input, Stream::Output, Stream::Error][stream], bytes).encode()
        }),
        any::<u32>().prop_map(|count| Frame::Taken(Stream::Output, count).encode()),
        Just(Frame::End(Stream::Output).encode()),
        Just(Frame::End(Stream::Input).encode()),
        any::<i32>().prop_map(|number| Frame::Signal { number }.encode()),
        vec(any::<u8>(), 0..30),
    ];
    let conversation = (prop::bool::ANY, vec(frames, 0..6), prop::bool::ANY);
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&conversation, |(begins_well, frames, reads)| {
            let mut host = UnixStream::connect(port.socket()).unwrap();
            host.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let first = if begins_well { request() } else { Vec::new() };
            // It may have hung up.
            let _ = host.write_all(&[first, frames.concat()].concat());
            if reads {
                let _ = host.read(&mut [0; 4096]);
            }
            Ok(())
        })
        .unwrap();
    lives(&port);
}

#[test]
fn a_guest_hangs_up_on_one_who_sends_more_than_it_may() {
    let port = Port::open();
    let mut host = UnixStream::connect(port.socket()).unwrap();
    let data = Frame::Data(Stream::Input, vec![0; 16 << 10]).encode();
    let sleep = Frame::Exec(Exec { path: b"/bin/sleep".to_vec(), args: vec![b"1000".to_vec()], ..Exec::default() });
    host.write_all(&sleep.encode()).unwrap();
    for _ in 0..(WINDOW + (128 << 10)) / (16 << 10) {
        // A pipe holds 64 KiB, and the guest's program a window.
        let _ = host.write_all(&data);
    }
    let mut said = Vec::new();
    host.set_read_timeout(Some(LONG)).unwrap();
    let _ = host.read_to_end(&mut said);
    assert!(said.len() < 100_000, "it has hung up");
    let mut host = UnixStream::connect(port.socket()).unwrap();
    let head = [&[64][..], &(LONGEST_REQUEST as u32 + 1).to_le_bytes()].concat();
    host.write_all(&head).unwrap();
    host.set_read_timeout(Some(LONG)).unwrap();
    let _ = host.read_to_end(&mut said);
    lives(&port);
}

#[test]
fn a_guest_speaks_with_so_many_at_once() {
    let port = Port::open();
    let many: Vec<UnixStream> = (0..64).map(|_| UnixStream::connect(port.socket()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let error = figures(&port.socket(), Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("64 conversations are going on"), "{error}");
    drop(many);
    // Until it has noticed that they are gone.
    let free = || figures(&port.socket(), Duration::ZERO).is_ok();
    assert!((0..500).any(|_| free() || {
        std::thread::sleep(Duration::from_millis(10));
        false
    }));
    lives(&port);
}

/// A host's end that meets these bytes.
fn meets(bytes: Vec<u8>) -> Result<Exit, Error> {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    let guest = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = socket.write_all(&bytes);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let ended = output(&dir.path().join("s"), &sh(""), Vec::new(), Duration::ZERO).map(|output| output.exit);
    guest.join().unwrap();
    ended
}

#[test]
fn a_host_gets_an_error_from_whatever_is_no_guest() {
    let hello = Frame::Hello { version: 1 }.encode();
    let started = [hello.clone(), Frame::Started { pid: 1 }.encode()].concat();
    let after = |frames: &[Frame]| [started.clone(), frames.iter().flat_map(Frame::encode).collect()].concat();
    assert_eq!(meets(after(&[Frame::Exited { status: 3 }])).unwrap(), Exit::Code(3));
    let too_much = vec![Frame::Data(Stream::Output, vec![0; 40 << 10]); 20];
    for (bytes, reason) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "the guest said"),
        (Frame::Done.encode(), "not krundl's program"),
        (Frame::Hello { version: 2 }.encode(), "the guest speaks language 2, and this krundl 1"),
        (Vec::new(), "the guest does not answer"),
        (hello.clone(), "the guest, or its VM, is gone"),
        ([hello.clone(), Frame::Done.encode()].concat(), "none to what it was asked"),
        (started.clone(), "the guest, or its VM, is gone"),
        (after(&[Frame::AskFigures]), "none to what it was asked"),
        ([started.clone(), vec![200, 0, 0, 0, 0]].concat(), "a frame of kind 200"),
    ] {
        let error = meets(bytes).unwrap_err();
        assert!(matches!(error, Error::ControlLost { .. }) && error.to_string().contains(reason), "{error}");
    }
    // Captured output is taken as it comes, and what nobody takes is not.
    assert!(meets(after(&too_much)).is_err());
    let told = meets([hello, Frame::Failed { errno: 1, message: b"\x1b[31mno".to_vec() }.encode()].concat());
    assert!(matches!(told, Err(Error::GuestSetup { .. })), "{told:?}");
}

#[test]
fn a_host_whose_reader_is_slow_is_not_flooded() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    let guest = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let frames = [Frame::Hello { version: 1 }, Frame::Started { pid: 1 }];
        let flood = vec![Frame::Data(Stream::Output, vec![0; 16 << 10]); 64];
        let bytes: Vec<u8> = frames.iter().chain(&flood).flat_map(Frame::encode).collect();
        let _ = socket.write_all(&bytes);
    });
    let (_reader, writer) = std::io::pipe().unwrap();
    let streams = Streams { stdin: Source::Null, stdout: Sink::Fd(writer.into()), stderr: Sink::Null };
    let exec = krundl::control::Exec::start(&dir.path().join("s"), &sh(""), Size::default(), streams, LONG).unwrap();
    let error = exec.wait().unwrap_err();
    assert!(error.to_string().contains("sends more than it may"), "{error}");
    drop(exec);
    guest.join().unwrap();
}
