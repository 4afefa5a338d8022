//! Clients behind the client door: hyper and tonic.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use inventory_proto::inventory_client::InventoryClient;
use inventory_proto::{Item, Query, Stock};
use tonic::Status;
use tonic::transport::Channel;
use tower::{Layer, ServiceExt};
use tower_oauth::{RetryInvalidToken, RetryInvalidTokenLayer, TokenSource};

/// A hyper client with the token door round it.
#[derive(Clone)]
pub struct Http {
    uri: String,
    client: RetryInvalidToken<Client<HttpConnector, Full<Bytes>>>,
}

impl Http {
    /// Calls this server with tokens of this source.
    pub fn new(uri: &str, tokens: impl TokenSource) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { uri: uri.into(), client: RetryInvalidTokenLayer::new(tokens).layer(client) }
    }

    /// `GET path`: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.send(Request::get(format!("{}{path}", self.uri)).body(Full::default()).unwrap()).await
    }

    /// `POST path`: status and body.
    pub async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let request = Request::post(format!("{}{path}", self.uri));
        self.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let response: Response<_> = self.client.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// A tonic client with the token door round its channel.
#[derive(Clone)]
pub struct Grpc(InventoryClient<RetryInvalidToken<Channel>>);

impl Grpc {
    /// Calls this server with tokens of this source.
    pub fn new(uri: &str, tokens: impl TokenSource) -> Self {
        let channel = Channel::from_shared(uri.to_owned()).unwrap().connect_lazy();
        Self(InventoryClient::new(RetryInvalidTokenLayer::new(tokens).layer(channel)))
    }

    /// Unary.
    pub async fn count(&self, sku: &str) -> Result<i64, Status> {
        let answer = self.0.clone().count(Item { sku: sku.into() }).await?;
        Ok(answer.into_inner().quantity)
    }

    /// Server streaming: the quantities.
    pub async fn list(&self, limit: u32) -> Result<Vec<i64>, Status> {
        drain(self.0.clone().list(Query { limit }).await?.into_inner()).await
    }

    /// Client streaming: the sum.
    pub async fn receive(&self, quantities: &[i64]) -> Result<i64, Status> {
        let stocks: Vec<_> =
            quantities.iter().map(|&quantity| Stock { sku: "x".into(), quantity }).collect();
        let answer = self.0.clone().receive(tokio_stream::iter(stocks)).await?;
        Ok(answer.into_inner().quantity)
    }

    /// Both ways: the quantities.
    pub async fn watch(&self, skus: &[&str]) -> Result<Vec<i64>, Status> {
        let items: Vec<_> = skus.iter().map(|&sku| Item { sku: sku.into() }).collect();
        drain(self.0.clone().watch(tokio_stream::iter(items)).await?.into_inner()).await
    }
}

async fn drain(mut stream: tonic::Streaming<Stock>) -> Result<Vec<i64>, Status> {
    let mut quantities = Vec::new();
    while let Some(stock) = stream.message().await? {
        quantities.push(stock.quantity);
    }
    Ok(quantities)
}
