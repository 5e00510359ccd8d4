//! An unnamed file for the request: the helper reads it at its own pace, so that nobody can wait for anybody.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// A file without a name that holds `bytes`, read from the start; close-on-exec.
pub(super) fn unnamed_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = create()?;
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

#[cfg(target_os = "linux")]
fn create() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("krundl-request", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// Created, opened and unlinked at once.
#[cfg(not(target_os = "linux"))]
fn create() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("krundl-request-{}-{:p}", std::process::id(), &()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
