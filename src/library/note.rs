//! What package builders read in a program that opens libraries at run time: the note `.note.dlopen` of the UAPI
//! group's "ELF dlopen metadata", from which they derive weak dependencies.

/// The libraries, the most wanted of each first. Checked to be JSON by tests/products.rs.
const LIBRARIES: &[u8] = br#"[{"feature":"libkrun","description":"Runs microVMs","priority":"recommended","soname":["libkrun.so.1","libkrun-sev.so.1","libkrun-tdx.so.1","libkrun-awsnitro.so.1"]},{"feature":"libkrunfw","description":"The kernel of microVMs","priority":"recommended","soname":["libkrunfw.so.5","libkrunfw.so.4"]}]"#;

/// With its NUL.
const TOLD: usize = LIBRARIES.len() + 1;
const PADDED: usize = TOLD.next_multiple_of(4);

/// An ELF note.
#[repr(C, align(4))]
struct Note {
    name_size: u32,
    size: u32,
    kind: u32,
    name: [u8; 4],
    text: [u8; PADDED],
}

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".note.dlopen"))]
static NOTE: Note = Note {
    name_size: 4,
    #[allow(clippy::cast_possible_truncation, reason = "it is a few hundred bytes")]
    size: TOLD as u32,
    kind: 0x407c_0c0a,
    name: *b"FDO\0",
    text: {
        let mut text = [0; PADDED];
        text.split_at_mut(LIBRARIES.len()).0.copy_from_slice(LIBRARIES);
        text
    },
};

/// Makes whatever opens libraries bring the note along: the linker takes only what somebody refers to.
#[inline(always)]
pub(super) fn bring() {
    std::hint::black_box(&raw const NOTE);
}
