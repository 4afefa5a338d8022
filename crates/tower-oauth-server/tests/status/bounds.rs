//! However many lists there are, few are kept, and the busy ones stay.

use std::time::Duration;

use tower_oauth_core::ErrorKind;
use tower_oauth_test::{Endpoint, Fault};

use crate::fixture::{House, judge, outage, settle};

fn shown(house: &House) -> String {
    format!("{:?}", house.lists)
}

#[tokio::test]
async fn d09_a_flood_of_lists_is_bounded_and_the_busy_one_stays() {
    let house = House::with(|lists| lists.max_lists(8)).await;
    let busy = house.token(7);
    assert!(house.accepts(&busy).await);
    for n in 0..500 {
        let uri = house.uri(&format!("flood-{n}"));
        assert!(house.accepts(&house.mint(house.issuer.status_claim_of(&uri, 7))).await);
        assert!(house.judge_now(&busy).is_ok(), "{n}");
    }
    assert!(shown(&house).contains("lists: 8"), "{}", shown(&house));
    assert_eq!(house.fetches(), 501);
}

#[tokio::test]
async fn d09_a_flood_of_lists_that_fail_pushes_no_good_one_out() {
    let house = House::with(|lists| lists.max_lists(4)).await;
    let good: Vec<_> = (0..4)
        .map(|n| house.mint(house.issuer.status_claim_of(&house.uri(&format!("good-{n}")), 7)))
        .collect();
    for token in &good {
        assert!(house.accepts(token).await);
    }
    house.issuer.fault(Endpoint::StatusList, Fault::Status(404));
    for n in 0..500 {
        let uri = house.uri(&format!("gone-{n}"));
        let token = house.mint(house.issuer.status_claim_of(&uri, 7));
        assert_eq!(outage(&house.judge(&token).await.unwrap_err()).0, ErrorKind::Status(404));
    }
    for token in &good {
        assert!(house.judge_now(token).is_ok());
    }
    assert_eq!(house.fetches(), 504);
}

#[tokio::test(start_paused = true)]
async fn fetches_in_the_air_are_bounded_and_who_finds_no_place_is_told() {
    let house = House::new().await;
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
    let waiting: Vec<_> = (0..1000)
        .map(|n| {
            let uri = house.uri(&format!("list-{n}"));
            let token = house.mint(house.issuer.status_claim_of(&uri, 7));
            let jwt = house.jwt.clone();
            tokio::spawn(async move { judge(&jwt, &token).await.map(drop) })
        })
        .collect();
    settle(0.5).await;
    assert_eq!(house.issuer.peak_in_flight(Endpoint::StatusList), 8);
    let (mut good, mut busy) = (0, 0);
    for waiting in waiting {
        match waiting.await.unwrap() {
            Ok(()) => good += 1,
            Err(rejection) => {
                assert_eq!(outage(&rejection).0, ErrorKind::TooManyWaiters);
                busy += 1;
            }
        }
    }
    // Eight at a time, for the five seconds that the last one is ready to wait.
    assert!((40..=48).contains(&good), "{good} good, {busy} busy");
    assert_eq!(house.issuer.peak_in_flight(Endpoint::StatusList), 8);
}
