//! What is counted, and that nothing of a token or of an answer gets into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tower::{Layer, ServiceExt};
use tower_oauth_client::{
    ErrorKind, Flush, Need, OAuthCode, Report, RetryInvalidTokenLayer, TokenCache, TokenSource,
};

use crate::rig::{Mint, Strict, request, sleep_ms};

/// Sums by series: `name{label=value}`.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, u64>>>);

struct Series(Sums, String);

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }

    fn absolute(&self, _: u64) {
        unreachable!("no counter is set");
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let series = format!("{}{{{}}}", key.name(), labels.join(","));
        Counter::from_arc(Arc::new(Series(self.clone(), series)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Runs with a recorder of its own, on this thread only, in paused time.
fn recorded(run: impl Future<Output = ()>) -> Sums {
    let sums = Sums::default();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&sums, || runtime.block_on(run));
    sums
}

async fn died(tokens: &TokenCache) {
    let token = tokens.fetch(Need::Any).await.unwrap();
    token.mark_accepted();
    drop(tokens.fetch(Need::Unlike(token.id())).await);
}

async fn everything() {
    let mint = Mint::new().life(Some(1000));
    let tokens = mint.cache();
    let strict = Strict::that_likes(|token| token != "Bearer t2");
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(strict);
    // Issued; refreshed to one that is rejected at first sight; replaced and healed.
    service.clone().oneshot(request()).await.unwrap();
    let old = tokens.peek().unwrap();
    sleep_ms(850_000).await;
    service.clone().oneshot(request()).await.unwrap();
    sleep_ms(1000).await;
    service.clone().oneshot(request()).await.unwrap();
    for _ in 0..100 {
        tokens.fetch(Need::Unlike(old.id())).await.unwrap();
    }
    // The same one again, and a refusal.
    let current = tokens.peek().unwrap();
    let text = current.header().to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    mint.then_token(&text);
    died(&tokens).await;
    sleep_ms(600).await;
    mint.then(Err(ErrorKind::OAuth(OAuthCode::InvalidClient).into()));
    died(&tokens).await;
    tokens.flush();
    let first = tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(1001).await;
    tokens.report(Report::Flush(first.id(), Flush::Issuer));
    // A duel, and the budget of tokens that never worked.
    for _ in 0..4 {
        died(&tokens).await;
    }
    tokens.flush();
    for _ in 0..3 {
        let token = tokens.fetch(Need::Any).await.unwrap();
        drop(tokens.fetch(Need::Unlike(token.id())).await);
    }
    for report in [
        Report::NotReplayable(first.id()),
        Report::RejectedAgain(first.id()),
        Report::OriginRefused,
    ] {
        tokens.report(report);
    }
    crate::proofs::one_nonce().await;
}

#[test]
fn each_exchange_and_each_rejection_is_counted_once() {
    let sums = recorded(everything());
    let expected = [
        ("exchanges_total{outcome=issued}", 4),
        ("exchanges_total{outcome=refreshed}", 1),
        ("exchanges_total{outcome=replaced}", 5),
        ("exchanges_total{outcome=same_token}", 1),
        ("exchanges_total{outcome=invalid_client}", 1),
        ("rejections_total{what=died}", 4),
        ("rejections_total{what=first_sight}", 2),
        ("rejections_total{what=late}", 100),
        ("rejections_total{what=budget_spent}", 2),
        ("rejections_total{what=not_replayable}", 1),
        ("rejections_total{what=again}", 1),
        ("healed_total{}", 1),
        ("duels_total{}", 1),
        ("flushes_total{by=hand}", 2),
        ("flushes_total{by=issuer}", 1),
        ("origin_refused_total{}", 1),
        ("dpop_nonce_replays_total{}", 1),
    ];
    let sums = sums.0.lock().unwrap();
    for (series, value) in expected {
        let got = sums.get(&format!("tower_oauth_client_{series}")).copied().unwrap_or_default();
        assert_eq!(got, value, "{series} of {sums:?}");
    }
    assert_eq!(sums.len(), expected.len(), "{sums:?}");
}

#[test]
fn l04_every_name_and_label_is_in_the_table_and_no_value_is_a_strangers() {
    let sums = recorded(everything());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tower-oauth/docs/observability.md");
    let text = std::fs::read_to_string(file).unwrap();
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("tower_oauth_client_"))
        .collect();
    let mut counted = BTreeSet::new();
    for series in sums.0.lock().unwrap().keys() {
        let (name, labels) = series.split_once('{').unwrap();
        counted.insert(name.to_owned());
        for value in labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('=')) {
            let is_code = OAuthCode::parse(value.1) != OAuthCode::Other;
            assert!(is_code || text.contains(&format!("`{}`", value.1)), "{value:?} is not told");
        }
    }
    assert_eq!(counted.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
}
