//! The resource server: one port, HTTP and gRPC, behind the server door.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use inventory_proto::inventory_server::{Inventory, InventoryServer};
use inventory_proto::{Item, Query, Stock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::codegen::BoxStream;
use tonic::{Status, Streaming};
use tower_oauth::jose::InvalidToken;
use tower_oauth::prelude::*;
use tower_oauth::{Authenticate, BoxError, Caller, Presented, Rejection, Verdict};
use tower_oauth_test::ScriptedIssuer;

use crate::mood::{AUDIT, Mood, gateway};
use crate::wire::HOLD;

/// The scope that both of its doors ask for.
pub(crate) const SCOPE: &str = "inventory.read";
/// Nobody has it.
const AUDIT_SCOPE: &str = "inventory.audit";
/// Enough for all requests that are held at the same time; hyper's default is 200 a connection.
const MAX_STREAMS: u32 = 4_000;

/// A server that runs until this is dropped.
pub(crate) struct Resource {
    /// `http://127.0.0.1:PORT`
    pub(crate) uri: String,
    pub(crate) gate: Gate,
    pub(crate) mood: Mood,
    accepting: JoinHandle<()>,
}

impl Resource {
    pub(crate) async fn start(
        authenticator: impl Authenticate,
        mood: Mood,
    ) -> Result<Self, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (uri, gate) = (format!("http://{}", listener.local_addr()?), Gate::default());
        let app = app(authenticator, gate.clone(), mood.clone());
        let accepting = tokio::spawn(async move {
            loop {
                // One connection that could not be accepted is no reason to stop.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(app.clone());
                tokio::spawn(async move {
                    let mut server = auto::Builder::new(TokioExecutor::new());
                    server.http2().max_concurrent_streams(MAX_STREAMS);
                    server.serve_connection(TokioIo::new(stream), service).await
                });
            }
        });
        Ok(Self { uri, gate, mood, accepting })
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An axum router: one route for HTTP, and the routes of a tonic service beside it.
fn app(authenticator: impl Authenticate, gate: Gate, mood: Mood) -> Router {
    let audit = get(async || "nothing is missing");
    Router::new()
        .route(AUDIT, audit.route_layer(RequireScopeLayer::all([AUDIT_SCOPE])))
        .route("/stock/{sku}", get(stock))
        .route_service("/inventory.Inventory/{*method}", InventoryServer::new(Shelves))
        // In axum the layer that is added last is the outermost. Read from below: the network, then
        // the door that asks who it is, then the one that asks what they may do.
        .route_layer(RequireScopeLayer::all([SCOPE]))
        .layer(RequireTokenLayer::new(authenticator))
        .layer(from_fn_with_state(mood, gateway))
        .layer(from_fn_with_state(gate, slow_network))
}

async fn stock(caller: Authenticated, Path(sku): Path<String>) -> Json<Value> {
    Json(json!({ "sku": sku, "quantity": 42, "for": caller.client_id() }))
}

/// The same over gRPC. Only `Count` is used here.
struct Shelves;

#[tonic::async_trait]
impl Inventory for Shelves {
    type ListStream = BoxStream<Stock>;
    type WatchStream = BoxStream<Stock>;

    async fn count(&self, item: tonic::Request<Item>) -> Result<tonic::Response<Stock>, Status> {
        Ok(tonic::Response::new(Stock { sku: item.into_inner().sku, quantity: 42 }))
    }

    async fn list(
        &self,
        _: tonic::Request<Query>,
    ) -> Result<tonic::Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("only Count"))
    }

    async fn receive(
        &self,
        _: tonic::Request<Streaming<Stock>>,
    ) -> Result<tonic::Response<Stock>, Status> {
        Err(Status::unimplemented("only Count"))
    }

    async fn watch(
        &self,
        _: tonic::Request<Streaming<Item>>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only Count"))
    }
}

// === the session check ===

/// Asks the issuer whether it still knows a token that is otherwise valid.
///
/// A token's signature and `exp` outlive a restart of its issuer, so a resource that looks at nothing
/// else would not notice. Many gateways therefore ask the issuer's session store, or its
/// introspection endpoint, as this one does: any check can stand behind the door as an
/// [`Authenticate`] of one's own. The door renders the refusal, a 401 with
/// `error="invalid_token"` over HTTP and status 16 over gRPC.
pub(crate) struct SessionCheck<A> {
    pub(crate) inner: A,
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) mood: Mood,
}

impl<A: Authenticate> Authenticate for SessionCheck<A> {
    type Claims = A::Claims;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<A::Claims> {
        let (issuer, token) = (self.issuer.clone(), presented.token.to_owned());
        let mood = self.mood.clone();
        let check = move |caller: Caller<A::Claims>| {
            if issuer.is_active(&token) && !mood.refuses_all() {
                Ok(caller)
            } else {
                Err(Rejection::Invalid(InvalidToken::Inactive))
            }
        };
        // Known keys are judged at once; a token with an unknown one waits for the issuer's keys.
        match self.inner.authenticate(presented) {
            Verdict::Now(judged) => Verdict::Now(judged.and_then(check)),
            Verdict::Later(judged) => {
                Verdict::Later(Box::pin(async move { judged.await.and_then(check) }))
            }
            other => other,
        }
    }
}

// === the slow network ===

/// Keeps requests that ask for it in front of the door until their incident has happened.
///
/// So a thousand requests can be on their way with a token that dies before they arrive.
#[derive(Clone)]
pub(crate) struct Gate {
    opened: Arc<watch::Sender<u32>>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { opened: Arc::new(watch::Sender::new(0)), waiting: Arc::default() }
    }
}

impl Gate {
    /// Lets through what was held for this incident, and for those before it.
    pub(crate) fn open(&self, incident: u32) {
        self.opened.send_replace(incident);
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

async fn slow_network(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let hold = request.headers().get(HOLD).and_then(|incident| incident.to_str().ok());
    if let Some(incident) = hold.and_then(|incident| incident.parse::<u32>().ok()) {
        gate.waiting.fetch_add(1, Ordering::Relaxed);
        // The sender lives in the gate that we hold, so this ends by the incident only.
        let _ = gate.opened.subscribe().wait_for(|opened| *opened >= incident).await;
        gate.waiting.fetch_sub(1, Ordering::Relaxed);
    }
    next.run(request).await
}
