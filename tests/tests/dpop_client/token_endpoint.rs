//! The token request: its proof, its nonce, and the type of what comes back.

use serde_json::{Value, json};
use tower_oauth::{Algorithm, DpopKey};
use tower_oauth::{
    AssertionAudience, Client, ErrorKind, Need, OAuthCode, Secret, SigningKey, TokenCache,
    TokenSource,
};

use crate::rig::{SECRET, Say, World};

async fn kind(tokens: &TokenCache) -> Result<String, ErrorKind> {
    let token = tokens.fetch(Need::Any).await.map_err(|error| error.kind())?;
    Ok(token.header().to_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn t06_an_answer_of_another_type_than_dpop_is_discarded() {
    let cases = [
        (json!("DPoP"), true),
        (json!("dpop"), true),
        (json!("Bearer"), false),
        (json!("bearer"), false),
        (json!("mac"), false),
        (json!("N_A"), false),
        (json!(1), false),
        (Value::Null, false),
    ];
    for (kind_said, is_good) in cases {
        let world = World::new().await;
        // Each try of the exchange.
        world.script.lock().unwrap().extend(vec![Say::Type(kind_said.clone()); 4]);
        match kind(&world.tokens()).await {
            Ok(header) => assert!(is_good && header.starts_with("DPoP "), "{kind_said}"),
            Err(ErrorKind::Malformed(_)) => assert!(!is_good, "{kind_said}"),
            Err(other) => panic!("{kind_said}: {other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r11_the_token_endpoint_gets_the_nonce_that_it_asks_for() {
    let world = World::new().await;
    *world.nonce.lock().unwrap() = Some("one".into());
    let tokens = world.tokens();
    kind(&tokens).await.unwrap();
    let came = world.exchanges.take();
    assert_eq!(came.len(), 2);
    assert_eq!((came[0].said("nonce"), came[1].said("nonce")), (None, Some("one")));
    assert_ne!(came[0].said("jti"), came[1].said("jti"));
    for came in &came {
        assert_eq!(came.said("htm"), Some("POST"));
        assert_eq!(came.said("htu"), Some(&*came.uri));
        assert_eq!(came.said("ath"), None);
    }
    tokens.flush();
    kind(&tokens).await.unwrap();
    let came = world.exchanges.take();
    assert_eq!(came.len(), 1, "it is known by now");
    *world.nonce.lock().unwrap() = Some("two".into());
    tokens.flush();
    kind(&tokens).await.unwrap();
    assert_eq!(world.exchanges.take().len(), 2);
}

/// The chain goes on after a refusal of what was presented; a nonce is none, and neither is a proof that the server does not take.
#[tokio::test(start_paused = true)]
async fn r11_a_challenge_at_the_token_endpoint_is_no_reason_to_send_a_password() {
    for code in ["use_dpop_nonce", "invalid_dpop_proof"] {
        let world = World::new().await;
        world.script.lock().unwrap().extend(vec![Say::OAuth(code); 8]);
        let tokens = world
            .bare_builder()
            .client(Client::basic("orders", SECRET))
            .refresh_token(Secret::new("r"))
            .password("robot", Secret::new("CANARY-password"))
            .build()
            .unwrap();
        let error = kind(&tokens).await.unwrap_err();
        assert_eq!(error, ErrorKind::OAuth(OAuthCode::parse(code)));
        let came = world.exchanges.take();
        assert!(came.len() <= 2, "{} calls", came.len());
        assert!(came.iter().all(|came| came.field("grant_type") == Some("refresh_token")));
    }
}

#[tokio::test(start_paused = true)]
async fn t13_each_try_has_an_assertion_and_a_proof_of_its_own() {
    let world = World::new().await;
    *world.nonce.lock().unwrap() = Some("one".into());
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let client =
        Client::private_key_jwt("orders", key).assertion_audience(AssertionAudience::TokenEndpoint);
    let tokens = world.bare_builder().client(client).build().unwrap();
    kind(&tokens).await.unwrap();
    let came = world.exchanges.take();
    assert_eq!(came.len(), 2);
    let assertion = |index: usize| {
        crate::rig::claims(came[index].field("client_assertion").unwrap())["jti"].clone()
    };
    assert_ne!(assertion(0), assertion(1), "an assertion is good once");
}

#[tokio::test(start_paused = true)]
async fn t06_a_refresh_token_beside_a_token_of_the_wrong_type_is_not_lost() {
    let world = World::new().await;
    let tokens = world
        .bare_builder()
        .client(Client::basic("orders", SECRET))
        .refresh_token(Secret::new("first"))
        .build()
        .unwrap();
    world.script.lock().unwrap().push_back(Say::Type(json!("Bearer")));
    kind(&tokens).await.unwrap();
    let sent: Vec<_> = world
        .exchanges
        .take()
        .iter()
        .map(|came| came.field("refresh_token").unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["first", "refresh-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_each_sources_own_and_may_be_given() {
    let world = World::new().await;
    let key = DpopKey::new(SigningKey::generate(Algorithm::EdDSA).unwrap()).unwrap();
    let bound_to = |header: String| {
        let claims = crate::rig::claims(header.strip_prefix("DPoP ").unwrap());
        claims["cnf"]["jkt"].as_str().unwrap().to_owned()
    };
    let one = bound_to(kind(&world.tokens()).await.unwrap());
    let other = bound_to(kind(&world.tokens()).await.unwrap());
    assert_ne!(one, other);
    for _ in 0..2 {
        let tokens = world.builder().dpop(key.clone()).build().unwrap();
        assert_eq!(bound_to(kind(&tokens).await.unwrap()), key.thumbprint().to_string());
    }
    let keyed = world.builder().build_keyed(|_: &u32, request| Ok(request)).unwrap();
    let one = bound_to(kind(&keyed.get(&1)).await.unwrap());
    assert_eq!(one, bound_to(kind(&keyed.get(&2)).await.unwrap()), "one client, one key");
}

#[test]
fn a_key_beside_a_service_of_the_users_own_is_of_no_use() {
    let nobody = tower::service_fn(|_| async {
        Err::<tower_oauth::codec::TokenResponse, _>(tower_oauth::Error::new(ErrorKind::Transport))
    });
    let built =
        TokenCache::builder().token_service(nobody).dpop(DpopKey::generate().unwrap()).build();
    let error = built.unwrap_err().to_string();
    assert!(error.starts_with("dpop "), "{error}");
}

#[test]
fn l01_debug_of_a_key_shows_its_thumbprint_only() {
    let key = DpopKey::generate().unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.thumbprint().to_string()), "{shown}");
    assert!(shown.len() < 160, "{shown}");
    let secret = SigningKey::hmac(Algorithm::HS256, [7; 32]).unwrap();
    assert!(DpopKey::new(secret).is_err(), "a shared secret proves nothing");
}
