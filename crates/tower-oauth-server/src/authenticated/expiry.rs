//! The moment at which a token ends, to wait for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tower_oauth_core::Clock;

use crate::Principal;

/// Completes when a token is no longer let in. Made by [`Authenticated::until_expiry`](crate::Authenticated::until_expiry).
///
/// The time that is left is measured when it is first polled; from then on whichever comes first ends it, Tokio's timer or a look at the
/// clock when it is polled again. It has to be polled on a Tokio runtime with its timer.
pub struct UntilExpiry {
    /// Since 1970.
    end: Duration,
    clock: Arc<dyn Clock>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl UntilExpiry {
    pub(crate) fn new(principal: &Principal, clock: Arc<dyn Clock>) -> Self {
        Self { end: principal.valid_until, clock, timer: None }
    }

    /// By another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Future for UntilExpiry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Duration::from_secs(u64::try_from(self.clock.unix_seconds()).unwrap_or(0));
        let left = self.end.saturating_sub(now);
        if left.is_zero() {
            return Poll::Ready(());
        }
        self.timer.get_or_insert_with(|| Box::pin(sleep(left))).as_mut().poll(cx)
    }
}

impl fmt::Debug for UntilExpiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilExpiry").field("end", &self.end).finish_non_exhaustive()
    }
}
