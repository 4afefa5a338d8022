//! Rules and streams behind the server door, on real sockets: axum and tonic, in all four kinds of calls.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use inventory_proto::inventory_client::InventoryClient;
use inventory_proto::{Item, Query, Stock};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, IntoRequest, Request, Status};
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_oauth::{
    Authenticated, HttpClient, Jwt, RequireAuthenticationLayer, RequireClaimsLayer,
    RequireScopeLayer, RequireTokenLayer, ResourceMetadata,
};
use tower_oauth_test::{ManualClock, ScriptedIssuer, TokenSpec};
use tower_oauth_tests::raw_http;
use tower_oauth_tests::resource::{self, Server};

const NOW: i64 = 1_800_000_000;
const LIFE: Duration = Duration::from_secs(600);

struct House {
    issuer: ScriptedIssuer,
    clock: ManualClock,
    jwt: Jwt,
}

impl House {
    fn new() -> Self {
        let clock = ManualClock::at(NOW);
        let issuer = ScriptedIssuer::builder()
            .audience("inventory")
            .clock(clock.clone())
            .token_life(LIFE)
            .build()
            .unwrap();
        let jwt = Jwt::issuer(issuer.issuer())
            .audience("inventory")
            .http_client(HttpClient::new(issuer.service()))
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
        Self { issuer, clock, jwt }
    }

    fn door(&self) -> RequireTokenLayer {
        RequireTokenLayer::new(self.jwt.clone()).clock(Arc::new(self.clock.clone()))
    }

    fn token(&self, spec: TokenSpec) -> String {
        self.issuer.mint(spec)
    }

    fn reader(&self) -> String {
        self.token(TokenSpec::new().scope("inventory.read"))
    }
}

/// The four kinds of calls.
const KINDS: [&str; 4] = ["unary", "server streaming", "client streaming", "both ways"];

async fn call(server: &Server, kind: &str, token: Option<&str>) -> Result<(), Status> {
    let mut client = client(server);
    let stocks = || tokio_stream::iter([Stock { sku: "a".into(), quantity: 1 }]);
    match kind {
        "unary" => client.count(with(Item { sku: "a".into() }, token)).await.map(drop),
        "server streaming" => {
            let mut stream = client.list(with(Query { limit: 3 }, token)).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        }
        "client streaming" => client.receive(with(stocks(), token)).await.map(drop),
        _ => {
            let items = tokio_stream::iter([Item { sku: "a".into() }]);
            let mut stream = client.watch(with(items, token)).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        }
    }
}

fn client(server: &Server) -> InventoryClient<Channel> {
    let channel = Channel::from_shared(server.uri().to_owned()).unwrap().connect_lazy();
    InventoryClient::new(channel)
}

fn with<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn status_of(server: &Server, path: &str, token: Option<&str>) -> (u16, String) {
    let field = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = field.iter().map(|field| ("authorization", field.as_str())).collect();
    let url = format!("{}{path}", server.uri());
    let answer = raw_http::call("GET", &url, &headers, "").await.unwrap();
    (answer.status(), answer.body().to_owned())
}

#[tokio::test]
async fn h08_every_kind_of_call_is_refused_with_the_code_that_says_why() {
    let house = House::new();
    let admins = RequireClaimsLayer::new(|caller: &Authenticated| caller.subject() != Some("bob"));
    let recent = RequireAuthenticationLayer::within(Duration::from_secs(300))
        .clock(Arc::new(house.clock.clone()));
    let layers = ServiceBuilder::new()
        .layer(house.door())
        .layer(RequireScopeLayer::all(["inventory.read"]))
        .layer(admins)
        .layer(recent);
    let server = resource::serve_grpc(layers.into_inner()).await;
    let reader = || TokenSpec::new().scope("inventory.read").claim("auth_time", NOW);
    let cases = [
        (Some(house.token(reader())), None),
        (None, Some((Code::Unauthenticated, "no credentials"))),
        (Some("a,b".to_owned()), Some((Code::Unauthenticated, "there are several credentials"))),
        (
            Some(house.token(reader().expired())),
            Some((Code::Unauthenticated, "the token has expired")),
        ),
        (
            Some(house.token(reader().scope("other"))),
            Some((Code::PermissionDenied, "the token has not enough scope")),
        ),
        (
            Some(house.token(reader().subject("bob"))),
            Some((Code::PermissionDenied, "the caller may not do this")),
        ),
        (
            Some(house.token(reader().claim("auth_time", NOW - 3600))),
            Some((Code::Unauthenticated, "a stronger or more recent authentication is needed")),
        ),
    ];
    for (token, refused) in cases {
        for kind in KINDS {
            let answer = call(&server, kind, token.as_deref()).await;
            let code = answer.as_ref().err().map(|status| (status.code(), status.message()));
            assert_eq!(code, refused, "{kind}");
            if let Err(status) = answer
                && status.code() == Code::Unauthenticated
            {
                assert!(status.metadata().contains_key("www-authenticate"), "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn h06_where_the_anonymous_may_come_in_an_invalid_token_still_may_not_over_axum_and_tonic() {
    async fn maybe(caller: Option<Authenticated>) -> String {
        caller.map_or("anonymous", |_| "known").to_owned()
    }
    let house = House::new();
    let metadata = ResourceMetadata::builder("https://api.example.com").build().unwrap();
    let door = || house.door().allow_anonymous().resource_metadata(&metadata);
    let http = resource::serve(Router::new().route("/", get(maybe)).layer(door())).await;
    let grpc = resource::serve_grpc(door()).await;
    let cases = [
        (None, 200, "anonymous", None),
        (Some(house.reader()), 200, "known", None),
        (Some(house.token(TokenSpec::new().expired())), 401, "", Some(Code::Unauthenticated)),
        (Some(house.token(TokenSpec::new().audience("x"))), 401, "", Some(Code::Unauthenticated)),
        (Some("rubbish".to_owned()), 401, "", Some(Code::Unauthenticated)),
        (Some(String::new()), 401, "", Some(Code::Unauthenticated)),
        (Some("a, Bearer b".to_owned()), 400, "", Some(Code::Unauthenticated)),
    ];
    for (token, status, body, code) in cases {
        let answer = status_of(&http, "/", token.as_deref()).await;
        assert_eq!(answer.0, status, "{token:?}");
        assert!(status != 200 || answer.1 == body, "{answer:?}");
        // The unary method of the server takes the caller; the others take anybody who is let in.
        for kind in &KINDS[1..] {
            let answer = call(&grpc, kind, token.as_deref()).await;
            assert_eq!(answer.err().map(|status| status.code()), code, "{kind} {token:?}");
        }
    }
}

#[tokio::test]
async fn h09_a_stream_in_either_direction_ends_with_its_token_by_a_status_and_not_broken() {
    let house = House::new();
    let cutting = resource::serve_grpc(house.door().cut_streams_at_expiry()).await;
    let running = resource::serve_grpc(house.door()).await;
    for (server, cut) in [(&cutting, true), (&running, false)] {
        let token = house.reader();
        let (items, feed) = mpsc::unbounded_channel();
        let feed = UnboundedReceiverStream::new(feed);
        let item = || Item { sku: "bolt".into() };
        items.send(item()).unwrap();
        let answer = client(server).watch(with(feed, Some(&token))).await.unwrap();
        let mut stocks = answer.into_inner();
        assert_eq!(stocks.message().await.unwrap().unwrap().quantity, 4);
        // To the last second of the leeway, and not further.
        house.clock.advance(LIFE + Duration::from_secs(29));
        items.send(item()).unwrap();
        assert_eq!(stocks.message().await.unwrap().unwrap().quantity, 4);
        house.clock.advance(Duration::from_secs(1));
        items.send(item()).unwrap();
        if cut {
            let status = stocks.message().await.unwrap_err();
            let said = (status.code(), status.message());
            assert_eq!(said, (Code::Unauthenticated, "the token has expired"));
            assert!(stocks.message().await.unwrap().is_none());
        } else {
            assert_eq!(stocks.message().await.unwrap().unwrap().quantity, 4);
        }
    }
}

#[tokio::test]
async fn h09_two_callers_share_a_connection_and_nothing_else() {
    let house = House::new();
    let admins = RequireClaimsLayer::new(|caller: &Authenticated| caller.subject() == Some("ann"));
    let layers = ServiceBuilder::new().layer(house.door()).layer(admins);
    let server = resource::serve_grpc(layers.into_inner()).await;
    let mut shared = client(&server);
    let ann = house.token(TokenSpec::new().subject("ann"));
    let bob = house.token(TokenSpec::new().subject("bob"));
    let expected = [
        (Some(&ann), None),
        (Some(&bob), Some(Code::PermissionDenied)),
        (None, Some(Code::Unauthenticated)),
        (Some(&ann), None),
    ];
    for (token, code) in expected {
        let request = with(Item { sku: "a".into() }, token.map(String::as_str));
        let answer = shared.count(request.into_request()).await;
        assert_eq!(answer.err().map(|status| status.code()), code);
    }
}

#[tokio::test]
async fn h08_grpc_web_over_http_1_gets_its_status_in_the_headers() {
    let house = House::new();
    let scope = RequireScopeLayer::all(["inventory.write"]);
    let routes = Router::new().fallback(async || "in").layer(scope).layer(house.door());
    let server = resource::serve(routes).await;
    let url = format!("{}/inventory.Inventory/Count", server.uri());
    let reader = format!("Bearer {}", house.reader());
    let expired = format!("Bearer {}", house.token(TokenSpec::new().expired()));
    // An empty message, as both kinds of gRPC-Web write it.
    let kinds = [
        ("application/grpc-web+proto", "\0\0\0\0\0"),
        ("application/grpc-web-text", "AAAAAAA="),
        ("application/grpc-web-text+proto", "AAAAAAA="),
    ];
    for (kind, message) in kinds {
        for (token, code) in [(&reader, "7"), (&expired, "16")] {
            let headers = [("content-type", kind), ("authorization", token.as_str())];
            let answer = raw_http::call("POST", &url, &headers, message).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.header("content-type"), Some(kind));
            assert_eq!(answer.header("grpc-status"), Some(code));
            assert!(answer.header("www-authenticate").is_some());
            assert_eq!(answer.body(), "");
        }
    }
}

#[tokio::test]
async fn h10_a_forged_identity_header_reaches_neither_an_axum_nor_a_tonic_handler() {
    async fn names(headers: HeaderMap) -> String {
        let forged = ["x-user", "x_user"].map(|name| headers.contains_key(name));
        format!("{forged:?}")
    }
    let house = House::new();
    let door = || house.door().strip_headers(["x-user"]).unwrap();
    let http = resource::serve(Router::new().route("/", get(names)).layer(door())).await;
    let token = format!("Bearer {}", house.reader());
    let headers = [("authorization", token.as_str()), ("x-user", "root"), ("x_user", "root")];
    let answer = raw_http::call("GET", http.uri(), &headers, "").await.unwrap();
    assert_eq!((answer.status(), answer.body()), (200, "[false, false]"));

    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let spy = MapRequestLayer::new(move |request: http::Request<tonic::body::Body>| {
        see.lock().unwrap().push(request.headers().contains_key("x-user"));
        request
    });
    let layers = ServiceBuilder::new().layer(door()).layer(spy);
    let grpc = resource::serve_grpc(layers.into_inner()).await;
    let mut request = with(Item { sku: "a".into() }, Some(&house.reader()));
    request.metadata_mut().insert("x-user", "root".parse().unwrap());
    client(&grpc).count(request).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [false]);
}

/// A request's body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn h09_behind_the_layer_of_grpc_web_a_cut_stream_has_its_status_in_the_body() {
    let house = House::new();
    let door = house.door().cut_streams_at_expiry();
    let layers = ServiceBuilder::new().layer(GrpcWebLayer::new()).layer(door);
    let server = resource::serve_grpc(layers.into_inner()).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    // `Item { sku: "bolt" }` in its frame.
    let item = Bytes::from_static(b"\0\0\0\0\x06\x0a\x04bolt");
    for text in [false, true] {
        let write = |bytes: &Bytes| {
            if text { Bytes::from(STANDARD.encode(bytes)) } else { bytes.clone() }
        };
        let read = |bytes: Bytes| {
            if text { Bytes::from(STANDARD.decode(bytes).unwrap()) } else { bytes }
        };
        let kind =
            if text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
        let (items, fed) = mpsc::unbounded_channel();
        items.send(write(&item)).unwrap();
        let request = http::Request::post(format!("{}/inventory.Inventory/Watch", server.uri()))
            .header("content-type", kind)
            .header("accept", kind)
            .header("authorization", format!("Bearer {}", house.reader()))
            .body(Fed(fed))
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.headers()["content-type"], kind);
        let mut body = answer.into_body();
        let stock = read(body.frame().await.unwrap().unwrap().into_data().unwrap());
        assert!(stock.ends_with(b"\x10\x04"), "{stock:?}");
        house.clock.advance(LIFE + Duration::from_secs(30));
        items.send(write(&item)).unwrap();
        let last = read(body.frame().await.unwrap().unwrap().into_data().unwrap());
        assert_eq!(last.first(), Some(&0x80), "{last:?}");
        let last = String::from_utf8_lossy(&last).into_owned();
        assert!(last.contains("grpc-status:16\r\n"), "{last}");
        assert!(body.frame().await.is_none());
    }
}
