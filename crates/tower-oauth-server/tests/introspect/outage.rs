//! The issuer is dark, busy, or will not have us.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{ServiceExt, service_fn};
use tower_oauth_core::{EndpointUri, ErrorKind};
use tower_oauth_endpoint::{BoxError, HttpClient};
use tower_oauth_server::Outage;
use tower_oauth_test::{Endpoint, Fault, TokenSpec};

use crate::fixture::{House, inactive, introspection, judge, judge_now, knock, outage};

const GRACE: Outage = Outage::Grace(Duration::from_secs(120));

#[tokio::test]
async fn case_68_each_route_says_what_happens_while_the_issuer_is_dark() {
    let house = House::new();
    let graceful = house.tokens.with_outage(GRACE).unwrap();
    let token = house.token();
    assert!(house.accepts(&token).await);
    house.issuer.go_dark();
    house.pass(59.0);
    assert!(judge_now(&house.tokens, &token).is_ok(), "the verdict is fresh");
    house.pass(1.0);
    let closed = knock(&house.tokens, &token).await.unwrap_err();
    assert_eq!(outage(&closed).0, ErrorKind::Transport);
    assert_eq!(knock(&graceful, &token).await, Ok("test-client".into()));
    house.pass(119.0);
    assert!(judge(&graceful, &token).await.is_ok());
    // The bound.
    house.pass(1.0);
    let rejection = knock(&graceful, &token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Transport);
    // And it heals within the pause.
    house.issuer.light_up().unwrap();
    house.pass(10.0);
    assert!(knock(&house.tokens, &token).await.is_ok());
}

#[tokio::test]
async fn case_68_grace_is_for_tokens_that_were_active_and_whose_time_has_not_come() {
    let house = House::new();
    let graceful = house.tokens.with_outage(GRACE).unwrap();
    let short = house.issuer.mint(TokenSpec::new().expires_in(Duration::from_secs(90)));
    let endless = house.issuer.mint(TokenSpec::new().without_claim("exp"));
    let revoked = house.token();
    let (unseen, other) = (house.token(), house.issuer.mint(TokenSpec::new().audience("payroll")));
    for token in [&short, &endless, &revoked] {
        assert!(judge(&graceful, token).await.is_ok());
    }
    assert!(judge(&graceful, &other).await.is_err());
    // What was last heard of it counts, and not what was heard before.
    house.pass(60.0);
    house.issuer.revoke(&revoked);
    assert_eq!(judge(&graceful, &revoked).await.unwrap_err(), inactive());
    house.issuer.go_dark();
    assert!(judge(&graceful, &short).await.is_ok());
    let lasting = judge(&graceful, &endless).await.unwrap();
    let left = lasting.principal.expires_at.as_secs() as i64
        - tower_oauth_core::Clock::unix_seconds(&house.clock);
    assert_eq!(left, 120, "it ends with the grace");
    let principal = &lasting.principal;
    assert_eq!(principal.valid_until, principal.expires_at, "and so do its streams");
    house.pass(30.0);
    for token in [&short, &revoked, &unseen] {
        let rejection = judge(&graceful, token).await.unwrap_err();
        assert_eq!(outage(&rejection).0, ErrorKind::Transport, "{rejection:?}");
    }
    let rejection = judge(&graceful, &other).await.unwrap_err();
    assert_eq!(rejection.code(), "wrong_audience", "grace does not widen the rules");
}

#[tokio::test(start_paused = true)]
async fn case_68_that_the_issuer_will_not_have_us_is_no_outage() {
    for (fault, graceful) in [
        (Fault::Status(500), true),
        (Fault::Status(429), true),
        (Fault::Hang, true),
        (Fault::Reset, true),
        (Fault::Garbage("<html>".into()), true),
        (Fault::Status(401), false),
        (Fault::Status(403), false),
        (Fault::oauth_error("invalid_client"), false),
        (Fault::Status(404), false),
    ] {
        let house = House::with(|issuer| issuer.opaque_tokens(), |tokens| tokens.outage(GRACE));
        let token = house.token();
        assert!(house.accepts(&token).await);
        house.pass(60.0);
        house.issuer.fault(Endpoint::Introspection, fault.clone());
        assert_eq!(house.accepts(&token).await, graceful, "{fault:?}");
        let unseen = house.judge("unseen").await.unwrap_err();
        assert_eq!(unseen.status(), 503, "{fault:?}");
    }
}

#[tokio::test]
async fn case_64_a_busy_issuer_is_left_alone_for_as_long_as_it_asks() {
    for status in [429, 503] {
        let house = House::new();
        let known = house.token();
        assert!(house.accepts(&known).await);
        let fault = Fault::StatusWithRetryAfter { status, retry_after: "17".into() };
        house.issuer.fault(Endpoint::Introspection, fault).times(1);
        let first = house.judge(&house.token()).await.unwrap_err();
        assert_eq!(outage(&first), (ErrorKind::Status(status), 17));
        house.pass(7.0);
        for n in 0..100 {
            let rejection = judge_now(&house.tokens, &format!("t-{n}")).unwrap_err();
            assert_eq!(outage(&rejection), (ErrorKind::Status(status), 10));
        }
        assert!(judge_now(&house.tokens, &known).is_ok(), "what is known needs no issuer");
        assert_eq!(house.calls(), 2);
        house.pass(10.0);
        assert!(house.accepts(&house.token()).await);
        assert_eq!(house.calls(), 3);
    }
}

#[tokio::test]
async fn case_64_ten_years_are_five_minutes() {
    let house = House::new();
    let fault = Fault::StatusWithRetryAfter { status: 429, retry_after: "315360000".into() };
    house.issuer.fault(Endpoint::Introspection, fault).times(1);
    assert_eq!(outage(&house.judge("t").await.unwrap_err()).1, 300);
    house.pass(300.0);
    assert!(house.accepts(&house.token()).await);
}

#[tokio::test]
async fn a_dark_issuer_is_not_asked_per_request() {
    let house = House::new();
    assert!(house.accepts(&house.token()).await);
    house.issuer.reset_calls();
    house.issuer.fault(Endpoint::Introspection, Fault::Status(503));
    for second in 0..3600 {
        for n in 0..3 {
            let rejection = house.judge(&format!("t-{second}-{n}")).await.unwrap_err();
            assert_eq!(outage(&rejection).0, ErrorKind::Status(503));
        }
        house.pass(1.0);
    }
    // Three at first, then in 1, 2, 4, 8 s and every 10 s.
    assert!((360..=366).contains(&house.calls()), "{}", house.calls());
    house.issuer.heal(Endpoint::Introspection);
    house.pass(10.0);
    for _ in 0..3 {
        assert!(house.accepts(&house.token()).await);
    }
}

/// The way to an issuer that takes questions at another place, from some moment on.
fn with_a_move(house: &House, gone: Option<u16>) -> (HttpClient, Arc<AtomicBool>) {
    let moved = Arc::new(AtomicBool::new(false));
    let has_moved = Arc::clone(&moved);
    let old = EndpointUri::parse(&house.issuer.url(Endpoint::Introspection)).unwrap();
    let issuer = house.issuer.service();
    let http = service_fn(move |mut request: Request<Full<Bytes>>| {
        let (issuer, has_moved) = (issuer.clone(), has_moved.load(Ordering::SeqCst));
        let is_old = request.uri().path() == old.as_uri().path();
        if request.uri().path() == "/new" {
            *request.uri_mut() = old.as_uri().clone();
        }
        async move {
            match gone {
                None if is_old && has_moved => Err(BoxError::from("nobody is there")),
                Some(status) if is_old && has_moved => {
                    let response = Response::builder().status(status);
                    let body = Full::default().map_err(|never: Infallible| match never {});
                    Ok(response.header("location", "/new").body(body.boxed_unsync()).unwrap())
                }
                _ => {
                    let answer = issuer.oneshot(request).await.map_err(BoxError::from)?;
                    Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()))
                }
            }
        }
    });
    (HttpClient::new(http), moved)
}

#[tokio::test]
async fn an_endpoint_that_has_moved_is_found_again_and_nobody_is_refused() {
    for gone in [None, Some(301), Some(404), Some(405), Some(410)] {
        let house = House::new();
        let (http, moved) = with_a_move(&house, gone);
        let tokens = introspection(&house.issuer, &house.clock).http_client(http).build().unwrap();
        assert!(judge(&tokens, &house.token()).await.is_ok());
        house.pass(60.0);
        moved.store(true, Ordering::SeqCst);
        // As long as the metadata name the old place it cannot be found, and is not looked for by every request.
        for _ in 0..2 {
            assert_eq!(judge(&tokens, &house.token()).await.unwrap_err().status(), 503);
        }
        assert_eq!(house.issuer.calls(Endpoint::Discovery), 2);
        let issuer = house.issuer.issuer();
        let metadata = json!({"issuer": issuer, "introspection_endpoint": format!("{issuer}/new")});
        house.issuer.fault(Endpoint::Discovery, Fault::Garbage(metadata.to_string().into()));
        house.pass(10.0);
        for _ in 0..5 {
            assert!(judge(&tokens, &house.token()).await.is_ok(), "{gone:?}");
        }
        assert_eq!(house.issuer.calls(Endpoint::Discovery), 3);
    }
}

#[tokio::test]
async fn discovery_is_repeated_hourly_and_its_failure_harms_nobody() {
    let house = House::new();
    assert!(house.accepts(&house.token()).await);
    house.issuer.fault(Endpoint::Discovery, Fault::Status(500));
    house.pass(3599.0);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 1);
    house.pass(1.0);
    for _ in 0..5 {
        assert!(house.accepts(&house.token()).await);
    }
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 2, "once a minute");
    house.pass(60.0);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 3);
}
