//! Plain webhooks: for whoever knows of dead tokens and speaks neither SSF nor OpenID.

mod builder;
mod news;
mod service;
mod signature;

use std::fmt;
use std::sync::Arc;

use tower_oauth_core::{Clock, RevocationSink};

use crate::intake::Intake;
use crate::seen::SeenNames;

use self::signature::Keys;

pub use self::builder::{WebhookBuilder, WebhookIssuer};

/// Hears from an identity provider's webhook which tokens have died.
///
/// A `tower::Service` for providers that have no back-channel logout and no security events, but can post something somewhere. Mount it outside of the
/// token door. Cloning is a reference count.
///
/// # The rules
///
/// 1. A `POST` of `application/json` with the fields `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`, as the
///    [Standard Webhooks](https://www.standardwebhooks.com) specification has it: the signature is `v1,` and the Base64 of the HMAC-SHA-256 over
///    *id*`.`*timestamp*`.`*body*, under a secret that both share. Several signatures may stand there, and several
///    [secrets](WebhookBuilder::also_secret) be good, so that a secret can be changed. They are compared in constant time.
/// 2. The timestamp is at most [five minutes](WebhookBuilder::window) away from now, on either side. The same id again is 204 and has no second effect;
///    the last 100,000 within the window are remembered.
/// 3. The body says what has died, at the one issuer: see below. All of it is read before any of it has an effect.
/// 4. The answer is 204 when every sink has been told. **Otherwise** 401 for a signature or a timestamp that is not good, 400 for a body or a field that is
///    malformed, 405, 413, and 503 with `Retry-After` if more come than are served at a time. The text says why.
/// 5. **Bounded**: 64 KiB and 1,000 entries, 5 s for the body, 64 requests at a time.
///
/// ```json
/// { "revoked": [
///     { "session": "08a5019c-17e1" },
///     { "subject": "alice", "issued_at_or_before": 1800000000 },
///     { "all": true }
/// ] }
/// ```
///
/// An entry has one of `token_id` (a `jti`), `session` (a `sid`), `subject` (a `sub`), `client` (a `client_id`) or `all` (`true`: the issuer has restarted and
/// forgotten its tokens, say), and may say up to which second the tokens were issued that die. Without that, a token or a session is dead for good; of a
/// subject, a client or all, those tokens die that were issued at or before the timestamp. A member with another name is refused.
///
/// ```
/// use tower_oauth_core::Secret;
/// use tower_oauth_events::Webhook;
/// use tower_oauth_server::Revocations;
///
/// # fn main() -> Result<(), tower_oauth_core::BuildError> {
/// let revocations = Revocations::new();
/// let webhook = Webhook::issuer("https://idp.example.com/realms/shop")
///     .secret(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
///     .sink(revocations)
///     .build()?;
/// let app: axum::Router = axum::Router::new().route_service("/revoked", webhook);
/// # drop(app); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Webhook(Arc<Inner>);

struct Inner {
    issuer: String,
    keys: Keys,
    /// In seconds.
    window: u64,
    sinks: Vec<Arc<dyn RevocationSink>>,
    seen: SeenNames,
    intake: Intake,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// Tells of the tokens of this issuer, and of no other. The next step is [`secret`](WebhookIssuer::secret).
    pub fn issuer(issuer: impl Into<String>) -> WebhookIssuer {
        WebhookIssuer::new(issuer.into())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("issuer", &self.0.issuer)
            .field("sinks", &self.0.sinks.len())
            .finish_non_exhaustive()
    }
}
