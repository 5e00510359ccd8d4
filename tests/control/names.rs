//! Names of running VMs. The directory for them is given by a variable, so each test that needs another one is a process
//! of its own.

use std::process::Command;

use krundl::Error;
use krundl::control::{Name, named, socket_of};

/// Runs a test of this file again, alone and with a runtime directory of its own.
fn apart(test: &str) -> bool {
    if std::env::var_os("KRUNDL_TEST_APART").is_some() {
        return true;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("KRUNDL_TEST_APART", "1")
        .env("XDG_RUNTIME_DIR", dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn refused(name: &str) -> String {
    match Name::take(name, (None, None)) {
        Err(Error::InvalidArgument { argument, reason }) if argument == "name" => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_is_taken_once_at_a_time() {
    if !apart("names::a_name_is_taken_once_at_a_time") {
        return;
    }
    assert!(named().unwrap().is_empty());
    let web = Name::take("web-1", (None, None)).unwrap();
    let other = Name::take("db", (None, None)).unwrap();
    assert_eq!(socket_of("web-1").unwrap(), web.socket());
    assert_eq!(refused("web-1"), format!("a VM runs under the name web-1 (process {})", std::process::id()));
    let found = named().unwrap();
    assert_eq!(found.iter().map(|vm| vm.name.as_str()).collect::<Vec<_>>(), ["db", "web-1"]);
    assert_eq!((found[1].pid, &found[1].socket), (Some(std::process::id()), &web.socket()));
    drop((web, other));
    assert!(named().unwrap().is_empty());
    assert!(socket_of("web-1").is_err());
    // What a VM that was killed has left does not keep its name.
    let again = Name::take("web-1", (None, None)).unwrap();
    let dir = again.socket().parent().unwrap().to_owned();
    drop(std::os::unix::net::UnixListener::bind(again.socket()).unwrap());
    std::mem::drop(again);
    std::fs::create_dir(&dir).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.join("control")).unwrap());
    let last = Name::take("web-1", (None, None)).unwrap();
    assert!(!last.socket().exists());
}

#[test]
fn what_is_no_name_is_said() {
    for bad in ["", ".", "..", "-x", ".x", "a/b", "a b", "\u{e4}", &"x".repeat(33)] {
        assert!(refused(bad).contains("is no name"), "{bad}");
    }
    assert_eq!(socket_of("./here").unwrap(), std::path::Path::new("./here"));
    let error = socket_of("nobody").unwrap_err().to_string();
    assert!(error.contains("no VM of this user runs under the name nobody"), "{error}");
}
