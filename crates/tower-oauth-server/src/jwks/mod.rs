//! The keys of an issuer, kept fresh.

mod answer;
mod builder;
mod fetch;
mod file;
mod gate;
mod landing;
mod limiter;
mod ready;
mod snapshot;
mod status;
mod store;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use tower_oauth_core::{BuildError, Error, ErrorKind, Issuer};
use tower_oauth_jose::{AlgorithmSet, KeySet, SkippedKey};

use self::snapshot::Snapshot;
use self::store::Store;

pub(crate) use self::answer::unsound;
pub use self::builder::JwksBuilder;
pub(crate) use self::builder::default_http_client;
pub(crate) use self::limiter::WAITING_RETRY_AFTER_MAX;
pub use self::ready::ColdStart;
pub use self::status::{JwksHealth, JwksLoad, JwksStatus, JwksWatch};
pub(crate) use self::store::{Landed, Next, NoFetch, Wait};

/// The keys of one issuer (its JWK Set, RFC 7517 §5), kept fresh.
///
/// A handle: cloning is a reference count, and all clones share the set and its fetches. One `Jwks`
/// is for one issuer; tenants that share nothing get one each, and a flood at one of them costs the
/// others nothing.
///
/// # The rules
///
/// 1. **Lazy.** The first request fetches; everybody who comes meanwhile waits for the same fetch.
///    There is no timer: an idle process asks nobody. [`warm`](Self::warm) and [`ready`](Self::ready) fetch ahead,
///    [`keep_fresh`](Self::keep_fresh) is the timer for who wants one.
/// 2. **Who knows the key never waits.** A token whose key is in the set is judged at once, whatever
///    the set's age and whatever is in the air.
/// 3. **Fresh** for as long as `Cache-Control`, `Age` and `Expires` say (RFC 9111 §4.2), at least
///    60 s, at most 24 h; 10 min if they say nothing. At 80 % of that, ±10 % by chance, a request
///    sets off a refresh in the background. A set that is unchanged (304) is renewed.
/// 4. **Last known good.** A set that has outlived its freshness serves for up to 24 h more
///    ([`stale_for`](JwksBuilder::stale_for)), while refreshes go on: after a failure in 1 s, 2 s, 4 s,
///    at last every 60 s, or when the issuer's `Retry-After` says (at most 5 min). Then
///    it is 503. This holds for a process that was idle, too: its first request is judged by the old
///    set while the refresh runs. A key that the issuer has withdrawn dies with the refresh that
///    shows it.
/// 5. **Misses.** An unknown key id, and a bad signature under a known one (the same name may have a
///    new key), are looked up at once, past the caches on the way; by all who miss at that
///    moment with one fetch. Fetches that bring nothing new space themselves out: at 0, 1, 3, 7,
///    15, 31 s and every 30 s after, until there was a quiet minute or a new key. A fetch that fails
///    does not count; it is tried again in 1 s, 2 s, .. 5 s, and until then the answer is 503, since
///    nobody knows whether there is such a key. Otherwise the answer in between is "unknown key" (401),
///    at once: also to the first tokens of a rotation amid a flood of forged ones. So
///    forged tokens cost the issuer at most six fetches in their first minute and two in
///    each after, and a real rotation in the midst of them is seen within 30 s. More than 8,192
///    requests that wait for one fetch are 503, too.
/// 6. **Nothing bad replaces a good set**: no error page, redirect, truncated or oversized answer
///    (256 KiB, 100 keys, 5 s in all), and no set without a usable key. A key that cannot
///    be used is skipped and does not harm the others.
/// 7. **Without a set** the answer is 503, never 401. A dead issuer is asked once a second, and
///    requests succeed again within a second after it is back. A [snapshot
///    file](JwksBuilder::snapshot_file) spares a restart this.
/// 8. **Seen and moved by hand.** [`health`](Self::health), [`status`](Self::status) and [`watch`](Self::watch) tell the state;
///    [`refresh`](Self::refresh), [`evict`](Self::evict) and [`clear`](Self::clear) change it, and with a key go the verdicts that it has proven.
///
/// ```
/// use tower_oauth_jose::KeySet;
/// use tower_oauth_server::{Jwks, JwksHealth};
///
/// // Fixed keys, for tests or for an issuer that is part of the same process:
/// let keys = KeySet::from_jwks(
///     r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
/// )?;
/// let jwks = Jwks::fixed(keys)?;
/// assert_eq!(jwks.health(), JwksHealth::Fresh);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Jwks(Arc<Inner>);

struct Inner {
    /// Whose keys these are, where that is known.
    issuer: Option<Issuer>,
    keys: Keys,
}

enum Keys {
    Fixed(ArcSwapOption<Snapshot>),
    Fetched(Store),
}

/// One look at the set.
pub(crate) struct Peek {
    snapshot: Guard<Option<Arc<Snapshot>>>,
    serves: bool,
}

impl Peek {
    /// The keys, unless there are none or they are too old.
    pub(crate) fn keys(&self) -> Option<&KeySet> {
        self.snapshot.as_deref().filter(|_| self.serves).map(Snapshot::keys)
    }

    /// See [`Jwks::generation`].
    pub(crate) fn generation(&self) -> u64 {
        self.snapshot.as_deref().map_or(0, Snapshot::generation)
    }

    /// The fetch that the keys come from.
    pub(crate) fn seq(&self) -> u64 {
        self.snapshot.as_deref().map_or(0, |snapshot| snapshot.seq)
    }
}

impl Jwks {
    /// The key set of an issuer, whose address its metadata tells (RFC 8414, OpenID Connect
    /// Discovery). The metadata is read again every hour, and when there is no set at the address.
    pub fn issuer(issuer: impl Into<String>) -> JwksBuilder {
        JwksBuilder::issuer(issuer.into())
    }

    /// The key set at this address.
    pub fn uri(jwks_uri: impl Into<String>) -> JwksBuilder {
        JwksBuilder::uri(jwks_uri.into())
    }

    /// A set that does not change: the issuer's own, or one of keys by hand ([`KeySet::from_keys`]).
    ///
    /// # Errors
    /// It has no key.
    pub fn fixed(keys: KeySet) -> Result<Self, BuildError> {
        if keys.is_empty() {
            return Err(BuildError::new("jwks", "fixed", "has no usable key"));
        }
        let snapshot =
            Snapshot { keys: Arc::new(keys), generation: 1, seq: 0, etag: None, ages: None };
        Ok(Self(Arc::new(Inner {
            issuer: None,
            keys: Keys::Fixed(ArcSwapOption::from_pointee(snapshot)),
        })))
    }

    fn fetched(issuer: Option<Issuer>, store: Store) -> Self {
        Self(Arc::new(Inner { issuer, keys: Keys::Fetched(store) }))
    }

    /// Sees to it that there is a set: for a readiness probe, or before the first request.
    ///
    /// # Errors
    /// Why there is none. The pauses between attempts hold here too: a call during one is
    /// answered at once with the last failure.
    pub async fn warm(&self) -> Result<(), Error> {
        let Keys::Fetched(store) = &self.0.keys else { return Ok(()) };
        // More than once, since the flight that is joined may be lost with its runtime.
        for _ in 0..3 {
            let wait = match store.first(None) {
                Next::LookAgain => return Ok(()),
                Next::Wait(wait) => wait,
                Next::Refuse((cause, left)) => {
                    return Err(Error::new(cause).with_retry_after(Some(left)));
                }
            };
            if let Landed::Failed(error) = store.landed(wait).await {
                // The snapshot file may have had a set for this case.
                return if self.peek().keys().is_some() { Ok(()) } else { Err(error) };
            }
        }
        if self.peek().keys().is_some() { Ok(()) } else { Err(ErrorKind::Lost.into()) }
    }

    /// Fetches the set now, past the caches on the way, outside of every budget. For a webhook or an operator.
    ///
    /// When it returns `Ok`, the set is from after the call.
    ///
    /// # Errors
    /// Why the fetch failed. The set at hand goes on serving.
    pub async fn refresh(&self) -> Result<(), Error> {
        let Keys::Fetched(store) = &self.0.keys else { return Ok(()) };
        let mut asked = None;
        // A fetch from before the call may be in the air, and another one may get ahead of ours.
        for _ in 0..4 {
            let wait = store.manual(asked);
            asked = Some(wait.asked);
            match store.landed(wait).await {
                Landed::Answered => return Ok(()),
                Landed::Failed(error) => return Err(error),
                Landed::Earlier | Landed::Nothing => {}
            }
        }
        Err(ErrorKind::Lost.into())
    }

    /// Drops the keys under this id, here and in the snapshot file, and with them every verdict that
    /// they have proven. Says whether there were any. For an operator who knows that a copy is bad.
    ///
    /// The next token under the id asks the issuer, within the budget for misses. If the issuer
    /// still publishes the key, that brings it back: to ban a key that its issuer stands by is not
    /// what this does. A fetch that is in the air does not bring it back. In a
    /// [fixed](Self::fixed) set it is gone for good.
    #[must_use = "says whether there was such a key"]
    pub fn evict(&self, kid: &str) -> bool {
        match &self.0.keys {
            Keys::Fixed(fixed) => {
                // Somebody else may evict another key at this moment; neither must bring the other's back.
                let before = fixed.rcu(|set| match set {
                    Some(set) if set.holds(kid) => {
                        set.without(kid, set.generation + 1).map(Arc::new)
                    }
                    other => other.clone(),
                });
                before.is_some_and(|set| set.holds(kid))
            }
            Keys::Fetched(store) => store.evict(kid),
        }
    }

    /// Drops the whole set, here and in the snapshot file, with every verdict that its keys have
    /// proven, and starts cold: the next request fetches and waits. A
    /// [fixed](Self::fixed) set is gone for good.
    ///
    /// To replace a set without a gap use [`refresh`](Self::refresh).
    pub fn clear(&self) {
        match &self.0.keys {
            Keys::Fixed(fixed) => fixed.store(None),
            Keys::Fetched(store) => store.clear(),
        }
    }

    /// What the set is good for at this moment. Asking fetches nothing.
    #[must_use]
    pub fn health(&self) -> JwksHealth {
        let store = match &self.0.keys {
            Keys::Fixed(fixed) if fixed.load().is_some() => return JwksHealth::Fresh,
            Keys::Fixed(_) => return JwksHealth::Unavailable { cause: None },
            Keys::Fetched(store) => store,
        };
        let now = store.now();
        let ages = store.load().as_deref().and_then(|snapshot| snapshot.ages);
        match ages {
            Some(ages) if now < ages.fresh_until => JwksHealth::Fresh,
            Some(ages) if now < ages.serves_until => {
                JwksHealth::Stale { left: ages.serves_until.saturating_duration_since(now) }
            }
            _ => JwksHealth::Unavailable { cause: store.last_error() },
        }
    }

    /// The health, with what the last fetches brought. Asking fetches nothing.
    #[must_use]
    pub fn status(&self) -> JwksStatus {
        let (last_error, last_load) = match &self.0.keys {
            Keys::Fixed(_) => (None, None),
            Keys::Fetched(store) => (store.last_error(), store.last_load()),
        };
        JwksStatus { health: self.health(), last_error, last_load }
    }

    /// Tells when the state changes, from now on.
    #[must_use]
    pub fn watch(&self) -> JwksWatch {
        JwksWatch::new(self)
    }

    /// The entries of the set at hand that are not used, and why. A key id in it is the issuer's
    /// text: escape it when you show it.
    #[must_use]
    pub fn skipped(&self) -> Vec<SkippedKey> {
        self.snapshot().map_or_else(Vec::new, |snapshot| snapshot.keys.skipped().to_vec())
    }

    /// Goes up each time the keys change; 0 while there are none.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.snapshot().map_or(0, |snapshot| snapshot.generation)
    }

    /// Whose keys these are, where the address was discovered.
    #[must_use]
    pub fn issuer_name(&self) -> Option<&str> {
        self.0.issuer.as_ref().map(Issuer::as_str)
    }

    pub(crate) fn is_of(&self) -> Option<&Issuer> {
        self.0.issuer.as_ref()
    }

    /// What keys that never change are for.
    pub(crate) fn fixed_algorithms(&self) -> Option<AlgorithmSet> {
        match &self.0.keys {
            Keys::Fixed(snapshot) => snapshot.load().as_deref().map(|set| set.keys.algorithms()),
            Keys::Fetched(_) => None,
        }
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        match &self.0.keys {
            Keys::Fixed(snapshot) => snapshot.load_full(),
            Keys::Fetched(store) => store.load().as_ref().map(Arc::clone),
        }
    }

    /// The hot path: one load of the snapshot. A refresh that is due is set off, not waited for.
    pub(crate) fn peek(&self) -> Peek {
        match &self.0.keys {
            Keys::Fixed(snapshot) => Peek { snapshot: snapshot.load(), serves: true },
            Keys::Fetched(store) => {
                let snapshot = store.load();
                let Some(set) = snapshot.as_deref() else {
                    return Peek { snapshot, serves: false };
                };
                let now = store.now();
                let serves = set.serves(now);
                if serves && set.is_due(now) {
                    store.refresh_in_background(now);
                }
                Peek { snapshot, serves }
            }
        }
    }

    /// Waits for a first set; or why not, and when to come again. See [`Store::first`].
    pub(crate) fn first(&self, asked: Option<u64>) -> Next<(ErrorKind, Duration)> {
        match &self.0.keys {
            Keys::Fixed(_) => Next::Refuse((ErrorKind::NotRenewable, Duration::ZERO)),
            Keys::Fetched(store) => store.first(asked),
        }
    }

    /// Waits for a missing key, if that makes sense now. See [`Store::miss`].
    pub(crate) fn miss(&self, kid: Option<&str>, seen: u64, asked: Option<u64>) -> Next<NoFetch> {
        match &self.0.keys {
            Keys::Fixed(_) => Next::Refuse(NoFetch::Absent),
            Keys::Fetched(store) => store.miss(kid, seen, asked),
        }
    }

    /// See [`Store::is_absent`].
    pub(crate) fn is_absent(&self, kid: &str, seen: u64) -> bool {
        match &self.0.keys {
            Keys::Fixed(_) => false,
            Keys::Fetched(store) => store.is_absent(kid, seen),
        }
    }

    /// See [`Store::absent`].
    pub(crate) fn absent(&self, kid: Option<&str>) {
        if let Keys::Fetched(store) = &self.0.keys {
            store.absent(kid);
        }
    }

    /// See [`Store::landed`].
    pub(crate) async fn landed(&self, wait: Wait) -> Landed {
        match &self.0.keys {
            Keys::Fixed(_) => Landed::Nothing,
            Keys::Fetched(store) => store.landed(wait).await,
        }
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("issuer", &self.0.issuer)
            .field("generation", &self.generation())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
