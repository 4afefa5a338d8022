//! The authorization server does what the other tests take for granted.
//!
//! Asked with hand-made HTTP, and its tokens are taken apart by hand: nothing of ours is in
//! between.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tower_oauth_tests::idp::{
    self, Counters, Fault, Idp, IdpConfig, RegisteredClient, Resource, Rotate, SigningAlg,
};
use tower_oauth_tests::raw_http::{self, Answer};

const ID: &str = "orders";
const SECRET: &str = "s3cret";
const INVENTORY: &str = "https://inventory.test";
const LEDGER: &str = "https://ledger.test";
/// How long a process may take to start, and to end.
const START: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(10);

/// One basic client; JWTs for the inventory, opaque tokens for the ledger.
fn config(alg: SigningAlg) -> IdpConfig {
    IdpConfig::new()
        .client(RegisteredClient::basic(ID, SECRET).scope("inventory.read ledger.read"))
        .resource(Resource::jwt(INVENTORY, alg).scope("inventory.read inventory.write"))
        .resource(Resource::opaque(LEDGER).scope("ledger.read"))
}

#[tokio::test]
async fn the_discovery_document_names_the_issuer_under_both_well_known_forms() {
    for path in ["", "/realms/shop"] {
        let idp = Idp::start(config(SigningAlg::Es256).issuer_path(path)).await;
        assert!(idp.issuer().starts_with("http://127.0.0.1:"), "{}", idp.issuer());
        assert!(idp.issuer().ends_with(path), "{}", idp.issuer());
        let root = idp.issuer().strip_suffix(path).unwrap();
        for url in [
            idp.url("/.well-known/openid-configuration"),
            idp.url("/.well-known/oauth-authorization-server"),
            format!("{root}/.well-known/oauth-authorization-server{path}"),
        ] {
            let document = raw_http::get(&url).await.unwrap().json();
            assert_eq!(document["issuer"], idp.issuer(), "{url}");
            assert_eq!(document["token_endpoint"], idp.url("/token"), "{url}");
            assert_eq!(document["jwks_uri"], idp.url("/jwks"), "{url}");
            assert_eq!(document["introspection_endpoint"], idp.url("/introspect"), "{url}");
            assert_eq!(document["revocation_endpoint"], idp.url("/revoke"), "{url}");
        }
        assert_eq!(jwt(&token(&idp).await).payload["iss"], idp.issuer());
    }
}

#[tokio::test]
async fn a_jwt_access_token_of_each_algorithm_follows_rfc_9068() {
    for (alg, kty, crv) in [
        (SigningAlg::Rs256, "RSA", None),
        (SigningAlg::Ps256, "RSA", None),
        (SigningAlg::Es256, "EC", Some("P-256")),
        (SigningAlg::Es384, "EC", Some("P-384")),
        (SigningAlg::EdDsa, "OKP", Some("Ed25519")),
        (SigningAlg::Ed25519, "OKP", Some("Ed25519")),
    ] {
        let idp = Idp::start(config(alg)).await;
        let answer = token_call(&idp, &[("scope", "inventory.read")]).await;
        assert_eq!(answer.status(), 200, "{alg:?}: {}", answer.body());
        assert_eq!(answer.json()["token_type"], "Bearer", "{alg:?}");
        assert_eq!(answer.json()["expires_in"], 3600, "{alg:?}");

        let jwt = jwt(answer.json()["access_token"].as_str().unwrap());
        assert_eq!(jwt.header["typ"], "at+jwt", "{alg:?}");
        assert_eq!(jwt.header["alg"], alg.as_str());
        assert_eq!(jwt.payload["iss"], idp.issuer(), "{alg:?}");
        assert_eq!(jwt.payload["aud"], INVENTORY, "{alg:?}");
        assert_eq!(jwt.payload["sub"], ID, "{alg:?}");
        assert_eq!(jwt.payload["client_id"], ID, "{alg:?}");
        assert_eq!(jwt.payload["scope"], "inventory.read", "{alg:?}");
        let life = jwt.payload["exp"].as_u64().unwrap() - jwt.payload["iat"].as_u64().unwrap();
        assert_eq!(life, 3600, "{alg:?}");
        assert!(jwt.payload["jti"].is_string(), "{alg:?}");

        let keys = jwks(&idp).await;
        let [key] = keys.as_slice() else { panic!("{alg:?}: one key, not {keys:?}") };
        assert_eq!(key["kid"], jwt.header["kid"], "{alg:?}");
        assert_eq!(key["alg"], alg.as_str());
        assert_eq!(key["kty"], kty, "{alg:?}");
        assert_eq!(key["crv"].as_str(), crv, "{alg:?}");
        assert_eq!(key["use"], "sig", "{alg:?}");
        assert_eq!(key["d"], Value::Null, "{alg:?}: a private key was published");
    }
}

#[tokio::test]
async fn a_token_is_for_the_resource_that_was_asked_for() {
    const MINUTE: Duration = Duration::from_secs(60);
    let idp = Idp::start(config(SigningAlg::Es256).resource(
        Resource::jwt("https://pay.test", SigningAlg::EdDsa).audience("pay").lifetime(MINUTE),
    ))
    .await;

    let answer = token_call(&idp, &[("resource", "https://pay.test")]).await.json();
    assert_eq!(answer["expires_in"], 60);
    let pay = jwt(answer["access_token"].as_str().unwrap());
    assert_eq!(pay.payload["aud"], "pay");
    assert_eq!(pay.header["alg"], "EdDSA");

    let unnamed = jwt(&token(&idp).await);
    assert_eq!(unnamed.payload["aud"], INVENTORY, "the first resource is the default");
    assert_eq!(unnamed.header["alg"], "ES256");

    let unknown = token_call(&idp, &[("resource", "https://nobody.test")]).await;
    assert_eq!((unknown.status(), &unknown.json()["error"]), (400, &json!("invalid_target")));
    let too_much = token_call(&idp, &[("scope", "inventory.write")]).await;
    assert_eq!((too_much.status(), &too_much.json()["error"]), (400, &json!("invalid_scope")));
}

#[tokio::test]
async fn a_client_is_known_by_its_own_method_and_secret_only() {
    // RFC 6749, 2.3.1: in a Basic header, both are form-encoded before they meet the colon.
    const ODD_ID: &str = "cl:ient +%";
    const ODD_SECRET: &str = "s:e cret+%";
    let scope = "inventory.read";
    let idp = Idp::start(
        config(SigningAlg::Es256)
            .client(RegisteredClient::post("in-the-form", SECRET).scope(scope))
            .client(RegisteredClient::basic(ODD_ID, ODD_SECRET).scope(scope))
            .client(RegisteredClient::post("odd:form +%", ODD_SECRET).scope(scope)),
    )
    .await;

    let raw_odd = format!("Basic {}", BASE64_STANDARD.encode(format!("{ODD_ID}:{ODD_SECRET}")));
    for (name, authorization, form, expected) in [
        ("basic", Some(basic(ID, SECRET)), None, Ok(ID)),
        ("basic, odd", Some(basic(ODD_ID, ODD_SECRET)), None, Ok(ODD_ID)),
        ("post", None, Some(("in-the-form", SECRET)), Ok("in-the-form")),
        ("post, odd", None, Some(("odd:form +%", ODD_SECRET)), Ok("odd:form +%")),
        ("basic, wrong secret", Some(basic(ID, "s3cre")), None, Err((401, "invalid_client"))),
        ("post, wrong secret", None, Some(("in-the-form", "x")), Err((401, "invalid_client"))),
        ("basic for post", Some(basic("in-the-form", SECRET)), None, Err((401, "invalid_client"))),
        ("nobody", Some(basic("nobody", SECRET)), None, Err((401, "invalid_client"))),
        ("basic, odd, not encoded", Some(raw_odd), None, Err((400, "invalid_request"))),
    ] {
        let mut fields = vec![("grant_type", "client_credentials"), ("scope", scope)];
        if let Some((id, secret)) = form {
            fields.extend([("client_id", id), ("client_secret", secret)]);
        }
        let headers: Vec<_> =
            authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = raw_http::post_form(&idp.url("/token"), &headers, &fields).await.unwrap();
        match expected {
            Ok(id) => {
                assert_eq!(answer.status(), 200, "{name}: {}", answer.body());
                let token = jwt(answer.json()["access_token"].as_str().unwrap());
                assert_eq!(token.payload["client_id"], id, "{name}");
            }
            Err((status, error)) => {
                assert_eq!(answer.status(), status, "{name}: {}", answer.body());
                assert_eq!(answer.json()["error"], error, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_the_issuer_and_forgets_keys_tokens_faults_and_counters() {
    let mut idp = Idp::start(config(SigningAlg::Es256)).await;
    let (issuer, old_pid, old_kids) = (idp.issuer().to_owned(), idp.pid(), kids(&idp).await);
    let opaque = opaque_token(&idp).await;
    assert_eq!(introspect(&idp, &opaque).await["active"], true);
    idp.fault(Fault::at("/jwks").status(503)).await;

    idp.kill().await;
    let refused = raw_http::get(&idp.url("/jwks")).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    idp.restart().await;
    assert_eq!(idp.counters().await, Counters::default());
    assert_eq!(idp.issuer(), issuer);
    assert_ne!(idp.pid(), old_pid);
    let new_kids = kids(&idp).await;
    assert!(new_kids.is_disjoint(&old_kids), "{old_kids:?} and {new_kids:?}");
    assert_eq!(introspect(&idp, &opaque).await, json!({ "active": false }));

    idp.restart().await;
    assert_eq!(idp.issuer(), issuer, "a restart of a running server");
    assert!(kids(&idp).await.is_disjoint(&new_kids));
}

#[tokio::test]
async fn each_rotation_does_to_the_jwks_and_to_new_tokens_what_it_says() {
    for alg in [SigningAlg::Rs256, SigningAlg::EdDsa] {
        let idp = Idp::start(config(alg)).await;
        let first = signing_kid(&idp).await;

        idp.rotate(Rotate::Add).await;
        let second = signing_kid(&idp).await;
        assert_ne!(second, first);
        assert_eq!(kids(&idp).await, set([&first, &second]), "add");

        idp.rotate(Rotate::Withdraw).await;
        assert_eq!(signing_kid(&idp).await, second);
        assert_eq!(kids(&idp).await, set([&second]), "withdraw");

        idp.rotate(Rotate::Replace).await;
        let third = signing_kid(&idp).await;
        assert_ne!(third, second);
        assert_eq!(kids(&idp).await, set([&third]), "replace");

        idp.rotate(Rotate::Add).await;
        let fourth = signing_kid(&idp).await;
        let before = jwks(&idp).await;
        idp.rotate(Rotate::SameKid).await;
        let after = jwks(&idp).await;
        assert_eq!(signing_kid(&idp).await, fourth);
        assert_eq!(kids(&idp).await, set([&third, &fourth]), "same kid");
        assert_ne!(of_kid(&after, &fourth), of_kid(&before, &fourth), "the same key, too");
        assert_eq!(of_kid(&after, &third), of_kid(&before, &third));
    }
}

#[tokio::test]
async fn a_rotation_leaves_opaque_tokens_alone_and_drop_forgets_them() {
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let opaque = opaque_token(&idp).await;
    idp.rotate(Rotate::Replace).await;
    assert_eq!(introspect(&idp, &opaque).await["active"], true);
    idp.drop_tokens().await;
    assert_eq!(introspect(&idp, &opaque).await, json!({ "active": false }));
}

#[tokio::test]
async fn opaque_tokens_are_introspected_and_revoked_and_jwts_are_not() {
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let opaque = opaque_token(&idp).await;
    assert!(!opaque.contains('.'), "no JWT");

    let claims = introspect(&idp, &opaque).await;
    assert_eq!(claims["active"], true);
    assert_eq!(claims["client_id"], ID);
    assert_eq!(claims["scope"], "ledger.read");
    assert_eq!(claims["aud"], LEDGER);
    assert_eq!(claims["iss"], idp.issuer());
    assert_eq!(claims["token_type"], "Bearer");
    assert_eq!(introspect(&idp, "nobody-gave-this-one").await, json!({ "active": false }));

    let revoked = call_as_client(&idp, "/revoke", &[("token", &opaque)]).await;
    assert_eq!(revoked.status(), 200, "{}", revoked.body());
    assert_eq!(introspect(&idp, &opaque).await, json!({ "active": false }));

    let jwt = token(&idp).await;
    for path in ["/introspect", "/revoke"] {
        let refused = call_as_client(&idp, path, &[("token", &jwt)]).await;
        assert_eq!(refused.status(), 400, "{path}");
        assert_eq!(refused.json()["error"], "unsupported_token_type", "{path}");
    }
}

#[tokio::test]
async fn an_opaque_token_outlives_thousands_of_others() {
    // oidc-provider's own memory holds 1,000.
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let first = opaque_token(&idp).await;
    for _ in 0..1_100 {
        opaque_token(&idp).await;
    }
    assert_eq!(introspect(&idp, &first).await["active"], true);
}

#[tokio::test]
async fn faults_break_what_they_name_as_often_as_they_say() {
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let jwks_url = idp.url("/jwks");

    idp.fault(Fault::at("/token").status(503).retry_after("7").body(r#"{"a":1}"#).times(2)).await;
    for _ in 0..2 {
        let broken = token_call(&idp, &[]).await;
        assert_eq!((broken.status(), broken.header("retry-after")), (503, Some("7")));
        assert_eq!(broken.json(), json!({ "a": 1 }));
    }
    assert_eq!(token_call(&idp, &[]).await.status(), 200, "two times, not three");
    assert_eq!(raw_http::get(&jwks_url).await.unwrap().status(), 200, "another endpoint");

    idp.fault(Fault::at("/jwks").reset()).await;
    for _ in 0..3 {
        let reset = raw_http::get(&jwks_url).await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    }
    idp.fault(Fault::at("/jwks").body("<html>").content_type("text/html").times(1)).await;
    let page = raw_http::get(&jwks_url).await.unwrap();
    assert_eq!((page.status(), page.body()), (200, "<html>"), "the newest fault is played");
    assert_eq!(page.header("content-type"), Some("text/html"));
    raw_http::get(&jwks_url).await.expect_err("the older one still lasts");
    idp.clear_faults().await;
    assert_eq!(raw_http::get(&jwks_url).await.unwrap().status(), 200);

    idp.fault(Fault::at("/.well-known").status(404)).await;
    let discovery = idp.url("/.well-known/openid-configuration");
    assert_eq!(raw_http::get(&discovery).await.unwrap().status(), 404, "what lies below a path");
    idp.fault(Fault::at("/").status(500)).await;
    assert_eq!(raw_http::get(&jwks_url).await.unwrap().status(), 500, "all");
}

#[tokio::test]
async fn a_delay_holds_the_real_answer_back() {
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let delay = Duration::from_millis(1_500);
    idp.fault(Fault::at("/jwks").delay(delay).times(2)).await;
    let url = idp.url("/jwks");
    timeout(delay / 3, raw_http::get(&url)).await.expect_err("an answer at once");
    assert_eq!(raw_http::get(&url).await.unwrap().status(), 200, "the late answer is the real one");
}

#[tokio::test]
async fn every_call_is_counted_by_its_endpoint() {
    let idp = Idp::start(config(SigningAlg::Es256).issuer_path("/realms/shop")).await;
    assert_eq!(idp.counters().await, Counters::default());
    idp.fault(Fault::at("/token").status(503).times(1)).await;
    token_call(&idp, &[]).await;
    let opaque = opaque_token(&idp).await;
    introspect(&idp, &opaque).await;
    call_as_client(&idp, "/revoke", &[("token", &opaque)]).await;
    jwks(&idp).await;
    raw_http::get(&idp.url("/.well-known/openid-configuration")).await.unwrap();
    raw_http::get(&idp.url("/.well-known/oauth-authorization-server")).await.unwrap();
    assert_eq!(
        idp.counters().await,
        Counters { token: 2, jwks: 1, discovery: 2, introspection: 1, revocation: 1 },
    );
    idp.reset_counters().await;
    assert_eq!(idp.counters().await, Counters::default());
}

#[tokio::test]
async fn keys_that_nobody_can_use_stand_in_front_of_the_others() {
    let idp = Idp::start(config(SigningAlg::Es256).unknown_keys()).await;
    let unknown = [
        ("AKP", json!("ML-DSA-44")),
        ("EC", json!("ES256K")),
        ("OKP", json!("ECDH-ES")),
        ("tomorrow", Value::Null),
        ("EC", json!("ES256")),
    ];
    let published = |keys: Vec<Value>| {
        keys.into_iter().map(|key| (key["kty"].clone(), key["alg"].clone())).collect::<Vec<_>>()
    };
    let expected: Vec<_> = unknown.iter().map(|(kty, alg)| (json!(kty), alg.clone())).collect();
    assert_eq!(published(jwks(&idp).await), expected);

    idp.publish_unknown_keys(false).await;
    assert_eq!(published(jwks(&idp).await), expected[4..]);
    idp.publish_unknown_keys(true).await;
    idp.rotate(Rotate::Replace).await;
    assert_eq!(published(jwks(&idp).await), expected, "a rotation leaves them there");
}

#[tokio::test]
async fn the_jwks_has_the_cache_control_it_was_given_or_none() {
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    assert_eq!(raw_http::get(&idp.url("/jwks")).await.unwrap().header("cache-control"), None);
    let idp = Idp::start(config(SigningAlg::Es256).jwks_cache_control("max-age=90")).await;
    let answer = raw_http::get(&idp.url("/jwks")).await.unwrap();
    assert_eq!(answer.header("cache-control"), Some("max-age=90"));
}

#[tokio::test]
async fn dropping_it_ends_the_process() {
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let address = idp.issuer().strip_prefix("http://").unwrap().to_owned();
    // A connection lives as long as the process at its other end.
    let mut connection = TcpStream::connect(&address).await.unwrap();
    drop(idp);
    let end = timeout(END, connection.read(&mut [0])).await;
    assert!(matches!(end, Ok(Ok(0) | Err(_))), "it still lives: {end:?}");
}

#[tokio::test]
async fn it_ends_by_itself_with_the_one_that_started_it_or_when_told() {
    for told in [false, true] {
        let mut process = idp::command(&config(SigningAlg::Es256), 0).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        timeout(START, lines.next_line()).await.unwrap().unwrap().expect("the ready line");
        if told {
            let pid = process.id().unwrap().to_string();
            let kill = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
            assert!(kill.success());
        } else {
            // All that is left of a killed test process: the end of the pipe.
            drop(process.stdin.take());
        }
        // `wait` would close the pipe itself; the end of its output shows that it needs no such help.
        let rest = timeout(END, lines.next_line()).await.expect("an orphan").unwrap();
        assert_eq!(rest, None, "stdout has the ready line alone");
        assert!(timeout(END, process.wait()).await.unwrap().unwrap().success());
    }
}

struct Jwt {
    header: Value,
    payload: Value,
}

fn jwt(token: &str) -> Jwt {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { panic!("no JWS: {parts:?}") };
    assert!(!signature.is_empty());
    let json =
        |part: &str| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    Jwt { header: json(header), payload: json(payload) }
}

fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}

async fn call_as_client(idp: &Idp, path: &str, fields: &[(&str, &str)]) -> Answer {
    let headers = [("authorization", &*basic(ID, SECRET))];
    raw_http::post_form(&idp.url(path), &headers, fields).await.unwrap()
}

async fn token_call(idp: &Idp, fields: &[(&str, &str)]) -> Answer {
    let all = [&[("grant_type", "client_credentials")], fields].concat();
    call_as_client(idp, "/token", &all).await
}

async fn token(idp: &Idp) -> String {
    access_token(&token_call(idp, &[]).await)
}

async fn opaque_token(idp: &Idp) -> String {
    access_token(&token_call(idp, &[("resource", LEDGER), ("scope", "ledger.read")]).await)
}

fn access_token(answer: &Answer) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.body());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn introspect(idp: &Idp, token: &str) -> Value {
    let answer = call_as_client(idp, "/introspect", &[("token", token)]).await;
    assert_eq!(answer.status(), 200, "{}", answer.body());
    answer.json()
}

async fn jwks(idp: &Idp) -> Vec<Value> {
    let answer = raw_http::get(&idp.url("/jwks")).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.body());
    answer.json()["keys"].as_array().unwrap().clone()
}

async fn kids(idp: &Idp) -> BTreeSet<String> {
    jwks(idp).await.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signing_kid(idp: &Idp) -> String {
    jwt(&token(idp).await).header["kid"].as_str().unwrap().to_owned()
}

fn of_kid<'a>(keys: &'a [Value], kid: &str) -> &'a Value {
    keys.iter().find(|key| key["kid"] == kid).unwrap()
}

fn set<const N: usize>(kids: [&String; N]) -> BTreeSet<String> {
    kids.into_iter().cloned().collect()
}
