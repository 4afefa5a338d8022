//! An issuer of opaque tokens that does what it is told, a clock that stands still, and somebody who asks.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_core::{Clock, ErrorKind};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{
    Authenticate, Authenticated, Caller, Introspection, IntrospectionBuilder, InvalidToken,
    Presented, Rejection, RequireTokenLayer, StandardClaims, Verdict,
};
use tower_oauth_test::{
    Endpoint, Fault, ManualClock, ScriptedIssuer, ScriptedIssuerBuilder, TokenSpec,
};

pub(crate) const AUDIENCE: &str = "inventory";
pub(crate) const CLIENT: &str = "inventory-api";
pub(crate) const SECRET: &str = "s3cret:%";

pub(crate) struct House {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) tokens: Introspection,
}

impl House {
    pub(crate) fn new() -> Self {
        hear_everything();
        Self::with(|issuer| issuer.opaque_tokens(), |tokens| tokens)
    }

    pub(crate) fn with(
        script: impl FnOnce(ScriptedIssuerBuilder) -> ScriptedIssuerBuilder,
        options: impl FnOnce(IntrospectionBuilder) -> IntrospectionBuilder,
    ) -> Self {
        let clock = ManualClock::new();
        let builder = ScriptedIssuer::builder()
            .client(CLIENT, SECRET)
            .audience(AUDIENCE)
            .clock(clock.clone())
            .token_life(Duration::from_secs(24 * 3600));
        let issuer = script(builder).build().unwrap();
        let tokens = options(introspection(&issuer, &clock)).build().unwrap();
        Self { issuer, clock, tokens }
    }

    pub(crate) fn token(&self) -> String {
        self.issuer.mint(TokenSpec::new())
    }

    pub(crate) fn calls(&self) -> u64 {
        self.issuer.calls(Endpoint::Introspection)
    }

    pub(crate) fn pass(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }

    /// The issuer answers every question with this.
    pub(crate) fn say(&self, answer: &Value) {
        self.issuer.fault(Endpoint::Introspection, Fault::Garbage(answer.to_string().into()));
    }

    pub(crate) async fn judge(&self, token: &str) -> Result<Caller<StandardClaims>, Rejection> {
        judge(&self.tokens, token).await
    }

    pub(crate) async fn accepts(&self, token: &str) -> bool {
        self.judge(token).await.is_ok()
    }

    /// A good answer, with members replaced or (by `null`) removed.
    pub(crate) fn answer(&self, more: Value) -> Value {
        let now = self.clock.unix_seconds();
        let mut answer = json!({
            "active": true, "iss": self.issuer.issuer(), "aud": AUDIENCE, "sub": "alice",
            "client_id": "shop", "iat": now - 10, "exp": now + 3600, "token_type": "Bearer",
            "scope": "inventory.read",
        });
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Null => drop(answer.as_object_mut().unwrap().remove(name)),
                value => answer[name] = value.clone(),
            }
        }
        answer
    }
}

pub(crate) fn introspection(issuer: &ScriptedIssuer, clock: &ManualClock) -> IntrospectionBuilder {
    hear_everything();
    Introspection::issuer(issuer.issuer())
        .client_credentials(CLIENT, SECRET)
        .audience(AUDIENCE)
        .http_client(HttpClient::new(issuer.service()))
        .clock(clock.clone())
}

pub(crate) fn verdict<A: Authenticate>(authenticator: &A, token: &str) -> Verdict<A::Claims> {
    authenticator.authenticate(Presented::new(token, &head()))
}

pub(crate) async fn judge<A: Authenticate>(
    authenticator: &A,
    token: &str,
) -> Result<Caller<A::Claims>, Rejection> {
    match verdict(authenticator, token) {
        Verdict::Now(result) => result,
        Verdict::Later(later) => later.await,
        other => panic!("an unknown verdict: {other:?}"),
    }
}

/// The verdict that needs no waiting.
pub(crate) fn judge_now<A: Authenticate>(
    authenticator: &A,
    token: &str,
) -> Result<Caller<A::Claims>, Rejection> {
    match verdict(authenticator, token) {
        Verdict::Now(result) => result,
        other => panic!("a request was made to wait: {other:?}"),
    }
}

fn head() -> Parts {
    Request::new(()).into_parts().0
}

/// Knocks at a door with this authenticator, by HTTP and by gRPC; the two must say the same, each in its own words.
pub(crate) async fn knock<A>(authenticator: &A, token: &str) -> Result<String, Rejection>
where
    A: Authenticate<Claims = StandardClaims> + Clone,
{
    let door = RequireTokenLayer::new(authenticator.clone()).layer(service_fn(greet));
    let request = |method: &str, kind: &str| {
        let request = Request::builder().method(method).header("content-type", kind);
        request.header("authorization", format!("Bearer {token}")).body(()).unwrap()
    };
    let over_http = door.clone().oneshot(request("GET", "text/plain")).await.unwrap();
    let over_grpc = door.oneshot(request("POST", "application/grpc")).await.unwrap();
    let rejection = over_http.extensions().get::<Rejection>().cloned();
    let grpc_rejection = over_grpc.extensions().get::<Rejection>().cloned();
    let Some(rejection) = rejection else {
        assert_eq!(grpc_rejection, None);
        assert_eq!((over_http.status().as_u16(), over_grpc.status().as_u16()), (200, 200));
        return Ok(over_http.headers()["subject"].to_str().unwrap().to_owned());
    };
    let grpc_rejection = grpc_rejection.expect("gRPC is let in where HTTP is not");
    assert_eq!(rejection.code(), grpc_rejection.code());
    assert_eq!(over_http.status(), rejection.status());
    assert_eq!(over_grpc.status(), 200);
    let code = over_grpc.headers()["grpc-status"].to_str().unwrap();
    assert_eq!(code, rejection.grpc_code().to_string());
    let unavailable = matches!(rejection, Rejection::Unavailable { .. });
    for answer in [over_http.headers(), over_grpc.headers()] {
        assert_eq!(answer.contains_key("retry-after"), unavailable);
        assert_eq!(answer.contains_key("www-authenticate"), !unavailable);
    }
    Err(rejection)
}

async fn greet(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let caller = Authenticated::<StandardClaims>::from_extensions(request.extensions()).unwrap();
    let mut response = Response::new(Full::default());
    let subject = caller.subject().unwrap_or("nobody").parse().unwrap();
    response.headers_mut().insert("subject", subject);
    Ok(response)
}

pub(crate) fn invalid(reason: InvalidToken) -> Rejection {
    Rejection::Invalid(reason)
}

pub(crate) fn inactive() -> Rejection {
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

/// A subscriber for all threads. Without one, a span that is met on two threads for the first time, while a test begins to
/// listen on one of them, can be taken for one that nobody wants.
fn hear_everything() {
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
}
