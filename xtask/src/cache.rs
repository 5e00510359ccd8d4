//! A folder for what is expensive to fetch or build and always comes out the same.
//!
//! Every entry is one folder, made in a `.partial` folder beside it and renamed when it is whole, under a lock of its
//! own: an interrupted run leaves nothing that looks finished, and two runs at once make an entry once.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// The folder that holds every entry.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user: `$KRUNDL_CACHE`, else `$XDG_CACHE_HOME/krundl`, else `~/.cache/krundl`.
    pub fn open() -> Result<Self> {
        let root = place(|name| std::env::var_os(name).map(PathBuf::from)).ok_or_else(|| {
            anyhow!("found no place for the cache: set KRUNDL_CACHE to a directory (neither XDG_CACHE_HOME nor HOME is an absolute path)")
        })?;
        Self::at(root)
    }

    /// A cache in a directory of the caller's choice, which is created if it is missing.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)
            .with_context(|| format!("could not create the cache directory {}", root.display()))?;
        let root =
            root.canonicalize().with_context(|| format!("could not resolve the cache directory {}", root.display()))?;
        Ok(Self { root })
    }

    /// The directory that holds every entry, as an absolute path without symlinks.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the entry `key` (a relative path), made by `make` in an empty folder if it does not exist yet.
    pub fn entry(&self, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let entry = self.root.join(key);
        if entry.is_dir() {
            return Ok(entry);
        }
        let _lock = self.lock(key)?;
        if entry.is_dir() {
            return Ok(entry);
        }
        let partial = self.root.join(format!("{key}.partial"));
        remove_dir(&partial)?;
        fs::create_dir_all(&partial).with_context(|| format!("could not create {}", partial.display()))?;
        if let Err(error) = make(&partial) {
            // Nothing half done stays behind; what matters is why.
            let _ = remove_dir(&partial);
            return Err(error);
        }
        fs::rename(&partial, &entry)
            .with_context(|| format!("could not rename {} to {}", partial.display(), entry.display()))?;
        Ok(entry)
    }

    /// Holds the lock called `name` until the returned file is dropped. Waits, and says so, while another run holds it.
    pub fn lock(&self, name: &str) -> Result<File> {
        let dir = self.root.join("locks");
        fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        let path = dir.join(name.replace('/', "-"));
        let file = File::create(&path).with_context(|| format!("could not open the lock file {}", path.display()))?;
        if !flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
            eprintln!("waiting for another run that is making {name} ...");
            if !flock(&file, libc::LOCK_EX) {
                let error = std::io::Error::last_os_error();
                return Err(anyhow!("could not lock {}: {error}", path.display()));
            }
        }
        Ok(file)
    }
}

fn flock(file: &File, operation: i32) -> bool {
    // SAFETY: the descriptor belongs to `file`, which outlives the call; flock touches no memory of ours.
    unsafe { libc::flock(file.as_raw_fd(), operation) == 0 }
}

fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    // A relative KRUNDL_CACHE is a wish that can be met, unlike a relative XDG_CACHE_HOME, which its specification voids.
    variable("KRUNDL_CACHE")
        .filter(|path| !path.as_os_str().is_empty())
        .or_else(|| absolute("XDG_CACHE_HOME").map(|path| path.join("krundl")))
        .or_else(|| absolute("HOME").map(|path| path.join(".cache/krundl")))
}

/// Removes a directory tree; one that does not exist is fine.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A short name for a set of inputs: FNV-1a, 64 bits, in hexadecimal. It tells inputs apart; it proves nothing.
pub fn fingerprint<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for input in inputs {
        // The length first, so that ["ab", "c"] and ["a", "bc"] differ.
        for byte in (input.len() as u64).to_le_bytes().iter().chain(input) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        place(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    }

    fn scratch(name: &str) -> Cache {
        let dir = std::env::temp_dir().join(format!("krundl-cache-{name}-{}", std::process::id()));
        remove_dir(&dir).unwrap();
        Cache::at(dir).unwrap()
    }

    #[test]
    fn the_place_follows_the_environment() {
        let all = [("KRUNDL_CACHE", "/k"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(place_with(&all), Some("/k".into()));
        assert_eq!(place_with(&all[1..]), Some("/x/krundl".into()));
        assert_eq!(place_with(&all[2..]), Some("/h/.cache/krundl".into()));
        assert_eq!(
            place_with(&[("KRUNDL_CACHE", ""), ("XDG_CACHE_HOME", "rel"), ("HOME", "/h")]),
            Some("/h/.cache/krundl".into())
        );
        assert_eq!(place_with(&[]), None);
    }

    #[test]
    fn an_entry_is_made_once() {
        let cache = scratch("once");
        for _ in 0..2 {
            let mut made = 0;
            let dir = cache
                .entry("a/b", |dir| {
                    made += 1;
                    fs::write(dir.join("file"), "x").map_err(Into::into)
                })
                .unwrap();
            assert_eq!(dir, cache.root().join("a/b"));
            assert_eq!(fs::read(dir.join("file")).unwrap(), b"x");
            assert!(made <= 1);
        }
        assert!(cache.entry("a/b", |_| panic!("made twice")).is_ok());
        remove_dir(cache.root()).unwrap();
    }

    #[test]
    fn a_failed_entry_leaves_nothing_that_looks_whole() {
        let cache = scratch("failed");
        let failed = cache.entry("c", |dir| {
            fs::write(dir.join("half"), "x")?;
            Err(anyhow!("no"))
        });
        assert!(failed.is_err());
        assert!(!cache.root().join("c").exists() && !cache.root().join("c.partial").exists());
        let dir = cache.entry("c", |_| Ok(())).unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "what the failed attempt left is gone");
        remove_dir(cache.root()).unwrap();
    }

    #[test]
    fn fingerprints_tell_inputs_apart() {
        let of = |inputs: &[&str]| fingerprint(inputs.iter().map(|input| input.as_bytes()));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&[]), of(&[""]));
    }
}
