//! Opaque tokens: the issuer is asked what they are worth.

mod authenticate;
mod builder;
mod confirm;
mod edge;
mod gate;
mod key;
mod known;
mod limit;
mod outage;
mod place;
mod signed;
mod store;
mod table;
mod token_kind;

use std::fmt;
use std::sync::Arc;

use tower_oauth_core::{Clock, Error};
use tower_oauth_jose::StandardClaims;
use tower_single_flight::SingleFlight;

use self::edge::{Ask, Asker, FlightKey};
use self::gate::Gate;
use self::key::Keys;
use self::store::{Landed, Store};
use crate::Revocations;

pub use self::builder::{IntrospectionBuilder, IntrospectionClient, IntrospectionIssuer};
pub use self::confirm::JwtThenIntrospect;
#[cfg(feature = "status-list")]
pub(crate) use self::edge::flatten;
pub use self::outage::Outage;
pub use self::token_kind::JwtOrOpaque;

/// Asks the issuer what a token is worth (RFC 7662), and remembers the answer for a short while.
///
/// It is an [`Authenticate`](crate::Authenticate) for [`RequireTokenLayer`](crate::RequireTokenLayer), for tokens of any form.
/// A handle: cloning is a reference count, and all clones share the caches and the calls.
///
/// # The rules
///
/// 1. **Only `"active": true` is active.** Anything but the two booleans, and every answer but a 200, is a malfunction: 503
///    with `Retry-After`, neither "valid" nor "invalid". That holds for a 401 too, which is about our own credentials (RFC 7662 §2.3).
/// 2. **Active is not enough.** A foreign `iss`, an `exp` in the past, an `nbf` or `iat` in the future, another `aud`, a `cnf` (the token is
///    bound to a key of its sender) at a door that does not check senders by [`Dpop`](crate::Dpop) or [`MutualTls`](crate::MutualTls), or of a kind
///    that nobody here can check, a refresh or an ID token: all refused. An answer without `aud` is
///    refused unless [told otherwise](IntrospectionBuilder::danger_accept_missing_audience); one without `iss` is not, since the answer
///    itself is the issuer's.
/// 3. **A verdict serves for 60 s** ([`cache_ttl`](IntrospectionBuilder::cache_ttl)), counted from before the question, and never beyond
///    `exp`: so long may a revoked token still be let in. [`forget`](Self::forget) and [`clear`](Self::clear) end that at once. A token that
///    is refused is remembered for 5 s ([`negative_ttl`](IntrospectionBuilder::negative_ttl)), in a table of its own.
/// 4. **Each hit is judged anew**: `exp` by the wall clock, the audience by the route ([`with_audience`](Self::with_audience)), scopes by the
///    layers.
/// 5. **One question for all** who come with the same token at the same moment. The caller that set it off may go away; the
///    others get the answer. An error is told to all of them and not remembered.
/// 6. **A server that is not well is left alone.** Its `Retry-After` is honoured (at most 5 min); failures in a row are followed by pauses of
///    1, 2, 4, 8, then 10 s, after which one request goes first. Meanwhile the answer is 503 at once, or
///    the [`Outage`] policy's.
/// 7. **Bounded**: 64 questions at a time and 16 times as many that wait for at most 5 s; 5 s for an answer; 10,000 verdicts of either kind. More
///    is 503 at once. Tokens that were active a while ago have a queue of their own, and a quarter of the questions: who makes up tokens does
///    not stand in their way.
/// 8. **No token is kept.** The caches know a token by a digest (HMAC-SHA-256 of all of it, with the endpoint and our client id, under a random
///    key of this process).
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_server::{Introspection, Outage};
///
/// # fn build(http: tower_oauth_endpoint::HttpClient, secret: &str) -> Result<(), tower_oauth_core::BuildError> {
/// let tokens = Introspection::issuer("https://idp.example.com/realms/shop")
///     .client_credentials("inventory-api", secret)
///     .audience("inventory")
/// #   .http_client(http)
///     .build()?;
/// // For a route that may go on for a minute without the issuer; the caches are the same.
/// let lasting = tokens.with_outage(Outage::Grace(Duration::from_secs(60)))?;
/// # drop((tokens, lasting)); Ok(()) }
/// ```
///
/// Without an audience there is no `build`, since every token of the issuer, whomever it is meant for, would be let in:
///
/// ```compile_fail,E0599
/// use tower_oauth_server::Introspection;
///
/// # fn build(secret: &str) -> Result<(), tower_oauth_core::BuildError> {
/// let tokens = Introspection::issuer("https://idp.example.com/realms/shop")
///     .client_credentials("inventory-api", secret)
///     .build()?;
/// # drop(tokens); Ok(()) }
/// ```
pub struct Introspection<C = StandardClaims> {
    shared: Arc<Shared<C>>,
    route: Arc<Route>,
}

/// What all handles share.
struct Shared<C> {
    issuer: String,
    keys: Keys,
    store: Arc<Store<C>>,
    gate: Arc<Gate>,
    flight: Flight<C>,
    clock: Arc<dyn Clock>,
    revocations: Option<Revocations>,
}

/// One question for all who come with the same token.
type Flight<C> = SingleFlight<Asker<C>, fn(&Ask) -> FlightKey, FlightKey, Landed<C>, Error>;

/// What a handle asks for beyond that.
#[derive(Clone)]
struct Route {
    audiences: Vec<String>,
    may_lack_audience: bool,
    outage: Outage,
}

impl Introspection {
    /// Tokens of this issuer, compared byte for byte with `iss` where an answer has one.
    ///
    /// Its metadata says where to ask (RFC 8414 §2), unless
    /// [`introspection_endpoint`](IntrospectionBuilder::introspection_endpoint) does. The next step is
    /// [`client_credentials`](IntrospectionIssuer::client_credentials).
    pub fn issuer(issuer: impl Into<String>) -> IntrospectionIssuer {
        IntrospectionIssuer::new(issuer.into())
    }
}

impl<C> Introspection<C> {
    /// The same caches and calls, for a route with another audience.
    ///
    /// # Errors
    /// The audience is empty.
    pub fn with_audience(
        &self,
        audience: impl Into<String>,
    ) -> Result<Self, tower_oauth_core::BuildError> {
        let audiences = builder::checked_audiences(vec![audience.into()])?;
        Ok(self.with_route(Route { audiences, ..(*self.route).clone() }))
    }

    /// The same caches and calls, for a route with another policy for outages.
    ///
    /// # Errors
    /// The grace is more than [`Outage::MAX_GRACE`].
    pub fn with_outage(&self, outage: Outage) -> Result<Self, tower_oauth_core::BuildError> {
        let outage = outage.checked()?;
        Ok(self.with_route(Route { outage, ..(*self.route).clone() }))
    }

    /// Forgets the verdict over one token, for all handles: the next request asks. For a webhook, or at logout.
    ///
    /// A question that is in the air is answered, its answer is not remembered, and who comes from now on asks one of their own.
    pub fn forget(&self, token: &str) {
        self.shared.store.forget(&self.shared.keys.of(token));
    }

    /// Forgets all verdicts, for all handles.
    pub fn clear(&self) {
        self.shared.store.clear();
    }

    fn with_route(&self, route: Route) -> Self {
        Self { shared: Arc::clone(&self.shared), route: Arc::new(route) }
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Introspection<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), route: Arc::clone(&self.route) }
    }
}

impl<C> fmt::Debug for Introspection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (active, refused) = self.shared.store.len();
        f.debug_struct("Introspection")
            .field("issuer", &self.shared.issuer)
            .field("audiences", &self.route.audiences)
            .field("outage", &self.route.outage)
            .field("cached_active", &active)
            .field("cached_refused", &refused)
            .finish_non_exhaustive()
    }
}
