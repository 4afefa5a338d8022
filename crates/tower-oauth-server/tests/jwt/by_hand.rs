//! Keys by hand, rules about clients and claims, checks of the application.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use tower_oauth_jose::{InvalidToken, KeySet, VerifyingKey};
use tower_oauth_server::{Algorithm as Alg, Jwks, Jwt, JwtBuilder, Profile, Rejection};
use tower_oauth_test::{Algorithm, Endpoint, Signature, TokenSpec};

use crate::fixture::{AUDIENCE, House, judge, jwt, unknown_key};

const SECRET: &[u8] = b"a secret of at least 32 bytes, all of them random in real life";

#[derive(Debug, Deserialize)]
struct Staff {
    tenant: u32,
}

fn by_keys(house: &House, keys: KeySet) -> JwtBuilder {
    Jwt::issuer(house.issuer.issuer())
        .audience(AUDIENCE)
        .clock(Arc::new(house.clock.clone()))
        .keys(keys)
}

/// A token that the gateway has signed with the shared secret.
fn hmac_token(house: &House, spec: TokenSpec) -> String {
    let signature = Signature::Hmac(bytes::Bytes::from_static(SECRET));
    house.issuer.mint(spec.header("alg", "HS256").signature(signature))
}

fn invalid(reason: InvalidToken) -> Option<Rejection> {
    Some(Rejection::Invalid(reason))
}

#[tokio::test]
async fn keys_by_hand_never_fetch_with_a_name_or_without() {
    let house = House::with(|issuer| issuer.algorithm(Algorithm::Es256), |jwt| jwt);
    let jwks = house.issuer.jwks();
    let named = VerifyingKey::from_jwk(jwks["keys"][0].to_string()).unwrap();
    let mut bare = jwks["keys"][0].clone();
    bare.as_object_mut().unwrap().remove("kid");
    let bare = VerifyingKey::from_jwk(bare.to_string()).unwrap();
    for (key, forged) in [(named, InvalidToken::UnknownKey), (bare, InvalidToken::BadSignature)] {
        let jwt = by_keys(&house, KeySet::from_keys([key])).build().unwrap();
        assert!(judge(&jwt, &house.token()).await.is_ok());
        let verdict = judge(&jwt, &house.issuer.forge("z")).await.err();
        assert_eq!(verdict, invalid(forged));
    }
    assert_eq!(house.issuer.calls(Endpoint::Jwks), 0);
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 0);
}

#[tokio::test]
async fn j02_hmac_only_where_a_secret_is_configured() {
    let house = House::warm().await;
    let token = hmac_token(&house, TokenSpec::new());
    let fetched = house.judge(&token).await.err();
    assert_eq!(fetched, invalid(InvalidToken::AlgorithmNotAllowed));
    assert_eq!(house.fetches(), 0);

    let key = VerifyingKey::hmac(Alg::HS256, SECRET).unwrap();
    let jwt = by_keys(&house, KeySet::from_keys([key.clone()])).build().unwrap();
    assert!(judge(&jwt, &token).await.is_ok());
    // The issuer's own tokens are none of this gateway's.
    let other = judge(&jwt, &house.token()).await.err();
    assert_eq!(other, invalid(InvalidToken::AlgorithmNotAllowed));
    let forged = house.issuer.mint(
        TokenSpec::new().header("alg", "HS256").signature(Signature::Hmac(vec![7; 64].into())),
    );
    assert_eq!(judge(&jwt, &forged).await.err(), invalid(InvalidToken::BadSignature));

    // Through the handle, too, the keys say which algorithms there are.
    let handle = Jwks::fixed(KeySet::from_keys([key])).unwrap();
    let jwt = Jwt::issuer(house.issuer.issuer())
        .audience(AUDIENCE)
        .clock(Arc::new(house.clock.clone()))
        .jwks(handle)
        .build()
        .unwrap();
    assert!(judge(&jwt, &token).await.is_ok());
}

#[tokio::test]
async fn a_secret_beside_a_public_key_confuses_neither() {
    let house = House::with(|issuer| issuer.algorithm(Algorithm::Es256), |jwt| jwt);
    let jwk = house.issuer.jwks()["keys"][0].to_string();
    let public = VerifyingKey::from_jwk(&jwk).unwrap();
    let secret = VerifyingKey::hmac(Alg::HS256, SECRET).unwrap().with_kid("gateway").unwrap();
    let jwt = by_keys(&house, KeySet::from_keys([public, secret])).build().unwrap();
    assert!(judge(&jwt, &house.token()).await.is_ok());
    let gateway = hmac_token(&house, TokenSpec::new().header("kid", "gateway"));
    assert!(judge(&jwt, &gateway).await.is_ok());
    // The secret under the public key's name, and the other way round.
    let crossed = judge(&jwt, &hmac_token(&house, TokenSpec::new())).await.err();
    assert_eq!(crossed, invalid(InvalidToken::KeyMismatch));
    let crossed = house.issuer.mint(TokenSpec::new().header("kid", "gateway"));
    assert_eq!(judge(&jwt, &crossed).await.err(), invalid(InvalidToken::KeyMismatch));
    // The public key's text as a secret.
    let confused = TokenSpec::new().header("alg", "HS256").header("kid", "gateway");
    let confused = house.issuer.mint(confused.signature(Signature::Hmac(jwk.into())));
    assert_eq!(judge(&jwt, &confused).await.err(), invalid(InvalidToken::BadSignature));
}

#[tokio::test]
async fn a_profile_takes_what_its_issuer_sends() {
    let house = House::with(|issuer| issuer, |jwt| jwt.profile(Profile::Keycloak));
    let spec = || {
        TokenSpec::new()
            .header("typ", "JWT")
            .without_claim("client_id")
            .claim("azp", "orders")
            .claim("nonce", "n")
    };
    let caller = house.judge(&house.issuer.mint(spec().claim("typ", "Bearer"))).await.unwrap();
    assert_eq!(caller.principal.client_id.as_deref(), Some("orders"));
    let id_token = house.issuer.mint(spec().claim("typ", "ID"));
    let verdict = house.judge(&id_token).await.err();
    assert_eq!(verdict, invalid(InvalidToken::ForbiddenClaim("typ")));
}

#[tokio::test]
async fn a_cognito_pool_is_known_by_its_clients() {
    let house = House::new();
    let keys = KeySet::from_jwks(house.issuer.jwks().to_string()).unwrap();
    let jwt = Jwt::issuer(house.issuer.issuer())
        .cognito_clients(["app-1", "app-2"])
        .clock(Arc::new(house.clock.clone()))
        .keys(keys)
        .build()
        .unwrap();
    let spec = |client| {
        let spec = TokenSpec::new().without_header("typ").without_claim("aud");
        spec.client(client).claim("token_use", "access")
    };
    for (client, good) in [("app-1", true), ("app-2", true), ("app-3", false)] {
        let verdict = judge(&jwt, &house.issuer.mint(spec(client))).await;
        assert_eq!(verdict.is_ok(), good, "{client}");
    }
    let elsewhere = house.issuer.mint(spec("app-1").audience(AUDIENCE));
    let verdict = judge(&jwt, &elsewhere).await.err();
    assert_eq!(verdict, invalid(InvalidToken::WrongAudience));
}

#[tokio::test]
async fn clients_and_claims_that_are_asked_for() {
    let house = House::with(|issuer| issuer, |jwt| jwt.clients(["orders"]).require_claim("tenant"));
    let spec = || TokenSpec::new().client("orders").claim("tenant", 7);
    for (spec, expected) in [
        (spec(), None),
        (spec().client("other"), invalid(InvalidToken::WrongClient)),
        (spec().without_claim("tenant"), invalid(InvalidToken::MissingClaim("tenant"))),
        (spec().claim("tenant", json!(null)), invalid(InvalidToken::MissingClaim("tenant"))),
    ] {
        assert_eq!(house.judge(&house.issuer.mint(spec)).await.err(), expected);
    }
}

#[tokio::test]
async fn the_applications_checks_run_last_in_order_and_each_of_them() {
    let house = House::new();
    let jwt = jwt(&house.issuer, &house.clock)
        .claims::<Staff>()
        .check(|staff| if staff.tenant > 0 { Ok(()) } else { Err("no tenant") })
        .check(|staff| if staff.tenant < 10 { Ok(()) } else { Err("not our tenant") })
        .build()
        .unwrap();
    let spec = |tenant: i32| TokenSpec::new().claim("tenant", tenant);
    for (tenant, expected) in [
        (7, None),
        (0, invalid(InvalidToken::CheckFailed("no tenant"))),
        (10, invalid(InvalidToken::CheckFailed("not our tenant"))),
        (-1, invalid(InvalidToken::UnfitClaims)),
    ] {
        // Twice, since a verdict may be remembered.
        for _ in 0..2 {
            let verdict = judge(&jwt, &house.issuer.mint(spec(tenant))).await.err();
            assert_eq!(verdict, expected, "{tenant}");
        }
    }
    // A token that is not the issuer's is refused for that.
    let forged = house.issuer.mint(spec(0).signature(Signature::Random));
    let verdict = judge(&jwt, &forged).await.err();
    assert_eq!(verdict, invalid(InvalidToken::BadSignature));
    // The text is for the log: a client sees another one.
    let rejection = Rejection::Invalid(InvalidToken::CheckFailed("no tenant"));
    assert_eq!(rejection.code(), "check_failed");
    assert!(!rejection.to_string().contains("tenant"));
}

#[tokio::test]
async fn a_check_of_the_standard_claims() {
    let house = House::with(
        |issuer| issuer,
        |jwt| {
            jwt.check(|claims| match claims.session_id() {
                Some(_) => Ok(()),
                None => Err("no session"),
            })
        },
    );
    assert!(house.accepts(&house.issuer.mint(TokenSpec::new().claim("sid", "s"))).await);
    let verdict = house.judge(&house.token()).await.err();
    assert_eq!(verdict, invalid(InvalidToken::CheckFailed("no session")));
}

#[tokio::test]
async fn h04_the_door_looks_at_tokens_as_long_as_the_validator_does() {
    use tower::{ServiceExt as _, service_fn};
    use tower_oauth_server::{MalformedRequest, RequireTokenLayer};

    let usual = House::with(|issuer| issuer, |jwt| jwt);
    let large = House::with(|issuer| issuer, |jwt| jwt.max_token_bytes(64 * 1024));
    for (house, groups, expected) in [
        (&usual, 10, None),
        (&usual, 200, Some(Rejection::Malformed(MalformedRequest::TooLong))),
        (&large, 200, None),
        (&large, 1_200, None),
        (&large, 1_300, Some(Rejection::Malformed(MalformedRequest::TooLong))),
    ] {
        // As Entra ID lists groups: 36 characters each.
        let groups: Vec<_> = (0..groups).map(|n| format!("{n:036}")).collect();
        let token = house.issuer.mint(TokenSpec::new().claim("groups", groups));
        let door = RequireTokenLayer::new(house.jwt.clone());
        let service = tower::Layer::layer(
            &door,
            service_fn(|_: http::Request<String>| async {
                Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
            }),
        );
        let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
        let response = service.oneshot(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(response.extensions().get::<Rejection>(), expected.as_ref(), "{}", token.len());
        assert_eq!(response.status().is_success(), expected.is_none());
    }
}

#[tokio::test]
async fn a_key_by_hand_for_another_issuer_or_name_is_unknown() {
    let (ours, theirs) = (House::new(), House::new());
    let keys = KeySet::from_jwks(ours.issuer.jwks().to_string()).unwrap();
    let jwt = by_keys(&ours, keys).build().unwrap();
    let foreign = theirs.issuer.mint(TokenSpec::new().header("kid", "another"));
    assert_eq!(judge(&jwt, &foreign).await.err(), Some(unknown_key()));
}
