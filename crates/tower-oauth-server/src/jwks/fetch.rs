//! One fetch of a key set: where it is, getting it, reading it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;
use tower_oauth_core::codec::{JwksCodec, JwksRequest, JwksResponse};
use tower_oauth_core::{BoxFuture, Clock, EndpointUri, Error, ErrorKind};
use tower_oauth_endpoint::{Endpoint, HttpClient, Locator};
use tower_oauth_jose::{KeySet, KeySetError};
use tower_service::Service;
use tracing::Instrument;

use super::landing::name;
use super::limiter::Spent;
#[cfg(feature = "metrics")]
use crate::observe;

/// The total time of a fetch, discovery included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Asks for the key set.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Counts the fetches: a later one has a higher number.
    pub(super) seq: u64,
    pub(super) why: Why,
    /// Of the set at hand.
    pub(super) etag: Option<HeaderValue>,
}

/// What a fetch is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// There is no set.
    First,
    /// The set grows old.
    Refresh,
    /// A key is missing; this much of the budget went into it.
    Miss(Spent),
    /// The application asked.
    Manual,
    /// Nothing: who asks so saw a fetch in the air and wants its answer, not another fetch.
    Join,
}

impl Why {
    /// Somebody knows more than the caches on the way may, so the issuer itself is asked.
    pub(super) const fn bypasses_caches(self) -> bool {
        matches!(self, Self::Miss(_) | Self::Manual)
    }
}

/// A fetch that went well.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) seq: u64,
    pub(super) why: Why,
    pub(super) answer: Answer,
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Nothing was asked.
    NotAsked,
    /// The set at hand is still the one (304).
    Same { fresh_for: Option<Duration> },
    /// A set with at least one usable key.
    Set {
        keys: Arc<KeySet>,
        etag: Option<HeaderValue>,
        fresh_for: Option<Duration>,
        /// The set as it came, for the snapshot file.
        body: Bytes,
    },
}

#[cfg(feature = "metrics")]
impl Answer {
    /// How many usable keys it has brought.
    fn keys(&self) -> Option<usize> {
        match self {
            Self::Set { keys, .. } => Some(keys.keys().len()),
            Self::NotAsked | Self::Same { .. } => None,
        }
    }
}

/// A fetch that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Why,
    pub(super) error: Error,
}

/// Fetches the key set of one source.
#[derive(Clone)]
pub(super) struct Fetcher(Arc<Inner>);

struct Inner {
    locator: Locator,
    endpoint: Endpoint<JwksCodec, HttpClient>,
    clock: Arc<dyn Clock>,
    /// Where the set at hand came from: its entity tag means something only there.
    from: ArcSwapOption<EndpointUri>,
}

impl Fetcher {
    pub(super) fn new(locator: Locator, http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        let endpoint = Endpoint::new(JwksCodec, http);
        Self(Arc::new(Inner { locator, endpoint, clock, from: ArcSwapOption::empty() }))
    }
}

impl Service<Ask> for Fetcher {
    type Response = Fetched;
    type Error = Failed;
    type Future = BoxFuture<Result<Fetched, Failed>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let (seq, why) = (ask.seq, ask.why);
            if matches!(why, Why::Join) {
                // The fetch that was to be joined landed a moment before.
                return Ok(Fetched { seq, why, answer: Answer::NotAsked });
            }
            // Only here, where a load really runs: those who wait for it are not in the span.
            let span = tracing::debug_span!(target: "tower_oauth::jwks", "jwks_fetch", why = name(why), took_ms = tracing::field::Empty);
            let result = inner.timed_fetch(ask).instrument(span).await;
            match result {
                Ok(answer) => Ok(Fetched { seq, why, answer }),
                Err(error) => Err(Failed { why, error }),
            }
        })
    }
}

impl Inner {
    async fn timed_fetch(&self, ask: Ask) -> Result<Answer, Error> {
        #[cfg(feature = "metrics")]
        let why = ask.why;
        let began = self.clock.now();
        let result = tokio::time::timeout(DEADLINE, self.fetch(ask)).await;
        let result = result.unwrap_or_else(|_| Err(ErrorKind::Timeout.into()));
        let took = self.clock.now().saturating_duration_since(began);
        tracing::Span::current().record("took_ms", took.as_millis());
        #[cfg(feature = "metrics")]
        {
            let keys = result.as_ref().map(Answer::keys).map_err(Error::kind);
            observe::jwks_fetched(name(why), keys, took);
        }
        result
    }

    async fn fetch(&self, ask: Ask) -> Result<Answer, Error> {
        self.locator.call(|uri| self.get(uri, &ask)).await
    }

    async fn get(&self, uri: EndpointUri, ask: &Ask) -> Result<Answer, Error> {
        let bypass_caches = ask.why.bypasses_caches();
        let is_from_there = self.from.load().as_deref() == Some(&uri);
        // Who misses a key does not believe that the set at hand is the one: no condition, so that a
        // server that computes its tags wrongly cannot hide a rotation.
        let etag = ask.etag.clone().filter(|_| is_from_there && !bypass_caches);
        let mut endpoint = self.endpoint.clone();
        poll_fn(|cx| endpoint.poll_ready(cx)).await?;
        let request = JwksRequest { uri: uri.clone(), etag, bypass_caches };
        match endpoint.call(request).await? {
            JwksResponse::NotModified { fresh_for } => Ok(Answer::Same { fresh_for }),
            JwksResponse::Set { body, etag, fresh_for } => {
                let keys = KeySet::from_jwks(&body).map_err(|error| {
                    let what = match error {
                        KeySetError::TooManyKeys => "the key set lists too many keys",
                        _ => "not a key set",
                    };
                    Error::new(ErrorKind::Malformed(what)).with_source(error)
                })?;
                if keys.is_empty() {
                    return Err(ErrorKind::Malformed("the key set has no usable key").into());
                }
                self.from.store(Some(Arc::new(uri)));
                Ok(Answer::Set { keys: Arc::new(keys), etag, fresh_for, body })
            }
        }
    }
}
