//! D01, D02 and D04 through the door. The finer tables are those of the proof itself, in `tower-oauth-jose`.

use http::{HeaderValue, Method};
use serde_json::{Value, json};
use tower_oauth_jose::SkipReason;
use tower_oauth_server::{InvalidProof, InvalidToken, Rejection};

use crate::sender::*;

/// A request with a proof for its method, with these changes.
fn changed(house: &House, method: &Method, header: &Value, claims: &Value) -> http::Request<()> {
    let token = house.token();
    let claims = with(with(house.claims(&token), json!({"htm": method.as_str()})), claims.clone());
    let proof = house.key.sign(&with(house.header(), header.clone()), &claims);
    dpop(&token, &[&proof])
}

#[tokio::test]
async fn rfc_9449_a_bound_token_with_a_proof_of_its_key_comes_in() {
    for house in [House::new().await, House::cold()] {
        let answer = ask(&house.door(), house.good()).await;
        assert!(answer.is_in(), "{answer:?}");
        assert_eq!(answer.header("dpop-nonce"), None);
    }
    // Over gRPC the method is POST, and the target the path of the call.
    let house = House::new().await;
    let mut request = changed(&house, &Method::POST, &json!({}), &json!({}));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    assert!(ask(&house.door(), request).await.is_in());
}

#[tokio::test]
async fn d01_a_proof_that_is_none_is_refused_as_invalid_dpop_proof() {
    use InvalidProof as Bad;
    let no = json!({});
    let private = json!({"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}});
    let secret = json!({"jwk": {"kty": "oct", "k": "c2VjcmV0"}});
    let cases: Vec<(Value, Value, InvalidProof)> = vec![
        (json!({"typ": "JWT"}), no.clone(), Bad::WrongType),
        (json!({"typ": null}), no.clone(), Bad::WrongType),
        (json!({"alg": "none"}), no.clone(), Bad::AlgorithmNotAllowed),
        (json!({"alg": "HS256"}), no.clone(), Bad::AlgorithmNotAllowed),
        (json!({"jwk": null}), no.clone(), Bad::MissingKey),
        (private, no.clone(), Bad::InvalidKey(SkipReason::Private)),
        (secret, no.clone(), Bad::InvalidKey(SkipReason::Symmetric)),
        (json!({"jwk": Key::new().jwk()}), no.clone(), Bad::BadSignature),
        (no.clone(), json!({"jti": null}), Bad::MissingClaim("jti")),
        (no.clone(), json!({"htm": null}), Bad::MissingClaim("htm")),
        (no.clone(), json!({"htu": null}), Bad::MissingClaim("htu")),
        (no.clone(), json!({"iat": null}), Bad::MissingClaim("iat")),
        (no.clone(), json!({"ath": null}), Bad::MissingClaim("ath")),
    ];
    for house in [House::new().await, House::cold()] {
        let door = house.door();
        for (header, claims, expected) in &cases {
            let answer =
                refused(&house, &door, |house, method| changed(house, method, header, claims));
            let answer = answer.await;
            assert_eq!(answer.rejection, Some(Rejection::InvalidProof(*expected)));
            assert_eq!(answer.status, 401);
            let [challenge] = answer.challenges()[..] else { panic!("{answer:?}") };
            assert!(challenge.starts_with("DPoP error=\"invalid_dpop_proof\", "), "{challenge}");
            assert!(
                challenge
                    .ends_with("algs=\"RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA\"")
            );
        }
    }
}

#[tokio::test]
async fn d01_no_proof_and_two_proofs_are_refused() {
    let house = House::new().await;
    let door = house.door();
    let none = refused(&house, &door, |house, _| dpop(&house.token(), &[])).await;
    assert_eq!(none.rejection, Some(InvalidProof::Missing.into()));
    let two = refused(&house, &door, |house, _| {
        let token = house.token();
        dpop(&token, &[&house.proof(&token), &house.proof(&token)])
    });
    assert_eq!(two.await.rejection, Some(InvalidProof::Several.into()));
    let joined = refused(&house, &door, |house, _| {
        let token = house.token();
        dpop(&token, &[&format!("{}, {}", house.proof(&token), house.proof(&token))])
    });
    assert_eq!(joined.await.rejection, Some(InvalidProof::Malformed.into()));
    let odd = refused(&house, &door, |house, _| {
        let mut request = dpop(&house.token(), &[]);
        request.headers_mut().insert("dpop", HeaderValue::from_bytes(b"\xff").unwrap());
        request
    });
    assert_eq!(odd.await.rejection, Some(InvalidProof::Malformed.into()));
}

#[tokio::test]
async fn d02_the_target_is_the_configured_one_whatever_the_request_says_of_itself() {
    let house = House::new().await;
    let ask_for = async |door: &_, htu: &str, uri: &str, headers: &[(&'static str, &str)]| {
        let token = house.token();
        let mut request = dpop(&token, &[&house.proof_with(&token, json!({ "htu": htu }))]);
        *request.uri_mut() = uri.parse().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        ask(door, request).await.rejection
    };
    let door = house.door();
    for (htu, uri) in [
        ("https://api.example.com/stock/7", "/stock/7"),
        ("https://api.example.com/stock/7", "/stock/7?page=2"),
        ("https://API.example.com:443/stock/7?x#y", "/stock/7"),
        ("https://api.example.com/%73tock/7", "/stock/%37"),
        ("https://api.example.com/stock/./x/../7", "/stock/7"),
        ("https://api.example.com", "/"),
        // Behind a proxy that ends TLS, HTTP/2 has a scheme and an authority of its own.
        ("https://api.example.com/stock/7", "http://10.0.0.7:8080/stock/7"),
    ] {
        assert_eq!(ask_for(&door, htu, uri, &[]).await, None, "{htu} {uri}");
    }
    let wrong = Some(Rejection::InvalidProof(InvalidProof::WrongUri));
    let evil = "https://evil.example/stock/7";
    let forged: [(&str, &str); 3] = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=https"),
    ];
    for (htu, uri, headers) in [
        (evil, "/stock/7", &forged[..]),
        (evil, "https://evil.example/stock/7", &[][..]),
        ("http://api.example.com/stock/7", "/stock/7", &[][..]),
        ("https://api.example.com/stock/8", "/stock/7", &[][..]),
        ("https://api.example.com/stock%2F7", "/stock/7", &[][..]),
    ] {
        assert_eq!(ask_for(&door, htu, uri, headers).await, wrong, "{htu} {uri}");
    }

    let prefix = house.bare_door().dpop(
        tower_oauth_server::Dpop::builder()
            .external_base_url("https://api.example.com/v1/")
            .external_base_url("https://other.example")
            .clock(house.clock.clone())
            .build()
            .unwrap(),
    );
    for (htu, expected) in [
        ("https://api.example.com/v1/stock/7", None),
        ("https://other.example/stock/7", None),
        ("https://api.example.com/stock/7", wrong.clone()),
        ("https://other.example/v1/stock/7", wrong.clone()),
    ] {
        assert_eq!(ask_for(&prefix, htu, "/stock/7", &[]).await, expected, "{htu}");
    }
    // Dots in the request's path do not lead out of the prefix, to another service of the same host.
    for uri in ["/../v2/stock/7", "/%2e%2E/v2/stock/7", "/a/../../v2/stock/7"] {
        let v2 = "https://api.example.com/v2/stock/7";
        assert_eq!(ask_for(&prefix, v2, uri, &[]).await, wrong, "{uri}");
        let v1 = "https://api.example.com/v1/v2/stock/7";
        assert_eq!(ask_for(&prefix, v1, uri, &[]).await, None, "{uri}");
    }

    let by_host = house.bare_door().dpop(
        tower_oauth_server::Dpop::builder()
            .danger_take_host_from_request("https")
            .clock(house.clock.clone())
            .build()
            .unwrap(),
    );
    let host = [("host", "shop.example:443")];
    let of_the_host = "https://shop.example/stock/7";
    assert_eq!(ask_for(&by_host, of_the_host, "/stock/7", &host).await, None);
    assert_eq!(ask_for(&by_host, of_the_host, "https://shop.example/stock/7", &[]).await, None);
    assert_eq!(ask_for(&by_host, evil, "/stock/7", &host).await, wrong);
    assert_eq!(ask_for(&by_host, of_the_host, "/stock/7", &[]).await, wrong);
}

#[tokio::test]
async fn d02_the_method_is_that_of_the_request_letter_by_letter() {
    let house = House::new().await;
    let door = house.door();
    for htm in ["get", "Get", "PUT", "GET "] {
        let answer = refused(&house, &door, |house, method| {
            changed(house, method, &json!({}), &json!({ "htm": htm }))
        });
        assert_eq!(answer.await.rejection, Some(InvalidProof::WrongMethod.into()), "{htm}");
    }
}

#[tokio::test]
async fn d04_a_proof_for_another_token_by_another_key_or_of_another_time_is_refused() {
    let house = House::new().await;
    let door = house.door();
    let now = house.claims("")["iat"].as_i64().unwrap();
    for (claims, expected) in [
        (json!({"ath": house.claims("other")["ath"]}), InvalidProof::WrongToken),
        (json!({"iat": now - 60}), InvalidProof::TooOld),
        (json!({"iat": now + 6}), InvalidProof::FromTheFuture),
    ] {
        let answer =
            refused(&house, &door, |house, method| changed(house, method, &json!({}), &claims));
        assert_eq!(answer.await.rejection, Some(expected.into()));
    }
    for iat in [now - 59, now + 5] {
        let token = house.token();
        let proof = house.proof_with(&token, json!({ "iat": iat }));
        assert!(ask(&door, dpop(&token, &[&proof])).await.is_in(), "{iat}");
    }

    // The thief has the token and a key of his own.
    let thief = Key::new();
    let answer = refused(&house, &door, |house, method| {
        let token = house.token();
        let header = with(house.header(), json!({"jwk": thief.jwk()}));
        let claims = with(house.claims(&token), json!({"htm": method.as_str()}));
        dpop(&token, &[&thief.sign(&header, &claims)])
    });
    assert_eq!(answer.await.rejection, Some(InvalidProof::WrongKey.into()));
}

#[tokio::test]
async fn a_bad_token_is_told_before_a_bad_proof() {
    let house = House::new().await;
    let spec = tower_oauth_test::TokenSpec::new().claim("cnf", json!({"jkt": house.key.jkt()}));
    let answer = ask(&house.door(), dpop(&house.issuer.mint(spec.expired()), &[])).await;
    assert_eq!(answer.rejection, Some(InvalidToken::Expired.into()));
    let [challenge] = answer.challenges()[..] else { panic!("{answer:?}") };
    assert!(challenge.starts_with("DPoP error=\"invalid_token\""), "{challenge}");
}
