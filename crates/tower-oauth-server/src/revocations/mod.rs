//! Tokens that have died before their time.

mod list;
mod names;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use tower_oauth_core::{BuildError, Clock, Revocation, RevocationSink, SystemClock};

use crate::Principal;

use self::list::{List, News};

const MAX_CAPACITY: usize = 10_000_000;
const DEFAULT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// A token is let in for its leeway (at most 300 s) beyond its `exp`, and the issuer's clock may be as much ahead of ours when it
/// issues it.
const SLACK: Duration = Duration::from_secs(2 * 300);

/// The tokens that have died before their time: a bounded list that validators share and ask about every request.
///
/// It is a [`RevocationSink`]; whoever learns of a logout or a security event tells it, and when it has returned, the tokens are
/// refused with [`Inactive`](crate::InvalidToken::Inactive) (401), remembered or not. A handle: cloning is a reference count.
///
/// # The rules
///
/// 1. **Every verdict asks**, whether it is fresh or remembered, from a JWT or from introspection. As long as nothing has been revoked that
///    is one atomic load.
/// 2. **Names are matched exactly**, at their issuer: `jti`, `sid`, `sub`, the client, the digest of the token. A JWT that has no `sid` is
///    of no session, but may be [ended along with one](Revocation::sessionless); an introspected token that does not say whether it is meant
///    is asked about anew.
/// 3. **New tokens live**: see [`Revocation`]. A token that does not say when it was issued dies with its subject, its client or its
///    issuer.
/// 4. **An entry lives as long as the longest token may** ([`life`](RevocationsBuilder::life), 24 h, and ten minutes for clocks that differ).
///    A [`Jwt`](crate::Jwt) that takes longer tokens is not built.
/// 5. **Bounded, and never silently forgetful.** When there are more names than [`capacity`](RevocationsBuilder::capacity), the oldest ones of
///    the issuer that has the most become one entry: *all tokens of that issuer that were issued until then*. So too many die and none
///    comes back; their holders get new ones. It is logged and [counted](Self::collapsed). The names of more than 10,000 issuers become
///    one entry for all issuers.
/// 6. **Nothing personal is kept**: names are held as keyed hashes of 128 bits.
///
/// It belongs to one process: a restart forgets it, and other nodes have to be told, too.
///
/// ```
/// use tower_oauth_core::{Revocation, RevocationSink};
/// use tower_oauth_server::{Jwt, Revocations};
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let issuer = "https://idp.example.com/realms/shop";
/// let revocations = Revocations::new();
/// let jwt = Jwt::issuer(issuer)
///     .audience("inventory")
///     .revocations(revocations.clone())
/// #   .http_client(http)
///     .build()?;
/// # drop(jwt);
///
/// // Somebody has logged out; the receivers of `tower-oauth-events` say it like this.
/// revocations.revoke(&Revocation::session(issuer, "08a5019c-17e1"));
/// assert_eq!(revocations.names(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    list: RwLock<List>,
    /// Whether there is anything in it: what a request looks at first.
    any: AtomicBool,
    names: AtomicUsize,
    collapsed: AtomicU64,
    life: Duration,
    clock: Arc<dyn Clock>,
}

/// Builds [`Revocations`]; made by [`Revocations::builder`].
///
/// | option | default |
/// | --- | --- |
/// | [`capacity`](Self::capacity) | 100,000 names, some 15 MiB |
/// | [`life`](Self::life) | 24 h |
/// | [`clock`](Self::clock) | the system's |
#[derive(Clone)]
#[must_use]
pub struct RevocationsBuilder {
    capacity: usize,
    life: Duration,
    clock: Arc<dyn Clock>,
}

/// The text of a token, or what is left of it.
#[derive(Clone, Copy)]
pub(crate) enum TokenText<'t> {
    Text(&'t str),
    Sha256([u8; 32]),
}

/// What the list knows of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Alive,
    Revoked,
    /// Something was revoked, after the verdict, that this token does not say whether it belongs to.
    Unclear,
}

// === impl Revocations ===

impl Revocations {
    /// With the defaults.
    #[must_use]
    pub fn new() -> Self {
        RevocationsBuilder::new().list()
    }

    /// With other bounds.
    pub fn builder() -> RevocationsBuilder {
        RevocationsBuilder::new()
    }

    /// Revokes one token of this issuer by its text, of which only the digest is kept.
    pub fn revoke_token(&self, issuer: &str, token: &str) {
        self.revoke(&Revocation::token(issuer, TokenText::Text(token).sha256()));
    }

    /// Whether this token, of which this is known, has been revoked: for an [`Authenticate`](crate::Authenticate) of your own.
    #[must_use]
    pub fn is_revoked(&self, principal: &Principal, token: &str) -> bool {
        self.standing(principal, TokenText::Text(token), None) == Standing::Revoked
    }

    /// Whether nothing has been revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.0.any.load(Ordering::Acquire)
    }

    /// How many names are held, those included whose tokens have expired by now. Entries for a whole issuer are no names.
    #[must_use]
    pub fn names(&self) -> usize {
        self.0.names.load(Ordering::Relaxed)
    }

    /// How many names have become part of an entry for a whole issuer, because there was no room. More than none says that
    /// [`capacity`](RevocationsBuilder::capacity) is too small.
    #[must_use]
    pub fn collapsed(&self) -> u64 {
        self.0.collapsed.load(Ordering::Relaxed)
    }

    /// The longest life of a token that this list is good for.
    pub(crate) fn life(&self) -> Duration {
        self.0.life
    }

    /// The hot path. `since` is the moment of the question, where the issuer was asked about the token.
    pub(crate) fn standing(
        &self,
        principal: &Principal,
        token: TokenText<'_>,
        since: Option<Instant>,
    ) -> Standing {
        if self.is_empty() {
            return Standing::Alive;
        }
        let now = self.0.clock.now();
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner);
        if list.is_over(now) {
            drop(list);
            self.clear_if_over(now);
            return Standing::Alive;
        }
        list.standing(principal, token, since, now)
    }

    /// Nobody waits for this: another request does the same soon.
    fn clear_if_over(&self, now: Instant) {
        let Ok(mut list) = self.0.list.try_write() else { return };
        if list.is_over(now) {
            let dead = list.take();
            self.0.names.store(0, Ordering::Relaxed);
            self.0.any.store(false, Ordering::Release);
            drop(list);
            drop(dead);
        }
    }
}

impl RevocationSink for Revocations {
    fn revoke(&self, what: &Revocation) {
        let now = self.0.clock.now();
        let news = News {
            what,
            now,
            wall: self.0.clock.unix_seconds(),
            life: self.0.life.saturating_add(SLACK),
        };
        let mut list = self.0.list.write().unwrap_or_else(PoisonError::into_inner);
        let collapsed = list.learn(&news);
        // Under the lock, or they could be of an earlier list than this one.
        self.0.names.store(list.names(), Ordering::Relaxed);
        self.0.any.store(true, Ordering::Release);
        drop(list);
        if collapsed > 0 {
            self.0.collapsed.fetch_add(collapsed as u64, Ordering::Relaxed);
            tracing::warn!(
                names = collapsed,
                "no room for revocations: an issuer's older tokens are all refused"
            );
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("names", &self.names())
            .field("collapsed", &self.collapsed())
            .finish_non_exhaustive()
    }
}

// === impl RevocationsBuilder ===

impl RevocationsBuilder {
    fn new() -> Self {
        Self { capacity: 100_000, life: DEFAULT_LIFE, clock: Arc::new(SystemClock) }
    }

    /// How many names are held before the oldest ones become an entry for their whole issuer: 100,000 if not set, from 1 to 10 million,
    /// at some 150 bytes each.
    pub fn capacity(mut self, names: usize) -> Self {
        self.capacity = names;
        self
    }

    /// How long the longest token lives, from `iat` to `exp`: 24 h if not set, from a minute to a year.
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The capacity or the life is out of bounds.
    pub fn build(self) -> Result<Revocations, BuildError> {
        if !(1..=MAX_CAPACITY).contains(&self.capacity) {
            let why = "is not between 1 and 10 million names";
            return Err(BuildError::new("capacity", self.capacity, why));
        }
        let (least, most) = (Duration::from_secs(60), Duration::from_secs(365 * 24 * 60 * 60));
        if !(least..=most).contains(&self.life) {
            let value = format_args!("{:?}", self.life);
            return Err(BuildError::new("life", value, "is not between a minute and a year"));
        }
        Ok(self.list())
    }

    fn list(self) -> Revocations {
        Revocations(Arc::new(Inner {
            list: RwLock::new(List::new(self.capacity)),
            any: AtomicBool::new(false),
            names: AtomicUsize::new(0),
            collapsed: AtomicU64::new(0),
            life: self.life,
            clock: self.clock,
        }))
    }
}

impl fmt::Debug for RevocationsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationsBuilder")
            .field("capacity", &self.capacity)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

// === impl TokenText ===

impl TokenText<'_> {
    pub(crate) fn sha256(self) -> [u8; 32] {
        match self {
            Self::Sha256(digest) => digest,
            Self::Text(text) => {
                let mut bytes = [0; 32];
                for (to, from) in bytes.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()) {
                    *to = *from;
                }
                bytes
            }
        }
    }
}
