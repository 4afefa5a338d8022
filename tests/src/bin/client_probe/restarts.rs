//! The server restarts and has forgotten all tokens; and what becomes of those who ask at the same time.

use tower_oauth::{BareForbidden, BareUnauthorized, RejectionPolicy, StandardPolicy};

use crate::idp::Idp;
use crate::resource::{Refusal, Resource, request};
use crate::{Door, Rows, Seen, Verdict, ask, crowd, door, door_with, failed, ms, now, sleep_ms};

const CALLERS: usize = 1_000;

pub(crate) async fn probes() -> Rows {
    let [first, second] = challenged(&Idp::start().await, 20).await;
    vec![
        ("cold", cold().await),
        ("restart", first),
        ("restart-again", second),
        ("restart-bare-401", all(bare_401(&Idp::start().await, 20).await)),
        ("restart-bare-403", all(bare_403(&Idp::start().await, 20).await)),
        ("restart-spread", each_way(Idp::start).await),
        ("restart-spread-one-token", each_way(Idp::that_keeps_one_token).await),
        ("late", late().await),
        ("leader-dropped", leader_dropped().await),
        ("leader-dropped-rotation", leader_dropped_with_rotation().await),
        ("short-of-time", short_of_time().await),
    ]
}

async fn cold() -> Seen {
    let idp = Idp::start().await;
    let door = door(idp.tokens(), &Resource::new(&idp));
    let failed = failed(crowd(&door, CALLERS, None)).await;
    Seen::new(format!("{} / {failed}", idp.requests()), (idp.requests(), failed) == (1, 0))
}

async fn challenged(idp: &Idp, slowest: u64) -> [Seen; 2] {
    restarts(idp, Refusal::Challenge, StandardPolicy, slowest).await
}

async fn bare_401(idp: &Idp, slowest: u64) -> [Seen; 2] {
    restarts(idp, Refusal::Bare, StandardPolicy.or(BareUnauthorized), slowest).await
}

async fn bare_403(idp: &Idp, slowest: u64) -> [Seen; 2] {
    restarts(idp, Refusal::Forbidden, StandardPolicy.or(BareForbidden), slowest).await
}

/// Both restarts for each way to refuse, with answers that are spread over a second and a half.
async fn each_way<Starting: Future<Output = Idp>>(start: impl Fn() -> Starting) -> Seen {
    let idps = [start().await, start().await, start().await];
    let [first, second, third] = &idps;
    let (first, second, third) =
        tokio::join!(challenged(first, 1_500), bare_401(second, 1_500), bare_403(third, 1_500));
    all(first.into_iter().chain(second).chain(third))
}

/// Two restarts, two seconds apart, each with a thousand requests in flight: for each the token requests
/// and the callers who failed.
async fn restarts(
    idp: &Idp,
    refusal: Refusal,
    policy: impl RejectionPolicy,
    slowest: u64,
) -> [Seen; 2] {
    let resource = Resource::new(idp).refuse_with(refusal).takes(5, slowest);
    let door = door_with(idp.tokens(), policy, &resource);
    assert!(ask(&door, request(None)).await);
    let first = restart(idp, &resource, &door, 1).await;
    sleep_ms(2_000).await;
    [first, restart(idp, &resource, &door, 2).await]
}

async fn restart(idp: &Idp, resource: &Resource, door: &Door, incident: u32) -> Seen {
    let in_flight = crowd(door, CALLERS, Some(incident));
    resource.holds(CALLERS).await;
    let before = idp.requests();
    idp.restart();
    resource.open(incident);
    let failed = failed(in_flight).await;
    let requests = idp.requests() - before;
    Seen::new(format!("{requests} / {failed}"), (requests, failed) == (1, 0))
}

/// Several in one: kept if all are. What was seen again and again is told once.
fn all(seen: impl IntoIterator<Item = Seen>) -> Seen {
    let (mut figures, mut kept, mut count) = (Vec::new(), true, 0);
    for Seen { figure, verdict } in seen {
        kept &= matches!(verdict, Verdict::Kept);
        count += 1;
        if !figures.contains(&figure) {
            figures.push(figure);
        }
    }
    Seen::new(format!("{} ({count} times)", figures.join(", ")), kept)
}

/// Refusals of the old token that come when the new one is long in use: one, then a hundred in ten
/// waves.
async fn late() -> Seen {
    let idp = Idp::start().await;
    let resource = Resource::new(&idp);
    let door = door(idp.tokens(), &resource);
    assert!(ask(&door, request(None)).await);
    let (mut extra, mut lost) = (Vec::new(), 0);
    for (wave, size) in [(1..=1, 1), (2..=11, 10)] {
        let late: Vec<_> =
            wave.clone().map(|incident| (incident, crowd(&door, size, Some(incident)))).collect();
        resource.holds(size * wave.count()).await;
        idp.restart();
        assert!(ask(&door, request(None)).await);
        let healed = idp.requests();
        for (incident, crowd) in late {
            resource.open(incident);
            lost += failed(crowd).await;
        }
        extra.push(idp.requests() - healed);
    }
    let figure = format!("{} / {}", extra[0], extra[1]);
    Seen::new(figure, extra == [0, 0] && lost == 0)
}

/// The first caller goes away in the middle of the exchange that it began.
async fn leader_dropped() -> Seen {
    let idp = Idp::start().await;
    let door = door(idp.tokens(), &Resource::new(&idp));
    let began = now();
    let first = tokio::time::timeout(ms(20), ask(&door, request(None))).await;
    assert!(first.is_err(), "the exchange takes 50 ms");
    let content = ask(&door, request(None)).await;
    let took = (now() - began).as_millis();
    Seen::new(format!("{}, {took} ms", idp.requests()), content && idp.requests() == 1)
}

/// The same, and the exchange uses up a refresh token: its answer must not be lost with the caller.
async fn leader_dropped_with_rotation() -> Seen {
    let idp = Idp::start().await;
    let door = door(idp.tokens_by_refresh(), &Resource::new(&idp));
    let first = tokio::time::timeout(ms(20), ask(&door, request(None))).await;
    assert!(first.is_err(), "the exchange takes 50 ms");
    let mut content = ask(&door, request(None)).await;
    let requests = idp.requests();
    // The next exchange shows whether there is still a session.
    idp.restart();
    content &= ask(&door, request(None)).await;
    let session = if content { "logged in" } else { "logged out" };
    Seen::new(format!("{requests}, {session}"), content && requests == 1)
}

/// A caller each 20 ms that waits for 40 ms, where the exchange takes 50.
async fn short_of_time() -> Seen {
    let idp = Idp::start().await;
    let door = door(idp.tokens(), &Resource::new(&idp).takes(0, 0));
    let mut served = tokio::task::JoinSet::new();
    let mut turns = tokio::time::interval(ms(20));
    for _ in 0..100 {
        turns.tick().await;
        let door = door.clone();
        served.spawn(async move {
            tokio::time::timeout(ms(40), ask(&door, request(None))).await.unwrap_or(false)
        });
    }
    let served = served.join_all().await.into_iter().filter(|served| *served).count();
    let requests = idp.requests();
    Seen::new(format!("{served} / {requests}"), served >= 99 && requests == 1)
}
