//! The tokens that were verified a short while ago.
//!
//! What is kept is a verdict, not a token. A hit says that these very bytes were verified under
//! these rules; all that can have changed since is asked again on every hit: the time, and whether the key that has
//! proven the token is still the one that would be tried. Only valid tokens are kept: a flood of forged ones finds
//! nothing and leaves nothing.

mod digest;
mod shard;

use std::sync::{Mutex, PoisonError};

use tower_oauth_core::BuildError;
use tower_oauth_jose::{Algorithm, KeySet, Thumbprint};

use self::digest::Digester;
use self::shard::Shard;
use crate::Caller;

pub(crate) use self::digest::Digest;

/// A power of two, so that each has as many tokens. Threads meet at one of them for a look-up in a
/// table, and seldom.
const SHARDS: usize = 16;
const MAX_ENTRIES: usize = 10_000_000;

/// How many verified tokens a [`Jwt`](crate::Jwt) remembers, and how large they may be.
///
/// | option | default |
/// | --- | --- |
/// | [`entries`](Self::entries) | 10,000 |
/// | [`token_bytes`](Self::token_bytes) | 4 KiB |
///
/// An entry is the claims in the application's type, the [`Principal`](crate::Principal), and about 200 bytes; no token is kept. With
/// tokens of 1.5 KiB that is about 2 KiB each, 20 MiB when full; it cannot be more than some twice
/// `token_bytes` each, 80 MiB at the defaults. The room is taken as it is needed. When it is full,
/// a token that has not been seen for a while goes for a new one.
///
/// ```
/// # use tower_oauth_server::{Jwt, VerifiedTokenCache};
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let jwt = Jwt::issuer("https://idp.example.com")
///     .audience("inventory")
///     .verified_token_cache(VerifiedTokenCache::new().entries(100_000))
/// #   .http_client(http.clone())
///     .build()?;
///
/// let every_token_anew = Jwt::issuer("https://idp.example.com")
///     .audience("inventory")
///     .verified_token_cache(None)
/// #   .http_client(http)
///     .build()?;
/// # drop((jwt, every_token_anew)); Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct VerifiedTokenCache {
    entries: usize,
    token_bytes: usize,
}

/// Verdicts by the digest of their tokens.
pub(super) struct VerifiedTokens<C> {
    digester: Digester,
    token_bytes: usize,
    shards: Box<[Mutex<Shard<C>>]>,
}

/// A verdict, with what it rests on.
pub(super) struct Entry<C> {
    pub(super) caller: Caller<C>,
    /// Valid from this second on, with the leeway.
    pub(super) from: i64,
    /// Valid until before this second, with the leeway.
    pub(super) until: i64,
    pub(super) standing: Standing,
}

/// By what a token was proven.
pub(super) struct Standing {
    pub(super) kid: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) key: Thumbprint,
    /// Of the set that the key was in when this was last looked at.
    pub(super) generation: u64,
}

// === impl VerifiedTokenCache ===

impl VerifiedTokenCache {
    /// The defaults.
    pub const fn new() -> Self {
        Self { entries: 10_000, token_bytes: 4 * 1024 }
    }

    /// The most tokens that are remembered: 10,000 if not set; 1 to 10 million. It is rounded up to
    /// a multiple of 16.
    pub const fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// A token of more bytes than this is verified each time: 4 KiB if not set. (None of more than
    /// [`max_token_bytes`](crate::JwtBuilder::max_token_bytes) is let in at all.)
    pub const fn token_bytes(mut self, token_bytes: usize) -> Self {
        self.token_bytes = token_bytes;
        self
    }
}

impl Default for VerifiedTokenCache {
    fn default() -> Self {
        Self::new()
    }
}

// === impl VerifiedTokens ===

impl<C> VerifiedTokens<C> {
    pub(super) fn new(options: VerifiedTokenCache) -> Result<Self, BuildError> {
        let VerifiedTokenCache { entries, token_bytes } = options;
        if !(1..=MAX_ENTRIES).contains(&entries) {
            let why = "is not between 1 and 10 million entries";
            return Err(BuildError::new("verified_token_cache", entries, why));
        }
        let Some(digester) = Digester::new() else {
            let why = "the system has no randomness for its key";
            return Err(BuildError::new("verified_token_cache", entries, why));
        };
        let shard = || Mutex::new(Shard::new(entries.div_ceil(SHARDS)));
        Ok(Self { digester, token_bytes, shards: (0..SHARDS).map(|_| shard()).collect() })
    }

    /// Under what a token is remembered; `None` for one that is not to be.
    pub(super) fn digest(&self, token: &str) -> Option<Digest> {
        if token.len() > self.token_bytes { None } else { self.digester.digest(token.as_bytes()) }
    }

    /// The caller of a token that was verified before, if it would be verified again.
    pub(super) fn get(
        &self,
        digest: &Digest,
        now: i64,
        keys: &KeySet,
        generation: u64,
    ) -> Option<Caller<C>> {
        let mut shard = self.shard(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.get(digest)?;
        // Before the time too: the wall clock may have been set back since (RFC 7519 §4.1.5).
        let is_alive = now < entry.until && entry.standing.holds(keys, generation);
        if is_alive {
            return (now >= entry.from).then(|| entry.caller.clone());
        }
        let dead = shard.remove(digest);
        // The claims' destructor is foreign code: it does not run under the lock.
        drop(shard);
        drop(dead);
        None
    }

    /// Remembers a verdict.
    pub(super) fn put(&self, digest: Digest, entry: Entry<C>, now: i64) {
        if now >= entry.until {
            return;
        }
        let Some(shard) = self.shard(&digest) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = shard.insert(digest, entry, now);
        drop(shard);
        drop(gone);
    }

    fn shard(&self, digest: &Digest) -> Option<&Mutex<Shard<C>>> {
        self.shards.get(digest.number() % SHARDS)
    }
}

// === impl Standing ===

impl Standing {
    /// Whether the key that has proven the token is still one that would be tried for it.
    ///
    /// One comparison while the keys are the same. After a change each token asks once for its own
    /// key, so that a new key throws nobody out and a withdrawn or replaced one takes its tokens along.
    fn holds(&mut self, keys: &KeySet, generation: u64) -> bool {
        if self.generation == generation {
            return true;
        }
        let mut tried = keys.candidates(self.kid.as_deref(), self.algorithm).into_iter().flatten();
        let holds = tried.any(|key| key.thumbprint() == self.key);
        if holds {
            self.generation = generation;
        }
        holds
    }
}
