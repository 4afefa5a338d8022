use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::service::{RequireRule, Rule};
use crate::require::Proof;
use crate::{Authenticated, Rejection};

/// Lets pass only callers of whom a closure says so: roles, groups, tenants. Goes *inside* of a
/// [`RequireTokenLayer`](crate::RequireTokenLayer).
///
/// | caller | answer |
/// | --- | --- |
/// | `true` | the inner service's |
/// | `false` | 403 without a challenge, gRPC 7 `PERMISSION_DENIED` |
/// | is anonymous, which the door has allowed | 401, gRPC 16 `UNAUTHENTICATED` |
/// | has claims of another type than the closure takes | 500, gRPC 13 `INTERNAL` |
/// | was not checked: no `RequireTokenLayer` further out | 500, gRPC 13 `INTERNAL` |
///
/// The refusal is not called `insufficient_scope`, and names no scope: by RFC 6750 §3.1 that asks a client for another token,
/// and no token of this caller will do. Where scope is what is missing, [`RequireScopeLayer`](crate::RequireScopeLayer) says so. A CORS
/// preflight that the door lets in passes here too.
///
/// ```
/// use serde::Deserialize;
/// use tower_oauth_server::{Authenticated, RequireClaimsLayer};
///
/// #[derive(Deserialize)]
/// struct Claims { #[serde(default)] roles: Vec<String> }
///
/// let admins = RequireClaimsLayer::new(|caller: &Authenticated<Claims>| {
///     caller.claims().roles.iter().any(|role| role == "stock-admin")
/// })
/// .because("only stock admins may do this");
/// # drop(admins);
/// ```
///
/// # Where issuers keep roles
///
/// A role is in a claim of the issuer's own; the claims type names it. Keycloak has roles of the realm, and of each client:
///
/// ```
/// use std::collections::HashMap;
/// use serde::Deserialize;
/// use tower_oauth_server::{Authenticated, Jwt, Profile, RequireClaimsLayer, RequireTokenLayer};
///
/// #[derive(Default, Deserialize)]
/// struct Roles { #[serde(default)] roles: Vec<String> }
///
/// #[derive(Deserialize)]
/// struct Claims {
///     #[serde(default)] realm_access: Roles,
///     // By client id.
///     #[serde(default)] resource_access: HashMap<String, Roles>,
/// }
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let jwt = Jwt::issuer("https://idp.example.com/realms/shop")
///     .audience("inventory")
///     .profile(Profile::Keycloak)
///     .claims::<Claims>()
/// #   .http_client(http)
///     .build()?;
/// let admins = RequireClaimsLayer::new(|caller: &Authenticated<Claims>| {
///     let has = |roles: &Roles| roles.roles.iter().any(|role| role == "stock-admin");
///     has(&caller.claims().realm_access)
///         || caller.claims().resource_access.get("inventory").is_some_and(has)
/// });
/// # drop((RequireTokenLayer::new(jwt), admins)); Ok(()) }
/// ```
///
/// In Entra ID they are app roles. An application that acts for itself has its permissions there too, and no scope at all:
///
/// ```
/// # use serde::Deserialize;
/// # use tower_oauth_server::{Authenticated, Jwt, Profile, RequireClaimsLayer, RequireTokenLayer};
/// #[derive(Deserialize)]
/// struct Claims { #[serde(default)] roles: Vec<String> }
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
/// let jwt = Jwt::issuer(format!("https://login.microsoftonline.com/{tenant}/v2.0"))
///     .audience("6731de76-14a6-49ae-97bc-6eba6914391e")
///     .profile(Profile::EntraId)
///     .claims::<Claims>()
/// #   .http_client(http)
///     .build()?;
/// let readers = RequireClaimsLayer::new(|caller: &Authenticated<Claims>| {
///     caller.scopes().contains("Stock.Read")
///         || caller.claims().roles.iter().any(|role| role == "Stock.Read.All")
/// });
/// # drop((RequireTokenLayer::new(jwt), readers)); Ok(()) }
/// ```
///
/// So it is with Auth0's `permissions` and with groups, wherever they are.
///
/// The closure runs for every request and must not block. A decision that asks somebody (a policy engine, a database) belongs in the
/// handler, or in a layer of the application's own that reads [`Authenticated`] from the extensions.
#[derive(Clone)]
pub struct RequireClaimsLayer {
    check: Arc<Check>,
    reason: &'static str,
}

type Check = dyn Fn(&Proof) -> Result<bool, Rejection> + Send + Sync;

impl RequireClaimsLayer {
    /// A rule by a closure over the caller, with the claims type of the authenticator.
    pub fn new<C, F>(check: F) -> Self
    where
        C: Send + Sync + 'static,
        F: Fn(&Authenticated<C>) -> bool + Send + Sync + 'static,
    {
        let check = move |proof: &Proof| Ok(check(&Authenticated::of(proof)?));
        Self { check: Arc::new(check), reason: "the caller may not do this" }
    }

    /// Says why in the refusal, and in its [`Rejection::Forbidden`]; by default `the caller may not do this`.
    ///
    /// A fixed text, so that nothing of a token gets into answers and logs.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }
}

impl<S> Layer<S> for RequireClaimsLayer {
    type Service = RequireRule<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let (check, reason) = (Arc::clone(&self.check), self.reason);
        let rule: Arc<Rule> =
            Arc::new(
                move |proof: &Proof| {
                    if check(proof)? { Ok(()) } else { Err(Rejection::Forbidden(reason)) }
                },
            );
        RequireRule::with_rule(inner, rule)
    }
}

impl fmt::Debug for RequireClaimsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireClaimsLayer").field("reason", &self.reason).finish_non_exhaustive()
    }
}
