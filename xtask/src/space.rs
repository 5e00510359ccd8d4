//! Room on the disk, asked for before anything is begun: a build that ends for want of it says so late, and unclearly.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{Cache, project};

const MIB: u64 = 1 << 20;

/// What a task takes when nothing is there yet, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Of what cargo builds.
    pub target: u64,
    /// Of what is fetched and kept.
    pub cache: u64,
}

/// Fails if a task that takes so much would find no room for it. What it left there before counts as taken already.
///
/// # Errors
/// Where room is missing, how much there is, and what helps.
pub fn require(cache: &Cache, need: Need) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project::root().join("target"), PathBuf::from);
    let places = [(target.as_path(), need.target), (cache.root(), need.cache)];
    // Places on one file system share what it has.
    let mut systems: BTreeMap<u64, Vec<(&Path, u64)>> = BTreeMap::new();
    for (place, mib) in places {
        systems.entry(existing(place)?.1.dev()).or_default().push((place, mib));
    }
    systems.into_values().try_for_each(|places| has_room(&places))
}

fn has_room(places: &[(&Path, u64)]) -> Result<()> {
    let (first, _) = existing(places[0].0)?;
    let free = free(first)?;
    if places.iter().map(|(_, mib)| mib * MIB).sum::<u64>() <= free {
        return Ok(());
    }
    let missing: u64 = places.iter().map(|(place, mib)| (mib * MIB).saturating_sub(size(place))).sum();
    if missing <= free {
        return Ok(());
    }
    let names: Vec<String> = places.iter().map(|(place, _)| place.display().to_string()).collect();
    bail!(
        "there is too little room on the disk for {}: {} MiB are free, and about {} MiB are needed. Remove something, or \
         name places elsewhere: CARGO_TARGET_DIR for what cargo builds, KRUNDL_CACHE for what is fetched.",
        names.join(" and "),
        free / MIB,
        missing.div_ceil(MIB)
    )
}

/// The path, or the nearest directory above it that is there.
fn existing(path: &Path) -> Result<(&Path, fs::Metadata)> {
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    found.with_context(|| format!("nothing of {} is there", path.display()))
}

/// Bytes that an ordinary user may still write there.
fn free(path: &Path) -> Result<u64> {
    let answer =
        rustix::fs::statvfs(path).with_context(|| format!("could not ask for the room at {}", path.display()))?;
    Ok(answer.f_bavail * answer.f_frsize)
}

/// Bytes that a directory's files take on the disk; what cannot be read takes none.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, data)| data.blocks() * 512 + if data.is_dir() { size(&path) } else { 0 })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_is_told_before_anything_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        require(&cache, Need { target: 0, cache: 0 }).unwrap();
        let error = require(&cache, Need { target: 0, cache: 1 << 40 }).unwrap_err().to_string();
        for word in [&*dir.path().canonicalize().unwrap().to_string_lossy(), "MiB are free", "KRUNDL_CACHE"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_there_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/file"), vec![1; 3 << 20]).unwrap();
        assert!(size(dir.path()) >= 3 << 20, "{}", size(dir.path()));
        let free = free(dir.path()).unwrap() / MIB;
        has_room(&[(dir.path(), free + 1)]).unwrap();
        has_room(&[(dir.path(), free + 1024)]).unwrap_err();
    }
}
