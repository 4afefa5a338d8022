//! The memory of verified tokens: what it saves, and what it never lets slip.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{Jwt, JwtBuilder, Rejection, VerifiedTokenCache};
use tower_oauth_test::{Algorithm, Rotation, Signature, TokenSpec};

use crate::fixture::{AUDIENCE, House, bad_signature, judge, jwt, unknown_key};

/// How often claims were read, which happens once for each verification.
static READ: AtomicUsize = AtomicUsize::new(0);

/// Claims that count their readings.
#[derive(Debug)]
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::SeqCst);
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Whether both verdicts came from one verification.
fn same<C>(one: &tower_oauth_server::Caller<C>, other: &tower_oauth_server::Caller<C>) -> bool {
    Arc::ptr_eq(&one.principal, &other.principal) && Arc::ptr_eq(&one.claims, &other.claims)
}

/// Asks twice; says whether the second verdict was remembered.
fn remembers(house: &House, token: &str) -> bool {
    same(&house.judge_now(token).unwrap(), &house.judge_now(token).unwrap())
}

#[tokio::test]
async fn a_token_that_was_seen_is_not_verified_again() {
    let house = House::new();
    let typed = jwt(&house.issuer, &house.clock).claims::<Counted>().build().unwrap();
    let token = house.token();
    let clones: Vec<Jwt<Counted>> = (0..10).map(|_| typed.clone()).collect();
    for jwt in &clones {
        assert!(judge(jwt, &token).await.is_ok());
    }
    assert_eq!(READ.load(Ordering::SeqCst), 1, "the first waited for keys, the others did not ask");
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let house = House::with(|issuer| issuer, |jwt| jwt.verified_token_cache(None)).warmed().await;
    assert!(!remembers(&house, &house.token()));
    let house = House::warm().await;
    assert!(remembers(&house, &house.token()), "the default");
}

#[tokio::test]
async fn case_58_a_remembered_token_dies_at_its_time() {
    let house = House::warm().await;
    let token = house.issuer.mint(TokenSpec::new().expires_in(Duration::from_secs(60)));
    assert!(remembers(&house, &token));
    house.pass(60.0 + 29.0);
    assert!(remembers(&house, &token), "the leeway is the verifier's");
    house.pass(1.0);
    let expired = Rejection::Invalid(InvalidToken::Expired);
    assert_eq!(house.judge_now(&token).unwrap_err(), expired);
    // A clock that is set back to before the token: not yet, and after that again.
    let token = house.token();
    assert!(remembers(&house, &token));
    house.clock.step_wall(-31);
    let early = Rejection::Invalid(InvalidToken::NotYetValid);
    assert_eq!(house.judge_now(&token).unwrap_err(), early);
    house.clock.step_wall(31);
    assert!(house.judge_now(&token).is_ok());
}

#[tokio::test]
async fn case_59_a_token_over_the_limit_is_verified_and_not_remembered() {
    let cache = VerifiedTokenCache::new().token_bytes(1_000);
    let house = House::with(|issuer| issuer, |jwt| jwt.verified_token_cache(cache)).warmed().await;
    for (size, remembered) in [(10, true), (1_000, false)] {
        let token = house.issuer.mint(TokenSpec::new().claim("pad", "x".repeat(size)));
        assert_eq!(token.len() <= 1_000, remembered);
        assert_eq!(remembers(&house, &token), remembered, "{size}");
    }
}

#[tokio::test]
async fn case_60_a_route_with_another_audience_judges_for_itself() {
    let house = House::warm().await;
    let other = Jwt::issuer(house.issuer.issuer())
        .audience("payroll")
        .clock(Arc::new(house.clock.clone()))
        .jwks(house.jwt.jwks().clone())
        .build()
        .unwrap();
    let ours = house.token();
    assert!(remembers(&house, &ours));
    let rejection = judge(&other, &ours).await.unwrap_err();
    assert_eq!(rejection, Rejection::Invalid(InvalidToken::WrongAudience));
    let both = house.issuer.mint(TokenSpec::new().audiences([AUDIENCE, "payroll"]));
    assert!(house.judge_now(&both).is_ok() && judge(&other, &both).await.is_ok());
    assert_eq!(house.fetches(), 0);
}

#[tokio::test]
async fn k14_case_31_a_withdrawn_key_takes_its_remembered_tokens_along() {
    for (rotation, refusal) in
        [(Rotation::Replace, unknown_key()), (Rotation::SameKid, bad_signature())]
    {
        let house = House::warm().await;
        let old: Vec<_> = (0..100).map(|_| house.token()).collect();
        assert!(old.iter().all(|token| remembers(&house, token)));
        house.issuer.rotate(rotation);
        assert!(house.accepts(&house.token()).await);
        for token in &old {
            assert_eq!(house.judge_now(token).unwrap_err(), refusal, "{rotation:?}");
        }
    }
}

#[tokio::test]
async fn a_new_key_throws_nobody_out() {
    let house = House::warm().await;
    let token = house.token();
    let before = house.judge_now(&token).unwrap();
    house.issuer.rotate(Rotation::Add);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.jwt.jwks().generation(), 2);
    assert!(same(&before, &house.judge_now(&token).unwrap()));
}

#[tokio::test]
async fn a_key_that_moves_to_another_name_or_another_use_takes_its_tokens_along() {
    let house = House::warm().await;
    let token = house.token();
    assert!(remembers(&house, &token));
    let mut key = house.issuer.jwks()["keys"][0].clone();
    for (member, value) in [("kid", "renamed"), ("use", "enc")] {
        key[member] = value.into();
        house.issuer.rotate(Rotation::Replace);
        house.issuer.withdraw_extra_keys();
        house.issuer.publish_extra_key(key.clone());
        house.jwt.jwks().refresh().await.unwrap();
        assert_eq!(house.judge(&token).await.unwrap_err(), unknown_key(), "{member}");
    }
}

#[tokio::test]
async fn an_evicted_key_takes_its_remembered_tokens_along() {
    let house = House::warm().await;
    let token = house.token();
    assert!(remembers(&house, &token));
    assert!(house.jwt.jwks().evict("key-1"));
    house.issuer.go_dark();
    assert_eq!(house.judge(&token).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn k14_nobody_is_remembered_longer_than_the_keys_serve() {
    let house =
        House::with(|issuer| issuer, |jwt| jwt.stale_for(Duration::from_secs(60))).warmed().await;
    let token = house.token();
    assert!(remembers(&house, &token));
    house.issuer.go_dark();
    house.pass(659.0);
    assert!(house.judge_now(&token).is_ok());
    house.pass(1.0);
    assert_eq!(house.judge(&token).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn what_is_refused_is_not_remembered_and_does_not_crowd_anybody_out() {
    let cache = VerifiedTokenCache::new().entries(16);
    let house = House::with(|issuer| issuer, |jwt| jwt.verified_token_cache(cache)).warmed().await;
    let token = house.token();
    assert!(remembers(&house, &token));
    let first = house.judge_now(&token).unwrap();
    for n in 0..1_000 {
        house.judge(&house.issuer.forge(&n.to_string())).await.unwrap_err();
    }
    let forged = house.issuer.mint(TokenSpec::new().signature(Signature::Stranger));
    for _ in 0..3 {
        assert_eq!(house.judge(&forged).await.unwrap_err(), bad_signature());
    }
    assert!(same(&first, &house.judge_now(&token).unwrap()));
}

#[tokio::test]
async fn every_byte_of_a_remembered_token_counts() {
    let house = House::warm().await;
    let token = house.token();
    assert!(remembers(&house, &token));
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert!(house.judge(&other).await.is_err(), "{at}");
        assert!(house.judge(token.get(..at).unwrap()).await.is_err(), "{at}");
    }
    assert!(house.judge(&format!("{token}A")).await.is_err());
}

/// The order of P-256.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The same signature with `n - s` in the place of `s`.
fn twin(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let less = i16::from(N[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(less < 0);
        signature[32 + at] = u8::try_from(less.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn j13_the_twin_of_a_token_is_verified_by_itself_and_lives_and_dies_with_it() {
    let house = House::with(|issuer| issuer.algorithm(Algorithm::Es256), |jwt| jwt).warmed().await;
    let token = house.issuer.mint(TokenSpec::new().subject("alice").claim("jti", "j-1"));
    let other = twin(&token);
    assert_ne!(other, token);
    assert_eq!(twin(&other), token);
    assert!(remembers(&house, &token) && remembers(&house, &other));
    let (one, two) = (house.judge_now(&token).unwrap(), house.judge_now(&other).unwrap());
    assert!(!same(&one, &two), "each has proven itself");
    assert_eq!(one.principal, two.principal, "and says the same, its name among it");
    house.issuer.rotate(Rotation::Replace);
    house.jwt.jwks().refresh().await.unwrap();
    for token in [token, other] {
        assert_eq!(house.judge(&token).await.unwrap_err(), unknown_key());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_30_under_load_and_rotation_no_withdrawn_key_is_remembered() {
    let cache = VerifiedTokenCache::new().entries(64);
    let house = House::with(|issuer| issuer, |jwt| jwt.verified_token_cache(cache)).warmed().await;
    for round in 0..10 {
        let old: Vec<_> = (0..100).map(|_| house.token()).collect();
        let readers: Vec<_> = old
            .iter()
            .map(|token| {
                let (jwt, token) = (house.jwt.clone(), token.clone());
                tokio::spawn(async move { judge(&jwt, &token).await.is_ok() })
            })
            .collect();
        house.issuer.rotate(Rotation::Replace);
        house.jwt.jwks().refresh().await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
        for token in &old {
            assert_eq!(house.judge(token).await.unwrap_err(), unknown_key(), "round {round}");
        }
        house.pass(60.0);
    }
}

#[test]
fn case_16_a_cache_without_room_is_refused_by_name() {
    let house = House::new();
    let build = |entries| {
        let cache = VerifiedTokenCache::new().entries(entries);
        let builder: JwtBuilder = jwt(&house.issuer, &house.clock).verified_token_cache(cache);
        builder.build()
    };
    assert!(build(1).is_ok());
    let error = build(0).unwrap_err();
    assert!(error.to_string().starts_with("verified_token_cache `0`"), "{error}");
}
