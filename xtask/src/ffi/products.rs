//! What is installed: its exports, its names, its notes.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use krundl::capi::ABI_VERSION;
use object::{Object, ObjectSection, ObjectSymbol};

use super::Stage;
use crate::header;

pub(super) fn test(stage: &Stage) -> Result<()> {
    let shared = stage.lib().join("libkrundl.so");
    let bytes = read(&shared)?;
    let file = object::File::parse(&*bytes)?;
    let exported: BTreeSet<String> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        // The linker's own symbol for the version.
        .filter(|name| *name != format!("KRUNDL_{ABI_VERSION}"))
        .collect();
    let promised: BTreeSet<String> = header::prototypes()?.into_iter().map(|(name, _)| name).collect();
    let differing: Vec<&String> = exported.symmetric_difference(&promised).collect();
    ensure!(differing.is_empty(), "exported and not promised, or the other way round: {differing:?}");
    ensure!(exported.iter().all(|name| name.starts_with("krundl_")), "names without the prefix");

    let elf = crate::elf::Elf::parse(&bytes)?;
    let soname = format!("libkrundl.so.{ABI_VERSION}");
    ensure!(elf.soname()? == Some(soname.as_str()), "the soname is {:?}", elf.soname()?);
    ensure!(stage.lib().join(&soname).is_file(), "there is no {soname} for the loader");
    let needed = krundl::library::inspect(&shared).map_err(|error| anyhow!("{}", error.message))?.needed;
    ensure!(needed.iter().any(|name| name.starts_with("libc.so")), "it was not read: {needed:?}");
    let foreign = needed.iter().find(|name| name.contains("krun") || name.contains("python"));
    ensure!(foreign.is_none(), "it is linked with {foreign:?}");
    for product in ["lib/libkrundl.so", "libexec/krundl/krundl-vmm", "bin/krundl"] {
        note(&stage.dir.join("usr").join(product)).with_context(|| format!("the .note.dlopen of {product}"))?;
    }
    eprintln!("{} functions, soname {soname}", exported.len());
    Ok(())
}

/// The libraries that a product says it may open.
fn note(product: &Path) -> Result<()> {
    let bytes = read(product)?;
    let file = object::File::parse(&*bytes)?;
    let note = file.section_by_name(".note.dlopen").context("there is none")?.data()?.to_vec();
    let Some((head, text)) = note.split_at_checked(16) else { bail!("it is too short") };
    ensure!(head[8..] == [0x0a, 0x0c, 0x7c, 0x40, b'F', b'D', b'O', 0], "its kind or owner is another: {head:?}");
    let text: Vec<u8> = text.iter().copied().take_while(|byte| *byte != 0).collect();
    let libraries: serde_json::Value = serde_json::from_slice(&text)?;
    let first = |index: usize| libraries[index]["soname"][0].as_str().unwrap_or_default().to_owned();
    ensure!((first(0).as_str(), first(1).as_str()) == ("libkrun.so.1", "libkrunfw.so.5"), "it says {libraries}");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("could not read {}", path.display()))
}
