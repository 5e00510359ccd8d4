//! What is built needs nothing of libkrun.

use std::path::Path;

use krundl::library::inspect;

#[test]
fn no_product_is_linked_with_libkrun() {
    for product in [env!("CARGO_BIN_EXE_krundl-vmm"), env!("CARGO_BIN_EXE_krundl")] {
        let report = inspect(Path::new(product)).unwrap();
        assert!(
            report.needed.iter().any(|name| name.starts_with("libc.so")),
            "{product} was read: {:?}",
            report.needed
        );
        let of_libkrun: Vec<&String> = report.needed.iter().filter(|name| name.contains("krun")).collect();
        assert!(of_libkrun.is_empty(), "{product} needs {of_libkrun:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn every_program_that_may_open_libkrun_says_so_to_package_builders() {
    use object::{Object, ObjectSection};
    for product in [env!("CARGO_BIN_EXE_krundl-vmm"), env!("CARGO_BIN_EXE_krundl")] {
        let bytes = std::fs::read(product).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let note = file.section_by_name(".note.dlopen").expect(product).data().unwrap();
        let number = |at: usize| u32::from_le_bytes(note[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((number(0), number(8), &note[12..16]), (4, 0x407c_0c0a, &b"FDO\0"[..]));
        let text = std::ffi::CStr::from_bytes_with_nul(&note[16..16 + number(4)]).unwrap();
        let libraries: serde_json::Value = serde_json::from_slice(text.to_bytes()).unwrap();
        let libraries = libraries.as_array().unwrap();
        for (library, soname) in libraries.iter().zip(["libkrun.so.1", "libkrunfw.so.5"]) {
            assert_eq!(library["soname"][0], soname);
            assert!(["required", "recommended", "suggested"].contains(&library["priority"].as_str().unwrap()));
            assert!(library["feature"].is_string() && library["description"].is_string());
        }
        assert_eq!(libraries.len(), 2);
    }
}

#[test]
fn starting_the_command_line_loads_no_libkrun() {
    // LD_DEBUG tells every library that the loader looks for.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_krundl"))
        .arg("--version")
        .env("LD_DEBUG", "libs")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("find library=libc.so"), "{told}");
    assert!(!told.contains("libkrun"), "{told}");
}
