//! What is counted, and that nothing of a request gets into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use serde_json::json;
use tower_oauth_core::Secret;
use tower_oauth_events::{SetPoll, Webhook};
use tower_oauth_server::HttpClient;

use crate::house::{CAEP, FORM, House, SET, form, logout_token, post, set};

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

async fn logouts() {
    let house = House::new();
    let logout = house.logout_builder().max_concurrency(1).build().unwrap();
    let told = form(&logout_token(&house, json!({ "sid": "CANARY", "sub": "CANARY" })));
    for body in [told.as_str(), &told, "logout_token=CANARY", "CANARY"] {
        post(&logout, FORM, body.to_owned()).await;
    }
    let stuck = axum::body::Body::new(crate::trouble::Stuck);
    let mut stuck = Box::pin(post(&logout, FORM, stuck));
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(stuck.as_mut().poll(cx)))
            .await
            .is_pending()
    );
    post(&logout, FORM, told.clone()).await;
    let cold = House::new();
    cold.issuer.go_dark();
    post(&cold.logout(), FORM, form(&logout_token(&cold, json!({})))).await;
}

async fn events() {
    let house = House::new();
    let revoked = format!("{CAEP}session-revoked");
    let push = house.push_builder().allow_events([revoked.clone()]).build().unwrap();
    let told = set(&house, json!({}));
    let other = json!({ "CANARY": {}, format!("{CAEP}credential-change"): {}, revoked: {} });
    let nobody = json!({ "format": "CANARY" });
    let strange = set(&house, json!({ "events": other, "sub_id": nobody }));
    for body in [told.as_str(), &told, &strange, "CANARY"] {
        post(&push, SET, body.to_owned()).await;
    }
    post(&push, FORM, "CANARY").await;
    for status in [200, 500] {
        let client = HttpClient::new(tower::service_fn(
            move |_: http::Request<http_body_util::Full<bytes::Bytes>>| async move {
                let body = http_body_util::Full::new(bytes::Bytes::from_static(b"{\"sets\":{}}"));
                Ok::<_, std::io::Error>(
                    http::Response::builder().status(status).body(body).unwrap(),
                )
            },
        ));
        let poll = SetPoll::builder(push.clone(), "https://idp.test/CANARY").http_client(client);
        let _ = poll.build().unwrap().poll().await;
    }
}

async fn webhooks() {
    let house = House::new();
    let webhook = Webhook::issuer(house.issuer.issuer())
        .secret(Secret::new("CANARY-that-is-long-enough"))
        .sink(house.heard.clone())
        .build()
        .unwrap();
    post(&webhook, "application/json", "CANARY").await;
}

#[test]
fn l04_every_name_and_label_is_in_the_table_and_no_value_is_a_strangers() {
    let sums = Sums::default();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&sums, || {
        runtime.block_on(async {
            logouts().await;
            events().await;
            webhooks().await;
        })
    });
    let sums: BTreeMap<String, u64> = sums.0.lock().unwrap().clone();
    let ours: BTreeMap<&str, u64> = sums
        .iter()
        .filter_map(|(series, sum)| Some((series.strip_prefix("tower_oauth_events_")?, *sum)))
        .collect();
    let expected = BTreeMap::from([
        ("ignored_total{why=disallowed_event}", 1),
        ("ignored_total{why=unknown_event}", 1),
        ("ignored_total{why=unknown_subject}", 1),
        ("polls_total{outcome=answered}", 1),
        ("polls_total{outcome=failed}", 1),
        ("received_total{receiver=logout,outcome=applied}", 1),
        ("received_total{receiver=logout,outcome=busy}", 1),
        ("received_total{receiver=logout,outcome=refused}", 2),
        ("received_total{receiver=logout,outcome=replayed}", 1),
        ("received_total{receiver=logout,outcome=unavailable}", 1),
        ("received_total{receiver=security_events,outcome=applied}", 2),
        ("received_total{receiver=security_events,outcome=refused}", 2),
        ("received_total{receiver=security_events,outcome=replayed}", 1),
        ("received_total{receiver=webhook,outcome=refused}", 1),
        ("revocations_total{receiver=logout}", 2),
        ("revocations_total{receiver=security_events}", 1),
    ]);
    assert_eq!(ours, expected);

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tower-oauth/docs/observability.md");
    let text = std::fs::read_to_string(file).unwrap();
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `tower_oauth_events_")?.split('`').next())
        .collect();
    let counted: BTreeSet<&str> =
        ours.keys().filter_map(|series| Some(series.split_once('{')?.0)).collect();
    assert_eq!(counted, told);
    for series in ours.keys() {
        let labels = series.split_once('{').unwrap().1.trim_end_matches('}');
        for (_, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
            assert!(text.contains(&format!("`{value}`")), "{value} is not told");
        }
    }
}
