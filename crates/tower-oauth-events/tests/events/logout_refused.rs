//! Back-channel logout: what is refused, and that nothing comes of it.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower_oauth_events::BackchannelLogout;
use tower_oauth_test::{ScriptedIssuer, Signature, TokenSpec};

use crate::house::{
    Answer, FORM, House, LOGOUT, form, logout_spec, logout_token, post, public_key_bytes, send,
};

/// Nothing was told to anybody, and the session's token is good.
async fn untouched(house: &House, answer: &Answer, name: &str) {
    assert_eq!(
        (answer.status, answer.member("error").as_str()),
        (400, "invalid_request"),
        "{name}"
    );
    assert!(!answer.member("error_description").is_empty(), "{name}");
    assert_eq!(answer.retry_after, None, "{name}");
    assert_eq!(house.heard.count(), 0, "{name}");
    assert!(house.accepts(&house.token("alice", "s-1")).await, "{name}");
}

#[tokio::test]
async fn e11_a_bad_logout_token_is_400_and_no_session_is_touched() {
    let house = House::new();
    let logout = house.logout();
    let now = house.now();
    let revoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    for claims in [
        json!({ "nonce": "n" }),
        json!({ "nonce": 1 }),
        json!({ "sid": null }),
        json!({ "sid": 1 }),
        json!({ "sid": "" }),
        json!({ "sub": ["alice"] }),
        json!({ "events": null }),
        json!({ "events": LOGOUT }),
        json!({ "events": {} }),
        json!({ "events": { LOGOUT: "now" } }),
        json!({ "events": { revoked: {} } }),
        json!({ "events": { LOGOUT: {}, revoked: {} } }),
        json!({ "iss": "https://other.test" }),
        json!({ "iss": null }),
        json!({ "aud": "inventory" }),
        json!({ "aud": null }),
        json!({ "iat": null }),
        json!({ "iat": now + 31 }),
        json!({ "exp": null }),
        json!({ "exp": now - 30 }),
        json!({ "exp": now + 7_200 }),
        json!({ "jti": null }),
    ] {
        let told = logout_token(&house, claims.clone());
        untouched(&house, &post(&logout, FORM, form(&told)).await, &claims.to_string()).await;
    }
    assert_eq!(post(&logout, FORM, form(&logout_token(&house, json!({})))).await.status, 200);
}

#[tokio::test]
async fn e11_a_bad_logout_request_is_400_and_no_session_is_touched() {
    let house = House::new();
    let logout = house.logout();
    let token = || logout_token(&house, json!({}));
    let twice: String =
        form_urlencoded::byte_serialize(token().replace('.', "%2E").as_bytes()).collect();
    let bodies: Vec<(&str, String)> = vec![
        ("nothing", String::new()),
        ("another name", format!("token={}", token())),
        ("the bare token", token()),
        ("two of them", format!("{}&{}", form(&token()), form(&token()))),
        ("one twice", {
            let t = token();
            format!("{}&{}", form(&t), form(&t))
        }),
        ("encoded twice", form(&twice)),
        ("no token", form("")),
        ("half a token", form(token().split_at(100).0)),
        ("a long one", form(&"a".repeat(8_193))),
        ("JSON", json!({ "logout_token": token() }).to_string()),
    ];
    for (name, body) in bodies {
        untouched(&house, &post(&logout, FORM, body).await, name).await;
    }
    for kind in ["application/json", "multipart/form-data", "text/plain", ""] {
        untouched(&house, &post(&logout, kind, form(&token())).await, kind).await;
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::builder()
            .method(method)
            .uri(format!("/events?{}", form(&token())))
            .header("content-type", FORM)
            .body(Body::from(form(&token())))
            .unwrap();
        let answer = send(&logout, request).await;
        assert_eq!((answer.status, house.heard.count()), (400, 0), "{method}");
    }
    // In the query it counts for nothing, also of a POST.
    let request = Request::post(format!("/events?{}", form(&token())))
        .header("content-type", FORM)
        .body(Body::from("x=y"))
        .unwrap();
    untouched(&house, &send(&logout, request).await, "the query").await;
}

#[tokio::test]
async fn e01_a_forged_logout_token_is_400_and_no_session_is_touched() {
    let house = House::new();
    let logout = house.logout();
    let other = ScriptedIssuer::builder().clock(house.clock.clone()).build().unwrap();
    let good = || logout_spec(&house, json!({ "iss": house.issuer.issuer() }));
    let forged: Vec<(&str, String)> = vec![
        ("none", house.issuer.mint(good().header("alg", "none").signature(Signature::Empty))),
        ("none with a signature", house.issuer.mint(good().header("alg", "none"))),
        ("HMAC with the public key", {
            let secret = Signature::Hmac(public_key_bytes(&house).into());
            house.issuer.mint(good().header("alg", "HS256").signature(secret))
        }),
        ("a stranger's key", house.issuer.mint(good().signature(Signature::Stranger))),
        ("no key at all", house.issuer.mint(good().signature(Signature::Random))),
        ("another issuer's key under the same name", other.mint(good())),
        ("an unknown key", house.issuer.mint(good().header("kid", "unknown"))),
        ("a key that comes along", {
            let jwk: Value = other.jwks()["keys"][0].clone();
            other.mint(good().header("jwk", jwk))
        }),
        ("a key to be fetched", other.mint(good().header("jku", "https://evil.test/jwks"))),
        ("a critical extension", house.issuer.mint(good().header("crit", json!(["x"])))),
    ];
    for (name, told) in forged {
        untouched(&house, &post(&logout, FORM, form(&told)).await, name).await;
    }
}

#[tokio::test]
async fn e02_no_other_token_logs_anybody_out_and_a_logout_token_lets_nobody_in() {
    let house = House::new();
    let untyped = house.logout_builder().accept_untyped().build().unwrap();
    let access = TokenSpec::new().subject("alice").claim("sid", "s-1");
    let for_client = access.clone().audience("inventory-app");
    let id_token = for_client.clone().header("typ", "JWT").claim("nonce", "n");
    for (name, spec) in [
        ("an access token", access),
        ("an access token for the client", for_client.clone()),
        ("an access token that lies about its type", for_client.header("typ", "logout+jwt")),
        ("an ID token", id_token.clone()),
        ("an ID token without a nonce", id_token.without_claim("nonce")),
    ] {
        let told = house.issuer.mint(spec);
        for receiver in [&house.logout(), &untyped] {
            untouched(&house, &post(receiver, FORM, form(&told)).await, name).await;
        }
    }
    // The reverse, even where it names the resource server as well.
    let both =
        json!({ "aud": ["inventory-app", "inventory"], "sub": "alice", "client_id": "shop" });
    for profile in [false, true] {
        let jwt = tower_oauth_server::Jwt::issuer(house.issuer.issuer()).audience("inventory");
        let jwt = if profile { jwt.lenient() } else { jwt };
        let jwt = jwt
            .http_client(tower_oauth_server::HttpClient::new(house.issuer.service()))
            .clock(house.clock.clone())
            .build()
            .unwrap();
        let door = axum::Router::new()
            .route("/events", axum::routing::get(|| async { "let in" }))
            .layer(tower_oauth_server::RequireTokenLayer::new(jwt));
        for typ in ["logout+jwt", "JWT"] {
            let told = house.issuer.mint(logout_spec(&house, both.clone()).header("typ", typ));
            let request = Request::get("/events").header("authorization", format!("Bearer {told}"));
            let request = request.body(Body::empty()).unwrap();
            let response = tower::ServiceExt::oneshot(door.clone(), request).await.unwrap();
            assert_eq!(response.status(), 401, "{typ} {profile}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let house = House::new();
    let iss = || house.issuer.issuer();
    let none: [&str; 0] = [];
    let build = |builder: tower_oauth_events::BackchannelLogoutBuilder| {
        builder.build().map(drop).unwrap_err().to_string()
    };
    let client = tower_oauth_server::HttpClient::new(house.issuer.service());
    let full = || BackchannelLogout::issuer(iss()).client_id("app").sink(house.heard.clone());
    let keys = tower_oauth_server::Jwks::issuer("https://other.test").http_client(client.clone());
    let keys = keys.build().unwrap();
    for (builder, message) in [
        (
            BackchannelLogout::issuer("http://idp.test").client_id("app").sink(house.heard.clone()),
            "issuer `http://idp.test`",
        ),
        (BackchannelLogout::issuer(iss()).client_id("app"), "sink `none`: is told nothing"),
        (
            BackchannelLogout::issuer(iss()).client_ids(none).sink(house.heard.clone()),
            "client_id `none`: names nobody",
        ),
        (
            BackchannelLogout::issuer(iss()).client_id("").sink(house.heard.clone()),
            "client_id ``: is empty",
        ),
        (full().max_concurrency(0), "max_concurrency `0`: is not between 1 and 10,000"),
        (full().leeway(std::time::Duration::from_secs(301)), "rules `a leeway of 301s"),
        (full().algorithms([]), "rules `no algorithm is accepted`"),
        (full().jwks(keys.clone()), "jwks `https://other.test`: are the keys of another issuer"),
        (full().jwks(keys).http_client(client), "http_client `..`: says how to fetch keys"),
    ] {
        let error = build(builder);
        assert!(error.starts_with(message), "{error}");
    }
}
