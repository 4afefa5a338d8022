//! Calls that are refused while they are still being sent, on real sockets: what was sent is sent
//! again, and the rest goes on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use inventory_proto::inventory_client::InventoryClient;
use inventory_proto::inventory_server::{Inventory, InventoryServer};
use inventory_proto::{Item, Query, Stock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Channel, Server};
use tonic::{Code, Status, Streaming};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_oauth::{
    ClientError, Jwt, Need, RequireTokenLayer, RetryInvalidToken, RetryInvalidTokenLayer,
    TokenCache, TokenSource,
};
use tower_oauth_test::{Endpoint, Fault, ScriptedIssuer, Serving};
use tower_oauth_tests::resource;
use tower_oauth_tests::session::Session;

const PATIENCE: Duration = Duration::from_secs(20);

/// An issuer on a socket, and a cache that has a token of it.
async fn issuer() -> (ScriptedIssuer, Serving, TokenCache) {
    let issuer =
        ScriptedIssuer::builder().client("orders", "s3cret").audience("inventory").build().unwrap();
    let idp = issuer.serve().await.unwrap();
    let tokens = TokenCache::builder()
        .issuer(issuer.issuer())
        .client_credentials("orders", "s3cret")
        .scope("inventory.read")
        .build()
        .unwrap();
    tokens.fetch(Need::Any).await.unwrap();
    (issuer, idp, tokens)
}

fn grpc_door(issuer: &ScriptedIssuer) -> RequireTokenLayer {
    let jwt = Jwt::issuer(issuer.issuer()).audience("inventory").build().unwrap();
    RequireTokenLayer::new(Session::new(jwt, issuer.clone()))
}

// === HTTP/1 ===

/// What came over one connection.
struct Received {
    head: String,
    content: Vec<u8>,
    stream: TcpStream,
}

/// Reads a head and so many bytes of a chunked body, or all of it.
async fn receive(mut stream: TcpStream, at_least: usize) -> Received {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(at) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "the head breaks off");
    };
    let head = String::from_utf8(raw[..end].to_vec()).unwrap().to_ascii_lowercase();
    let mut body = raw.split_off(end);
    loop {
        let (content, ended) = unchunk(&body);
        if ended || content.len() >= at_least {
            return Received { head, content, stream };
        }
        assert!(stream.read_buf(&mut body).await.unwrap() > 0, "the body breaks off");
    }
}

/// The content of the whole chunks so far, and whether the last one is among them.
fn unchunk(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let Some(at) = body.windows(2).position(|window| window == b"\r\n") else {
            return (content, false);
        };
        let length = std::str::from_utf8(&body[..at]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return (content, true);
        }
        if body.len() < at + 2 + length + 2 {
            return (content, false);
        }
        content.extend_from_slice(&body[at + 2..at + 2 + length]);
        body = &body[at + 2 + length + 2..];
    }
}

const REFUSAL: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer error=\"invalid_token\"\r\n\
    content-length: 16\r\nconnection: close\r\n\r\nthe first answer";

type Upload = mpsc::UnboundedSender<Bytes>;

/// A body that is written while it is sent.
fn upload() -> (Upload, UnsyncBoxBody<Bytes, BoxError>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = UnboundedReceiverStream::new(receiver).map(|data| Ok(Frame::data(data)));
    (sender, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

type Answered<B> = JoinHandle<Result<Response<B>, ClientError>>;

/// Starts the upload.
fn post(
    tokens: TokenCache,
    uri: String,
    body: UnsyncBoxBody<Bytes, BoxError>,
) -> Answered<impl Body<Data = Bytes, Error: Debug>> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(uri).body(body).unwrap();
    tokio::spawn(RetryInvalidTokenLayer::new(tokens).layer(client).oneshot(request))
}

/// Status and content of its answer.
async fn answer(call: Answered<impl Body<Data = Bytes, Error: Debug>>) -> (u16, String) {
    let answer = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    let status = answer.status().as_u16();
    let content = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(content.to_vec()).unwrap())
}

#[tokio::test]
async fn r05_an_http_1_upload_that_is_refused_half_way_goes_on_with_the_new_token() {
    let (issuer, _idp, tokens) = issuer().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/upload", listener.local_addr().unwrap());
    let (body, sent) = upload();
    for _ in 0..10 {
        body.send(Bytes::from(vec![b'a'; 1024])).unwrap();
    }
    let call = post(tokens, uri, sent);

    let (first, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut first = timeout(PATIENCE, receive(first, 5 * 1024)).await.unwrap();
    first.stream.write_all(REFUSAL).await.unwrap();

    let (second, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    // Written after the refusal.
    body.send(Bytes::from(vec![b'b'; 1024])).unwrap();
    drop(body);
    let mut second = timeout(PATIENCE, receive(second, usize::MAX)).await.unwrap();
    second.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await.unwrap();

    assert_eq!(answer(call).await, (200, "fine".to_owned()));
    let whole = [vec![b'a'; 10 * 1024], vec![b'b'; 1024]].concat();
    assert_eq!(second.content, whole);
    assert_ne!(token(&first.head), token(&second.head));
    assert_eq!(issuer.calls(Endpoint::Token), 2);
}

#[tokio::test]
async fn r05_an_http_1_upload_beyond_the_record_gets_its_refusal_and_the_next_one_the_new_token() {
    let (issuer, _idp, tokens) = issuer().await;
    let old = tokens.peek().unwrap().id();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/upload", listener.local_addr().unwrap());
    let (body, sent) = upload();
    for _ in 0..100 {
        body.send(Bytes::from(vec![b'a'; 1024])).unwrap();
    }
    let call = post(tokens.clone(), uri, sent);
    let (first, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut first = timeout(PATIENCE, receive(first, 100 * 1024)).await.unwrap();
    first.stream.write_all(REFUSAL).await.unwrap();
    assert_eq!(answer(call).await, (401, "the first answer".to_owned()));
    drop(body);
    let new = timeout(PATIENCE, tokens.fetch(Need::Any)).await.unwrap().unwrap();
    assert_ne!(new.id(), old);
    assert_eq!(issuer.calls(Endpoint::Token), 2);
}

/// Sends a head, and the body only when it is told to: what hyper does not do.
async fn expect_continue(
    address: std::net::SocketAddr,
    request: Request<UnsyncBoxBody<Bytes, BoxError>>,
) -> Result<Response<String>, BoxError> {
    let mut stream = TcpStream::connect(address).await?;
    let token = request.headers()["authorization"].to_str()?.to_owned();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\nexpect: 100-continue\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await?;
    let interim = String::from_utf8_lossy(&answer[..length]).into_owned();
    if interim.starts_with("HTTP/1.1 401") {
        let refusal = Response::builder().status(401);
        let refusal = refusal.header("www-authenticate", r#"Bearer error="invalid_token""#);
        return Ok(refusal.body(interim)?);
    }
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().map_err(|_| "trailers")?;
        stream.write_all(format!("{:x}\r\n", data.len()).as_bytes()).await?;
        stream.write_all(&data).await?;
        stream.write_all(b"\r\n").await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    let length = stream.read(&mut answer).await?;
    Ok(Response::new(String::from_utf8_lossy(&answer[..length]).into_owned()))
}

#[tokio::test]
async fn r06_an_upload_that_waits_for_100_continue_is_sent_once_whatever_its_length() {
    const LENGTH: usize = 1024 * 1024;
    let (_issuer, _idp, tokens) = issuer().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = service_fn(move |request| expect_continue(address, request));
    let (body, sent) = upload();
    for _ in 0..LENGTH / 1024 {
        body.send(Bytes::from(vec![b'a'; 1024])).unwrap();
    }
    drop(body);
    let request = Request::post("http://127.0.0.1/").body(sent).unwrap();
    let door = RetryInvalidTokenLayer::new(tokens).with_max_recorded(0).layer(client);
    let call = tokio::spawn(door.oneshot(request));

    let (first, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut first = timeout(PATIENCE, receive(first, 0)).await.unwrap();
    assert_eq!(first.content.len(), 0, "nobody has asked for the body");
    first.stream.write_all(REFUSAL).await.unwrap();
    let (second, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut second = timeout(PATIENCE, receive(second, 0)).await.unwrap();
    second.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    let mut raw = Vec::new();
    while !unchunk(&raw).1 {
        assert!(second.stream.read_buf(&mut raw).await.unwrap() > 0, "the body breaks off");
    }
    assert_eq!(unchunk(&raw).0.len(), LENGTH);
    second.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap().unwrap().status(), 200);
}

fn token(head: &str) -> &str {
    head.lines().find(|line| line.starts_with("authorization:")).unwrap()
}

// === gRPC ===

type Grpc = InventoryClient<RetryInvalidToken<Channel>>;

fn client(uri: &str, layer: &RetryInvalidTokenLayer) -> Grpc {
    InventoryClient::new(layer.layer(Channel::from_shared(uri.to_owned()).unwrap().connect_lazy()))
}

fn stock(quantity: i64) -> Stock {
    Stock { sku: "x".into(), quantity }
}

#[tokio::test]
async fn r05_a_client_stream_that_is_refused_early_goes_on_with_what_is_written_later() {
    let (issuer, _idp, tokens) = issuer().await;
    let server = resource::serve_grpc(grpc_door(&issuer)).await;
    let mut client = client(server.uri(), &RetryInvalidTokenLayer::new(tokens));
    issuer.restart();
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(stock(1)).unwrap();
    let call =
        tokio::spawn(async move { client.receive(UnboundedReceiverStream::new(receiver)).await });
    // The refusal, and the exchange that follows from it.
    timeout(PATIENCE, async {
        while issuer.calls(Endpoint::Token) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    sender.send(stock(10)).unwrap();
    sender.send(stock(100)).unwrap();
    drop(sender);
    let sum = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    assert_eq!(sum.into_inner().quantity, 111);
    assert_eq!(issuer.calls(Endpoint::Token), 2);
}

#[tokio::test]
async fn r05_a_conversation_that_is_refused_early_is_had_with_the_new_token() {
    let (issuer, _idp, tokens) = issuer().await;
    let server = resource::serve_grpc(grpc_door(&issuer)).await;
    let mut client = client(server.uri(), &RetryInvalidTokenLayer::new(tokens));
    issuer.restart();
    let (sender, receiver) = mpsc::unbounded_channel();
    let ask = |sku: &str| sender.send(Item { sku: sku.into() }).unwrap();
    ask("a");
    let call = client.watch(UnboundedReceiverStream::new(receiver));
    let mut answers = timeout(PATIENCE, call).await.unwrap().unwrap().into_inner();
    // Each answer before the next question: nothing of the stream is held back.
    for sku in ["a", "bb", "ccc"] {
        let answer = timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap();
        assert_eq!((answer.sku.as_str(), answer.quantity), (sku, sku.len() as i64));
        ask(match sku {
            "a" => "bb",
            _ => "ccc",
        });
    }
    assert_eq!(issuer.calls(Endpoint::Token), 2);
}

#[tokio::test]
async fn elsewhere_i_r05_an_eager_client_stream_beyond_the_record_gets_unauthenticated_and_the_next_call_heals()
 {
    let (issuer, _idp, tokens) = issuer().await;
    let server = resource::serve_grpc(grpc_door(&issuer)).await;
    let layer = RetryInvalidTokenLayer::new(tokens.clone()).with_max_recorded(8);
    let mut client = client(server.uri(), &layer);
    issuer.restart();
    let stocks: Vec<_> = (0..100).map(stock).collect();
    let refused = client.receive(tokio_stream::iter(stocks)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    timeout(PATIENCE, tokens.fetch(Need::Any)).await.unwrap().unwrap();
    let sum = client.receive(tokio_stream::iter(vec![stock(1), stock(2)])).await.unwrap();
    assert_eq!(sum.into_inner().quantity, 3);
    assert_eq!(issuer.calls(Endpoint::Token), 2);
}

/// Says 16 or 7 behind a message, or at once.
#[derive(Clone, Default)]
struct Fickle(Arc<AtomicUsize>);

type Stocks = Pin<Box<dyn Stream<Item = Result<Stock, Status>> + Send>>;

#[tonic::async_trait]
impl Inventory for Fickle {
    type ListStream = Stocks;
    type WatchStream = Stocks;

    async fn count(&self, _: tonic::Request<Item>) -> Result<tonic::Response<Stock>, Status> {
        self.0.fetch_add(1, SeqCst);
        Err(Status::permission_denied("no right"))
    }

    async fn list(&self, _: tonic::Request<Query>) -> Result<tonic::Response<Stocks>, Status> {
        self.0.fetch_add(1, SeqCst);
        let stocks = vec![Ok(stock(1)), Err(Status::unauthenticated("in the middle"))];
        Ok(tonic::Response::new(Box::pin(tokio_stream::iter(stocks))))
    }

    async fn receive(
        &self,
        _: tonic::Request<Streaming<Stock>>,
    ) -> Result<tonic::Response<Stock>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch(
        &self,
        _: tonic::Request<Streaming<Item>>,
    ) -> Result<tonic::Response<Stocks>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves it; the URI, and what ends it when dropped.
async fn serve(service: Fickle) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        let server = Server::builder().add_service(InventoryServer::new(service));
        let ended = async move { drop(ended.await) };
        server.serve_with_incoming_shutdown(incoming, ended).await.unwrap();
    });
    (uri, end)
}

#[tokio::test]
async fn r15_unauthenticated_behind_a_message_and_permission_denied_are_the_callers_to_see() {
    let (issuer, _idp, tokens) = issuer().await;
    let fickle = Fickle::default();
    let (uri, _end) = serve(fickle.clone()).await;
    let mut client = client(&uri, &RetryInvalidTokenLayer::new(tokens));
    let mut stocks = client.list(Query { limit: 2 }).await.unwrap().into_inner();
    assert_eq!(stocks.message().await.unwrap().unwrap().quantity, 1);
    let status = stocks.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "in the middle"));
    assert_eq!(fickle.0.load(SeqCst), 1, "the message has been delivered");

    let status = client.count(Item { sku: "x".into() }).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(fickle.0.load(SeqCst), 2);
    assert_eq!(issuer.calls(Endpoint::Token), 1);
}

#[tokio::test]
async fn r15_the_deadline_of_a_call_includes_the_wait_for_its_token() {
    let (issuer, _idp, tokens) = issuer().await;
    let server = resource::serve_grpc(grpc_door(&issuer)).await;
    let mut client = client(server.uri(), &RetryInvalidTokenLayer::new(tokens));
    issuer.restart();
    issuer.fault(Endpoint::Token, Fault::Delay(Duration::from_secs(3))).times(1);
    let mut call = tonic::Request::new(Item { sku: "x".into() });
    call.set_timeout(Duration::from_millis(300));
    // The door gives the first answer back when the time is over, not the channel an error.
    let status = timeout(Duration::from_secs(2), client.count(call)).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let count = timeout(PATIENCE, client.count(Item { sku: "xx".into() })).await.unwrap().unwrap();
    assert_eq!(count.into_inner().quantity, 2, "the exchange went on");
    assert_eq!(issuer.calls(Endpoint::Token), 2);

    // Without any token the error is the deadline's own.
    let (issuer, _idp, _) = self::issuer().await;
    let tokens =
        TokenCache::builder().issuer(issuer.issuer()).client_credentials("orders", "s3cret");
    issuer.fault(Endpoint::Token, Fault::Delay(Duration::from_secs(3))).times(1);
    let mut client =
        self::client(server.uri(), &RetryInvalidTokenLayer::new(tokens.build().unwrap()));
    let mut call = tonic::Request::new(Item { sku: "x".into() });
    call.set_timeout(Duration::from_millis(300));
    let status = timeout(Duration::from_secs(2), client.count(call)).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn r12_a_generated_client_with_an_origin_is_checked_and_one_without_is_pinned_by_its_channel()
{
    let (issuer, _idp, tokens) = issuer().await;
    let server = resource::serve_grpc(grpc_door(&issuer)).await;
    let layer =
        RetryInvalidTokenLayer::new(tokens).with_origins(["https://inventory.example"]).unwrap();
    let channel = Channel::from_shared(server.uri().to_owned()).unwrap().connect_lazy();
    let count = || Item { sku: "x".into() };

    let mut pinned = InventoryClient::new(layer.layer(channel.clone()));
    assert_eq!(pinned.count(count()).await.unwrap().into_inner().quantity, 1);

    let foreign = server.uri().parse().unwrap();
    let mut checked = InventoryClient::with_origin(layer.layer(channel.clone()), foreign);
    let status = checked.count(count()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "the request went without a token");

    let refusing = layer.refuse_other_origins().layer(channel);
    let foreign = server.uri().parse().unwrap();
    let mut checked = InventoryClient::with_origin(refusing, foreign);
    let status = checked.count(count()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(issuer.calls(Endpoint::Token), 1);
}

#[tokio::test]
async fn r13_plain_http_to_another_machine_is_refused_before_a_connection_is_made() {
    let (_issuer, _idp, tokens) = issuer().await;
    let never = service_fn(|_: Request<UnsyncBoxBody<Bytes, BoxError>>| async {
        Err::<Response<()>, BoxError>("somebody connects".into())
    });
    let mut door = RetryInvalidTokenLayer::new(tokens).layer(never);
    let request = Request::get("http://inventory.example/").body(upload().1).unwrap();
    let error = door.ready().await.unwrap().call(request).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
}
