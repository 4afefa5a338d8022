//! The token endpoint is not well.

use tokio::task::JoinSet;
use tower_oauth::{Need, TokenSource};

use crate::idp::{Fault, Idp};
use crate::resource::{Resource, request};
use crate::{Rows, Seen, ask, crowd, door, failed, ms, now, seconds, sleep_ms};

pub(crate) async fn probes() -> Rows {
    let (told, asking) = tokio::join!(for_ever(), for_ever_and_asked());
    vec![
        ("error-500-3", passing((500, None), 3).await),
        ("invalid-client-3", passing((401, Some("invalid_client")), 3).await),
        ("invalid-grant-1", passing((400, Some("invalid_grant")), 1).await),
        ("error-500-for-ever", told),
        ("error-500-asked-on", asking),
    ]
}

/// A hundred callers at once; those who come after them ask until there is a token.
async fn passing(fault: Fault, times: usize) -> Seen {
    let idp = Idp::start().await;
    idp.fault(fault, times);
    let door = door(idp.tokens(), &Resource::new(&idp));
    let began = now();
    let failed = failed(crowd(&door, 100, None)).await;
    while !ask(&door, request(None)).await {
        assert!((now() - began) < ms(90_000), "not healed in 90 s");
        sleep_ms(20).await;
    }
    let healed = now();
    let well = idp.well_since().expect("the faults are over");
    let after = healed - well;
    let figure = format!("{failed} / {} ({} after well)", seconds(healed - began), seconds(after));
    Seen::new(figure, after <= ms(1_000))
}

/// A thousand callers at once: when the last was told, and how often the endpoint was asked in 10 s.
async fn for_ever() -> Seen {
    let idp = Idp::start().await;
    idp.fault_for_ever((500, None));
    let tokens = idp.tokens();
    let began = now();
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let token = tokens.fetch(Need::Any);
        callers.spawn(async move { token.await.is_err() });
    }
    assert!(callers.join_all().await.into_iter().all(|told| told));
    let told = now() - began;
    tokio::time::sleep(ms(10_000).saturating_sub(told)).await;
    let requests = idp.requests();
    let figure = format!("{} / {requests}", seconds(told));
    Seen::new(figure, told < ms(2_000) && requests <= 5)
}

/// The same, and somebody asks again each 10 ms: how often the endpoint was asked in 10 s, and how
/// long the longest of them waited.
async fn for_ever_and_asked() -> Seen {
    let idp = Idp::start().await;
    idp.fault_for_ever((500, None));
    let tokens = idp.tokens();
    let began = now();
    let mut longest = ms(0);
    while now() - began < ms(10_000) {
        let asked = now();
        assert!(tokens.fetch(Need::Any).await.is_err());
        longest = longest.max(now() - asked);
        sleep_ms(10).await;
    }
    Seen::told(format!("{} / {}", seconds(longest), idp.requests()))
}
