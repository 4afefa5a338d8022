use std::task::{Context, Poll};
use std::time::Duration;

use std::sync::Arc;

use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_core::{BoxFuture, Clock, Error};
use tower_oauth_endpoint::SharedService;
use tower_service::Service;

use super::schedule::back_off;

/// The token edge with its type erased.
pub(super) type TokenService = SharedService<TokenRequest, TokenResponse, Error>;

/// One exchange with a few tries: what a restarting authorization server needs to come back.
///
/// Passing trouble (no connection, 5xx, a garbled answer) is tried again up to [`TRIES`] times while less than
/// [`PATIENCE`] has gone by; a refusal in OAuth's own words, and a `Retry-After`, end it at once. Callers
/// are told within about two seconds where the server answers at all.
#[derive(Clone)]
pub(super) struct Exchange {
    service: TokenService,
    clock: Arc<dyn Clock>,
}

const TRIES: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

impl Exchange {
    pub(super) fn new(service: TokenService, clock: Arc<dyn Clock>) -> Self {
        Self { service, clock }
    }
}

impl Service<TokenRequest> for Exchange {
    type Response = TokenResponse;
    type Error = Error;
    type Future = BoxFuture<Result<TokenResponse, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Each try readies a clone of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let Self { service, clock } = self.clone();
        Box::pin(async move {
            let started = clock.now();
            for tried in 0.. {
                let error = match service.send(request.clone()).await {
                    Ok(response) => return Ok(response),
                    Err(error) => error,
                };
                // Half of each step is fixed: all tries together outlast a restart of a second.
                let random = 0.5 + 0.5 * fastrand::f64();
                let pause = back_off(PAUSE, LONGEST_PAUSE, tried, random);
                let left = PATIENCE.saturating_sub(clock.now().saturating_duration_since(started));
                let last = tried + 1 >= TRIES || pause >= left;
                if last || !error.is_transient() || error.retry_after().is_some() {
                    return Err(error);
                }
                tokio::time::sleep(pause).await;
            }
            Err(tower_oauth_core::ErrorKind::Timeout.into())
        })
    }
}
