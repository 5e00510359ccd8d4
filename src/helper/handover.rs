//! A descriptor that goes over a connection, with a byte that says nothing.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Gives a copy of `what` to the other end.
pub(super) fn give(connection: impl AsFd, what: impl AsFd) -> io::Result<()> {
    let given = [what.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&given)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    match sendmsg(connection, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty())? {
        1 => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Takes what the other end has given; close-on-exec.
pub(crate) fn take(connection: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    recvmsg(connection, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, flags)?;
    let mut given = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let given = given.next().and_then(|mut descriptors| descriptors.next()).ok_or(io::ErrorKind::UnexpectedEof)?;
    #[cfg(not(target_os = "linux"))]
    rustix::io::fcntl_setfd(&given, rustix::io::FdFlags::CLOEXEC)?;
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_given_is_taken_and_closed_by_exec() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        give(&ours, std::fs::File::open("/dev/zero").unwrap()).unwrap();
        let taken = take(&theirs).unwrap();
        assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let mut byte = [1];
        std::fs::File::from(taken).read_exact(&mut byte).unwrap();
        assert_eq!(byte, [0]);
    }

    #[test]
    fn a_connection_that_ends_or_talks_gives_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &ours, b"x").unwrap();
        assert_eq!(take(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        drop(ours);
        assert_eq!(take(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
