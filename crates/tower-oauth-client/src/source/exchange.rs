use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_core::{Clock, Error, ErrorKind};
use tower_oauth_endpoint::SharedService;

use super::schedule::back_off;

/// The token edge with its type erased.
pub(super) type TokenService = SharedService<TokenRequest, TokenResponse, Error>;

/// One exchange with a few tries: what a restarting authorization server needs to come back.
///
/// Passing trouble (no connection, 5xx, a garbled answer) is tried again up to [`TRIES`] times while
/// less than [`PATIENCE`] has gone by, a short `Retry-After` included; a refusal in OAuth's own words ends
/// it at once. Callers are told within about two seconds where the server answers at all.
#[derive(Clone)]
pub(super) struct Exchange {
    service: TokenService,
    clock: Arc<dyn Clock>,
    /// Of each try, whatever it has to do: discovery, a store, another grant.
    deadline: Duration,
}

const TRIES: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

impl Exchange {
    pub(super) fn new(service: TokenService, clock: Arc<dyn Clock>, deadline: Duration) -> Self {
        Self { service, clock, deadline }
    }

    /// With all its tries; or with one, where the last exchange has failed and this is a probe.
    pub(super) async fn send(
        self,
        request: TokenRequest,
        is_probe: bool,
    ) -> Result<TokenResponse, Error> {
        let tries = if is_probe { 1 } else { TRIES };
        let started = self.clock.now();
        let mut tried = 0;
        loop {
            let answer = tokio::time::timeout(self.deadline, self.service.send(request.clone()));
            let error = match answer.await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error,
                Err(_) => ErrorKind::Timeout.into(),
            };
            let pause = back_off(PAUSE, LONGEST_PAUSE, tried, fastrand::f64())
                .max(error.retry_after().unwrap_or_default());
            let left = PATIENCE.saturating_sub(self.clock.now().saturating_duration_since(started));
            tried += 1;
            if tried >= tries || pause >= left || !error.is_transient() {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}
