//! Who waits for keys takes nothing away from those who need not wait.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_oauth_core::ErrorKind;
use tower_oauth_server::{Rejection, RequireTokenLayer, Verdict};
use tower_oauth_test::{Endpoint, Fault};

use crate::fixture::{House, settle, unknown_key, verdict};

fn request(token: &str) -> Request<()> {
    Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap()
}

/// A service with two places, behind a door of this house.
fn two_places(
    house: &House,
) -> impl Service<
    Request<()>,
    Response = Response<tower_oauth_server::DoorBody<Full<Bytes>>>,
    Error = Infallible,
    Future: Send + 'static,
> + use<> {
    let inner = service_fn(async |_: Request<()>| {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    RequireTokenLayer::new(house.jwt.clone()).layer(ConcurrencyLimitLayer::new(2).layer(inner))
}

#[tokio::test(start_paused = true)]
async fn forged_keys_that_are_looked_for_take_no_place_behind_the_door() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(4)));
    let mut service = two_places(&house);
    let mut forged = Vec::new();
    for kid in ["a", "b"] {
        let call = service.ready().await.unwrap().call(request(&house.issuer.forge(kid)));
        forged.push(tokio::spawn(call));
        settle(0.01).await;
    }
    // Ten seconds of its own, none for a place.
    let good = async { service.ready().await.unwrap().call(request(&house.token())).await };
    let good = tokio::time::timeout(Duration::from_secs(11), good).await;
    assert_eq!(good.expect("it was not called at once").unwrap().status(), 200);
    for forged in forged {
        let refused = forged.await.unwrap().unwrap();
        assert_eq!(refused.extensions().get(), Some(&unknown_key()));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_waited_for_a_key_takes_a_place_like_everybody() {
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    let mut service = two_places(&house);
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(tokio::spawn(service.ready().await.unwrap().call(request(&house.token()))));
    }
    // A second for the keys, ten for each; the third has to wait for a place.
    for (seconds, expected) in [(10.9, 0), (0.2, 2), (9.8, 2), (0.2, 3)] {
        settle(seconds).await;
        assert_eq!(calls.iter().filter(|call| call.is_finished()).count(), expected);
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_room_to_wait_for_a_key_is_not_told_that_the_token_is_bad() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    let forged = house.issuer.forge("a");
    let waiting: Vec<_> = (0..8_192)
        .map(|_| match verdict(&house.jwt, &forged) {
            Verdict::Later(later) => later,
            other => panic!("{other:?}"),
        })
        .collect();
    let full = house.judge(&forged).await.unwrap_err();
    let expected = Duration::from_secs(1);
    assert_eq!(
        full,
        Rejection::Unavailable { cause: ErrorKind::TooManyWaiters, retry_after: expected }
    );
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap_err(), unknown_key());
    }
    assert_eq!(house.fetches(), 1);
}
