//! The key set seen from outside: what it is good for, and what the last load brought.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tower_oauth_core::ErrorKind;
use tower_oauth_jose::{KeyDiff, KeySet, SkippedKey};

use super::{Jwks, Keys};

/// What a key set is good for at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwksHealth {
    /// The set is as fresh as the issuer wants it.
    Fresh,
    /// The set is older than that, and goes on serving.
    Stale {
        /// For how long, if no refresh succeeds.
        left: Duration,
    },
    /// There is no set, or it is too old: requests get 503.
    Unavailable {
        /// What the last fetch failed of; `None` if none was made yet.
        cause: Option<ErrorKind>,
    },
}

/// What the last load of a key set brought. A set that was not modified is a load that brought
/// nothing.
///
/// The key ids in it are the issuer's text: escape them when you show them.
#[derive(Clone, Debug)]
pub struct JwksLoad {
    generation: u64,
    keys: Arc<KeySet>,
    diff: KeyDiff,
}

/// The state of a key set: what it is good for, and how it came to be so. Made by [`Jwks::status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JwksStatus {
    /// What the set is good for.
    pub health: JwksHealth,
    /// What the last fetch failed of, if it failed. A set that is fresh or stale may have this, too.
    pub last_error: Option<ErrorKind>,
    /// The last load that went well; `None` before the first.
    pub last_load: Option<Arc<JwksLoad>>,
}

/// Tells when the state of a key set changes. Made by [`Jwks::watch`].
///
/// ```
/// # async fn watch(jwks: tower_oauth_server::Jwks) {
/// let mut watch = jwks.watch();
/// loop {
///     let status = watch.changed().await;
///     println!("keys: {:?}", status.health);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct JwksWatch {
    jwks: Jwks,
    /// `None` for a set that nobody fetches.
    news: Option<watch::Receiver<u64>>,
    seen: Seen,
}

/// What counts as a change. The time that is left changes always, and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    health: std::mem::Discriminant<JwksHealth>,
    generation: u64,
    last_error: Option<ErrorKind>,
}

// === impl JwksLoad ===

impl JwksLoad {
    pub(super) fn new(generation: u64, keys: &Arc<KeySet>, diff: &KeyDiff) -> Self {
        Self { generation, keys: Arc::clone(keys), diff: diff.clone() }
    }

    /// The [generation](Jwks::generation) that the set had after it.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys are used.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.keys().len()
    }

    /// The ids of the keys that were not there before; thumbprints of keys without an id.
    #[must_use]
    pub fn added(&self) -> &[String] {
        self.diff.added()
    }

    /// The ids of the keys that are no longer there.
    #[must_use]
    pub fn removed(&self) -> &[String] {
        self.diff.removed()
    }

    /// The ids under which there is another key now.
    #[must_use]
    pub fn changed(&self) -> &[String] {
        self.diff.changed()
    }

    /// The entries that are not used, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        self.keys.skipped()
    }
}

// === impl JwksWatch ===

impl JwksWatch {
    pub(super) fn new(jwks: &Jwks) -> Self {
        let news = match &jwks.0.keys {
            Keys::Fixed(_) => None,
            Keys::Fetched(store) => Some(store.news()),
        };
        Self { jwks: jwks.clone(), news, seen: Seen::of(jwks) }
    }

    /// The state now.
    #[must_use]
    pub fn status(&self) -> JwksStatus {
        self.jwks.status()
    }

    /// Waits until the state is another than when this was last asked: fresh, stale or unavailable,
    /// other keys, another failure or none. It fetches nothing. Dropping the future loses nothing.
    ///
    /// A set that is [fixed](Jwks::fixed) never changes by itself; then it waits for ever.
    pub async fn changed(&mut self) -> JwksStatus {
        loop {
            let now = Seen::of(&self.jwks);
            if now != self.seen {
                self.seen = now;
                return self.jwks.status();
            }
            let Some(news) = &mut self.news else { return std::future::pending().await };
            // Age makes no news of its own. Asked again then, since the clock may be another's.
            let next = self.jwks.next_age().unwrap_or(Duration::MAX).max(SOON);
            // The sender lives as long as `jwks`, so that there is always somebody to wait for.
            let _ = tokio::time::timeout(next, news.changed()).await;
        }
    }
}

/// The shortest sleep, lest a clock that stands still makes a loop.
const SOON: Duration = Duration::from_millis(100);

impl Seen {
    fn of(jwks: &Jwks) -> Self {
        let status = jwks.status();
        Self {
            health: std::mem::discriminant(&status.health),
            generation: jwks.generation(),
            last_error: status.last_error,
        }
    }
}
