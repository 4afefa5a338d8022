//! The probes of the client door that were run against other crates, run against us in the same form.
//!
//! One line for each: its name, what was seen, and whether that is what we promise, separated by
//! tabs; `cargo xtask probe --client` prints them beside the others' figures. It takes most of a minute of
//! real time: a token server on a socket that takes 50 ms for each exchange, a resource in process that
//! takes 5 to 20 ms for each answer, tokens of 1,000 bytes, two threads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a probe that cannot do its work has failed"
)]

mod idp;
mod resource;
mod restarts;
mod storms;
mod trouble;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};
use tower_oauth::{
    Clock, RejectionPolicy, RetryInvalidToken, RetryInvalidTokenLayer, StandardPolicy, SystemClock,
    TokenCache,
};

use crate::resource::{Resource, request};

/// What a probe has seen.
struct Seen {
    figure: String,
    verdict: Verdict,
}

enum Verdict {
    Kept,
    Broken,
    /// Nothing was promised; it is told all the same.
    Told,
}

impl Seen {
    fn new(figure: impl Into<String>, kept: bool) -> Self {
        let verdict = if kept { Verdict::Kept } else { Verdict::Broken };
        Self { figure: figure.into(), verdict }
    }

    fn told(figure: impl Into<String>) -> Self {
        Self { figure: figure.into(), verdict: Verdict::Told }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut rows = restarts::probes().await;
    rows.extend(trouble::probes().await);
    rows.extend(storms::probes().await);
    for (name, Seen { figure, verdict }) in rows {
        let verdict = match verdict {
            Verdict::Kept => "kept",
            Verdict::Broken => "BROKEN",
            Verdict::Told => "told",
        };
        println!("{name}\t{figure}\t{verdict}");
    }
}

type Rows = Vec<(&'static str, Seen)>;
type Door = RetryInvalidToken<Resource>;

/// The door as it is by default.
fn door(tokens: TokenCache, resource: &Resource) -> Door {
    door_with(tokens, StandardPolicy, resource)
}

fn door_with(tokens: TokenCache, policy: impl RejectionPolicy, resource: &Resource) -> Door {
    RetryInvalidTokenLayer::new(tokens).with_policy(policy).layer(resource.clone())
}

/// Sends one request; whether its caller was content.
async fn ask<S>(service: &S, request: Request<Full<Bytes>>) -> bool
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>> + Clone,
{
    service.clone().oneshot(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

/// Sends so many at once, to be held until the incident.
fn crowd(door: &Door, callers: usize, incident: Option<u32>) -> JoinSet<bool> {
    let mut crowd = JoinSet::new();
    for _ in 0..callers {
        let door = door.clone();
        crowd.spawn(async move { ask(&door, request(incident)).await });
    }
    crowd
}

/// How many callers were not content.
async fn failed(crowd: JoinSet<bool>) -> usize {
    crowd.join_all().await.into_iter().filter(|content| !content).count()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

async fn sleep_ms(milliseconds: u64) {
    tokio::time::sleep(ms(milliseconds)).await;
}

fn now() -> Instant {
    SystemClock.now()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
