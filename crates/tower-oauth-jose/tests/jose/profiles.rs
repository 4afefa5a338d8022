//! What issuers really send. The samples follow the documents that [`Profile`] names.

use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, Profile, Rules, RulesBuilder, StandardClaims};

use crate::signer::{AUDIENCE, ISSUER, NOW, verdict_of, with};

const CLIENT: &str = "app-1";

/// Rules for a profile: a Cognito pool by its client, all others by our audience.
fn builder(profile: Profile) -> RulesBuilder {
    match profile {
        Profile::Cognito => Rules::cognito(ISSUER, [CLIENT]),
        other => Rules::builder(ISSUER, AUDIENCE).profile(other),
    }
}

fn accept(
    profile: Profile,
    typ: Option<&str>,
    claims: &Value,
) -> Result<StandardClaims, InvalidToken> {
    judge(&builder(profile).build().unwrap(), typ, claims)
}

fn judge(rules: &Rules, typ: Option<&str>, claims: &Value) -> Result<StandardClaims, InvalidToken> {
    let header = match typ {
        Some(typ) => json!({"alg": "EdDSA", "kid": "k", "typ": typ}),
        None => json!({"alg": "EdDSA", "kid": "k"}),
    };
    Ok(verdict_of(rules, &header.to_string(), claims.to_string())?.into_standard())
}

fn dated(claims: Value) -> Value {
    with(claims, json!({"iss": ISSUER, "iat": NOW - 10, "exp": NOW + 290}))
}

fn keycloak() -> Value {
    dated(json!({
        "jti": "onrtac:b9c1", "aud": [AUDIENCE, "account"], "sub": "f:7", "typ": "Bearer",
        "azp": CLIENT, "sid": "s-1", "acr": "1", "allowed-origins": ["*"],
        "realm_access": {"roles": ["offline_access"]},
        "resource_access": {AUDIENCE: {"roles": ["clerk"]}},
        "scope": "openid email read", "preferred_username": "alice",
    }))
}

fn entra_v1() -> Value {
    dated(json!({
        "aud": AUDIENCE, "nbf": NOW - 10, "acr": "1", "aio": "AX", "amr": ["pwd"],
        "appid": CLIENT, "appidacr": "0", "oid": "o", "rh": "0.A", "scp": "openid read",
        "sub": "s", "tid": "t", "uti": "u-1", "ver": "1.0",
    }))
}

fn entra_v2() -> Value {
    dated(json!({
        "aud": AUDIENCE, "nbf": NOW - 10, "aio": "AX", "azp": CLIENT, "azpacr": "1", "oid": "o",
        "rh": "0.A", "roles": ["Files.Read"], "scp": "openid read", "sub": "s", "tid": "t",
        "uti": "u-1", "ver": "2.0",
    }))
}

fn auth0() -> Value {
    dated(json!({
        "sub": "auth0|123456", "aud": [AUDIENCE, "https://shop.auth0.com/userinfo"],
        "azp": CLIENT, "scope": "openid read", "gty": "password", "permissions": ["read:x"],
    }))
}

fn auth0_rfc_9068() -> Value {
    dated(json!({
        "sub": "auth0|123456", "aud": [AUDIENCE], "client_id": CLIENT, "jti": "73W",
        "scope": "openid read",
    }))
}

fn okta() -> Value {
    dated(json!({
        "ver": 1, "jti": "AT.0mP4", "aud": AUDIENCE, "cid": CLIENT, "uid": "00u",
        "scp": ["openid", "read"], "auth_time": NOW - 100, "sub": "alice@example.com",
    }))
}

fn cognito() -> Value {
    dated(json!({
        "sub": "aaaa", "device_key": "d", "cognito:groups": ["admin"], "client_id": CLIENT,
        "origin_jti": "o", "event_id": "e", "token_use": "access", "version": 2,
        "scope": "openid read", "auth_time": NOW - 100, "jti": "j", "username": "alice",
    }))
}

fn wso2() -> Value {
    dated(json!({
        "sub": "admin@carbon.super", "aut": "APPLICATION_USER", "aud": AUDIENCE, "nbf": NOW - 10,
        "azp": CLIENT, "client_id": CLIENT, "scope": "openid read", "jti": "f309",
    }))
}

#[test]
fn what_each_issuer_sends_is_accepted_and_read() {
    use Profile::{Auth0, Cognito, EntraId, Keycloak, Okta, Wso2};
    for (profile, typ, claims) in [
        (Keycloak, Some("JWT"), keycloak()),
        (Keycloak, Some("at+jwt"), keycloak()),
        (EntraId, Some("JWT"), entra_v1()),
        (EntraId, Some("JWT"), entra_v2()),
        (Auth0, Some("JWT"), auth0()),
        (Auth0, Some("at+jwt"), auth0_rfc_9068()),
        (Profile::Rfc9068, Some("at+jwt"), auth0_rfc_9068()),
        (Okta, None, okta()),
        (Cognito, None, cognito()),
        (Wso2, Some("at+jwt"), wso2()),
        (Wso2, Some("JWT"), wso2()),
        (Wso2, None, with(wso2(), json!({"aut": "APPLICATION", "client_id": null}))),
        (Wso2, Some("at+jwt"), with(wso2(), json!({"aut": "AGENT", "jti": null}))),
    ] {
        let standard = accept(profile, typ, &claims)
            .unwrap_or_else(|error| panic!("{profile:?} {typ:?}: {error}"));
        assert_eq!(standard.client_id(), Some(CLIENT), "{profile:?}");
        assert!(standard.has_scope("read") && standard.has_scope("openid"), "{profile:?}");
        assert!(standard.subject().is_some(), "{profile:?}");
        let id = claims["jti"].as_str().or(claims["uti"].as_str());
        assert_eq!(standard.token_id(), id, "{profile:?}");
    }
}

#[test]
fn j30_other_tokens_of_the_same_issuer_are_refused_by_what_tells_them() {
    use InvalidToken::{ForbiddenClaim, MissingClaim, WrongType};
    use Profile::{Auth0, Cognito, EntraId, Keycloak, Okta, Wso2};
    let jwt = Some("JWT");
    for (about, profile, typ, claims, expected) in [
        ("ID", Keycloak, jwt, with(keycloak(), json!({"typ": "ID"})), ForbiddenClaim("typ")),
        (
            "refresh",
            Keycloak,
            jwt,
            with(keycloak(), json!({"typ": "Refresh"})),
            ForbiddenClaim("typ"),
        ),
        (
            "offline",
            Keycloak,
            jwt,
            with(keycloak(), json!({"typ": "Offline"})),
            ForbiddenClaim("typ"),
        ),
        (
            "logout",
            Keycloak,
            jwt,
            with(keycloak(), json!({"typ": "Logout"})),
            ForbiddenClaim("typ"),
        ),
        (
            "unknown",
            Keycloak,
            jwt,
            with(keycloak(), json!({"typ": "Serialized-ID"})),
            ForbiddenClaim("typ"),
        ),
        ("no kind", Keycloak, jwt, with(keycloak(), json!({"typ": null})), MissingClaim("typ")),
        (
            "ID with a hash",
            Keycloak,
            jwt,
            with(keycloak(), json!({"at_hash": "h"})),
            ForbiddenClaim("at_hash"),
        ),
        ("untyped", Keycloak, None, keycloak(), WrongType),
        ("logout+jwt", Keycloak, Some("logout+jwt"), keycloak(), WrongType),
        (
            "ID",
            EntraId,
            jwt,
            with(entra_v2(), json!({"azp": null, "scp": null})),
            MissingClaim("azp"),
        ),
        ("ID", EntraId, jwt, with(entra_v1(), json!({"appid": null})), MissingClaim("azp")),
        (
            "ID with nonce",
            EntraId,
            jwt,
            with(entra_v2(), json!({"nonce": "n"})),
            ForbiddenClaim("nonce"),
        ),
        ("no version", EntraId, jwt, with(entra_v2(), json!({"ver": null})), MissingClaim("ver")),
        (
            "other version",
            EntraId,
            jwt,
            with(entra_v2(), json!({"ver": "3.0"})),
            ForbiddenClaim("ver"),
        ),
        ("ID", Auth0, jwt, with(auth0(), json!({"azp": null})), MissingClaim("client_id")),
        (
            "ID with nonce",
            Auth0,
            jwt,
            with(auth0(), json!({"nonce": "n"})),
            ForbiddenClaim("nonce"),
        ),
        ("ID", Okta, None, with(okta(), json!({"cid": null, "scp": null})), MissingClaim("cid")),
        (
            "ID with a hash",
            Okta,
            None,
            with(okta(), json!({"at_hash": "h"})),
            ForbiddenClaim("at_hash"),
        ),
        ("org server", Okta, Some("application/okta-internal-at+jwt"), okta(), WrongType),
        (
            "ID",
            Cognito,
            None,
            with(cognito(), json!({"token_use": "id"})),
            ForbiddenClaim("token_use"),
        ),
        (
            "no use",
            Cognito,
            None,
            with(cognito(), json!({"token_use": null})),
            MissingClaim("token_use"),
        ),
        (
            "ID",
            Wso2,
            jwt,
            with(wso2(), json!({"aut": null, "at_hash": "h"})),
            ForbiddenClaim("at_hash"),
        ),
        ("ID without a hash", Wso2, jwt, with(wso2(), json!({"aut": null})), MissingClaim("aut")),
        ("event", Keycloak, jwt, with(keycloak(), json!({"events": {}})), ForbiddenClaim("events")),
        ("event", Wso2, jwt, with(wso2(), json!({"events": {}})), ForbiddenClaim("events")),
    ] {
        assert_eq!(accept(profile, typ, &claims).err(), Some(expected), "{profile:?} {about}");
    }
}

/// Everything about these is an access token's of that issuer, but the one thing.
#[test]
fn j30_no_profile_takes_what_is_marked_as_another_kind_of_token() {
    use Profile::{Auth0, Cognito, EntraId, Keycloak, Lenient, Okta, Wso2};
    let profiles = [
        (Keycloak, "JWT", keycloak()),
        (EntraId, "JWT", entra_v1()),
        (EntraId, "JWT", entra_v2()),
        (Auth0, "JWT", auth0()),
        (Okta, "JWT", okta()),
        (Cognito, "JWT", cognito()),
        (Wso2, "JWT", wso2()),
        (Lenient, "JWT", auth0()),
        (Profile::Rfc9068, "at+jwt", auth0_rfc_9068()),
    ];
    for (profile, typ, claims) in profiles {
        assert!(accept(profile, Some(typ), &claims).is_ok(), "{profile:?}: a control");
        for kind in [
            "secevent+jwt",
            "logout+jwt",
            "dpop+jwt",
            "token-introspection+jwt",
            "id_token+jwt",
            "client-authentication+jwt",
            "oauth-authz-req+jwt",
            "rt+jwt",
            "vc+sd-jwt",
            "statuslist+jwt",
        ] {
            for typ in [kind.to_owned(), format!("application/{kind}")] {
                let verdict = accept(profile, Some(&typ), &claims);
                assert_eq!(verdict.err(), Some(InvalidToken::WrongType), "{profile:?} {typ}");
            }
        }
        if profile == Profile::Rfc9068 {
            continue;
        }
        for (kind, mark) in [
            ("security event", json!({"events": {"https://schemas.openid.net/x": {}}})),
            ("logout token", json!({"events": {}, "sid": "s"})),
            ("ID token", json!({"at_hash": "h"})),
            ("ID token", json!({"c_hash": "h"})),
            ("ID token", json!({"s_hash": "h"})),
            ("DPoP proof", json!({"htm": "GET"})),
            ("DPoP proof", json!({"htu": "https://api.example.com/"})),
            ("introspection", json!({"token_introspection": {"active": true}})),
            ("ID token", json!({"token_use": "id"})),
            ("refresh token", json!({"token_use": "refresh"})),
            ("ID token", json!({"typ": "ID"})),
            ("refresh token", json!({"typ": "Refresh"})),
            ("offline token", json!({"typ": "Offline"})),
            ("logout token", json!({"typ": "Logout"})),
            ("ID token", json!({"nonce": "n"})),
        ] {
            if profile == Keycloak && mark.get("nonce").is_some() {
                continue;
            }
            let (name, _) = mark.as_object().unwrap().iter().next().unwrap();
            let verdict = accept(profile, Some(typ), &with(claims.clone(), mark.clone()));
            let Err(InvalidToken::ForbiddenClaim(refused)) = verdict else {
                panic!("{profile:?} takes a {kind}: {verdict:?}");
            };
            assert!(refused == name || mark.get(refused).is_some(), "{profile:?} {kind} {refused}");
        }
        // A client's assertion is by the client itself (RFC 7523 section 3).
        let assertion = with(claims.clone(), json!({"iss": CLIENT, "sub": CLIENT}));
        let verdict = accept(profile, Some(typ), &assertion).err();
        assert_eq!(verdict, Some(InvalidToken::WrongIssuer), "{profile:?}");
    }
}

#[test]
fn keycloak_before_25_put_the_nonce_into_access_tokens_too() {
    let old = with(keycloak(), json!({"nonce": "n", "session_state": "s-1"}));
    assert!(accept(Profile::Keycloak, Some("JWT"), &old).is_ok());
    let refused = accept(Profile::Lenient, Some("JWT"), &old).err();
    assert_eq!(refused, Some(InvalidToken::ForbiddenClaim("nonce")));
    // A lightweight access token names no subject.
    let light = with(keycloak(), json!({"sub": null}));
    assert_eq!(accept(Profile::Keycloak, Some("JWT"), &light).unwrap().subject(), None);
}

#[test]
fn no_profile_lets_the_audience_be_skipped() {
    use InvalidToken::{MissingClaim, WrongAudience};
    for (profile, typ, claims) in [
        (Profile::Keycloak, "JWT", keycloak()),
        (Profile::EntraId, "JWT", entra_v2()),
        (Profile::Auth0, "JWT", auth0()),
        (Profile::Okta, "JWT", okta()),
        (Profile::Wso2, "JWT", wso2()),
        (Profile::Lenient, "JWT", wso2()),
        (Profile::Rfc9068, "at+jwt", auth0_rfc_9068()),
    ] {
        for (aud, expected) in [
            (json!(null), MissingClaim("aud")),
            (json!([]), WrongAudience),
            (json!("account"), WrongAudience),
            (json!(CLIENT), WrongAudience),
        ] {
            let claims = with(claims.clone(), json!({ "aud": aud }));
            assert_eq!(accept(profile, Some(typ), &claims).err(), Some(expected), "{profile:?}");
        }
    }
}

#[test]
fn under_cognito_the_client_stands_in_for_an_audience_that_is_not_there() {
    use InvalidToken::{InvalidClaim, MissingClaim, WrongAudience, WrongClient};
    let by_client = Rules::cognito(ISSUER, ["app-0", CLIENT]).build().unwrap();
    let by_both = Rules::cognito(ISSUER, [CLIENT]).audience(AUDIENCE).build().unwrap();
    for (more, client_only, both) in [
        (json!({}), Ok(()), Ok(())),
        (json!({"client_id": "app-2"}), Err(WrongClient), Err(WrongClient)),
        (json!({"client_id": "APP-1"}), Err(WrongClient), Err(WrongClient)),
        (
            json!({"client_id": null}),
            Err(MissingClaim("client_id")),
            Err(MissingClaim("client_id")),
        ),
        (
            json!({"client_id": [CLIENT]}),
            Err(InvalidClaim("client_id")),
            Err(InvalidClaim("client_id")),
        ),
        // An audience that is there must be ours, even so.
        (json!({"aud": AUDIENCE}), Err(WrongAudience), Ok(())),
        (json!({"aud": "other"}), Err(WrongAudience), Err(WrongAudience)),
        (json!({"aud": []}), Err(WrongAudience), Err(WrongAudience)),
        (json!({"aud": 7}), Err(InvalidClaim("aud")), Err(InvalidClaim("aud"))),
        (json!({"aud": AUDIENCE, "client_id": "app-2"}), Err(WrongAudience), Err(WrongClient)),
    ] {
        let claims = with(cognito(), more.clone());
        assert_eq!(judge(&by_client, None, &claims).map(drop), client_only, "{more}");
        assert_eq!(judge(&by_both, None, &claims).map(drop), both, "{more}");
    }
    let standard = judge(&by_client, None, &cognito()).unwrap();
    assert_eq!(standard.audiences().count(), 0);
}

#[test]
fn only_the_clients_on_the_list() {
    let rules =
        Rules::builder(ISSUER, AUDIENCE).profile(Profile::Keycloak).clients([CLIENT]).build();
    let rules = rules.unwrap();
    assert_eq!(rules.clients().collect::<Vec<_>>(), [CLIENT]);
    assert!(judge(&rules, Some("JWT"), &keycloak()).is_ok());
    let other = with(keycloak(), json!({"azp": "other"}));
    assert_eq!(judge(&rules, Some("JWT"), &other).err(), Some(InvalidToken::WrongClient));
    // Where the profile does not ask for a client, the list does.
    let lenient = Rules::builder(ISSUER, AUDIENCE).profile(Profile::Lenient).clients([CLIENT]);
    let unnamed = with(auth0(), json!({"azp": null}));
    let verdict = judge(&lenient.build().unwrap(), Some("JWT"), &unnamed).err();
    assert_eq!(verdict, Some(InvalidToken::MissingClaim("client_id")));
}

#[test]
fn a_claim_that_is_required_must_say_something() {
    let rules = builder(Profile::Auth0).require_claim("tenant").require_claim("org").build();
    let rules = rules.unwrap();
    for (more, expected) in [
        (json!({}), Some(InvalidToken::MissingClaim("tenant"))),
        (json!({"tenant": 7}), Some(InvalidToken::MissingClaim("org"))),
        (json!({"tenant": 7, "org": {"id": 1}}), None),
        (json!({"tenant": 0, "org": ""}), None),
        (json!({"Tenant": 7, "org": "x"}), Some(InvalidToken::MissingClaim("tenant"))),
    ] {
        let verdict = judge(&rules, Some("JWT"), &with(auth0(), more.clone()));
        assert_eq!(verdict.err(), expected, "{more}");
    }
    let mut null = auth0();
    (null["tenant"], null["org"]) = (Value::Null, json!("x"));
    let verdict = judge(&rules, Some("JWT"), &null);
    assert_eq!(verdict.err(), Some(InvalidToken::MissingClaim("tenant")));
}

#[test]
fn rules_about_clients_and_claims_that_would_be_no_rules_are_not_built() {
    let none: [&str; 0] = [];
    let plain = || Rules::builder(ISSUER, AUDIENCE);
    for (builder, expected) in [
        (plain().clients(none), "there is no client"),
        (plain().clients([""]), "a client is empty"),
        (plain().require_claim(""), "the name of a required claim is empty"),
        (plain().profile(Profile::Cognito), "there is no client"),
        (Rules::cognito(ISSUER, none), "there is no client"),
        (Rules::cognito(ISSUER, [CLIENT]).profile(Profile::Rfc9068), "there is no audience"),
        (Rules::cognito(ISSUER, [CLIENT]).profile(Profile::Lenient), "there is no audience"),
        (Rules::cognito("", [CLIENT]), "the issuer is empty"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    }
}
