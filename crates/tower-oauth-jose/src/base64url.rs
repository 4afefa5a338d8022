//! Base64url as JOSE wants it (RFC 7515 section 2): no padding, no white space, no stray bits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes; one text has one meaning, so that nobody can write a token in two ways (case J20).
pub(crate) fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes into `room` and gives back the part that was written; `None` also when it does not fit.
pub(crate) fn decode_into(text: impl AsRef<[u8]>, room: &mut [u8]) -> Option<&[u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, room).ok()?;
    room.get(..length)
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
