//! D05: which token may come in which scheme.

use std::time::Duration;

use http::{HeaderValue, Request};
use serde_json::json;
use tower_oauth_jose::CertificateDigest;
use tower_oauth_server::{
    Authenticate, Caller, InvalidToken, MalformedRequest, Presented, Principal, Rejection,
    RequireTokenLayer, Verdict,
};

use crate::sender::*;

const UNBOUND: Rejection = Rejection::Invalid(InvalidToken::NotSenderConstrained);
const BOUND: Rejection = Rejection::Invalid(InvalidToken::SenderConstrained);

#[tokio::test]
async fn d05_a_bound_token_is_no_bearer_token_whatever_the_door_takes() {
    for house in [House::new().await, House::cold()] {
        let doors = [
            house.bare_door(),
            house.door(),
            house.door_with(|dpop| dpop.required()),
            house.bare_door().mutual_tls(tower_oauth_server::MutualTls::new()),
        ];
        let x5t = CertificateDigest::of_der(b"certificate").to_string();
        for door in &doors {
            for cnf in [
                json!({"jkt": house.key.jkt()}),
                json!({"x5t#S256": x5t}),
                json!({"jkt": house.key.jkt(), "x5t#S256": x5t}),
                json!({"kid": "unknown method"}),
                json!({}),
                json!("x"),
            ] {
                let answer =
                    refused(&house, door, |house, _| bearer(&house.bound_to(cnf.clone()))).await;
                assert_eq!(answer.status, 401);
                let reason = answer.rejection.unwrap();
                // Where every token has to be bound by DPoP, one that is bound otherwise is not bound.
                assert!(reason == BOUND || reason == UNBOUND, "{cnf} {reason:?}");
            }
        }
        // A proof that lies beside it does not make a bearer token of it.
        let token = house.token();
        let with_proof = request("Bearer", &token, &[&house.proof(&token)]);
        assert_eq!(ask(&house.door(), with_proof).await.rejection, Some(BOUND));
    }
}

#[tokio::test]
async fn d05_an_unknown_method_is_not_made_good_by_a_proof() {
    let house = House::new().await;
    for cnf in [json!({"kid": "x"}), json!({"jkt": house.key.jkt(), "kid": "x"}), json!({})] {
        let token = house.bound_to(cnf);
        let answer = ask(&house.door(), dpop(&token, &[&house.proof(&token)])).await;
        assert_eq!(answer.rejection, Some(BOUND));
    }
}

#[tokio::test]
async fn d05_a_token_that_is_bound_to_both_needs_both() {
    let house = House::new().await;
    let certificate = tower_oauth_server::PeerCertificate::from_der(b"certificate");
    let x5t = CertificateDigest::of_der(b"certificate").to_string();
    let token = house.bound_to(json!({"jkt": house.key.jkt(), "x5t#S256": x5t}));
    let both = house.door().mutual_tls(tower_oauth_server::MutualTls::new());
    let make = |proof: bool, shown: bool| {
        let proofs = if proof { vec![house.proof(&token)] } else { Vec::new() };
        let proofs: Vec<_> = proofs.iter().map(String::as_str).collect();
        let mut request = request(if proof { "DPoP" } else { "Bearer" }, &token, &proofs);
        if shown {
            request.extensions_mut().insert(certificate);
        }
        request
    };
    assert!(ask(&both, make(true, true)).await.is_in());
    assert_eq!(ask(&both, make(true, false)).await.rejection, Some(BOUND));
    assert_eq!(ask(&both, make(false, true)).await.rejection, Some(BOUND));
    // A door that knows of one only cannot confirm the other.
    assert_eq!(ask(&house.door(), make(true, true)).await.rejection, Some(BOUND));
}

#[tokio::test]
async fn a_token_that_is_not_bound_comes_as_bearer_and_never_as_dpop() {
    let house = House::new().await;
    let token = house.unbound();
    assert!(ask(&house.door(), bearer(&token)).await.is_in());
    let as_dpop = dpop(&token, &[&house.proof(&token)]);
    assert_eq!(ask(&house.door(), as_dpop).await.rejection, Some(UNBOUND));

    let required = house.door_with(|dpop| dpop.required());
    let answer = refused(&house, &required, |house, _| bearer(&house.unbound())).await;
    assert_eq!(answer.rejection, Some(UNBOUND));
    let [challenge] = answer.challenges()[..] else { panic!("{answer:?}") };
    assert!(challenge.starts_with("DPoP error=\"invalid_token\""), "{challenge}");
    assert!(ask(&required, house.good()).await.is_in());
}

#[tokio::test]
async fn h02_bearer_and_dpop_together_are_malformed() {
    let house = House::new().await;
    let fields = |values: &[String]| {
        let mut request = Request::get(PATH).body(()).unwrap();
        for value in values {
            let value = HeaderValue::try_from(value).unwrap();
            request.headers_mut().append("authorization", value);
        }
        request
    };
    let (bound, unbound) = (house.token(), house.unbound());
    let several = Some(Rejection::Malformed(MalformedRequest::SeveralCredentials));
    for values in [
        vec![format!("Bearer {unbound}"), format!("DPoP {bound}")],
        vec![format!("DPoP {bound}"), format!("Bearer {unbound}")],
        vec![format!("DPoP {bound}"), format!("DPoP {bound}")],
        vec![format!("DPoP {bound}, Bearer {unbound}")],
        vec![format!("Bearer {unbound}, DPoP {bound}")],
    ] {
        let answer = ask(&house.door(), fields(&values)).await;
        assert_eq!(answer.rejection, several);
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn a_challenge_says_which_schemes_are_taken() {
    let house = House::new().await;
    let anonymous = || Request::get(PATH).body(()).unwrap();
    let door = |dpop: fn(tower_oauth_server::DpopBuilder) -> tower_oauth_server::DpopBuilder| {
        house.door_with(|builder| dpop(builder.algorithms([tower_oauth_server::Algorithm::ES256])))
    };
    let of = async |layer: RequireTokenLayer, request| {
        let answer = ask(&layer.realm("shop").unwrap(), request).await;
        answer.challenges().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let taken = "DPoP realm=\"shop\", algs=\"ES256\"";
    assert_eq!(of(house.bare_door(), anonymous()).await, ["Bearer realm=\"shop\""]);
    assert_eq!(of(door(|dpop| dpop), anonymous()).await, ["Bearer realm=\"shop\"", taken]);
    assert_eq!(of(door(|dpop| dpop.required()), anonymous()).await, [taken]);

    let expired = house.issuer.mint(tower_oauth_test::TokenSpec::new().expired());
    let [bearer_error, dpop_offer] = &of(door(|dpop| dpop), bearer(&expired)).await[..] else {
        panic!("two challenges are made");
    };
    assert!(bearer_error.starts_with("Bearer realm=\"shop\", error=\"invalid_token\""));
    assert_eq!(dpop_offer, taken);

    // Further in, where the scope is asked for, the scheme is still known.
    let spec = tower_oauth_test::TokenSpec::new().claim("cnf", json!({"jkt": house.key.jkt()}));
    let token = house.issuer.mint(spec);
    let narrow = dpop(&token, &[&house.proof(&token)]);
    let [scope_error] = &of(door(|dpop| dpop), narrow).await[..] else {
        panic!("one challenge is made");
    };
    assert!(scope_error.starts_with("DPoP realm=\"shop\", error=\"insufficient_scope\""));
}

#[tokio::test]
async fn where_dpop_is_not_taken_its_scheme_is_no_credentials() {
    let house = House::new().await;
    let answer = ask(&house.bare_door(), house.good()).await;
    assert_eq!(answer.rejection, Some(Rejection::Missing));
    assert_eq!(answer.challenges(), ["Bearer"]);
}

/// An authenticator of the application's own, which says what a token is bound to and checks nothing.
struct Careless(tower_oauth_jose::Confirmation);

impl Authenticate for Careless {
    type Claims = ();

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<()> {
        let mut principal = Principal::new("https://idp.example", Duration::MAX);
        principal.subject = Some("alice".into());
        principal.confirmation = Some(self.0.clone());
        let caller = Caller::new(principal, ());
        match presented.token {
            "now" => Verdict::Now(Ok(caller)),
            _ => Verdict::Later(Box::pin(async move { Ok(caller) })),
        }
    }
}

#[tokio::test]
async fn d05_the_door_checks_what_an_authenticator_leaves_unchecked() {
    let house = House::cold();
    for cnf in [
        json!({"jkt": house.key.jkt()}),
        json!({"x5t#S256": CertificateDigest::of_der(b"certificate").to_string()}),
    ] {
        let cnf = tower_oauth_jose::Confirmation::parse(cnf.to_string()).unwrap();
        let door = RequireTokenLayer::new(Careless(cnf));
        for token in ["now", "later"] {
            assert_eq!(ask(&door, bearer(token)).await.rejection, Some(BOUND), "{token}");
        }
    }
}
