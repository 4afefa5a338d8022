//! The moment at which a token ends, to wait for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tower_oauth_core::Clock;
use tower_oauth_jose::InvalidToken;

use crate::require::{Judged, Recheck};
use crate::{Principal, Rejection};

/// Completes when a token is no longer let in. Made by [`Authenticated::until_expiry`](crate::Authenticated::until_expiry).
///
/// The time that is left is measured when it is first polled; from then on whichever comes first ends it, Tokio's timer or a look at the
/// clock when it is polled again. Behind a door that re-checks
/// ([`RequireTokenLayer::recheck_streams_every`](crate::RequireTokenLayer::recheck_streams_every)) a bad verdict ends it, too.
/// It has to be polled on a Tokio runtime with its timer.
pub struct UntilExpiry {
    /// Since 1970.
    end: Duration,
    clock: Arc<dyn Clock>,
    timer: Option<Pin<Box<Sleep>>>,
    recheck: Option<Recheck>,
}

impl UntilExpiry {
    pub(crate) fn new(
        principal: &Principal,
        clock: Arc<dyn Clock>,
        judged: Option<Arc<Judged>>,
    ) -> Self {
        let recheck = judged.map(Recheck::new);
        Self { end: principal.valid_until, clock, timer: None, recheck }
    }

    /// By another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same, with the reason.
    pub(crate) fn poll_reason(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        let now = Duration::from_secs(u64::try_from(self.clock.unix_seconds()).unwrap_or(0));
        let left = self.end.saturating_sub(now);
        let expired = Rejection::Invalid(InvalidToken::Expired);
        if left.is_zero() {
            return Poll::Ready(expired);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(expired);
        }
        match &mut self.recheck {
            Some(recheck) => recheck.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Future for UntilExpiry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_reason(cx).map(drop)
    }
}

impl fmt::Debug for UntilExpiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilExpiry").field("end", &self.end).finish_non_exhaustive()
    }
}
