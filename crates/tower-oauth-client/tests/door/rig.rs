//! What the tests stand on: paused time, an issuer, and services that hold their callers to Tower's contract.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_oauth_client::{Error, Secret, TokenCache, TokenCacheBuilder};
use tower_oauth_core::Clock;
use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_test::{Endpoint, ScriptedIssuer, ScriptedIssuerBuilder, ScriptedResource};

pub(crate) const SECRET: &str = "CANARY-secret";

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) async fn sleep_ms(milliseconds: u64) {
    tokio::time::sleep(ms(milliseconds)).await;
}

// === time ===

/// Tokio's clock, which a test can pause: timers and lives are of one time.
#[derive(Clone, Copy)]
pub(crate) struct TokioClock {
    start: tokio::time::Instant,
}

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Milliseconds since the test began.
    pub(crate) fn ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> std::time::Instant {
        tokio::time::Instant::now().into_std()
    }

    fn unix_seconds(&self) -> i64 {
        1_800_000_000 + i64::try_from(self.start.elapsed().as_secs()).unwrap()
    }
}

// === an authorization server, spoken to by HTTP ===

pub(crate) struct Rig {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: TokioClock,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|issuer| issuer)
    }

    pub(crate) fn with(
        configure: impl FnOnce(ScriptedIssuerBuilder) -> ScriptedIssuerBuilder,
    ) -> Self {
        let clock = TokioClock::new();
        let issuer =
            ScriptedIssuer::builder().client("orders", SECRET).opaque_tokens().clock(clock);
        Self { issuer: configure(issuer).build().unwrap(), clock }
    }

    pub(crate) fn builder(&self) -> TokenCacheBuilder {
        TokenCache::builder()
            .token_endpoint(self.issuer.url(Endpoint::Token))
            .client_credentials("orders", Secret::new(SECRET))
            .http_client(HttpClient::new(self.issuer.service()))
            .clock(self.clock)
    }

    pub(crate) fn tokens(&self) -> TokenCache {
        self.builder().build().unwrap()
    }

    pub(crate) fn exchanges(&self) -> u64 {
        self.issuer.calls(Endpoint::Token)
    }
}

/// A resource that takes its time before it looks at the token.
pub(crate) fn slow(
    resource: ScriptedResource,
    delay: impl Fn() -> Duration + Clone + Send + Sync + 'static,
) -> BoxCloneSyncService<Request<Full<Bytes>>, Response<tower_oauth_test::ScriptedBody>, BoxError> {
    BoxCloneSyncService::new(service_fn(move |request| {
        let (resource, delay) = (resource.clone(), delay());
        async move {
            tokio::time::sleep(delay).await;
            resource.oneshot(request).await.map_err(BoxError::from)
        }
    }))
}

// === a token service, below the cache and without HTTP ===

type Said = Result<TokenResponse, Error>;

/// Answers as it is scripted, then with `t1`, `t2`, `t3`.
#[derive(Clone)]
pub(crate) struct Mint {
    exchanges: Arc<AtomicUsize>,
    script: Arc<Mutex<VecDeque<Said>>>,
    asked: Arc<Mutex<Vec<TokenRequest>>>,
    takes: Duration,
    life: Option<Duration>,
}

impl Mint {
    pub(crate) fn new() -> Self {
        Self {
            exchanges: Arc::default(),
            script: Arc::default(),
            asked: Arc::default(),
            takes: Duration::ZERO,
            life: Some(Duration::from_secs(3600)),
        }
    }

    pub(crate) fn takes(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    pub(crate) fn life(mut self, seconds: Option<u64>) -> Self {
        self.life = seconds.map(Duration::from_secs);
        self
    }

    pub(crate) fn then(&self, said: Said) -> &Self {
        self.script.lock().unwrap().push_back(said);
        self
    }

    pub(crate) fn then_token(&self, text: &str) -> &Self {
        self.then(Ok(self.token(text)))
    }

    fn token(&self, text: &str) -> TokenResponse {
        TokenResponse::bearer(text, self.life)
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.load(SeqCst)
    }

    pub(crate) fn last_request(&self) -> TokenRequest {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn cache(&self) -> TokenCache {
        self.cache_with(TokioClock::new())
    }

    pub(crate) fn cache_with(&self, clock: impl Clock) -> TokenCache {
        self.builder().clock(clock).build().unwrap()
    }

    pub(crate) fn builder(&self) -> TokenCacheBuilder {
        let mint = self.clone();
        let service = service_fn(move |request| {
            let mint = mint.clone();
            async move {
                let number = mint.exchanges.fetch_add(1, SeqCst) + 1;
                mint.asked.lock().unwrap().push(request);
                let said = mint.script.lock().unwrap().pop_front();
                tokio::time::sleep(mint.takes).await;
                said.unwrap_or_else(|| Ok(mint.token(&format!("t{number}"))))
            }
        });
        TokenCache::builder().token_service(service).clock(TokioClock::new())
    }
}

// === a resource that panics at a caller who breaks Tower's contract ===

/// Answers `200` to the tokens it likes and `401 invalid_token` to others; panics unless this very
/// clone was polled until it was ready, which takes it two polls, once for each call.
pub(crate) struct Strict {
    likes: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    polls: u32,
}

impl Strict {
    pub(crate) fn that_likes(likes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { likes: Arc::new(likes), seen: Arc::default(), polls: 0 }
    }

    /// The `Authorization` values that came, in order; empty for none.
    pub(crate) fn seen(&self) -> Vec<String> {
        let text = |headers: &HeaderMap| authorization(headers).unwrap_or_default().to_owned();
        self.seen.lock().unwrap().iter().map(text).collect()
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { likes: Arc::clone(&self.likes), seen: Arc::clone(&self.seen), polls: 0 }
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<Response<Full<Bytes>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.polls) >= 2, "called without being ready");
        self.seen.lock().unwrap().push(request.headers().clone());
        let liked = authorization(request.headers()).is_some_and(|text| (self.likes)(text));
        ready(Ok(if liked { ok() } else { invalid_token() }))
    }
}

pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

pub(crate) fn ok() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"fine")))
}

pub(crate) fn invalid_token() -> Response<Full<Bytes>> {
    Response::builder()
        .status(401)
        .header(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)
        .body(Full::new(Bytes::from_static(b"the first answer")))
        .unwrap()
}

pub(crate) fn request() -> Request<Full<Bytes>> {
    Request::post("https://inventory.example/stock").body(Full::new(Bytes::from("7"))).unwrap()
}

/// Waits until a service is ready for a [`request`].
pub(crate) async fn readied<S>(service: &mut S) -> &mut S
where
    S: Service<Request<Full<Bytes>>, Error: std::fmt::Debug>,
{
    service.ready().await.unwrap()
}
