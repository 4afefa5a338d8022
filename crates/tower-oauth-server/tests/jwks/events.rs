//! What is told to the logs: one event for each load, and nothing that came with a token.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tower_oauth_test::{Endpoint, Fault, Rotation};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::fixture::House;

/// Keeps the text of every event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("span {} ", span.metadata().name()));
        span.record(&mut line);
        self.0.lock().unwrap().push(line.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().target()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// On one thread, so that the flight's task sees the subscriber as well.
#[tokio::test(flavor = "current_thread")]
async fn one_event_for_each_load_with_counts_and_without_key_ids() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let house = House::new();
    let of_jwks = |lines: Vec<String>| {
        lines.into_iter().filter(|line| line.starts_with("tower_oauth::jwks ")).collect::<Vec<_>>()
    };

    assert!(house.accepts(&house.token()).await);
    let lines = of_jwks(log.take());
    assert_eq!(lines.len(), 1, "{lines:?}");
    for field in ["why=\"first\"", "outcome=\"changed\"", "keys=1", "added=1", "fresh_for_s=600"] {
        assert!(lines[0].contains(field), "{field}: {lines:?}");
    }

    house.issuer.rotate(Rotation::Replace);
    assert!(house.accepts(&house.token()).await);
    let lines = of_jwks(log.take());
    assert_eq!(lines.len(), 1, "{lines:?}");
    for field in ["why=\"miss\"", "outcome=\"changed\"", "added=1", "removed=1", "skipped=0"] {
        assert!(lines[0].contains(field), "{field}: {lines:?}");
    }

    house.issuer.fault(Endpoint::Jwks, Fault::Garbage("<html>CANARY".into()));
    house.pass(60.0);
    for n in 0..50 {
        let forged = house.issuer.forge(&format!("CANARY-{n}"));
        house.judge(&forged).await.unwrap_err();
    }
    let lines = of_jwks(log.lines());
    assert_eq!(lines.len(), 1, "fifty forgeries are one load: {lines:?}");
    assert!(lines[0].contains("outcome=\"failed\""), "{lines:?}");
    assert!(log.lines().iter().all(|line| !line.contains("CANARY")), "{:?}", log.lines());
}

#[tokio::test(flavor = "current_thread")]
async fn a_span_stands_round_each_load_and_not_round_those_who_wait() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let house = House::new();
    let spans = || {
        let lines = log.take();
        lines.into_iter().filter(|line| line.starts_with("span jwks_fetch ")).collect::<Vec<_>>()
    };
    let token = house.token();
    let (first, second) = tokio::join!(house.accepts(&token), house.accepts(&token));
    assert!(first && second);
    assert_eq!(spans(), ["span jwks_fetch why=\"first\" "]);
    assert!(house.accepts(&token).await);
    assert_eq!(spans(), [""; 0]);
    house.issuer.rotate(Rotation::Replace);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(spans(), ["span jwks_fetch why=\"miss\" "]);
}

#[tokio::test(flavor = "current_thread")]
async fn k05_a_private_key_in_a_public_set_wakes_somebody() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let house = House::new();
    house.issuer.publish_extra_key(serde_json::json!({ "kty": "RSA", "kid": "p", "d": "CANARY" }));
    assert!(house.accepts(&house.token()).await);
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("private_key_published")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("CANARY")), "{lines:?}");
}
