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

use std::env;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{delete, get};
use serde::Deserialize;
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
    roles: Vec<String>,
}

fn app(jwt: Jwt<Caller>, issuer: &str) -> Result<Router, BuildError> {
    // Tells a client that comes without a token where to get one (RFC 9728).
    let metadata = ResourceMetadata::builder("http://127.0.0.1:3000")
        .authorization_server(issuer)
        .scopes_supported(["inventory.read"])
        .build()?;
    let read = Router::new()
        .route("/stock/{sku}", get(stock))
        .route_layer(RequireScopeLayer::all(["inventory.read"]));
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
    let protected = read.merge(clear).layer(door);
    Ok(Router::new()
        .route("/health", get(|| async { "ok" }))
        .route_service("/ready", ready)
        .route_service(metadata.path(), metadata.clone())
        .merge(protected))
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

async fn stock(caller: Authenticated<Caller>, Path(sku): Path<String>) -> String {
    format!("the {sku} of {}", caller.subject().unwrap_or("nobody"))
}

async fn clear_stock(_: Authenticated<Caller>, Path(_): Path<String>) -> StatusCode {
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests;
