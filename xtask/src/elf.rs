//! Just enough of ELF, 64 bits and little-endian, to check a library and to read what a kernel module says of itself.

use anyhow::{Context, Result, bail};

const SHT_DYNSYM: u32 = 11;
const SHT_DYNAMIC: u32 = 6;
const SHT_NOBITS: u32 = 8;
const DT_SONAME: u64 = 14;

/// A file whose section table was read.
#[derive(Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    name: usize,
    kind: u32,
    offset: usize,
    size: usize,
    link: usize,
}

impl<'a> Elf<'a> {
    /// Reads the section table.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            bail!("not a little-endian 64-bit ELF file");
        }
        let table = int(bytes, 0x28, 8)? as usize;
        let entry_size = int(bytes, 0x3a, 2)? as usize;
        let count = int(bytes, 0x3c, 2)? as usize;
        let section = |index: usize| -> Result<Section> {
            let at = table.checked_add(index * entry_size).context("the section table lies outside the file")?;
            Ok(Section {
                name: int(bytes, at, 4)? as usize,
                kind: int(bytes, at + 4, 4)? as u32,
                offset: int(bytes, at + 24, 8)? as usize,
                size: int(bytes, at + 32, 8)? as usize,
                link: int(bytes, at + 40, 4)? as usize,
            })
        };
        Ok(Self { bytes, sections: (0..count).map(section).collect::<Result<_>>()? })
    }

    /// The content of the section called `name`.
    pub fn section(&self, name: &str) -> Result<&'a [u8]> {
        let names = int(self.bytes, 0x3e, 2)? as usize;
        let names = self.data(self.sections.get(names).context("there are no section names")?)?;
        let found = self.sections.iter().find(|section| string(names, section.name).is_ok_and(|found| found == name));
        self.data(found.with_context(|| format!("there is no section {name}"))?)
    }

    /// The name by which the dynamic loader knows this library.
    pub fn soname(&self) -> Result<Option<&'a str>> {
        let (entries, names) = self.with_strings(SHT_DYNAMIC)?;
        for entry in entries.chunks_exact(16) {
            if int(entry, 0, 8)? == DT_SONAME {
                return string(names, int(entry, 8, 8)? as usize).map(Some);
            }
        }
        Ok(None)
    }

    /// The names of the functions that this library exports.
    pub fn exported_functions(&self) -> Result<Vec<&'a str>> {
        let (entries, names) = self.with_strings(SHT_DYNSYM)?;
        let mut found = Vec::new();
        for entry in entries.chunks_exact(24) {
            let (info, section) = (int(entry, 4, 1)?, int(entry, 6, 2)?);
            // Of functions (type 2) that are defined here (in a section), the global (1) and weak (2) ones.
            if info & 0xf == 2 && section != 0 && matches!(info >> 4, 1 | 2) {
                found.push(string(names, int(entry, 0, 4)? as usize)?);
            }
        }
        Ok(found)
    }

    fn with_strings(&self, kind: u32) -> Result<(&'a [u8], &'a [u8])> {
        let found = self.sections.iter().find(|section| section.kind == kind);
        let section = found.context("there is no dynamic section: not a shared library")?;
        let strings = self.sections.get(section.link).context("there is no string table")?;
        Ok((self.data(section)?, self.data(strings)?))
    }

    fn data(&self, section: &Section) -> Result<&'a [u8]> {
        if section.kind == SHT_NOBITS {
            return Ok(&[]);
        }
        let end = section.offset.checked_add(section.size);
        end.and_then(|end| self.bytes.get(section.offset..end)).context("a section lies outside the file")
    }
}

fn int(bytes: &[u8], at: usize, size: usize) -> Result<u64> {
    let field = bytes.get(at..).and_then(|rest| rest.get(..size)).context("the file ends too early")?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn string(table: &[u8], at: usize) -> Result<&str> {
    let rest = table.get(at..).context("a name lies outside its table")?;
    let end = rest.iter().position(|byte| *byte == 0).context("a name has no end")?;
    std::str::from_utf8(&rest[..end]).context("a name is not UTF-8")
}

/// A file with a header, the given section and the section names, as the smallest thing that has sections.
#[cfg(test)]
pub(crate) fn file_with_section(name: &str, content: &[u8]) -> Vec<u8> {
    let names = format!("\0{name}\0.shstrtab\0");
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let content_at = file.len();
    file.extend_from_slice(content);
    let names_at = file.len();
    file.extend_from_slice(names.as_bytes());
    let table = file.len();
    for (name, kind, at, size) in [(1, 1u32, content_at, content.len()), (2 + name.len(), 3, names_at, names.len())] {
        let mut entry = [0; 64];
        entry[..4].copy_from_slice(&(name as u32).to_le_bytes());
        entry[4..8].copy_from_slice(&kind.to_le_bytes());
        entry[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        entry[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        file.extend_from_slice(&entry);
    }
    file[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
    file[0x3a..0x40].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_by_its_name() {
        let file = file_with_section(".modinfo", b"depends=kvm\0");
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.section(".modinfo").unwrap(), b"depends=kvm\0");
        assert!(elf.section(".other").is_err());
        assert!(elf.soname().is_err(), "not a shared library");
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let file = file_with_section(".modinfo", b"depends=kvm\0");
        assert!(Elf::parse(&file[..file.len() - 64]).is_err());
        assert!(Elf::parse(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn this_very_machine_has_a_c_library_with_a_soname() {
        // A real shared library, found through the test program's own mappings.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let Some(path) = maps.split_whitespace().find(|word| word.contains("/libc.so.6")) else { return };
        let file = std::fs::read(path).unwrap();
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.soname().unwrap(), Some("libc.so.6"));
        assert!(elf.exported_functions().unwrap().contains(&"malloc"));
    }
}
