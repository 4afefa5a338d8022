//! The server restarts and has forgotten all tokens; and what becomes of those who ask at the same time.

use tower_oauth::{BareForbidden, BareUnauthorized, RejectionPolicy, StandardPolicy};

use crate::idp::Idp;
use crate::resource::{Refusal, Resource, request};
use crate::{Door, Rows, Seen, ask, crowd, door, door_with, failed, ms, now, sleep_ms};

const CALLERS: usize = 1_000;

pub(crate) async fn probes() -> Rows {
    let [first, second] = restarts(Refusal::Challenge, StandardPolicy, 20).await;
    let bare_401 = restarts(Refusal::Bare, StandardPolicy.or(BareUnauthorized), 20).await;
    let bare_403 = restarts(Refusal::Forbidden, StandardPolicy.or(BareForbidden), 20).await;
    vec![
        ("cold", cold().await),
        ("restart", first),
        ("restart-again", second),
        ("restart-bare-401", both(bare_401)),
        ("restart-bare-403", both(bare_403)),
        ("restart-spread", both(restarts(Refusal::Challenge, StandardPolicy, 1_500).await)),
        ("restart-spread-one-token", one_token().await),
        ("late", late().await),
        ("leader-dropped", leader_dropped().await),
        ("short-of-time", short_of_time().await),
    ]
}

async fn cold() -> Seen {
    let idp = Idp::start().await;
    let door = door(idp.tokens(), &Resource::new(&idp));
    let failed = failed(crowd(&door, CALLERS, None)).await;
    Seen::new(format!("{} / {failed}", idp.requests()), (idp.requests(), failed) == (1, 0))
}

/// Two restarts, two seconds apart, each with a thousand requests in flight: for each the token requests
/// and the callers who failed.
async fn restarts(refusal: Refusal, policy: impl RejectionPolicy, slowest: u64) -> [Seen; 2] {
    let idp = Idp::start().await;
    let resource = Resource::new(&idp).refuse_with(refusal).takes(5, slowest);
    let door = door_with(idp.tokens(), policy, &resource);
    assert!(ask(&door, request(None)).await);
    let first = restart(&idp, &resource, &door, 1).await;
    sleep_ms(2_000).await;
    [first, restart(&idp, &resource, &door, 2).await]
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

fn both([first, second]: [Seen; 2]) -> Seen {
    let kept = [&first, &second].iter().all(|seen| matches!(seen.verdict, crate::Verdict::Kept));
    Seen::new(format!("{}, then {}", first.figure, second.figure), kept)
}

async fn one_token() -> Seen {
    let idp = Idp::that_keeps_one_token().await;
    let resource = Resource::new(&idp).takes(5, 1_500);
    let door = door(idp.tokens(), &resource);
    assert!(ask(&door, request(None)).await);
    restart(&idp, &resource, &door, 1).await
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
