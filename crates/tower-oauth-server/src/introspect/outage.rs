//! What a route does while the authorization server cannot be asked.

use std::time::Duration;

use tower_oauth_core::{BuildError, Error, ErrorKind};

/// What a route does while the authorization server cannot be asked.
///
/// It concerns only tokens that were active when they were last asked about. Nothing helps a token that nobody has seen, one that was refused,
/// or one whose `exp` has come. The same holds for a status list: the last good one, and never beyond its own `exp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// 503 as soon as the verdict at hand is out of date. The default.
    #[default]
    Closed,
    /// The last verdict serves for this much longer. A token that was revoked meanwhile is let in for as long.
    ///
    /// Only while the server does not answer, is overloaded or talks nonsense. That it refuses *us* (401, 403) is no outage,
    /// and neither are more requests than our own limits allow.
    Grace(Duration),
}

impl Outage {
    /// The longest grace: 24 hours.
    pub const MAX_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

    pub(crate) fn checked(self) -> Result<Self, BuildError> {
        match self {
            Self::Grace(grace) if grace > Self::MAX_GRACE => {
                Err(BuildError::new("outage", format_args!("{grace:?}"), "is more than 24 hours"))
            }
            outage => Ok(outage),
        }
    }

    /// How much longer a verdict serves after this failure.
    pub(crate) fn grace(self, error: &Error) -> Option<Duration> {
        match self {
            Self::Grace(grace) if is_outage(error.kind()) => Some(grace),
            _ => None,
        }
    }
}

fn is_outage(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Transport
        | ErrorKind::Timeout
        | ErrorKind::TooLarge
        | ErrorKind::Malformed(_) => true,
        ErrorKind::Status(status) => status >= 500 || matches!(status, 408 | 425 | 429),
        _ => false,
    }
}
