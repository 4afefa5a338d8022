//! What a token is called in the caches.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tower_oauth_core::BuildError;

/// A keyed digest of a whole token: nobody who sees it learns the token, and nobody outside can choose
/// tokens that share one, or a place in a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

/// Makes the keys of one cache.
pub(super) struct Keys {
    /// Random, made at start and never stored.
    secret: hmac::Key,
    /// Whom is asked, and who asks: an answer holds for these two only (case 65).
    context: Vec<u8>,
}

impl Key {
    pub(super) fn shard(&self, count: usize) -> usize {
        let [first, ..] = self.0;
        usize::from(first) % count.max(1)
    }
}

impl Keys {
    pub(super) fn new(endpoint: &str, client_id: &str) -> Result<Self, BuildError> {
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| BuildError::new("cache", "key", "the system has no randomness"))?;
        let mut context = Vec::new();
        for part in [endpoint, client_id] {
            // With its length in front, or `a` + `bc` would be the same as `ab` + `c`.
            context.extend_from_slice(&(part.len() as u64).to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        Ok(Self { secret, context })
    }

    pub(super) fn of(&self, token: &str) -> Key {
        let mut digest = hmac::Context::with_key(&self.secret);
        digest.update(&self.context);
        digest.update(token.as_bytes());
        let tag = digest.sign();
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Key(key)
    }
}

// Not even the digest: what is logged once may be searched for.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_65_case_66_d09_a_key_is_of_the_whole_token_the_endpoint_and_the_client() {
        let long = "x".repeat(8000);
        let keys = Keys::new("https://idp.example/a", "api").unwrap();
        let same = keys.of(&long);
        assert!(same == keys.of(&long));
        assert!(same != keys.of(&format!("{long}y")), "two tokens with one beginning");
        assert!(same != keys.of(&long[1..]));
        let other = |endpoint: &str, client: &str| {
            let context = Keys::new(endpoint, client).unwrap().context;
            Keys { secret: keys.secret.clone(), context }.of(&long)
        };
        assert!(same == other("https://idp.example/a", "api"));
        assert!(same != other("https://idp.example/b", "api"));
        assert!(same != other("https://idp.example/a", "api2"));
        assert!(same != other("https://idp.example/aa", "pi"));
        // And of this process: the same token has another name in the next.
        assert!(same != Keys::new("https://idp.example/a", "api").unwrap().of(&long));
        assert_eq!(format!("{same:?}"), "Key");
    }
}
