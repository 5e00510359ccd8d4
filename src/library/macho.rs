//! What a Mach-O shared library says about itself. libkrun is looked for in such files on macOS alone; any can be read.

use object::read::macho::{FatArch, LoadCommandVariant, MachHeader, MachOFatFile32, MachOFatFile64, MachOFile64};
use object::{Architecture, Endianness, FileKind, Object, ObjectSymbol, SymbolKind};

use super::report::{FileFormat, FileReport, Refusal, no_library};
use crate::error::AttemptKind;

/// Reads a file's bytes: the part for this architecture, if it has parts for several.
pub(super) fn read(bytes: &[u8]) -> Result<FileReport, Refusal> {
    let part = match FileKind::parse(bytes) {
        Ok(FileKind::MachO64) => bytes,
        Ok(FileKind::MachOFat32) => {
            our_part(MachOFatFile32::parse(bytes).map_err(damaged)?.arches(), bytes).map_err(damaged)?
        }
        Ok(FileKind::MachOFat64) => {
            our_part(MachOFatFile64::parse(bytes).map_err(damaged)?.arches(), bytes).map_err(damaged)?
        }
        Ok(FileKind::Elf32 | FileKind::Elf64) => return Err(wrong("a system with ELF files")),
        _ => return Err(no_library(bytes, "no Mach-O header")),
    };
    if part.is_empty() {
        return Err(wrong("other architectures"));
    }
    let file = MachOFile64::<Endianness>::parse(part).map_err(damaged)?;
    if file.architecture() != ours() {
        return Err(wrong(&format!("{:?}", file.architecture()).to_lowercase()));
    }
    parse(&file, part).map_err(damaged)
}

/// Reads a file's bytes: every part of it, for whichever architecture.
pub(super) fn read_any(bytes: &[u8]) -> Result<Vec<FileReport>, Refusal> {
    let parts = parts(bytes).map_err(damaged)?;
    if parts.is_empty() {
        return Err(no_library(bytes, "no 64-bit Mach-O header"));
    }
    let read = |part: &&[u8]| {
        let file = MachOFile64::<Endianness>::parse(*part)?;
        let architecture = format!("{:?}", file.architecture()).to_lowercase();
        Ok(FileReport { architecture, ..parse(&file, part)? })
    };
    parts.iter().map(read).collect::<object::read::Result<_>>().map_err(damaged)
}

fn damaged(error: object::read::Error) -> Refusal {
    Refusal::new(AttemptKind::NotALibrary, format!("a truncated or damaged Mach-O file: {error}"))
}

fn parts(bytes: &[u8]) -> object::read::Result<Vec<&[u8]>> {
    Ok(match FileKind::parse(bytes)? {
        FileKind::MachO64 => vec![bytes],
        FileKind::MachOFat32 => all_parts(MachOFatFile32::parse(bytes)?.arches(), bytes)?,
        FileKind::MachOFat64 => all_parts(MachOFatFile64::parse(bytes)?.arches(), bytes)?,
        _ => Vec::new(),
    })
}

fn all_parts<'a, A: FatArch>(arches: &[A], bytes: &'a [u8]) -> object::read::Result<Vec<&'a [u8]>> {
    arches.iter().map(|arch| arch.data(bytes)).collect()
}

fn ours() -> Architecture {
    if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 }
}

fn wrong(built_for: &str) -> Refusal {
    let message = format!("built for {built_for}; this process is {}", std::env::consts::ARCH);
    Refusal::new(AttemptKind::WrongArchitecture, message).ask_loader()
}

/// The part for this architecture; empty if there is none.
fn our_part<'a, A: FatArch>(arches: &[A], bytes: &'a [u8]) -> object::read::Result<&'a [u8]> {
    arches.iter().find(|arch| arch.architecture() == ours()).map_or(Ok(&[]), |arch| arch.data(bytes))
}

fn parse(file: &MachOFile64<'_, Endianness>, part: &[u8]) -> object::read::Result<FileReport> {
    let endian = file.endian();
    let mut report = FileReport::empty(FileFormat::MachO);
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut commands = file.macho_header().load_commands(endian, part, 0)?;
    while let Some(command) = commands.next()? {
        match command.variant()? {
            LoadCommandVariant::IdDylib(dylib) => {
                let name = text(command.string(endian, dylib.dylib.name)?);
                report.soname = name.rsplit('/').next().map(str::to_owned);
            }
            LoadCommandVariant::Dylib(dylib) => report.needed.push(text(command.string(endian, dylib.dylib.name)?)),
            LoadCommandVariant::Rpath(rpath) => report.runpath.push(text(command.string(endian, rpath.path)?)),
            _ => {}
        }
    }
    let uuid = file.mach_uuid()?;
    report.identity.build_id = uuid.map(|uuid| uuid.iter().map(|byte| format!("{byte:02x}")).collect());
    let functions = file
        .symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global() && symbol.kind() == SymbolKind::Text);
    // C names have a `_` before them there.
    let names = functions.filter_map(|symbol| symbol.name().ok()?.strip_prefix('_').map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    report.exports = Some(names);
    Ok(report)
}
