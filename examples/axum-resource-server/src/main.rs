//! An axum server behind the server door: only callers with a valid token get at the stock.
//!
//! ```text
//! ISSUER=https://idp.example.com/realms/shop AUDIENCE=inventory cargo run -p axum-resource-server
//! curl -i http://127.0.0.1:3000/stock/bolt-m8 -H "Authorization: Bearer $TOKEN"
//! ```

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tower_oauth::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Keys are found by discovery with the first request and followed from then on.
    let jwt = Jwt::issuer(env::var("ISSUER")?)
        .audience(env::var("AUDIENCE").unwrap_or_else(|_| "inventory".into()))
        .claims::<Caller>()
        .build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(jwt)).await?;
    Ok(())
}

/// What we want to know of a caller beside the standard claims.
#[derive(Deserialize)]
struct Caller {
    #[serde(default)]
    tenant: Option<String>,
}

#[derive(Serialize)]
struct Stock {
    sku: String,
    quantity: i64,
}

/// Quantities by tenant and article.
#[derive(Clone, Default)]
struct Warehouse(Arc<Mutex<HashMap<(String, String), i64>>>);

fn app(jwt: Jwt<Caller>) -> Router {
    let read = Router::new()
        .route("/stock/{sku}", get(stock))
        .route_layer(RequireScopeLayer::all(["inventory.read"]));
    let write = Router::new()
        .route("/stock/{sku}", put(set_stock))
        .route_layer(RequireScopeLayer::all(["inventory.write"]));
    // In axum the layer that is added last is the outermost: the token is checked before its scope.
    // A route that is added below this line is open, hence the order here.
    let protected = read.merge(write).layer(RequireTokenLayer::new(jwt));
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .merge(protected)
        .with_state(Warehouse::default())
}

// A handler that takes `Authenticated` is never reached without a token, wherever its route stands.
async fn stock(
    State(warehouse): State<Warehouse>,
    caller: Authenticated<Caller>,
    Path(sku): Path<String>,
) -> Result<Json<Stock>, StatusCode> {
    let quantity = warehouse.read(tenant(&caller)?, &sku);
    Ok(Json(Stock { sku, quantity }))
}

async fn set_stock(
    State(warehouse): State<Warehouse>,
    caller: Authenticated<Caller>,
    Path(sku): Path<String>,
    Json(quantity): Json<i64>,
) -> Result<Json<Stock>, StatusCode> {
    warehouse.write(tenant(&caller)?, &sku, quantity);
    Ok(Json(Stock { sku, quantity }))
}

/// A tenant's own stock; a client without a tenant is a tenant by its name.
fn tenant(caller: &Authenticated<Caller>) -> Result<&str, StatusCode> {
    caller.claims().tenant.as_deref().or(caller.client_id()).ok_or(StatusCode::FORBIDDEN)
}

impl Warehouse {
    fn read(&self, tenant: &str, sku: &str) -> i64 {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&(tenant.into(), sku.into())).copied().unwrap_or_default()
    }

    fn write(&self, tenant: &str, sku: &str, quantity: i64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert((tenant.into(), sku.into()), quantity);
    }
}

#[cfg(test)]
mod tests;
