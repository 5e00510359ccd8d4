//! From `krundl run` to the first byte of the workload, in the lab.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::measure::Pairs;
use super::report::{Row, milliseconds};
use crate::{Lab, busybox_root, firmware};

/// What the workload writes stands for any first byte.
const WORKLOAD: [&str; 2] = ["/bin/echo", "ready"];

pub(super) fn boot(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let library = bench.libkrun()?;
    let root = bench.dir.join("guest");
    busybox_root(bench.cache, &root)?;
    let program = bench.dir.join("boot");
    bench.cc("boot.c", &program, &[])?;
    let count = bench.selection.pairs(15);
    let firmware = firmware(bench.cache)?.join("libkrunfw.so.5");

    let mut command: Vec<OsString> = vec![bench.program("pairs")?.into(), count.to_string().into()];
    command.extend([program, library.clone(), firmware, root.clone()].map(OsString::from));
    command.extend(WORKLOAD.map(OsString::from));
    command.extend(["--".into(), bench.program("krundl")?.into(), "run".into()]);
    command.extend(["--library".into(), library.into(), root.into(), "--".into()]);
    command.extend(WORKLOAD.map(OsString::from));
    eprintln!("{count} pairs of boots in the lab, about 10 s each ...");
    let programs = bench.dir.parent().context("the programs lie nowhere")?;
    let lab = Lab::new(bench.cache).read(programs).capture(true);
    let result = lab.timeout(Duration::from_secs(120 + 40 * count as u64)).run(&command)?;
    let said = String::from_utf8_lossy(&result.stderr);
    match result.outcome {
        Ok(0) => {}
        Ok(status) => bail!("the boots ended with status {status}: {said}"),
        Err(reason) => bail!("the lab failed: {reason}\n{said}"),
    }
    let pair =
        |line: &str| Some(line.split_once(' ')?).and_then(|(c, ours)| Some((c.parse().ok()?, ours.parse().ok()?)));
    let pairs: Option<Vec<(f64, f64)>> = String::from_utf8_lossy(&result.stdout).lines().map(pair).collect();
    let pairs = Pairs(pairs.context("the boots were not measured")?);
    let shown = pairs.0.iter().map(|(c, ours)| format!("{}/{}", milliseconds(*c), milliseconds(*ours)));
    eprintln!("C/krundl: {}", shown.collect::<Vec<_>>().join(", "));
    Ok(vec![Row {
        name: "krundl run to the workload's first byte, in the lab".to_owned(),
        c: milliseconds(pairs.c()),
        ours: milliseconds(pairs.ours()),
        ratio: pairs.ratio_text(),
        limit: "1.05 x".to_owned(),
        holds: Some(pairs.ratio() <= 1.05),
    }])
}
