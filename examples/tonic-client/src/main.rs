//! A tonic client behind the client door: a dead token is replaced and the call sent again, unseen.
//!
//! ```text
//! ISSUER=https://idp.example.com/realms/shop CLIENT_ID=orders CLIENT_SECRET=… \
//!     INVENTORY=http://127.0.0.1:50051 cargo run -p tonic-client
//! ```
//! The server is `cargo run -p tonic-client --bin tonic-server`.

use std::env;
use std::time::Duration;

use inventory_proto::inventory_client::InventoryClient;
use inventory_proto::{Item, Query, Stock};
use tonic::Request;
use tonic::transport::Channel;
use tower_oauth::RetryInvalidToken;
use tower_oauth::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = TokenCache::builder()
        .issuer(env::var("ISSUER")?)
        .client_credentials(env::var("CLIENT_ID")?, Secret::from_env("CLIENT_SECRET")?)
        .scopes(["inventory.read", "inventory.write"])
        .build()?;
    let channel = Channel::from_shared(env::var("INVENTORY")?)?.connect_lazy();
    let mut inventory = InventoryClient::new(RetryInvalidTokenLayer::new(tokens).layer(channel));

    all_four_kinds(&mut inventory).await
}

/// The type stays short: the source is erased inside the layer.
type Inventory = InventoryClient<RetryInvalidToken<Channel>>;

async fn all_four_kinds(inventory: &mut Inventory) -> Result<(), Box<dyn std::error::Error>> {
    // Client streaming. What has been sent is recorded, so a refusal half-way is no end.
    let delivery = [("bolt-m8", 100), ("nut-m8", 250)]
        .map(|(sku, quantity)| Stock { sku: sku.into(), quantity });
    let sum = inventory.receive(tokio_stream::iter(delivery)).await?.into_inner();
    show("received", sum.quantity);

    // Unary. This deadline is tonic's, for each attempt; a timeout round the door would cover the
    // exchange for a new token too.
    let mut request = Request::new(Item { sku: "bolt-m8".into() });
    request.set_timeout(Duration::from_secs(5));
    show("bolts", inventory.count(request).await?.into_inner().quantity);

    // Server streaming.
    let mut list = inventory.list(Query { limit: 10 }).await?.into_inner();
    while let Some(stock) = list.message().await? {
        show(&stock.sku, stock.quantity);
    }

    // Both ways.
    let wanted = ["nut-m8", "washer-m8"].map(|sku| Item { sku: sku.into() });
    let mut watch = inventory.watch(tokio_stream::iter(wanted)).await?.into_inner();
    while let Some(stock) = watch.message().await? {
        show(&stock.sku, stock.quantity);
    }
    Ok(())
}

// An example talks to a person.
#[allow(clippy::print_stdout)]
fn show(what: &str, quantity: i64) {
    println!("{what:>12}: {quantity}");
}
