//! The process's own environment, in processes of their own.

use std::path::Path;
use std::process::Command;

use krundl::Error;
use krundl::library::Library;
use krundl_test_support::stubs::Stub;

use super::make_firmware;

/// Runs [`in_a_process_of_its_own`] with these variables, and has back what it wrote.
fn child(variables: &[(&str, &Path)]) -> String {
    child_in(Path::new("/"), variables)
}

fn child_in(dir: &Path, variables: &[(&str, &Path)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["environment::in_a_process_of_its_own", "--exact", "--ignored", "--nocapture"]);
    for name in ["KRUNDL_LIBRARY", "KRUNDL_LIBRARY_DIR", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    let output = command.current_dir(dir).envs(variables.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "the other tests start it"]
fn in_a_process_of_its_own() {
    // SAFETY: stubs of ours.
    match unsafe { Library::default() } {
        Ok(library) => {
            // SAFETY: it is open already.
            let again = unsafe { Library::default() }.unwrap();
            println!("opened {} {}", library.observation().path.display(), std::ptr::eq(library, again));
            // SAFETY: the same file as before.
            let same = unsafe { Library::load_from(&library.observation().path) }.unwrap();
            assert_eq!(same.observation().identity, library.observation().identity);
        }
        Err(error) => println!("error {error}"),
    }
}

#[test]
fn variables_and_the_loader_lead_to_the_library() {
    let stub = Stub::new("1.18.0").build();
    let opened = format!("opened {} true", stub.link.display());
    for variables in [
        [("KRUNDL_LIBRARY", stub.link.as_path())],
        [("KRUNDL_LIBRARY_DIR", stub.dir.as_path())],
        [("LD_LIBRARY_PATH", stub.dir.as_path())],
    ] {
        let said = child(&variables);
        assert!(said.contains(&opened), "{variables:?}: {said}");
    }
}

#[test]
fn what_the_loader_finds_and_cannot_open_is_named() {
    let stub = Stub::new("1.9.5").needs_missing("libnotthere.so.9").build();
    let said = child(&[("LD_LIBRARY_PATH", &stub.dir)]);
    assert!(said.contains("libkrun.so.1 (the system's loader): it needs libnotthere.so.9"), "{said}");
    let stub = Stub::new("1.9.5").needs_missing("libkrunfw.so.4").build();
    make_firmware(&stub.dir.join("libkrunfw.so.4"), 4);
    let said = child(&[("LD_LIBRARY_PATH", &stub.dir)]);
    assert!(said.contains(&format!("opened {} true", stub.link.display())), "{said}");
}

#[test]
fn the_loader_is_not_led_to_the_current_directory() {
    let stub = Stub::new("1.18.0").build();
    for path in [":/nowhere", "/nowhere:."] {
        let said = child_in(&stub.dir, &[("LD_LIBRARY_PATH", Path::new(path))]);
        assert!(said.contains("the current directory is never searched"), "{said}");
        assert!(!said.contains("opened"), "{said}");
    }
}

#[test]
fn load_from_keeps_to_the_file() {
    // SAFETY: there is no such file.
    let error = unsafe { Library::load_from("/nowhere/libkrun.so.1") }.unwrap_err();
    let Error::LibraryNotFound { attempts } = error else { panic!("{error}") };
    assert_eq!(attempts.len(), 1);
}
