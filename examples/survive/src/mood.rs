//! What a resource may be like to its callers, whatever their tokens are worth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// What is asked for by those who have no right to it.
pub(crate) const AUDIT: &str = "/audit";

/// How a resource is disposed. Clones are handles on the same one.
#[derive(Clone, Default)]
pub(crate) struct Mood(Arc<Inner>);

#[derive(Default)]
struct Inner {
    refuses_all: AtomicBool,
    says_403: AtomicBool,
    audits: AtomicU64,
}

impl Mood {
    /// From now on refuses every token; or does so no longer.
    pub(crate) fn refuse_all(&self, all: bool) {
        self.0.refuses_all.store(all, Ordering::SeqCst);
    }

    pub(crate) fn refuses_all(&self) -> bool {
        self.0.refuses_all.load(Ordering::SeqCst)
    }

    /// From now on says a bare 403 to whatever it refuses, for want of a right or of a token that is
    /// alive; or does so no longer.
    pub(crate) fn say_403(&self, bare: bool) {
        self.0.says_403.store(bare, Ordering::SeqCst);
    }

    /// How many requests came for what nobody has the right to.
    pub(crate) fn audits(&self) -> u64 {
        self.0.audits.load(Ordering::SeqCst)
    }
}

/// As many gateways do: they have forgotten the token, and say 403 without a word on why.
pub(crate) async fn gateway(State(mood): State<Mood>, request: Request, next: Next) -> Response {
    if request.uri().path() == AUDIT {
        mood.0.audits.fetch_add(1, Ordering::SeqCst);
    }
    let response = next.run(request).await;
    let refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || response.headers().get("grpc-status").is_some_and(|status| status == "16");
    if refused && mood.0.says_403.load(Ordering::SeqCst) {
        return StatusCode::FORBIDDEN.into_response();
    }
    response
}
