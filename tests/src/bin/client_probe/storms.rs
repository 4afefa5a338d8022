//! The resource refuses everything; two scopes; two devices with one account.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::task::JoinSet;

use crate::idp::Idp;
use crate::resource::{Resource, request};
use crate::{Door, Rows, Seen, ask, crowd, door, failed, ms};

pub(crate) async fn probes() -> Rows {
    vec![
        ("rejects-all", rejects_all().await),
        ("two-scopes", two_scopes().await),
        ("two-devices", two_devices().await),
    ]
}

/// Sends so many requests, one each `pause` milliseconds; how many failed.
async fn steady(door: Door, requests: u64, pause: u64) -> u64 {
    let lost = Arc::new(AtomicU64::new(0));
    let mut sent = JoinSet::new();
    let mut turns = tokio::time::interval(ms(pause));
    for _ in 0..requests {
        turns.tick().await;
        let (door, lost) = (door.clone(), Arc::clone(&lost));
        sent.spawn(async move {
            lost.fetch_add(u64::from(!ask(&door, request(None)).await), SeqCst);
        });
    }
    sent.join_all().await;
    lost.load(SeqCst)
}

/// 200 requests a second for five seconds, all refused; then one more, which is not.
async fn rejects_all() -> Seen {
    let idp = Idp::start().await;
    let resource = Resource::new(&idp);
    let door = door(idp.tokens(), &resource);
    assert!(ask(&door, request(None)).await);
    let (asked, called) = (idp.requests(), resource.calls());
    resource.refuse_all(true);
    steady(door.clone(), 1_000, 5).await;
    let (requests, calls) = (idp.requests() - asked, resource.calls() - called);
    resource.refuse_all(false);
    let works = ask(&door, request(None)).await;
    let figure = format!("{requests}; {}; {calls} calls", if works { "yes" } else { "no" });
    Seen::new(figure, requests <= 5 && works && calls <= 1_100)
}

/// A hundred callers with no token, half of them for one scope and half for another.
async fn two_scopes() -> Seen {
    let idp = Idp::start().await;
    let resource = Resource::new(&idp);
    let scoped = |scope| door(idp.builder().scope(scope).build().expect("a cache"), &resource);
    let (read, write) = (scoped("read"), scoped("write"));
    let (a, b) = tokio::join!(failed(crowd(&read, 50, None)), failed(crowd(&write, 50, None)));
    Seen::new(idp.requests().to_string(), idp.requests() == 2 && a + b == 0)
}

/// Two caches with one account, where each grant ends the token before: 251 calls each in five seconds.
async fn two_devices() -> Seen {
    let idp = Idp::that_keeps_one_token().await;
    let resource = Resource::new(&idp);
    let (one, two) = (door(idp.tokens(), &resource), door(idp.tokens(), &resource));
    let (a, b) = tokio::join!(steady(one, 251, 20), steady(two, 251, 20));
    let requests = idp.requests();
    Seen::new(format!("{} / {requests}", a + b), requests <= 20)
}
