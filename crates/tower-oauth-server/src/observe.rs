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

/// A token was looked for among those that were verified a short while ago.
pub(crate) fn verified_token(was_found: bool) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "tower_oauth_verified_token_lookups_total",
        "outcome" => if was_found { "hit" } else { "miss" }
    )
    .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = was_found;
}

/// An authorization server was asked about a token, and has called it active, or not, or has not answered.
#[cfg(feature = "metrics")]
pub(crate) fn introspected(outcome: Result<bool, ErrorKind>, took: Duration) {
    let result = match outcome {
        Ok(true) => "active",
        Ok(false) => "inactive",
        Err(kind) => failure(kind),
    };
    metrics::counter!("tower_oauth_introspections_total", "outcome" => result).increment(1);
    metrics::histogram!("tower_oauth_introspection_duration_seconds", "outcome" => result)
        .record(took.as_secs_f64());
}

/// A request was judged by an answer that was remembered.
#[derive(Clone, Copy)]
pub(crate) enum Remembered {
    Positive,
    Negative,
    /// In the grace of an outage.
    Stale,
}

pub(crate) fn introspection_remembered(what: Remembered) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "tower_oauth_introspection_cache_hits_total",
        "kind" => match what {
            Remembered::Positive => "positive",
            Remembered::Negative => "negative",
            Remembered::Stale => "stale",
        }
    )
    .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = what;
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
        ErrorKind::OAuth(_) => "oauth_error",
        _ => "other",
    }
}
