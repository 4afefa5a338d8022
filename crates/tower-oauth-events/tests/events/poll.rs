//! Polled security events: what is asked, acknowledged and waited for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tower_oauth_core::{ErrorKind, Secret};
use tower_oauth_events::{SetPoll, SetPollBuilder};
use tower_oauth_server::HttpClient;

use crate::house::{House, set};

/// Sends the same SETs again until they are acknowledged or refused, or does what it is told.
#[derive(Clone, Default)]
struct Transmitter(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    waiting: Map<String, Value>,
    always_more: bool,
    deaf: bool,
    script: VecDeque<Response<Full<Bytes>>>,
    asked: Vec<(Instant, Value, http::HeaderMap)>,
}

impl Transmitter {
    fn offer(&self, name: &str, set: impl Into<Value>) {
        self.0.lock().unwrap().waiting.insert(name.to_owned(), set.into());
    }

    fn next(&self, status: u16, retry_after: Option<u64>, body: impl Into<Bytes>) {
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            response = response.header("retry-after", seconds);
        }
        self.0.lock().unwrap().script.push_back(response.body(Full::new(body.into())).unwrap());
    }

    fn asked(&self) -> Vec<Value> {
        self.0.lock().unwrap().asked.iter().map(|(_, body, _)| body.clone()).collect()
    }

    /// How long after the one before each request came, in seconds.
    fn waits(&self) -> Vec<f64> {
        let inner = self.0.lock().unwrap();
        inner.asked.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).collect()
    }

    fn waiting(&self) -> usize {
        self.0.lock().unwrap().waiting.len()
    }

    fn client(&self) -> HttpClient {
        let this = self.clone();
        HttpClient::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let this = this.clone();
            async move {
                let (head, body) = request.into_parts();
                assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/poll"));
                let body = body.collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(this.answer(&body, head.headers))
            }
        }))
    }

    // Tokio's time, which is paused.
    #[allow(clippy::disallowed_methods)]
    fn answer(&self, body: &[u8], headers: http::HeaderMap) -> Response<Full<Bytes>> {
        let mut inner = self.0.lock().unwrap();
        let ask: Value = serde_json::from_slice(body).unwrap();
        inner.asked.push((Instant::now(), ask.clone(), headers));
        if let Some(response) = inner.script.pop_front() {
            return response;
        }
        if !inner.deaf {
            for name in ask["ack"].as_array().into_iter().flatten() {
                inner.waiting.remove(name.as_str().unwrap());
            }
            for name in ask["setErrs"].as_object().into_iter().flat_map(Map::keys) {
                inner.waiting.remove(name);
            }
        }
        let most = usize::try_from(ask["maxEvents"].as_u64().unwrap()).unwrap();
        let sets: Map<_, _> = inner.waiting.clone().into_iter().take(most).collect();
        let more = inner.always_more || inner.waiting.len() > sets.len();
        let body = json!({ "sets": sets, "moreAvailable": more }).to_string();
        Response::new(Full::from(body))
    }
}

fn builder(house: &House, transmitter: &Transmitter) -> SetPollBuilder {
    SetPoll::builder(house.push(), "https://idp.test/poll").http_client(transmitter.client())
}

fn poll(house: &House, transmitter: &Transmitter) -> SetPoll {
    builder(house, transmitter).build().unwrap()
}

#[tokio::test]
async fn a_polled_event_ends_tokens_and_is_acknowledged_after_that() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    let secret = Secret::new("Bearer canary-s3cret");
    let mut poll = builder(&house, &transmitter).authorization(secret).build().unwrap();
    assert!(!format!("{poll:?}").contains("canary"));
    let (alice, bob) = (house.token("alice", "s-1"), house.token("bob", "s-2"));
    assert!(house.accepts(&alice).await && house.accepts(&bob).await);
    transmitter.offer("a", set(&house, json!({})));
    let polled = poll.poll().await.unwrap();
    assert_eq!((polled.acknowledged, polled.refused, polled.more_available), (1, 0, false));
    assert!(!house.accepts(&alice).await && house.accepts(&bob).await);
    assert_eq!(transmitter.waiting(), 1);
    assert_eq!(poll.poll().await.unwrap().acknowledged, 0);
    assert_eq!(transmitter.waiting(), 0);
    let first = json!({ "maxEvents": 32, "returnImmediately": true });
    let second = json!({ "maxEvents": 32, "returnImmediately": true, "ack": ["a"] });
    assert_eq!(transmitter.asked(), [first, second]);
    let headers = transmitter.0.lock().unwrap().asked[0].2.clone();
    assert_eq!(headers["authorization"], "Bearer canary-s3cret");
    assert!(headers["authorization"].is_sensitive());
    assert_eq!(
        (&headers["content-type"], &headers["accept"]),
        (
            &http::HeaderValue::from_static("application/json"),
            &http::HeaderValue::from_static("application/json"),
        )
    );
}

#[tokio::test]
async fn e10_what_cannot_be_taken_is_told_with_its_code_and_the_rest_counts() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    let mut poll = poll(&house, &transmitter);
    transmitter.offer("aud", set(&house, json!({ "aud": "https://other.test" })));
    transmitter.offer("good", set(&house, json!({})));
    transmitter.offer("large", "a".repeat(17_000));
    transmitter.offer("number", json!(7));
    let polled = poll.poll().await.unwrap();
    assert_eq!((polled.acknowledged, polled.refused, house.heard.count()), (1, 3, 1));
    poll.poll().await.unwrap();
    let told = &transmitter.asked()[1];
    assert_eq!(told["ack"], json!(["good"]));
    for (name, err) in
        [("aud", "invalid_audience"), ("large", "invalid_request"), ("number", "invalid_request")]
    {
        assert_eq!(told["setErrs"][name]["err"], err);
        assert!(told["setErrs"][name]["description"].is_string());
    }
    assert_eq!(transmitter.waiting(), 0);
}

#[tokio::test]
async fn e10_an_acknowledgement_that_is_lost_is_said_again_and_the_set_has_one_effect() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    let mut poll = poll(&house, &transmitter);
    transmitter.offer("a", set(&house, json!({})));
    poll.poll().await.unwrap();
    for status in [500, 401, 302] {
        transmitter.next(status, None, "");
        poll.poll().await.unwrap_err();
    }
    transmitter.next(200, None, "{}");
    assert_eq!(poll.poll().await.unwrap_err().kind(), ErrorKind::Malformed("sets"));
    assert_eq!(poll.poll().await.unwrap().acknowledged, 0);
    assert!(transmitter.asked()[1..].iter().all(|ask| ask["ack"] == json!(["a"])));
    assert_eq!((transmitter.waiting(), house.heard.count()), (0, 1));
}

#[tokio::test]
async fn e10_acknowledgements_that_are_refused_are_not_said_for_ever() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    let mut poll = poll(&house, &transmitter);
    transmitter.offer("a", set(&house, json!({})));
    poll.poll().await.unwrap();
    transmitter.next(400, None, "");
    assert_eq!(poll.poll().await.unwrap_err().kind(), ErrorKind::Status(400));
    // It sends the SET again, which is acknowledged again.
    assert_eq!(poll.poll().await.unwrap().acknowledged, 1);
    assert_eq!(transmitter.asked()[2].get("ack"), None);
    poll.poll().await.unwrap();
    assert_eq!((transmitter.waiting(), house.heard.count()), (0, 1));
}

#[tokio::test]
async fn e10_no_more_is_taken_than_was_asked_for_and_no_more_read_than_fits() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    let mut poll = poll(&house, &transmitter);
    let many: Map<_, _> =
        (0..40).map(|n| (n.to_string(), Value::from(set(&house, json!({}))))).collect();
    transmitter.next(200, None, json!({ "sets": many }).to_string());
    assert_eq!(poll.poll().await.unwrap().acknowledged, 32);
    for expected in [32, 16, 8, 4, 2, 1, 1] {
        transmitter.next(200, None, "a".repeat(1024 * 1024 + 1));
        assert_eq!(poll.poll().await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(transmitter.asked().last().unwrap()["maxEvents"], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn e10_more_available_for_ever_and_the_same_set_again_are_bounded() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    transmitter.0.lock().unwrap().always_more = true;
    transmitter.0.lock().unwrap().deaf = true;
    transmitter.offer("a", set(&house, json!({})));
    let polling = tokio::spawn(poll(&house, &transmitter).run());
    tokio::time::sleep(Duration::from_millis(9_999)).await;
    assert_eq!((transmitter.asked().len(), house.heard.count()), (16, 1));
    tokio::time::sleep(Duration::from_millis(1_101)).await;
    assert_eq!((transmitter.asked().len(), house.heard.count()), (32, 1));
    transmitter.0.lock().unwrap().deaf = false;
    tokio::time::sleep(Duration::from_secs(11)).await;
    // It still says that it has more, and has nothing.
    assert_eq!((transmitter.asked().len(), transmitter.waiting()), (33, 0));
    polling.abort();
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_fetched_at_once_and_acknowledged_without_waiting() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    for n in 0..100 {
        transmitter.offer(&n.to_string(), set(&house, json!({})));
    }
    let polling = tokio::spawn(poll(&house, &transmitter).run());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((transmitter.waiting(), house.heard.count()), (0, 100));
    assert_eq!(transmitter.asked().len(), 5);
    polling.abort();
}

#[tokio::test(start_paused = true)]
async fn e10_trouble_is_met_with_longer_and_longer_waits_and_retry_after_is_honoured() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    for status in [401, 401, 500, 503] {
        transmitter.next(status, None, "");
    }
    transmitter.next(429, Some(120), "");
    transmitter.next(503, Some(1), "");
    for _ in 0..6 {
        transmitter.next(401, None, "");
    }
    let polling = tokio::spawn(poll(&house, &transmitter).run());
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let waits = transmitter.waits();
    let expected = [1, 2, 4, 8, 120, 32, 64, 128, 256, 300, 300, 300, 10, 10];
    for (n, (wait, least)) in waits.iter().zip(expected).enumerate() {
        let least = f64::from(least);
        assert!((least..=least * 1.1 + 0.01).contains(wait), "{n}: {wait}, not {least}");
    }
    assert!(waits.len() > expected.len());
    polling.abort();
}

#[tokio::test(start_paused = true)]
async fn e09_what_cannot_be_verified_now_is_neither_acknowledged_nor_refused() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    house.issuer.go_dark();
    transmitter.offer("a", set(&house, json!({})));
    transmitter.offer("b", json!("no token"));
    let mut poll = poll(&house, &transmitter);
    let polled = poll.poll().await.unwrap();
    assert_eq!((polled.acknowledged, polled.refused, house.heard.count()), (0, 1, 0));
    let held_back = polled.held_back.unwrap();
    house.issuer.light_up().unwrap();
    house.pass(held_back.as_secs().max(1));
    assert_eq!(poll.poll().await.unwrap().acknowledged, 1);
    assert_eq!(transmitter.asked()[1].get("ack"), None);
    poll.poll().await.unwrap();
    assert_eq!((transmitter.waiting(), house.heard.count()), (0, 1));
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let (house, transmitter) = (House::new(), Transmitter::default());
    let full = || builder(&house, &transmitter);
    let at = |uri: &str| SetPoll::builder(house.push(), uri).http_client(transmitter.client());
    for (builder, message) in [
        (at("http://idp.test/poll"), "`http://idp.test/poll`"),
        (at("poll"), "`poll`"),
        (full().authorization(Secret::new("")), "authorization `..`"),
        (full().authorization(Secret::new("a\nb")), "authorization `..`"),
        (full().interval(Duration::from_millis(999)), "interval `999ms`"),
        (full().interval(Duration::from_secs(3_601)), "interval `3601s`"),
    ] {
        let error = builder.build().map(drop).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
