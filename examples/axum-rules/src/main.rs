//! More of the server door: a rule of one route, refusals as problems, resource metadata, readiness.
//!
//! The short way in is the example `axum-resource-server`; this one adds to it.
//!
//! ```text
//! ISSUER=https://idp.example.com/realms/shop AUDIENCE=inventory cargo run -p axum-rules
//! curl -i http://127.0.0.1:3000/stock/bolt-m8 -H "Authorization: Bearer $TOKEN"
//! curl http://127.0.0.1:3000/.well-known/oauth-protected-resource
//! curl http://127.0.0.1:3000/ready
//! ```

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tower_oauth::prelude::*;
use tower_oauth::{BuildError, Readiness, Rejection, RequireClaimsLayer, ResourceMetadata};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = env::var("ISSUER")?;
    // Keys are found by discovery with the first request and followed from then on.
    let jwt = Jwt::issuer(&issuer)
        .audience(env::var("AUDIENCE").unwrap_or_else(|_| "inventory".into()))
        .claims::<Caller>()
        .build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(jwt, &issuer)?).await?;
    Ok(())
}

/// What we want to know of a caller beside the standard claims.
#[derive(Deserialize)]
struct Caller {
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Serialize)]
struct Stock {
    sku: String,
    quantity: i64,
}

/// Quantities by tenant and article.
#[derive(Clone, Default)]
struct Warehouse(Arc<Mutex<HashMap<(String, String), i64>>>);

fn app(jwt: Jwt<Caller>, issuer: &str) -> Result<Router, BuildError> {
    // Tells a client that comes without a token where to get one (RFC 9728).
    let metadata = ResourceMetadata::builder("http://127.0.0.1:3000")
        .authorization_server(issuer)
        .scopes_supported(["inventory.read", "inventory.write"])
        .build()?;
    let read = Router::new()
        .route("/stock/{sku}", get(stock))
        .route_layer(RequireScopeLayer::all(["inventory.read"]));
    let write = Router::new()
        .route("/stock/{sku}", put(set_stock))
        .route_layer(RequireScopeLayer::all(["inventory.write"]));
    // A rule that scope cannot express, of one route.
    let clear = Router::new().route("/stock/{sku}", delete(clear_stock)).route_layer(
        RequireClaimsLayer::new(|caller: &Authenticated<Caller>| {
            caller.claims().roles.iter().any(|role| role == "storekeeper")
        })
        .because("only a storekeeper may do this"),
    );
    let ready = Readiness::new(jwt.jwks().clone());
    let door = RequireTokenLayer::new(jwt).resource_metadata(&metadata).render_with(problem);
    // In axum the layer that is added last is the outermost: the token is checked before its scope.
    // A route that is added below this line is open, hence the order here.
    let protected = read.merge(write).merge(clear).layer(door);
    Ok(Router::new()
        .route("/health", get(|| async { "ok" }))
        .route_service("/ready", ready)
        .route_service(metadata.path(), metadata.clone())
        .merge(protected)
        .with_state(Warehouse::default()))
}

/// Refusals as `application/problem+json` (RFC 9457). Status, challenge and `Retry-After` stay the door's.
fn problem(rejection: &Rejection, head: &Parts) -> Response<Bytes> {
    let problem = serde_json::json!({
        "type": format!("https://inventory.example/problems/{}", rejection.code()),
        "title": rejection.to_string(),
        "status": rejection.status().as_u16(),
        "instance": head.uri.path(),
    });
    let mut response = Response::new(Bytes::from(problem.to_string()));
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
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

async fn clear_stock(
    State(warehouse): State<Warehouse>,
    caller: Authenticated<Caller>,
    Path(sku): Path<String>,
) -> Result<StatusCode, StatusCode> {
    warehouse.write(tenant(&caller)?, &sku, 0);
    Ok(StatusCode::NO_CONTENT)
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
