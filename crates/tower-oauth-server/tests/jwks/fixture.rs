//! An issuer that does what it is told, a clock that stands still, and a validator between them.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::{InvalidToken, StandardClaims};
use tower_oauth_server::{Authenticate, Caller, Jwt, JwtBuilder, Presented, Rejection, Verdict};
use tower_oauth_test::{Endpoint, ManualClock, ScriptedIssuer, ScriptedIssuerBuilder, TokenSpec};

pub(crate) const AUDIENCE: &str = "inventory";

pub(crate) struct House {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) jwt: Jwt,
}

impl House {
    pub(crate) fn new() -> Self {
        // Without a subscriber for all threads, an event that is met on two threads for the first time, while a test begins to
        // listen on one of them, can be taken for one that nobody wants.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        Self::with(|issuer| issuer, |jwt| jwt)
    }

    pub(crate) fn with(
        script: impl FnOnce(ScriptedIssuerBuilder) -> ScriptedIssuerBuilder,
        options: impl FnOnce(JwtBuilder) -> JwtBuilder,
    ) -> Self {
        let clock = ManualClock::new();
        let builder = ScriptedIssuer::builder()
            .audience(AUDIENCE)
            .clock(clock.clone())
            // Outlives every test that does not let it expire on purpose.
            .token_life(Duration::from_secs(24 * 3600));
        let issuer = script(builder).build().unwrap();
        let jwt = options(jwt(&issuer, &clock)).build().unwrap();
        Self { issuer, clock, jwt }
    }

    /// With a set that was just loaded, and counters at zero.
    pub(crate) async fn warm() -> Self {
        Self::new().warmed().await
    }

    pub(crate) async fn warmed(self) -> Self {
        self.jwt.jwks().warm().await.unwrap();
        self.issuer.reset_calls();
        self
    }

    pub(crate) fn token(&self) -> String {
        self.issuer.mint(TokenSpec::new())
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.issuer.calls(Endpoint::Jwks)
    }

    /// Lets time pass, on the clock that freshness and pauses are measured on.
    pub(crate) fn pass(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }

    pub(crate) async fn judge(&self, token: &str) -> Result<Caller<StandardClaims>, Rejection> {
        judge(&self.jwt, token).await
    }

    pub(crate) async fn accepts(&self, token: &str) -> bool {
        self.judge(token).await.is_ok()
    }

    /// The verdict that needs no waiting.
    pub(crate) fn judge_now(&self, token: &str) -> Result<Caller<StandardClaims>, Rejection> {
        match verdict(&self.jwt, token) {
            Verdict::Now(result) => result,
            other => panic!("a request was made to wait: {other:?}"),
        }
    }
}

pub(crate) fn jwt(issuer: &ScriptedIssuer, clock: &ManualClock) -> JwtBuilder {
    Jwt::issuer(issuer.issuer())
        .audience(AUDIENCE)
        .http_client(HttpClient::new(issuer.service()))
        .clock(Arc::new(clock.clone()))
}

pub(crate) fn verdict<C: Send + Sync + 'static>(jwt: &Jwt<C>, token: &str) -> Verdict<C> {
    jwt.authenticate(Presented::new(token, &head()))
}

pub(crate) async fn judge<C: Send + Sync + 'static>(
    jwt: &Jwt<C>,
    token: &str,
) -> Result<Caller<C>, Rejection> {
    match verdict(jwt, token) {
        Verdict::Now(result) => result,
        Verdict::Later(later) => later.await,
        other => panic!("an unknown verdict: {other:?}"),
    }
}

fn head() -> Parts {
    http::Request::new(()).into_parts().0
}

pub(crate) fn unknown_key() -> Rejection {
    Rejection::Invalid(InvalidToken::UnknownKey)
}

pub(crate) fn bad_signature() -> Rejection {
    Rejection::Invalid(InvalidToken::BadSignature)
}

/// Lets everything run that can run, up to this long of tokio's paused time.
pub(crate) async fn settle(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
