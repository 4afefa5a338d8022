use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{SkipReason, Thumbprint, VerifyingKey, jwk};
use crate::algorithm::{Algorithm, AlgorithmSet};

/// The most keys, usable or not, that a set may list.
const MAX_KEYS: usize = 100;
/// How many keys are tried for one token. More would let an issuer's mistake multiply our work.
const MAX_TRIES: usize = 2;

/// The keys of one issuer, as its JSON Web Key Set gives them (RFC 7517 section 5).
///
/// Each entry is judged by itself: a key that cannot be used is skipped and reported, and never
/// spoils the others. A set belongs to one issuer; keep one for each.
///
/// ```
/// use tower_oauth_jose::{Algorithm, KeySet, NoKey, SkipReason};
///
/// let set = KeySet::from_jwks(
///     r#"{"keys":[
///         {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///         {"kty":"oct","kid":"b","k":"c2VjcmV0"}
///     ]}"#,
/// )?;
/// assert_eq!(set.keys().len(), 1);
/// assert_eq!(set.skipped()[0].reason(), SkipReason::Symmetric);
///
/// assert!(set.candidates(Some("a"), Algorithm::EdDSA).is_ok());
/// assert_eq!(set.candidates(Some("a"), Algorithm::ES256).unwrap_err(), NoKey::AlgorithmMismatch);
/// assert_eq!(set.candidates(Some("z"), Algorithm::EdDSA).unwrap_err(), NoKey::UnknownKid);
/// # Ok::<(), tower_oauth_jose::KeySetError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    skipped: Vec<SkippedKey>,
    /// Whether a key without a name may stand for any: see [`KeySet::from_keys`].
    by_hand: bool,
}

#[derive(Deserialize)]
struct Jwks<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySet {
    /// Reads a key set, entry by entry.
    ///
    /// A set in which no key is usable is no error here; see [`KeySet::is_empty`].
    ///
    /// # Errors
    ///
    /// [`KeySetError::Malformed`] if this is no JSON object with one array `keys`,
    /// [`KeySetError::TooManyKeys`] if the array has more than 100 entries.
    pub fn from_jwks(text: impl AsRef<[u8]>) -> Result<Self, KeySetError> {
        let text = text.as_ref().trim_ascii();
        // serde would also build the struct from an array.
        if !text.starts_with(b"{") {
            return Err(KeySetError::Malformed);
        }
        let jwks: Jwks<'_> = serde_json::from_slice(text).map_err(|_| KeySetError::Malformed)?;
        if jwks.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut set = Self::default();
        for entry in jwks.keys {
            match jwk::read(entry.get().as_bytes()) {
                (_, Ok(key)) => set.push(key),
                (kid, Err(reason)) => set.skipped.push(SkippedKey { kid, reason }),
            }
        }
        Ok(set)
    }

    /// A set of keys that were configured by hand. An exact repetition is dropped.
    ///
    /// In such a set a key without a key id is tried for a token whose key id no key bears: who
    /// configures a bare public key means the issuer's one key, whatever the issuer calls it. As for
    /// a token without a key id, there must be only one that fits.
    ///
    /// This is the only kind of set that may hold secrets ([`VerifyingKey::hmac`]).
    pub fn from_keys(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let mut set = Self { by_hand: true, ..Self::default() };
        keys.into_iter().for_each(|key| set.push(key));
        set
    }

    fn push(&mut self, key: VerifyingKey) {
        let same =
            |other: &VerifyingKey| other.kid() == key.kid() && identity(other) == identity(&key);
        if !self.keys.iter().any(same) {
            self.keys.push(key);
        }
    }

    /// The usable keys, in the set's order.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// Every algorithm that some key of the set is for.
    #[must_use]
    pub fn algorithms(&self) -> AlgorithmSet {
        let none = AlgorithmSet::EMPTY;
        self.keys.iter().fold(none, |all, key| all.union(key.algorithms()))
    }

    /// The entries that are not used, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Whether no key is usable. Such a set must not replace one that has keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token with this header: one, seldom two.
    ///
    /// - With a `kid`: the keys under it that are for `algorithm`. If several different keys bear
    ///   the same id, the first two of them that fit.
    /// - Without: the only key that is for `algorithm`. Nothing is tried out.
    /// - With a `kid` that no key bears, in a set [by hand](KeySet::from_keys): the only key without
    ///   an id that is for `algorithm`.
    ///
    /// # Errors
    ///
    /// [`NoKey`] tells the caller whether asking the issuer again can help.
    pub fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Candidates<'_>, NoKey> {
        let named = |key: &&VerifyingKey| kid.is_none() || key.kid() == kid;
        let unnamed = |key: &&VerifyingKey| key.kid().is_none();
        if kid.is_some() && self.by_hand && !self.keys.iter().any(|key| named(&key)) {
            return match self.select(None, algorithm, unnamed) {
                Err(NoKey::NoneFits) => Err(NoKey::UnknownKid),
                other => other,
            };
        }
        self.select(kid, algorithm, named)
    }

    fn select(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        eligible: impl FnMut(&&VerifyingKey) -> bool,
    ) -> Result<Candidates<'_>, NoKey> {
        let mut known = false;
        let mut found = Candidates { first: None, second: None };
        let mut count = 0;
        for key in self.keys.iter().filter(eligible) {
            known = true;
            let repeated = |other: &VerifyingKey| other.thumbprint() == key.thumbprint();
            if !key.algorithms().contains(algorithm) || found.peek().any(repeated) {
                continue;
            }
            count += 1;
            match count {
                1 => found.first = Some(key),
                MAX_TRIES => found.second = Some(key),
                _ => break,
            }
        }
        match (kid, count) {
            (Some(_), 0) if known => Err(NoKey::AlgorithmMismatch),
            (Some(_), 0) => Err(NoKey::UnknownKid),
            (None, 0) => Err(NoKey::NoneFits),
            (None, 2..) => Err(NoKey::Ambiguous),
            _ => Ok(found),
        }
    }

    /// The material under `kid`, sorted; all of the set's without one.
    ///
    /// If it is the same before and after a refetch, a signature that was bad stays bad.
    #[must_use]
    pub fn thumbprints(&self, kid: Option<&str>) -> Vec<Thumbprint> {
        let keys = self.keys.iter().filter(|key| kid.is_none() || key.kid() == kid);
        let mut thumbprints: Vec<_> = keys.map(VerifyingKey::thumbprint).collect();
        thumbprints.sort_unstable();
        thumbprints.dedup();
        thumbprints
    }

    /// The same set less the keys under `kid`.
    #[must_use]
    pub fn without(&self, kid: &str) -> Self {
        let keys = self.keys.iter().filter(|key| key.kid() != Some(kid));
        Self { keys: keys.cloned().collect(), skipped: self.skipped.clone(), by_hand: self.by_hand }
    }

    /// What a refresh from `self` to `new` brings. The order of the keys does not matter.
    #[must_use]
    pub fn diff(&self, new: &Self) -> KeyDiff {
        let (before, after) = (self.by_name(), new.by_name());
        let mut diff = KeyDiff::default();
        for (name, keys) in &after {
            match before.get(name) {
                None => diff.added.push(name.clone()),
                Some(old) if old != keys => diff.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let removed = before.keys().filter(|name| !after.contains_key(*name));
        diff.removed.extend(removed.cloned());
        diff
    }

    fn by_name(&self) -> BTreeMap<String, Vec<(Thumbprint, AlgorithmSet)>> {
        let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for key in &self.keys {
            let name = key.kid().map_or_else(|| key.thumbprint().to_string(), str::to_owned);
            names.entry(name).or_default().push(identity(key));
        }
        names.values_mut().for_each(|keys| keys.sort_unstable());
        names
    }
}

/// What a key is, apart from its name.
fn identity(key: &VerifyingKey) -> (Thumbprint, AlgorithmSet) {
    (key.thumbprint(), key.algorithms())
}

/// An entry of a key set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    kid: Option<Box<str>>,
    reason: SkipReason,
}

impl SkippedKey {
    /// The entry's key id, if it has a readable one. Issuer's text: escape it when you show it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Why the entry is not used.
    #[must_use]
    pub fn reason(&self) -> SkipReason {
        self.reason
    }
}

/// The keys to try for one token, in order: one or two.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    first: Option<&'a VerifyingKey>,
    second: Option<&'a VerifyingKey>,
}

impl<'a> Candidates<'a> {
    fn peek(&self) -> impl Iterator<Item = &'a VerifyingKey> + use<'a> {
        self.first.into_iter().chain(self.second)
    }
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a VerifyingKey;

    fn next(&mut self) -> Option<Self::Item> {
        self.first.take().or_else(|| self.second.take())
    }
}

/// Why no key of a set is tried for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoKey {
    /// No key bears the token's key id. The issuer may have a new one.
    UnknownKid,
    /// The key under this id is for other algorithms. The issuer may have put another in its place.
    AlgorithmMismatch,
    /// The token has no key id, and no key is for its algorithm.
    NoneFits,
    /// The token has no key id, and several keys are for its algorithm. Asking again is no use.
    Ambiguous,
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKid => "no key bears this key id",
            Self::AlgorithmMismatch => "the key under this key id is for another algorithm",
            Self::NoneFits => "no key is for this algorithm",
            Self::Ambiguous => "several keys are for this algorithm, and no key id is given",
        })
    }
}

impl std::error::Error for NoKey {}

/// The difference between two key sets: key ids, or thumbprints of keys that have none.
///
/// Issuer's text: escape it when you show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDiff {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl KeyDiff {
    /// Ids that only the new set has, sorted.
    #[must_use]
    pub fn added(&self) -> &[String] {
        &self.added
    }

    /// Ids that only the old set has, sorted.
    #[must_use]
    pub fn removed(&self) -> &[String] {
        &self.removed
    }

    /// Ids under which the material, or the algorithms that it is for, are others now; sorted.
    #[must_use]
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// Whether both sets have the same keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Why an answer is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not a JSON object with one array `keys`.
    Malformed,
    /// More than 100 keys.
    TooManyKeys,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a JSON object with an array of keys",
            Self::TooManyKeys => "the set lists more than 100 keys",
        })
    }
}

impl std::error::Error for KeySetError {}
