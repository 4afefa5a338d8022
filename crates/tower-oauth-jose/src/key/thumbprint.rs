use std::fmt;

use aws_lc_rs::digest;

use crate::base64url;

/// The SHA-256 thumbprint of a key's public material (RFC 7638).
///
/// It names the material and nothing else: a key keeps it under another `kid`, `alg` or `use`, and
/// a new key under an old `kid` has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Reads the base64url form, as it stands in `jkt` (RFC 9449 section 6.1): 43 characters, no padding.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let length = base64url::decode_into(text, &mut bytes)?.len();
        (length == bytes.len()).then_some(Self(bytes))
    }

    /// The 32 bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of the required members: they must be sorted by name, and their values need no
    /// escapes (RFC 7638 section 3.3). Both hold for the key types that we read.
    pub(super) fn of_members(members: &[(&str, &str)]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for (at, (name, value)) in members.iter().enumerate() {
            let open: &[u8] = if at == 0 { b"{\"" } else { b",\"" };
            for part in [open, name.as_bytes(), b"\":\"", value.as_bytes(), b"\""] {
                context.update(part);
            }
        }
        context.update(b"}");
        Self::of_digest(context.finish().as_ref())
    }

    pub(super) fn of_digest(digest: &[u8]) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 has 32 bytes; `zip` says so without a panic.
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// As base64url, the usual form of `jkt`.
impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}
