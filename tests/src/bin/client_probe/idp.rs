//! The token server: a real socket, 50 ms for each exchange, tokens of 1,000 bytes.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, response::IntoResponse, response::Response};
use serde_json::json;
use tokio::net::TcpListener;
use tower_oauth::{Client, Clock, Secret, SystemClock, TokenCache, TokenCacheBuilder};

/// How long an exchange takes, a refused one too.
const EXCHANGE: Duration = Duration::from_millis(50);

/// What the endpoint says instead of its work: a status and an OAuth error code, if it has one.
pub(crate) type Fault = (u16, Option<&'static str>);

/// A token server, and what it remembers.
#[derive(Clone)]
pub(crate) struct Idp(Arc<Inner>);

struct Inner {
    uri: String,
    requests: AtomicU64,
    keeps_one: bool,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Tokens are numbers: those above `forgotten`, up to `issued`, are alive.
    issued: u64,
    forgotten: u64,
    faults: VecDeque<Fault>,
    for_ever: Option<Fault>,
    /// How often the refresh token was rotated, and whether one that was rotated came once more:
    /// then the whole family is dead (RFC 9700, 4.14.2).
    rotated: u64,
    reused: bool,
    /// When the last of the faults was told.
    well_since: Option<Instant>,
}

impl Idp {
    pub(crate) async fn start() -> Self {
        Self::serve(false).await
    }

    /// One that keeps a single token alive: each grant ends the token before.
    pub(crate) async fn that_keeps_one_token() -> Self {
        Self::serve(true).await
    }

    async fn serve(keeps_one: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let uri = format!("http://{}/token", listener.local_addr().expect("an address"));
        let requests = AtomicU64::new(0);
        let idp = Self(Arc::new(Inner { uri, requests, keeps_one, memory: Mutex::default() }));
        let app = Router::new().route("/token", post(token)).with_state(idp.clone());
        // It ends with the program.
        tokio::spawn(async move { axum::serve(listener, app).await });
        idp
    }

    /// A cache of its own: another device, or another process.
    pub(crate) fn tokens(&self) -> TokenCache {
        self.builder().build().expect("a token cache")
    }

    /// A cache that holds nothing but a refresh token, which is rotated by each use.
    pub(crate) fn tokens_by_refresh(&self) -> TokenCache {
        let tokens = TokenCache::builder().token_endpoint(&self.0.uri);
        let client = Client::basic("orders", Secret::new("s3cret"));
        tokens.client(client).refresh_token("r0").build().expect("a token cache")
    }

    pub(crate) fn builder(&self) -> TokenCacheBuilder {
        TokenCache::builder()
            .token_endpoint(&self.0.uri)
            .client_credentials("orders", Secret::new("s3cret"))
    }

    /// How many token requests came.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::SeqCst)
    }

    /// Forgets every token.
    pub(crate) fn restart(&self) {
        self.with(|memory| memory.forgotten = memory.issued);
    }

    /// The next exchanges fail like this, so many of them.
    pub(crate) fn fault(&self, fault: Fault, times: usize) {
        self.with(|memory| memory.faults.extend(std::iter::repeat_n(fault, times)));
    }

    pub(crate) fn fault_for_ever(&self, fault: Fault) {
        self.with(|memory| memory.for_ever = Some(fault));
    }

    /// The refresh token that follows on this one, if it is the one to be used.
    fn rotate(&self, presented: &str) -> Option<String> {
        self.with(|memory| {
            memory.reused |= presented != format!("r{}", memory.rotated);
            memory.rotated += 1;
            (!memory.reused).then(|| format!("r{}", memory.rotated))
        })
    }

    /// When the last of the faults was told, if they are over.
    pub(crate) fn well_since(&self) -> Option<Instant> {
        self.with(|memory| memory.well_since)
    }

    /// Whether an `Authorization` value has a token that is alive.
    pub(crate) fn knows(&self, authorization: &str) -> bool {
        let number = authorization.strip_prefix("Bearer ").and_then(|token| token.parse().ok());
        self.with(|memory| {
            let oldest =
                if self.0.keeps_one { memory.issued } else { memory.forgotten.saturating_add(1) };
            number.is_some_and(|number: u64| {
                number > memory.forgotten && (oldest..=memory.issued).contains(&number)
            })
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        act(&mut self.0.memory.lock().expect("nobody panics in there"))
    }
}

async fn token(State(idp): State<Idp>, form: String) -> Response {
    idp.0.requests.fetch_add(1, Ordering::SeqCst);
    let mut form = form_urlencoded::parse(form.as_bytes());
    // Before the answer is on its way, and whether or not anybody is left to hear it.
    let refreshed =
        form.find(|(name, _)| name == "refresh_token").map(|(_, presented)| idp.rotate(&presented));
    let fault = idp.with(|memory| memory.faults.pop_front().or(memory.for_ever));
    tokio::time::sleep(EXCHANGE).await;
    if let Some((status, code)) = fault {
        idp.with(|memory| {
            if memory.faults.is_empty() {
                memory.well_since = Some(SystemClock.now());
            }
        });
        let status = StatusCode::from_u16(status).expect("a status");
        return match code {
            Some(code) => (status, Json(json!({ "error": code }))).into_response(),
            None => status.into_response(),
        };
    }
    if let Some(None) = refreshed {
        let refused = Json(json!({ "error": "invalid_grant" }));
        return (StatusCode::BAD_REQUEST, refused).into_response();
    }
    let number = idp.with(|memory| {
        memory.issued += 1;
        memory.issued
    });
    let mut answer = json!({
        "access_token": format!("{number:0>1000}"),
        "token_type": "Bearer",
        "expires_in": 3_600,
    });
    if let Some(next) = refreshed.flatten() {
        answer["refresh_token"] = next.into();
    }
    Json(answer).into_response()
}
