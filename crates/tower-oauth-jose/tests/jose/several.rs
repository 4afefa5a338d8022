//! What several issuers, and an operator, need of a token and of a set.

use serde_json::{Value, json};
use tower_oauth_jose::{Algorithm, InvalidToken, NoKey, Unverified};

use crate::signer::{ED25519, ISSUER, P256, good_claims, good_header, key_set, with};

#[test]
fn j24_the_issuer_that_a_token_claims_is_read_strictly() {
    let claimed = |claims: &str| {
        let token = ED25519.token_of(&good_header().to_string(), claims);
        let token = Unverified::parse(&token).unwrap();
        token.claimed_issuer().map(std::borrow::Cow::into_owned)
    };
    let of = |issuer: Value| claimed(&with(good_claims(), json!({ "iss": issuer })).to_string());
    assert_eq!(of(json!(ISSUER)).as_deref(), Ok(ISSUER));
    assert_eq!(of(json!("x\n")).as_deref(), Ok("x\n"), "as it is, whatever it is");
    for issuer in [json!(null), json!(7), json!([ISSUER]), json!("")] {
        let reason = of(issuer.clone()).unwrap_err();
        assert!(
            matches!(reason, InvalidToken::InvalidClaim("iss") | InvalidToken::MissingClaim("iss")),
            "{issuer}: {reason:?}"
        );
    }
    assert_eq!(claimed(r#"{"iss":"a","iss":"b"}"#), Err(InvalidToken::DuplicateMember));
    assert_eq!(claimed(r#"{"sub":"a"}"#), Err(InvalidToken::MissingClaim("iss")));
    assert_eq!(claimed("[]"), Err(InvalidToken::Malformed));
}

#[test]
fn a_set_without_a_name_has_all_other_keys_and_what_was_skipped() {
    let oct = json!({"kty": "oct", "kid": "s", "k": "AA"});
    let [a, b] = [ED25519.jwk_with(json!({"kid": "a"})), P256.jwk_with(json!({"kid": "b"}))];
    let set = key_set([a, b, oct]);
    let rest = set.without("a");
    assert_eq!(rest.candidates(Some("a"), Algorithm::EdDSA).unwrap_err(), NoKey::UnknownKid);
    assert!(rest.candidates(Some("b"), Algorithm::ES256).is_ok());
    assert_eq!((rest.keys().len(), rest.skipped().len()), (1, 1));
    assert_eq!(set.without("z").keys().len(), 2);
    assert!(rest.without("b").is_empty());
}
