//! What went wrong, with the system's error number and in words.

use std::io;

/// A failure that ends the guest program before the workload runs.
#[derive(Debug)]
pub struct Failure {
    /// The system's error number, 0 where there is none.
    pub errno: i32,
    /// The reason, without control characters.
    pub message: String,
}

impl Failure {
    /// `what: ENOENT: No such file or directory`.
    pub fn new(what: impl std::fmt::Display, error: &io::Error) -> Failure {
        Failure::explained(what, error, &text(error))
    }

    /// `what: ENODEV: why`.
    pub fn explained(what: impl std::fmt::Display, error: &io::Error, why: &str) -> Failure {
        let errno = error.raw_os_error().unwrap_or(0);
        let message = match name(errno) {
            Some(name) => format!("{what}: {name}: {why}"),
            None if errno != 0 => format!("{what}: error {errno}: {why}"),
            None => format!("{what}: {why}"),
        };
        Failure { errno, message }
    }
}

/// The C library's text of an error.
pub fn text(error: &io::Error) -> String {
    let mut text = error.to_string();
    // The standard library appends the number, which stands elsewhere already.
    if let Some(at) = text.find(" (os error") {
        text.truncate(at);
    }
    text
}

/// Bytes that came from elsewhere, fit for a message: whatever is a control character or not UTF-8 becomes `\xHH`.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let hex = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()) } else { out.push(c) }
        }
        hex(&mut out, chunk.invalid());
    }
    out
}

/// The names of the errors that mounting, opening, connecting and executing give. The numbers are those of x86_64,
/// aarch64 and riscv64.
fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        1 => "EPERM",
        2 => "ENOENT",
        4 => "EINTR",
        5 => "EIO",
        6 => "ENXIO",
        7 => "E2BIG",
        8 => "ENOEXEC",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        15 => "ENOTBLK",
        16 => "EBUSY",
        17 => "EEXIST",
        19 => "ENODEV",
        20 => "ENOTDIR",
        21 => "EISDIR",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        26 => "ETXTBSY",
        28 => "ENOSPC",
        30 => "EROFS",
        32 => "EPIPE",
        36 => "ENAMETOOLONG",
        38 => "ENOSYS",
        40 => "ELOOP",
        95 => "EOPNOTSUPP",
        97 => "EAFNOSUPPORT",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        107 => "ENOTCONN",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        116 => "ESTALE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(Failure::new("x", &error).message, "x: ENOENT: No such file or directory");
        assert_eq!(Failure::new("x", &error).errno, 2);
        let error = io::Error::from_raw_os_error(61);
        assert_eq!(Failure::new("x", &error).message, "x: error 61: No data available");
        assert_eq!(Failure::new("x", &io::Error::other("y")).message, "x: y");
        assert_eq!(shown(b"a\xff\nb\xc3\xa4\xc2\x85\\"), "a\\xff\\x0ab\u{e4}\\xc2\\x85\\");
    }
}
