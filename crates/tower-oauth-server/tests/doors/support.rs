//! A small authenticator with a fixed table of tokens, and ways to ask a door.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth_core::{ErrorKind, Scopes};
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{
    Authenticate, Authenticated, Caller, Presented, Principal, Rejection, RequireTokenLayer,
    Verdict,
};

use crate::tonic_server::Text;

/// In every token that is refused: it must be found nowhere.
pub(crate) const CANARY: &str = "CANARY";

pub(crate) const ALICE: &str = "alice";
pub(crate) const BOB: &str = "bob";
/// The token of Carol is judged only after a wait.
pub(crate) const CAROL: &str = "carol-later";
pub(crate) const EXPIRED: &str = "CANARY.expired";
pub(crate) const EXPIRED_LATER: &str = "CANARY.expired-later";
pub(crate) const OUTAGE: &str = "CANARY.outage";
pub(crate) const OUTAGE_LATER: &str = "CANARY.outage-later";

#[derive(Debug, PartialEq)]
pub(crate) struct Claims {
    pub(crate) tenant: &'static str,
}

/// Knows the tokens above, and counts how often it is asked.
#[derive(Clone, Default)]
pub(crate) struct Table {
    asked: Arc<AtomicUsize>,
}

impl Table {
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Authenticate for Table {
    type Claims = Claims;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<Claims> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let outage = Rejection::Unavailable {
            cause: ErrorKind::Timeout,
            retry_after: Duration::from_millis(2_500),
        };
        match presented.token {
            ALICE => Verdict::Now(Ok(caller(ALICE, "stock.read stock.write"))),
            BOB => Verdict::Now(Ok(caller(BOB, "stock.reader"))),
            CAROL => later(Ok(caller(CAROL, "stock.read"))),
            EXPIRED => Verdict::Now(Err(InvalidToken::Expired.into())),
            EXPIRED_LATER => later(Err(InvalidToken::Expired.into())),
            OUTAGE => Verdict::Now(Err(outage)),
            OUTAGE_LATER => later(Err(outage)),
            _ => Verdict::Now(Err(InvalidToken::Malformed.into())),
        }
    }
}

fn caller(name: &str, scopes: &str) -> Caller<Claims> {
    let mut principal = Principal::new("https://idp.example", Duration::from_secs(4_000_000_000));
    principal.subject = Some(name.to_owned());
    principal.client_id = Some("orders".to_owned());
    principal.token_id = Some("jti-1".to_owned());
    principal.session_id = Some("sid-1".to_owned());
    principal.issued_at = Some(Duration::from_secs(1_700_000_000));
    principal.scopes = Scopes::parse(scopes);
    Caller::new(principal, Claims { tenant: "acme" })
}

fn later(verdict: Result<Caller<Claims>, Rejection>) -> Verdict<Claims> {
    Verdict::Later(Box::pin(async move {
        tokio::task::yield_now().await;
        verdict
    }))
}

pub(crate) fn table() -> RequireTokenLayer {
    RequireTokenLayer::new(Table::default())
}

/// What stands behind the door: tells who came in.
pub(crate) async fn greet<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from(name_of(request.extensions())))))
}

fn name_of(extensions: &Extensions) -> String {
    match Authenticated::<Claims>::from_extensions(extensions) {
        Ok(caller) => caller.subject().unwrap_or("nobody").to_owned(),
        Err(Rejection::Missing) => "anonymous".to_owned(),
        Err(rejection) => format!("unchecked: {rejection}"),
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) rejection: Option<Rejection>,
    pub(crate) body: String,
    /// What the body said of itself before it was read: its exact size, and whether it is at its end.
    pub(crate) size: (Option<u64>, bool),
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) async fn seen<S, RB>(service: S, request: Request<()>) -> Seen
where
    S: Service<Request<()>, Response = Response<RB>, Error = Infallible>,
    RB: http_body::Body<Data = Bytes>,
    RB::Error: std::fmt::Debug,
{
    let response = service.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let size = (body.size_hint().exact(), body.is_end_stream());
    let body = body.collect().await.unwrap().to_bytes();
    Seen {
        status: head.status,
        headers: head.headers,
        rejection: head.extensions.get().cloned(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        size,
    }
}

/// Asks a door with [`greet`] behind it.
pub(crate) async fn ask(layer: &RequireTokenLayer, request: Request<()>) -> Seen {
    seen(layer.layer(service_fn(greet)), request).await
}

/// Asks an axum router behind this door, whatever the path.
pub(crate) async fn over_axum(layer: &RequireTokenLayer, request: Request<()>) -> Seen {
    let app = axum::Router::new().fallback_service(service_fn(greet)).layer(layer.clone());
    seen(
        app.map_request(|request: Request<()>| request.map(|()| axum::body::Body::empty())),
        request,
    )
    .await
}

/// Asks a tonic server behind this door, with this request as a call.
pub(crate) async fn over_tonic(layer: &RequireTokenLayer, request: Request<()>) -> Seen {
    let server = service_fn(async |call: Request<tonic::body::Body>| {
        let tell = service_fn(async |request: tonic::Request<String>| {
            Ok::<_, tonic::Status>(tonic::Response::new(name_of(request.extensions())))
        });
        Ok::<_, Infallible>(tonic::server::Grpc::new(Text).unary(tell, call).await)
    });
    // A message of one byte, in its frame.
    let message = || tonic::body::Body::new(Full::new(Bytes::from_static(b"\0\0\0\0\x01?")));
    let server = layer.layer(server).map_request(move |call: Request<()>| call.map(|()| message()));
    let mut answer = seen(server, grpc(request)).await;
    if answer.rejection.is_none() {
        answer.body.drain(..5);
    }
    answer
}

pub(crate) fn get(uri: &str, fields: &[&[u8]]) -> Request<()> {
    let mut request = Request::get(uri).body(()).unwrap();
    for field in fields {
        request.headers_mut().append("authorization", HeaderValue::from_bytes(field).unwrap());
    }
    request
}

pub(crate) fn with_token(token: &str) -> Request<()> {
    get("/", &[format!("Bearer {token}").as_bytes()])
}

/// The same request as a gRPC call.
pub(crate) fn grpc(mut request: Request<()>) -> Request<()> {
    *request.method_mut() = http::Method::POST;
    let value = HeaderValue::from_static("application/grpc+proto");
    request.headers_mut().insert("content-type", value);
    request
}

/// A body that says something again and again, for ever.
pub(crate) struct Ticks(tokio::time::Interval);

pub(crate) fn ticks(every: std::time::Duration) -> Response<Ticks> {
    Response::new(Ticks(tokio::time::interval(every)))
}

impl http_body::Body for Ticks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_tick(cx).map(|_| Some(Ok(http_body::Frame::data(Bytes::from_static(b"tick")))))
    }
}
