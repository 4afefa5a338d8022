//! Nonces of the resource server (RFC 9449 §9).

use std::time::Duration;

use http::Request;
use serde_json::json;
use tower_oauth_server::{Dpop, Rejection, RequireTokenLayer, Secret};

use crate::sender::*;

const LIFE: Duration = Duration::from_secs(300);

fn with_nonce(house: &House, nonce: &str) -> Request<()> {
    let token = house.token();
    dpop(&token, &[&house.proof_with(&token, json!({ "nonce": nonce }))])
}

/// The nonce that comes with the refusal of a proof without one.
async fn challenged(house: &House, door: &RequireTokenLayer) -> String {
    ask(door, house.good()).await.header("dpop-nonce").unwrap().to_owned()
}

#[tokio::test]
async fn d04_a_proof_without_a_nonce_of_ours_is_told_to_use_one() {
    let house = House::new().await;
    let door = house.door_with(|dpop| dpop.nonces(LIFE)).realm("shop").unwrap();
    let of_the_issuer = "eyJ7S_zG.eyJH0-Z.HX4w-7v";
    let other = house.door_with(|dpop| dpop.nonces(LIFE));
    let of_another = challenged(&house, &other).await;
    for nonce in [json!(null), json!(of_the_issuer), json!(of_another), json!("x".repeat(2000))] {
        let answer = refused(&house, &door, |house, method| {
            let token = house.token();
            let claims = json!({"htm": method.as_str(), "nonce": nonce});
            dpop(&token, &[&house.proof_with(&token, claims)])
        })
        .await;
        assert_eq!(answer.rejection, Some(Rejection::UseDpopNonce));
        assert_eq!(answer.status, 401);
        let [challenge] = answer.challenges()[..] else { panic!("{answer:?}") };
        let begin = "DPoP realm=\"shop\", error=\"use_dpop_nonce\", error_description=";
        assert!(challenge.starts_with(begin), "{challenge}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let fresh = answer.header("dpop-nonce").unwrap();
        assert!(ask(&door, with_nonce(&house, fresh)).await.is_in());
    }
}

#[tokio::test]
async fn d04_a_stale_nonce_is_replaced_and_one_that_ends_is_replaced_ahead() {
    let house = House::new().await;
    let door = house.door_with(|dpop| dpop.nonces(LIFE));
    let first = challenged(&house, &door).await;
    let answer = ask(&door, with_nonce(&house, &first)).await;
    assert!(answer.is_in());
    assert_eq!(answer.header("dpop-nonce"), None);

    house.clock.advance(LIFE);
    let answer = ask(&door, with_nonce(&house, &first)).await;
    assert!(answer.is_in());
    let second = answer.header("dpop-nonce").unwrap().to_owned();
    assert_ne!(second, first);
    // A nonce is for one client: no cache may hand it to another.
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    house.clock.advance(LIFE);
    assert_eq!(
        ask(&door, with_nonce(&house, &first)).await.rejection,
        Some(Rejection::UseDpopNonce)
    );
    assert!(ask(&door, with_nonce(&house, &second)).await.is_in());
}

#[tokio::test]
async fn d04_a_client_that_takes_each_new_nonce_is_never_refused_twice_in_a_row() {
    let house = House::new().await;
    let door = house.door_with(|dpop| dpop.nonces(Duration::from_secs(1)));
    let mut nonce = challenged(&house, &door).await;
    let mut refusals = 0;
    for step in 0..200 {
        // Each pause is another one, so that nonces are met at any point of their life.
        house.clock.advance(Duration::from_millis(step * 13 % 2_700));
        let mut answer = ask(&door, with_nonce(&house, &nonce)).await;
        if let Some(fresh) = answer.header("dpop-nonce") {
            nonce = fresh.to_owned();
        }
        if !answer.is_in() {
            refusals += 1;
            answer = ask(&door, with_nonce(&house, &nonce)).await;
            assert!(answer.is_in(), "step {step}: a nonce that was just given is refused");
        }
    }
    assert!(refusals > 0, "the pauses are too short to try anything");
}

#[tokio::test]
async fn machines_that_share_a_secret_take_each_others_nonces() {
    let house = House::new().await;
    let node =
        |secret: &str| house.door_with(|dpop| dpop.nonces(LIFE).shared_secret(Secret::new(secret)));
    let (secret, other) = ("0123456789abcdef0123456789abcdef", "f".repeat(32));
    let nonce = challenged(&house, &node(secret)).await;
    assert!(ask(&node(secret), with_nonce(&house, &nonce)).await.is_in());
    let refused = ask(&node(&other), with_nonce(&house, &nonce)).await;
    assert_eq!(refused.rejection, Some(Rejection::UseDpopNonce));
}

#[tokio::test]
async fn a_refusal_for_the_nonce_does_not_use_up_the_proof() {
    let house = House::new().await;
    let dpop: Dpop = house.dpop().nonces(LIFE).replay_capacity(1).build().unwrap();
    let door = house.bare_door().dpop(dpop);
    for _ in 0..10 {
        challenged(&house, &door).await;
    }
    let nonce = challenged(&house, &door).await;
    assert!(ask(&door, with_nonce(&house, &nonce)).await.is_in());
}
