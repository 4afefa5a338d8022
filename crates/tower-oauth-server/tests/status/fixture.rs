//! An issuer with status lists, a clock that stands still, and a validator that looks tokens up.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use serde_json::{Value, json};
use tower_oauth_core::{Clock, ErrorKind};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::{InvalidToken, StandardClaims};
use tower_oauth_server::{
    Authenticate, Caller, Jwt, JwtBuilder, Presented, Rejection, StatusLists, StatusListsBuilder,
    Verdict,
};
use tower_oauth_test::{Endpoint, Fault, ManualClock, ScriptedIssuer, TokenSpec};

pub(crate) const AUDIENCE: &str = "inventory";

pub(crate) struct House {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) lists: StatusLists,
    pub(crate) jwt: Jwt,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|lists| lists).await
    }

    /// The keys are there; no list is.
    pub(crate) async fn with(
        options: impl FnOnce(StatusListsBuilder) -> StatusListsBuilder,
    ) -> Self {
        let clock = ManualClock::at(1_800_000_000);
        let issuer = ScriptedIssuer::builder()
            .audience(AUDIENCE)
            .clock(clock.clone())
            .token_life(Duration::from_secs(24 * 3600))
            .build()
            .unwrap();
        let http = HttpClient::new(issuer.service());
        let lists = options(StatusLists::builder().http_client(http)).build().unwrap();
        let jwt = jwt(&issuer, &clock).status_list(lists.clone()).build().unwrap();
        jwt.jwks().warm().await.unwrap();
        issuer.reset_calls();
        Self { issuer, clock, lists, jwt }
    }

    /// Another validator over the same keys, with these lists.
    pub(crate) fn sibling(&self, lists: StatusLists) -> Jwt {
        Jwt::issuer(self.issuer.issuer())
            .audience(AUDIENCE)
            .clock(Arc::new(self.clock.clone()))
            .jwks(self.jwt.jwks().clone())
            .status_list(lists)
            .build()
            .unwrap()
    }

    /// A token at this index of the first list.
    pub(crate) fn token(&self, index: u64) -> String {
        self.mint(self.issuer.status_claim(index))
    }

    /// A token with this claim `status`.
    pub(crate) fn mint(&self, status: Value) -> String {
        self.issuer.mint(TokenSpec::new().claim("status", status))
    }

    /// The address of the list of this name.
    pub(crate) fn uri(&self, name: &str) -> String {
        let first = self.issuer.url(Endpoint::StatusList);
        format!("{}{name}", first.strip_suffix('1').unwrap())
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.issuer.calls(Endpoint::StatusList)
    }

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
        judge_now(&self.jwt, token)
    }

    /// A good list of 16 statuses, all 0, with members replaced or (by `null`) removed.
    pub(crate) fn list(&self, more: Value) -> TokenSpec {
        let now = self.clock.unix_seconds();
        let mut claims = json!({
            "sub": self.issuer.url(Endpoint::StatusList), "iat": now, "exp": now + 3600, "ttl": 60,
            // Two bytes of zeros.
            "status_list": {"bits": 1, "lst": "eJxjYAAAAAIAAQ"},
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut spec = TokenSpec::new().header("typ", "statuslist+jwt");
        for name in ["iss", "aud", "client_id", "jti"] {
            spec = spec.without_claim(name);
        }
        for (name, value) in claims.as_object().unwrap() {
            spec = match value {
                Value::Null => spec.without_claim(name),
                value => spec.claim(name, value.clone()),
            };
        }
        spec
    }

    /// The issuer answers every question for a list with this.
    pub(crate) fn serve(&self, body: impl Into<bytes::Bytes>) {
        let content_type = "application/statuslist+jwt".into();
        let fault = Fault::Body { status: 200, content_type, body: body.into() };
        self.issuer.fault(Endpoint::StatusList, fault);
    }

    pub(crate) fn serve_list(&self, spec: TokenSpec) {
        self.serve(self.issuer.mint(spec));
    }
}

pub(crate) fn jwt(issuer: &ScriptedIssuer, clock: &ManualClock) -> JwtBuilder {
    Jwt::issuer(issuer.issuer())
        .audience(AUDIENCE)
        .http_client(HttpClient::new(issuer.service()))
        .clock(Arc::new(clock.clone()))
}

pub(crate) fn verdict<A: Authenticate>(jwt: &A, token: &str) -> Verdict<A::Claims> {
    jwt.authenticate(Presented::new(token, &head()))
}

pub(crate) async fn judge<A: Authenticate>(
    jwt: &A,
    token: &str,
) -> Result<Caller<A::Claims>, Rejection> {
    match verdict(jwt, token) {
        Verdict::Now(result) => result,
        Verdict::Later(later) => later.await,
        other => panic!("an unknown verdict: {other:?}"),
    }
}

pub(crate) fn judge_now<A: Authenticate>(
    jwt: &A,
    token: &str,
) -> Result<Caller<A::Claims>, Rejection> {
    match verdict(jwt, token) {
        Verdict::Now(result) => result,
        other => panic!("a request was made to wait: {other:?}"),
    }
}

fn head() -> Parts {
    http::Request::new(()).into_parts().0
}

pub(crate) fn invalid(reason: InvalidToken) -> Rejection {
    Rejection::Invalid(reason)
}

pub(crate) fn revoked() -> Rejection {
    invalid(InvalidToken::Inactive)
}

/// The cause and the seconds of a 503.
pub(crate) fn outage(rejection: &Rejection) -> (ErrorKind, u64) {
    match rejection {
        Rejection::Unavailable { cause, retry_after } => (*cause, retry_after.as_secs()),
        other => panic!("no outage: {other:?}"),
    }
}

/// Lets everything run that can run, up to this long of tokio's paused time.
pub(crate) async fn settle(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
