//! The server of the example: the same layers as in axum, round a tonic server.
//!
//! ```text
//! ISSUER=https://idp.example.com/realms/shop cargo run -p tonic-client --bin tonic-server
//! ```

use std::collections::BTreeMap;
use std::env;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use inventory_proto::inventory_server::{Inventory, InventoryServer};
use inventory_proto::{Item, Query, Stock};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tower_oauth::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jwt = Jwt::issuer(env::var("ISSUER")?).audience("inventory").build()?;
    tonic::transport::Server::builder()
        // In tonic the layer that is added first is the outermost.
        .layer(RequireTokenLayer::new(jwt))
        .layer(RequireScopeLayer::all(["inventory.read"]))
        .add_service(InventoryServer::new(Warehouse::default()))
        .serve("127.0.0.1:50051".parse()?)
        .await?;
    Ok(())
}

#[derive(Clone, Default)]
struct Warehouse(Arc<Mutex<BTreeMap<String, i64>>>);

impl Warehouse {
    fn stock(&self, sku: String) -> Stock {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quantity = held.get(&sku).copied().unwrap_or_default();
        Stock { sku, quantity }
    }
}

/// A method that asks for more than the layer does looks at the proof itself.
fn may_write<T>(request: &Request<T>) -> Result<(), Status> {
    let caller: Authenticated = Authenticated::from_extensions(request.extensions())
        .map_err(|_| Status::internal("no door"))?;
    if caller.scopes().contains("inventory.write") {
        Ok(())
    } else {
        Err(Status::permission_denied("inventory.write is needed"))
    }
}

type Stocks = Pin<Box<dyn Stream<Item = Result<Stock, Status>> + Send>>;

#[tonic::async_trait]
impl Inventory for Warehouse {
    type ListStream = Stocks;
    type WatchStream = Stocks;

    async fn count(&self, request: Request<Item>) -> Result<Response<Stock>, Status> {
        Ok(Response::new(self.stock(request.into_inner().sku)))
    }

    async fn list(&self, request: Request<Query>) -> Result<Response<Stocks>, Status> {
        let limit = request.into_inner().limit as usize;
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page: Vec<_> = held
            .iter()
            .take(limit)
            .map(|(sku, &quantity)| Ok(Stock { sku: sku.clone(), quantity }))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(page))))
    }

    async fn receive(&self, request: Request<Streaming<Stock>>) -> Result<Response<Stock>, Status> {
        may_write(&request)?;
        let mut delivery = request.into_inner();
        let mut sum = 0;
        while let Some(stock) = delivery.message().await? {
            sum += stock.quantity;
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *held.entry(stock.sku).or_default() += stock.quantity;
        }
        Ok(Response::new(Stock { sku: String::new(), quantity: sum }))
    }

    async fn watch(&self, request: Request<Streaming<Item>>) -> Result<Response<Stocks>, Status> {
        let warehouse = self.clone();
        let answers = request.into_inner().map(move |item| Ok(warehouse.stock(item?.sku)));
        Ok(Response::new(Box::pin(answers)))
    }
}
