//! A key set with a second address.

use std::io;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{Jwks, Jwt};
use tower_oauth_test::Endpoint;

use crate::fixture::{AUDIENCE, House, judge};

#[tokio::test]
async fn a_dead_address_is_passed_over_for_the_next_one_and_rotation_is_followed_there() {
    let house = House::new();
    let service = house.issuer.service();
    let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
        let service = service.clone();
        async move {
            if request.uri().host() == Some("down.example") {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            service.oneshot(request).await.map_err(io::Error::other)
        }
    }));
    let jwks = Jwks::uri("https://down.example/jwks")
        .also_at(house.issuer.url(Endpoint::Jwks))
        .http_client(http)
        .clock(house.clock.clone())
        .build()
        .unwrap();
    let door = Jwt::issuer(house.issuer.issuer()).audience(AUDIENCE).jwks(jwks);
    let door = door.clock(std::sync::Arc::new(house.clock.clone())).build().unwrap();
    assert!(judge(&door, &house.token()).await.is_ok());
    house.issuer.rotate(tower_oauth_test::Rotation::Add);
    house.pass(60.0);
    assert!(judge(&door, &house.token()).await.is_ok());
    assert_eq!(house.fetches(), 2);
    let error = Jwks::uri("https://a.example/jwks").also_at("ftp://b.example/").build();
    assert!(error.unwrap_err().to_string().starts_with("also_at `ftp://b.example/`"));
}
