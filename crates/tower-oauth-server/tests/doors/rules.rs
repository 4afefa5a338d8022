//! Rules behind the door: by claims, and by how the subject has authenticated.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, ServiceBuilder, service_fn};
use tower_oauth_server::{
    Authenticated, Jwt, Profile, Rejection, RequireAuthenticationLayer, RequireClaimsLayer,
    RequireScopeLayer, RequireTokenLayer, StandardClaims,
};
use tower_oauth_test::TokenSpec;

use crate::issued::*;
use crate::support::{Seen, get, grpc, seen, with_token};

async fn behind(
    issued: &Issued,
    rule: &(impl Layer<Inner, Service = Ruled> + Clone),
    request: Request<()>,
) -> Seen {
    let door = issued.door().realm("shop").unwrap().allow_anonymous();
    seen(ServiceBuilder::new().layer(door).layer(rule.clone()).service(inner()), request).await
}

type Inner = tower::util::BoxCloneSyncService<
    Request<()>,
    http::Response<http_body_util::Full<bytes::Bytes>>,
    std::convert::Infallible,
>;
type Ruled = tower_oauth_server::RequireRule<Inner>;

fn inner() -> Inner {
    tower::util::BoxCloneSyncService::new(service_fn(async |_: Request<()>| {
        Ok(http::Response::new(http_body_util::Full::from("in")))
    }))
}

fn admins() -> RequireClaimsLayer {
    RequireClaimsLayer::new(|caller: &Authenticated<Roles>| {
        caller.claims().roles.iter().any(|role| role == "admin")
    })
    .because("only \"admins\" may do this")
}

#[tokio::test]
async fn a_rule_by_claims_is_403_without_a_challenge_and_never_insufficient_scope() {
    let issued = Issued::new();
    let with = |roles: Value| with_token(&issued.token(TokenSpec::new().claim("roles", roles)));
    // Request, status, gRPC status, challenge, body.
    let cases = [
        (with(json!(["reader", "admin"])), 200, None, None, "in"),
        (
            with(json!(["reader"])),
            403,
            Some("7"),
            None,
            r#"{"error":"access_denied","error_description":"only ?admins? may do this"}"#,
        ),
        (
            with_token(&issued.token(TokenSpec::new().scope("admin"))),
            403,
            Some("7"),
            None,
            r#"{"error":"access_denied","error_description":"only ?admins? may do this"}"#,
        ),
        (get("/", &[]), 401, Some("16"), Some("Bearer realm=\"shop\""), ""),
    ];
    for (request, status, grpc_status, challenge, body) in cases {
        let answer = behind(&issued, &admins(), request.clone()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(answer.body, body);
        let answer = behind(&issued, &admins(), grpc(request)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("grpc-status"), grpc_status);
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
    let refused = behind(&issued, &admins(), with(json!([]))).await;
    assert_eq!(refused.rejection, Some(Rejection::Forbidden("only \"admins\" may do this")));
}

/// Roles, wherever they may be.
#[derive(Deserialize)]
struct Anywhere {
    #[serde(default)]
    realm_access: RealmAccess,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Default, Deserialize)]
struct RealmAccess {
    #[serde(default)]
    roles: Vec<String>,
}

#[tokio::test]
async fn j32_scopes_and_roles_are_found_where_each_issuer_keeps_them() {
    let base = || TokenSpec::new().without_claim("scope").header("typ", "JWT");
    let keycloak = || base().claim("typ", "Bearer").claim("azp", "shop");
    let entra = || base().claim("ver", "2.0").claim("azp", "shop");
    let okta = || base().claim("cid", "shop");
    // The profile, the token, and whether it has the scope and the role.
    let cases = [
        (Profile::Keycloak, keycloak().scope("profile stock.read"), (true, false)),
        (
            Profile::Keycloak,
            keycloak().claim("realm_access", json!({"roles": ["admin"]})),
            (false, true),
        ),
        (Profile::Keycloak, keycloak().claim("roles", json!(["admins"])), (false, false)),
        (Profile::EntraId, entra().claim("scp", "stock.read User.Read"), (true, false)),
        // An application that acts for itself.
        (Profile::EntraId, entra().claim("roles", json!(["stock.read", "admin"])), (false, true)),
        // Not where this issuer keeps them.
        (Profile::EntraId, entra().scope("stock.read"), (false, false)),
        (Profile::Okta, okta().claim("scp", json!(["openid", "stock.read"])), (true, false)),
        (Profile::Okta, okta().claim("scp", json!(["stock.reader"])), (false, false)),
        (
            Profile::Auth0,
            base().claim("permissions", json!(["stock.read", "admin"])),
            (false, true),
        ),
        (Profile::Lenient, base().claim("scp", json!(["stock.read"])), (true, false)),
        (Profile::Lenient, base().claim("scp", "stock.read"), (true, false)),
    ];
    let issued = Issued::new();
    let has_role = RequireClaimsLayer::new(|caller: &Authenticated<Anywhere>| {
        let claims = caller.claims();
        let all = [&claims.realm_access.roles, &claims.roles, &claims.permissions];
        all.into_iter().flatten().any(|role| role == "admin")
    });
    let has_scope = RequireScopeLayer::all(["stock.read"]);
    for (profile, spec, (scope, role)) in cases {
        let jwt = Jwt::issuer(issued.issuer.issuer())
            .audience("inventory")
            .profile(profile)
            .claims::<Anywhere>()
            .jwks(issued.jwt.jwks().clone())
            .clock(Arc::new(issued.clock.clone()))
            .build()
            .unwrap();
        let door = RequireTokenLayer::new(jwt);
        let request = with_token(&issued.token(spec));
        let by_scope = door.layer(has_scope.layer(inner()));
        let by_role = door.layer(has_role.layer(inner()));
        for (seen_over_http, seen_over_grpc, expected) in [
            (
                seen(by_scope.clone(), request.clone()).await,
                seen(by_scope, grpc(request.clone())).await,
                scope,
            ),
            (
                seen(by_role.clone(), request.clone()).await,
                seen(by_role, grpc(request.clone())).await,
                role,
            ),
        ] {
            let refused = seen_over_http.rejection.as_ref().map(Rejection::status);
            assert_eq!(refused, (!expected).then_some(StatusCode::FORBIDDEN), "{profile:?}");
            let code = (!expected).then_some("7");
            assert_eq!(seen_over_grpc.header("grpc-status"), code, "{profile:?}");
        }
    }
}

#[tokio::test]
async fn a_rule_without_a_door_or_over_other_claims_is_a_clear_500() {
    let issued = Issued::new();
    let token = issued.token(TokenSpec::new().claim("roles", json!(["admin"])));
    let alone = seen(admins().layer(inner()), with_token(&token)).await;
    assert_eq!(alone.status, 500);
    assert!(alone.body.contains("no RequireTokenLayer"), "{}", alone.body);

    let others = RequireClaimsLayer::new(|_: &Authenticated<StandardClaims>| true);
    let answer = behind(&issued, &others, with_token(&token)).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("another type"), "{}", answer.body);
    let stepped = RequireAuthenticationLayer::within(Duration::MAX);
    assert_eq!(seen(stepped.layer(inner()), with_token(&token)).await.status, 500);
}

#[tokio::test]
async fn step_up_asks_for_a_class_and_an_age_and_what_the_token_does_not_say_is_not_enough() {
    let issued = Issued::new();
    let clock = Arc::new(issued.clock.clone());
    let acr = || RequireAuthenticationLayer::acr_values(["urn:mfa", "phr"]).unwrap();
    let age = Duration::from_secs(300);
    let rules = [
        acr(),
        RequireAuthenticationLayer::within(age).clock(clock.clone()),
        acr().max_age(age).clock(clock),
    ];
    // `acr` and `auth_time` of the token, and which of the rules let it in.
    let cases = [
        (json!(null), json!(null), [false, false, false]),
        (json!("phr"), json!(null), [true, false, false]),
        (json!("urn:mfa"), json!(NOW), [true, true, true]),
        (json!("PHR"), json!(NOW), [false, true, false]),
        (json!("urn:mfa phr"), json!(NOW), [false, true, false]),
        (json!(["phr"]), json!(NOW), [false, true, false]),
        (json!(1), json!(NOW), [false, true, false]),
        (json!("phr"), json!(NOW - 300 - 30), [true, true, true]),
        (json!("phr"), json!(NOW - 300 - 31), [true, false, false]),
        (json!("phr"), json!(NOW + 30), [true, true, true]),
        (json!("phr"), json!(NOW + 31), [true, false, false]),
        (json!("phr"), json!(NOW.to_string()), [true, false, false]),
        (json!("phr"), json!(-1), [true, false, false]),
    ];
    for (acr, auth_time, expected) in cases {
        let mut spec = TokenSpec::new();
        for (name, value) in [("acr", &acr), ("auth_time", &auth_time)] {
            if !value.is_null() {
                spec = spec.claim(name, value.clone());
            }
        }
        let request = with_token(&issued.token(spec));
        for (rule, let_in) in rules.iter().zip(expected) {
            let answer = behind(&issued, rule, request.clone()).await;
            let status = if let_in { 200 } else { 401 };
            assert_eq!(answer.status, status, "{acr} {auth_time} {rule:?}");
        }
    }
}

#[tokio::test]
async fn step_up_is_challenged_for_by_the_words_of_rfc_9470_over_both_protocols() {
    let issued = Issued::new();
    let request = with_token(&issued.token(TokenSpec::new()));
    let text = "a stronger or more recent authentication is needed";
    let error = format!(
        "Bearer realm=\"shop\", error=\"insufficient_user_authentication\", error_description=\"{text}\""
    );
    let acr = || RequireAuthenticationLayer::acr_values(["urn:mfa", "phr"]).unwrap();
    let five = Duration::from_millis(300_999);
    let cases = [
        (acr(), format!("{error}, acr_values=\"urn:mfa phr\"")),
        (acr().max_age(five), format!("{error}, acr_values=\"urn:mfa phr\", max_age=\"300\"")),
        (RequireAuthenticationLayer::within(five), format!("{error}, max_age=\"300\"")),
    ];
    for (rule, challenge) in cases {
        let answer = behind(&issued, &rule, request.clone()).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
        assert!(answer.body.starts_with(r#"{"error":"insufficient_user_authentication","#));
        let Some(Rejection::InsufficientAuthentication(wanted)) = answer.rejection else {
            panic!("no reason");
        };
        assert!(wanted.acr_values().count() == 2 || wanted.max_age().is_some());
        let answer = behind(&issued, &rule, grpc(request.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("16")));
        assert_eq!(answer.header("grpc-message"), Some(text));
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));

        let anonymous = behind(&issued, &rule, get("/", &[])).await;
        assert_eq!(anonymous.header("www-authenticate"), Some("Bearer realm=\"shop\""));
    }
}

#[test]
fn an_acr_value_that_would_break_the_challenge_is_refused_by_the_builder() {
    for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["a\\b"], &["ä"], &["a", "b\n"]] {
        assert!(RequireAuthenticationLayer::acr_values(bad).is_err(), "{bad:?}");
    }
}
