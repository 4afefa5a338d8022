use std::fmt;
use std::sync::Arc;

use crate::BuildError;

/// A set of scope tokens (RFC 6749 §3.3): ordered, without duplicates, cheap to clone.
///
/// Matching is by whole tokens and case-sensitive: `read` is not in `readall`.
///
/// ```
/// use tower_oauth_core::Scopes;
/// let granted = Scopes::parse("stock.write stock.read");
/// assert!(granted.contains("stock.read"));
/// assert!(!granted.contains("stock"));
/// assert_eq!(granted.to_string(), "stock.read stock.write");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Scopes(Arc<[Box<str>]>);

impl Scopes {
    /// Collects scope tokens that the programmer names.
    ///
    /// # Errors
    /// A token is empty or has a character outside `%x21 / %x23-5B / %x5D-7E`: a space, a quote or a
    /// backslash would turn one scope into another on the wire.
    pub fn new<S: AsRef<str>>(tokens: impl IntoIterator<Item = S>) -> Result<Self, BuildError> {
        let mut list = Vec::new();
        for token in tokens {
            let token = token.as_ref();
            if token.is_empty() || !token.bytes().all(is_scope_char) {
                return Err(BuildError::new(
                    "scope",
                    token,
                    "is not one scope token (RFC 6749 §3.3)",
                ));
            }
            list.push(Box::from(token));
        }
        Ok(Self::from_list(list))
    }

    /// Reads the wire form: tokens separated by single spaces.
    ///
    /// Nothing else separates (no tab, no comma): a text with another separator is one token that
    /// matches nothing, which fails closed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::from_list(text.split(' ').filter(|token| !token.is_empty()).map(Box::from).collect())
    }

    /// Whether the set holds exactly this token.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.binary_search_by(|held| held.as_ref().cmp(token)).is_ok()
    }

    /// Whether the set holds every token of `needed`.
    #[must_use]
    pub fn contains_all(&self, needed: &Scopes) -> bool {
        needed.iter().all(|token| self.contains(token))
    }

    /// Whether the set and `wanted` share a token.
    #[must_use]
    pub fn contains_any(&self, wanted: &Scopes) -> bool {
        wanted.iter().any(|token| self.contains(token))
    }

    /// The tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn from_list(mut list: Vec<Box<str>>) -> Self {
        list.sort_unstable();
        list.dedup();
        Self(list.into())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

fn is_scope_char(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_space_separates() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" ", &[]),
            ("a", &["a"]),
            ("b a b", &["a", "b"]),
            ("a  b ", &["a", "b"]),
            ("a\tb", &["a\tb"]),
            ("a,b", &["a,b"]),
        ];
        for (text, expected) in cases {
            assert_eq!(Scopes::parse(text).iter().collect::<Vec<_>>(), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_scope_token_of_the_programmer_is_checked() {
        for bad in ["", "a b", "a\"b", "a\\b", "ä", "a\nb"] {
            assert!(Scopes::new([bad]).is_err(), "{bad:?}");
        }
        assert!(Scopes::new(["https://a.example/.default", "read:all"]).is_ok());
    }

    #[test]
    fn j32_matching_is_by_whole_token() {
        let held = Scopes::parse("readall write");
        assert!(!held.contains("read"));
        assert!(held.contains_any(&Scopes::parse("write read")));
        assert!(!held.contains_all(&Scopes::parse("write read")));
        assert!(held.contains_all(&Scopes::default()));
    }
}
