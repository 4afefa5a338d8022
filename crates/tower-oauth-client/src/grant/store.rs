use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tower_oauth_core::{BoxFuture, Error, Secret};
use zeroize::Zeroizing;

/// Keeps the refresh token of a session: the seam for a store of your own.
///
/// # Contract
/// 1. [`swap`](Self::swap) is atomic: of several who expect the same generation, in whatever process, one succeeds.
/// 2. What a `swap` has stored the next [`load`](Self::load) finds, also after a crash where the store is to survive one.
/// 3. A record that cannot be believed (tampered with, of another form) is none: `Ok(None)`, and tell somebody.
///
/// A refresh token is redeemed once. So whoever wants to redeem it first swaps in the same token with
/// [`redeeming`](StoredRefreshToken::redeeming) set; who loses that swap reads again, and waits for the successor.
pub trait RefreshTokenStore: Send + Sync + 'static {
    /// What is stored for the session.
    fn load(&self, of: &SessionId) -> BoxFuture<Result<Option<StoredRefreshToken>, Error>>;

    /// Puts `next` in the place of what is stored, if that is still of the generation `expected` (0: nothing is
    /// stored); `None` deletes it. `false`: somebody was faster, and nothing has changed.
    fn swap(
        &self,
        of: &SessionId,
        expected: u64,
        next: Option<StoredRefreshToken>,
    ) -> BoxFuture<Result<bool, Error>>;
}

/// Whose refresh token it is: the authorization server, the client, and the session's name. No secret is in it.
///
/// Scopes and resources are not: a refresh token is good for all of its own, and caches for several of them share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<[u8]>);

/// A refresh token and what is known of it. `Debug` does not show the token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredRefreshToken {
    /// The token.
    pub token: Secret,
    /// Which record it is: higher each time that anything in it changes; never 0.
    pub generation: u64,
    /// Whether the server gives a new one each time that it is used; `None` while nobody knows.
    pub rotates: Option<bool>,
    /// Somebody is redeeming it just now, or did, and has not heard what became of it.
    pub redeeming: Option<Redeeming>,
}

/// Who redeems a refresh token, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redeeming {
    /// A number that the process drew.
    pub holder: u64,
    /// When it was sent for the first time, in seconds since 1970 by the clock of that process.
    pub since: i64,
}

/// In memory until log-out, never on disk: the default. Clones share what is stored, so that several caches can share a session.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<HashMap<SessionId, StoredRefreshToken>>>);

// === impl SessionId ===

impl SessionId {
    pub(crate) fn new(server: &str, client_id: &str, session: &str) -> Self {
        let mut bytes = Vec::new();
        for part in ["tower-oauth session 1", server, client_id, session] {
            // With its length in front no part can reach into the next one.
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes.into())
    }

    /// A form that no other session has: for a key in a store, or as associated data of an encryption.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

// === impl StoredRefreshToken ===

/// The first line of the written form.
const FORM: &str = "tower-oauth-refresh 1";

impl StoredRefreshToken {
    /// The first record of a session.
    pub(crate) fn first(token: Secret) -> Self {
        // Not 1 each time: who still holds a record of a session that has ended must not take this one for its successor.
        let generation = 1 + (u64::from(fastrand::u32(..)) << 24);
        Self { token, generation, rotates: None, redeeming: None }
    }

    /// The record after this one.
    pub(crate) fn next(&self) -> Self {
        Self { generation: self.generation.saturating_add(1), ..self.clone() }
    }

    /// A form to write down. It holds the token: seal it, or write it where only the service reads.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let rotates = match self.rotates {
            None => "unknown",
            Some(true) => "yes",
            Some(false) => "no",
        };
        let (holder, since) = self.redeeming.map_or((0, 0), |it| (it.holder, it.since));
        let head = format!("{FORM}\n{} {rotates} {holder} {since}\n", self.generation);
        let mut bytes = Zeroizing::new(Vec::with_capacity(head.len() + self.token.expose().len()));
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(self.token.expose().as_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (form, rest) = text.split_once('\n')?;
        let (head, token) = rest.split_once('\n')?;
        let mut words = head.split(' ');
        let generation = words.next()?.parse().ok().filter(|generation| *generation > 0)?;
        let rotates = match words.next()? {
            "unknown" => None,
            "yes" => Some(true),
            "no" => Some(false),
            _ => return None,
        };
        let holder = words.next()?.parse().ok()?;
        let since = words.next()?.parse().ok()?;
        if form != FORM || token.is_empty() || words.next().is_some() {
            return None;
        }
        let redeeming = (holder != 0).then_some(Redeeming { holder, since });
        Some(Self { token: Secret::new(token), generation, rotates, redeeming })
    }
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl RefreshTokenStore for MemoryStore {
    fn load(&self, of: &SessionId) -> BoxFuture<Result<Option<StoredRefreshToken>, Error>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned();
        Box::pin(std::future::ready(Ok(held)))
    }

    fn swap(
        &self,
        of: &SessionId,
        expected: u64,
        next: Option<StoredRefreshToken>,
    ) -> BoxFuture<Result<bool, Error>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_expected = held.get(of).map_or(0, |held| held.generation) == expected;
        if is_expected {
            match next {
                Some(next) => held.insert(of.clone(), next),
                None => held.remove(of),
            };
        }
        Box::pin(std::future::ready(Ok(is_expected)))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s07_no_two_sessions_have_one_id() {
        let ids = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("", "ab", "c")];
        for (i, a) in ids.iter().enumerate() {
            for b in ids.iter().skip(i + 1) {
                assert_ne!(SessionId::new(a.0, a.1, a.2), SessionId::new(b.0, b.1, b.2));
            }
        }
    }

    #[test]
    fn a_record_survives_its_written_form_and_nothing_else_becomes_one() {
        let redeeming = Some(Redeeming { holder: 7, since: 1_800_000_000 });
        for rotates in [None, Some(true), Some(false)] {
            for redeeming in [None, redeeming] {
                let token = Secret::new("r\n1 2\u{e4}");
                let record = StoredRefreshToken { token, generation: 9, rotates, redeeming };
                let read = StoredRefreshToken::decode(&record.encode()).unwrap();
                assert_eq!(read.token.expose(), record.token.expose());
                assert_eq!((read.generation, read.rotates), (9, rotates));
                assert_eq!(read.redeeming, redeeming);
            }
        }
        for bad in [
            "",
            "tower-oauth-refresh 2\n1 yes 0 0\nr",
            "tower-oauth-refresh 1\n0 yes 0 0\nr",
            "tower-oauth-refresh 1\n1 maybe 0 0\nr",
            "tower-oauth-refresh 1\n1 yes 0 0 0\nr",
            "tower-oauth-refresh 1\n1 yes 0\nr",
            "tower-oauth-refresh 1\n1 yes 0 0\n",
            "tower-oauth-refresh 1\n1 yes 0 0",
        ] {
            assert!(StoredRefreshToken::decode(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn t11_of_those_who_expect_one_generation_one_succeeds() {
        let (store, id) = (MemoryStore::new(), SessionId::new("s", "c", ""));
        let first = StoredRefreshToken::first("r1".into());
        assert!(store.swap(&id, 0, Some(first.clone())).await.unwrap());
        assert!(!store.swap(&id, 0, Some(StoredRefreshToken::first("x".into()))).await.unwrap());
        assert!(store.swap(&id, first.generation, Some(first.next())).await.unwrap());
        assert!(!store.swap(&id, first.generation, None).await.unwrap(), "an older one loses");
        let held = store.load(&id).await.unwrap().unwrap();
        assert_eq!(held.generation, first.generation + 1);
        assert!(store.swap(&id, held.generation, None).await.unwrap());
        assert!(store.load(&id).await.unwrap().is_none());
    }
}
