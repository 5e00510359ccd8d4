//! What an ELF shared library says about itself.

use std::fs::File;
use std::ops::Range;

use object::elf as raw;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::read::{ReadCache, ReadRef, StringTable};
use object::{Endianness, SectionIndex};

use super::report::{FileFormat, FileReport, Refusal, no_library};
use crate::error::AttemptKind;

// libkrun exists for 64-bit machines only; a 32-bit process finds no library of its kind.
type Header = raw::FileHeader64<Endianness>;
type Bytes<'data, 'file> = &'data ReadCache<&'file File>;

/// Reads what is told of a file for this process whose first bytes are `head`, and where its literals stand: nothing
/// more is read of it, since most of it is code.
pub(super) fn read(head: &[u8], file: &File) -> Result<(FileReport, Vec<Range<u64>>), Refusal> {
    check_header(head)?;
    read_as::<Header>(file)
}

/// The same for a file for any machine.
pub(super) fn read_any(head: &[u8], file: &File) -> Result<(FileReport, Vec<Range<u64>>), Refusal> {
    let head = Head::of(head)?;
    head.check_kind()?;
    let (report, literals) =
        if head.bits == 1 { read_as::<raw::FileHeader32<Endianness>>(file)? } else { read_as::<Header>(file)? };
    Ok((FileReport { architecture: machine(head.bits, head.machine), ..report }, literals))
}

fn read_as<H: FileHeader<Endian = Endianness>>(file: &File) -> Result<(FileReport, Vec<Range<u64>>), Refusal> {
    let parsed = parse::<H>(&ReadCache::new(file)).map_err(|error| damaged(&error.to_string()))?;
    parsed.ok_or_else(|| damaged("it ends before the last byte that its headers promise"))
}

fn damaged(why: &str) -> Refusal {
    Refusal::new(AttemptKind::NotALibrary, format!("a truncated or damaged ELF file: {why}"))
}

/// Tells a library for this process from all else that a file may be, by its first bytes.
fn check_header(bytes: &[u8]) -> Result<(), Refusal> {
    const MACHO: [[u8; 4]; 3] = [[0xcf, 0xfa, 0xed, 0xfe], [0xce, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];
    if MACHO.iter().any(|magic| bytes.starts_with(magic)) {
        return Err(wrong("macOS (a Mach-O file)").ask_loader());
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err(no_library(bytes, "no ELF header"));
    }
    let head = Head::of(bytes)?;
    let machine = machine(head.bits, head.machine);
    if machine != std::env::consts::ARCH || head.bits != 2 || head.little != cfg!(target_endian = "little") {
        let endian = if head.little { "little" } else { "big" };
        return Err(wrong(&format!("{machine} ({}-bit, {endian}-endian)", u32::from(head.bits) * 32)).ask_loader());
    }
    head.check_kind()
}

/// What the first bytes tell.
struct Head {
    bits: u8,
    little: bool,
    kind: u16,
    machine: u16,
}

impl Head {
    fn of(bytes: &[u8]) -> Result<Head, Refusal> {
        let Some(head) = bytes.first_chunk::<20>() else { return Err(damaged("its header is cut off").ask_loader()) };
        let little = head[5] == 1;
        let number = |at: usize| match little {
            true => u16::from_le_bytes([head[at], head[at + 1]]),
            false => u16::from_be_bytes([head[at], head[at + 1]]),
        };
        Ok(Head { bits: head[4], little, kind: number(16), machine: number(18) })
    }

    fn check_kind(&self) -> Result<(), Refusal> {
        let what = match self.kind {
            3 => return Ok(()),
            1 => "an object file for linking",
            2 => "a program",
            4 => "a core dump",
            _ => "an ELF file of another kind",
        };
        Err(Refusal::new(AttemptKind::NotALibrary, format!("{what}, not a shared library")).ask_loader())
    }
}

fn wrong(built_for: &str) -> Refusal {
    let message = format!("built for {built_for}; this process is {}", std::env::consts::ARCH);
    Refusal::new(AttemptKind::WrongArchitecture, message)
}

/// The machine as [`std::env::consts::ARCH`] has it, for those that people meet.
fn machine(bits: u8, number: u16) -> String {
    match (number, bits) {
        (3, _) => "x86".to_owned(),
        (8, _) => "mips".to_owned(),
        (21, _) => "powerpc64".to_owned(),
        (22, _) => "s390x".to_owned(),
        (40, _) => "arm".to_owned(),
        (62, 2) => "x86_64".to_owned(),
        (62, _) => "x32".to_owned(),
        (183, _) => "aarch64".to_owned(),
        (243, 2) => "riscv64".to_owned(),
        (243, _) => "riscv32".to_owned(),
        (258, _) => "loongarch64".to_owned(),
        (other, _) => format!("machine {other}"),
    }
}

/// `None` for a file that ends too early.
fn parse<H: FileHeader<Endian = Endianness>>(
    bytes: Bytes<'_, '_>,
) -> object::read::Result<Option<(FileReport, Vec<Range<u64>>)>> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    // The loader maps what lies beyond the end without a word, and whoever touches it dies of SIGBUS.
    let ends = segments.iter().map(|segment| segment.file_range(endian)).map(|(at, size)| at.checked_add(size));
    let len = bytes.len().unwrap_or_default();
    if ends.into_iter().any(|end| end.is_none_or(|end| end > len)) {
        return Ok(None);
    }
    let mut report = FileReport::empty(FileFormat::Elf);
    for segment in segments {
        if let Some(dynamic) = segment.dynamic(endian, bytes)? {
            read_dynamic::<H>(&mut report, bytes, endian, segments, dynamic)?;
        }
        if let Some(mut notes) = segment.notes(endian, bytes)? {
            while let Some(note) = notes.next()? {
                if note.name() == raw::ELF_NOTE_GNU && note.n_type(endian) == raw::NT_GNU_BUILD_ID {
                    let digits = note.desc().iter().flat_map(|byte| [byte >> 4, byte & 15]);
                    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
                    report.identity.build_id = Some(digits.collect());
                }
            }
        }
    }
    let sections = header.sections(endian, bytes)?;
    if sections.is_empty() {
        return Ok(Some((report, Vec::new())));
    }
    report.exports = Some(exports(bytes, &sections, endian)?);
    let literals = sections.iter().filter(|section| {
        let flags = section.sh_flags(endian) & (raw::SHF_ALLOC | raw::SHF_WRITE | raw::SHF_EXECINSTR);
        let constant = section.sh_type(endian) == raw::SHT_PROGBITS && flags == raw::SHF_ALLOC;
        constant && sections.section_name(endian, section).is_ok_and(|name| name.starts_with(b".rodata"))
    });
    let literals = literals.filter_map(|section| section.file_range(endian));
    let literals = literals.map(|(at, size)| at..at.saturating_add(size)).collect();
    Ok(Some((report, literals)))
}

/// Names from the dynamic segment, found as the loader finds them: through addresses, not through section headers.
fn read_dynamic<H: FileHeader<Endian = Endianness>>(
    report: &mut FileReport,
    bytes: Bytes<'_, '_>,
    endian: Endianness,
    segments: &[H::ProgramHeader],
    dynamic: &[H::Dyn],
) -> object::read::Result<()> {
    let entries = || dynamic.iter().take_while(|entry| entry.d_tag(endian) != raw::DT_NULL);
    let value = |tag| entries().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.val(endian));
    let (Some(address), Some(size)) = (value(raw::DT_STRTAB), value(raw::DT_STRSZ)) else { return Ok(()) };
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == raw::PT_LOAD);
    // Not by Segment::data_range, which reads the whole segment.
    let mut ranges = loaded.filter_map(|segment| {
        let at = address.checked_sub(segment.p_vaddr(endian).into())?;
        let (start, len) = segment.file_range(endian);
        let inside = at.checked_add(size).is_some_and(|end| end <= len);
        inside.then(|| bytes.read_bytes_at(start.checked_add(at)?, size).ok()).flatten()
    });
    let names = ranges.next().unwrap_or_default();
    let names = StringTable::new(names, 0, names.len() as u64);
    for entry in entries() {
        let tag = entry.d_tag(endian);
        if ![raw::DT_SONAME, raw::DT_NEEDED, raw::DT_RPATH, raw::DT_RUNPATH].contains(&tag) {
            continue;
        }
        let text = String::from_utf8_lossy(entry.string(endian, names)?).into_owned();
        let dirs = || text.split(':').filter(|dir| !dir.is_empty()).map(str::to_owned);
        match tag {
            raw::DT_SONAME => report.soname = Some(text),
            raw::DT_NEEDED => report.needed.push(text),
            raw::DT_RPATH => report.rpath.extend(dirs()),
            _ => report.runpath.extend(dirs()),
        }
    }
    if value(raw::DT_RUNPATH).is_some() {
        report.rpath.clear();
    }
    Ok(())
}

/// The functions that other files can find in it.
fn exports<'data, 'file, H: FileHeader<Endian = Endianness>>(
    bytes: Bytes<'data, 'file>,
    sections: &SectionTable<'data, H, Bytes<'data, 'file>>,
    endian: Endianness,
) -> object::read::Result<Vec<String>> {
    let symbols = sections.symbols(endian, bytes, raw::SHT_DYNSYM)?;
    if symbols.is_empty() {
        return Ok(Vec::new());
    }
    // In one piece, not name by name.
    let names = sections.section(SectionIndex(symbols.string_section().0))?.data(endian, bytes)?;
    let names = StringTable::new(names, 0, names.len() as u64);
    let mut exports = Vec::with_capacity(symbols.len());
    for symbol in symbols.iter() {
        let function = matches!(symbol.st_type(), raw::STT_FUNC | raw::STT_GNU_IFUNC);
        let visible = matches!(symbol.st_visibility(), raw::STV_DEFAULT | raw::STV_PROTECTED);
        if function && visible && !symbol.is_undefined(endian) && !symbol.is_local() {
            let name = symbol.name(endian, names)?;
            // Quicker than going through the lossy conversion at once.
            exports.push(match std::str::from_utf8(name) {
                Ok(name) => name.to_owned(),
                Err(_) => String::from_utf8_lossy(name).into_owned(),
            });
        }
    }
    exports.sort_unstable();
    exports.dedup();
    Ok(exports)
}
