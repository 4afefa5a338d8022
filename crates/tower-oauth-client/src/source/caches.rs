use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tower_oauth_core::codec::{Grant, TokenRequest};
use tower_oauth_core::{BuildError, Clock, Error, ErrorKind, Flush, SystemClock};

use super::build::bare_request;
use super::cache::{Family, Parts, TokenCache};
use super::exchange::TokenService;
use super::shelf::{Idle, Kept, Shelf};
use super::source_fn::{Call, Foreign};
use super::{TokenCacheBuilder, TokenHealth};
use crate::grant::Session;

/// Many token caches by key: one for each tenant, user, scope set, resource or origin.
///
/// A key stands for the full identity of a token request: two requests of one key get one token. Use a type of your own that is
/// compared as a whole (a struct, a tuple), or [`TokenKey`](crate::TokenKey); never a text that was put together with separators.
///
/// * **Bounded**: [`DEFAULT_CAPACITY`](Self::DEFAULT_CAPACITY) caches, each with one token. Where there is no room, one that was not
///   used lately and makes no exchange goes; a cache whose exchange is in the air stays. If all make one, a new
///   key is [`ErrorKind::Full`], at once.
/// * **Cheap**: a known key costs a read lock and a reference count.
/// * Clones share everything.
///
/// ```
/// use tower_oauth_client::{TokenCache, TokenCaches};
/// # fn main() -> Result<(), tower_oauth_client::BuildError> {
/// // One token endpoint, one client; a token for each set of scopes.
/// let tokens: TokenCaches<&'static str> = TokenCache::builder()
///     .token_endpoint("https://idp.example.com/token")
///     .client_credentials("orders", "s3cret")
///     .build_keyed(|scope, mut request| {
///         request.scopes = tower_oauth_core::Scopes::new([*scope])?;
///         Ok(request)
///     })?;
/// let read = tokens.get(&"stock.read");
/// let write = tokens.get(&"stock.write");
/// # drop((read, write)); Ok(()) }
/// ```
pub struct TokenCaches<K>(Arc<Inner<K>>);

struct Inner<K> {
    shelf: RwLock<Shelf<K, TokenCache>>,
    make: Box<Make<K>>,
    /// Which keys are of one subject.
    is_same_subject: Box<SameSubject<K>>,
}

type Make<K> = dyn Fn(&K) -> Result<Parts, BuildError> + Send + Sync;
type SameSubject<K> = dyn Fn(&K, &K) -> bool + Send + Sync;

impl<K: Clone + Eq + Hash + Send + Sync + 'static> TokenCaches<K> {
    /// How many caches are kept, if not set otherwise: 1,024.
    pub const DEFAULT_CAPACITY: usize = 1024;

    /// A cache for each key from a builder of its own: tenants with issuers of their own.
    ///
    /// Where users have sessions of their own, give the builders one [`MemoryStore`](crate::MemoryStore) (its clones share what they hold)
    /// and each a [`session`](TokenCacheBuilder::session) of its own: a cache that has to make room takes a store of its
    /// own with it, and the one that is made in its place would begin with a refresh token that is spent. A log-out, too, is
    /// known to the cache that was logged out, and not to one that is made later.
    ///
    /// Where only the request differs, [`TokenCacheBuilder::build_keyed`] shares one token endpoint, one discovery and one
    /// HTTP client between all.
    pub fn from_builder(
        make: impl Fn(&K) -> Result<TokenCacheBuilder, BuildError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |key| make(key)?.parts())
    }

    fn new(make: impl Fn(&K) -> Result<Parts, BuildError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            shelf: RwLock::new(Shelf::new(Self::DEFAULT_CAPACITY)),
            make: Box::new(make),
            is_same_subject: Box::new(|one, other| one == other),
        }))
    }

    /// Sets how many caches are kept; at least one.
    ///
    /// Set it before the first [`get`](Self::get): what is there is dropped.
    #[must_use]
    pub fn with_capacity(self, capacity: usize) -> Self {
        *self.0.shelf.write().unwrap_or_else(PoisonError::into_inner) = Shelf::new(capacity.max(1));
        self
    }

    /// The cache of this key; made if it is not there.
    ///
    /// Where it cannot be made, the cache that comes back fails with [`ErrorKind::Configuration`] (the reason is
    /// its source), or with [`ErrorKind::Full`] if there is no room, and is not kept.
    #[must_use]
    pub fn get(&self, key: &K) -> TokenCache {
        self.try_get(key).unwrap_or_else(failing)
    }

    /// The same, for callers that want the error and not a cache that fails.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], with what the builder said as its source; [`ErrorKind::Full`].
    pub fn try_get(&self, key: &K) -> Result<TokenCache, Error> {
        let shelf = self.0.shelf.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = shelf.get(key) {
            return Ok(cache.clone());
        }
        drop(shelf);
        // Made outside of the lock: the closure is the user's.
        let mut parts = (self.0.make)(key).map_err(|error| {
            Error::new(ErrorKind::Configuration("no token cache for this key")).with_source(error)
        })?;
        parts.family = Some(self.family_of(key));
        let cache = TokenCache::new(parts);
        let mut shelf = self.0.shelf.write().unwrap_or_else(PoisonError::into_inner);
        match shelf.put(key.clone(), cache) {
            Kept::This(cache) => Ok(cache.clone()),
            Kept::None => Err(ErrorKind::Full.into()),
        }
    }

    /// Drops the token of this key, as [`TokenCache::flush`] does.
    pub fn flush(&self, key: &K) {
        let shelf = self.0.shelf.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = shelf.get(key) {
            cache.flush();
        }
    }

    /// Drops all tokens.
    pub fn flush_all(&self) {
        for (_, cache) in self.all() {
            cache.flush();
        }
    }

    /// How well each cache is that is kept, in no order.
    #[must_use]
    pub fn health(&self) -> Vec<(K, TokenHealth)> {
        self.all().into_iter().map(|(key, cache)| (key, cache.health())).collect()
    }

    /// How many caches are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shelf.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn all(&self) -> Vec<(K, TokenCache)> {
        self.0.shelf.read().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Where one cache hears that more than its own token is dead, the others hear it here. The caches do not keep
    /// the family alive.
    fn family_of(&self, key: &K) -> Family {
        let (family, key): (Weak<Inner<K>>, K) = (Arc::downgrade(&self.0), key.clone());
        Arc::new(move |flush| {
            let Some(family) = family.upgrade().map(Self) else { return };
            for (other, cache) in family.all() {
                if flush == Flush::Issuer || (family.0.is_same_subject)(&key, &other) {
                    cache.flush_older(flush);
                }
            }
        })
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> TokenCaches<K> {
    /// Says which keys are of one subject, so that a rejection that ends all tokens of a subject
    /// ([`Flush::Subject`]) reaches them all. By default each key is a subject of its own.
    ///
    /// ```
    /// # use tower_oauth_client::{TokenCaches, TokenCache};
    /// // By user and scope: two keys of one user are one subject.
    /// # fn keyed(caches: TokenCaches<(String, String)>) {
    /// let caches = caches.with_subjects(|one, other| one.0 == other.0);
    /// # }
    /// ```
    #[must_use]
    pub fn with_subjects(
        self,
        is_same_subject: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
    ) -> Self {
        let family = self.0;
        let make = Arc::clone(&family);
        let capacity = family.shelf.read().unwrap_or_else(PoisonError::into_inner).capacity();
        Self(Arc::new(Inner {
            shelf: RwLock::new(Shelf::new(capacity)),
            make: Box::new(move |key| (make.make)(key)),
            is_same_subject: Box::new(is_same_subject),
        }))
    }
}

impl TokenCacheBuilder {
    /// One token cache for each key, over one token endpoint: the closure makes the request of a key out of the one
    /// that this builder describes.
    ///
    /// The caches share the session, if there is one. Where the client asks for itself alone
    /// ([`client`](Self::client), [`client_credentials`](Self::client_credentials) and no other grant), a key may bring
    /// a grant of its own: the exchange of an inbound caller's token, an assertion. Refresh tokens that come with those are not kept.
    ///
    /// ```
    /// use tower_oauth_client::{BuildError, Client, Secret, TokenCache, TokenCaches, TokenKey, TokenTypeUri};
    /// use tower_oauth_core::codec::{Grant, TokenExchange};
    /// # fn main() -> Result<(), BuildError> {
    /// // On behalf of each caller.
    /// let tokens: TokenCaches<TokenKey> = TokenCache::builder()
    ///     .token_endpoint("https://idp.example.com/token")
    ///     .client(Client::basic("gateway", Secret::new("s3cret")))
    ///     .build_keyed(|key: &TokenKey, mut request| {
    ///         let none = || BuildError::new("key", "", "names no caller");
    ///         let subject = key.part("subject_token").ok_or_else(none)?;
    ///         let exchange = TokenExchange::new(subject, TokenTypeUri::ACCESS_TOKEN);
    ///         request.grant = Grant::TokenExchange(Box::new(exchange));
    ///         Ok(request)
    ///     })?;
    /// let inbound = Secret::new("the caller's token");
    /// let token = tokens.get(&TokenKey::new().with_secret("subject_token", &inbound));
    /// # drop(token); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`build`](Self::build). What the closure refuses is the error of that key alone; so is a grant of its own beside
    /// those of the builder, or a refresh token, which would have to be kept.
    pub fn build_keyed<K: Clone + Eq + Hash + Send + Sync + 'static>(
        self,
        request_of: impl Fn(&K, TokenRequest) -> Result<TokenRequest, BuildError>
        + Send
        + Sync
        + 'static,
    ) -> Result<TokenCaches<K>, BuildError> {
        let shared = self.parts()?;
        Ok(TokenCaches::new(move |key| {
            let request = request_of(key, shared.request.clone())?;
            check_grant(&request.grant, shared.session.as_deref())?;
            Ok(Parts {
                service: shared.service.clone(),
                request,
                clock: Arc::clone(&shared.clock),
                deadline: shared.deadline,
                max_age: shared.max_age,
                family: None,
                session: shared.session.clone(),
            })
        }))
    }
}

/// A session has grants of its own, which come first: a key's would never be asked, and its token would be
/// another subject's.
fn check_grant(grant: &Grant, session: Option<&Session>) -> Result<(), BuildError> {
    let refused = match grant {
        Grant::ClientCredentials => false,
        Grant::RefreshToken(_) => session.is_some(),
        _ => session.is_some_and(|session| session.is_of_a_user),
    };
    let why =
        "is a key's own, and the builder has grants or a store of its own: use from_builder(..)";
    if refused { Err(BuildError::new("grant", grant.grant_type(), why)) } else { Ok(()) }
}

/// A cache that was not to be had, as one that says so.
fn failing(error: Error) -> TokenCache {
    let said = error.clone();
    let call: Call = Arc::new(move |_| Box::pin(std::future::ready(Err(said.clone()))));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = TokenCache::new(Parts {
        service: TokenService::new(Foreign { call, clock: Arc::clone(&clock) }),
        request: bare_request(),
        clock,
        deadline: Duration::from_secs(1),
        max_age: None,
        family: None,
        session: None,
    });
    cache.fail_at_once(error);
    cache
}

impl Idle for TokenCache {
    fn is_idle(&self) -> bool {
        TokenCache::is_idle(self)
    }
}

// Derived, it would ask for `K: Clone`.
impl<K> Clone for TokenCaches<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// Keys may be secret.
impl<K> fmt::Debug for TokenCaches<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCaches").finish_non_exhaustive()
    }
}
