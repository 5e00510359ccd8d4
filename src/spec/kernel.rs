//! Kernel files: their format from their magic numbers, and the memory that they take.

use std::fs::File;
use std::os::unix::fs::FileExt;

use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_RISCV, EM_X86_64, FileHeader64, PT_LOAD};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader};

use super::model::KernelFormat;

/// What a kernel file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KernelFile {
    /// Its format; never `Auto`.
    pub format: KernelFormat,
    /// The first byte of guest memory behind it, where the file says so.
    pub end: Option<u64>,
}

/// Tells a kernel's format.
///
/// # Errors
/// Why libkrun could not load it.
pub(super) fn identify(file: &File) -> Result<KernelFile, String> {
    let mut head = [0u8; 0x268];
    let read = read_up_to(file, &mut head, 0);
    let head = &head[..read];
    if head.starts_with(b"\x7fELF") {
        return elf(file);
    }
    if head.get(0x202..0x206) == Some(b"HdrS") {
        return bz_image(file, head).map(|format| KernelFile { format, end: None });
    }
    if head.get(0x38..0x3c) == Some(b"ARM\x64") {
        return for_arch("aarch64", "an arm64 Image", KernelFormat::Raw);
    }
    if head.starts_with(b"MZ") && head.get(4..8) == Some(b"zimg") {
        return match head.get(0x18..0x1c) {
            Some(b"gzip") => match std::env::consts::ARCH {
                "x86_64" => Err("is an EFI zboot image, which libkrun takes on arm64 and riscv64 only".to_owned()),
                _ => Ok(KernelFile { format: KernelFormat::PeGz, end: None }),
            },
            _ => Err("is an EFI zboot image that is not compressed with gzip; libkrun takes only that".to_owned()),
        };
    }
    Err(match head {
        [] => "is empty".to_owned(),
        [0x1f, 0x8b, ..] => "is a bare gzip file; libkrun takes vmlinux (ELF), bzImage or Image".to_owned(),
        _ => "is no kernel of a known format (ELF vmlinux, bzImage, arm64 Image)".to_owned(),
    })
}

fn for_arch(arch: &str, what: &str, format: KernelFormat) -> Result<KernelFile, String> {
    if std::env::consts::ARCH == arch {
        Ok(KernelFile { format, end: None })
    } else {
        Err(format!("is {what}, and this host is {}", std::env::consts::ARCH))
    }
}

fn elf(file: &File) -> Result<KernelFile, String> {
    let cache = ReadCache::new(file);
    let bad = |error: object::read::Error| format!("is a broken ELF file: {error}");
    let header = FileHeader64::<LittleEndian>::parse(&cache).map_err(bad)?;
    let endian = header.endian().map_err(bad)?;
    let machine = header.e_machine(endian);
    let ours = match std::env::consts::ARCH {
        "x86_64" => EM_X86_64,
        "aarch64" => EM_AARCH64,
        _ => EM_RISCV,
    };
    if machine != ours {
        return Err(format!("is an ELF file for machine {machine}, and this host is {}", std::env::consts::ARCH));
    }
    let segments = header.program_headers(endian, &cache).map_err(bad)?;
    let size = file.metadata().map_or(u64::MAX, |metadata| metadata.len());
    let mut end = 0;
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD) {
        if segment.p_offset(endian).saturating_add(segment.p_filesz(endian)) > size {
            return Err("is a truncated ELF file: a segment ends behind the file".to_owned());
        }
        end = end.max(segment.p_paddr(endian).saturating_add(segment.p_memsz(endian)));
    }
    if end == 0 {
        return Err("is an ELF file with nothing to load (a shared object or a debug file?)".to_owned());
    }
    Ok(KernelFile { format: KernelFormat::Elf, end: Some(end) })
}

/// The payload's compression, at the place that the boot protocol's header names.
fn bz_image(file: &File, head: &[u8]) -> Result<KernelFormat, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("is an x86 bzImage, and this host is {}", std::env::consts::ARCH));
    }
    let word = |at: usize| head.get(at..at + 4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    let sectors = u64::from(*head.get(0x1f1).unwrap_or(&0));
    let offset = (if sectors == 0 { 4 } else { sectors } + 1) * 512 + word(0x248).unwrap_or(0);
    let mut magic = [0u8; 6];
    let read = read_up_to(file, &mut magic, offset);
    match &magic[..read] {
        [0x1f, 0x8b, ..] => Ok(KernelFormat::ImageGz),
        [b'B', b'Z', b'h', ..] => Ok(KernelFormat::ImageBz2),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(KernelFormat::ImageZstd),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            Err("is a bzImage compressed with xz; libkrun takes gzip, bzip2 and zstd".to_owned())
        }
        _ => {
            Err("is a bzImage with a compression that libkrun does not take (gzip, bzip2 and zstd it does)".to_owned())
        }
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], mut offset: u64) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                offset += n as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn identify_bytes(bytes: &[u8]) -> Result<KernelFile, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        identify(&file)
    }

    #[cfg(target_arch = "x86_64")]
    fn bz_image_with(magic: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; 0x600];
        bytes[0x1f1] = 1;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x248..0x24c].copy_from_slice(&0x40u32.to_le_bytes());
        bytes[0x440..0x440 + magic.len()].copy_from_slice(magic);
        bytes
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn bz_images_are_told_by_their_payload() {
        for (magic, format) in [
            (&b"\x1f\x8b\x08"[..], KernelFormat::ImageGz),
            (b"BZh9", KernelFormat::ImageBz2),
            (b"\x28\xb5\x2f\xfd", KernelFormat::ImageZstd),
        ] {
            assert_eq!(identify_bytes(&bz_image_with(magic)).unwrap().format, format);
        }
        assert!(identify_bytes(&bz_image_with(b"\xfd7zXZ\0")).unwrap_err().contains("xz"));
    }

    #[test]
    fn what_is_no_kernel_is_refused_with_a_reason() {
        assert!(identify_bytes(b"").unwrap_err().contains("empty"));
        assert!(identify_bytes(b"#!/bin/sh\n").unwrap_err().contains("no kernel"));
        assert!(identify_bytes(b"\x7fELF\x02\x01\x01").unwrap_err().contains("broken ELF"));
        assert!(identify_bytes(&[0x1f, 0x8b, 8, 0]).unwrap_err().contains("gzip"));
    }

    #[test]
    fn a_shared_object_of_this_machine_has_its_end_told() {
        // Any ELF file of this machine will do: this test's own.
        let own = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let kernel = identify(&own).unwrap();
        assert_eq!(kernel.format, KernelFormat::Elf);
        assert!(kernel.end.unwrap() > 4096);
    }
}
