use std::time::Duration;

use aws_lc_rs::rand;
use serde_json::json;

use super::SigningKey;
use crate::base64url;

/// A JWT by which a client says who it is, or for whom it acts (RFC 7523 section 3).
///
/// [`sign`](Self::sign) makes a new one each time, with a `jti` of its own: a server may refuse one that it has
/// seen, so an assertion is good for one try.
///
/// ```
/// use tower_oauth_jose::{Algorithm, ClientAssertion, SigningKey};
///
/// let key = SigningKey::hmac(Algorithm::HS256, [7; 32])?;
/// let assertion = ClientAssertion::of_client("orders", "https://idp.example.com");
/// let now = 1_800_000_000;
/// assert_ne!(assertion.sign(&key, now), assertion.sign(&key, now));
/// # Ok::<(), tower_oauth_jose::InvalidSigningKey>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientAssertion {
    issuer: String,
    subject: String,
    audience: String,
    life: Duration,
}

impl ClientAssertion {
    /// How long one is good for if nothing else is said: 60 seconds.
    pub const DEFAULT_LIFE: Duration = Duration::from_secs(60);

    /// The client speaks of itself: `iss` and `sub` are its id. `audience` is the issuer's identifier,
    /// or the token endpoint where a server wants that.
    #[must_use]
    pub fn of_client(client_id: impl Into<String>, audience: impl Into<String>) -> Self {
        let issuer = client_id.into();
        let subject = issuer.clone();
        Self { issuer, subject, audience: audience.into(), life: Self::DEFAULT_LIFE }
    }

    /// The client, or whoever holds the key, speaks for `subject`: an authorization grant (RFC 7523 section 2.1).
    #[must_use]
    pub fn of_subject(
        issuer: impl Into<String>,
        subject: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            audience: audience.into(),
            life: Self::DEFAULT_LIFE,
        }
    }

    /// How long one is good for: 60 seconds if not set, in whole seconds. Clocks that differ by more make
    /// it fail.
    #[must_use]
    pub const fn with_life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// Signs a new one, issued at `now` in seconds since 1970. `None` where the backend fails, for want of
    /// randomness or memory.
    #[must_use]
    pub fn sign(&self, key: &SigningKey, now: i64) -> Option<String> {
        let mut id = [0; 16];
        rand::fill(&mut id).ok()?;
        let life = i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX);
        let claims = json!({
            "iss": self.issuer,
            "sub": self.subject,
            // One text: a list would let it be used at each server that is listed.
            "aud": self.audience,
            "jti": base64url::encode(id),
            "iat": now,
            "exp": now.saturating_add(life),
        });
        key.sign("JWT", &claims)
    }
}
