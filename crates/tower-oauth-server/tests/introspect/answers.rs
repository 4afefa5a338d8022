//! What an answer is worth.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tower_oauth_core::{Clock, ErrorKind, OAuthCode};
use tower_oauth_server::{InvalidToken, Rejection};
use tower_oauth_test::{Endpoint, Fault, TokenSpec};

use crate::fixture::{House, inactive, introspection, invalid, judge, knock, outage};

#[tokio::test]
async fn an_active_token_comes_in_and_says_who_it_is() {
    let house = House::new();
    let token = house
        .issuer
        .mint(TokenSpec::new().subject("alice").scope("inventory.read x").claim("sid", "s-1"));
    assert_eq!(knock(&house.tokens, &token).await, Ok("alice".into()));
    let caller = house.judge(&token).await.unwrap();
    let (principal, claims) = (caller.principal, caller.claims);
    assert_eq!(principal.issuer, house.issuer.issuer());
    assert_eq!(principal.client_id.as_deref(), Some("test-client"));
    assert!(principal.scopes.contains("inventory.read") && principal.token_id.is_some());
    assert_eq!((claims.subject(), claims.session_id()), (Some("alice"), Some("s-1")));
    assert!(claims.has_audience("inventory") && claims.has_scope("x"));
    assert!(claims.issued_at().is_some());
    assert_eq!((house.calls(), house.issuer.calls(Endpoint::Discovery)), (1, 1));

    let unknown = knock(&house.tokens, "2YotnFZFEjr1zCsicMWpAA").await;
    assert_eq!(unknown, Err(inactive()));
}

#[tokio::test]
async fn l06_nobody_learns_whether_an_opaque_token_has_ever_lived() {
    let house = House::new();
    let (revoked, expired, near) = (house.token(), house.token(), house.token());
    house.issuer.revoke(&revoked);
    house.pass(100_000.0);
    let alive = house.token();
    let mut cut = alive.clone();
    cut.pop();
    let longer = format!("{near}x");
    for token in [&revoked, &expired, &longer, &cut, "2YotnFZFEjr1zCsicMWpAA"] {
        // Fresh, and from what is remembered.
        for _ in 0..2 {
            assert_eq!(knock(&house.tokens, token).await, Err(inactive()), "{token}");
        }
    }
    assert!(house.accepts(&alive).await, "a control");
}

#[tokio::test]
async fn the_server_is_asked_by_post_with_our_credentials() {
    for post in [false, true] {
        let house = House::with(
            |issuer| issuer.opaque_tokens(),
            |tokens| if post { tokens.client_secret_post() } else { tokens },
        );
        let token = house.token();
        assert!(house.accepts(&token).await);
        let request = house.issuer.last_request(Endpoint::Introspection).unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.form("token"), Some(token));
        assert_eq!(request.form("token_type_hint").as_deref(), Some("access_token"));
        assert_eq!(request.headers().contains_key("authorization"), !post);
        assert_eq!(request.form("client_secret").is_some(), post);
    }
}

#[tokio::test]
async fn d07_an_active_token_that_is_not_for_us_or_not_of_now_is_refused() {
    let house = House::new();
    let now = house.answer(json!({}))["exp"].as_i64().unwrap() - 3600;
    let cases = [
        (json!({"exp": now - 30}), invalid(InvalidToken::Expired)),
        (json!({"exp": 0}), invalid(InvalidToken::Expired)),
        (json!({"nbf": now + 31}), invalid(InvalidToken::NotYetValid)),
        (json!({"iat": now + 31}), invalid(InvalidToken::NotYetValid)),
        (json!({"iss": "https://other.example"}), invalid(InvalidToken::WrongIssuer)),
        (json!({"iss": format!("{}/", house.issuer.issuer())}), invalid(InvalidToken::WrongIssuer)),
        (json!({"aud": "payroll"}), invalid(InvalidToken::WrongAudience)),
        (json!({"aud": ["payroll", "inventory2"]}), invalid(InvalidToken::WrongAudience)),
        (json!({"aud": null}), invalid(InvalidToken::MissingClaim("aud"))),
        (json!({"aud": []}), invalid(InvalidToken::MissingClaim("aud"))),
        (json!({"active": false}), inactive()),
    ];
    for (more, expected) in cases {
        house.say(&house.answer(more.clone()));
        house.tokens.clear();
        assert_eq!(knock(&house.tokens, "t").await, Err(expected), "{more}");
    }
    for more in [
        json!({}),
        json!({"iss": null}),
        json!({"exp": null, "iat": null}),
        json!({"exp": now - 29}),
        json!({"nbf": now + 30, "iat": now + 30}),
        json!({"aud": ["payroll", "inventory"]}),
        json!({"token_type": null}),
        json!({"token_type": "bearer"}),
        json!({"token_type": "access_token", "token_use": "access"}),
        json!({"typ": "Bearer"}),
    ] {
        house.say(&house.answer(more.clone()));
        house.tokens.clear();
        assert_eq!(knock(&house.tokens, "t").await, Ok("alice".into()), "{more}");
    }
}

#[tokio::test]
async fn d07_case_64_what_is_no_boolean_is_a_malfunction_and_not_a_verdict() {
    let house = House::new();
    for answer in [
        json!({"active": "true"}),
        json!({"active": 1}),
        json!({"active": null}),
        json!({}),
        json!([true]),
        house.answer(json!({"exp": "tomorrow"})),
        house.answer(json!({"aud": 7})),
    ] {
        house.say(&answer);
        let rejection = knock(&house.tokens, "t").await.unwrap_err();
        assert!(matches!(outage(&rejection).0, ErrorKind::Malformed(_)), "{answer}: {rejection:?}");
        // Nothing is remembered, and a server that is well opens the gate again.
        house.issuer.heal(Endpoint::Introspection);
        assert!(house.accepts(&house.token()).await, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn d08_case_64_trouble_between_us_and_the_server_is_503_and_never_a_verdict() {
    let house = House::new();
    let token = house.token();
    let html = |status| Fault::Body {
        status,
        content_type: "text/html".into(),
        body: "<html>{\"active\":true}</html>".into(),
    };
    let json = |status, body: &'static str| Fault::Body {
        status,
        content_type: "application/json".into(),
        body: body.into(),
    };
    let cases = [
        (Fault::Status(401), ErrorKind::Status(401)),
        (json(401, r#"{"error":"invalid_client"}"#), ErrorKind::OAuth(OAuthCode::InvalidClient)),
        (json(403, r#"{"active":false}"#), ErrorKind::Status(403)),
        (json(400, r#"{"active":false}"#), ErrorKind::Status(400)),
        (json(500, r#"{"active":true}"#), ErrorKind::Status(500)),
        (Fault::Status(204), ErrorKind::Status(204)),
        (html(200), ErrorKind::Malformed("content type is not JSON")),
        (html(502), ErrorKind::Status(502)),
        (Fault::Garbage("<html>".into()), ErrorKind::Malformed("not one JSON object")),
        (Fault::Redirect("https://elsewhere.test/".into()), ErrorKind::Redirect),
        (Fault::Reset, ErrorKind::Transport),
        (Fault::CutBody, ErrorKind::Transport),
        (Fault::EndlessBody, ErrorKind::TooLarge),
        (Fault::Hang, ErrorKind::Timeout),
        (Fault::DripForever(Duration::from_millis(100)), ErrorKind::Timeout),
    ];
    for (fault, expected) in cases {
        house.issuer.fault(Endpoint::Introspection, fault.clone());
        let rejection = knock(&house.tokens, &token).await.unwrap_err();
        assert_eq!(outage(&rejection), (expected, 1), "{fault:?}");
        house.issuer.heal(Endpoint::Introspection);
        assert_eq!(knock(&house.tokens, &token).await, Ok("test-client".into()), "{fault:?}");
        house.tokens.clear();
    }
}

#[tokio::test]
async fn d05_a_token_that_is_bound_to_a_key_is_refused_as_a_plain_bearer_token() {
    let house = House::new();
    let digest = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    for cnf in [
        json!({"jkt": digest}),
        json!({"x5t#S256": digest}),
        json!({"odd": 1}),
        json!({}),
        json!("x"),
    ] {
        let token = house.issuer.mint(TokenSpec::new().claim("cnf", cnf.clone()));
        for _ in 0..2 {
            let refused = knock(&house.tokens, &token).await;
            assert_eq!(refused, Err(invalid(InvalidToken::SenderConstrained)), "{cnf}");
        }
    }
    house.say(&house.answer(json!({"token_type": "DPoP"})));
    let refused = knock(&house.tokens, "t").await;
    assert_eq!(refused, Err(invalid(InvalidToken::SenderConstrained)));
}

#[tokio::test]
async fn an_active_refresh_token_is_no_access_token() {
    let house = House::new();
    for more in [
        json!({"token_type": "refresh_token"}),
        json!({"token_type": "N_A"}),
        json!({"token_use": "refresh"}),
        json!({"token_use": "id"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
    ] {
        house.say(&house.answer(more.clone()));
        house.tokens.clear();
        let refused = knock(&house.tokens, "t").await;
        assert_eq!(refused, Err(invalid(InvalidToken::WrongType)), "{more}");
    }
}

#[tokio::test]
async fn an_audience_may_be_missing_only_where_that_was_said_and_never_be_anothers() {
    let house =
        House::with(|issuer| issuer.opaque_tokens(), |b| b.danger_accept_missing_audience());
    let without = house.issuer.mint(TokenSpec::new().without_claim("aud"));
    assert!(house.accepts(&without).await);
    let anothers = house.issuer.mint(TokenSpec::new().audience("payroll"));
    let refused = house.judge(&anothers).await.unwrap_err();
    assert_eq!(refused, invalid(InvalidToken::WrongAudience));
}

#[tokio::test]
async fn how_the_subject_has_authenticated_is_in_the_answer_too() {
    let house = House::new();
    let since = house.clock.unix_seconds() - 60;
    let cases = [
        (json!({"acr": "gold", "auth_time": since}), Some("gold"), Some(since)),
        // Nobody may have asked for it.
        (json!({"acr": 2, "auth_time": "yesterday"}), None, None),
        (json!({}), None, None),
    ];
    for (more, acr, auth_time) in cases {
        house.say(&house.answer(more.clone()));
        house.tokens.clear();
        let caller = house.judge("t").await.unwrap();
        assert_eq!(caller.principal.acr.as_deref(), acr, "{more}");
        let told = caller.principal.auth_time.map(|time| time.as_secs() as i64);
        assert_eq!(told, auth_time, "{more}");
        assert_eq!(caller.claims.acr(), acr);
        assert_eq!(caller.claims.auth_time().is_some(), auth_time.is_some());
    }
    // Step-up (RFC 9470 §6.2), over axum's and tonic's way to ask.
    let within = tower_oauth_server::RequireAuthenticationLayer::within(Duration::from_secs(300))
        .clock(std::sync::Arc::new(house.clock.clone()));
    for (auth_time, status) in [(json!(since), 200), (json!(since - 3600), 401), (json!(null), 401)]
    {
        house.say(&house.answer(json!({"auth_time": auth_time})));
        house.tokens.clear();
        let door = tower::ServiceBuilder::new()
            .layer(tower_oauth_server::RequireTokenLayer::new(house.tokens.clone()))
            .layer(within.clone())
            .service_fn(|_: http::Request<()>| async {
                let body = http_body_util::Empty::<bytes::Bytes>::new();
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            });
        let request = http::Request::get("/").header("authorization", "Bearer t");
        let answer = tower::ServiceExt::oneshot(door, request.body(()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{auth_time}");
    }
}

#[tokio::test]
async fn a_token_that_the_leeway_lets_in_is_valid_to_the_end_of_the_leeway() {
    let house = House::new();
    let now = house.clock.unix_seconds();
    for exp in [now - 29, now, now + 3600] {
        house.say(&house.answer(json!({"exp": exp})));
        house.tokens.clear();
        let principal = house.judge("t").await.unwrap().principal;
        assert_eq!(principal.expires_at.as_secs() as i64, exp);
        assert_eq!(principal.valid_until.as_secs() as i64, exp + 30);
    }
    // Without `exp` there is none: the verdict ends when it ends.
    house.say(&house.answer(json!({"exp": null})));
    house.tokens.clear();
    let principal = house.judge("t").await.unwrap().principal;
    assert_eq!(principal.valid_until.as_secs() as i64, now + 60);
}

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: u32,
    sub: String,
}

#[tokio::test]
async fn the_application_gets_its_own_type_of_an_active_token() {
    let house = House::new();
    let tokens = introspection(&house.issuer, &house.clock).claims::<Tenant>().build().unwrap();
    let token = house.issuer.mint(TokenSpec::new().subject("alice").claim("tenant", 7));
    for _ in 0..2 {
        let caller = judge(&tokens, &token).await.unwrap();
        assert_eq!((caller.claims.tenant, caller.claims.sub.as_str()), (7, "alice"));
    }
    let unfit = house.issuer.mint(TokenSpec::new().claim("tenant", "seven"));
    for _ in 0..2 {
        let refused = judge(&tokens, &unfit).await.unwrap_err();
        assert_eq!(refused, invalid(InvalidToken::UnfitClaims));
    }
    assert_eq!(house.calls(), 2);
}

#[tokio::test]
async fn without_an_endpoint_in_the_metadata_it_is_503() {
    let script = |issuer: tower_oauth_test::ScriptedIssuerBuilder| {
        issuer.opaque_tokens().metadata("introspection_endpoint", json!(null))
    };
    let house = House::with(script, |tokens| tokens);
    let rejection = knock(&house.tokens, &house.token()).await.unwrap_err();
    assert!(matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Configuration(_), .. }));

    let house = House::with(script, |b| b.introspection_endpoint("https://issuer.test/introspect"));
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 0);
}
