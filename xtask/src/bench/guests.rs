//! Real guests in the lab: to the workload's first byte, what a mount does, and to the end.
//!
//! Everything that is run or read there is brought into the lab's own memory first. Its other files are this machine's, over
//! 9p, which keeps nothing of a file that nobody has open: each start of a program would read it anew, and what would be
//! compared is how large programs are.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Bench;
use super::measure::{Pairs, median};
use super::report::{Row, milliseconds};
use crate::command::find_program;
use crate::{Lab, busybox_root, debian, firmware, kernel, project};

/// What the workload writes stands for any first byte. On the error stream: with a kernel of one's own libkrun's init
/// leaves a workload without the other two.
const WORKLOAD: [&str; 3] = ["/bin/sh", "-c", "echo ready >&2"];

/// The sizes that `share.c` works with.
const FILE_MIB: f64 = 32.0;
const SMALL_FILES: f64 = 200.0;

/// Where everything lies in the lab.
const INSIDE: &str = "/tmp/krundl-bench";

/// What the guests are made of, in a directory whose copy in the lab they find under [`INSIDE`].
struct Parts {
    dir: PathBuf,
}

/// A VM, as both are told of it.
struct Guest {
    /// C's options.
    options: Vec<OsString>,
    /// krundl's description, without the workload.
    spec: Value,
}

impl Parts {
    fn new(bench: &Bench<'_>) -> Result<Parts> {
        let parts = Parts { dir: bench.dir.join("lab") };
        crate::cache::remove_dir(&parts.dir)?;
        busybox_root(bench.cache, &parts.dir.join("root"))?;
        bench.cc("boot.c", &parts.dir.join("boot"), &[])?;
        let files = [
            bench.libkrun()?,
            firmware(bench.cache)?.join("libkrunfw.so.5"),
            kernel(bench.cache)?.join("vmlinux"),
            bench.program("pairs")?,
            bench.program("terminate")?,
        ];
        for file in files {
            let to = parts.dir.join(file.file_name().context("a file without a name")?);
            fs::copy(&file, to).with_context(|| format!("could not copy {}", file.display()))?;
        }
        // As packages have them.
        for program in ["krundl", "krundl-vmm"] {
            let mut strip = Command::new("strip");
            project::run(strip.arg("-o").arg(parts.dir.join(program)).arg(bench.program(program)?))?;
        }
        Ok(parts)
    }

    /// A part's place in the lab.
    fn inside(name: &str) -> PathBuf {
        Path::new(INSIDE).join(name)
    }

    fn guest(own_kernel: bool, on_disk: bool) -> Guest {
        let mut options: Vec<OsString> = Vec::new();
        let mut spec = json!({"vcpus": 1, "memory_mib": 512});
        if own_kernel {
            options.extend(["-k".into(), Self::inside("vmlinux").into()]);
            spec["kernel"] = json!({"path": Self::inside("vmlinux")});
        }
        if on_disk {
            let disk = Self::inside("root.img");
            options.extend(["-d".into(), disk.clone().into()]);
            spec["root"] = json!({"disk": {"fstype": "ext4"}});
            spec["disks"] = json!([{"path": disk}]);
        } else {
            let root = Self::inside("root");
            options.extend(["-r".into(), root.clone().into()]);
            spec["root"] = json!({"dir": root});
        }
        Guest { options, spec }
    }

    /// The two commands, for `pairs`.
    fn commands(&self, guest: &Guest, c: &[&str], ours: &[&str]) -> Result<Vec<OsString>> {
        let library = Self::inside("libkrun.so.1");
        let mut all: Vec<OsString> = vec![Self::inside("boot").into()];
        all.extend(guest.options.iter().cloned());
        all.extend([library.clone().into(), Self::inside("libkrunfw.so.5").into()]);
        all.extend(c.iter().map(OsString::from));
        let mut spec = guest.spec.clone();
        spec["exec"] = json!({"path": ours[0], "args": ours[1..]});
        let spec = self.write_spec(&spec)?;
        all.extend(["--".into(), Self::inside("krundl").into(), "run".into(), "--library".into()]);
        all.extend([library.into(), "--spec".into(), spec.into()]);
        Ok(all)
    }

    /// A description, by its place in the lab.
    fn write_spec(&self, spec: &Value) -> Result<PathBuf> {
        let path = self.dir.join("spec.json");
        fs::write(&path, spec.to_string()).with_context(|| format!("could not write {}", path.display()))?;
        Ok(Self::inside("spec.json"))
    }
}

/// Runs a program that measures in the lab, about `guests` guests, and reads its lines of numbers.
fn in_the_lab(bench: &Bench<'_>, parts: &Parts, command: &[OsString], guests: usize) -> Result<Vec<Vec<f64>>> {
    let lab = Lab::new(bench.cache).read(&parts.dir).capture(true);
    let bring = format!("cp -a \"$0\" {INSIDE} && exec \"$@\"");
    let mut all: Vec<OsString> = vec!["/bin/sh".into(), "-c".into(), bring.into(), parts.dir.clone().into()];
    all.extend(command.iter().cloned());
    let result = lab.timeout(Duration::from_secs(180 + 30 * guests as u64)).run(&all)?;
    let said = String::from_utf8_lossy(&result.stderr);
    match result.outcome {
        Ok(0) => {}
        Ok(status) => bail!("the guests ended with status {status}: {said}"),
        Err(reason) => bail!("the lab failed: {reason}\n{said}"),
    }
    let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
    let lines: Vec<Vec<f64>> =
        String::from_utf8_lossy(&result.stdout).lines().map(numbers).collect::<Result<_, _>>()?;
    if lines.is_empty() || lines.iter().any(|line| line.len() != lines[0].len()) {
        bail!("nothing was measured: {}", String::from_utf8_lossy(&result.stdout));
    }
    Ok(lines)
}

fn row(name: String, pairs: &Pairs, shown: impl Fn(f64) -> String, limit: Option<f64>) -> Row {
    let all = pairs.0.iter().map(|(c, ours)| format!("{}/{}", shown(*c), shown(*ours)));
    eprintln!("{name}, C/krundl: {}", all.collect::<Vec<_>>().join(", "));
    Row {
        name,
        c: shown(pairs.c()),
        ours: shown(pairs.ours()),
        ratio: pairs.ratio_text(),
        limit: limit.map(|limit| format!("{limit} x")).unwrap_or_default(),
        holds: limit.map(|limit| pairs.ratio() <= limit),
    }
}

/// From the command to the first byte, for each kind of root and kernel.
pub(super) fn boot(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let parts = Parts::new(bench)?;
    ext4(&parts.dir.join("root"), &parts.dir.join("root.img"))?;
    let mut rows = Vec::new();
    for (root, on_disk) in [("a directory", false), ("a disk", true)] {
        for (kernel, own) in [("libkrunfw's kernel", false), ("our kernel", true)] {
            // The first is what the limit is about.
            let first = rows.is_empty();
            let count = bench.selection.pairs(if first { 15 } else { 10 });
            let mut command: Vec<OsString> =
                vec![Parts::inside("pairs").into(), "first-byte".into(), count.to_string().into()];
            command.extend(parts.commands(&Parts::guest(own, on_disk), &WORKLOAD, &WORKLOAD)?);
            eprintln!("{count} pairs of boots in the lab, about 10 s each ...");
            let lines = in_the_lab(bench, &parts, &command, 2 * count)?;
            let pairs = Pairs(lines.iter().map(|line| (line[0], line[1])).collect());
            let name = format!("krundl run to the workload's first byte, in the lab: {root}, {kernel}");
            rows.push(row(name, &pairs, milliseconds, first.then_some(1.05)));
        }
    }
    Ok(rows)
}

/// What a mount does, without and with a DAX window.
pub(super) fn mount(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let parts = Parts::new(bench)?;
    bench.cc("share.c", &parts.dir.join("root/bin/share"), &["-static"])?;
    let (dir, inside) = (parts.dir.join("share"), Parts::inside("share"));
    fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    fs::write(dir.join("data"), vec![b'x'; 32 << 20]).context("could not write what the guests read")?;
    let throughput = |nanoseconds: f64| format!("{:.0} MiB/s", FILE_MIB / (nanoseconds / 1e9));
    let rate = |nanoseconds: f64| format!("{:.0} /s", SMALL_FILES / (nanoseconds / 1e9));
    let mut rows = Vec::new();
    for (window, options, words) in [(0, "", "without DAX"), (128, "dax=always", "with DAX")] {
        let mut guest = Parts::guest(false, false);
        guest.options.extend(["-s".into(), inside.clone().into(), "-w".into(), window.to_string().into()]);
        guest.spec["mounts"] = json!([{"host": inside, "dax_mib": window}]);
        let count = bench.selection.pairs(10);
        let mut command: Vec<OsString> = vec![Parts::inside("pairs").into(), "output".into(), count.to_string().into()];
        let (c, ours) = (["/bin/share", "/workspace", options], ["/bin/share", "/workspace"]);
        command.extend(parts.commands(&guest, &c, &ours)?);
        eprintln!("{count} pairs of guests with a mount in the lab, about 20 s each ...");
        let lines = in_the_lab(bench, &parts, &command, 2 * count)?;
        let part = |n: usize| Pairs(lines.iter().map(|line| (line[n], line[n + line.len() / 2])).collect());
        rows.push(row(format!("a mount {words}: 32 MiB read for the first time"), &part(0), throughput, None));
        rows.push(row(format!("a mount {words}: read again"), &part(1), throughput, None));
        rows.push(row(format!("a mount {words}: written and synced"), &part(2), throughput, None));
        rows.push(row(format!("a mount {words}: files made, looked up, removed"), &part(3), rate, None));
    }
    Ok(rows)
}

/// From `terminate` and from `kill` to the end.
pub(super) fn terminate(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let parts = Parts::new(bench)?;
    let mut rows = Vec::new();
    for (kernel, own) in [("libkrunfw's kernel", false), ("our kernel", true)] {
        let mut spec = Parts::guest(own, false).spec;
        spec["exec"] = json!({"path": "/bin/sleep", "args": ["1000"]});
        let spec = parts.write_spec(&spec)?;
        let count = bench.selection.pairs(10);
        let command: Vec<OsString> = vec![
            Parts::inside("terminate").into(),
            count.to_string().into(),
            Parts::inside("libkrun.so.1").into(),
            Parts::inside("krundl-vmm").into(),
            spec.into(),
        ];
        eprintln!("{count} times two ends in the lab, about 12 s each ...");
        let lines = in_the_lab(bench, &parts, &command, 2 * count)?;
        for (n, way) in ["terminate, which asks the workload", "kill"].into_iter().enumerate() {
            let times: Vec<f64> = lines.iter().map(|line| line[n]).collect();
            eprintln!("{way}, {kernel}: {}", times.iter().map(|t| milliseconds(*t)).collect::<Vec<_>>().join(", "));
            rows.push(Row {
                name: format!("from {way}, to the end, in the lab: {kernel}"),
                c: String::new(),
                ours: milliseconds(median(times)),
                ratio: String::new(),
                limit: String::new(),
                holds: None,
            });
        }
    }
    Ok(rows)
}

/// A directory as a disk with ext4.
fn ext4(dir: &Path, image: &Path) -> Result<()> {
    if find_program("mke2fs").is_none() {
        debian::install(&["e2fsprogs"])?;
    }
    let _ = fs::remove_file(image);
    project::run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(dir).arg(image).arg("64M"))
}
