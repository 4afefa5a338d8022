//! Bound tokens through what stands between a door and a validator: the memory of verified tokens, several issuers, tenants.

use tower_oauth_server::{
    Authenticate, BoxError, InvalidToken, Issuers, Jwt, Rejection, RequireTokenLayer, Tenants,
};

use crate::sender::*;

const BOUND: Rejection = Rejection::Invalid(InvalidToken::SenderConstrained);

/// Both kinds of door before this authenticator: the one that takes DPoP, and a plain one.
fn doors(house: &House, authenticator: impl Authenticate + Clone) -> [RequireTokenLayer; 2] {
    let plain = RequireTokenLayer::new(authenticator);
    [plain.clone().dpop(house.dpop().build().unwrap()), plain]
}

async fn is_let_in_with_its_proof_only(house: &House, doors: &[RequireTokenLayer; 2]) {
    let [checking, plain] = doors;
    let token = house.token();
    // The second time it is remembered, at each of the doors.
    for _ in 0..2 {
        assert_eq!(ask(plain, bearer(&token)).await.rejection, Some(BOUND));
        assert_eq!(ask(checking, bearer(&token)).await.rejection, Some(BOUND));
        let answer = ask(checking, dpop(&token, &[&house.proof(&token)])).await;
        assert!(answer.is_in(), "{answer:?}");
        assert_eq!(answer.header("bound-to"), Some(&*house.key.jkt()));
    }
    let unbound = ask(plain, bearer(&house.unbound())).await;
    assert!(unbound.is_in() && unbound.header("bound-to").is_none());
}

#[tokio::test]
async fn d05_a_remembered_bound_token_is_no_bearer_token_at_another_door() {
    for house in [House::new().await, House::cold()] {
        is_let_in_with_its_proof_only(&house, &doors(&house, house.jwt.clone())).await;
    }
}

#[tokio::test]
async fn d05_issuers_and_tenants_let_a_bound_token_in_with_its_proof_only() {
    for house in [House::new().await, House::cold()] {
        let issuers = Issuers::new([house.jwt.clone()]).unwrap();
        is_let_in_with_its_proof_only(&house, &doors(&house, issuers)).await;

        let jwt = house.jwt.clone();
        let resolver = move |_: String| {
            let jwt = jwt.clone();
            async move { Ok::<Option<Jwt>, BoxError>(Some(jwt)) }
        };
        let tenants = Tenants::resolver(resolver).clock(house.clock.clone()).build().unwrap();
        is_let_in_with_its_proof_only(&house, &doors(&house, tenants)).await;
    }
}
