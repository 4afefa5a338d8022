//! How a process starts without a set: lazily, warm, or behind a gate; and how it keeps it without requests.

use std::time::Duration;

use super::limiter::WAITING_RETRY_AFTER_MAX;
use super::{Jwks, JwksHealth, Keys};

/// Between two looks of somebody who waits for a set, or keeps it fresh.
const PAUSE: Duration = Duration::from_secs(1);

/// When a process that starts is [ready](Jwks::ready).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColdStart {
    /// When there is a set. While the issuer is down the process does not get ready: nobody sends it
    /// requests that it can only answer with 503.
    #[default]
    Loaded,
    /// When the first fetch has ended, well or badly. For a process that also has other work, or is
    /// restarted if it is not ready soon: the requests that need a key get 503 until there is a set.
    Tried,
}

impl Jwks {
    /// The gate of a cold start: fetches the set, and resolves when the process may be called ready.
    ///
    /// Without it a start is lazy: the first request fetches. [`warm`](Self::warm) is one attempt.
    /// A failure is tried again each second, or when the issuer's `Retry-After` says (at most 30 s).
    /// Dropping the future is fine; several may wait, for one fetch.
    ///
    /// ```
    /// # use tower_oauth_server::{ColdStart, Jwks};
    /// # async fn start(jwks: Jwks) {
    /// // Before the listener is opened, or the readiness probe answers:
    /// jwks.ready(ColdStart::Loaded).await;
    /// # }
    /// ```
    pub async fn ready(&self, policy: ColdStart) -> JwksHealth {
        while let Err(error) = self.warm().await {
            if policy == ColdStart::Tried {
                break;
            }
            let pause = error.retry_after().unwrap_or(PAUSE);
            tokio::time::sleep(pause.clamp(PAUSE, WAITING_RETRY_AFTER_MAX)).await;
        }
        self.health()
    }

    /// Refreshes the set when it is due, also while no requests come. It never ends: spawn it.
    ///
    /// Without it an idle process asks nobody, and its first request is judged by the set at hand
    /// while the refresh that it sets off runs.
    ///
    /// ```
    /// # fn start(jwks: tower_oauth_server::Jwks) {
    /// tokio::spawn(async move { jwks.keep_fresh().await });
    /// # }
    /// ```
    pub async fn keep_fresh(&self) -> std::convert::Infallible {
        loop {
            if self.peek().keys().is_none() {
                // It says in the log why not, and has pauses of its own.
                let _ = self.warm().await;
            }
            tokio::time::sleep(self.next_refresh().max(PAUSE)).await;
        }
    }

    /// How long until the set is to be refreshed.
    fn next_refresh(&self) -> Duration {
        let Keys::Fetched(store) = &self.0.keys else { return Duration::MAX };
        let ages = store.load().as_deref().and_then(|snapshot| snapshot.ages);
        ages.map_or(PAUSE, |ages| ages.refresh_at.saturating_duration_since(store.now()))
    }

    /// How long until the set is stale, or if it is so too old.
    pub(super) fn next_age(&self) -> Option<Duration> {
        let Keys::Fetched(store) = &self.0.keys else { return None };
        let ages = store.load().as_deref().and_then(|snapshot| snapshot.ages)?;
        let now = store.now();
        let next = [ages.fresh_until, ages.serves_until].into_iter().find(|age| now < *age);
        next.map(|age| age.saturating_duration_since(now))
    }
}
