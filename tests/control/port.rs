//! The guest's end, and what is said to it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use crate::program::control::{Base, Control, Service};
use krundl::control::{Command, Exec, Output, Sink, Size, Source, Streams, output};
use tempfile::TempDir;

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(20);

/// The guest's end, as long as it lives.
pub struct Port {
    dir: TempDir,
    service: Option<Service>,
}

impl Port {
    pub fn open() -> Port {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("control")).unwrap();
        let env = ["PATH=/usr/bin:/bin", "OF=the workload"].map(|entry| entry.as_bytes().to_vec()).to_vec();
        let service = Control::on(OwnedFd::from(listener)).serve(Base { env, workdir: b"/usr".to_vec() }).unwrap();
        Port { dir, service: Some(service) }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// What the guest's program does when the workload has ended.
    pub fn close(&mut self) {
        self.service.take().unwrap().close();
    }

    pub fn start(&self, command: &Command, streams: Streams) -> Exec {
        Exec::start(&self.socket(), command, Size::default(), streams, LONG).unwrap()
    }

    pub fn sh(&self, script: &str, input: &[u8]) -> Output {
        output(&self.socket(), &sh(script), input.to_vec(), LONG).unwrap()
    }
}

pub fn sh(script: &str) -> Command {
    Command { path: "sh".into(), args: vec!["-c".into(), script.into()], ..Command::default() }
}

pub fn captured(input: Source) -> Streams {
    Streams { stdin: input, stdout: Sink::Capture, stderr: Sink::Capture }
}
