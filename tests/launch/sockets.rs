//! Sockets that libkrun makes: where they are, and which of those that are there already make room.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use krundl::error::ProblemKind;
use krundl::{Error, Vm, launch, prepare};
use serde_json::{Value, json};

use super::{Lab, newest, options, up};

/// A VM whose guest is up and stays so.
fn running(lab: &Lab, fields: Value) -> Vm {
    let vm = launch(lab.prepare(fields), options()).unwrap();
    vm.wait_ready(None).unwrap();
    vm
}

fn hanging() -> Lab {
    Lab::new(&newest().start(up("")).then_hang())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn refused(lab: &Lab, fields: Value, field: &str, reason: &str) {
    let error = prepare(&lab.spec(fields), &lab.capabilities).unwrap_err();
    let Error::InvalidSpec { problems } = &error else { panic!("{error}") };
    let found = problems.iter().map(|problem| (problem.kind, problem.field.as_str())).collect::<Vec<_>>();
    assert_eq!(found, [(ProblemKind::Host, field)]);
    assert!(problems[0].reason.contains(reason), "{error}");
}

#[test]
fn a_private_control_port_is_in_a_directory_that_goes_with_the_vm() {
    let lab = hanging();
    let vm = running(&lab, json!({"control": "private"}));
    let socket = vm.control().unwrap();
    let dir = socket.parent().unwrap();
    assert!(is_socket(&socket));
    assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    UnixStream::connect(&socket).unwrap();
    vm.kill().unwrap();
    vm.wait().unwrap();
    assert!(!dir.exists());
    // The same plan twice has two.
    let prepared = lab.prepare(json!({"control": "private"}));
    let one = launch(prepared.try_clone().unwrap(), options()).unwrap();
    let other = launch(prepared, options()).unwrap();
    assert_ne!(one.control(), other.control());
    let without = launch(lab.prepare(json!({})), options()).unwrap();
    assert_eq!(without.control(), None);
    assert!(matches!(without.figures(), Err(Error::InvalidArgument { .. })));
}

#[test]
fn a_socket_in_use_is_refused_and_one_that_was_left_behind_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let lab = hanging();
    let path = dir.path().join("web");
    for (fields, field) in [
        (json!({"control": {"socket": path}}), "control.socket"),
        (json!({"vsock": {"ports": [{"port": 7, "path": path, "listen": true}]}}), "vsock.ports[0].path"),
    ] {
        let vm = running(&lab, fields.clone());
        assert!(is_socket(&path));
        refused(&lab, fields.clone(), field, "is in use");
        // Its caller is gone without having cleaned up, and then the VM is killed.
        let pid = i32::try_from(vm.detach()).unwrap();
        // SAFETY: our own child, which nobody else has waited for.
        unsafe {
            assert_eq!(libc::kill(pid, libc::SIGKILL), 0);
            assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid);
        }
        assert!(is_socket(&path), "it was left behind");
        let vm = running(&lab, fields.clone());
        UnixStream::connect(&path).unwrap();
        vm.kill().unwrap();
        vm.wait().unwrap();
        assert!(!path.exists());

        // Somebody else's, which nobody serves either.
        drop(UnixListener::bind(&path).unwrap());
        refused(&lab, fields, field, "is there already");
        assert!(is_socket(&path));
        fs::remove_file(&path).unwrap();
    }
}
