//! One fetch of a list: getting it, verifying it, unpacking it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tower_oauth_core::codec::{StatusListCodec, StatusListRequest};
use tower_oauth_core::{BoxFuture, Clock, EndpointUri, Error, ErrorKind};
use tower_oauth_endpoint::{Endpoint, HttpClient};
use tower_oauth_jose::{Rules, Unverified};
use tower_service::Service;

use super::list::{Ages, Key, Loaded};
use super::store::Store;
use crate::jwks::unsound;
use crate::{Jwks, observe};

/// The total time of a fetch, the keys included.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a fetch may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
const IN_AIR: usize = 8;
/// In the air and waiting for a turn.
const PLACES: usize = 17 * IN_AIR;

/// How the lists of one issuer are fetched and verified.
pub(super) struct Verifier {
    pub(super) issuer: Arc<str>,
    pub(super) host: String,
    pub(super) rules: Rules,
    pub(super) jwks: Jwks,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) endpoint: Endpoint<StatusListCodec, HttpClient>,
}

impl Verifier {
    /// Whether a list may be used at this moment, fresh or not.
    pub(super) fn finds_standing(&self, list: &Loaded) -> bool {
        list.stands(self.clock.unix_seconds(), self.jwks.peek().keys())
    }
}

/// Asks for one list.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) uri: EndpointUri,
    /// The list that will not do; 0 if there is none.
    pub(super) seen: u64,
    pub(super) verifier: Arc<Verifier>,
}

/// Fetches lists, and keeps them.
#[derive(Clone)]
pub(super) struct Fetcher(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    max_ttl: Duration,
    max_token_bytes: usize,
    max_unpacked_bytes: usize,
    in_air: Semaphore,
    places: Semaphore,
}

impl Fetcher {
    pub(super) fn new(
        store: Arc<Store>,
        max_ttl: Duration,
        max_token_bytes: usize,
        max_unpacked_bytes: usize,
    ) -> Self {
        let (in_air, places) = (Semaphore::new(IN_AIR), Semaphore::new(PLACES));
        Self(Arc::new(Inner {
            store,
            max_ttl,
            max_token_bytes,
            max_unpacked_bytes,
            in_air,
            places,
        }))
    }
}

impl Service<Ask> for Fetcher {
    type Response = Arc<Loaded>;
    type Error = Error;
    type Future = BoxFuture<Result<Arc<Loaded>, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.fetch(ask).await })
    }
}

impl Inner {
    /// Runs inside the flight: what is stored here is stored before anybody who waits sees it.
    async fn fetch(&self, ask: Ask) -> Result<Arc<Loaded>, Error> {
        let clock = &ask.verifier.clock;
        // Between a request's look and this call another flight may have landed.
        if let Some(found) = self.store.find(&ask.key)
            && found.seq != ask.seen
            && found.is_fresh(clock.now())
            && ask.verifier.finds_standing(&found)
        {
            return Ok(found);
        }
        if let Some(error) = self.store.pause(&ask.key, clock.now()) {
            return Err(error);
        }
        // Never in an endless queue: who finds no place is told so at once.
        let _place = self.places.try_acquire().map_err(|_| ErrorKind::TooManyWaiters)?;
        // Apart from the time for the fetch: that we are busy says nothing of the server.
        let turn = tokio::time::timeout(PATIENCE, self.in_air.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(ErrorKind::TooManyWaiters)?;
        let epoch = self.store.epoch();
        let loaded = tokio::time::timeout(DEADLINE, self.load(&ask)).await;
        match loaded.unwrap_or_else(|_| Err(ErrorKind::Timeout.into())) {
            Ok(loaded) => {
                observe::status_list_fetched(Ok(()));
                tracing::debug!(
                    target: "tower_oauth::status_list",
                    outcome = "loaded",
                    entries = loaded.list.len(),
                );
                Ok(self.store.landed(ask.key, loaded, clock.unix_seconds(), epoch))
            }
            Err(error) => {
                let cause = error.kind();
                observe::status_list_fetched(Err(cause));
                if self.store.failed(&ask.key, &error, clock.now()) {
                    tracing::warn!(target: "tower_oauth::status_list", outcome = "failed", %cause);
                } else {
                    tracing::debug!(target: "tower_oauth::status_list", outcome = "failed", %cause);
                }
                Err(error)
            }
        }
    }

    async fn load(&self, ask: &Ask) -> Result<Loaded, Error> {
        let verifier = &ask.verifier;
        // From before the question, so that the time on the way counts too.
        let asked = verifier.clock.now();
        let mut endpoint = verifier.endpoint.clone();
        poll_fn(|cx| endpoint.poll_ready(cx)).await?;
        let text = endpoint.call(StatusListRequest { uri: ask.uri.clone() }).await?;
        // From after it: a list may be signed for us at this moment.
        let wall = verifier.clock.unix_seconds();
        let seconds = Duration::from_secs(u64::try_from(wall).unwrap_or(0));
        let now = UNIX_EPOCH.checked_add(seconds).unwrap_or(UNIX_EPOCH);
        let checked = Unverified::parse_status_list(self.max_token_bytes, text.trim_ascii())
            .and_then(|jwt| jwt.check_status_list(&verifier.rules, &ask.key.uri, now))
            .map_err(unsound)?;
        let verified = verifier.jwks.prove(checked).await?;
        let packed = verified.status_list().map_err(unsound)?;
        let ttl = packed.ttl();
        // Milliseconds of arithmetic, which requests on this thread would wait for.
        let max_bytes = self.max_unpacked_bytes;
        let list = tokio::task::spawn_blocking(move || packed.unpack(max_bytes)).await;
        let list = list.map_err(|_| ErrorKind::Lost)?.map_err(unsound)?;
        let claims = verified.standard();
        let since = |at: std::time::SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let expires_at = since(claims.expires_at());
        let left = expires_at.saturating_sub(seconds);
        Ok(Loaded {
            list: Arc::new(list),
            proven_by: verified.key(),
            issued_at: claims.issued_at().map_or(0, |at| whole(since(at))),
            dead_from: whole(expires_at.saturating_add(verifier.rules.leeway())),
            asked,
            ages: Ages::new(asked, ttl, self.max_ttl, left, fastrand::f64()),
            seq: 0,
        })
    }
}
