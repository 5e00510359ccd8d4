//! From `launch` to krun_start_enter, with a stub libkrun that returns there.

use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::measure::{OnDemand, Pairs};
use super::report::{Row, milliseconds};

pub(super) fn launch(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let (root, mount) = (bench.dir.join("root"), bench.dir.join("mount"));
    for dir in [&root.join("bin"), &root.join("mnt"), &mount] {
        std::fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    }
    std::fs::write(root.join("bin/true"), "")?;
    let stamp = bench.dir.join("stamp");
    let stub = bench.dir.join("libkrun.so.1.19.7");
    let define = format!("-DSTAMP=\"{}\"", stamp.display());
    bench.cc("stub.c", &stub, &["-shared", "-fPIC", "-Wl,-soname,libkrun.so.1", &define])?;
    let program = bench.dir.join("launch");
    bench.cc("launch.c", &program, &[])?;

    let mut by_hand = OnDemand::start(Command::new(program).args([&stub, &root, &mount, &stamp]))?;
    let helper = bench.program("krundl-vmm")?;
    let mut ours =
        OnDemand::start(Command::new(bench.program("launch")?).args([&helper, &stub, &root, &mount, &stamp]))?;
    // Once unmeasured, so that the files are in memory.
    by_hand.measure()?;
    ours.measure()?;
    let (mut time, mut memory) = (Pairs(Vec::new()), Pairs(Vec::new()));
    for _ in 0..bench.selection.pairs(101) {
        let (c, krundl) = (by_hand.measure()?, ours.measure()?);
        time.0.push((c[0], krundl[0]));
        memory.0.push((c[1] / 1024.0, krundl[1] / 1024.0));
    }
    Ok(vec![
        Row {
            name: "launch to krun_start_enter".to_owned(),
            c: milliseconds(time.c()),
            ours: milliseconds(time.ours()),
            ratio: time.ratio_text(),
            limit: "1.5 x, or 3 ms more".to_owned(),
            holds: Some(time.ratio() <= 1.5 || time.difference() <= 3e6),
        },
        Row {
            name: "peak memory of the child until there".to_owned(),
            c: format!("{:.2} MiB", memory.c()),
            ours: format!("{:.2} MiB", memory.ours()),
            ratio: memory.ratio_text(),
            limit: "2 MiB more".to_owned(),
            holds: Some(memory.difference() <= 2.0),
        },
    ])
}
