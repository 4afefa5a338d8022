//! Forged tokens, by the thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_oauth::{BoxError, Clock, SystemClock};
use tower_oauth_test::ScriptedIssuer;

use crate::wire;

const TOKENS: usize = 20_000;
/// How many attackers there are. Each sends one request after the other, at its time.
const ATTACKERS: usize = 64;
/// Two hundred microseconds from one request to the next: 5,000 a second, for four seconds.
const PACE: Duration = Duration::from_micros(200);

/// The `Authorization` fields of the flood, made before it begins.
pub(crate) type Forged = Arc<[HeaderValue]>;

/// What became of the flood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) forged: u64,
    /// Those that were let in. One is too many.
    pub(crate) accepted: u64,
}

/// Tokens that are right in all but their signature, each by a key that nobody has heard of.
pub(crate) async fn forge(issuer: &ScriptedIssuer) -> Result<Forged, BoxError> {
    let issuer = issuer.clone();
    let forge = move || {
        let token = |n| HeaderValue::try_from(format!("Bearer {}", issuer.forge(&format!("k{n}"))));
        (0..TOKENS).map(token).collect::<Result<Forged, _>>()
    };
    // Arithmetic for a second; the threads that send the load must not be kept by it.
    Ok(tokio::task::spawn_blocking(forge).await??)
}

/// Sends them all.
pub(crate) async fn send(forged: Forged, target: &Uri) -> Result<Outcome, BoxError> {
    let http = wire::public(target)?;
    let began = SystemClock.now();
    let next = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::new(AtomicU64::new(0));
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let (http, target) = (http.clone(), target.clone());
        let (forged, next, accepted) = (Arc::clone(&forged), next.clone(), accepted.clone());
        attackers.spawn(async move {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let Some(field) = forged.get(turn) else { break };
                let due = PACE * u32::try_from(turn)?;
                let passed = SystemClock.now().duration_since(began);
                tokio::time::sleep(due.saturating_sub(passed)).await;
                let mut request = wire::get(&target, None)?;
                request.headers_mut().insert(AUTHORIZATION, field.clone());
                let response = http.clone().oneshot(request).await?;
                // Whatever is no plain refusal counts as let in.
                if response.status() != StatusCode::UNAUTHORIZED {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
                // Read to its end, so that the connection can be used again.
                response.into_body().collect().await?;
            }
            Ok::<_, BoxError>(())
        });
    }
    while let Some(attacker) = attackers.join_next().await {
        attacker??;
    }
    Ok(Outcome { forged: TOKENS as u64, accepted: accepted.load(Ordering::Relaxed) })
}
