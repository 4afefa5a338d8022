//! What is counted: every name and every label value is a fixed text of this program.
//!
//! Without the feature `metrics` these are empty. The table for operators is `docs/observability.md` of the facade.

use tower_oauth_server::Rejection;

/// Who has received it.
#[derive(Clone, Copy)]
pub(crate) enum Receiver {
    Logout,
    SecurityEvents,
    Webhook,
}

/// What became of it.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// Every sink was told of all that it says, be it nothing.
    Applied,
    Replayed,
    Refused,
    /// The keys could not be had.
    Unavailable,
    /// More came than are served at a time.
    Busy,
}

impl Outcome {
    pub(crate) const fn of(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Invalid(_) => Self::Refused,
            _ => Self::Unavailable,
        }
    }
}

pub(crate) fn received(receiver: Receiver, outcome: Outcome) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "tower_oauth_events_received_total",
        "receiver" => receiver.name(),
        "outcome" => match outcome {
            Outcome::Applied => "applied",
            Outcome::Replayed => "replayed",
            Outcome::Refused => "refused",
            Outcome::Unavailable => "unavailable",
            Outcome::Busy => "busy",
        }
    )
    .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (receiver, outcome);
}

/// The sinks were told of so many revocations.
pub(crate) fn revoked(receiver: Receiver, revocations: usize) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_events_revocations_total", "receiver" => receiver.name())
        .increment(revocations as u64);
    #[cfg(not(feature = "metrics"))]
    let _ = (receiver, revocations);
}

/// So many events of a SET had no effect, for this reason.
pub(crate) fn ignored(why: &'static str, events: u64) {
    #[cfg(feature = "metrics")]
    if events > 0 {
        metrics::counter!("tower_oauth_events_ignored_total", "why" => why).increment(events);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (why, events);
}

/// A transmitter was asked for events, and has answered or has not.
pub(crate) fn polled(is_answered: bool) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "tower_oauth_events_polls_total",
        "outcome" => if is_answered { "answered" } else { "failed" }
    )
    .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = is_answered;
}

#[cfg(feature = "metrics")]
impl Receiver {
    const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::SecurityEvents => "security_events",
            Self::Webhook => "webhook",
        }
    }
}
