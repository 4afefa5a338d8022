//! Tokens that have died before their time: whom the list refuses, and whom it does not.

use std::time::Duration;

use serde_json::json;
use tower_oauth_core::Clock as _;
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{Rejection, Revocation, RevocationSink, Revocations};
use tower_oauth_test::{ManualClock, TokenSpec};

use crate::fixture::{House, jwt};

const LIFE: Duration = Duration::from_secs(24 * 3600);
/// For clocks that differ.
const SLACK: Duration = Duration::from_secs(600);

/// A validator over a list with room for so many names.
fn house(names: usize) -> (House, Revocations) {
    let clock = ManualClock::new();
    let list = Revocations::builder().capacity(names).clock(clock.clone()).build().unwrap();
    let asked = list.clone();
    let house = House::with(
        |issuer| issuer.clock(clock.clone()),
        |jwt| jwt.clock(clock.clone()).revocations(asked).lenient(),
    );
    (House { clock, ..house }, list)
}

async fn warm(names: usize) -> (House, Revocations) {
    let (house, list) = house(names);
    (house.warmed().await, list)
}

fn alice() -> TokenSpec {
    let spec = TokenSpec::new().client("shop").subject("alice");
    spec.claim("jti", "t-1").claim("sid", "s-1")
}

fn dead() -> Rejection {
    Rejection::Invalid(InvalidToken::Inactive)
}

#[tokio::test]
async fn a_revocation_ends_the_tokens_that_it_names_and_no_others() {
    let iss = "https://issuer.test";
    let now = ManualClock::new().unix_seconds();
    let digest = [7; 32];
    for (name, what, dies) in [
        ("its id", Revocation::token_id(iss, "t-1"), true),
        ("its session", Revocation::session(iss, "s-1"), true),
        ("its subject", Revocation::subject(iss, "alice"), true),
        ("its client", Revocation::client(iss, "shop"), true),
        ("its issuer", Revocation::of_issuer(iss), true),
        ("all there is", Revocation::all(), true),
        ("those without a session", Revocation::sessionless(iss, "alice"), false),
        ("another id", Revocation::token_id(iss, "t-2"), false),
        ("another session", Revocation::session(iss, "s-2"), false),
        ("another subject", Revocation::subject(iss, "bob"), false),
        ("another client", Revocation::client(iss, "orders"), false),
        ("another token", Revocation::token(iss, digest), false),
        ("another issuer", Revocation::of_issuer("https://other.test"), false),
        ("a session of another issuer", Revocation::session("https://other.test", "s-1"), false),
        (
            "a subject of another issuer",
            Revocation::subject("https://issuer.test/", "alice"),
            false,
        ),
        ("a name of another kind", Revocation::client(iss, "alice"), false),
        ("e07 a wildcard that is none", Revocation::subject(iss, "*"), false),
        ("an empty name", Revocation::subject(iss, ""), false),
        ("an earlier moment", Revocation::session(iss, "s-1").issued_at_or_before(now - 60), false),
        ("a later moment", Revocation::session(iss, "s-1").issued_at_or_before(now + 60), true),
    ] {
        let (house, list) = warm(100).await;
        let remembered = house.issuer.mint(alice());
        assert!(house.judge_now(&remembered).is_ok(), "{name}");
        list.revoke(&what);
        let fresh = house.issuer.mint(alice());
        for token in [remembered, fresh] {
            for _ in 0..2 {
                let verdict = house.judge_now(&token).map(drop);
                assert_eq!(verdict, if dies { Err(dead()) } else { Ok(()) }, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_can_be_revoked_by_its_text_of_which_nothing_is_kept() {
    let (house, list) = warm(100).await;
    let [one, other] = [alice(), alice()].map(|spec| house.issuer.mint(spec.without_claim("sid")));
    list.revoke_token(&house.issuer.issuer(), &one);
    assert_eq!(house.judge_now(&one).unwrap_err(), dead());
    assert!(house.judge_now(&other).is_ok());
    let caller = house.judge_now(&other).unwrap();
    assert!(
        list.is_revoked(&caller.principal, &one) && !list.is_revoked(&caller.principal, &other)
    );
    assert!(!format!("{list:?}").contains("alice"));
}

#[tokio::test]
async fn a_token_without_a_session_can_be_ended_along_with_one() {
    let (house, list) = warm(100).await;
    let iss = house.issuer.issuer();
    let of = |spec: TokenSpec| house.issuer.mint(spec);
    let [ended, other, without, of_bob] = [
        of(alice()),
        of(alice().claim("sid", "s-2")),
        of(alice().without_claim("sid")),
        of(alice().without_claim("sid").subject("bob")),
    ];
    list.revoke(&Revocation::session(&iss, "s-1"));
    list.revoke(&Revocation::sessionless(&iss, "alice"));
    for (token, dies) in [(&ended, true), (&other, false), (&without, true), (&of_bob, false)] {
        assert_eq!(house.judge_now(token).is_err(), dies);
    }
    house.pass(1.0);
    assert!(house.judge_now(&of(alice().without_claim("sid"))).is_ok());
}

#[tokio::test]
async fn e06_tokens_that_were_issued_after_the_event_live() {
    let (house, list) = warm(100).await;
    let iss = house.issuer.issuer();
    let before = house.issuer.mint(alice());
    let event = house.clock.unix_seconds();
    house.pass(1.0);
    // The new log-in comes before the news.
    let after = house.issuer.mint(alice());
    list.revoke(&Revocation::subject(&iss, "alice").issued_at_or_before(event));
    assert_eq!(house.judge_now(&before).unwrap_err(), dead());
    assert!(house.judge_now(&after).is_ok());
    // Older news that come later take nothing back, and give nothing back.
    list.revoke(&Revocation::subject(&iss, "alice").issued_at_or_before(event - 100));
    assert_eq!(house.judge_now(&before).unwrap_err(), dead());
    assert!(house.judge_now(&after).is_ok());
    // Without a moment: until the list hears of it.
    list.revoke(&Revocation::subject(&iss, "alice"));
    assert_eq!(house.judge_now(&after).unwrap_err(), dead());
    house.pass(1.0);
    assert!(house.judge_now(&house.issuer.mint(alice())).is_ok());
}

#[tokio::test]
async fn a_token_that_does_not_say_when_it_was_issued_dies_with_its_subject() {
    let (house, list) = warm(100).await;
    let undated = || alice().without_claim("iat").expires_in(Duration::from_secs(3600));
    let token = house.issuer.mint(undated());
    assert!(house.judge_now(&token).is_ok());
    let long_ago = house.clock.unix_seconds() - 1_000_000;
    let subject = Revocation::subject(&house.issuer.issuer(), "alice");
    list.revoke(&subject.issued_at_or_before(long_ago));
    assert_eq!(house.judge_now(&token).unwrap_err(), dead());
    assert!(house.judge_now(&house.issuer.mint(undated().subject("bob"))).is_ok());
}

#[tokio::test]
async fn who_had_to_wait_for_the_keys_is_asked_about_too() {
    for by_text in [true, false] {
        let (house, list) = house(100);
        let token = house.issuer.mint(alice());
        let iss = house.issuer.issuer();
        if by_text {
            list.revoke_token(&iss, &token);
        } else {
            list.revoke(&Revocation::session(&iss, "s-1"));
        }
        assert_eq!(house.judge(&token).await.unwrap_err(), dead(), "{by_text}");
        assert_eq!(house.fetches(), 1);
    }
}

#[tokio::test]
async fn validators_that_share_a_list_refuse_alike() {
    let (house, list) = warm(100).await;
    let other = jwt(&house.issuer, &house.clock).revocations(list.clone()).build().unwrap();
    other.jwks().warm().await.unwrap();
    let without = jwt(&house.issuer, &house.clock).build().unwrap();
    without.jwks().warm().await.unwrap();
    let token = house.issuer.mint(alice());
    list.revoke(&Revocation::session(&house.issuer.issuer(), "s-1"));
    for (jwt, refuses) in [(&house.jwt, true), (&other, true), (&without, false)] {
        assert_eq!(crate::fixture::judge(jwt, &token).await.is_err(), refuses);
    }
}

#[tokio::test]
async fn e08_a_full_list_ends_too_many_tokens_and_forgets_none() {
    let (house, list) = warm(8).await;
    let iss = house.issuer.issuer();
    let session = |n: usize| house.issuer.mint(alice().claim("sid", format!("s{n}")));
    let old: Vec<_> = (0..200).map(session).collect();
    let bystander = house.issuer.mint(alice().claim("sid", "nobody's"));
    assert!(house.judge_now(&bystander).is_ok());
    for n in 0..200 {
        list.revoke(&Revocation::session(&iss, &format!("s{n}")));
        assert!(list.names() <= 8);
        for token in &old[..=n] {
            assert_eq!(house.judge_now(token).unwrap_err(), dead(), "after {n}");
        }
    }
    assert_eq!(list.collapsed(), 192);
    // The price: everybody who was there before has to get a new token ...
    assert_eq!(house.judge_now(&bystander).unwrap_err(), dead());
    // ... and can.
    house.pass(31.0);
    assert!(house.judge_now(&house.issuer.mint(alice().claim("sid", "new"))).is_ok());
}

#[tokio::test]
async fn e08_a_flood_from_one_issuer_costs_the_tokens_of_another_nothing() {
    let (house, list) = warm(64).await;
    let iss = house.issuer.issuer();
    list.revoke(&Revocation::session(&iss, "s-1"));
    for n in 0..10_000 {
        list.revoke(&Revocation::session("https://flood.test", &n.to_string()));
    }
    assert!(list.names() <= 64 && list.collapsed() > 9_000);
    assert_eq!(house.judge_now(&house.issuer.mint(alice())).unwrap_err(), dead());
    assert!(house.judge_now(&house.issuer.mint(alice().claim("sid", "s-2"))).is_ok());
}

#[tokio::test]
async fn more_issuers_than_it_holds_are_one_entry_for_all() {
    let (house, list) = warm(1_000_000).await;
    for n in 0..10_000 {
        list.revoke(&Revocation::session(&format!("https://{n}.test"), "s"));
    }
    assert!(house.judge_now(&house.issuer.mint(alice())).is_ok());
    let iss = house.issuer.issuer();
    let now = house.clock.unix_seconds();
    list.revoke(&Revocation::session(&iss, "s-1").issued_at_or_before(now));
    assert_eq!(house.judge_now(&house.issuer.mint(alice())).unwrap_err(), dead());
    assert_eq!((list.names(), list.collapsed()), (10_000, 1));
    house.pass(1.0);
    assert!(house.judge_now(&house.issuer.mint(alice())).is_ok());
}

#[tokio::test]
async fn an_entry_lives_as_long_as_the_longest_token_and_then_goes() {
    let (house, list) = warm(100).await;
    let iss = house.issuer.issuer();
    // As the slowest of all: issued by a clock that is ahead, and let in for the leeway after its end.
    let now = house.clock.unix_seconds();
    let longest = alice().claim("iat", now + 30).claim("exp", now + 30 + 24 * 3600);
    let longest = house.issuer.mint(longest);
    assert!(house.judge_now(&longest).is_ok());
    list.revoke(&Revocation::session(&iss, "s-1"));
    house.clock.advance(LIFE + Duration::from_secs(59));
    assert_eq!(house.judge(&longest).await.unwrap_err(), dead());
    house.clock.advance(Duration::from_secs(1));
    let expired = Rejection::Invalid(InvalidToken::Expired);
    assert_eq!(house.judge(&longest).await.unwrap_err(), expired);
    assert!(!list.is_empty());
    house.clock.advance(SLACK);
    assert!(house.accepts(&house.issuer.mint(alice())).await);
    assert!(list.is_empty() && list.names() == 0, "the first request after that clears it away");
}

#[tokio::test]
async fn a_list_in_use_makes_room_of_what_has_expired() {
    let (house, list) = house(100);
    let iss = house.issuer.issuer();
    for n in 0..100 {
        list.revoke(&Revocation::session(&iss, &n.to_string()));
    }
    house.clock.advance(LIFE + SLACK);
    for n in 100..200 {
        list.revoke(&Revocation::session(&iss, &n.to_string()));
    }
    assert_eq!((list.names(), list.collapsed()), (100, 0));
}

#[tokio::test]
async fn news_that_come_again_take_no_room() {
    let (house, list) = warm(10).await;
    let iss = house.issuer.issuer();
    for n in 0..10_000 {
        house.pass(0.5);
        let name = ["a", "b", "c"][n % 3];
        list.revoke(&Revocation::session(&iss, name));
        list.revoke(&Revocation::subject(&iss, name));
        list.revoke(&Revocation::of_issuer("https://other.test"));
    }
    assert_eq!((list.names(), list.collapsed()), (6, 0));
}

#[tokio::test]
async fn news_that_come_again_to_a_full_list_cost_nobody_anything() {
    let (house, list) = warm(3).await;
    let iss = house.issuer.issuer();
    for n in 0..1_000 {
        house.pass(0.5);
        list.revoke(&Revocation::session(&iss, ["a", "b", "c"][n % 3]));
    }
    assert_eq!((list.names(), list.collapsed()), (3, 0));
    assert!(house.judge_now(&house.issuer.mint(alice())).is_ok());
}

/// Against a list without bounds: what that refuses, a full one refuses too, whatever came in whatever order.
#[tokio::test]
async fn a_bounded_list_lets_nobody_in_whom_an_unbounded_one_refuses() {
    let mut random = fastrand::Rng::with_seed(69);
    for round in 0..20 {
        let (house, small) = warm(1 + random.usize(..12)).await;
        let clock = house.clock.clone();
        let large = Revocations::builder().clock(clock.clone()).build().unwrap();
        let iss = house.issuer.issuer();
        let begin = clock.unix_seconds();
        let mut refused = 0;
        for _ in 0..150 {
            house.pass(f64::from(random.u32(..3)));
            let name = random.u32(..30).to_string();
            let what = match random.u32(..4) {
                0 => Revocation::session(&iss, &name),
                1 => Revocation::subject(&iss, &name),
                2 => Revocation::client(&iss, &name),
                _ => Revocation::token_id(&iss, &name),
            };
            let dated = random.bool();
            let moment = begin + random.i64(-5..200);
            let what = if dated { what.issued_at_or_before(moment) } else { what };
            small.revoke(&what);
            large.revoke(&what);
            let mut claim = || random.u32(..30).to_string();
            let spec = TokenSpec::new()
                .subject(&claim())
                .claim("client_id", claim())
                .claim("sid", claim())
                .claim("jti", claim());
            let issued_at = begin + random.i64(-100..20);
            let token = house
                .issuer
                .mint(spec.claim("iat", json!(issued_at)).expires_in(Duration::from_secs(3600)));
            let verdict = house.judge_now(&token);
            let principal = principal_of(&house, &token).await;
            if large.is_revoked(&principal, &token) {
                refused += 1;
                assert_eq!(verdict.unwrap_err(), dead(), "round {round}");
            }
        }
        assert!(refused > 10, "round {round}: {refused} say little");
    }
}

/// What a validator without a list says of the token.
async fn principal_of(house: &House, token: &str) -> std::sync::Arc<tower_oauth_server::Principal> {
    let without = tower_oauth_server::Jwt::issuer(house.issuer.issuer())
        .audience(crate::fixture::AUDIENCE)
        .clock(house.clock.clone())
        .jwks(house.jwt.jwks().clone())
        .build()
        .unwrap();
    crate::fixture::judge(&without, token).await.unwrap().principal
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let hour = Duration::from_secs(3600);
    for (builder, message) in [
        (Revocations::builder().capacity(0), "capacity `0`: is not between 1 and 10 million names"),
        (
            Revocations::builder().life(Duration::from_secs(59)),
            "life `59s`: is not between a minute and a year",
        ),
        (
            Revocations::builder().life(400 * 24 * hour),
            "life `34560000s`: is not between a minute and a year",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
    let (house, _) = house(1);
    let short = Revocations::builder().life(hour).build().unwrap();
    let builder = || jwt(&house.issuer, &house.clock).revocations(short.clone());
    let error = builder().build().unwrap_err().to_string();
    let expected =
        "revocations `3600s`: is the life of the revocations, and less than max_lifetime";
    assert_eq!(error, expected);
    assert!(builder().max_lifetime(hour).build().is_ok());
}
