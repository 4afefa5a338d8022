//! Access tokens in JWT form.

mod authenticate;
mod builder;
mod cache;
mod options;
mod status;

use std::fmt;
use std::sync::Arc;

use tower_oauth_core::Clock;
use tower_oauth_jose::{InvalidToken, Rules, StandardClaims, Verified};

use crate::{Jwks, Revocations};

use self::cache::VerifiedTokens;

pub(crate) use self::authenticate::{Sender, newer_keys_may_help, unavailable};
pub use self::builder::{JwtBuilder, JwtIssuer};
pub use self::cache::VerifiedTokenCache;
pub(crate) use self::options::TOKEN_BYTES;

/// Validates access tokens in JWT form (RFC 9068) with the keys of their issuer.
///
/// It is an [`Authenticate`](crate::Authenticate) for [`RequireTokenLayer`](crate::RequireTokenLayer). Cloning is a reference count.
///
/// Checked are, in this order: size, shape and header of the token; that its algorithm is allowed;
/// the claims, with the issuer, an audience and the time among them; the key; the signature. A token that is expired,
/// or of another issuer, costs no look-up of a key, let alone a fetch. What happens when the key is not there is told at
/// [`Jwks`]; a token whose key was looked for a moment ago, and is not the issuer's, is refused by its header alone. The claims are given to the
/// application only after all that.
///
/// A token that was verified is [remembered](VerifiedTokenCache), so that the next request with it costs a look-up. On every hit it is asked
/// again whether the token is still alive and its key still in the set: what is remembered is no more trusted than
/// what is verified. It is remembered by this `Jwt` and its clones only; one with other rules judges for itself.
///
/// ```
/// use serde::Deserialize;
/// use tower_oauth_server::Jwt;
///
/// #[derive(Deserialize)]
/// struct Caller {
///     sub: String,
///     tenant: String,
/// }
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let jwt = Jwt::issuer("https://idp.example.com/realms/shop")
///     .audience("inventory")
///     .claims::<Caller>()
/// #   .http_client(http)
///     .build()?;
/// # drop(jwt); Ok(()) }
/// ```
///
/// Without an audience there is no `build`, since every token of the issuer, whomever it is meant
/// for, would be let in (RFC 8725 §3.9):
///
/// ```compile_fail,E0599
/// use tower_oauth_server::Jwt;
///
/// # fn build() -> Result<(), tower_oauth_core::BuildError> {
/// let jwt = Jwt::issuer("https://idp.example.com/realms/shop").build()?;
/// # drop(jwt); Ok(()) }
/// ```
///
/// With one it compiles:
///
/// ```
/// use tower_oauth_server::Jwt;
///
/// # fn build() -> Result<(), tower_oauth_core::BuildError> {
/// let jwt = Jwt::issuer("https://idp.example.com/realms/shop").audience("inventory").build()?;
/// # drop(jwt); Ok(()) }
/// ```
pub struct Jwt<C = StandardClaims>(Arc<Inner<C>>);

struct Inner<C> {
    rules: Rules,
    jwks: Jwks,
    clock: Arc<dyn Clock>,
    claims: ReadClaims<C>,
    /// `None`: every token is verified each time.
    verified: Option<VerifiedTokens<C>>,
    #[cfg(feature = "status-list")]
    status: Option<crate::status_list::StatusCheck>,
    /// `None`: only their time ends tokens.
    revocations: Option<Revocations>,
}

/// Gives the application the claims of a token that was verified.
type ReadClaims<C> = Arc<dyn Fn(Verified) -> Result<C, InvalidToken> + Send + Sync>;

impl Jwt {
    /// Tokens of this issuer, compared byte for byte with `iss` (RFC 8414 §2): with and without a
    /// slash at the end are two issuers.
    ///
    /// The next step is [`audience`](JwtIssuer::audience).
    pub fn issuer(issuer: impl Into<String>) -> JwtIssuer {
        JwtIssuer::new(issuer.into())
    }
}

impl<C> Jwt<C> {
    /// The issuer whose tokens these are.
    #[must_use]
    pub fn issuer_name(&self) -> &str {
        self.0.rules.issuer()
    }

    /// The keys: to warm them up, to ask for their health, or to share them.
    #[must_use]
    pub fn jwks(&self) -> &Jwks {
        &self.0.jwks
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Jwt<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Jwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("issuer", &self.0.rules.issuer())
            .field("jwks", &self.0.jwks)
            .finish_non_exhaustive()
    }
}
