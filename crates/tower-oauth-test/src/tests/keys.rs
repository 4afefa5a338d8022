use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use http::header::IF_NONE_MATCH;

use super::*;
use crate::{Algorithm, Rotation, TokenSpec};

/// Verifies an ES256 signature by a published key.
pub(super) fn verifies(jwk: &Value, message: &str, signature: &[u8]) -> bool {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [vec![4], part("x"), part("y")].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(message.as_bytes(), signature).is_ok()
}

/// Whether a key of the published set verifies the token, by its `kid`.
fn is_good(jwks: &Value, token: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let kid = &parts(token).0["kid"];
    let mut keys = jwks["keys"].as_array().unwrap().iter();
    keys.find(|key| key["kid"] == *kid).is_some_and(|key| verifies(key, message, &signature))
}

#[tokio::test]
async fn each_rotation_keeps_or_kills_the_tokens_before_it() {
    let cases = [
        (Rotation::Add, true),
        (Rotation::Replace, false),
        (Rotation::SameKid, false),
        (Rotation::Withdraw, true),
    ];
    for (rotation, old_verifies) in cases {
        let issuer = issuer();
        let old = obtain(&issuer).await;
        issuer.rotate(rotation);
        let jwks = ask(&issuer, get(&issuer, Endpoint::Jwks)).await.json();
        assert_eq!(is_good(&jwks, &old), old_verifies, "{rotation:?}");
        assert!(is_good(&jwks, &obtain(&issuer).await), "{rotation:?}");
        assert!(issuer.is_active(&old), "keys and memory are two things");
    }
}

#[test]
fn a_withdrawn_key_is_one_that_does_not_sign() {
    let issuer = issuer();
    let old = issuer.mint(TokenSpec::new());
    issuer.rotate(Rotation::Add);
    let new = issuer.mint(TokenSpec::new());
    assert!(is_good(&issuer.jwks(), &old));
    issuer.rotate(Rotation::Withdraw);
    assert!(!is_good(&issuer.jwks(), &old));
    assert!(is_good(&issuer.jwks(), &new));
    assert_eq!(issuer.kid(), "key-2");
}

#[test]
fn a_rotation_may_change_the_algorithm() {
    let issuer = issuer();
    issuer.rotate_to(Rotation::SameKid, Algorithm::EdDsa);
    let (header, _) = parts(&issuer.mint(TokenSpec::new()));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("EdDSA"), &json!("key-1")));
    assert_eq!(issuer.jwks()["keys"][0]["kty"], "OKP");
    issuer.rotate(Rotation::Add);
    assert_eq!(issuer.jwks()["keys"][0]["kty"], "OKP");
}

#[tokio::test]
async fn the_key_set_says_how_long_and_which() {
    let issuer = issuer();
    let answer = ask(&issuer, get(&issuer, Endpoint::Jwks)).await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=600"));
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.json(), issuer.jwks());
    let silent = builder().jwks_cache_control(None).build().unwrap();
    assert_eq!(ask(&silent, get(&silent, Endpoint::Jwks)).await.header("cache-control"), None);
    let short = builder().jwks_cache_control("max-age=5").build().unwrap();
    let answer = ask(&short, get(&short, Endpoint::Jwks)).await;
    assert_eq!(answer.header("cache-control"), Some("max-age=5"));
}

#[tokio::test]
async fn a_known_key_set_is_not_sent_again() {
    let issuer = issuer();
    let etag = ask(&issuer, get(&issuer, Endpoint::Jwks)).await.header("etag").unwrap().to_owned();
    let ask_with = async |tags: &str| {
        let mut request = get(&issuer, Endpoint::Jwks);
        request.headers_mut().insert(IF_NONE_MATCH, tags.parse().unwrap());
        ask(&issuer, request).await
    };
    for tags in [etag.clone(), format!("W/{etag}"), format!("\"a\", {etag}"), "*".into()] {
        let answer = ask_with(&tags).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{tags}");
        assert_eq!((answer.header("etag"), answer.body.len()), (Some(etag.as_str()), 0));
        assert!(answer.header("cache-control").is_some());
    }
    assert_eq!(ask_with("\"other\"").await.status, StatusCode::OK);
    issuer.rotate(Rotation::SameKid);
    assert_eq!(ask_with(&etag).await.status, StatusCode::OK);
}
