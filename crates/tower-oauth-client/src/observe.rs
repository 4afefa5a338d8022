//! What is counted and logged of tokens: every name and every label value is a fixed text of this program.
//!
//! The table for operators is `docs/observability.md` of the facade.

use std::time::Duration;

#[cfg(feature = "metrics")]
use tower_oauth_core::{ErrorKind, Flush};

use crate::TokenEvent;

/// Something happened to a token. What happens to each of many requests alike is counted each time and logged once.
pub(crate) fn token_event(event: &TokenEvent, is_news: bool) {
    #[cfg(feature = "metrics")]
    count(event);
    if is_news {
        log(event);
    }
}

/// A server wants a nonce in the proof, and the request is sent again with it.
pub(crate) fn nonce_asked() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_client_dpop_nonce_replays_total").increment(1);
    tracing::debug!("request sent again with the DPoP nonce that was asked for");
}

fn log(event: &TokenEvent) {
    let seconds = |life: Option<Duration>| life.map(|life| life.as_secs());
    match *event {
        TokenEvent::Issued { expires_in, .. } => {
            tracing::debug!(expires_in_s = seconds(expires_in), "access token issued");
        }
        TokenEvent::Refreshed { expires_in, .. } => {
            tracing::debug!(expires_in_s = seconds(expires_in), "access token refreshed");
        }
        TokenEvent::Replaced { expires_in, .. } => {
            tracing::info!(expires_in_s = seconds(expires_in), "rejected access token replaced");
        }
        TokenEvent::Rejected { was_accepted, .. } => {
            tracing::info!(was_accepted, "access token rejected");
        }
        TokenEvent::BudgetSpent { retry_in } => {
            tracing::warn!(
                retry_in_ms = millis(retry_in),
                "access tokens are rejected at first sight"
            );
        }
        TokenEvent::DuelSuspected { retry_in } => {
            tracing::warn!(
                retry_in_ms = millis(retry_in),
                "another holder of the account seems to be active"
            );
        }
        TokenEvent::SameTokenAgain { .. } => tracing::warn!("the rejected access token came again"),
        TokenEvent::ExchangeFailed { kind, retry_in } => {
            tracing::warn!(error = %kind, retry_in_ms = millis(retry_in), "no access token");
        }
        TokenEvent::Flushed { by } => tracing::info!(?by, "access token flushed"),
        _ => tracing::debug!(?event, "access token"),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(feature = "metrics")]
fn count(event: &TokenEvent) {
    match *event {
        TokenEvent::Issued { .. } => exchange("issued"),
        TokenEvent::Refreshed { .. } => exchange("refreshed"),
        TokenEvent::Replaced { .. } => exchange("replaced"),
        TokenEvent::SameTokenAgain { .. } => exchange("same_token"),
        TokenEvent::ExchangeFailed { kind, .. } => exchange(failure(kind)),
        TokenEvent::Rejected { was_accepted, .. } => {
            rejection(if was_accepted { "died" } else { "first_sight" });
        }
        TokenEvent::LateRejectionIgnored { .. } => rejection("late"),
        TokenEvent::BudgetSpent { .. } => rejection("budget_spent"),
        TokenEvent::NotReplayable { .. } => rejection("not_replayable"),
        TokenEvent::RejectedAgain { .. } => rejection("again"),
        TokenEvent::Healed { .. } => {
            metrics::counter!("tower_oauth_client_healed_total").increment(1);
        }
        TokenEvent::DuelSuspected { .. } => {
            metrics::counter!("tower_oauth_client_duels_total").increment(1);
        }
        TokenEvent::OriginRefused => {
            metrics::counter!("tower_oauth_client_origin_refused_total").increment(1);
        }
        TokenEvent::Flushed { by } => {
            let by = match by {
                None => "hand",
                Some(Flush::Subject) => "subject",
                Some(Flush::Issuer) => "issuer",
                Some(_) => "token",
            };
            metrics::counter!("tower_oauth_client_flushes_total", "by" => by).increment(1);
        }
        TokenEvent::Missed { .. } => {}
    }
}

#[cfg(feature = "metrics")]
fn exchange(outcome: &'static str) {
    metrics::counter!("tower_oauth_client_exchanges_total", "outcome" => outcome).increment(1);
}

#[cfg(feature = "metrics")]
fn rejection(what: &'static str) {
    metrics::counter!("tower_oauth_client_rejections_total", "what" => what).increment(1);
}

/// A fixed name: a status or a text of the server's would make as many series as it likes.
#[cfg(feature = "metrics")]
fn failure(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Configuration(_) => "configuration",
        ErrorKind::Transport => "transport",
        ErrorKind::Timeout => "timeout",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Redirect => "redirect",
        ErrorKind::Status(_) => "status",
        ErrorKind::Malformed(_) => "malformed",
        ErrorKind::OAuth(code) => code.as_str(),
        ErrorKind::NarrowScope => "narrow_scope",
        ErrorKind::Foreign => "foreign",
        _ => "other",
    }
}
