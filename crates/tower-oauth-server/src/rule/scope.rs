use std::sync::Arc;

use tower_layer::Layer;
use tower_oauth_core::{BuildError, Scopes};

use super::service::RequireRule;
use crate::require::Proof;
use crate::{Principal, Rejection};

/// Lets pass only callers whose token has enough scope; goes *inside* of a [`RequireTokenLayer`](crate::RequireTokenLayer).
///
/// | caller | answer |
/// | --- | --- |
/// | has the scope | the inner service's |
/// | has not | 403 `insufficient_scope` with `scope="..."`, gRPC 7 `PERMISSION_DENIED` |
/// | is anonymous, which the door has allowed | 401, gRPC 16 `UNAUTHENTICATED` |
/// | was not checked: no `RequireTokenLayer` further out | 500, gRPC 13 `INTERNAL` |
///
/// A CORS preflight that the door lets in passes here too.
///
/// Scope is matched by whole tokens, case-sensitively (RFC 6749 §3.3).
///
/// ```
/// use tower_oauth_server::RequireScopeLayer;
///
/// let reads = RequireScopeLayer::all(["inventory.read"]);
/// let works = RequireScopeLayer::any(["inventory.write", "inventory.admin"]);
/// // Scopes that come from a configuration file can be checked at the start.
/// assert!(RequireScopeLayer::all(["inventory read"]).checked().is_err());
/// # let _ = (reads, works);
/// ```
///
/// # Where issuers keep scopes
///
/// The `scope` of RFC 9068 is one text. Entra ID calls it `scp`; Okta does too, and makes a list of it. The
/// [profiles](crate::Profile) of these issuers read it there, so this layer works with all of them; for another issuer that does so take
/// [`Profile::Lenient`](crate::Profile::Lenient), which reads `scope` or else `scp`, a text or a list. What an issuer keeps in any other claim
/// (Auth0's `permissions`, app roles of Entra ID, roles of Keycloak) is no scope: [`RequireClaimsLayer`](crate::RequireClaimsLayer)
/// reads it from the claims in a type of your own.
///
/// In axum the layer that is added *last* is the outermost:
/// `.route_layer(RequireScopeLayer::all(["inventory.read"])).layer(RequireTokenLayer::new(jwt))`. In a
/// `tower::ServiceBuilder` and in tonic the first one is.
#[derive(Clone, Debug)]
pub struct RequireScopeLayer {
    rule: Arc<Rule>,
}

#[derive(Debug)]
enum Rule {
    All(Scopes),
    Any(Scopes),
    /// Not what the programmer meant, and so nothing that anybody has.
    Impossible(BuildError),
}

impl RequireScopeLayer {
    /// Asks for every one of these scopes.
    ///
    /// A text that is not one scope token (empty, with a space, a quote, a backslash or a character beyond ASCII) cannot be in any token, and an empty
    /// list asks for nothing: with such a mistake in it the layer refuses *every* caller as
    /// [`Rejection::Misconfigured`]. [`checked`](Self::checked) tells it at the start.
    pub fn all<T: AsRef<str>>(scopes: impl IntoIterator<Item = T>) -> Self {
        Self::new(Scopes::new(scopes).map(Rule::All))
    }

    /// Asks for at least one of these scopes. What [`all`](Self::all) says of mistakes holds here too.
    ///
    /// The `scope` of a 403 names them all: RFC 6750 §3 has no word for "one of".
    pub fn any<T: AsRef<str>>(scopes: impl IntoIterator<Item = T>) -> Self {
        Self::new(Scopes::new(scopes).map(Rule::Any))
    }

    /// The layer, if its scopes are scopes.
    ///
    /// # Errors
    /// A scope is not one scope token, or there is none. The error names it.
    pub fn checked(self) -> Result<Self, BuildError> {
        match &*self.rule {
            Rule::Impossible(why) => Err(why.clone()),
            Rule::All(_) | Rule::Any(_) => Ok(self),
        }
    }

    fn new(rule: Result<Rule, BuildError>) -> Self {
        let rule = match rule {
            Ok(Rule::All(scopes) | Rule::Any(scopes)) if scopes.is_empty() => {
                Rule::Impossible(BuildError::new("scope", "", "at least one has to be named"))
            }
            Ok(rule) => rule,
            Err(why) => Rule::Impossible(why),
        };
        if let Rule::Impossible(why) = &rule {
            tracing::error!(%why, "this RequireScopeLayer refuses every caller");
        }
        Self { rule: Arc::new(rule) }
    }
}

impl Rule {
    fn judge(&self, principal: &Principal) -> Result<(), Rejection> {
        let (enough, required) = match self {
            Self::All(required) => (principal.scopes.contains_all(required), required),
            Self::Any(wanted) => (principal.scopes.contains_any(wanted), wanted),
            Self::Impossible(_) => {
                return Err(Rejection::Misconfigured(
                    "RequireScopeLayer names no scope, or a text that is no scope token",
                ));
            }
        };
        if enough {
            Ok(())
        } else {
            Err(Rejection::InsufficientScope { required: required.clone() })
        }
    }
}

impl<S> Layer<S> for RequireScopeLayer {
    type Service = RequireRule<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let rule = Arc::clone(&self.rule);
        RequireRule::with_rule(inner, Arc::new(move |proof: &Proof| rule.judge(&proof.principal)))
    }
}
