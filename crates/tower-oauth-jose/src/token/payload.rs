use std::ops::Range;
use std::sync::OnceLock;

use crate::error::InvalidToken;
use crate::json::{JsonError, Object};

/// The claims set of a token, decoded.
///
/// Whoever looks for the issuer first and checks the rest later reads it once: to read all of it
/// is most of what a hostile token costs.
pub(crate) struct Payload {
    bytes: Vec<u8>,
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
    pub(super) const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, read: OnceLock::new() }
    }

    /// The claims set, as one strict JSON object.
    pub(crate) fn object(&self) -> Result<Object<'_>, InvalidToken> {
        let object = match self.read.get() {
            None => Object::parse(&self.bytes),
            Some(Ok(places)) => Object::at(&self.bytes, places),
            Some(Err(error)) => Err(*error),
        };
        Ok(object?)
    }

    /// The same, for somebody after whom others will ask.
    pub(crate) fn object_for_all(&self) -> Result<Object<'_>, InvalidToken> {
        self.read.get_or_init(|| Object::parse(&self.bytes)?.places(&self.bytes));
        self.object()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
