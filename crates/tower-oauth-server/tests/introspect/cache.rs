//! What is remembered, for how long, and what each hit looks at.

use std::time::Duration;

use serde_json::json;
use tower_oauth_core::Clock;
use tower_oauth_server::{InvalidToken, RequireScopeLayer, RequireTokenLayer};
use tower_oauth_test::{Endpoint, TokenSpec};

use crate::fixture::{House, inactive, introspection, invalid, judge, judge_now, knock};

#[tokio::test]
async fn case_62_a_verdict_ends_with_its_token_or_after_the_configured_time() {
    // (exp from now, cache_ttl, the second at which the issuer is asked again)
    for (exp, ttl, asked_again) in [
        (Some(10), 300, 10),
        (Some(3600), 300, 300),
        (Some(3600), 60, 60),
        (Some(60), 60, 60),
        (None, 60, 60),
        (None, 300, 300),
    ] {
        let house = House::with(
            |issuer| issuer.opaque_tokens(),
            |tokens| tokens.cache_ttl(Duration::from_secs(ttl)),
        );
        let spec = match exp {
            Some(life) => TokenSpec::new().expires_in(Duration::from_secs(life)),
            None => TokenSpec::new().without_claim("exp"),
        };
        let token = house.issuer.mint(spec);
        assert!(house.accepts(&token).await);
        house.pass(asked_again as f64 - 0.5);
        assert!(judge_now(&house.tokens, &token).is_ok(), "{exp:?} {ttl}");
        house.pass(0.5);
        let alive = house.accepts(&token).await;
        assert_eq!(house.calls(), 2, "{exp:?} {ttl}");
        assert_eq!(alive, exp.is_none_or(|exp| exp > asked_again), "{exp:?} {ttl}");
    }
}

#[tokio::test]
async fn the_default_is_a_minute_and_zero_asks_each_time() {
    let house = House::new();
    let token = house.token();
    assert!(house.accepts(&token).await);
    house.pass(59.9);
    assert!(judge_now(&house.tokens, &token).is_ok());
    house.pass(0.1);
    assert!(house.accepts(&token).await);
    assert_eq!(house.calls(), 2);

    let house = House::with(
        |issuer| issuer.opaque_tokens(),
        |tokens| tokens.cache_ttl(Duration::ZERO).negative_ttl(Duration::ZERO),
    );
    let token = house.token();
    for _ in 0..3 {
        assert!(house.accepts(&token).await);
        assert!(!house.accepts("unknown").await);
    }
    assert_eq!(house.calls(), 6);
}

#[tokio::test]
async fn case_58_each_hit_looks_at_exp_on_the_wall_clock() {
    let house = House::new();
    let token = house.issuer.mint(TokenSpec::new().expires_in(Duration::from_secs(100)));
    assert!(house.accepts(&token).await);
    // The verdict is a second old; the clock on the wall was wrong and is set right.
    house.pass(1.0);
    house.clock.step_wall(99);
    assert_eq!(house.judge(&token).await.unwrap_err(), inactive());
    assert_eq!(house.calls(), 2);
}

#[tokio::test]
async fn case_63_a_refused_token_is_refused_again_for_a_short_while() {
    let house = House::new();
    let token = house.token();
    house.issuer.revoke(&token);
    assert_eq!(knock(&house.tokens, &token).await, Err(inactive()));
    house.pass(4.9);
    assert_eq!(judge_now(&house.tokens, &token).unwrap_err(), inactive());
    assert_eq!(house.calls(), 1);
    house.pass(0.1);
    assert_eq!(house.judge(&token).await.unwrap_err(), inactive());
    assert_eq!(house.calls(), 2);
    // So it is for one that is active and of no use to us.
    house.say(&house.answer(json!({"exp": 0})));
    for _ in 0..3 {
        let refused = house.judge("expired").await.unwrap_err();
        assert_eq!(refused, invalid(InvalidToken::Expired));
    }
    assert_eq!(house.calls(), 3);
}

#[tokio::test]
async fn case_63_d09_a_flood_of_random_tokens_takes_no_room_from_good_ones() {
    let house = House::with(|issuer| issuer.opaque_tokens(), |tokens| tokens.max_entries(100));
    let token = house.token();
    assert!(house.accepts(&token).await);
    for n in 0..2_000 {
        assert!(!house.accepts(&format!("random-{n}")).await);
    }
    assert_eq!(house.calls(), 2_001);
    let shown = format!("{:?}", house.tokens);
    let refused = shown.split("cached_refused: ").nth(1).unwrap();
    let refused: usize = refused.split([',', ' ']).next().unwrap().parse().unwrap();
    assert!((40..=100).contains(&refused), "{shown}");
    assert!(judge_now(&house.tokens, &token).is_ok());
}

#[tokio::test]
async fn d09_a_token_that_is_revoked_while_remembered_lives_a_minute_at_most() {
    let house = House::new();
    let token = house.token();
    assert!(house.accepts(&token).await);
    house.pass(30.0);
    house.issuer.revoke(&token);
    house.pass(29.9);
    assert!(house.accepts(&token).await);
    house.pass(0.1);
    assert_eq!(knock(&house.tokens, &token).await, Err(inactive()));
    assert_eq!(house.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn d09_the_minute_counts_from_the_question_and_not_from_the_answer() {
    let house = House::new();
    let token = house.token();
    house
        .issuer
        .fault(Endpoint::Introspection, tower_oauth_test::Fault::Delay(Duration::from_secs(4)));
    let asking = tokio::spawn({
        let (tokens, token) = (house.tokens.clone(), token.clone());
        async move { judge(&tokens, &token).await.is_ok() }
    });
    tokio::task::yield_now().await;
    house.pass(4.0);
    assert!(asking.await.unwrap());
    house.pass(55.9);
    assert!(judge_now(&house.tokens, &token).is_ok());
    house.pass(0.1);
    assert!(house.accepts(&token).await);
    assert_eq!(house.calls(), 2);
}

#[tokio::test]
async fn d09_what_is_forgotten_on_purpose_is_asked_about_at_once() {
    let house = House::new();
    let (one, other) = (house.token(), house.token());
    assert!(house.accepts(&one).await && house.accepts(&other).await);
    house.issuer.restart();
    house.tokens.forget(&one);
    assert!(!house.accepts(&one).await);
    assert!(judge_now(&house.tokens, &other).is_ok());
    house.tokens.clone().clear();
    assert!(!house.accepts(&other).await);
    assert_eq!(house.calls(), 4);
}

#[tokio::test]
async fn case_65_another_endpoint_client_or_issuer_shares_nothing() {
    let house = House::new();
    let token = house.token();
    assert!(house.accepts(&token).await);
    house.issuer.register_client("another-api", "x");
    let endpoint = house.issuer.url(Endpoint::Introspection);
    let same = introspection(&house.issuer, &house.clock);
    let others = [
        same.clone().build().unwrap(),
        same.introspection_endpoint(endpoint).build().unwrap(),
        tower_oauth_server::Introspection::issuer(house.issuer.issuer())
            .client_credentials("another-api", "x")
            .audience(crate::fixture::AUDIENCE)
            .http_client(tower_oauth_endpoint::HttpClient::new(house.issuer.service()))
            .clock(house.clock.clone())
            .build()
            .unwrap(),
    ];
    for (n, other) in others.iter().enumerate() {
        assert!(judge(other, &token).await.is_ok());
        assert_eq!(house.calls(), n as u64 + 2);
    }
    // A handle of one and the same shares everything.
    assert!(judge_now(&house.tokens.clone(), &token).is_ok());

    // The same text is another token at another issuer.
    let stranger = House::new();
    assert_eq!(stranger.judge(&token).await.unwrap_err(), inactive());
}

#[tokio::test]
async fn case_60_case_67_each_route_asks_for_its_own_audience_and_scope() {
    let house = House::new();
    let token =
        house.issuer.mint(TokenSpec::new().scope("stock.read").audiences(["inventory", "x"]));
    let payroll = house.tokens.with_audience("payroll").unwrap();
    let x = house.tokens.with_audience("x").unwrap();
    assert!(knock(&house.tokens, &token).await.is_ok());
    let wrong = Err(invalid(InvalidToken::WrongAudience));
    assert_eq!(knock(&payroll, &token).await, wrong);
    assert!(knock(&x, &token).await.is_ok());
    assert!(knock(&house.tokens, &token).await.is_ok());

    for (scope, status) in [("stock.read", 200), ("stock.write", 403), ("stock", 403)] {
        let door = tower::ServiceBuilder::new()
            .layer(RequireTokenLayer::new(house.tokens.clone()))
            .layer(RequireScopeLayer::all([scope]))
            .service_fn(|_: http::Request<()>| async {
                let body = http_body_util::Empty::<bytes::Bytes>::new();
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            });
        let request = http::Request::get("/").header("authorization", format!("Bearer {token}"));
        let answer = tower::ServiceExt::oneshot(door, request.body(()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{scope}");
    }
    assert_eq!(house.calls(), 1, "all of it from one answer");
}

#[tokio::test]
async fn case_66_l01_no_token_and_no_secret_shows() {
    let house = House::new();
    let token = house.token();
    let accepted = house.judge(&token).await.unwrap();
    let builder = introspection(&house.issuer, &house.clock);
    let refused = house.judge("CANARY-opaque").await.unwrap_err();
    house.issuer.go_dark();
    let outage = house.judge("CANARY-dark").await.unwrap_err();
    let shown = format!(
        "{:?} {builder:?} {accepted:?} {refused:?} {refused} {outage:?} {outage}",
        house.tokens
    );
    for secret in [&token[..], "CANARY", crate::fixture::SECRET, "alice", "test-client"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn a_token_without_exp_ends_with_its_verdict() {
    let house = House::new();
    let token = house.issuer.mint(TokenSpec::new().without_claim("exp"));
    let ends_at = house.judge(&token).await.unwrap().principal.expires_at;
    assert_eq!(ends_at.as_secs() as i64, house.clock.unix_seconds() + 60);
}

#[tokio::test]
async fn case_17_case_62_a_wall_clock_that_is_set_back_prolongs_no_verdict() {
    let house = House::new();
    let token = house.issuer.mint(TokenSpec::new().expires_in(Duration::from_secs(10)));
    assert!(house.accepts(&token).await);
    house.clock.step_wall(-1000);
    house.issuer.revoke(&token);
    house.pass(10.0);
    assert_eq!(house.judge(&token).await.unwrap_err(), inactive());
}
