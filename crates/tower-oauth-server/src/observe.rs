//! What is counted: every name and every label value is a fixed text of this program.
//!
//! Without the feature `metrics` these are empty. The table for operators is `docs/observability.md` of the facade.

#[cfg(feature = "metrics")]
use std::time::Duration;

#[cfg(feature = "metrics")]
use tower_oauth_core::ErrorKind;

use crate::Rejection;

/// A request was let in with a valid token.
pub(crate) fn authenticated() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_server_authenticated_total").increment(1);
}

/// A request was refused.
pub(crate) fn rejected(rejection: &Rejection) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_server_rejections_total", "code" => rejection.code())
        .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = rejection;
}

/// A key set was loaded, or was not.
#[cfg(feature = "metrics")]
pub(crate) fn jwks_fetched(
    why: &'static str,
    outcome: Result<Option<usize>, ErrorKind>,
    took: Duration,
) {
    let result = match outcome {
        Ok(Some(_)) => "loaded",
        Ok(None) => "not_modified",
        Err(kind) => failure(kind),
    };
    metrics::counter!("tower_oauth_jwks_fetches_total", "why" => why, "outcome" => result)
        .increment(1);
    metrics::histogram!("tower_oauth_jwks_fetch_duration_seconds", "outcome" => result)
        .record(took.as_secs_f64());
    if let Ok(Some(keys)) = outcome {
        metrics::histogram!("tower_oauth_jwks_keys")
            .record(u32::try_from(keys).map_or(f64::from(u32::MAX), f64::from));
    }
}

/// A status list was fetched, or was not.
#[cfg(feature = "status-list")]
pub(crate) fn status_list_fetched(outcome: Result<(), tower_oauth_core::ErrorKind>) {
    #[cfg(feature = "metrics")]
    {
        let outcome = outcome.map_or_else(failure, |()| "loaded");
        metrics::counter!("tower_oauth_status_list_fetches_total", "outcome" => outcome)
            .increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

/// A fixed name: a status or a text of the issuer's would make as many series as it likes.
#[cfg(feature = "metrics")]
const fn failure(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Configuration(_) => "configuration",
        ErrorKind::Transport => "transport",
        ErrorKind::Timeout => "timeout",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Redirect => "redirect",
        ErrorKind::Status(_) => "status",
        ErrorKind::Malformed(_) => "malformed",
        _ => "other",
    }
}
