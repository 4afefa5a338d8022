use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::{Fault, TokenSpec};

type Http = Client<HttpConnector, Full<Bytes>>;

/// Longer than anything here takes, shorter than a test run's patience.
const PATIENCE: Duration = Duration::from_secs(20);

/// One client that speaks HTTP/1.1 and one that speaks HTTP/2.
fn clients() -> [Http; 2] {
    let client = |h2| Client::builder(TokioExecutor::new()).http2_only(h2).build_http();
    [client(false), client(true)]
}

async fn fetch(
    http: &Http,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error>> {
    let (head, body) = timeout(PATIENCE, http.request(request)).await??.into_parts();
    let body = timeout(PATIENCE, body.collect()).await??.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

#[tokio::test]
async fn a_served_issuer_lives_at_its_socket() {
    let issuer = builder().issuer_path("/r").build().unwrap();
    let serving = issuer.serve().await.unwrap();
    assert_eq!(issuer.issuer(), format!("{}/r", serving.uri()));
    assert_eq!(serving.uri(), format!("http://{}", serving.addr()));
    for http in clients() {
        let told = fetch(&http, get(&issuer, Endpoint::Discovery)).await.unwrap().json();
        assert_eq!(told["issuer"], issuer.issuer());
        assert_eq!(told["token_endpoint"], format!("{}/r/token", serving.uri()));
        let answer = fetch(&http, token_request(&issuer)).await.unwrap().json();
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(parts(token).1["iss"], issuer.issuer());
        assert!(issuer.is_active(token));
    }
    assert_eq!(issuer.calls(Endpoint::Token), 2);
}

#[tokio::test]
async fn a_fixed_issuer_keeps_its_name_and_moves_its_endpoints() {
    let issuer = builder().issuer("https://a.test/r").build().unwrap();
    let serving = issuer.serve().await.unwrap();
    assert_eq!(issuer.issuer(), "https://a.test/r");
    assert_eq!(issuer.url(Endpoint::Token), format!("{}/r/token", serving.uri()));
}

#[tokio::test]
async fn faults_are_played_on_a_socket_too() {
    let issuer = issuer();
    let _serving = issuer.serve().await.unwrap();
    for http in clients() {
        for fault in [Fault::Reset, Fault::CutBody, Fault::LoseAnswer] {
            issuer.fault(Endpoint::Jwks, fault.clone());
            assert!(fetch(&http, get(&issuer, Endpoint::Jwks)).await.is_err(), "{fault:?}");
        }
        issuer.fault(Endpoint::Jwks, Fault::Status(503));
        assert_eq!(fetch(&http, get(&issuer, Endpoint::Jwks)).await.unwrap().status, 503);
        issuer.fault(Endpoint::Jwks, Fault::EndlessBody);
        let mut body = http.request(get(&issuer, Endpoint::Jwks)).await.unwrap().into_body();
        let mut read = 0;
        while read < 512 * 1024 {
            read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        issuer.heal_all();
        assert_eq!(fetch(&http, get(&issuer, Endpoint::Jwks)).await.unwrap().json(), issuer.jwks());
    }
}

#[tokio::test]
async fn a_reset_breaks_the_whole_connection() {
    let issuer = issuer();
    let _serving = issuer.serve().await.unwrap();
    let [_, h2] = clients();
    issuer.fault(Endpoint::Token, Fault::Hang);
    let beside = tokio::spawn(h2.request(token_request(&issuer)));
    while issuer.calls(Endpoint::Token) == 0 {
        tokio::task::yield_now().await;
    }
    issuer.fault(Endpoint::Jwks, Fault::Reset);
    assert!(fetch(&h2, get(&issuer, Endpoint::Jwks)).await.is_err());
    assert!(timeout(PATIENCE, beside).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_dark_issuer_refuses_connections_and_comes_back_at_its_port() {
    let issuer = issuer();
    let serving = issuer.serve().await.unwrap();
    for http in clients() {
        for _ in 0..3 {
            issuer.fault(Endpoint::Token, Fault::Hang).times(1);
            let before = issuer.calls(Endpoint::Token);
            let hung = tokio::spawn(http.request(token_request(&issuer)));
            while issuer.calls(Endpoint::Token) == before {
                tokio::task::yield_now().await;
            }
            issuer.go_dark();
            let error = TcpStream::connect(serving.addr()).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            assert!(timeout(PATIENCE, hung).await.unwrap().unwrap().is_err());
            issuer.light_up().unwrap();
            issuer.light_up().unwrap();
            fetch(&http, token_request(&issuer)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_dark_issuer_that_is_served_stays_dark() {
    let issuer = issuer();
    issuer.go_dark();
    let serving = issuer.serve().await.unwrap();
    assert!(TcpStream::connect(serving.addr()).await.is_err());
    issuer.light_up().unwrap();
    assert!(TcpStream::connect(serving.addr()).await.is_ok());
}

#[tokio::test]
async fn a_server_ends_with_its_handle_and_its_port_is_free() {
    let issuer = issuer();
    let serving = issuer.serve().await.unwrap();
    let port = serving.addr().port();
    assert!(issuer.serve_on(port).await.is_err());
    let [http, _] = clients();
    fetch(&http, token_request(&issuer)).await.unwrap();
    serving.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());

    let again = issuer.serve_on(port).await.unwrap();
    let name = issuer.issuer();
    fetch(&http, token_request(&issuer)).await.unwrap();
    drop(again);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    // Neither the lights nor the name belong to the server that has ended.
    issuer.light_up().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert_eq!(issuer.issuer(), name);
}

#[tokio::test]
async fn a_resource_can_be_served() {
    let issuer = issuer();
    let resource = issuer.resource();
    let serving = resource.serve().await.unwrap();
    let bearer = format!("Bearer {}", issuer.mint(TokenSpec::new()));
    for http in clients() {
        let request = || {
            Request::post(serving.uri())
                .header("authorization", &bearer)
                .header("content-type", "application/grpc")
                .body(Full::from("ping"))
                .unwrap()
        };
        let answer = fetch(&http, request()).await.unwrap();
        assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, b"ping".as_slice()));
    }
    assert_eq!((resource.calls(), resource.tokens_seen()), (2, 1));
}
