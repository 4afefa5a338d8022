use std::sync::Arc;

use serde_json::{Value, json};

use crate::key::SigningKey;

/// How the issuer changes its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rotation {
    /// A new key with a new `kid` signs from now on; the old ones stay published, so that tokens
    /// that are about still verify. The polite way.
    Add,
    /// A new key with a new `kid` signs from now on; the old ones are gone at once.
    Replace,
    /// A new key signs from now on under the `kid` of the current one, which is gone: caches that
    /// only look for unknown names never notice.
    SameKid,
    /// Nothing new: every key but the current one is taken out of the set.
    Withdraw,
}

/// The keys of the issuer.
#[derive(Debug)]
pub(crate) struct KeyRing {
    signing: Arc<SigningKey>,
    /// Published but no longer signing, oldest first.
    previous: Vec<Arc<SigningKey>>,
    /// Published as they are.
    extra: Vec<Value>,
    /// How many names were given; a name is never used twice unless the script says so.
    named: u64,
}

impl KeyRing {
    pub(crate) fn new(first: SigningKey) -> Self {
        Self { signing: Arc::new(first), previous: Vec::new(), extra: Vec::new(), named: 1 }
    }

    pub(crate) fn signing(&self) -> Arc<SigningKey> {
        Arc::clone(&self.signing)
    }

    /// The name of the key that this rotation needs, if it needs one. The caller makes the key, so
    /// that nobody waits for the arithmetic behind the issuer's lock.
    pub(crate) fn name_for(&mut self, rotation: Rotation) -> Option<String> {
        match rotation {
            Rotation::Add | Rotation::Replace => {
                self.named += 1;
                Some(format!("key-{}", self.named))
            }
            Rotation::SameKid => Some(self.signing.kid().to_owned()),
            Rotation::Withdraw => None,
        }
    }

    pub(crate) fn rotate(&mut self, rotation: Rotation, key: Option<SigningKey>) {
        let old = key.map(|key| std::mem::replace(&mut self.signing, Arc::new(key)));
        match rotation {
            Rotation::Add => self.previous.extend(old),
            Rotation::Replace | Rotation::Withdraw => self.previous.clear(),
            Rotation::SameKid => {}
        }
    }

    pub(crate) fn publish_extra(&mut self, key: Value) {
        self.extra.push(key);
    }

    pub(crate) fn withdraw_extra(&mut self) {
        self.extra.clear();
    }

    /// The set as published (RFC 7517 §5): junk first, since that is where it hurts most; then the
    /// current key and the previous ones.
    pub(crate) fn jwks(&self) -> Value {
        let own = std::iter::once(&self.signing).chain(self.previous.iter().rev());
        let keys = self.extra.iter().cloned().chain(own.map(|key| key.jwk()));
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn rotate(ring: &mut KeyRing, rotation: Rotation) {
        let key =
            ring.name_for(rotation).map(|kid| SigningKey::generate(kid, Algorithm::EdDsa).unwrap());
        ring.rotate(rotation, key);
    }

    fn kids(ring: &KeyRing) -> Vec<String> {
        let set = ring.jwks();
        let keys = set["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_rotation_publishes_what_it_says() {
        let mut ring =
            KeyRing::new(SigningKey::generate("key-1".into(), Algorithm::EdDsa).unwrap());
        let steps: &[(Rotation, &[&str])] = &[
            (Rotation::Add, &["key-2", "key-1"]),
            (Rotation::Add, &["key-3", "key-2", "key-1"]),
            (Rotation::SameKid, &["key-3", "key-2", "key-1"]),
            (Rotation::Withdraw, &["key-3"]),
            (Rotation::Withdraw, &["key-3"]),
            (Rotation::Add, &["key-4", "key-3"]),
            (Rotation::Replace, &["key-5"]),
        ];
        for (rotation, expected) in steps {
            let before = ring.signing().jwk();
            rotate(&mut ring, *rotation);
            assert_eq!(kids(&ring), *expected, "{rotation:?}");
            assert_eq!(ring.signing().kid(), expected[0], "{rotation:?}");
            let changed = ring.signing().jwk()["x"] != before["x"];
            assert_eq!(changed, *rotation != Rotation::Withdraw, "{rotation:?}");
        }
    }

    #[test]
    fn an_extra_key_is_published_as_it_is() {
        let mut ring = KeyRing::new(SigningKey::generate("a".into(), Algorithm::EdDsa).unwrap());
        ring.publish_extra(json!({ "kty": "AKP", "kid": 7 }));
        assert_eq!(ring.jwks()["keys"][0], json!({ "kty": "AKP", "kid": 7 }));
        assert_eq!(ring.jwks()["keys"][1]["kid"], "a");
        ring.withdraw_extra();
        assert_eq!(kids(&ring), ["a"]);
    }
}
