//! A tonic server and client on a socket, with the layers round the whole server and round one service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::service::LayerExt;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tower::{Service, ServiceBuilder};
use tower_oauth_core::BoxFuture;
use tower_oauth_server::{Authenticated, RequireScopeLayer};

use crate::support::*;

/// Serves on a free port until the test ends. A macro: the bounds of `Router<L>` are longer than what they say.
macro_rules! serve {
    ($router:expr) => {{
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = $router.serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(async move { serving.await.unwrap() });
        address
    }};
}
#[tokio::test]
async fn h08_layers_round_the_whole_server_refuse_with_the_codes_of_grpc() {
    let router = Server::builder()
        .layer(table().realm("shop").unwrap())
        .layer(RequireScopeLayer::all(["stock.read"]))
        .add_service(Whoami);
    let address = serve!(router);
    let cases = [
        (Some(ALICE), Ok("alice of acme")),
        (Some(CAROL), Ok("carol-later of acme")),
        (None, Err((Code::Unauthenticated, "no credentials"))),
        (Some("a,b"), Err((Code::Unauthenticated, "there are several credentials"))),
        (Some(EXPIRED), Err((Code::Unauthenticated, "the token has expired"))),
        (Some(EXPIRED_LATER), Err((Code::Unauthenticated, "the token has expired"))),
        (Some(BOB), Err((Code::PermissionDenied, "the token has not enough scope"))),
        (Some(OUTAGE), Err((Code::Unavailable, "the token cannot be checked now"))),
    ];
    for (token, expected) in cases {
        let answer = call(address, token).await;
        match expected {
            Ok(text) => assert_eq!(answer.unwrap(), text),
            Err((code, message)) => {
                let status = answer.unwrap_err();
                assert_eq!((status.code(), status.message()), (code, message), "{token:?}");
                assert!(!format!("{status:?}").contains(CANARY), "{status:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_challenge_comes_as_metadata() {
    let door = table().realm("shop").unwrap();
    let address = serve!(Server::builder().layer(door).add_service(Whoami));
    let status = call(address, Some(EXPIRED)).await.unwrap_err();
    let challenge = status.metadata().get("www-authenticate").unwrap().to_str().unwrap();
    assert!(challenge.starts_with("Bearer realm=\"shop\", error=\"invalid_token\""), "{challenge}");
    let status = call(address, Some(OUTAGE)).await.unwrap_err();
    assert!(status.metadata().get("www-authenticate").is_none());
    assert_eq!(status.metadata().get("retry-after").unwrap(), "3");
}

#[tokio::test]
async fn layers_round_one_service() {
    let layers = ServiceBuilder::new().layer(table()).layer(RequireScopeLayer::any(["stock.read"]));
    let address = serve!(Server::builder().add_service(layers.named_layer(Whoami)));
    assert_eq!(call(address, Some(ALICE)).await.unwrap(), "alice of acme");
    assert_eq!(call(address, Some(BOB)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(call(address, None).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn without_the_layer_a_handler_that_takes_the_caller_is_closed() {
    let address = serve!(Server::builder().add_service(Whoami));
    let status = call(address, Some(ALICE)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("no RequireTokenLayer"), "{status:?}");
}

async fn call(address: SocketAddr, token: Option<&str>) -> Result<String, Status> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new("who am I?".to_owned());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let path = PathAndQuery::from_static("/test.Whoami/Ask");
    client.unary(request, path, Text).await.map(Response::into_inner)
}

/// Tells who called.
#[derive(Clone)]
struct Whoami;

impl NamedService for Whoami {
    const NAME: &'static str = "test.Whoami";
}

impl Service<http::Request<tonic::body::Body>> for Whoami {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move { Ok(tonic::server::Grpc::new(Text).unary(Ask, request).await) })
    }
}

struct Ask;

impl tonic::server::UnaryService<String> for Ask {
    type Response = String;
    type Future = BoxFuture<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move {
            let caller = Authenticated::<Claims>::from_extensions(request.extensions())
                .map_err(|no| Status::new(Code::from(no.grpc_code()), no.to_string()))?;
            let name = caller.subject().unwrap_or("nobody");
            Ok(Response::new(format!("{name} of {}", caller.claims().tenant)))
        })
    }
}

/// A codec for which no schema is needed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.to_vec())
            .map(Some)
            .map_err(|_| Status::invalid_argument("the text is not UTF-8"))
    }
}
