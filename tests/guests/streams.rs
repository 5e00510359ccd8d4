//! Standard input, output and error. An input that is open and idle is [`crate::mounts`]'s, one that is /dev/null
//! [`crate::readonly`]'s.

use std::fs;

use crate::stage::{Stage, mount_option};

pub fn binary_data_passes_unchanged_in_both_directions(stage: &Stage) {
    const SCRIPT: &str = "
        echo one error >&2
        cat
        echo another error >&2
        cat /workspace/f
        exit 255";
    let input = noise(1 << 20);
    // Each of its MiBs begins with its number, so that none can stand for another.
    let mut file = input.repeat(64);
    file.chunks_mut(1 << 20).zip(0u64..).for_each(|(mib, n)| mib[..8].copy_from_slice(&n.to_le_bytes()));
    let dir = stage.dir_with("dir", &file);
    let mut guest = stage.sh(&["--mount", &mount_option(&dir, "/workspace")], SCRIPT);
    let fed = guest.feed(input.clone());
    let end = guest.end();
    fed.join().unwrap();
    fs::remove_file(dir.join("f")).unwrap();
    assert_eq!((end.status, end.stderr.as_str()), (Some(255), "one error\nanother error\n"));
    assert_eq!(end.stdout.len(), input.len() + file.len());
    let (echoed, copied) = end.stdout.split_at(input.len());
    assert!(echoed == input, "what went in at stdin came out changed");
    assert!(copied == file, "the file came out changed");
}

/// Bytes without a pattern (xorshift64).
fn noise(len: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}
