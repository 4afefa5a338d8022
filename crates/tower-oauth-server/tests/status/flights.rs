//! One fetch for all who want the same list.

use std::time::Duration;

use tower_oauth_core::{ErrorKind, Revocation, RevocationSink as _};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{Revocations, StatusLists, Verdict};
use tower_oauth_test::{Endpoint, Fault, ScriptedIssuer, TokenSpec};

use crate::fixture::{AUDIENCE, House, judge, jwt, outage, revoked, settle, verdict};

#[tokio::test(start_paused = true)]
async fn case_61_two_hundred_requests_fetch_a_list_once() {
    let house = House::new().await;
    house.issuer.set_status(9, 1);
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
    let waiting: Vec<_> = (0..200)
        .map(|n| match verdict(&house.jwt, &house.token(n % 20)) {
            Verdict::Later(later) => (n % 20, tokio::spawn(later)),
            other => panic!("{other:?} without a list"),
        })
        .collect();
    for (index, waiting) in waiting {
        let verdict = waiting.await.unwrap().map(drop);
        assert_eq!(verdict, if index == 9 { Err(revoked()) } else { Ok(()) });
    }
    assert_eq!(house.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_61_so_it_is_on_several_threads() {
    for _ in 0..20 {
        let house = House::new().await;
        let waiting: Vec<_> = (0..100)
            .map(|n| {
                let (jwt, token) = (house.jwt.clone(), house.token(n));
                tokio::spawn(async move { judge(&jwt, &token).await.is_ok() })
            })
            .collect();
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert_eq!(house.fetches(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn case_11_who_goes_away_takes_nothing_along() {
    let house = House::new().await;
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
    let (first, second) = (house.token(7), house.token(8));
    let Verdict::Later(first) = verdict(&house.jwt, &first) else { panic!("without a list") };
    let first = tokio::spawn(first);
    settle(0.1).await;
    first.abort();
    assert!(house.accepts(&second).await);
    assert_eq!(house.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_while_it_waits_is_not_let_in() {
    let house = House::new().await;
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
    let spec = TokenSpec::new().expires_in(Duration::from_secs(60));
    let token = house.issuer.mint(spec.claim("status", house.issuer.status_claim(7)));
    let Verdict::Later(waiting) = verdict(&house.jwt, &token) else { panic!("without a list") };
    let waiting = tokio::spawn(waiting);
    settle(0.5).await;
    house.pass(90.0);
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), "expired");
}

#[tokio::test]
async fn handles_share_their_lists_and_issuers_do_not() {
    let house = House::new().await;
    assert!(house.accepts(&house.token(7)).await);
    let sibling = house.sibling(house.lists.clone());
    assert!(judge(&sibling, &house.token(7)).await.is_ok());
    assert_eq!(house.fetches(), 1);
    // Another issuer names the same address, over the same handle: it gets no list that it has not signed.
    let other = ScriptedIssuer::builder()
        .issuer("https://other.test")
        .audience(AUDIENCE)
        .clock(house.clock.clone())
        .build()
        .unwrap();
    let http = HttpClient::new(house.issuer.service());
    let lists = StatusLists::builder().http_client(http).trust_host("issuer.test").build().unwrap();
    let ours = house.sibling(lists.clone());
    assert!(judge(&ours, &house.token(7)).await.is_ok());
    let theirs = jwt(&other, &house.clock).status_list(lists).build().unwrap();
    let status = house.issuer.status_claim(7);
    let token = other.mint(TokenSpec::new().claim("status", status));
    let rejection = judge(&theirs, &token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Malformed("the signed answer is not sound"));
}

#[tokio::test]
async fn lists_are_fetched_as_the_keys_are_if_nothing_else_is_said() {
    let house = House::new().await;
    let lists = StatusLists::builder().build().unwrap();
    let jwt = jwt(&house.issuer, &house.clock).status_list(lists).build().unwrap();
    assert!(judge(&jwt, &house.token(7)).await.is_ok());
    assert_eq!(house.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn case_69_a_token_that_dies_while_its_list_is_fetched_is_not_let_in() {
    // With the keys at hand, and without.
    for is_cold in [false, true] {
        let house = House::new().await;
        let revocations = Revocations::builder().clock(house.clock.clone()).build().unwrap();
        let jwt = jwt(&house.issuer, &house.clock)
            .status_list(house.lists.clone())
            .revocations(revocations.clone())
            .build()
            .unwrap();
        if !is_cold {
            jwt.jwks().warm().await.unwrap();
        }
        house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
        let [dying, other] = [7, 8].map(|index| {
            let subject = format!("subject-{index}");
            let claim = house.issuer.status_claim(index);
            house.issuer.mint(TokenSpec::new().subject(&subject).claim("status", claim))
        });
        let [dying, other] = [dying, other].map(|token| match verdict(&jwt, &token) {
            Verdict::Later(later) => tokio::spawn(later),
            other => panic!("{other:?} without a list"),
        });
        settle(0.5).await;
        assert_eq!(house.fetches(), 1, "the fetch is in the air");
        revocations.revoke(&Revocation::subject(&house.issuer.issuer(), "subject-7"));
        assert_eq!(dying.await.unwrap().map(drop), Err(revoked()));
        assert_eq!(other.await.unwrap().map(drop), Ok(()));
    }
}
