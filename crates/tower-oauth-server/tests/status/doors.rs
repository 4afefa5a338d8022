//! The refusals as clients see them: through an axum router, and from a tonic server on a socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use tower_oauth_core::BoxFuture;
use tower_oauth_server::RequireTokenLayer;
use tower_oauth_test::{Endpoint, Fault};

use crate::fixture::House;

/// The index, and what both protocols say of it.
type Expected = (u64, u16, Code, &'static str);

const EXPECTED: [Expected; 5] = [
    (0, 200, Code::Ok, ""),
    (1, 401, Code::Unauthenticated, "the token is not active any more"),
    (2, 401, Code::Unauthenticated, "the token is suspended"),
    (3, 401, Code::Unauthenticated, "the token has a status that is not accepted"),
    (99, 401, Code::Unauthenticated, "the status list does not know the token"),
];

async fn house() -> House {
    let house = House::new().await;
    house.issuer.set_status_list_size(16);
    for status in 1..=3 {
        house.issuer.set_status(status.into(), status);
    }
    house
}

#[tokio::test]
async fn case_70_through_an_axum_router() {
    let house = house().await;
    let door = RequireTokenLayer::new(house.jwt.clone());
    let app = Router::new().route("/", get(|| async { "let in" })).layer(door);
    let ask = async |token: &str| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    for (index, status, _, text) in EXPECTED {
        // Waiting for the list, and with the list at hand.
        house.lists.clear();
        for _ in 0..2 {
            let answer = ask(&house.token(index)).await;
            assert_eq!(answer.status(), status, "{index}");
            let challenge = answer.headers().get("www-authenticate");
            assert_eq!(challenge.is_some(), status == 401);
            if let Some(challenge) = challenge {
                let challenge = challenge.to_str().unwrap();
                assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
                assert!(challenge.contains(text), "{challenge}");
            }
        }
    }
    house.lists.clear();
    house.issuer.fault(Endpoint::StatusList, Fault::Status(500));
    for _ in 0..2 {
        let answer = ask(&house.token(0)).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        assert!(!answer.headers().contains_key("www-authenticate"), "not the caller's fault");
    }
}

#[tokio::test]
async fn case_70_from_a_tonic_server() {
    let house = house().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder()
        .layer(RequireTokenLayer::new(house.jwt.clone()))
        .add_service(Silent)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(async move { serving.await.unwrap() });
    for (index, _, code, text) in EXPECTED {
        house.lists.clear();
        for _ in 0..2 {
            let status = call(address, &house.token(index)).await;
            assert_eq!((status.code(), status.message()), (code, text), "{index}");
        }
    }
    house.lists.clear();
    house.issuer.fault(Endpoint::StatusList, Fault::Status(500));
    let status = call(address, &house.token(0)).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
}

/// A call with an empty stream for an answer.
async fn call(address: SocketAddr, token: &str) -> Status {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    let path = http::uri::PathAndQuery::from_static("/test.Silent/Ask");
    match client.server_streaming(request, path, Nothing).await {
        Ok(answer) => match answer.into_inner().message().await {
            Ok(None) => Status::ok(""),
            Ok(Some(())) => panic!("a message out of nothing"),
            Err(status) => status,
        },
        Err(status) => status,
    }
}

/// Lets every call end well.
#[derive(Clone)]
struct Silent;

impl NamedService for Silent {
    const NAME: &'static str = "test.Silent";
}

impl Service<Request<tonic::body::Body>> for Silent {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async { Ok(Status::ok("").into_http()) })
    }
}

/// A codec for which no schema is needed.
#[derive(Clone, Copy, Default)]
struct Nothing;

impl Codec for Nothing {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Nothing {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Nothing {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(Some(()))
    }
}
