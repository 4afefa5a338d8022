//! A plain hyper server on a socket, over HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower::{ServiceBuilder, service_fn};
use tower_oauth_server::{Authenticated, Readiness, RequireClaimsLayer, ResourceMetadata};
use tower_oauth_test::TokenSpec;

use crate::issued::*;
use crate::support::{ALICE, BOB, EXPIRED, greet, table};

/// Serves on a free port until the test ends, and counts the connections. A macro, since the bounds of the service are longer than it.
macro_rules! serve {
    ($service:expr) => {{
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connections);
        let service = $service;
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                *count.lock().unwrap() += 1;
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    // A connection that a cut body broke off ends with an error, which is what the test wants.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        (address, connections)
    }};
}

fn client(http2: bool) -> Client<HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

fn request(address: SocketAddr, path: &str, token: Option<&str>) -> Request<Empty<Bytes>> {
    let mut request = Request::get(format!("http://{address}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn h09_who_called_is_of_the_request_and_never_of_the_connection() {
    let service = ServiceBuilder::new()
        .layer(table().allow_anonymous())
        .service(service_fn(greet::<hyper::body::Incoming>));
    let (address, connections) = serve!(service);
    for http2 in [false, true] {
        let client = client(http2);
        let before = *connections.lock().unwrap();
        for (token, status, body) in [
            (Some(ALICE), 200, "alice"),
            (Some(BOB), 200, "bob"),
            (Some(EXPIRED), 401, ""),
            (None, 200, "anonymous"),
            (Some(ALICE), 200, "alice"),
        ] {
            let answer = client.request(request(address, "/", token)).await.unwrap();
            assert_eq!(answer.status(), status);
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(status != 200 || text == body, "{text:?}");
        }
        assert_eq!(*connections.lock().unwrap() - before, 1, "http2: {http2}");
    }
}

#[tokio::test]
async fn h01_h02_h04_what_a_raw_connection_may_try_to_smuggle_makes_nobody_alice() {
    let service =
        ServiceBuilder::new().layer(table()).service(service_fn(greet::<hyper::body::Incoming>));
    let (address, _) = serve!(service);
    let cases = [
        ("GET / HTTP/1.1", "Authorization:Bearer alice\r\n", "", 200),
        ("GET / HTTP/1.1", "aUTHORIZATION: \t bEARER alice \t\r\n", "", 200),
        // Two fields, however they are spelt.
        ("GET / HTTP/1.1", "Authorization: Bearer alice\r\nAUTHORIZATION: Bearer bob\r\n", "", 400),
        ("GET / HTTP/1.1", "Authorization: Bearer alice\r\nX: y\r\nauthorization:\r\n", "", 400),
        // What is no field line.
        ("GET / HTTP/1.1", "Authorization : Bearer alice\r\n", "", 400),
        ("GET / HTTP/1.1", "Authorization: Bearer\r\n alice\r\n", "", 400),
        ("GET / HTTP/1.1", "Authorization: Bearer alice\0\r\n", "", 400),
        ("GET / HTTP/1.1", "Authorization: Bearer alice\x01\r\n", "", 400),
        // Elsewhere than in the field it counts for nothing.
        ("GET / HTTP/1.1", "X-Authorization: Bearer alice\r\n", "", 401),
        ("GET / HTTP/1.1", "Authorization_: Bearer alice\r\n", "", 401),
        ("GET / HTTP/1.1", "Proxy-Authorization: Bearer alice\r\n", "", 401),
        ("GET / HTTP/1.1", "Cookie: authorization=Bearer alice\r\n", "", 401),
        ("GET / HTTP/1.1", "X: y\r\n X-Folded: Bearer alice\r\n", "", 400),
        ("GET /?access_token=alice HTTP/1.1", "", "", 401),
        ("GET /?access_token=alice HTTP/1.1", "Authorization: Bearer alice\r\n", "", 400),
        (
            "POST / HTTP/1.1",
            "Transfer-Encoding: chunked\r\nTrailer: authorization\r\n",
            "0\r\nauthorization: Bearer alice\r\n\r\n",
            401,
        ),
        // The second request of a connection is not that of the first caller.
        (
            "POST / HTTP/1.1",
            "Content-Length: 0\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer alice\r\n\r\n",
            401,
        ),
    ];
    for (line, fields, body, status) in cases {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{line}\r\nhost: a\r\n{fields}\r\n{body}");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        socket.read_exact(&mut begin).await.unwrap();
        let begin = String::from_utf8(begin.to_vec()).unwrap();
        assert_eq!(begin, format!("HTTP/1.1 {status}"), "{request:?}");
    }
}

#[tokio::test]
async fn rules_metadata_and_readiness_on_a_bare_socket() {
    let issued = Issued::new();
    let metadata = ResourceMetadata::builder("https://api.example.com").build().unwrap();
    let admins = RequireClaimsLayer::new(|caller: &Authenticated<Roles>| {
        caller.claims().roles.contains(&"admin".to_owned())
    });
    let stack = ServiceBuilder::new()
        .layer(metadata.clone())
        .layer(issued.door().resource_metadata(&metadata))
        .layer(admins)
        .service(service_fn(greet::<hyper::body::Incoming>));
    let (address, _) = serve!(stack);
    let admin = issued.token(TokenSpec::new().claim("roles", vec!["admin"]));
    let reader = issued.token(TokenSpec::new());
    let client = client(false);
    for (path, token, status) in [
        ("/", Some(admin.as_str()), 200),
        ("/", Some(reader.as_str()), 403),
        ("/", None, 401),
        (metadata.path(), None, 200),
    ] {
        let answer = client.request(request(address, path, token)).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    let (address, _) = serve!(Readiness::new(issued.jwt.jwks().clone()));
    let answer = client.request(request(address, "/ready", None)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// A body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl Body for Fed {
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
async fn h09_server_sent_events_break_off_when_the_token_ends_and_the_client_sees_it() {
    let issued = Issued::new();
    let feeds = Arc::new(Mutex::new(Vec::new()));
    let give = Arc::clone(&feeds);
    let service = ServiceBuilder::new().layer(issued.door().cut_streams_at_expiry()).service(
        service_fn(move |_: Request<hyper::body::Incoming>| {
            let (feed, fed) = mpsc::unbounded_channel();
            feed.send(Bytes::from_static(b"data: first\n\n")).unwrap();
            give.lock().unwrap().push(feed);
            let response = Response::builder().header("content-type", "text/event-stream");
            async { Ok::<_, Infallible>(response.body(Fed(fed)).unwrap()) }
        }),
    );
    let (address, _) = serve!(service);
    for http2 in [false, true] {
        let token = issued.token(TokenSpec::new());
        let answer = client(http2).request(request(address, "/", Some(&token))).await.unwrap();
        let mut body = answer.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: first\n\n");
        issued.clock.advance(LIFE + LEEWAY);
        let feed = feeds.lock().unwrap().pop().unwrap();
        feed.send(Bytes::from_static(b"data: too late\n\n")).unwrap();
        // Neither the event nor an orderly end.
        assert!(body.frame().await.unwrap().is_err(), "http2: {http2}");
        // And whoever feeds it is told.
        feed.closed().await;
    }
}

#[tokio::test]
async fn h09_a_connection_that_has_left_http_ends_by_its_handler_with_the_token() {
    let issued = Issued::new();
    let clock = Arc::new(issued.clock.clone());
    // What a WebSocket is to the door: an upgrade, and then bytes that no layer sees.
    let service = ServiceBuilder::new().layer(issued.door().cut_streams_at_expiry()).service(
        service_fn(move |mut request: Request<hyper::body::Incoming>| {
            let caller = Authenticated::<Roles>::from_extensions(request.extensions()).unwrap();
            let ended = caller.until_expiry().with_clock(clock.clone());
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                tokio::select! {
                    biased;
                    () = ended => to.shutdown().await.unwrap(),
                    echoed = tokio::io::copy(&mut from, &mut to) => panic!("{echoed:?}"),
                }
            });
            let response = Response::builder().status(101).header("upgrade", "echo");
            let response = response.header("connection", "upgrade").body(Empty::<Bytes>::new());
            async { Ok::<_, Infallible>(response.unwrap()) }
        }),
    );
    let (address, _) = serve!(service);
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let token = issued.token(TokenSpec::new());
    let head = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
    issued.clock.advance(LIFE + LEEWAY - Duration::from_secs(1));
    socket.write_all(b"a").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'a');
    issued.clock.advance(Duration::from_secs(1));
    socket.write_all(b"b").await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
}
