//! Frames on the connection to a program: each after its length, big-endian, as libkrun sends and takes them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Takes a frame out whole, as libkrun must find the beginning of the next one; `None` when none comes in time.
pub(super) fn read_frame(connection: &UnixStream, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    let (mut stream, mut length) = (connection, [0; 4]);
    connection.set_read_timeout(Some(patience))?;
    match stream.read(&mut length[..1]) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    connection.set_read_timeout(None)?;
    stream.read_exact(&mut length[1..])?;
    let mut frame = Vec::new();
    stream.take(u32::from_be_bytes(length).into()).read_to_end(&mut frame)?;
    Ok(Some(frame))
}

/// A frame as it travels: its length, big-endian, and itself.
pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a question is short");
    [&length.to_be_bytes(), frame].concat()
}
