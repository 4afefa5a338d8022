//! Back-channel logout: what it ends, and what it leaves.

use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tower_oauth_core::Revocation;
use tower_oauth_test::TokenSpec;

use crate::house::{FORM, House, call, form, logout_token, post, serve};

#[tokio::test]
async fn case_69_a_logout_token_ends_the_cached_verdicts_of_its_session() {
    let house = House::new();
    let logout = house.logout();
    let mine = [house.token("alice", "s-1"), house.token("alice", "s-1")];
    let other_device = house.token("alice", "s-2");
    let of_bob = house.token("bob", "s-3");
    for token in mine.iter().chain([&other_device, &of_bob]) {
        assert!(house.accepts(token).await && house.accepts(token).await, "it is remembered now");
    }
    let told = logout_token(&house, json!({ "sub": "alice", "sid": "s-1" }));
    let answer = post(&logout, FORM, form(&told)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for token in &mine {
        assert!(!house.accepts(token).await);
    }
    assert!(house.accepts(&other_device).await && house.accepts(&of_bob).await);
    // One that was never seen, of the same session; and a new log-in.
    assert!(!house.accepts(&house.token("alice", "s-1")).await);
    assert!(house.accepts(&house.token("alice", "s-4")).await);
}

#[tokio::test]
async fn case_69_e04_a_replayed_logout_token_has_no_second_effect() {
    let house = House::new();
    let logout = house.logout();
    let told = logout_token(&house, json!({ "sid": "s-1" }));
    for _ in 0..5 {
        assert_eq!(post(&logout, FORM, form(&told)).await.status, 200);
    }
    assert_eq!(house.heard.count(), 1);
    // By its name, not by its bytes: it may be signed anew.
    let again = logout_token(&house, json!({ "sid": "s-2", "jti": "same" }));
    let other = logout_token(&house, json!({ "sid": "s-3", "jti": "same" }));
    for token in [again, other] {
        assert_eq!(post(&logout.clone(), FORM, form(&token)).await.status, 200);
    }
    assert_eq!(house.heard.count(), 2);
    assert!(house.accepts(&house.token("alice", "s-3")).await);
    // When it is forgotten, it has expired.
    house.pass(151);
    assert_eq!(post(&logout, FORM, form(&told)).await.status, 400);
    assert_eq!(house.heard.count(), 2);
}

#[tokio::test]
async fn case_69_a_logout_token_with_a_nonce_is_refused() {
    let house = House::new();
    let logout = house.logout();
    let token = house.token("alice", "s-1");
    let told = logout_token(&house, json!({ "sid": "s-1", "nonce": "n-1" }));
    let answer = post(&logout, FORM, form(&told)).await;
    assert_eq!((answer.status, answer.member("error").as_str()), (400, "invalid_request"));
    let why = "the claim nonce belongs to another type of token";
    assert_eq!(answer.member("error_description"), why);
    assert_eq!(house.heard.count(), 0);
    assert!(house.accepts(&token).await);
}

#[tokio::test]
async fn what_a_logout_ends_depends_on_whether_it_names_a_session() {
    let house = House::new();
    let (iss, now) = (house.issuer.issuer(), house.now());
    let session = Revocation::session(&iss, "s-1");
    let subject = Revocation::subject(&iss, "alice").issued_at_or_before(now);
    let sessionless = Revocation::sessionless(&iss, "alice").issued_at_or_before(now);
    for (claims, ended) in [
        (json!({ "sid": "s-1" }), vec![session.clone()]),
        (json!({ "sid": "s-1", "sub": "alice" }), vec![session, sessionless]),
        (json!({ "sid": null, "sub": "alice" }), vec![subject]),
    ] {
        let before = house.heard.count();
        let told = logout_token(&house, claims.clone());
        assert_eq!(post(&house.logout(), FORM, form(&told)).await.status, 200);
        assert_eq!(house.heard.all()[before..], ended, "{claims}");
    }
}

#[tokio::test]
async fn a_token_that_names_no_session_ends_with_any_of_its_subject() {
    let house = House::new();
    let sessionless = house.issuer.mint(TokenSpec::new().subject("alice"));
    let of_bob = house.issuer.mint(TokenSpec::new().subject("bob"));
    assert!(house.accepts(&sessionless).await && house.accepts(&of_bob).await);
    let told = logout_token(&house, json!({ "sid": "s-1", "sub": "alice" }));
    assert_eq!(post(&house.logout(), FORM, form(&told)).await.status, 200);
    assert!(!house.accepts(&sessionless).await && house.accepts(&of_bob).await);
    house.pass(1);
    assert!(house.accepts(&house.issuer.mint(TokenSpec::new().subject("alice"))).await);
}

#[tokio::test]
async fn e06_a_logout_that_arrives_after_the_next_log_in_does_not_touch_it() {
    let house = House::new();
    let old = house.token("alice", "s-1");
    let told = logout_token(&house, json!({ "sid": null, "sub": "alice" }));
    house.pass(5);
    let new = house.token("alice", "s-2");
    assert_eq!(post(&house.logout(), FORM, form(&told)).await.status, 200);
    assert!(!house.accepts(&old).await && house.accepts(&new).await);
}

#[tokio::test]
async fn what_else_is_in_the_form_is_ignored() {
    let house = House::new();
    let logout = house.logout();
    for wrap in [
        |token: &str| format!("state=x&logout_token={token}&logout_hint=y"),
        |token: &str| format!("&&logout_token={token}&"),
        |token: &str| format!("logout%5Ftoken={}", token.replace('.', "%2E")),
    ] {
        let body = wrap(&logout_token(&house, json!({})));
        let kind = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
        assert_eq!(post(&logout, kind, body).await.status, 200);
    }
}

#[tokio::test]
async fn clients_that_share_the_service_are_each_told() {
    let house = House::new();
    let logout = tower_oauth_events::BackchannelLogout::issuer(house.issuer.issuer())
        .client_ids(["app", "kiosk"])
        .sink(house.heard.clone())
        .http_client(tower_oauth_server::HttpClient::new(house.issuer.service()))
        .clock(house.clock.clone())
        .build()
        .unwrap();
    for (aud, status) in
        [(json!("app"), 200), (json!(["kiosk"]), 200), (json!("inventory-app"), 400)]
    {
        let told = logout_token(&house, json!({ "aud": aud }));
        assert_eq!(post(&logout, FORM, form(&told)).await.status, status, "{aud}");
    }
}

#[tokio::test]
async fn an_untyped_logout_token_is_taken_only_where_that_is_asked_for() {
    let house = House::new();
    let lenient = house.logout_builder().accept_untyped().build().unwrap();
    for (typ, strictly, leniently) in [
        (Some("logout+jwt"), 200, 200),
        (Some("JWT"), 400, 200),
        (None, 400, 200),
        (Some("at+jwt"), 400, 400),
        (Some("secevent+jwt"), 400, 400),
    ] {
        let spec = || {
            let spec = crate::house::logout_spec(&house, json!({}));
            typ.map_or_else(
                || spec.clone().without_header("typ"),
                |typ| spec.clone().header("typ", typ),
            )
        };
        for (receiver, status) in [(&house.logout(), strictly), (&lenient, leniently)] {
            let told = house.issuer.mint(spec());
            assert_eq!(post(receiver, FORM, form(&told)).await.status, status, "{typ:?}");
        }
    }
}

#[tokio::test]
async fn it_serves_on_a_socket_with_plain_hyper() {
    let house = House::new();
    let address = serve(TowerToHyperService::new(house.logout())).await;
    let token = house.token("alice", "s-1");
    assert!(house.accepts(&token).await);
    let told = form(&logout_token(&house, json!({ "sid": "s-1" })));
    assert_eq!(call(address, "GET", FORM, "").await.status(), 400);
    assert!(house.accepts(&token).await);
    let response = call(address, "POST", FORM, &told).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (200, &"no-store".parse().unwrap())
    );
    assert!(!house.accepts(&token).await);
}
