//! Tokens of which the issuer says, when asked, what they are bound to (RFC 9449 §6.2, RFC 8705 §3.2).

use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value, json};
use tower_oauth_core::Clock as _;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{
    Authenticate, Introspection, IntrospectionBuilder, InvalidProof, InvalidToken, Jwks, MutualTls,
    Outage, PeerCertificate, Rejection, RequireTokenLayer,
};
use tower_oauth_test::{Endpoint, Fault, TokenSpec};

use crate::sender::{AUDIENCE, House, Key, ask, bearer, dpop, refused, with};

const CLIENT: &str = "inventory-api";

fn introspection(house: &House) -> IntrospectionBuilder {
    house.issuer.register_client(CLIENT, "s3cret");
    Introspection::issuer(house.issuer.issuer())
        .client_credentials(CLIENT, "s3cret")
        .audience(AUDIENCE)
        .http_client(HttpClient::new(house.issuer.service()))
        .clock(house.clock.clone())
}

fn checking(house: &House, authenticator: impl Authenticate) -> RequireTokenLayer {
    RequireTokenLayer::new(authenticator).dpop(house.dpop().build().unwrap())
}

/// A good answer about any token, with members replaced.
fn answer(house: &House, more: Value) -> Value {
    let now = house.clock.unix_seconds();
    let answer = json!({
        "active": true, "iss": house.issuer.issuer(), "aud": AUDIENCE, "sub": "alice",
        "scope": "stock.read", "exp": now + 3600,
    });
    with(answer, more)
}

fn say(house: &House, answer: &Value) {
    house.issuer.fault(Endpoint::Introspection, Fault::Garbage(answer.to_string().into()));
}

fn invalid(reason: InvalidToken) -> Option<Rejection> {
    Some(Rejection::Invalid(reason))
}

fn with_proof(house: &House, token: &str) -> Request<()> {
    dpop(token, &[&house.proof(token)])
}

/// What each door has to say to a token that is bound to the client's key.
async fn only_the_sender_comes_in(house: &House, tokens: &Introspection, token: &str) {
    let door = checking(house, tokens.clone());
    let by_sender = ask(&door, with_proof(house, token)).await;
    assert!(by_sender.is_in());
    assert_eq!(by_sender.header("bound-to"), Some(&*house.key.jkt()), "the handler is told");
    let of_grpc = house.proof_with(token, json!({"htm": "POST"}));
    let mut over_grpc = dpop(token, &[&of_grpc]);
    *over_grpc.method_mut() = Method::POST;
    over_grpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    assert!(ask(&door, over_grpc).await.is_in());

    let plain = refused(house, &door, |_, _| bearer(token)).await;
    assert_eq!(plain.rejection, invalid(InvalidToken::SenderConstrained));
    let thief = House { key: Key::new(), ..House::new().await };
    let by_thief = refused(house, &door, |house, method| {
        let htm = json!({"htm": method.as_str(), "iat": house.clock.unix_seconds()});
        dpop(token, &[&thief.proof_with(token, htm)])
    })
    .await;
    assert_eq!(by_thief.rejection, Some(Rejection::InvalidProof(InvalidProof::WrongKey)));
    // The same verdict, at a door that checks nobody.
    let bare = RequireTokenLayer::new(tokens.clone());
    let unchecked = refused(house, &bare, |_, _| bearer(token)).await;
    assert_eq!(unchecked.rejection, invalid(InvalidToken::SenderConstrained));
}

#[tokio::test]
async fn d05_an_introspected_token_that_is_bound_comes_in_with_its_proof_only() {
    let house = House::new().await;
    let tokens = introspection(&house).build().unwrap();
    let token = house.token();
    only_the_sender_comes_in(&house, &tokens, &token).await;
    // From the cache it is no other.
    only_the_sender_comes_in(&house, &tokens, &token).await;
    assert_eq!(house.issuer.calls(Endpoint::Introspection), 1);

    // And if the first door was one that checks nobody.
    let other = house.token();
    let bare = RequireTokenLayer::new(tokens.clone());
    assert_eq!(
        ask(&bare, bearer(&other)).await.rejection,
        invalid(InvalidToken::SenderConstrained)
    );
    assert!(ask(&checking(&house, tokens), with_proof(&house, &other)).await.is_in());
    assert_eq!(house.issuer.calls(Endpoint::Introspection), 2);
}

#[tokio::test]
async fn d05_case_68_the_grace_of_an_outage_does_not_set_a_token_free() {
    let house = House::new().await;
    let grace = Outage::Grace(Duration::from_secs(120));
    let tokens = introspection(&house).outage(grace).build().unwrap();
    let endless = json!({"cnf": {"jkt": house.key.jkt()}, "exp": null});
    for more in [json!({"cnf": {"jkt": house.key.jkt()}}), endless] {
        tokens.clear();
        say(&house, &answer(&house, more));
        only_the_sender_comes_in(&house, &tokens, "opaque").await;
        house.issuer.fault(Endpoint::Introspection, Fault::Status(503));
        house.clock.advance(Duration::from_secs(60));
        only_the_sender_comes_in(&house, &tokens, "opaque").await;
        house.issuer.heal(Endpoint::Introspection);
        house.clock.advance(Duration::from_secs(10));
    }
}

#[tokio::test]
async fn d05_a_signed_answer_binds_as_well() {
    let house = House::new().await;
    let jwks = Jwks::issuer(house.issuer.issuer())
        .http_client(HttpClient::new(house.issuer.service()))
        .clock(house.clock.clone());
    let tokens = introspection(&house).signed_answers(jwks.build().unwrap()).build().unwrap();
    let claims = json!({
        "iss": house.issuer.issuer(), "aud": CLIENT, "iat": house.clock.unix_seconds(),
        "token_introspection": answer(&house, json!({"cnf": {"jkt": house.key.jkt()}})),
    });
    let spec =
        TokenSpec::new().header("typ", "token-introspection+jwt").raw_payload(claims.to_string());
    let fault = Fault::Body {
        status: 200,
        content_type: "application/token-introspection+jwt".into(),
        body: house.issuer.mint(spec).into(),
    };
    house.issuer.fault(Endpoint::Introspection, fault);
    only_the_sender_comes_in(&house, &tokens, "opaque").await;
}

#[tokio::test]
async fn d05_an_answer_that_binds_to_what_nobody_can_check_is_refused_at_every_door() {
    let house = House::new().await;
    let tokens = introspection(&house).negative_ttl(Duration::ZERO).build().unwrap();
    let door = checking(&house, tokens.clone()).mutual_tls(MutualTls::new());
    let jkt = house.key.jkt();
    let bound = InvalidToken::SenderConstrained;
    let cases = [
        (r#"{"kid":"a"}"#.to_owned(), bound),
        ("{}".to_owned(), bound),
        ("true".to_owned(), bound),
        (format!(r#"{{"jkt":"{jkt}","jwe":"x"}}"#), bound),
        (r#"{"jkt":"x"}"#.to_owned(), InvalidToken::InvalidClaim("cnf")),
        (format!(r#"{{"jkt":"{jkt}","jkt":"{jkt}"}}"#), InvalidToken::DuplicateMember),
    ];
    for (cnf, reason) in cases {
        // As text, since no JSON value has a member twice.
        let text = answer(&house, json!({"cnf": "CNF"})).to_string().replace("\"CNF\"", &cnf);
        house.issuer.fault(Endpoint::Introspection, Fault::Garbage(text.into()));
        let seen = ask(&door, with_proof(&house, "opaque")).await;
        assert_eq!(seen.rejection, invalid(reason), "{cnf}");
    }
    // The type alone says that there is a key, and not which.
    let certificate = PeerCertificate::from_der(b"certificate");
    for more in
        [json!({}), json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dgI"}})]
    {
        say(&house, &answer(&house, with(more, json!({"token_type": "DPoP"}))));
        let mut request = with_proof(&house, "opaque");
        request.extensions_mut().insert(certificate);
        assert_eq!(ask(&door, request).await.rejection, invalid(bound));
    }
    say(&house, &answer(&house, json!({"token_type": "DPoP", "cnf": {"jkt": jkt}})));
    assert!(ask(&door, with_proof(&house, "opaque")).await.is_in());
}

#[tokio::test]
async fn d06_an_introspected_token_that_is_bound_to_a_certificate_needs_that_one() {
    let house = House::new().await;
    let tokens = introspection(&house).build().unwrap();
    let door = RequireTokenLayer::new(tokens).mutual_tls(MutualTls::new());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"ours");
    let token = house.bound_to(json!({"x5t#S256": crate::sender::encode(digest)}));
    let over = |certificate: Option<&[u8]>| {
        let mut request = bearer(&token);
        if let Some(der) = certificate {
            request.extensions_mut().insert(PeerCertificate::from_der(der));
        }
        request
    };
    for _ in 0..2 {
        assert!(ask(&door, over(Some(b"ours"))).await.is_in());
        let none = refused(&house, &door, |_, _| over(None)).await;
        assert_eq!(none.rejection, invalid(InvalidToken::SenderConstrained));
        let other = refused(&house, &door, |_, _| over(Some(b"other"))).await;
        assert_eq!(other.rejection, invalid(InvalidToken::WrongSender));
    }
}

#[tokio::test]
async fn d05_what_the_token_or_the_answer_says_it_is_bound_to_has_to_be_shown() {
    let house = House::new().await;
    let tokens = introspection(&house).cache_ttl(Duration::ZERO).build().unwrap();
    let confirmed = house.jwt.confirm_with(tokens);
    let (checking, bare) = (checking(&house, confirmed.clone()), RequireTokenLayer::new(confirmed));
    let (own, other) = (json!({"jkt": house.key.jkt()}), json!({"jkt": Key::new().jkt()}));
    // (what the token says, what the answer says, the refusal of the sender with the proof)
    let bound = || Some(InvalidToken::SenderConstrained);
    let cases = [
        (Some(&own), Some(&own), None),
        (Some(&own), None, None),
        (None, Some(&own), None),
        (Some(&own), Some(&other), bound()),
    ];
    for (token, told, expected) in cases {
        let token = token.map_or_else(|| house.unbound(), |cnf| house.bound_to(cnf.clone()));
        say(&house, &answer(&house, json!({"cnf": told})));
        let sender = ask(&checking, with_proof(&house, &token)).await;
        assert_eq!(sender.rejection, expected.map(Rejection::Invalid), "{told:?}");
        for door in [&checking, &bare] {
            let plain = refused(&house, door, |_, _| bearer(&token)).await;
            assert_eq!(plain.rejection, bound().map(Rejection::Invalid), "{told:?}");
        }
    }
    // Neither says anything.
    say(&house, &answer(&house, json!({})));
    assert!(ask(&bare, bearer(&house.unbound())).await.is_in());
}
