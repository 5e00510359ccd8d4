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
