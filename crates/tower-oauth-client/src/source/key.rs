use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use tower_oauth_core::Secret;

/// A key of [`TokenCaches`](crate::TokenCaches) made of several parts: a tenant, a scope set, an inbound token.
///
/// Each part is written with its name and its length before it, so that no two lists of parts are the same text:
/// `("a", "bc")` and `("ab", "c")` are two keys. Parts may be secret: `Debug` shows none, and the text is
/// overwritten when the last clone is dropped.
///
/// ```
/// use tower_oauth_client::TokenKey;
/// let key = TokenKey::new().with("tenant", "acme").with("scope", "stock.read");
/// assert_eq!(key, TokenKey::new().with("tenant", "acme").with("scope", "stock.read"));
/// assert_ne!(key, TokenKey::new().with("tenant", "acmescope").with("", "stock.read"));
/// ```
// On behalf of a caller, the key is the caller's token itself and not a digest of it. The cache has to keep that
// token for its next exchange anyway, so a digest would hide nothing; without a cryptographic hash in the tree it could
// collide, and a collision here is one caller's token in the hands of another. Equality of the whole text cannot.
// The buckets are chosen by the standard library's keyed hash, which a caller cannot foresee.
#[derive(Clone)]
pub struct TokenKey(Secret);

impl TokenKey {
    /// A key without parts.
    #[must_use]
    pub fn new() -> Self {
        Self(Secret::new(String::new()))
    }

    /// Adds a part under a name.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        // The final size from the start: growing would leave a copy behind in freed memory.
        let held = self.0.expose();
        let mut text = String::with_capacity(held.len() + name.len() + value.len() + 44);
        text.push_str(held);
        for part in [name, value] {
            // Writing to a string does not fail.
            let _ = write!(text, "{}:{part}", part.len());
        }
        Self(Secret::new(text))
    }

    /// Adds a secret part: the token of the inbound caller, say, on whose behalf another is asked for.
    #[must_use]
    pub fn with_secret(self, name: &str, value: &Secret) -> Self {
        self.with(name, value.expose())
    }

    /// The first part of this name: for the closure of [`build_keyed`](crate::TokenCacheBuilder::build_keyed), which makes
    /// a request of the key.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<Secret> {
        let mut rest = self.0.expose();
        loop {
            let (found, after) = next(rest)?;
            let (value, after) = next(after)?;
            if found == name {
                return Some(Secret::new(value));
            }
            rest = after;
        }
    }
}

/// The part that a text begins with, and what comes after it.
fn next(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

impl Default for TokenKey {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl Eq for TokenKey {}

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expose().hash(state);
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s07_no_two_lists_of_parts_are_one_key() {
        let lists: &[&[(&str, &str)]] = &[
            &[],
            &[("", "")],
            &[("", ""), ("", "")],
            &[("a", "bc")],
            &[("ab", "c")],
            &[("a", "b"), ("", "c")],
            &[("a", "b"), ("c", "")],
            &[("a", "1:b1:c")],
            &[("a", "b1:c")],
            &[("tenant", "a:b"), ("user", "c")],
            &[("tenant", "a"), ("user", "b:c")],
            &[("user", "c"), ("tenant", "a:b")],
        ];
        let key =
            |list: &[(&str, &str)]| list.iter().fold(TokenKey::new(), |key, (n, v)| key.with(n, v));
        for (place, one) in lists.iter().enumerate() {
            for (other_place, other) in lists.iter().enumerate() {
                assert_eq!(key(one) == key(other), place == other_place, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_part_is_found_by_its_name_and_nothing_else_is() {
        let key = TokenKey::new()
            .with("tenant", "7:subject")
            .with("", "1:a")
            .with("subject", "\u{e4}:t")
            .with("subject", "second");
        let part = |name: &str| key.part(name).map(|part| part.expose().to_owned());
        assert_eq!(part("tenant").as_deref(), Some("7:subject"));
        assert_eq!(part("").as_deref(), Some("1:a"));
        assert_eq!(part("subject").as_deref(), Some("\u{e4}:t"));
        assert_eq!((part("a"), part("second"), part("7:subject")), (None, None, None));
        assert!(TokenKey::new().part("").is_none());
    }

    #[test]
    fn l01_debug_shows_no_part() {
        let key = TokenKey::new().with_secret("subject", &Secret::new("CANARY"));
        assert_eq!(format!("{key:?}"), "TokenKey(..)");
    }
}
