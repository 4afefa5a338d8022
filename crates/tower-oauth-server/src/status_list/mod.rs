//! Status lists: what has become of a token since it was issued.

mod builder;
mod check;
mod fetch;
mod list;
mod store;

use std::fmt;
use std::sync::Arc;

use tower_oauth_core::{BuildError, Error};
use tower_single_flight::SingleFlight;

use self::fetch::{Ask, Fetcher};
use self::list::{Key, Loaded};
use self::store::Store;
use crate::Outage;

pub use self::builder::StatusListsBuilder;
pub(crate) use self::check::StatusCheck;
pub(crate) use self::list::Place;

/// The status lists of an issuer (draft-ietf-oauth-status-list, in the JWT form): who has revoked a JWT says it there, and the token is
/// refused long before its `exp`.
///
/// Given to a [`Jwt`](crate::JwtBuilder::status_list). A handle: cloning is a reference count, and all clones, and all `Jwt`s that are
/// given one, share the lists and the fetches.
///
/// # The rules
///
/// 1. **A token that names a list is looked up in it at every request**, also one that is remembered. While the list is fresh that
///    is a look into memory: no lock, no wait. One that names none is let in, unless a status is [`required`](StatusListsBuilder::required).
/// 2. **Only "valid" is valid.** 1 is [`Inactive`](crate::InvalidToken::Inactive), 2
///    [`Suspended`](crate::InvalidToken::Suspended), and any other status
///    [`UnknownStatus`](crate::InvalidToken::UnknownStatus), unless it is [accepted](StatusListsBuilder::accept_status): all 401.
/// 3. **Fresh** for as long as the list's `ttl` says, at least 5 s, at most [`max_ttl`](StatusListsBuilder::max_ttl) (1 h), 60 s if it says nothing, and
///    not beyond its `exp`. For so long a revoked token may still be let in. At 80 % of that, ±10 % by chance, a
///    request sets off a refresh in the background. HTTP's own caching fields do not count (§8.2).
/// 4. **A list is verified like a token**: `typ`, `sub` (the address under which the token names it), `iat`, `exp`, and the signature, by
///    the issuer's keys. Those who come meanwhile wait for the same fetch. An older list never takes the place of a newer one, and
///    a list dies with the key that has signed it.
/// 5. **A list that cannot be fetched or trusted is our trouble**: 503 with `Retry-After`, never 401; it is asked for again in 1 s, 2 s, .. 10 s, or when the
///    server says. What an [`Outage`] changes: the last good list may serve for so much longer, never beyond its own `exp`.
/// 6. **An index beyond the end of the list**: the list may have grown since, so that it is fetched anew, at 0, 1, 3, 7, 15, 31 s and every
///    30 s after. If the token is not in that one either, it is [`NoStatus`](crate::InvalidToken::NoStatus), 401: the issuer has said nothing of it (§8.3).
/// 7. **Only where the issuer is**: https (or a loopback address), on the issuer's host or a
///    [trusted](StatusListsBuilder::trust_host) one, without redirects. A token that points elsewhere is 503, since it is its
///    issuer's word against our configuration.
/// 8. **Bounded**: 64 lists (the ones that have not been asked for in a long while go first), 256 KiB as fetched, 4 MiB unpacked, 5 s,
///    eight fetches at a time.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_server::{Jwt, Outage, StatusLists};
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let lists = StatusLists::builder()
/// #   .http_client(http.clone())
///     .outage(Outage::Grace(Duration::from_secs(120)))
///     .build()?;
/// let jwt = Jwt::issuer("https://idp.example.com/realms/shop")
///     .audience("inventory")
///     .status_list(lists.clone())
/// #   .http_client(http.clone())
///     .build()?;
/// // For a route that would rather be closed, over the same keys and lists:
/// let payments = Jwt::issuer("https://idp.example.com/realms/shop")
///     .audience("inventory")
///     .jwks(jwt.jwks().clone())
///     .status_list(lists.with_outage(Outage::Closed)?)
///     .build()?;
/// # drop((jwt, payments)); Ok(()) }
/// ```
#[derive(Clone)]
pub struct StatusLists {
    shared: Arc<Shared>,
    route: Route,
}

/// What all handles share.
struct Shared {
    store: Arc<Store>,
    flight: Flight,
    options: Options,
}

/// What a handle may say for itself.
#[derive(Clone, Copy)]
struct Route {
    outage: Outage,
}

/// What the builder has fixed.
struct Options {
    required: bool,
    accepted: Vec<u8>,
    trusted_hosts: Vec<String>,
    max_token_bytes: usize,
    http: Option<tower_oauth_endpoint::HttpClient>,
}

/// One fetch for all who want the same list.
type Flight = SingleFlight<Fetcher, fn(&Ask) -> Key, Key, Arc<Loaded>, Error>;

impl StatusLists {
    /// The defaults; see [`StatusListsBuilder`].
    pub fn builder() -> StatusListsBuilder {
        StatusListsBuilder::new()
    }

    /// The same lists and fetches, for a route with another policy for outages.
    ///
    /// # Errors
    /// The grace is more than [`Outage::MAX_GRACE`].
    pub fn with_outage(&self, outage: Outage) -> Result<Self, BuildError> {
        let route = Route { outage: outage.checked()? };
        Ok(Self { shared: Arc::clone(&self.shared), route })
    }

    /// Forgets all lists, for all handles: the next requests fetch them anew, and wait for that. For a webhook, or an operator.
    ///
    /// A fetch that is in the air is answered, and its list not kept.
    pub fn clear(&self) {
        self.shared.store.clear();
    }
}

impl fmt::Debug for StatusLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusLists")
            .field("lists", &self.shared.store.len())
            .field("outage", &self.route.outage)
            .finish_non_exhaustive()
    }
}
