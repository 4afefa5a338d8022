//! An issuer that does what it is told, a resource server that trusts it, and a clock that stands still.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use tower_oauth_core::{Clock as _, Revocation, RevocationSink};
use tower_oauth_events::{BackchannelLogout, BackchannelLogoutBuilder, SetPush, SetPushBuilder};
use tower_oauth_server::{HttpClient, Jwt, RequireTokenLayer, Revocations};
use tower_oauth_test::{ManualClock, ScriptedIssuer, TokenSpec};

pub(crate) const AUDIENCE: &str = "inventory";
pub(crate) const CLIENT: &str = "inventory-app";
pub(crate) const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
pub(crate) const RECEIVER: &str = "https://inventory.test";
pub(crate) const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
pub(crate) const SET: &str = "application/secevent+jwt";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A sink that remembers what it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Revocation>>>);

impl Heard {
    pub(crate) fn all(&self) -> Vec<Revocation> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl RevocationSink for Heard {
    fn revoke(&self, what: &Revocation) {
        self.0.lock().unwrap().push(what.clone());
    }
}

pub(crate) struct House {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) list: Revocations,
    pub(crate) heard: Heard,
    door: Router,
}

impl House {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        let issuer = ScriptedIssuer::builder()
            .audience(AUDIENCE)
            .clock(clock.clone())
            .token_life(Duration::from_secs(3600))
            .build()
            .unwrap();
        let list = Revocations::builder().clock(clock.clone()).build().unwrap();
        let jwt = Jwt::issuer(issuer.issuer())
            .audience(AUDIENCE)
            .http_client(HttpClient::new(issuer.service()))
            .clock(clock.clone())
            .revocations(list.clone())
            .build()
            .unwrap();
        let door = Router::new()
            .route("/stock", get(|| async { "42" }).post(|| async { "42" }))
            .layer(RequireTokenLayer::new(jwt));
        Self { issuer, clock, list, heard: Heard::default(), door }
    }

    /// A receiver of logouts, over the list and the sink that remembers.
    pub(crate) fn logout(&self) -> BackchannelLogout {
        self.logout_builder().build().unwrap()
    }

    pub(crate) fn logout_builder(&self) -> BackchannelLogoutBuilder {
        BackchannelLogout::issuer(self.issuer.issuer())
            .client_id(CLIENT)
            .sink(self.list.clone())
            .sink(self.heard.clone())
            .http_client(HttpClient::new(self.issuer.service()))
            .clock(self.clock.clone())
    }

    /// A receiver of security events, over the same two.
    pub(crate) fn push(&self) -> SetPush {
        self.push_builder().build().unwrap()
    }

    pub(crate) fn push_builder(&self) -> SetPushBuilder {
        SetPush::transmitter(self.issuer.issuer())
            .audience(RECEIVER)
            .sink(self.list.clone())
            .sink(self.heard.clone())
            .http_client(HttpClient::new(self.issuer.service()))
            .clock(self.clock.clone())
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.unix_seconds()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// An access token of this session.
    pub(crate) fn token(&self, subject: &str, session: &str) -> String {
        self.issuer.mint(TokenSpec::new().subject(subject).claim("sid", session))
    }

    /// Whether the resource server lets the token in. Anything but yes and "not active any more" is no answer.
    pub(crate) async fn accepts(&self, token: &str) -> bool {
        let request = Request::get("/stock").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        let response = self.door.clone().oneshot(request).await.unwrap();
        match response.status() {
            StatusCode::OK => true,
            StatusCode::UNAUTHORIZED => {
                let (_, body) = read(response).await;
                assert!(body.contains("not active any more"), "{body}");
                false
            }
            other => panic!("no verdict: {other}"),
        }
    }
}

impl House {
    /// What the door says to a gRPC call: `None` if it lets it in.
    pub(crate) async fn grpc_status(&self, token: &str) -> Option<String> {
        let request = Request::post("/stock")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/grpc");
        let request = request.body(Body::empty()).unwrap();
        let response = self.door.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let status = response.headers().get("grpc-status");
        status.map(|value| value.to_str().unwrap().to_owned())
    }
}

/// A logout token with claims added, replaced, or (by `null`) removed.
pub(crate) fn logout_spec(house: &House, more: Value) -> TokenSpec {
    let now = house.now();
    let mut claims = json!({
        "aud": CLIENT, "iat": now, "exp": now + 120, "sub": null, "client_id": null,
        "sid": "s-1", "events": { LOGOUT: {} },
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    spec_of(claims).header("typ", "logout+jwt")
}

pub(crate) fn logout_token(house: &House, more: Value) -> String {
    house.issuer.mint(logout_spec(house, more))
}

/// A security event about alice, a moment ago, with claims added, replaced, or (by `null`) removed.
pub(crate) fn set_spec(house: &House, more: Value) -> TokenSpec {
    let now = house.now();
    let mut claims = json!({
        "aud": RECEIVER, "iat": now, "exp": null, "sub": null, "client_id": null,
        "sub_id": { "format": "iss_sub", "iss": house.issuer.issuer(), "sub": "alice" },
        "events": { format!("{CAEP}session-revoked"): { "event_timestamp": now } },
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    spec_of(claims).header("typ", "secevent+jwt")
}

pub(crate) fn set(house: &House, more: Value) -> String {
    house.issuer.mint(set_spec(house, more))
}

pub(crate) fn spec_of(claims: Value) -> TokenSpec {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    claims.into_iter().fold(TokenSpec::new(), |spec, (name, value)| match value {
        Value::Null => spec.without_claim(&name),
        value => spec.claim(&name, value),
    })
}

pub(crate) fn form(token: &str) -> String {
    format!("logout_token={token}")
}

/// Posts by way of axum, as a provider does.
pub(crate) async fn post<S>(service: &S, content_type: &str, body: impl Into<Body>) -> Answer
where
    S: tower::Service<Request<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    let request = Request::post("/events").header("content-type", content_type);
    send(service, request.body(body.into()).unwrap()).await
}

pub(crate) async fn send<S>(service: &S, request: Request<Body>) -> Answer
where
    S: tower::Service<Request<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    let app: Router = Router::new().route_service("/events", service.clone());
    Answer::of(app.oneshot(request).await.unwrap()).await
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        assert_eq!(response.headers()["cache-control"], "no-store");
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let (status, body) = read(response).await;
        Self { status, retry_after, body }
    }

    /// A member of the JSON object in it.
    pub(crate) fn member(&self, name: &str) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap();
        json[name].as_str().unwrap_or_default().to_owned()
    }
}

async fn read(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The public key of the issuer as an attacker would use it for a secret.
pub(crate) fn public_key_bytes(house: &House) -> Vec<u8> {
    let jwk = &house.issuer.jwks()["keys"][0];
    URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap()
}

/// Serves on a socket with hyper alone.
pub(crate) async fn serve<S>(service: S) -> SocketAddr
where
    S: hyper::service::Service<
            Request<hyper::body::Incoming>,
            Response = Response<Full<Bytes>>,
            Error = Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(serving);
        }
    });
    address
}

pub(crate) async fn call(
    address: SocketAddr,
    method: &str,
    content_type: &str,
    body: &str,
) -> Response<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("host", "127.0.0.1")
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}
