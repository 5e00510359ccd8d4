//! Names and meanings of errno values and signals.

macro_rules! names {
    ($($name:ident),+ $(,)?) => { &[$((libc::$name, stringify!($name))),+] };
}

const ERRNOS: &[(i32, &str)] = names![
    EPERM,
    ENOENT,
    ESRCH,
    EINTR,
    EIO,
    ENXIO,
    E2BIG,
    ENOEXEC,
    EBADF,
    ECHILD,
    EAGAIN,
    ENOMEM,
    EACCES,
    EFAULT,
    EBUSY,
    EEXIST,
    EXDEV,
    ENODEV,
    ENOTDIR,
    EISDIR,
    EINVAL,
    ENFILE,
    EMFILE,
    ENOTTY,
    ETXTBSY,
    EFBIG,
    ENOSPC,
    ESPIPE,
    EROFS,
    EMLINK,
    EPIPE,
    EDOM,
    ERANGE,
    ENAMETOOLONG,
    ENOSYS,
    ELOOP,
    EOVERFLOW,
    ENOTSOCK,
    EPROTO,
    EOPNOTSUPP,
    EAFNOSUPPORT,
    EADDRINUSE,
    ENETUNREACH,
    ECONNRESET,
    ENOBUFS,
    ETIMEDOUT,
    ECONNREFUSED,
    EALREADY,
    ECANCELED,
];

const SIGNALS: &[(i32, &str)] = names![
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE,
    SIGALRM, SIGTERM, SIGSTOP, SIGTSTP, SIGCONT, SIGXCPU, SIGXFSZ, SIGSYS,
];

fn lookup(table: &[(i32, &'static str)], number: i32) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// `ENOENT` for 2, and so on; `None` for numbers without a common name.
pub fn errno_name(errno: i32) -> Option<&'static str> {
    lookup(ERRNOS, errno)
}

/// `SIGABRT` for 6, and so on; `None` for numbers without a common name.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    lookup(SIGNALS, signal)
}

/// Name and meaning of a positive errno, as `ENOENT: No such file or directory`.
pub fn describe(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let meaning = text.split(" (os error").next().unwrap_or(&text);
    match errno_name(errno) {
        Some(name) => format!("{name}: {meaning}"),
        None => format!("errno {errno}: {meaning}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_errno_is_described_by_name_and_meaning() {
        assert_eq!(super::describe(libc::ENOENT), "ENOENT: No such file or directory");
        assert_eq!(super::signal_name(libc::SIGABRT), Some("SIGABRT"));
    }
}
