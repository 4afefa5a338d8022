//! Logout tokens and security event tokens: neither passes for the other, or for an access token, nor that for them.

use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, Profile, Rules, Unverified, Verified};

use crate::signer::{ED25519, ISSUER, NOW, accept, at, good_claims, good_header, with};

const CLIENT: &str = "inventory-app";
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Logout,
    UntypedLogout,
    Event,
}

fn header(typ: Value) -> Value {
    with(good_header(), json!({ "kid": "k", "alg": "EdDSA", "typ": typ }))
}

fn logout() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "l-1",
        "sub": "alice", "sid": "s-1", "events": { LOGOUT: {} },
    })
}

fn event() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "iat": NOW, "jti": "e-1",
        "sub_id": { "format": "iss_sub", "iss": ISSUER, "sub": "alice" },
        "events": { REVOKED: { "event_timestamp": NOW } },
    })
}

fn verdict(kind: Kind, header: &Value, claims: &Value) -> Result<Verified, InvalidToken> {
    let hour = std::time::Duration::from_secs(3600);
    let rules = Rules::builder(ISSUER, CLIENT).max_lifetime(hour).build().unwrap();
    let token = ED25519.token(header, claims);
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let token = Unverified::parse(&token)?;
    let checked = match kind {
        Kind::Logout => token.check_logout(&rules, at(NOW)),
        Kind::UntypedLogout => token.check_untyped_logout(&rules, at(NOW)),
        Kind::Event => token.check_security_event(&rules, at(NOW)),
    };
    Ok(checked?.verify_by(&keys)?)
}

#[test]
fn what_a_logout_token_tells() {
    for typ in ["logout+jwt", "application/LOGOUT+jwt"] {
        let verified = verdict(Kind::Logout, &header(json!(typ)), &logout()).unwrap();
        let claims = verified.standard();
        assert_eq!((claims.subject(), claims.session_id()), (Some("alice"), Some("s-1")));
        assert_eq!((claims.token_id(), claims.issued_at()), (Some("l-1"), Some(at(NOW))));
        assert_eq!(claims.expires_at(), at(NOW + 120));
    }
    for (more, subject, session) in [
        (json!({ "sub": null }), None, Some("s-1")),
        (json!({ "sid": null }), Some("alice"), None),
        (json!({ "aud": ["another", CLIENT] }), Some("alice"), Some("s-1")),
        (json!({ "iat": NOW + 30, "exp": NOW - 29 }), Some("alice"), Some("s-1")),
        (json!({ "events": { LOGOUT: { "more": [1] } } }), Some("alice"), Some("s-1")),
    ] {
        let claims = with(logout(), more.clone());
        let verified = verdict(Kind::Logout, &header(json!("logout+jwt")), &claims).unwrap();
        let claims = verified.standard();
        assert_eq!((claims.subject(), claims.session_id()), (subject, session), "{more}");
    }
}

#[test]
fn e11_what_is_not_a_logout_token_of_this_issuer_to_us_from_now_is_refused() {
    for (more, expected) in [
        (json!({ "nonce": "n" }), InvalidToken::ForbiddenClaim("nonce")),
        (json!({ "sub": null, "sid": null }), InvalidToken::MissingClaim("sid")),
        (json!({ "sub": 1 }), InvalidToken::InvalidClaim("sub")),
        (json!({ "sid": "" }), InvalidToken::InvalidClaim("sid")),
        (json!({ "events": null }), InvalidToken::MissingClaim("events")),
        (json!({ "events": {} }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": LOGOUT }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": [LOGOUT] }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": { LOGOUT: true } }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": { LOGOUT: [] } }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": { REVOKED: {} } }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": { LOGOUT: {}, REVOKED: {} } }), InvalidToken::InvalidClaim("events")),
        (json!({ "iss": "https://other.example" }), InvalidToken::WrongIssuer),
        (json!({ "iss": [ISSUER] }), InvalidToken::InvalidClaim("iss")),
        (json!({ "aud": "another" }), InvalidToken::WrongAudience),
        (json!({ "aud": null }), InvalidToken::MissingClaim("aud")),
        (json!({ "iat": null }), InvalidToken::MissingClaim("iat")),
        (json!({ "iat": NOW + 31 }), InvalidToken::NotYetValid),
        (json!({ "nbf": NOW + 31 }), InvalidToken::NotYetValid),
        (json!({ "exp": null }), InvalidToken::MissingClaim("exp")),
        (json!({ "exp": NOW - 30 }), InvalidToken::Expired),
        (json!({ "exp": NOW + 3601 }), InvalidToken::LifetimeTooLong),
        (json!({ "jti": null }), InvalidToken::MissingClaim("jti")),
        (json!({ "jti": "" }), InvalidToken::InvalidClaim("jti")),
    ] {
        let refused =
            verdict(Kind::Logout, &header(json!("logout+jwt")), &with(logout(), more.clone()));
        assert_eq!(refused.unwrap_err(), expected, "{more}");
    }
}

#[test]
fn what_a_security_event_tells() {
    let typ = || header(json!("secevent+jwt"));
    let old = json!({ "iat": NOW - 365 * 24 * 3600 });
    let list = json!({ "aud": ["another", CLIENT] });
    for more in [json!({}), old, list, json!({ "txn": "t", "toe": NOW - 5 })] {
        let verified = verdict(Kind::Event, &typ(), &with(event(), more.clone())).unwrap();
        assert_eq!(verified.standard().token_id(), Some("e-1"), "{more}");
        let all: Value = verified.claims().unwrap();
        assert_eq!(all["events"][REVOKED]["event_timestamp"], NOW);
    }
}

#[test]
fn e03_e05_what_is_not_a_security_event_of_this_issuer_to_us_is_refused() {
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("e{n}"), json!({}))).collect();
    for (more, expected) in [
        (json!({ "exp": NOW + 60 }), InvalidToken::ForbiddenClaim("exp")),
        (json!({ "sub": "alice" }), InvalidToken::ForbiddenClaim("sub")),
        (json!({ "sub_id": null }), InvalidToken::MissingClaim("sub_id")),
        (json!({ "sub_id": "alice" }), InvalidToken::InvalidClaim("sub_id")),
        (json!({ "sub_id": [{ "format": "email" }] }), InvalidToken::InvalidClaim("sub_id")),
        (json!({ "events": null }), InvalidToken::MissingClaim("events")),
        (json!({ "events": {} }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": many }), InvalidToken::InvalidClaim("events")),
        (json!({ "events": { REVOKED: "now" } }), InvalidToken::InvalidClaim("events")),
        (json!({ "iss": "https://other.example" }), InvalidToken::WrongIssuer),
        (json!({ "aud": "another" }), InvalidToken::WrongAudience),
        (json!({ "aud": ["another", 1] }), InvalidToken::InvalidClaim("aud")),
        (json!({ "iat": null }), InvalidToken::MissingClaim("iat")),
        (json!({ "iat": NOW + 31 }), InvalidToken::NotYetValid),
        (json!({ "jti": null }), InvalidToken::MissingClaim("jti")),
    ] {
        let refused =
            verdict(Kind::Event, &header(json!("secevent+jwt")), &with(event(), more.clone()));
        assert_eq!(refused.unwrap_err(), expected, "{more}");
    }
}

#[test]
fn e02_no_kind_of_token_passes_for_another() {
    let access = good_claims();
    let id = with(access.clone(), json!({ "aud": CLIENT, "nonce": "n", "sid": "s-1" }));
    for (name, typ, claims, passes) in [
        ("a logout token", json!("logout+jwt"), logout(), &[Kind::Logout, Kind::UntypedLogout][..]),
        ("an untyped logout token", json!(null), logout(), &[Kind::UntypedLogout]),
        ("a logout token as JWT", json!("JWT"), logout(), &[Kind::UntypedLogout]),
        ("an event", json!("secevent+jwt"), event(), &[Kind::Event]),
        ("an untyped event", json!("JWT"), event(), &[]),
        ("an event as a logout token", json!("logout+jwt"), event(), &[]),
        ("a logout token as an event", json!("secevent+jwt"), logout(), &[]),
        ("an access token", json!("at+jwt"), access.clone(), &[]),
        ("an access token as JWT", json!("JWT"), access.clone(), &[]),
        ("an ID token", json!("JWT"), id.clone(), &[]),
        ("an access token as an event", json!("secevent+jwt"), access.clone(), &[]),
        ("an ID token as a logout token", json!("logout+jwt"), id, &[]),
    ] {
        for kind in [Kind::Logout, Kind::UntypedLogout, Kind::Event] {
            let good = verdict(kind, &header(typ.clone()), &claims).is_ok();
            assert_eq!(good, passes.contains(&kind), "{name} as {kind:?}");
        }
    }
    // The reverse: by its type, and where that is not looked at, by its events.
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let lenient = Rules::builder(ISSUER, CLIENT).profile(Profile::Lenient).build().unwrap();
    let strict = Rules::builder(ISSUER, CLIENT).build().unwrap();
    let dated = with(event(), json!({ "exp": NOW + 60, "sub": "alice" }));
    for (typ, claims) in [
        (json!("logout+jwt"), logout()),
        (json!("secevent+jwt"), dated.clone()),
        (json!("JWT"), logout()),
        (json!("JWT"), dated.clone()),
        (json!("at+jwt"), dated),
    ] {
        for rules in [&lenient, &strict] {
            let token = ED25519.token(&header(typ.clone()), &claims);
            assert!(accept(&token, rules, &keys).is_err(), "{typ} {claims}");
        }
    }
}

#[test]
fn e01_the_algorithm_is_one_that_the_rules_allow() {
    let rules = Rules::builder(ISSUER, CLIENT).algorithms([tower_oauth_jose::Algorithm::ES256]);
    let rules = rules.build().unwrap();
    for typ in ["logout+jwt", "secevent+jwt"] {
        let token = ED25519.token(&header(json!(typ)), &logout());
        let refused = [
            Unverified::parse(&token).unwrap().check_logout(&rules, at(NOW)).map(drop),
            Unverified::parse(&token).unwrap().check_untyped_logout(&rules, at(NOW)).map(drop),
            Unverified::parse(&token).unwrap().check_security_event(&rules, at(NOW)).map(drop),
        ];
        assert_eq!(refused, [Err(InvalidToken::AlgorithmNotAllowed); 3]);
    }
}
