//! The resource, in process: it takes its time, then looks at the token.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::watch;
use tower::Service;
use tower_oauth::BoxFuture;

use crate::idp::Idp;

/// The field by which a request asks to be kept until an incident has happened.
const HOLD: &str = "x-hold";

/// How a dead token is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// 401 with `error="invalid_token"` (RFC 6750, 3.1).
    Challenge,
    /// 401 and nothing else.
    Bare,
    /// 403 and nothing else.
    Forbidden,
}

#[derive(Clone)]
pub(crate) struct Resource {
    idp: Idp,
    refusal: Refusal,
    /// How long an answer takes, in milliseconds: evenly spread from the first to the second.
    takes: (u64, u64),
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicU64,
    waiting: AtomicUsize,
    opened: watch::Sender<u32>,
    refuses_all: AtomicBool,
}

impl Resource {
    /// One that takes 5 to 20 ms and refuses by a challenge.
    pub(crate) fn new(idp: &Idp) -> Self {
        let refusal = Refusal::Challenge;
        Self { idp: idp.clone(), refusal, takes: (5, 20), shared: Arc::default() }
    }

    pub(crate) fn refuse_with(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    pub(crate) fn takes(mut self, from: u64, to: u64) -> Self {
        self.takes = (from, to);
        self
    }

    /// From now on refuses live tokens too; or does so no longer.
    pub(crate) fn refuse_all(&self, all: bool) {
        self.shared.refuses_all.store(all, SeqCst);
    }

    /// How many requests came.
    pub(crate) fn calls(&self) -> u64 {
        self.shared.calls.load(SeqCst)
    }

    /// Waits until so many requests are held.
    pub(crate) async fn holds(&self, count: usize) {
        while self.shared.waiting.load(SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets those go on that are held for this incident, or one before it.
    pub(crate) fn open(&self, incident: u32) {
        self.shared.opened.send_replace(incident);
    }

    async fn answer(self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let text = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let turn = self.shared.calls.fetch_add(1, SeqCst);
        if let Some(incident) = text(HOLD).and_then(|incident| incident.parse::<u32>().ok()) {
            self.shared.waiting.fetch_add(1, SeqCst);
            let mut opened = self.shared.opened.subscribe();
            opened.wait_for(|opened| *opened >= incident).await.expect("the sender is held here");
            self.shared.waiting.fetch_sub(1, SeqCst);
        }
        let (from, to) = self.takes;
        // A step without a common factor visits them all.
        let takes = from + turn * 7_919 % (to - from).max(1);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        let known = text(AUTHORIZATION.as_str()).is_some_and(|value| self.idp.knows(&value));
        if known && !self.shared.refuses_all.load(SeqCst) {
            return Response::default();
        }
        let status = match self.refusal {
            Refusal::Challenge | Refusal::Bare => StatusCode::UNAUTHORIZED,
            Refusal::Forbidden => StatusCode::FORBIDDEN,
        };
        let mut answer = Response::builder().status(status);
        if let Refusal::Challenge = self.refusal {
            answer = answer.header(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#);
        }
        answer.body(Full::default()).expect("an answer")
    }
}

impl Service<Request<Full<Bytes>>> for Resource {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

/// A request; one with an incident is held by the resource until it has happened.
pub(crate) fn request(incident: Option<u32>) -> Request<Full<Bytes>> {
    let mut request = Request::post("https://inventory.example/stock");
    if let Some(incident) = incident {
        request = request.header(HOLD, incident);
    }
    request.body(Full::from("7")).expect("a request")
}
