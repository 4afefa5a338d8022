use std::fmt;
use std::hint::black_box;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::codec::{TokenResponse, TokenType};
use crate::{Error, ErrorKind, Prover, Scopes};

/// Names one token within this process; never used twice.
///
/// It is born with the token and stays the same however many sources hand the token on, so that
/// "not that one" ([`Need::Unlike`](crate::Need::Unlike)) means the same to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId(NonZeroU64);

/// An access token: the ready-made header value and what is known of its life.
///
/// Cloning is a reference count. `Debug` shows the id and the dates, never the token; the header
/// value is marked sensitive, and its bytes are overwritten when the last clone is dropped.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    id: TokenId,
    header: HeaderValue,
    obtained_at: Option<Instant>,
    expires_at: Option<Instant>,
    scopes: Option<Scopes>,
    accepted: AtomicBool,
    prover: Option<Arc<dyn Prover>>,
}

impl Token {
    /// The longest access token that is taken: 8 KiB, about what servers accept as a header.
    pub const MAX_LEN: usize = 8 * 1024;

    /// The life of a token whose answer has no `expires_in`: 60 seconds.
    pub const DEFAULT_LIFE: Duration = Duration::from_secs(60);

    /// The longest life that is believed: 24 hours.
    pub const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

    /// A bearer token (RFC 6750 §2.1) without a known end: a fixed one, for tests and tools.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]: empty, longer than [`Self::MAX_LEN`], or a character that is not
    /// visible ASCII (RFC 6749 A.12). A line break in a header is impossible by type.
    pub fn bearer(access_token: &str) -> Result<Self, Error> {
        Self::build(TokenType::Bearer, access_token, None, None, None)
    }

    /// The token of an answer that arrived `now`.
    ///
    /// # Errors
    /// As [`Self::bearer`].
    pub fn from_response(response: &TokenResponse, now: Instant) -> Result<Self, Error> {
        let life = response.expires_in.unwrap_or(Self::DEFAULT_LIFE).min(Self::MAX_LIFE);
        Self::build(
            response.token_type,
            response.access_token.expose(),
            Some(now),
            now.checked_add(life),
            response.scopes.clone(),
        )
    }

    /// The same token with a new life, under the name of `earlier`: a server has answered with a
    /// token that it had given before.
    #[must_use]
    pub fn renamed(&self, earlier: &Token) -> Self {
        Self(Arc::new(Inner {
            id: earlier.id(),
            header: self.0.header.clone(),
            obtained_at: self.0.obtained_at,
            expires_at: self.0.expires_at,
            scopes: self.0.scopes.clone(),
            accepted: AtomicBool::new(earlier.was_accepted()),
            prover: self.0.prover.clone(),
        }))
    }

    /// The same token, bound to a key (RFC 9449): each request that it goes with brings a proof of that key. Made with it
    /// before the token is handed on; clones of before know nothing of it.
    #[must_use]
    pub fn with_prover(&self, prover: Arc<dyn Prover>) -> Self {
        Self(Arc::new(Inner {
            id: self.0.id,
            header: self.0.header.clone(),
            obtained_at: self.0.obtained_at,
            expires_at: self.0.expires_at,
            scopes: self.0.scopes.clone(),
            accepted: AtomicBool::new(self.was_accepted()),
            prover: Some(prover),
        }))
    }

    /// The same token under the same name, with its acceptance forgotten: only requests that are
    /// stamped with this one say whether it works from now on. Answers to earlier ones do not count.
    #[must_use]
    pub fn unproven(&self) -> Self {
        let again = self.renamed(self);
        again.0.accepted.store(false, Ordering::Relaxed);
        again
    }

    fn build(
        token_type: TokenType,
        access_token: &str,
        obtained_at: Option<Instant>,
        expires_at: Option<Instant>,
        scopes: Option<Scopes>,
    ) -> Result<Self, Error> {
        let header = authorization(token_type, access_token)?;
        Ok(Self(Arc::new(Inner {
            id: TokenId::fresh(),
            header,
            obtained_at,
            expires_at,
            scopes,
            accepted: AtomicBool::new(false),
            prover: None,
        })))
    }

    /// The name of this token within the process.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.0.id
    }

    /// The value for the `Authorization` header; marked sensitive.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0.header
    }

    /// Whether a request with this `Authorization` carries this token.
    ///
    /// How long the answer takes depends on the lengths and not on where the two differ: a gateway hands on what strangers
    /// have written, and nobody shall find a token by its beginning.
    #[must_use]
    pub fn is_carried_by(&self, authorization: &HeaderValue) -> bool {
        let (ours, theirs) = (self.0.header.as_bytes(), authorization.as_bytes());
        let differ = |bits: u8, (one, other): (&u8, &u8)| black_box(bits | (one ^ other));
        ours.len() == theirs.len() && ours.iter().zip(theirs).fold(0, differ) == 0
    }

    /// Who proves that a request may bring this token; `None` for one that is good by itself.
    #[must_use]
    pub fn prover(&self) -> Option<&Arc<dyn Prover>> {
        self.0.prover.as_ref()
    }

    /// When the answer arrived.
    #[must_use]
    pub fn obtained_at(&self) -> Option<Instant> {
        self.0.obtained_at
    }

    /// When the token ends; `None` if nobody knows.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.0.expires_at
    }

    /// What the authorization server granted, if it said so.
    #[must_use]
    pub fn scopes(&self) -> Option<&Scopes> {
        self.0.scopes.as_ref()
    }

    /// Notes that a resource has accepted this token.
    ///
    /// It tells a token that died (accepted once, rejected now: replace it at once) from a token
    /// that never worked (rejected at first sight: replacing it again and again helps nobody).
    pub fn mark_accepted(&self) {
        // Read first: the line stays shared between cores once the answer is known.
        if !self.0.accepted.load(Ordering::Relaxed) {
            self.0.accepted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a resource has accepted this token.
    #[must_use]
    pub fn was_accepted(&self) -> bool {
        self.0.accepted.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.0.id.0)
            .field("expires_at", &self.0.expires_at)
            .field("scopes", &self.0.scopes)
            .field("accepted", &self.was_accepted())
            .field("is_bound", &self.0.prover.is_some())
            .finish_non_exhaustive()
    }
}

impl TokenId {
    fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // A wrapped counter would need 2^64 tokens; the fallback keeps the type honest without a panic.
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
}

fn authorization(token_type: TokenType, access_token: &str) -> Result<HeaderValue, Error> {
    let scheme = token_type.as_str().as_bytes();
    if access_token.is_empty() {
        return Err(ErrorKind::Malformed("access_token is empty").into());
    }
    if access_token.len() > Token::MAX_LEN {
        return Err(ErrorKind::Malformed("access_token is too long").into());
    }
    if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ErrorKind::Malformed("access_token has a character outside VSCHAR").into());
    }
    let mut text = Zeroizing::new(Vec::with_capacity(scheme.len() + 1 + access_token.len()));
    text.extend_from_slice(scheme);
    text.push(b' ');
    text.extend_from_slice(access_token.as_bytes());
    // The buffer has its final size from the start, so no copy of it stays behind in freed memory;
    // as the owner of the bytes it wipes them when the last header value is dropped.
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text))
        .map_err(|_| ErrorKind::Malformed("access_token is not a header value"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t07_an_access_token_is_visible_ascii() {
        let long = "a".repeat(Token::MAX_LEN + 1);
        for bad in ["", "a b", "a\r\nX: y", "a\0", "ä", "\u{7f}", &long] {
            assert!(matches!(Token::bearer(bad).unwrap_err().kind(), ErrorKind::Malformed(_)));
        }
        for good in ["a", "a.b-c_d~e+f/g=", "1|abc:{}", &long[1..]] {
            assert_eq!(Token::bearer(good).unwrap().header(), &format!("Bearer {good}"));
        }
    }

    #[test]
    fn l06_a_token_is_carried_by_its_own_header_and_by_no_other() {
        let token = Token::bearer("abcdefgh").unwrap();
        let carried = |text: &str| token.is_carried_by(&HeaderValue::from_str(text).unwrap());
        assert!(carried("Bearer abcdefgh"));
        for place in 0.."Bearer abcdefgh".len() {
            let mut other = b"Bearer abcdefgh".to_vec();
            other[place] ^= 1;
            assert!(!carried(std::str::from_utf8(&other).unwrap()), "{place}");
        }
        for other in ["", "Bearer", "Bearer abcdefg", "Bearer abcdefghi", "bearer abcdefgh"] {
            assert!(!carried(other), "{other}");
        }
    }

    #[test]
    fn l01_debug_shows_no_token() {
        let token = Token::bearer("CANARY").unwrap();
        let shown = format!("{token:?} {:?}", token.header());
        assert!(!shown.contains("CANARY"), "{shown}");
    }

    #[test]
    fn an_acceptance_is_forgotten_for_later_requests_only() {
        let token = Token::bearer("a").unwrap();
        token.mark_accepted();
        let again = token.unproven();
        assert_eq!((again.id(), again.header()), (token.id(), token.header()));
        assert!(token.was_accepted() && !again.was_accepted());
        token.mark_accepted();
        assert!(!again.was_accepted());
        again.mark_accepted();
        assert!(again.was_accepted());
    }

    #[test]
    fn ids_are_unique_and_survive_clones() {
        let (a, b) = (Token::bearer("a").unwrap(), Token::bearer("a").unwrap());
        assert_ne!(a.id(), b.id());
        assert_eq!(a.id(), a.clone().id());
    }
}
