//! OpenID Connect Back-Channel Logout 1.0, the receiving side.

mod builder;
mod service;

use std::fmt;
use std::sync::Arc;

use tower_oauth_core::{Revocation, RevocationSink};
use tower_oauth_jose::{StandardClaims, Verified};
use tower_oauth_server::{Jwks, Rejection};

use crate::intake::Intake;
use crate::observe::{self, Outcome, Receiver};
use crate::seen::SeenNames;
use crate::trust::Trust;

pub use self::builder::{BackchannelLogoutBuilder, BackchannelLogoutIssuer};

/// Hears from an OpenID provider that somebody has logged out, and ends the tokens of that session.
///
/// A `tower::Service` for the `backchannel_logout_uri` that the client is registered with: mount it outside of the token door, since a provider sends no
/// access token. Cloning is a reference count.
///
/// # The rules
///
/// 1. A `POST` of a form with one `logout_token` (OpenID Connect Back-Channel Logout 1.0 §2.5); other members are ignored, as is the query.
/// 2. The token is verified by §2.6 with the provider's published keys: `typ` is `logout+jwt`, `iss` the provider, `aud` this client; `iat`, `exp`
///    (at most an hour after it) and `jti` are there; `events` has the one member for logout; there is a `sub` or a `sid`, and no `nonce`.
/// 3. **What ends**: with a `sid` the tokens that name that session, whenever they were issued; if there is a `sub` as well, also those of that
///    subject that name no session and were issued before the logout. Without a `sid`, all tokens of the subject that were issued before the
///    logout. A new log-in is not touched. The names have to be those that the access tokens carry, byte for byte.
/// 4. The answer is 200 when every sink has been told. The same `jti` again is 200 and has no second effect; the last 100,000 within an hour are
///    remembered.
/// 5. **Otherwise 400** with a JSON object (§2.8). If the keys cannot be had, or more come than are served at a time, it is 503 with
///    `Retry-After`, so that the provider sends it again; nobody knows then whether it is a forgery. `Cache-Control: no-store` goes with all of them.
/// 6. **Bounded**: 16 KiB, 5 s for the body, 64 requests at a time.
///
/// ```
/// use tower_oauth_events::BackchannelLogout;
/// use tower_oauth_server::{Jwt, Revocations};
///
/// # fn build(http: tower_oauth_server::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let issuer = "https://idp.example.com/realms/shop";
/// let revocations = Revocations::new();
/// let jwt = Jwt::issuer(issuer).audience("inventory").revocations(revocations.clone());
/// let logout = BackchannelLogout::issuer(issuer)
///     .client_id("inventory-app")
///     .sink(revocations)
/// #   .http_client(http)
///     .build()?;
/// let app: axum::Router = axum::Router::new()
///     // .. the routes and their `.layer(RequireTokenLayer::new(jwt))`, and then:
///     .route_service("/backchannel-logout", logout);
/// # drop((app, jwt)); Ok(()) }
/// ```
#[derive(Clone)]
pub struct BackchannelLogout(Arc<Inner>);

struct Inner {
    trust: Trust,
    accept_untyped: bool,
    sinks: Vec<Arc<dyn RevocationSink>>,
    seen: SeenNames,
    intake: Intake,
}

impl BackchannelLogout {
    /// Logouts at this provider, compared byte for byte with `iss`.
    ///
    /// Its metadata say where its keys are, unless [`jwks_uri`](BackchannelLogoutBuilder::jwks_uri) or
    /// [`jwks`](BackchannelLogoutBuilder::jwks) do. The next step is [`client_id`](BackchannelLogoutIssuer::client_id).
    pub fn issuer(issuer: impl Into<String>) -> BackchannelLogoutIssuer {
        BackchannelLogoutIssuer::new(issuer.into())
    }

    /// The provider's keys: to warm them up, or to ask for their health.
    #[must_use]
    pub fn jwks(&self) -> &Jwks {
        &self.0.trust.jwks
    }

    /// Takes in a logout token that has come by another way than HTTP. What the service does with the token of a request.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] for one that is no logout token of this provider to this client; [`Rejection::Unavailable`] if that cannot be told now.
    pub async fn receive(&self, logout_token: &str) -> Result<(), Rejection> {
        let outcome = self.take(logout_token).await;
        let seen = outcome.as_ref().map_or_else(Outcome::of, |outcome| *outcome);
        observe::received(Receiver::Logout, seen);
        outcome.map(drop)
    }

    async fn take(&self, logout_token: &str) -> Result<Outcome, Rejection> {
        let Inner { trust, accept_untyped, sinks, seen, .. } = &*self.0;
        let verified = trust
            .verify(logout_token, |token, rules, now| {
                if *accept_untyped {
                    token.check_untyped_logout(rules, now)
                } else {
                    token.check_logout(rules, now)
                }
            })
            .await?;
        let name = verified.standard().token_id().unwrap_or_default();
        if seen.contains(name) {
            tracing::debug!("logout token came again");
            return Ok(Outcome::Replayed);
        }
        let ended = ended(&verified);
        for what in &ended {
            sinks.revoke(what);
        }
        // After the effect: who sees the name here may answer at once.
        seen.insert(name, trust.clock.now());
        observe::revoked(Receiver::Logout, ended.len());
        tracing::debug!("logged out by back channel");
        Ok(Outcome::Applied)
    }
}

/// What a logout ends.
fn ended(verified: &Verified) -> Vec<Revocation> {
    let claims = verified.standard();
    let issuer = claims.issuer();
    let at = issued_at(claims);
    match (claims.session_id(), claims.subject()) {
        (Some(session), None) => vec![Revocation::session(issuer, session)],
        (Some(session), Some(subject)) => vec![
            Revocation::session(issuer, session),
            Revocation::sessionless(issuer, subject).issued_at_or_before(at),
        ],
        (None, Some(subject)) => vec![Revocation::subject(issuer, subject).issued_at_or_before(at)],
        (None, None) => Vec::new(),
    }
}

fn issued_at(claims: &StandardClaims) -> i64 {
    let since = claims.issued_at().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl fmt::Debug for BackchannelLogout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackchannelLogout")
            .field("issuer", &self.0.trust.rules.issuer())
            .field("sinks", &self.0.sinks.len())
            .finish_non_exhaustive()
    }
}
