//! Resource servers on sockets: axum and tonic, behind whatever layer a test puts round them.

use std::convert::Infallible;
use std::pin::Pin;

use axum::Router;
use axum::routing::{get, post};
use http::{Request, Response};
use inventory_proto::inventory_server::{Inventory, InventoryServer};
use inventory_proto::{Item, Query, Stock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};
use tower::{Layer, Service};
use tower_oauth::Authenticated;

/// A server that ends when it is dropped.
pub struct Server {
    uri: String,
    task: JoinHandle<()>,
}

impl Server {
    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `GET /whoami` answers with the subject and the scopes, `POST /echo` with the body.
pub fn routes() -> Router {
    async fn whoami(caller: Authenticated) -> String {
        format!("{} may {}", caller.subject().unwrap_or("nobody"), caller.scopes())
    }
    async fn echo(_: Authenticated, body: String) -> String {
        body
    }
    Router::new().route("/whoami", get(whoami)).route("/echo", post(echo))
}

/// Serves an axum router over HTTP/1.1.
pub async fn serve(app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Server { uri, task }
}

/// Serves the gRPC inventory behind a layer.
pub async fn serve_grpc<L, B>(door: L) -> Server
where
    L: Layer<tonic::service::Routes> + Clone + Send + Sync + 'static,
    L::Service: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<Request<tonic::body::Body>>>::Future: Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    serve_grpc_by(tonic::transport::Server::builder(), door).await
}

/// The same by a server with TLS, say. (Its URI says `http` all the same.)
pub async fn serve_grpc_by<L, B>(server: tonic::transport::Server, door: L) -> Server
where
    L: Layer<tonic::service::Routes> + Clone + Send + Sync + 'static,
    L::Service: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<Request<tonic::body::Body>>>::Future: Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        server
            .layer(door)
            .add_service(InventoryServer::new(Echo))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    });
    Server { uri, task }
}

/// The four kinds of calls, without any memory.
struct Echo;

type Stocks = Pin<Box<dyn Stream<Item = Result<Stock, Status>> + Send>>;

fn stock(sku: String) -> Stock {
    let quantity = i64::try_from(sku.len()).unwrap();
    Stock { sku, quantity }
}

#[tonic::async_trait]
impl Inventory for Echo {
    type ListStream = Stocks;
    type WatchStream = Stocks;

    async fn count(&self, request: tonic::Request<Item>) -> Result<tonic::Response<Stock>, Status> {
        let caller: Authenticated = Authenticated::from_extensions(request.extensions())
            .map_err(|refused| Status::internal(refused.to_string()))?;
        assert!(caller.subject().is_some());
        Ok(tonic::Response::new(stock(request.into_inner().sku)))
    }

    async fn list(
        &self,
        request: tonic::Request<Query>,
    ) -> Result<tonic::Response<Stocks>, Status> {
        let stocks = (0..request.into_inner().limit).map(|n| Ok(stock("x".repeat(n as usize))));
        Ok(tonic::Response::new(Box::pin(tokio_stream::iter(stocks.collect::<Vec<_>>()))))
    }

    async fn receive(
        &self,
        request: tonic::Request<Streaming<Stock>>,
    ) -> Result<tonic::Response<Stock>, Status> {
        let mut stocks = request.into_inner();
        let mut quantity = 0;
        while let Some(stock) = stocks.message().await? {
            quantity += stock.quantity;
        }
        Ok(tonic::Response::new(Stock { sku: "all".into(), quantity }))
    }

    async fn watch(
        &self,
        request: tonic::Request<Streaming<Item>>,
    ) -> Result<tonic::Response<Stocks>, Status> {
        let stocks = request.into_inner().map(|item| Ok(stock(item?.sku)));
        Ok(tonic::Response::new(Box::pin(stocks)))
    }
}
