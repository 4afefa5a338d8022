//! D03: a proof is good once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tower_oauth_core::{Error, ErrorKind};
use tower_oauth_server::{
    InvalidProof, ProofId, Rejection, Remember, ReplayStore, RequireTokenLayer, Secret,
    Seen as Known,
};

use crate::sender::*;

const REPLAYED: Rejection = Rejection::InvalidProof(InvalidProof::Replayed);

/// A memory that several machines ask over a network.
#[derive(Clone, Default)]
struct Shared {
    known: Arc<Mutex<Vec<ProofId>>>,
    down: bool,
}

impl ReplayStore for Shared {
    fn remember(&self, proof: ProofId, life: Duration, _: Instant) -> Remember {
        assert!(life >= Duration::from_secs(65));
        let this = self.clone();
        Remember::Later(Box::pin(async move {
            tokio::task::yield_now().await;
            if this.down {
                return Err(Error::new(ErrorKind::Timeout));
            }
            let mut known = this.known.lock().unwrap();
            if known.contains(&proof) {
                return Ok(Known::Before);
            }
            known.push(proof);
            Ok(Known::First)
        }))
    }
}

async fn twice(house: &House, doors: [&RequireTokenLayer; 2]) -> [Option<Rejection>; 2] {
    let token = house.token();
    let proof = house.proof(&token);
    let first = ask(doors[0], dpop(&token, &[&proof])).await;
    assert!(first.is_in() || first.rejection.is_some());
    [first.rejection, ask(doors[1], dpop(&token, &[&proof])).await.rejection]
}

#[tokio::test]
async fn d03_a_proof_is_good_once_on_a_node() {
    for house in [House::new().await, House::cold()] {
        let door = house.door();
        assert_eq!(twice(&house, [&door, &door]).await, [None, Some(REPLAYED)]);
        // The same name under another key, or another name, is another proof.
        let (token, jti) = (house.token(), json!({"jti": "once"}));
        let proof = house.proof_with(&token, jti.clone());
        assert!(ask(&door, dpop(&token, &[&proof])).await.is_in());
        let other = Key::new();
        let token = house.bound_to(json!({"jkt": other.jkt()}));
        let header = with(house.header(), json!({"jwk": other.jwk()}));
        let proof = other.sign(&header, &with(house.claims(&token), jti));
        assert!(ask(&door, dpop(&token, &[&proof])).await.is_in());
    }
}

#[tokio::test]
async fn d03_what_one_proof_allows_once_the_other_nodes_know_by_a_shared_memory() {
    let house = House::new().await;
    // Two nodes that share nothing: that is what the documentation warns of.
    let alone = [&house.door(), &house.door()];
    assert_eq!(twice(&house, alone).await, [None, None]);

    let store = Shared::default();
    let node = || {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        house.door_with(|dpop| dpop.replay_store(store.clone()).shared_secret(secret))
    };
    // A restart is a new node too.
    assert_eq!(twice(&house, [&node(), &node()]).await, [None, Some(REPLAYED)]);
    let cold = House::cold();
    let door = cold.door_with(|dpop| dpop.replay_store(Shared::default()));
    assert_eq!(twice(&cold, [&door, &door]).await, [None, Some(REPLAYED)]);
}

#[tokio::test]
async fn d03_a_memory_that_does_not_answer_is_a_503() {
    for house in [House::new().await, House::cold()] {
        let down = Shared { down: true, ..Shared::default() };
        let door = house.door_with(|dpop| dpop.replay_store(down));
        let answer = ask(&door, house.good()).await;
        let cause = ErrorKind::Timeout;
        let retry_after = Duration::from_secs(1);
        assert_eq!(answer.rejection, Some(Rejection::Unavailable { cause, retry_after }));
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    }
}

#[tokio::test]
async fn d03_a_flood_of_names_fills_the_memory_and_then_nothing_is_let_in() {
    let house = House::new().await;
    let door = house.door_with(|dpop| dpop.replay_capacity(20));
    for _ in 0..20 {
        assert!(ask(&door, house.good()).await.is_in());
    }
    for _ in 0..5 {
        let answer = ask(&door, house.good()).await;
        let Some(Rejection::Unavailable { cause: ErrorKind::Full, .. }) = answer.rejection else {
            panic!("{answer:?}");
        };
        assert_eq!(answer.header("retry-after"), Some("66"));
    }
    house.clock.advance(Duration::from_secs(66));
    assert!(ask(&door, house.good()).await.is_in());
}

#[tokio::test]
async fn d03_only_what_would_be_let_in_takes_up_room() {
    let house = House::new().await;
    let door = house.door_with(|dpop| dpop.replay_capacity(1));
    for number in 0..50 {
        let token = house.token();
        let wrong = house.proof_with(&token, json!({"htu": format!("{BASE}/{number}")}));
        assert!(!ask(&door, dpop(&token, &[&wrong])).await.is_in());
        let unbound = house.unbound();
        assert!(!ask(&door, dpop(&unbound, &[&house.proof(&unbound)])).await.is_in());
    }
    assert!(ask(&door, house.good()).await.is_in());
}

#[tokio::test]
async fn d03_a_proof_of_a_megabyte_is_refused() {
    let house = House::new().await;
    let token = house.token();
    let proof = house.proof_with(&token, json!({"jti": "j".repeat(1 << 20)}));
    let answer = ask(&house.door(), dpop(&token, &[&proof])).await;
    assert_eq!(answer.rejection, Some(InvalidProof::TooLarge.into()));
}
