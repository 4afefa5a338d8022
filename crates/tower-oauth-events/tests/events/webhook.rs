//! Plain webhooks: who is believed, and what dies.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tower_oauth_core::{Revocation, Secret};
use tower_oauth_events::{Webhook, WebhookBuilder};

use crate::house::{Answer, House, call, send, serve};

const SECRET: &str = "canary-secret-of-28-bytes-ok";
const JSON: &str = "application/json";

fn builder(house: &House) -> WebhookBuilder {
    Webhook::issuer(house.issuer.issuer())
        .secret(Secret::new(SECRET))
        .sink(house.list.clone())
        .sink(house.heard.clone())
        .clock(house.clock.clone())
}

fn webhook(house: &House) -> Webhook {
    builder(house).build().unwrap()
}

fn signature(secret: &str, id: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

fn request(id: &str, at: i64, signature: &str, body: &str) -> Request<Body> {
    Request::post("/events")
        .header("content-type", JSON)
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// As the issuer sends it.
async fn told(webhook: &Webhook, id: &str, at: i64, body: &Value) -> Answer {
    let body = body.to_string();
    send(webhook, request(id, at, &signature(SECRET, id, at, &body), &body)).await
}

fn one(entry: Value) -> Value {
    json!({ "revoked": [entry] })
}

#[tokio::test]
async fn a_webhook_ends_the_remembered_tokens_of_a_session_before_it_is_answered() {
    let house = House::new();
    let webhook = webhook(&house);
    let (mine, other) = (house.token("alice", "s-1"), house.token("alice", "s-2"));
    assert!(house.accepts(&mine).await && house.accepts(&other).await);
    let answer = told(&webhook, "m-1", house.now(), &one(json!({ "session": "s-1" }))).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert!(!house.accepts(&mine).await && house.accepts(&other).await);
}

#[tokio::test]
async fn e06_each_kind_of_entry_ends_what_it_says_and_no_token_of_a_later_log_in() {
    let house = House::new();
    let webhook = webhook(&house);
    let (iss, now) = (house.issuer.issuer(), house.now());
    for (n, (entry, expected)) in [
        (json!({ "token_id": "j" }), Revocation::token_id(&iss, "j")),
        (json!({ "session": "s" }), Revocation::session(&iss, "s")),
        (json!({ "subject": "a" }), Revocation::subject(&iss, "a").issued_at_or_before(now)),
        (json!({ "client": "c" }), Revocation::client(&iss, "c").issued_at_or_before(now)),
        (json!({ "all": true }), Revocation::of_issuer(&iss).issued_at_or_before(now)),
        (
            json!({ "subject": "a", "issued_at_or_before": now - 9 }),
            Revocation::subject(&iss, "a").issued_at_or_before(now - 9),
        ),
        (
            json!({ "session": "s", "issued_at_or_before": 7 }),
            Revocation::session(&iss, "s").issued_at_or_before(7),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = told(&webhook, &format!("m-{n}"), now, &one(entry.clone())).await;
        assert_eq!((answer.status, house.heard.all().last()), (204, Some(&expected)), "{entry}");
    }
    assert_eq!(house.heard.count(), 7);
}

#[tokio::test]
async fn a_restarted_issuer_ends_all_of_its_tokens_and_the_new_ones_live() {
    let house = House::new();
    let webhook = webhook(&house);
    let old = house.token("alice", "s-1");
    assert!(house.accepts(&old).await);
    assert_eq!(told(&webhook, "m", house.now(), &one(json!({ "all": true }))).await.status, 204);
    assert!(!house.accepts(&old).await);
    house.pass(1);
    assert!(house.accepts(&house.token("alice", "s-1")).await);
}

#[tokio::test]
async fn e01_what_is_not_signed_by_the_issuer_is_401_and_ends_nothing() {
    let house = House::new();
    let webhook = webhook(&house);
    let now = house.now();
    let body = one(json!({ "all": true })).to_string();
    let good = signature(SECRET, "m", now, &body);
    for (name, request) in [
        ("another secret", {
            let other = signature("another-secret-of-28-bytes-x", "m", now, &body);
            request("m", now, &other, &body)
        }),
        ("another id", request("n", now, &good, &body)),
        ("another time", request("m", now - 1, &good, &body)),
        ("another body", request("m", now, &good, &body.replace("all", "any"))),
        ("a dot moved", request("m.", now, &good, &body)),
        ("another scheme", request("m", now, &good.replace("v1,", "v1a,"), &body)),
        ("no signature", request("m", now, "none", &body)),
        ("cut short", request("m", now, &good[..good.len() - 2], &body)),
        ("too many before it", {
            let before = format!("v1,{} ", "A".repeat(43) + "=").repeat(8);
            request("m", now, &(before + &good), &body)
        }),
    ] {
        let answer = send(&webhook, request).await;
        assert_eq!((answer.status, house.heard.count()), (401, 0), "{name}: {}", answer.body);
        assert!(!format!("{answer:?} {webhook:?} {:?}", builder(&house)).contains("canary"));
    }
    assert_eq!(send(&webhook, request("m", now, &good, &body)).await.status, 204);
}

#[tokio::test]
async fn e04_e05_a_webhook_counts_once_and_only_within_its_window() {
    let house = House::new();
    let webhook = webhook(&house);
    let sent = house.now();
    let body = one(json!({ "session": "s-1" }));
    for (off, status) in [(-301, 401), (301, 401), (-300, 204), (300, 204)] {
        let answer = told(&webhook, &format!("at{off}"), sent + off, &body).await;
        assert_eq!(answer.status, status, "{off}");
    }
    assert_eq!(house.heard.count(), 2);
    for seconds in [0, 299, 301] {
        house.pass(seconds);
        // The very bytes again, from as far ahead as is let in.
        assert_eq!(told(&webhook, "at300", sent + 300, &body).await.status, 204, "{seconds}");
    }
    // Sent again by its sender, at a new time.
    assert_eq!(told(&webhook, "at300", house.now(), &body).await.status, 204);
    assert_eq!(house.heard.count(), 2);
    house.pass(1);
    assert_eq!(told(&webhook, "at300", sent + 300, &body).await.status, 401);
}

#[tokio::test]
async fn a_body_that_is_not_as_it_should_be_is_400_and_nothing_of_it_has_an_effect() {
    let house = House::new();
    let webhook = webhook(&house);
    let now = house.now();
    let many: Vec<_> = (0..1_001).map(|n| json!({ "session": n.to_string() })).collect();
    let good = json!({ "session": "s" });
    for body in [
        json!([]),
        json!({}),
        json!({ "revoked": good }),
        json!({ "revoked": [] }),
        json!({ "revoked": many }),
        json!({ "revoked": [good], "issuer": "https://other.test" }),
        json!({ "revoked": [good, "s"] }),
        json!({ "revoked": [good, {}] }),
        json!({ "revoked": [good, { "issued_at_or_before": 1 }] }),
        json!({ "revoked": [good, { "session": "s", "subject": "a" }] }),
        json!({ "revoked": [good, { "session": "" }] }),
        json!({ "revoked": [good, { "session": 1 }] }),
        json!({ "revoked": [good, { "user": "a" }] }),
        json!({ "revoked": [good, { "all": false }] }),
        json!({ "revoked": [good, { "all": "*" }] }),
        json!({ "revoked": [good, { "subject": "a", "issued_at": 1 }] }),
        json!({ "revoked": [good, { "subject": "a", "issued_at_or_before": now + 31 }] }),
        json!({ "revoked": [good, { "subject": "a", "issued_at_or_before": now * 1000 }] }),
        json!({ "revoked": [good, { "subject": "a", "issued_at_or_before": -1 }] }),
        json!({ "revoked": [good, { "subject": "a", "issued_at_or_before": "1" }] }),
    ] {
        let answer = told(&webhook, "m", now, &body).await;
        assert_eq!((answer.status, house.heard.count()), (400, 0), "{body}");
    }
    // The id is not used up by that.
    assert_eq!(told(&webhook, "m", now, &one(good)).await.status, 204);
}

#[tokio::test]
async fn a_request_that_is_not_as_it_should_be_has_no_effect() {
    let house = House::new();
    let webhook = webhook(&house);
    let now = house.now();
    let body = one(json!({ "session": "s" })).to_string();
    let good = || request("m", now, &signature(SECRET, "m", now, &body), &body);
    let with = |name: &'static str, value: &str| {
        let mut request = good();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let without = |name: &str| {
        let mut request = good();
        request.headers_mut().remove(name);
        request
    };
    let twice = |name: &'static str| {
        let mut request = good();
        let value = request.headers()[name].clone();
        request.headers_mut().append(name, value);
        request
    };
    let get = {
        let mut request = good();
        *request.method_mut() = http::Method::GET;
        request
    };
    for (request, status) in [
        (with("content-type", "text/plain"), 400),
        (without("content-type"), 400),
        (without("webhook-id"), 400),
        (without("webhook-timestamp"), 400),
        (without("webhook-signature"), 400),
        (twice("webhook-id"), 400),
        (twice("webhook-timestamp"), 400),
        (twice("webhook-signature"), 400),
        (with("webhook-id", ""), 400),
        (with("webhook-id", &"m".repeat(257)), 400),
        (with("webhook-timestamp", "now"), 400),
        (with("webhook-timestamp", "-1"), 400),
        (with("webhook-timestamp", "+1"), 400),
        (with("webhook-timestamp", "9999999999999999999"), 400),
        (with("webhook-signature", &"v".repeat(3_000)), 400),
        (get, 405),
        (good().map(|_| Body::from("a".repeat(10_000_000))), 413),
    ] {
        let answer = send(&webhook, request).await;
        assert_eq!((answer.status, house.heard.count()), (status, 0), "{}", answer.body);
    }
    assert_eq!(send(&webhook, good()).await.status, 204);
}

#[tokio::test]
async fn a_secret_can_be_changed_while_both_are_in_use() {
    let house = House::new();
    let new = "the-next-secret-of-28-bytes!";
    let webhook = builder(&house).also_secret(Secret::new(new)).build().unwrap();
    let (now, body) = (house.now(), one(json!({ "session": "s" })).to_string());
    for (n, secret) in [SECRET, new].into_iter().enumerate() {
        let id = n.to_string();
        let signed = signature(secret, &id, now, &body);
        assert_eq!(send(&webhook, request(&id, now, &signed, &body)).await.status, 204);
    }
    assert_eq!(house.heard.count(), 2);
}

#[tokio::test]
async fn it_serves_on_a_socket_without_axum() {
    let house = House::new();
    let address = serve(TowerToHyperService::new(webhook(&house))).await;
    let answer = call(address, "POST", JSON, "{}").await;
    assert_eq!((answer.status().as_u16(), house.heard.count()), (400, 0));
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let house = House::new();
    let secret = || Secret::new(SECRET);
    let full = || builder(&house);
    for (builder, message) in [
        (Webhook::issuer("http://idp.test").secret(secret()).sink(house.heard.clone()), "issuer"),
        (Webhook::issuer("https://idp.test").secret(secret()), "sink `none`: is told nothing"),
        (full().also_secret(Secret::new("short")), "secret `..`: is shorter than 24 bytes"),
        (full().also_secret(Secret::new("whsec_c2hvcnQ=")), "secret `..`: is shorter"),
        (full().also_secret(Secret::new("whsec_!")), "secret `..`: is not Base64"),
        (
            full()
                .also_secret(secret())
                .also_secret(secret())
                .also_secret(secret())
                .also_secret(secret()),
            "also_secret `..`",
        ),
        (full().window(Duration::from_secs(9)), "window `9s`"),
        (full().window(Duration::from_secs(3_601)), "window `3601s`"),
        (full().max_concurrency(0), "max_concurrency `0`"),
    ] {
        let error = builder.build().map(drop).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
