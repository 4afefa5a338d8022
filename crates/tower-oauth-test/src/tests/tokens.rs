use std::time::Duration;

use http::header::AUTHORIZATION;

use super::*;
use crate::{Algorithm, Signature, TokenSpec};

#[tokio::test]
async fn a_token_is_an_rfc_9068_jwt() {
    for algorithm in Algorithm::ALL {
        let issuer = builder().algorithm(algorithm).claim("tenant", 7).build().unwrap();
        let form = "grant_type=client_credentials&scope=a+b";
        let answer = ask(&issuer, post(&issuer, Endpoint::Token, form)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 3600);
        assert_eq!(body["scope"], "a b");
        let token = body["access_token"].as_str().unwrap();
        let (header, mut claims) = parts(token);
        assert_eq!(header, json!({ "alg": algorithm.name(), "kid": "key-1", "typ": "at+jwt" }));
        assert_eq!(claims["jti"].take().as_str().unwrap().len(), 22);
        let expected = json!({
            "iss": "https://issuer.test", "sub": "orders", "client_id": "orders",
            "aud": "https://resource.test", "iat": NOW, "exp": NOW + 3600,
            "scope": "a b", "tenant": 7, "jti": null,
        });
        assert_eq!(claims, expected);
        assert!(issuer.is_active(token));
    }
}

#[tokio::test]
async fn the_request_decides_audience_and_scope() {
    let cases = [
        ("", json!("https://resource.test"), Value::Null),
        ("&resource=https://a.test", json!("https://a.test"), Value::Null),
        ("&audience=b", json!("b"), Value::Null),
        (
            "&resource=https://a.test&resource=c&audience=b",
            json!(["https://a.test", "c", "b"]),
            Value::Null,
        ),
        ("&scope=x", json!("https://resource.test"), json!("x")),
    ];
    for (rest, audience, scope) in cases {
        let issuer = issuer();
        let form = format!("grant_type=client_credentials{rest}");
        let body = ask(&issuer, post(&issuer, Endpoint::Token, &form)).await.json();
        let (_, claims) = parts(body["access_token"].as_str().unwrap());
        assert_eq!(claims["aud"], audience, "{rest}");
        assert_eq!((&claims["scope"], &body["scope"]), (&scope, &scope), "{rest}");
    }
    let narrow = builder().granted_scope("less").build().unwrap();
    let form = "grant_type=client_credentials&scope=less+more";
    let body = ask(&narrow, post(&narrow, Endpoint::Token, form)).await.json();
    assert_eq!(body["scope"], "less");
}

#[tokio::test]
async fn a_bad_token_request_is_refused_by_its_code() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let good = basic("orders", "s3cret");
    let good = good.as_str();
    let wrong = basic("orders", "wrong");
    let cases: &[(Option<&str>, &str, &str, u16, &str)] = &[
        (Some(good), FORM, "grant_type=client_credentials", 200, ""),
        (
            None,
            FORM,
            "grant_type=client_credentials&client_id=orders&client_secret=s3cret",
            200,
            "",
        ),
        (Some(&wrong), FORM, "grant_type=client_credentials", 401, "invalid_client"),
        (
            Some(&basic("nobody", "s3cret")),
            FORM,
            "grant_type=client_credentials",
            401,
            "invalid_client",
        ),
        (None, FORM, "grant_type=client_credentials", 401, "invalid_client"),
        (None, FORM, "grant_type=client_credentials&client_id=orders", 401, "invalid_client"),
        (
            None,
            FORM,
            "grant_type=client_credentials&client_id=orders&client_secret=x",
            401,
            "invalid_client",
        ),
        (Some("Bearer abc"), FORM, "grant_type=client_credentials", 401, "invalid_client"),
        (
            Some(good),
            FORM,
            "grant_type=client_credentials&client_secret=s3cret",
            400,
            "invalid_request",
        ),
        (Some(good), FORM, "grant_type=password", 400, "unsupported_grant_type"),
        (Some(good), FORM, "", 400, "invalid_request"),
        (
            Some(good),
            FORM,
            "grant_type=client_credentials&grant_type=client_credentials",
            400,
            "invalid_request",
        ),
        (Some(good), FORM, "grant_type=client_credentials&scope=a&scope=b", 400, "invalid_request"),
        (Some(good), "application/json", "grant_type=client_credentials", 400, "invalid_request"),
    ];
    for (authorization, kind, form, status, code) in cases {
        let issuer = issuer();
        let mut request = Request::post(issuer.url(Endpoint::Token)).header(CONTENT_TYPE, *kind);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, *value);
        }
        let answer = ask(&issuer, request.body(Full::from(*form)).unwrap()).await;
        assert_eq!(answer.status, *status, "{authorization:?} {form}");
        if *status != 200 {
            assert_eq!(answer.json(), json!({ "error": code }), "{authorization:?} {form}");
            assert_eq!(answer.header("www-authenticate").is_some(), *status == 401);
        }
        assert_eq!(issuer.tokens_issued(), u64::from(*status == 200), "{form}");
        assert_eq!(issuer.calls(Endpoint::Token), 1);
    }
}

#[tokio::test]
async fn t13_credentials_of_any_characters_arrive() {
    let (id, secret) = ("a:b c%+ä", "p:ss wörd%2B+/=&");
    let issuer = builder().client(id, secret).build().unwrap();
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let encoded = basic(&encode(id), &encode(secret));
    let raw = basic(id, secret);
    for (authorization, status) in [(encoded, 200), (raw, 401)] {
        let mut request = token_request(&issuer);
        request.headers_mut().insert(AUTHORIZATION, authorization.parse().unwrap());
        assert_eq!(ask(&issuer, request).await.status, status);
    }
}

#[tokio::test]
async fn a_restart_kills_every_token_and_no_key() {
    let issuer = issuer();
    let tokens = [obtain(&issuer).await, issuer.mint(TokenSpec::new())];
    let before = issuer.jwks();
    assert!(tokens.iter().all(|token| issuer.is_active(token)));
    issuer.restart();
    assert!(!tokens.iter().any(|token| issuer.is_active(token)));
    assert_eq!(issuer.jwks(), before);
    assert!(issuer.is_active(&obtain(&issuer).await));
}

#[tokio::test]
async fn a_token_is_dead_on_its_exp() {
    let clock = ManualClock::at(NOW);
    let issuer = ScriptedIssuer::builder()
        .clock(clock.clone())
        .token_life(Duration::from_secs(60))
        .build()
        .unwrap();
    let token = issuer.mint(TokenSpec::new());
    let endless = issuer.mint(TokenSpec::new().without_claim("exp"));
    clock.advance(Duration::from_secs(59));
    assert!(issuer.is_active(&token));
    clock.advance(Duration::from_secs(1));
    assert!(!issuer.is_active(&token));
    assert!(issuer.is_active(&endless));
}

#[tokio::test]
async fn the_life_of_tokens_can_change_and_those_that_are_about_keep_theirs() {
    let clock = ManualClock::at(NOW);
    let issuer = ScriptedIssuer::builder().clock(clock.clone()).build().unwrap();
    let long = issuer.mint(TokenSpec::new());
    issuer.set_token_life(Duration::from_secs(16));
    let short = issuer.mint(TokenSpec::new());
    clock.advance(Duration::from_secs(16));
    assert_eq!((issuer.is_active(&long), issuer.is_active(&short)), (true, false));
}

#[tokio::test]
async fn the_secret_of_a_client_can_change() {
    let issuer = issuer();
    issuer.register_client("orders", "n3w");
    assert_eq!(ask(&issuer, token_request(&issuer)).await.status, StatusCode::UNAUTHORIZED);
    issuer.register_client("orders", "s3cret");
    assert_eq!(ask(&issuer, token_request(&issuer)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn introspection_tells_of_live_tokens_only() {
    let opaque = builder().opaque_tokens().claim("tenant", 7).build().unwrap();
    let token = obtain(&opaque).await;
    assert_eq!((token.len(), token.contains('.')), (43, false));
    let form = format!("token={token}");
    let told = ask(&opaque, post(&opaque, Endpoint::Introspection, &form)).await.json();
    assert_eq!(told["active"], true);
    assert_eq!((&told["sub"], &told["exp"]), (&json!("orders"), &json!(NOW + 3600)));
    assert_eq!((&told["tenant"], &told["token_type"]), (&json!(7), &json!("Bearer")));

    let expired = opaque.mint(TokenSpec::new().expired());
    opaque.revoke(&token);
    for dead in [&token, &expired, "unknown"] {
        let form = format!("token={dead}");
        let told = ask(&opaque, post(&opaque, Endpoint::Introspection, &form)).await.json();
        assert_eq!(told, json!({ "active": false }));
    }
}

#[tokio::test]
async fn introspection_and_revocation_need_a_client_and_a_token() {
    let issuer = issuer();
    for endpoint in [Endpoint::Introspection, Endpoint::Revocation] {
        let mut request = post(&issuer, endpoint, "token=a");
        request.headers_mut().remove(AUTHORIZATION);
        assert_eq!(ask(&issuer, request).await.status, StatusCode::UNAUTHORIZED);
        let answer = ask(&issuer, post(&issuer, endpoint, "")).await;
        assert_eq!(answer.json(), json!({ "error": "invalid_request" }));
    }
}

#[tokio::test]
async fn revocation_ends_ones_own_token() {
    let issuer = issuer();
    let own = obtain(&issuer).await;
    let foreign = issuer.mint(TokenSpec::new().client("payroll"));
    let cases = [(own.as_str(), 200, false), ("unknown", 200, false), (&foreign, 400, true)];
    for (token, status, still_active) in cases {
        let form = format!("token={token}");
        let answer = ask(&issuer, post(&issuer, Endpoint::Revocation, &form)).await;
        assert_eq!(answer.status, status);
        assert_eq!(issuer.is_active(token), still_active);
    }
    assert!(issuer.revoke(&foreign));
    assert!(!issuer.revoke(&foreign));
}

#[test]
fn a_minted_token_is_what_the_spec_says() {
    let issuer = issuer();
    let spec = TokenSpec::new()
        .client("payroll")
        .subject("alice")
        .audiences(["a", "b"])
        .issuer("https://evil.test")
        .scope("x y")
        .expires_in(Duration::from_secs(5))
        .claim("nested", json!({ "a": [1] }))
        .without_claim("iat")
        .header("alg", "none")
        .header("crit", json!(["x"]))
        .without_header("kid");
    let (header, mut claims) = parts(&issuer.mint(spec));
    claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(header, json!({ "alg": "none", "typ": "at+jwt", "crit": ["x"] }));
    let expected = json!({
        "iss": "https://evil.test", "sub": "alice", "client_id": "payroll", "aud": ["a", "b"],
        "scope": "x y", "exp": NOW + 5, "nested": { "a": [1] },
    });
    assert_eq!(claims, expected);

    let raw = TokenSpec::new().raw_header(r#"{"a":1,"a":2}"#).raw_payload("[]");
    let token = issuer.mint(raw);
    assert!(token.starts_with(&format!("{}.W10.", URL_SAFE_NO_PAD.encode(r#"{"a":1,"a":2}"#))));

    let (_, claims) = parts(&issuer.mint(TokenSpec::new().expired()));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW - 3600), &json!(NOW - 600)));
}

#[test]
fn a_signature_is_made_by_whom_the_spec_says() {
    let issuer = issuer();
    let signature = |signature: Signature| {
        let token = issuer.mint(TokenSpec::new().signature(signature));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        (super::keys::verifies(&issuer.jwks()["keys"][0], message, &signature), signature.len())
    };
    assert_eq!(signature(Signature::Issuer), (true, 64));
    assert_eq!(signature(Signature::Stranger), (false, 64));
    assert_eq!(signature(Signature::Random), (false, 64));
    assert_eq!(signature(Signature::Empty), (false, 0));
    assert_eq!(signature(Signature::Bytes("abc".into())), (false, 3));
    assert_eq!(signature(Signature::Hmac("public key".into())), (false, 32));
}

#[test]
fn twenty_thousand_forged_tokens_are_cheap_and_never_active() {
    let issuer = issuer();
    let tokens: Vec<_> = (0..20_000).map(|n| issuer.forge(&format!("forged-{n}"))).collect();
    let (header, claims) = parts(&tokens[7]);
    assert_eq!(header, json!({ "alg": "ES256", "kid": "forged-7", "typ": "at+jwt" }));
    assert_eq!((&claims["iss"], &claims["exp"]), (&json!(issuer.issuer()), &json!(NOW + 3600)));
    assert!(!tokens.iter().any(|token| issuer.is_active(token)));
    assert_eq!(issuer.tokens_issued(), 0);
}
