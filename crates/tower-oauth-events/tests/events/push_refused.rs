//! Pushed security events: what is refused, with which code, and that nothing comes of it.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower_oauth_core::Secret;
use tower_oauth_events::SetPush;
use tower_oauth_test::{ScriptedIssuer, Signature, TokenSpec};

use crate::house::{
    Answer, CAEP, FORM, House, LOGOUT, RECEIVER, SET, logout_token, post, public_key_bytes, send,
    set, set_spec,
};

async fn untouched(house: &House, answer: &Answer, err: &str, name: &str) {
    assert_eq!((answer.status, answer.member("err").as_str()), (400, err), "{name}");
    assert!(!answer.member("description").is_empty(), "{name}");
    assert_eq!(house.heard.count(), 0, "{name}");
    assert!(house.accepts(&house.token("alice", "s-1")).await, "{name}");
}

#[tokio::test]
async fn e01_a_forged_event_is_400_with_its_code_and_has_no_effect() {
    let house = House::new();
    let push = house.push();
    let other = ScriptedIssuer::builder().clock(house.clock.clone()).build().unwrap();
    let good = || set_spec(&house, json!({}));
    let key = "invalid_key";
    let forged: Vec<(&str, &str, String)> = vec![
        (
            "none",
            "invalid_request",
            house.issuer.mint(good().header("alg", "none").signature(Signature::Empty)),
        ),
        ("none, and signed", key, house.issuer.mint(good().header("alg", "none"))),
        ("HMAC with the public key", key, {
            let secret = Signature::Hmac(public_key_bytes(&house).into());
            house.issuer.mint(good().header("alg", "HS256").signature(secret))
        }),
        ("a stranger's key", key, house.issuer.mint(good().signature(Signature::Stranger))),
        ("no key at all", key, house.issuer.mint(good().signature(Signature::Random))),
        (
            "another issuer's key under the same name",
            key,
            other.mint(good().issuer(&house.issuer.issuer())),
        ),
        ("an unknown key", key, house.issuer.mint(good().header("kid", "unknown"))),
        (
            "another issuer",
            "invalid_issuer",
            house.issuer.mint(good().issuer("https://other.test")),
        ),
        ("a key that comes along", "invalid_request", {
            let jwk: Value = other.jwks()["keys"][0].clone();
            other.mint(good().header("jwk", jwk))
        }),
    ];
    for (name, err, told) in forged {
        untouched(&house, &post(&push, SET, told).await, err, name).await;
    }
    assert_eq!((push.counts().refused, push.counts().acknowledged), (9, 0));
}

#[tokio::test]
async fn e03_e05_an_event_that_is_not_as_it_should_be_is_400_with_its_code() {
    let house = House::new();
    let push = house.push();
    let now = house.now();
    let revoked = format!("{CAEP}session-revoked");
    let at = |time: Value| json!({ "events": { &revoked: { "event_timestamp": time } } });
    let of = |sub_id: Value| json!({ "sub_id": sub_id });
    let many: serde_json::Map<_, _> =
        (0..17).map(|n| (format!("https://e.test/{n}"), json!({}))).collect();
    let aliases: Vec<_> = (0..17).map(|_| json!({ "format": "opaque", "id": "x" })).collect();
    let request = "invalid_request";
    for (claims, err) in [
        (json!({ "exp": now + 60 }), request),
        (json!({ "sub": "alice" }), request),
        (json!({ "sub_id": null }), request),
        (json!({ "sub_id": "alice" }), request),
        (json!({ "jti": null }), request),
        (json!({ "iat": null }), request),
        (json!({ "iat": now + 31 }), request),
        (json!({ "events": null }), request),
        (json!({ "events": {} }), request),
        (json!({ "events": many }), request),
        (json!({ "events": { &revoked: null } }), request),
        (json!({ "events": { &revoked: true } }), request),
        (at(json!(now + 31)), request),
        (at(json!(now * 1000)), request),
        (at(json!("now")), request),
        (at(json!(-1)), request),
        (of(json!({})), request),
        (of(json!({ "format": 1 })), request),
        (of(json!({ "format": "iss_sub", "sub": "alice" })), request),
        (of(json!({ "format": "iss_sub", "iss": house.issuer.issuer(), "sub": "" })), request),
        (of(json!({ "format": "opaque", "id": ["alice"] })), request),
        (of(json!({ "format": "aliases", "identifiers": "alice" })), request),
        (of(json!({ "format": "aliases", "identifiers": aliases })), request),
        (of(json!({ "format": "aliases", "identifiers": [1] })), request),
        (of(json!({ "format": "complex", "session": "s-1" })), request),
        (of(json!({ "format": "complex", "session": { "format": "opaque" } })), request),
        (json!({ "aud": "https://other.test" }), "invalid_audience"),
        (json!({ "aud": null }), request),
    ] {
        let told = set(&house, claims.clone());
        untouched(&house, &post(&push, SET, told).await, err, &claims.to_string()).await;
    }
    // One bad event of two, and the good one has no effect either.
    let told = set(
        &house,
        json!({ "events": {
        &revoked: { "event_timestamp": now },
        format!("{CAEP}token-claims-change"): { "event_timestamp": "now" },
    } }),
    );
    untouched(&house, &post(&push, SET, told).await, request, "half of it").await;
    for aud in [json!(RECEIVER), json!(["https://other.test", RECEIVER])] {
        assert_eq!(post(&push, SET, set(&house, json!({ "aud": aud }))).await.status, 202);
    }
}

#[tokio::test]
async fn e02_no_other_token_passes_for_an_event() {
    let house = House::new();
    let push = house.push();
    let access = || TokenSpec::new().subject("alice").audience(RECEIVER);
    let event = || set_spec(&house, json!({}));
    for (name, told) in [
        ("an access token", house.issuer.mint(access())),
        ("one that lies about its type", house.issuer.mint(access().header("typ", "secevent+jwt"))),
        ("an ID token", house.issuer.mint(access().header("typ", "JWT").claim("nonce", "n"))),
        ("a logout token", logout_token(&house, json!({ "aud": RECEIVER }))),
        ("one that lies about its type", {
            let logout = json!({ "events": { LOGOUT: {} }, "sid": "s-1", "exp": house.now() + 60 });
            set(&house, logout)
        }),
        ("an event without a type", house.issuer.mint(event().without_header("typ"))),
        ("an event as JWT", house.issuer.mint(event().header("typ", "JWT"))),
    ] {
        untouched(&house, &post(&push, SET, told).await, "invalid_request", name).await;
    }
    // And the reverse.
    for claims in
        [json!({}), json!({ "aud": "inventory-app", "sid": "s-1", "exp": house.now() + 60 })]
    {
        let answer =
            post(&house.logout(), FORM, format!("logout_token={}", set(&house, claims))).await;
        assert_eq!((answer.status, house.heard.count()), (400, 0));
    }
}

#[tokio::test]
async fn the_transmitter_has_to_show_what_it_was_given() {
    let house = House::new();
    let secret = Secret::new("Bearer canary-s3cret");
    let push = house.push_builder().authorization(secret).build().unwrap();
    assert!(!format!("{push:?}").contains("canary"));
    let request = |values: &[&str]| {
        let request = Request::post("/events").header("content-type", SET);
        let add =
            |request: http::request::Builder, value: &&str| request.header("authorization", *value);
        values.iter().fold(request, add).body(Body::from(set(&house, json!({})))).unwrap()
    };
    for values in [
        &[][..],
        &["Bearer other"],
        &["bearer canary-s3cret"],
        &["Bearer canary-s3cre"],
        &["Bearer canary-s3crett"],
        &[""],
        &["Bearer canary-s3cret", "Bearer canary-s3cret"],
    ] {
        let answer = send(&push, request(values)).await;
        untouched(&house, &answer, "authentication_failed", &values.join("|")).await;
    }
    let keys = house.issuer.calls(tower_oauth_test::Endpoint::Jwks);
    assert!(keys <= 1, "nobody's keys were fetched but the resource server's");
    assert_eq!(send(&push, request(&["Bearer canary-s3cret"])).await.status, 202);
    assert_eq!(house.heard.count(), 1);
}

#[tokio::test]
async fn a_bad_push_request_has_no_effect() {
    let house = House::new();
    let push = house.push();
    let token = || set(&house, json!({}));
    for (name, kind, body) in [
        ("a form", FORM, format!("set={}", token())),
        ("another type", "application/jwt", token()),
        ("no type", "", token()),
        ("nothing", SET, String::new()),
        ("half a token", SET, token().split_at(100).0.to_owned()),
        ("two tokens", SET, format!("{}\n{}", token(), token())),
        ("JSON", SET, json!({ "set": token() }).to_string()),
        ("e08 10 MB", SET, "a".repeat(10_000_000)),
        ("a long one", SET, format!("{}.{}.{}", "a".repeat(3000), "b".repeat(3000), "c")),
    ] {
        untouched(&house, &post(&push, kind, body).await, "invalid_request", name).await;
    }
    let bytes = post(&push, SET, b"\xff\xfe.a.b".to_vec()).await;
    untouched(&house, &bytes, "invalid_request", "no text").await;
    for method in ["GET", "PUT", "HEAD"] {
        let request = Request::builder().method(method).uri("/events").header("content-type", SET);
        let answer = send(&push, request.body(Body::from(token())).unwrap()).await;
        assert_eq!((answer.status, house.heard.count()), (405, 0), "{method}");
    }
    let kind = "application/SECEVENT+jwt; charset=us-ascii";
    assert_eq!(post(&push, kind, token()).await.status, 202);
}

#[tokio::test]
async fn e09_without_keys_it_is_503_and_the_transmitter_comes_again() {
    let house = House::new();
    let push = house.push();
    house.issuer.go_dark();
    let told = set(&house, json!({}));
    let answer = post(&push, SET, told.clone()).await;
    assert_eq!((answer.status, house.heard.count()), (503, 0));
    house.issuer.light_up().unwrap();
    house.pass(answer.retry_after.unwrap().parse().unwrap());
    assert_eq!(post(&push, SET, told).await.status, 202);
    assert_eq!(house.heard.count(), 1);
}

#[tokio::test]
async fn e08_a_flood_of_good_events_is_bounded_in_what_is_kept_and_ends_no_others() {
    let house = House::new();
    let list = tower_oauth_server::Revocations::builder().capacity(100).build().unwrap();
    let push = house.push_builder().sink(list.clone()).build().unwrap();
    for n in 0..1_000 {
        let sub_id = json!({ "format": "opaque", "id": format!("u{n}") });
        assert_eq!(post(&push, SET, set(&house, json!({ "sub_id": sub_id }))).await.status, 202);
    }
    assert_eq!(push.counts().revocations, 1_000);
    assert!(list.names() <= 100 && list.collapsed() >= 900);
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let house = House::new();
    let full = || house.push_builder();
    let bare = |audience: &str| SetPush::transmitter(house.issuer.issuer()).audience(audience);
    for (builder, message) in [
        (bare("x"), "sink `none`: is told nothing"),
        (bare("").sink(house.heard.clone()), "audience ``: is empty"),
        (full().token_issuer("tokens"), "token_issuer `tokens`"),
        (full().authorization(Secret::new("")), "authorization `..`: is no field value"),
        (full().authorization(Secret::new("a\nb")), "authorization `..`: is no field value"),
        (full().max_concurrency(10_001), "max_concurrency `10001`"),
    ] {
        let error = builder.build().map(drop).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
