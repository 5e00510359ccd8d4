//! A card's hardware address, which a plan has as text.

use std::io;

/// `5a:94:ef:e4:0c:ee` as bytes.
pub(super) fn hardware_address(text: &str) -> io::Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
