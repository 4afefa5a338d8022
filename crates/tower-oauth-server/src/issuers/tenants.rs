use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tower_layer::Layer;
use tower_oauth_core::{BuildError, Clock, Error, ErrorKind, Issuer, SystemClock};
use tower_oauth_jose::{InvalidToken, MAX_TOKEN_BYTES, StandardClaims, Unverified};
use tower_service::Service;
use tower_single_flight::{FlightError, ResponseFuture, SingleFlight, SingleFlightLayer};

use super::live::{Known, Live};
use super::resolve::{Resolve, TenantResolver};
use crate::jwt::{Sender, TOKEN_BYTES, unavailable};
use crate::{Authenticate, Caller, Jwt, Presented, Rejection, Verdict};

/// A longer name is no issuer that anybody configures.
const MAX_ISSUER: usize = 512;
/// How many requests may wait for one answer of the resolver. They hold a token each.
const MAX_WAITERS: usize = 1_024;

/// Validates the tokens of issuers that come and go: a tenant each.
///
/// A [`TenantResolver`] of the application says which issuers are trusted; see there for an example. What it allows is *live*: its
/// [`Jwt`] is kept, with keys, budgets and memory of its own. Nothing is fetched from an
/// issuer that it does not allow.
///
/// Live tenants are bounded ([`max_live`](TenantsBuilder::max_live)). For one more, the one goes
/// whose tokens were let in the longest ago. It comes
/// back when it is needed, with a question to the resolver and a fetch of its keys.
///
/// Tokens that are refused move nobody: until a token of a tenant was let in, it is *on trial*, in a room
/// of its own for 256 more. A trial that came to nothing makes room for another after 30 s; while all are younger, the
/// answer to a token of one more tenant is 503. So whoever knows the names of many idle tenants cannot
/// drive out those that are in use, nor get new budgets of fetches by naming them in turns.
///
/// An issuer that is not trusted is remembered for 30 s
/// ([`unknown_for`](TenantsBuilder::unknown_for)). At most 64 issuers are asked about at a time, for at most 5 s; beyond that the answer is 503.
pub struct Tenants<C = StandardClaims>(Arc<Inner<C>>);

struct Inner<C> {
    live: Arc<Mutex<Live<C>>>,
    flight: Flight<C>,
    clock: Arc<dyn Clock>,
    max_token_bytes: usize,
}

type Flight<C> =
    SingleFlight<Resolve<C>, fn(&Arc<str>) -> Arc<str>, Arc<str>, Option<Jwt<C>>, Error>;

/// Builds [`Tenants`]; made by [`Tenants::resolver`].
///
/// | option | default |
/// | --- | --- |
/// | [`max_live`](Self::max_live) | 1,000 tenants |
/// | [`unknown_for`](Self::unknown_for) | 30 s |
/// | [`max_token_bytes`](Self::max_token_bytes) | 8 KiB |
/// | [`clock`](Self::clock) | the system's |
#[must_use]
pub struct TenantsBuilder<C = StandardClaims> {
    resolver: Arc<dyn TenantResolver<C>>,
    max_live: usize,
    unknown_for: Duration,
    max_token_bytes: usize,
    clock: Arc<dyn Clock>,
}

impl<C: Send + Sync + 'static> Tenants<C> {
    /// The issuers that this resolver allows.
    pub fn resolver(resolver: impl TenantResolver<C>) -> TenantsBuilder<C> {
        TenantsBuilder {
            resolver: Arc::new(resolver),
            max_live: 1_000,
            unknown_for: Duration::from_secs(30),
            max_token_bytes: MAX_TOKEN_BYTES,
            clock: Arc::new(SystemClock),
        }
    }

    /// How many tenants are live, those on trial among them.
    #[must_use]
    pub fn live(&self) -> usize {
        self.0.live().len()
    }

    /// The validator of a live tenant, also of one on trial: for the health of its keys, say. The resolver is not asked.
    #[must_use]
    pub fn get(&self, issuer: &str) -> Option<Jwt<C>> {
        match self.0.live().find(issuer, self.0.clock.now()) {
            Known::Live(jwt) => Some(jwt),
            Known::Unknown | Known::Nothing | Known::NoRoom(_) => None,
        }
    }

    /// Forgets what is known of an issuer, so that the next token of it asks the resolver: its rules
    /// have changed, or it is trusted no more. Says whether it was live.
    ///
    /// Requests that are being judged go on; an answer of the resolver that is on its way counts.
    pub fn forget(&self, issuer: &str) -> bool {
        let gone = self.0.live().remove(issuer);
        gone.is_some()
    }

    /// Judges by the tenant's own rules, and remembers that it was of use.
    fn judge(&self, issuer: Arc<str>, verdict: Verdict<C>) -> Verdict<C> {
        match verdict {
            Verdict::Now(Ok(caller)) => {
                self.0.good(&issuer);
                Verdict::Now(Ok(caller))
            }
            Verdict::Later(later) => {
                let this = self.clone();
                Verdict::Later(Box::pin(async move {
                    let caller = later.await?;
                    this.0.good(&issuer);
                    Ok(caller)
                }))
            }
            refusal => refusal,
        }
    }

    /// The cold path: waits for the resolver.
    async fn settle(
        self,
        issuer: Arc<str>,
        answer: ResponseFuture<Option<Jwt<C>>, Error>,
        token: String,
        sender: Sender,
    ) -> Result<Caller<C>, Rejection> {
        let jwt = match answer.await {
            Ok(Some(jwt)) => jwt,
            Ok(None) => return Err(Rejection::Invalid(InvalidToken::WrongIssuer)),
            Err(error) => return Err(trouble(&error)),
        };
        // Another answer may have come first; its keys and budgets are the tenant's.
        let jwt = self.get(&issuer).unwrap_or(jwt);
        match self.judge(issuer, jwt.authenticate_text(&token, sender)) {
            Verdict::Now(verdict) => verdict,
            Verdict::Later(later) => later.await,
        }
    }
}

impl<C> Inner<C> {
    fn live(&self) -> MutexGuard<'_, Live<C>> {
        // Nothing under the lock can panic half-way; poisoning says nothing.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token of this tenant was let in.
    fn good(&self, issuer: &str) {
        let gone = self.live().good(issuer);
        // What the tenant held is foreign code's to drop, and not under the lock.
        drop(gone);
    }
}

impl<C: Send + Sync + 'static> Authenticate for Tenants<C> {
    type Claims = C;

    fn max_token_bytes(&self) -> usize {
        self.0.max_token_bytes
    }

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<C> {
        let refuse = |reason| Verdict::Now(Err(Rejection::Invalid(reason)));
        let token = match Unverified::parse_up_to(self.0.max_token_bytes, presented.token) {
            Ok(token) => token,
            Err(reason) => return refuse(reason),
        };
        let issuer: Arc<str> = match token.claimed_issuer() {
            Ok(issuer) if issuer.len() <= MAX_ISSUER => Arc::from(issuer.as_ref()),
            Ok(_) => return refuse(InvalidToken::WrongIssuer),
            Err(reason) => return refuse(reason),
        };
        let known = self.0.live().find(&issuer, self.0.clock.now());
        match known {
            Known::Live(jwt) => {
                let verdict =
                    jwt.authenticate_parsed(token, presented.token, Sender::of(&presented));
                self.judge(issuer, verdict)
            }
            Known::Unknown => refuse(InvalidToken::WrongIssuer),
            // What can be no issuer is no question for the resolver.
            Known::Nothing | Known::NoRoom(_) if Issuer::parse(&issuer).is_err() => {
                refuse(InvalidToken::WrongIssuer)
            }
            Known::NoRoom(left) => {
                Verdict::Now(Err(unavailable(ErrorKind::TooManyWaiters, Some(left))))
            }
            Known::Nothing => {
                let answer = self.0.flight.clone().call(Arc::clone(&issuer));
                let (token, sender) = (presented.token.to_owned(), Sender::of(&presented));
                let settle = self.clone().settle(issuer, answer, token, sender);
                Verdict::Later(Box::pin(settle))
            }
        }
    }
}

fn trouble(error: &FlightError<Error>) -> Rejection {
    match error {
        FlightError::Service(error) => unavailable(error.kind(), error.retry_after()),
        FlightError::Lost => unavailable(ErrorKind::Lost, None),
        FlightError::NoRuntime => unavailable(ErrorKind::NoRuntime, None),
        FlightError::TooManyWaiters => unavailable(ErrorKind::TooManyWaiters, None),
        _ => unavailable(ErrorKind::Panicked, None),
    }
}

// === impl TenantsBuilder ===

impl<C: Send + Sync + 'static> TenantsBuilder<C> {
    /// How many tenants are live at a time, beside those on trial: 1,000 if not set, at least 1. Each has its keys (some
    /// KiB) and up to [`entries`](crate::VerifiedTokenCache::entries) verified tokens in memory.
    pub fn max_live(mut self, max_live: usize) -> Self {
        self.max_live = max_live;
        self
    }

    /// For how long an issuer that is not trusted is remembered as such: 30 s if not set. It bounds
    /// how late a new tenant is let in whose tokens came too early.
    pub fn unknown_for(mut self, unknown_for: Duration) -> Self {
        self.unknown_for = unknown_for;
        self
    }

    /// How long a token may be, in bytes: 8 KiB if not set, from 1 KiB to 64 KiB. It bounds what is
    /// read before the tenant is known, and so should be the largest of the tenants'; each
    /// tenant's [own bound](crate::JwtBuilder::max_token_bytes) holds, too.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the values. Nobody is asked yet.
    ///
    /// # Errors
    /// `max_live` is 0, or `max_token_bytes` out of bounds.
    pub fn build(self) -> Result<Tenants<C>, BuildError> {
        if self.max_live == 0 {
            return Err(BuildError::new("max_live", 0, "leaves no room for a tenant"));
        }
        if !TOKEN_BYTES.contains(&self.max_token_bytes) {
            let why = "is not from 1 KiB to 64 KiB";
            return Err(BuildError::new("max_token_bytes", self.max_token_bytes, why));
        }
        let live = Arc::new(Mutex::new(Live::new(self.max_live, self.unknown_for)));
        let (learned, clock) = (Arc::clone(&live), Arc::clone(&self.clock));
        let flight = SingleFlightLayer::new(Arc::clone as fn(&Arc<str>) -> Arc<str>)
            .max_waiters(MAX_WAITERS)
            .on_complete(move |issuer: &Arc<str>, result: Result<&Option<Jwt<C>>, &Error>| {
                // An error is not remembered: the next request asks again.
                let Ok(found) = result else { return };
                let mut live = learned.lock().unwrap_or_else(PoisonError::into_inner);
                let gone = live.learn(issuer, found.clone(), clock.now());
                drop(live);
                drop(gone);
            })
            .layer(Resolve::new(self.resolver));
        let (clock, max_token_bytes) = (self.clock, self.max_token_bytes);
        Ok(Tenants(Arc::new(Inner { live, flight, clock, max_token_bytes })))
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Tenants<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Tenants<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("live", &self.0.live().len()).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for TenantsBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantsBuilder")
            .field("max_live", &self.max_live)
            .field("unknown_for", &self.unknown_for)
            .field("max_token_bytes", &self.max_token_bytes)
            .finish_non_exhaustive()
    }
}
