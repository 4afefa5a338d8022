//! D06: the certificate that the client has shown.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::json;
use tower_oauth_jose::CertificateDigest;
use tower_oauth_server::{InvalidToken, MutualTls, PeerCertificate, Rejection};

use crate::sender::*;

const OURS: &[u8] = b"DER of the client's certificate";
const OTHER: &[u8] = b"DER of another one";
const NONE: Option<Rejection> = Some(Rejection::Invalid(InvalidToken::SenderConstrained));
const WRONG: Option<Rejection> = Some(Rejection::Invalid(InvalidToken::WrongSender));

/// What the server knows of the other end of the connection.
#[derive(Clone)]
struct Peer(IpAddr);

fn token(house: &House) -> String {
    house.bound_to(json!({"x5t#S256": CertificateDigest::of_der(OURS).to_string()}))
}

fn over(token: &str, certificate: Option<&[u8]>) -> Request<()> {
    let mut request = bearer(token);
    if let Some(der) = certificate {
        request.extensions_mut().insert(PeerCertificate::from_der(der));
    }
    request
}

fn client_cert(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

fn forwarded(der: &[u8]) -> String {
    let digest = CertificateDigest::of_der(der);
    let hex: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("By=spiffe://proxy;Hash={hex};Subject=\"CN=client\"")
}

#[tokio::test]
async fn d06_a_bound_token_comes_in_over_its_own_certificate_only() {
    for house in [House::new().await, House::cold()] {
        let door = house.bare_door().mutual_tls(MutualTls::new());
        assert!(ask(&door, over(&token(&house), Some(OURS))).await.is_in());
        for (certificate, expected) in [(None, NONE), (Some(OTHER), WRONG)] {
            let answer = refused(&house, &door, |house, _| over(&token(house), certificate)).await;
            assert_eq!((answer.status.as_u16(), &answer.rejection), (401, &expected));
            let [challenge] = answer.challenges()[..] else { panic!("{answer:?}") };
            assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_bound_comes_in_unless_all_have_to_be() {
    let house = House::new().await;
    let unbound = house.unbound();
    let door = house.bare_door().mutual_tls(MutualTls::new());
    assert!(ask(&door, over(&unbound, None)).await.is_in());
    assert!(ask(&door, over(&unbound, Some(OTHER))).await.is_in());
    let required = house.bare_door().mutual_tls(MutualTls::new().required());
    let answer = ask(&required, over(&unbound, Some(OURS))).await;
    assert_eq!(answer.rejection, Some(InvalidToken::NotSenderConstrained.into()));
    assert!(ask(&required, over(&token(&house), Some(OURS))).await.is_in());
}

#[tokio::test]
async fn d06_a_header_counts_only_from_a_trusted_hop() {
    let house = House::new().await;
    let proxy: IpAddr = "10.0.0.7".parse().unwrap();
    let is_proxy = move |head: &http::request::Parts| {
        head.extensions.get::<Peer>().is_some_and(|peer| peer.0 == proxy)
    };
    let doors = [
        (
            house.bare_door().mutual_tls(MutualTls::new().trust_client_cert_header_if(is_proxy)),
            "client-cert",
            client_cert as fn(&[u8]) -> String,
        ),
        (
            house
                .bare_door()
                .mutual_tls(MutualTls::new().trust_forwarded_client_cert_header_if(is_proxy)),
            "x-forwarded-client-cert",
            forwarded,
        ),
    ];
    let ours = token(&house);
    for (door, name, written) in &doors {
        let through = |address: &str, headers: &[String], certificate| {
            let mut request = over(&ours, certificate);
            request.extensions_mut().insert(Peer(address.parse().unwrap()));
            for header in headers {
                request.headers_mut().append(*name, header.parse().unwrap());
            }
            request
        };
        let (good, bad) = (written(OURS), written(OTHER));
        let (trusted, stranger) = ("10.0.0.7", "10.0.0.8");
        let cases = [
            (trusted, vec![good.clone()], None, None),
            (trusted, vec![bad.clone()], None, WRONG),
            (trusted, vec![], None, NONE),
            (trusted, vec!["forged".to_owned()], None, NONE),
            (trusted, vec![good.clone(), bad.clone()], None, NONE),
            (trusted, vec![format!("{good}, {bad}")], None, NONE),
            // The certificate of the connection is the proxy's own.
            (trusted, vec![], Some(OURS), NONE),
            (trusted, vec![good.clone()], Some(OTHER), None),
            // The forged header.
            (stranger, vec![good.clone()], None, NONE),
            (stranger, vec![good.clone()], Some(OTHER), WRONG),
            (stranger, vec![bad.clone()], Some(OURS), None),
        ];
        for (address, headers, certificate, expected) in cases {
            let answer = ask(door, through(address, &headers, certificate)).await;
            assert_eq!(answer.rejection, expected, "{name} {address} {headers:?}");
            assert_eq!(answer.is_in(), expected.is_none());
        }
    }
    // Without the option neither header counts, whoever sends it.
    let door = house.bare_door().mutual_tls(MutualTls::new());
    for (name, value) in
        [("client-cert", client_cert(OURS)), ("x-forwarded-client-cert", forwarded(OURS))]
    {
        let mut request = over(&ours, None);
        request.extensions_mut().insert(Peer(proxy));
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(ask(&door, request).await.rejection, NONE);
    }
}

#[tokio::test]
async fn d06_the_certificate_of_the_connection_may_be_found_elsewhere() {
    let house = House::new().await;
    let tls = MutualTls::new()
        .peer_certificate(|head| head.extensions.get::<Vec<u8>>().map(PeerCertificate::from_der));
    let door = house.bare_door().mutual_tls(tls);
    let ours = token(&house);
    let mut request = bearer(&ours);
    request.extensions_mut().insert(OURS.to_vec());
    assert!(ask(&door, request).await.is_in());
    // Then the usual place is not looked at.
    assert_eq!(ask(&door, over(&ours, Some(OURS))).await.rejection, NONE);
}
