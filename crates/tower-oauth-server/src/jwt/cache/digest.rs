use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

const KEY_LEN: usize = 32;
const LEN: usize = 16;

/// What a token is remembered by: 128 bits that say nothing of it to who does not have the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; LEN]);

/// Makes digests under a key that is drawn at random for each cache and never leaves it.
///
/// A hit lets a request in, so two tokens must not have one digest. Which function, then?
///
/// - A 64-bit hash (SipHash, as in the standard maps) is too short without the token beside it, and a token in the cache is a
///   credential in memory for as long as it lives. The verdicts are kept, the tokens are not.
/// - SHA-256 or HMAC would do, at 1 µs for a token of 1.5 KiB: more than all the rest of a hit.
/// - This is GMAC (NIST SP 800-38D), the authenticator of AES-GCM over the whole token, at about a
///   fifth of that. Under a key that nobody knows, two different tokens of up to 8 KiB have the same digest with a chance
///   of at most 2^-118 (512 blocks over a field of 2^128; 2^-115 for the 64 KiB that can be allowed); a forger who tries a million tokens a second against a full
///   cache for a year has one of 2^-60.
///
/// GMAC forbids a nonce to be used twice because *tags that are seen* then give the key away. These
/// are seen by nobody: they are not sent, logged, compared across processes or used as the place in a table, which
/// is chosen by another keyed hash. What an attacker sees of his token is whether it was let in, and how fast, and it is let in
/// fast only if it is one that was let in before.
///
/// Who reads the memory of this process learns the key and could make up a text that hits. He also reads the tokens of
/// the requests as they come in, so that he gains no caller whom he could not be already; from the digests alone he learns no token.
pub(super) struct Digester {
    key: LessSafeKey,
    nonce: [u8; NONCE_LEN],
}

impl Digester {
    /// `None` if the system has no randomness.
    pub(super) fn new() -> Option<Self> {
        let (mut key, mut nonce) = ([0; KEY_LEN], [0; NONCE_LEN]);
        rand::fill(&mut key).ok()?;
        rand::fill(&mut nonce).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?);
        Some(Self { key, nonce })
    }

    pub(super) fn digest(&self, token: &[u8]) -> Option<Digest> {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        tag.as_ref().try_into().ok().map(Digest)
    }
}

impl Digest {
    /// For the choice of a shard.
    pub(super) fn number(&self) -> usize {
        usize::from(self.0.first().copied().unwrap_or_default())
    }
}

// It names a credential, and must not be seen: see above.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_and_the_length_of_a_token_count() {
        let digester = Digester::new().unwrap();
        let digest = |token: &[u8]| digester.digest(token).unwrap();
        let token = vec![b'a'; 1_500];
        let whole = digest(&token);
        assert_eq!(digest(&token), whole);
        for at in 0..token.len() {
            let mut other = token.clone();
            other[at] = b'b';
            assert_ne!(digest(&other), whole, "{at}");
            assert_ne!(digest(&token[..at]), whole, "{at}");
        }
        assert_ne!(digest(&[token.as_slice(), b"\0"].concat()), whole);
    }

    #[test]
    fn d09_each_cache_has_a_key_of_its_own() {
        let [one, other] = [Digester::new().unwrap(), Digester::new().unwrap()];
        assert_ne!(one.digest(b"token"), other.digest(b"token"));
        assert_eq!(format!("{:?}", one.digest(b"token").unwrap()), "Digest(..)");
    }
}
