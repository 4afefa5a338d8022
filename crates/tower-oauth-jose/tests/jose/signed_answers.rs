//! Signed introspection answers (RFC 9701): no access token passes for one, nor one for an access token.

use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, Rules, Unverified, Verified};

use crate::signer::{AUDIENCE, ED25519, ISSUER, NOW, accept, at, good_claims, good_header, with};

const CLIENT: &str = "inventory-api";

fn header() -> Value {
    with(good_header(), json!({ "typ": "token-introspection+jwt" }))
}

fn answer() -> Value {
    json!({"iss": ISSUER, "aud": CLIENT, "iat": NOW, "token_introspection": {"active": true}})
}

fn verdict(header: &Value, claims: &Value) -> Result<Verified, InvalidToken> {
    let rules = Rules::builder(ISSUER, CLIENT).build().unwrap();
    let token = ED25519.token(header, claims);
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let checked = Unverified::parse(&token)?.check_introspection(&rules, at(NOW))?;
    Ok(checked.verify_by(&keys)?)
}

#[test]
fn an_answer_gives_its_object_and_nothing_else() {
    for typ in ["token-introspection+jwt", "application/Token-Introspection+JWT"] {
        let header = with(header(), json!({"kid": "k", "alg": "EdDSA", "typ": typ}));
        let verified = verdict(&header, &answer()).unwrap();
        assert_eq!(verified.token_introspection(), Some(r#"{"active":true}"#));
        assert_eq!(verified.standard().subject(), None);
    }
}

#[test]
fn what_is_not_an_answer_of_this_issuer_to_us_from_now_is_refused() {
    let header = with(header(), json!({"kid": "k", "alg": "EdDSA"}));
    for (more, expected) in [
        (json!({"iss": "https://other.example"}), InvalidToken::WrongIssuer),
        (json!({"iss": null}), InvalidToken::MissingClaim("iss")),
        (json!({"aud": "another-client"}), InvalidToken::WrongAudience),
        (json!({"aud": null}), InvalidToken::MissingClaim("aud")),
        (json!({"iat": null}), InvalidToken::MissingClaim("iat")),
        (json!({"iat": "now"}), InvalidToken::InvalidClaim("iat")),
        (json!({"iat": NOW + 31}), InvalidToken::NotYetValid),
        (json!({"iat": NOW - 90}), InvalidToken::Expired),
        (json!({"token_introspection": null}), InvalidToken::MissingClaim("token_introspection")),
        (json!({"token_introspection": true}), InvalidToken::InvalidClaim("token_introspection")),
        (json!({"token_introspection": [1]}), InvalidToken::InvalidClaim("token_introspection")),
    ] {
        let refused = verdict(&header, &with(answer(), more.clone())).unwrap_err();
        assert_eq!(refused, expected, "{more}");
    }
    for (more, good) in [(json!({"iat": NOW + 30}), true), (json!({"iat": NOW - 89}), true)] {
        assert_eq!(verdict(&header, &with(answer(), more)).is_ok(), good);
    }
}

#[test]
fn e02_an_access_token_is_no_answer_and_an_answer_no_access_token() {
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let both = with(
        good_claims(),
        json!({"aud": [CLIENT, AUDIENCE], "iat": NOW, "token_introspection": {"active": true}}),
    );
    for (typ, answer, token) in [
        (json!("token-introspection+jwt"), true, false),
        (json!("at+jwt"), false, true),
        (json!("JWT"), false, false),
        (json!(null), false, false),
    ] {
        let header = with(header(), json!({"kid": "k", "alg": "EdDSA", "typ": typ}));
        assert_eq!(verdict(&header, &both).is_ok(), answer, "{typ}");
        let jwt = ED25519.token(&header, &both);
        let rules = Rules::builder(ISSUER, AUDIENCE).build().unwrap();
        assert_eq!(accept(&jwt, &rules, &keys).is_ok(), token, "{typ}");
        assert!(accept(&jwt, &crate::signer::lenient(), &keys).is_err(), "{typ}");
    }
}
