use std::ops::Range;
use std::sync::OnceLock;

use crate::base64url;
use crate::error::InvalidToken;
use crate::json::{JsonError, Object};

/// The claims set of a token, decoded, and what was signed with it: both in one piece of memory.
///
/// Whoever looks for the issuer first and checks the rest later reads it once: to read all of it
/// is most of what a hostile token costs.
pub(crate) struct Payload {
    /// The claims set, and the signature behind it.
    bytes: Vec<u8>,
    length: usize,
    read: OnceLock<Result<Places, JsonError>>,
}

/// Where the members of an object stand in its text, in the object's order.
pub(crate) type Places = Vec<(Name, Range<usize>)>;

/// A member's name: as it stands in the text, or written out if there are escapes in it.
pub(crate) enum Name {
    At(Range<usize>),
    Unescaped(Box<str>),
}

impl Payload {
    /// Decodes both parts into `room`.
    pub(super) fn decode(payload: &[u8], signature: &[u8], mut room: Vec<u8>) -> Option<Self> {
        room.clear();
        let is_payload = base64url::decode_onto(payload, &mut room);
        let length = room.len();
        let is_good = is_payload && base64url::decode_onto(signature, &mut room);
        is_good.then(|| Self { bytes: room, length, read: OnceLock::new() })
    }

    /// The claims set, as one strict JSON object.
    pub(crate) fn object(&self) -> Result<Object<'_>, InvalidToken> {
        let object = match self.read.get() {
            None => Object::parse(self.text()),
            Some(Ok(places)) => Object::at(self.text(), places),
            Some(Err(error)) => Err(*error),
        };
        Ok(object?)
    }

    /// The same, for somebody after whom others will ask.
    pub(crate) fn object_for_all(&self) -> Result<Object<'_>, InvalidToken> {
        self.read.get_or_init(|| Object::parse(self.text())?.places(self.text()));
        self.object()
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(super) fn signature(&self) -> &[u8] {
        self.bytes.get(self.length..).unwrap_or_default()
    }

    /// The claims set alone.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.length);
        self.bytes
    }
}
