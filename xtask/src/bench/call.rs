//! What a call through the C ABI costs beside the same in Rust, in instructions.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use super::open::instructions;
use super::report::{Row, thousands};
use crate::command::output;
use crate::install::{Installation, install};

/// How often each is done, as the programs have it.
const QUESTIONS: f64 = 1000.0;
const PLANS: f64 = 10.0;

pub(super) fn call(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let prefix = bench.dir.join("usr");
    install(&Installation { prefix: prefix.clone(), destdir: None, libdir: "lib".into(), debug: false })?;
    let through_c = bench.dir.join("call");
    let flag = |kind: &str, dir: &str| format!("{kind}{}", prefix.join(dir).display());
    let options = [flag("-I", "include"), flag("-L", "lib"), "-lkrundl".to_owned(), flag("-Wl,-rpath,", "lib")];
    bench.cc("call.c", &through_c, &options.each_ref().map(String::as_str))?;
    let in_rust = bench.program("call")?;

    let library = bench.libkrun()?;
    let (root, mount) = (bench.dir.join("root"), bench.dir.join("mount"));
    for dir in [&root.join("bin"), &root.join("mnt"), &mount] {
        std::fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    }
    std::fs::write(root.join("bin/true"), "")?;
    let spec = json!({
        "vcpus": 1, "memory_mib": 256, "root": {"dir": root}, "exec": {"path": "/bin/true"},
        "mounts": [{"host": mount, "guest": "/mnt", "read_only": true}],
    });
    let spec = spec.to_string();
    let arguments = [library.as_os_str(), OsStr::new(&spec)];
    // Both must answer the same, or they are not compared.
    let answers = [&through_c, &in_rust].map(|program| output(Command::new(program).args(arguments)));
    let [c, rust] = answers;
    anyhow::ensure!(c? == rust?, "the two programs do not do the same");

    let row = |name: &str, function: &str, times: f64| -> Result<Row> {
        let c = instructions(&through_c, &arguments, &[function])? / times;
        let rust = instructions(&in_rust, &arguments, &[function])? / times;
        Ok(Row {
            name: name.to_owned(),
            c: format!("{} instructions", thousands(c)),
            ours: format!("{} instructions", thousands(rust)),
            ratio: format!("{:.2}", c / rust),
            limit: String::new(),
            holds: None,
        })
    };
    Ok(vec![
        row("a question to a probe: through the C ABI, in Rust", "measured_questions", QUESTIONS)?,
        row("a plan from JSON: through the C ABI, in Rust", "measured_plans", PLANS)?,
    ])
}
