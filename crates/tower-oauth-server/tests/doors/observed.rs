//! What is counted, and that nothing of a request gets into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use serde_json::json;
use tower::{Layer, service_fn};
use tower_oauth_server::RequireScopeLayer;
use tower_oauth_test::{Endpoint, Fault, TokenSpec};

use crate::issued::Issued;
use crate::support::*;

/// Sums by series: `name{label=value}`.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, f64>>>);

struct Series(Sums, String);

impl Sums {
    fn series(&self, key: &Key) -> Arc<Series> {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Series(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn of(&self, series: &str) -> f64 {
        self.0.lock().unwrap().get(series).copied().unwrap_or_default()
    }
}

impl Series {
    fn add(&self, value: f64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("no counter is set");
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}

/// Runs with a recorder of its own, on this thread only.
fn recorded(run: impl Future<Output = ()>) -> Sums {
    let sums = Sums::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&sums, || runtime.block_on(run));
    sums
}

/// Everything that a stranger may write into a request, and what an issuer may answer.
async fn everything() {
    let door = table().realm("shop").unwrap();
    for token in [ALICE, ALICE, CAROL, EXPIRED, EXPIRED_LATER, OUTAGE, "CANARY.unknown"] {
        ask(&door, with_token(token)).await;
        ask(&door, grpc(with_token(token))).await;
    }
    ask(&door, get("/CANARY?access_token=CANARY", &[])).await;
    ask(&door, get("/", &[b"Bearer CANARY, Bearer CANARY"])).await;
    let scope = RequireScopeLayer::all(["CANARY"]).layer(service_fn(greet));
    seen(door.layer(scope), with_token(ALICE)).await;

    let issued = Issued::new();
    let strange = [
        TokenSpec::new().header("kid", json!("CANARY\n\u{1b}[31m")),
        TokenSpec::new().issuer("https://CANARY.example"),
        TokenSpec::new().subject("CANARY"),
        TokenSpec::new().without_claim("exp"),
        TokenSpec::new().expired(),
    ];
    for spec in strange {
        ask(&issued.door(), with_token(&issued.token(spec))).await;
    }
    issued.issuer.fault(Endpoint::Jwks, Fault::Status(418)).times(1);
    assert!(issued.jwt.jwks().refresh().await.is_err());
    issued.clock.advance(Duration::from_secs(600));
    issued.jwt.jwks().refresh().await.unwrap();
}

#[test]
fn each_refusal_each_admission_and_each_fetch_is_counted_once() {
    let sums = recorded(everything());
    let expected = [
        // Alice twice and Carol, over both protocols; Alice without the scope; the stranger by name.
        ("tower_oauth_server_authenticated_total{}", 8.0),
        ("tower_oauth_server_rejections_total{code=missing}", 1.0),
        ("tower_oauth_server_rejections_total{code=several_credentials}", 1.0),
        ("tower_oauth_server_rejections_total{code=insufficient_scope}", 1.0),
        ("tower_oauth_server_rejections_total{code=unavailable}", 2.0),
        ("tower_oauth_jwks_fetches_total{why=manual,outcome=status}", 1.0),
        ("tower_oauth_jwks_fetches_total{why=manual,outcome=loaded}", 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(sums.of(series), value, "{series} of {:?}", sums.0.lock().unwrap());
    }
    assert!(sums.of("tower_oauth_jwks_keys{}") >= 2.0);
}

#[test]
fn l04_every_name_and_label_is_in_the_table_and_no_value_is_a_strangers() {
    let sums = recorded(everything());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tower-oauth/docs/observability.md");
    let text = std::fs::read_to_string(file).unwrap();
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| !name.starts_with("tower_oauth_client_"))
        .collect();
    let mut counted = BTreeSet::new();
    for series in sums.0.lock().unwrap().keys() {
        let (name, labels) = series.split_once('{').unwrap();
        counted.insert(name.to_owned());
        let closed = labels.chars().all(|c| c.is_ascii_lowercase() || "_=,}0123456789".contains(c));
        assert!(closed && !labels.to_ascii_uppercase().contains(CANARY), "{series}");
        for value in labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('=')) {
            assert!(text.contains(&format!("`{}`", value.0)), "label {} is not told", value.0);
        }
    }
    assert_eq!(counted.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
}
