use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_oauth_core::{BoxFuture, Scopes};
use tower_oauth_jose::{Confirmation, MAX_TOKEN_BYTES};

use crate::Rejection;

/// Says whose token this is: the seam between the server layers and whoever validates.
///
/// [`authenticate`](Self::authenticate) is called for every request. What can be told at once comes as
/// [`Verdict::Now`], without a box; what has to ask somebody (a key set, an introspection endpoint)
/// comes as [`Verdict::Later`].
pub trait Authenticate: Send + Sync + 'static {
    /// The claims, in the user's type.
    type Claims: Send + Sync + 'static;

    /// Judges a presented token.
    fn authenticate(&self, presented: Presented<'_>) -> Verdict<Self::Claims>;

    /// The longest token that is worth a look, in bytes: 8 KiB if not said otherwise, at most 64 KiB.
    /// The door refuses a longer one by itself.
    fn max_token_bytes(&self) -> usize {
        MAX_TOKEN_BYTES
    }
}

/// A token as it came in, with the head of its request.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Presented<'a> {
    /// The token, without its scheme: 1 or more characters of `b64token` (RFC 6750 §2.1), at most
    /// [`max_token_bytes`](Authenticate::max_token_bytes).
    pub token: &'a str,
    /// The head of the request that it came with.
    pub head: &'a Parts,
    /// How it was sent.
    pub scheme: Scheme,
    /// Whether whoever asks goes on to check that the sender holds the key in [`Principal::confirmation`]; `false` for a new one.
    ///
    /// An authenticator refuses a bound token without it, as [`Jwt`](crate::Jwt) does. [`RequireToken`](crate::RequireToken) says it if it knows of
    /// [`Dpop`](crate::Dpop) or [`MutualTls`](crate::MutualTls).
    pub sender_is_checked: bool,
}

/// The scheme of the `Authorization` field that a token came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// RFC 6750.
    #[default]
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

impl<'a> Presented<'a> {
    /// A bearer token with the head of its request.
    #[must_use]
    pub const fn new(token: &'a str, head: &'a Parts) -> Self {
        Self { token, head, scheme: Scheme::Bearer, sender_is_checked: false }
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

/// The answer of an [`Authenticate`].
#[non_exhaustive]
pub enum Verdict<C> {
    /// Known at once.
    Now(Result<Caller<C>, Rejection>),
    /// Somebody has to be asked first.
    Later(BoxFuture<Result<Caller<C>, Rejection>>),
}

impl<C> std::fmt::Debug for Verdict<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(Ok(_)) => "Now(Ok)",
            Self::Now(Err(_)) => "Now(Err)",
            Self::Later(_) => "Later",
        })
    }
}

/// Several doors may share one authenticator, with its caches.
impl<A: Authenticate + ?Sized> Authenticate for Arc<A> {
    type Claims = A::Claims;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<Self::Claims> {
        (**self).authenticate(presented)
    }

    fn max_token_bytes(&self) -> usize {
        (**self).max_token_bytes()
    }
}

/// A validated caller: what every kind of token says, and the claims in the user's type.
pub struct Caller<C> {
    /// What the layers themselves need.
    pub principal: Arc<Principal>,
    /// The claims.
    pub claims: Arc<C>,
}

impl<C> Caller<C> {
    /// A caller of whom the token says this.
    #[must_use]
    pub fn new(principal: impl Into<Arc<Principal>>, claims: impl Into<Arc<C>>) -> Self {
        Self { principal: principal.into(), claims: claims.into() }
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Caller<C> {
    fn clone(&self) -> Self {
        Self { principal: Arc::clone(&self.principal), claims: Arc::clone(&self.claims) }
    }
}

// Derived, it would show the claims.
impl<C> std::fmt::Debug for Caller<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// What every kind of valid token says of its holder.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// Who issued the token (`iss`).
    pub issuer: String,
    /// Whom it stands for (`sub`), if it says.
    pub subject: Option<String>,
    /// The client that it was issued to (`client_id`, or `azp`), if it says.
    pub client_id: Option<String>,
    /// What it allows (`scope`).
    pub scopes: Scopes,
    /// When it ends, since 1970.
    pub expires_at: Duration,
    /// When the authenticator stops letting it in, since 1970: [`expires_at`](Self::expires_at), and its leeway.
    pub valid_until: Duration,
    /// When it was issued, since 1970 (`iat`), if it says.
    pub issued_at: Option<Duration>,
    /// Its own name (`jti`), if it has one.
    pub token_id: Option<String>,
    /// The session at the issuer that it belongs to (`sid`), if it says.
    pub session_id: Option<String>,
    /// How the subject has authenticated, as a context class (`acr`, RFC 9470 §6), if it says.
    pub acr: Option<String>,
    /// When the subject has authenticated, since 1970 (`auth_time`), if it says.
    pub auth_time: Option<Duration>,
    /// What the token is bound to (`cnf`), if it is. The door lets nobody in who does not confirm it.
    pub confirmation: Option<Confirmation>,
    /// Where its issuer says what has become of it.
    #[cfg(feature = "status-list")]
    pub(crate) status: Option<crate::status_list::Place>,
}

impl Principal {
    /// A holder of a token of this issuer that ends then; all else is empty.
    #[must_use]
    pub fn new(issuer: impl Into<String>, expires_at: Duration) -> Self {
        Self {
            issuer: issuer.into(),
            subject: None,
            client_id: None,
            scopes: Scopes::default(),
            expires_at,
            valid_until: expires_at,
            issued_at: None,
            token_id: None,
            session_id: None,
            acr: None,
            auth_time: None,
            confirmation: None,
            #[cfg(feature = "status-list")]
            status: None,
        }
    }
}

// Claims are personal data; a log line that prints a request's extensions must not carry them.
impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal")
            .field("issuer", &self.issuer)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
