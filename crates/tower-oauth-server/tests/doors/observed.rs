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
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{Introspection, Outage, RequireScopeLayer, RequireTokenLayer};
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
        let token = issued.token(spec);
        for _ in 0..2 {
            ask(&issued.door(), with_token(&token)).await;
        }
    }
    issued.issuer.fault(Endpoint::Jwks, Fault::Status(418)).times(1);
    assert!(issued.jwt.jwks().refresh().await.is_err());
    issued.clock.advance(Duration::from_secs(600));
    issued.jwt.jwks().refresh().await.unwrap();
    opaque(&issued).await;
}

/// One active token, one that is not, and the same two from the caches; then an outage.
async fn opaque(issued: &Issued) {
    issued.issuer.register_client("CANARY-api", "CANARY");
    let tokens = Introspection::issuer(issued.issuer.issuer())
        .client_credentials("CANARY-api", "CANARY")
        .audience("inventory")
        .http_client(HttpClient::new(issued.issuer.service()))
        .clock(issued.clock.clone())
        .outage(Outage::Grace(Duration::from_secs(60)))
        .build()
        .unwrap();
    let door = RequireTokenLayer::new(tokens);
    let token = issued.token(TokenSpec::new());
    for token in [&*token, &token, &token, "CANARY.opaque", "CANARY.opaque"] {
        ask(&door, with_token(token)).await;
    }
    issued.clock.advance(Duration::from_secs(60));
    issued.issuer.fault(Endpoint::Introspection, Fault::Status(503)).times(1);
    ask(&door, with_token(&token)).await;
    issued.issuer.fault(Endpoint::Introspection, Fault::oauth_error("invalid_client")).times(1);
    ask(&door, with_token("CANARY.other")).await;
}

/// The same for what an issuer says of its tokens in a list.
#[cfg(feature = "status-list")]
async fn status_lists() {
    let issued = Issued::new();
    let jwt = tower_oauth_server::Jwt::issuer(issued.issuer.issuer())
        .audience("inventory")
        .http_client(tower_oauth_endpoint::HttpClient::new(issued.issuer.service()))
        .clock(issued.clock.clone())
        .status_list(tower_oauth_server::StatusLists::builder().build().unwrap())
        .build()
        .unwrap();
    let door = tower_oauth_server::RequireTokenLayer::new(jwt);
    let uri = format!("{}-CANARY", issued.issuer.url(Endpoint::StatusList));
    issued.issuer.fault(Endpoint::StatusList, Fault::Status(418)).times(1);
    issued.issuer.set_status_of(&uri, 7, 1);
    let status = issued.issuer.status_claim_of(&uri, 7);
    let token = issued.token(TokenSpec::new().claim("status", status));
    for status in [503, 503, 401, 401] {
        assert_eq!(ask(&door, with_token(&token)).await.status, status);
        issued.clock.advance(Duration::from_millis(500));
    }
}

#[test]
fn each_refusal_each_admission_and_each_fetch_is_counted_once() {
    let sums = recorded(everything());
    let expected = [
        // Alice twice and Carol, over both protocols; Alice without the scope; twice the stranger by name; four times an opaque token.
        ("tower_oauth_server_authenticated_total{}", 13.0),
        ("tower_oauth_server_rejections_total{code=missing}", 1.0),
        ("tower_oauth_server_rejections_total{code=several_credentials}", 1.0),
        ("tower_oauth_server_rejections_total{code=insufficient_scope}", 1.0),
        ("tower_oauth_server_rejections_total{code=unavailable}", 3.0),
        ("tower_oauth_server_rejections_total{code=inactive}", 2.0),
        ("tower_oauth_jwks_fetches_total{why=manual,outcome=status}", 1.0),
        ("tower_oauth_jwks_fetches_total{why=manual,outcome=loaded}", 1.0),
        ("tower_oauth_introspections_total{outcome=active}", 1.0),
        ("tower_oauth_introspections_total{outcome=inactive}", 1.0),
        ("tower_oauth_introspections_total{outcome=status}", 1.0),
        ("tower_oauth_introspections_total{outcome=oauth_error}", 1.0),
        ("tower_oauth_introspection_cache_hits_total{kind=positive}", 2.0),
        ("tower_oauth_introspection_cache_hits_total{kind=negative}", 1.0),
        ("tower_oauth_introspection_cache_hits_total{kind=stale}", 1.0),
        ("tower_oauth_verified_token_lookups_total{outcome=hit}", 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(sums.of(series), value, "{series} of {:?}", sums.0.lock().unwrap());
    }
    assert!(sums.of("tower_oauth_jwks_keys{}") >= 2.0);
    assert!(sums.of("tower_oauth_verified_token_lookups_total{outcome=miss}") >= 1.0);
}

#[cfg(feature = "status-list")]
#[test]
fn each_fetch_of_a_status_list_is_counted_once() {
    let sums = recorded(status_lists());
    for (series, value) in [
        ("tower_oauth_status_list_fetches_total{outcome=status}", 1.0),
        ("tower_oauth_status_list_fetches_total{outcome=loaded}", 1.0),
        ("tower_oauth_server_rejections_total{code=unavailable}", 2.0),
        ("tower_oauth_server_rejections_total{code=inactive}", 2.0),
    ] {
        assert_eq!(sums.of(series), value, "{series} of {:?}", sums.0.lock().unwrap());
    }
}

#[test]
fn l04_every_name_and_label_is_in_the_table_and_no_value_is_a_strangers() {
    let sums = recorded(async {
        everything().await;
        #[cfg(feature = "status-list")]
        status_lists().await;
    });
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tower-oauth/docs/observability.md");
    let text = std::fs::read_to_string(file).unwrap();
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| cfg!(feature = "status-list") || !name.contains("status_list"))
        .filter(|name| !name.starts_with("tower_oauth_client_"))
        .filter(|name| !name.starts_with("tower_oauth_events_"))
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
