//! Which key a token is tried with, through the whole validator: cases 44 to 57 and K06.

use serde_json::{Value, json};
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{Jwks, JwtBuilder, Rejection};
use tower_oauth_test::{
    Algorithm, Endpoint, Fault, Rotation, ScriptedIssuer, Signature, TokenSpec,
};

use crate::fixture::{House, bad_signature, jwt, unknown_key};

fn refused(reason: InvalidToken) -> Rejection {
    Rejection::Invalid(reason)
}

/// The key of another issuer, as it publishes it.
fn key(issuer: &ScriptedIssuer) -> Value {
    issuer.jwks()["keys"][0].clone()
}

/// Publishes exactly these keys.
fn publish(house: &House, keys: &[Value]) {
    let set = json!({ "keys": keys }).to_string();
    house.issuer.fault(Endpoint::Jwks, Fault::Garbage(set.into()));
}

/// An issuer of the same name and clock whose keys the house knows nothing of.
fn cousin(house: &House, algorithm: Algorithm) -> ScriptedIssuer {
    ScriptedIssuer::builder()
        .audience(crate::fixture::AUDIENCE)
        .algorithm(algorithm)
        .clock(house.clock.clone())
        .build()
        .unwrap()
}

#[tokio::test]
async fn case_44_where_nothing_was_ever_fetched_everything_is_closed() {
    for fault in [Fault::Status(500), Fault::Garbage(r#"{"keys":[]}"#.into()), Fault::Reset] {
        let house = House::new();
        house.issuer.fault(Endpoint::Jwks, fault);
        for token in [
            house.token(),
            house.issuer.forge("key-1"),
            house.issuer.mint(TokenSpec::new().without_header("kid")),
            house.issuer.mint(TokenSpec::new().signature(Signature::Stranger)),
        ] {
            assert_eq!(house.judge(&token).await.unwrap_err().status(), 503);
        }
        let none = house.issuer.mint(TokenSpec::new().header("alg", "none"));
        assert_eq!(house.judge(&none).await.unwrap_err().status(), 401);
    }
    let nothing = tower_oauth_jose::KeySet::default();
    assert!(Jwks::fixed(nothing).is_err(), "nor can a set without a key be configured");
}

#[tokio::test]
async fn k08_case_46_keys_for_other_uses_are_no_candidates() {
    let house = House::new();
    let own = key(&house.issuer);
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!(["verify", "verify"])),
        ("key_ops", json!(["verify", 7])),
        ("key_ops", json!("verify")),
    ] {
        let house = House::new();
        let token = house.token();
        let mut other = key(&house.issuer);
        other["kid"] = json!("other");
        let mut unfit = key(&house.issuer);
        unfit[member] = value.clone();
        publish(&house, &[unfit, other]);
        assert_eq!(house.judge(&token).await.unwrap_err(), unknown_key(), "{member} {value}");
        assert_eq!(house.jwt.jwks().skipped().len(), 1, "{member} {value}");
    }
    let mut fit = own;
    fit["key_ops"] = json!(["verify"]);
    publish(&house, &[fit]);
    assert!(house.accepts(&house.token()).await, "a control");
}

#[tokio::test]
async fn j03_case_47_a_key_is_for_its_own_algorithm() {
    let house = House::with(|issuer| issuer.algorithm(Algorithm::Rs256), |jwt| jwt);
    let cousin = cousin(&house, Algorithm::Ps256);
    let (bound, mut free) = (key(&cousin), key(&cousin));
    let token = cousin.mint(TokenSpec::new());
    let mut other = bound;
    other["alg"] = json!("RS256");
    publish(&house, &[other]);
    let mismatch = refused(InvalidToken::KeyMismatch);
    assert_eq!(house.judge(&token).await.unwrap_err(), mismatch);
    // Without an `alg` of the key those that are allowed decide.
    free.as_object_mut().unwrap().remove("alg");
    publish(&house, &[free]);
    house.pass(60.0);
    assert!(house.accepts(&token).await);
    let only = jwt(&house.issuer, &house.clock);
    let only = JwtBuilder::algorithms(only, [tower_oauth_jose::Algorithm::RS256]).build().unwrap();
    let refusal = crate::fixture::judge(&only, &token).await.unwrap_err();
    assert_eq!(refusal, refused(InvalidToken::AlgorithmNotAllowed));
}

#[tokio::test]
async fn k06_case_48_of_keys_with_one_name_those_that_fit_are_tried_and_no_more_than_two() {
    let house = House::new();
    let cousins = [Algorithm::Es256, Algorithm::Es256, Algorithm::Es256, Algorithm::Rs256]
        .map(|algorithm| cousin(&house, algorithm));
    let [first, second, third, other_kind] = &cousins;
    let keys: Vec<_> = [other_kind, first, first, second, third].map(key).into();
    assert!(keys.iter().all(|key| key["kid"] == "key-1"));
    publish(&house, &keys);
    // The first two that differ and fit, whatever else bears the name; the third is one too many.
    for (issuer, accepted) in [(first, true), (second, true), (other_kind, true), (third, false)] {
        let verdict = house.judge(&issuer.mint(TokenSpec::new())).await;
        assert_eq!(verdict.is_ok(), accepted);
        house.pass(31.0);
    }
    // A token that one of them proved is remembered by that key: when it goes, so does the token.
    let token = second.mint(TokenSpec::new());
    assert!(house.accepts(&token).await);
    publish(&house, &[key(first), key(third)]);
    house.jwt.jwks().refresh().await.unwrap();
    assert_eq!(house.judge(&token).await.unwrap_err(), bad_signature());
}

#[tokio::test]
async fn j05_case_49_without_a_kid_the_only_key_that_fits_or_none() {
    let house = House::warm().await;
    let without = || house.issuer.mint(TokenSpec::new().without_header("kid"));
    let token = without();
    assert!(house.accepts(&token).await);
    let remembered = house.judge_now(&token).is_ok();
    assert!(remembered);
    house.issuer.rotate(Rotation::Add);
    house.jwt.jwks().refresh().await.unwrap();
    let ambiguous = refused(InvalidToken::AmbiguousKey);
    assert_eq!(house.judge(&without()).await.unwrap_err(), ambiguous);
    // What was let in before is judged as if it came for the first time.
    assert_eq!(house.judge(&token).await.unwrap_err(), ambiguous);
    assert_eq!(house.fetches(), 1, "asking again is no use");
}

#[tokio::test]
async fn case_50_a_signature_by_another_key_of_the_set_is_bad() {
    let house = House::warm().await;
    house.issuer.rotate(Rotation::Add);
    house.jwt.jwks().refresh().await.unwrap();
    let token = house.issuer.mint(TokenSpec::new().header("kid", "key-1"));
    assert_eq!(house.judge(&token).await.unwrap_err(), bad_signature());
}

#[tokio::test]
async fn j05_case_51_a_kid_that_is_no_plain_name_is_refused_without_a_fetch() {
    let house = House::new();
    for kid in [json!(7), json!(""), json!("k".repeat(257)), json!(["key-1"]), json!(null)] {
        let token = house.issuer.mint(TokenSpec::new().header("kid", kid.clone()));
        assert_eq!(house.judge_now(&token).unwrap_err().status(), 401, "{kid}");
    }
    let long = house.issuer.mint(TokenSpec::new().header("kid", "k".repeat(10 * 1024)));
    assert_eq!(house.judge_now(&long).unwrap_err().status(), 401);
    assert_eq!(house.fetches(), 0);
    // A path, a query, a NUL: names like any other, which no key bears.
    for kid in ["../../etc/passwd", "' OR 1=1 --", "a\0b", "https://x.test/k"] {
        let token = house.issuer.mint(TokenSpec::new().header("kid", kid));
        assert_eq!(house.judge(&token).await.unwrap_err(), unknown_key(), "{kid}");
    }
}

#[tokio::test]
async fn j01_j02_case_52_no_secret_and_no_private_key_of_a_set_is_a_key() {
    let house = House::with(|issuer| issuer.algorithm(Algorithm::Rs256), |jwt| jwt);
    let own = key(&house.issuer);
    let secret = b"a secret that is as long as its hash";
    let oct = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "YSBzZWNyZXQgdGhhdCBpcyBhcyBsb25nIGFzIGl0cyBoYXNo" });
    let mut private = own.clone();
    private["kid"] = json!("private");
    private["d"] = json!("AQAB");
    publish(&house, &[oct, private, own.clone()]);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.jwt.jwks().skipped().len(), 2);
    let modulus = own["n"].as_str().unwrap().as_bytes().to_vec();
    let spec = TokenSpec::new;
    let hmac = |kid: &str, key: Vec<u8>| {
        spec().header("alg", "HS256").header("kid", kid).signature(Signature::Hmac(key.into()))
    };
    let not_allowed = refused(InvalidToken::AlgorithmNotAllowed);
    for (forged, refusal) in [
        (hmac("s", secret.to_vec()), not_allowed.clone()),
        (hmac("key-1", modulus), not_allowed.clone()),
        (hmac("key-1", own.to_string().into_bytes()), not_allowed.clone()),
        (spec().header("alg", "none").signature(Signature::Random), not_allowed),
        (spec().header("kid", "private"), unknown_key()),
        (spec().header("crit", json!(["exp"])), refused(InvalidToken::ForbiddenHeader("crit"))),
        (spec().header("crit", json!([])), refused(InvalidToken::ForbiddenHeader("crit"))),
    ] {
        let shown = format!("{forged:?}");
        assert_eq!(house.judge(&house.issuer.mint(forged)).await.unwrap_err(), refusal, "{shown}");
    }
}

#[tokio::test]
async fn j27_j29_case_55_no_exp_and_too_late_an_exp_are_refused() {
    let house = House::new();
    let spec = TokenSpec::new;
    let day = std::time::Duration::from_secs(24 * 3_600);
    let second = std::time::Duration::from_secs(1);
    for (spec, reason) in [
        (spec().without_claim("exp"), InvalidToken::MissingClaim("exp")),
        (spec().claim("exp", "tomorrow"), InvalidToken::InvalidClaim("exp")),
        (spec().claim("exp", json!(null)), InvalidToken::InvalidClaim("exp")),
        (spec().claim("exp", json!(1e18)), InvalidToken::InvalidClaim("exp")),
        (spec().expires_in(day + second), InvalidToken::LifetimeTooLong),
    ] {
        let shown = format!("{spec:?}");
        let refusal = house.judge_now(&house.issuer.mint(spec)).unwrap_err();
        assert_eq!(refusal, refused(reason), "{shown}");
    }
    assert_eq!(house.fetches(), 0);
    assert!(house.accepts(&house.issuer.mint(spec().expires_in(day))).await);
}

#[tokio::test]
async fn j30_j31_case_57_only_an_access_token_is_one() {
    let house = House::warm().await;
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let token = house.issuer.mint(TokenSpec::new().header("typ", typ));
        assert!(house.accepts(&token).await, "{typ}");
    }
    for typ in ["JWT", "jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "application/jwt", "at"] {
        let token = house.issuer.mint(TokenSpec::new().header("typ", typ));
        assert_eq!(
            house.judge(&token).await.unwrap_err(),
            refused(InvalidToken::WrongType),
            "{typ}"
        );
    }
    let absent = house.issuer.mint(TokenSpec::new().without_header("typ"));
    assert_eq!(house.judge(&absent).await.unwrap_err(), refused(InvalidToken::WrongType));
}
