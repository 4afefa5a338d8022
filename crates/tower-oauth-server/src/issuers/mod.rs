//! Tokens of several issuers at one door.
//!
//! 1. The `iss` of a token chooses among the issuers that are *configured* (or that a resolver allows), byte for byte, and
//!    decides nothing else: the one that is chosen checks it again, with everything else (RFC 8725 §3.8).
//! 2. Nothing is ever fetched from an address that a token names.
//! 3. Each issuer has its keys, its budgets, its memory of verified tokens: a flood at one costs
//!    the others nothing, and a key of one signs for no other.

mod live;
mod resolve;
mod tenants;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tower_oauth_core::BuildError;
use tower_oauth_jose::{InvalidToken, StandardClaims, Unverified};

use crate::jwt::Sender;
use crate::{Authenticate, Jwt, Presented, Rejection, Verdict};

pub use self::resolve::TenantResolver;
pub use self::tenants::{Tenants, TenantsBuilder};

/// Validates the tokens of several issuers that are known at the start.
///
/// An exact map from `iss` to the [`Jwt`] of that issuer. A token of any other issuer is refused
/// before anything is looked up or fetched. For issuers that come and go see [`Tenants`].
///
/// ```
/// use tower_oauth_server::{Issuers, Jwt, RequireTokenLayer};
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let staff = Jwt::issuer("https://login.example.com/staff").audience("inventory");
/// let partners = Jwt::issuer("https://partners.example.net").audience("inventory").lenient();
/// # let (staff, partners) = (staff.http_client(http.clone()), partners.http_client(http));
/// let door = RequireTokenLayer::new(Issuers::new([staff.build()?, partners.build()?])?);
/// # drop(door); Ok(()) }
/// ```
pub struct Issuers<C = StandardClaims>(Arc<HashMap<Box<str>, Jwt<C>>>);

impl<C> Issuers<C> {
    /// These issuers.
    ///
    /// # Errors
    /// There is none, or one twice: two audiences of one issuer are
    /// [`audiences`](crate::JwtIssuer::audiences) of one `Jwt`.
    pub fn new(issuers: impl IntoIterator<Item = Jwt<C>>) -> Result<Self, BuildError> {
        let mut map = HashMap::new();
        for jwt in issuers {
            if let Some(twice) = map.insert(Box::from(jwt.issuer_name()), jwt) {
                return Err(BuildError::new("issuers", twice.issuer_name(), "is there twice"));
            }
        }
        if map.is_empty() {
            return Err(BuildError::new("issuers", "none", "names no issuer"));
        }
        Ok(Self(Arc::new(map)))
    }

    /// The validator of this issuer: for the health of its keys, say.
    #[must_use]
    pub fn get(&self, issuer: &str) -> Option<&Jwt<C>> {
        self.0.get(issuer)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Jwt<C>> {
        self.0.values()
    }
}

impl<C: Send + Sync + 'static> Authenticate for Issuers<C> {
    type Claims = C;

    /// The largest of theirs; each holds its own token to its own.
    fn max_token_bytes(&self) -> usize {
        self.iter().map(Jwt::max_token_bytes).max().unwrap_or_default()
    }

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<C> {
        let refuse = |reason| Verdict::Now(Err(Rejection::Invalid(reason)));
        let token = match Unverified::parse_up_to(self.max_token_bytes(), presented.token) {
            Ok(token) => token,
            Err(reason) => return refuse(reason),
        };
        let jwt = match token.claimed_issuer() {
            Ok(issuer) => self.0.get(issuer.as_ref()),
            Err(reason) => return refuse(reason),
        };
        match jwt {
            Some(jwt) => jwt.authenticate_parsed(token, presented.token, Sender::of(&presented)),
            None => refuse(InvalidToken::WrongIssuer),
        }
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Issuers<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Issuers<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
