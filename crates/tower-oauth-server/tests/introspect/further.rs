//! An authorization server with a second address.

use std::io;

use http::Request;
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_test::Endpoint;

use crate::fixture::{House, introspection, judge};

/// The issuer, and an address `down.example` that refuses connections and counts nothing.
fn with_a_dead_address(house: &House) -> HttpClient {
    let service = house.issuer.service();
    HttpClient::new(service_fn(move |request: Request<Full<bytes::Bytes>>| {
        let service = service.clone();
        async move {
            if request.uri().host() == Some("down.example") {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            service.oneshot(request).await.map_err(io::Error::other)
        }
    }))
}

#[tokio::test]
async fn a_dead_address_is_passed_over_for_the_next_one() {
    let house = House::new();
    let tokens = introspection(&house.issuer, &house.clock)
        .introspection_endpoint("https://down.example/introspect")
        .also_at(house.issuer.url(Endpoint::Introspection))
        .http_client(with_a_dead_address(&house))
        .build()
        .unwrap();
    for expected in 1..=3 {
        assert!(judge(&tokens, &house.token()).await.is_ok());
        assert_eq!(house.calls(), expected);
    }
    let error = introspection(&house.issuer, &house.clock).also_at("http://a.example/").build();
    assert!(error.unwrap_err().to_string().starts_with("also_at `http://a.example/`"));
}
