//! Several issuers at one door: the token's `iss` chooses among those that are trusted, and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use serde_json::json;
use tower_oauth_endpoint::BoxError;
use tower_oauth_jose::{InvalidToken, StandardClaims};
use tower_oauth_server::{
    Authenticate, Caller, Issuers, Jwt, Presented, Rejection, Tenants, TenantsBuilder, Verdict,
};
use tower_oauth_test::{Endpoint, ManualClock, Rotation, ScriptedIssuer, TokenSpec};

use crate::fixture::{AUDIENCE, bad_signature, jwt, unknown_key};

fn issuer(name: &str, clock: &ManualClock) -> ScriptedIssuer {
    ScriptedIssuer::builder()
        .issuer(format!("https://{name}.test"))
        .audience(AUDIENCE)
        .clock(clock.clone())
        .token_life(Duration::from_secs(24 * 3_600))
        .build()
        .unwrap()
}

async fn judge(
    door: &impl Authenticate<Claims = StandardClaims>,
    token: &str,
) -> Result<Caller<StandardClaims>, Rejection> {
    let head = Request::new(()).into_parts().0;
    match door.authenticate(Presented::new(token, &head)) {
        Verdict::Now(result) => result,
        Verdict::Later(later) => later.await,
        other => panic!("an unknown verdict: {other:?}"),
    }
}

fn calls(issuer: &ScriptedIssuer) -> u64 {
    Endpoint::ALL.iter().map(|endpoint| issuer.calls(*endpoint)).sum()
}

fn good(issuer: &ScriptedIssuer) -> String {
    issuer.mint(TokenSpec::new())
}

fn wrong_issuer() -> Rejection {
    Rejection::Invalid(InvalidToken::WrongIssuer)
}

struct Pair {
    clock: ManualClock,
    a: ScriptedIssuer,
    b: ScriptedIssuer,
    door: Issuers,
}

impl Pair {
    fn new() -> Self {
        let clock = ManualClock::new();
        let (a, b) = (issuer("a", &clock), issuer("b", &clock));
        let both = [&a, &b].map(|issuer| jwt(issuer, &clock).build().unwrap());
        Self { door: Issuers::new(both).unwrap(), clock, a, b }
    }

    async fn warm() -> Self {
        let pair = Self::new();
        for issuer in [&pair.a, &pair.b] {
            judge(&pair.door, &good(issuer)).await.unwrap();
            issuer.reset_calls();
        }
        pair
    }
}

#[tokio::test]
async fn each_issuers_tokens_are_judged_by_its_own_keys() {
    let pair = Pair::new();
    for issuer in [&pair.a, &pair.b] {
        let token = good(issuer);
        let first = judge(&pair.door, &token).await.unwrap();
        assert_eq!(first.principal.issuer, issuer.issuer());
        let second = judge(&pair.door.clone(), &token).await.unwrap();
        assert!(Arc::ptr_eq(&first.principal, &second.principal), "remembered");
        assert_eq!(issuer.calls(Endpoint::Jwks), 1);
    }
    assert_eq!(pair.door.iter().count(), 2);
    assert_eq!(pair.door.get("https://a.test").unwrap().issuer_name(), "https://a.test");
    assert!(pair.door.get("https://a.test/").is_none());
}

#[tokio::test]
async fn j24_case_56_an_issuer_that_is_not_configured_is_refused_before_any_fetch() {
    let pair = Pair::new();
    for claimed in [
        json!("https://c.test"),
        json!("https://a.test/"),
        json!("https://A.test"),
        json!("https://a.test:443"),
        json!("http://a.test"),
        json!("https://x@a.test"),
        json!("https://\u{430}.test"),
        json!("https://%61.test"),
        json!(" https://a.test"),
        json!("x".repeat(4_000)),
    ] {
        let token = pair.a.mint(TokenSpec::new().claim("iss", claimed.clone()));
        assert_eq!(judge(&pair.door, &token).await.unwrap_err(), wrong_issuer(), "{claimed}");
    }
    for (claimed, reason) in [
        (json!(null), InvalidToken::InvalidClaim("iss")),
        (json!(7), InvalidToken::InvalidClaim("iss")),
        (json!(["https://a.test"]), InvalidToken::InvalidClaim("iss")),
        (json!(""), InvalidToken::InvalidClaim("iss")),
    ] {
        let token = pair.a.mint(TokenSpec::new().claim("iss", claimed.clone()));
        let refusal = judge(&pair.door, &token).await.unwrap_err();
        assert_eq!(refusal, Rejection::Invalid(reason), "{claimed}");
    }
    let without = pair.a.mint(TokenSpec::new().without_claim("iss"));
    let missing = Rejection::Invalid(InvalidToken::MissingClaim("iss"));
    assert_eq!(judge(&pair.door, &without).await.unwrap_err(), missing);
    for nonsense in ["", "a", "a.b.c", "e30.e30.AA"] {
        assert_eq!(judge(&pair.door, nonsense).await.unwrap_err().status(), 401);
    }
    assert_eq!((calls(&pair.a), calls(&pair.b)), (0, 0));
}

#[tokio::test]
async fn j25_a_key_of_one_issuer_signs_for_no_other() {
    let pair = Pair::warm().await;
    // Both name their keys alike.
    assert_eq!(pair.a.kid(), pair.b.kid());
    let token = pair.a.mint(TokenSpec::new().issuer("https://b.test"));
    assert_eq!(judge(&pair.door, &token).await.unwrap_err(), bad_signature());
    assert_eq!(calls(&pair.a), 0);
    assert!(judge(&pair.door, &good(&pair.a)).await.is_ok());
}

#[tokio::test]
async fn case_26_one_tenant_flooded_another_rotates_and_is_refetched_at_once() {
    let pair = Pair::warm().await;
    for n in 0..600 {
        let forged = pair.a.forge(&n.to_string());
        assert_eq!(judge(&pair.door, &forged).await.unwrap_err(), unknown_key());
        pair.clock.advance(Duration::from_millis(100));
    }
    assert_eq!(pair.a.calls(Endpoint::Jwks), 6);
    pair.b.rotate(Rotation::Replace);
    assert!(judge(&pair.door, &good(&pair.b)).await.is_ok());
    assert_eq!(pair.b.calls(Endpoint::Jwks), 1);
}

#[tokio::test]
async fn k15_one_issuer_down_leaves_the_others_alone() {
    let pair = Pair::new();
    pair.a.go_dark();
    for _ in 0..3 {
        assert_eq!(judge(&pair.door, &good(&pair.a)).await.unwrap_err().status(), 503);
        assert!(judge(&pair.door, &good(&pair.b)).await.is_ok());
    }
}

#[test]
fn case_16_no_issuer_or_one_twice_is_refused_by_name() {
    let clock = ManualClock::new();
    let a = issuer("a", &clock);
    let none = Issuers::<StandardClaims>::new([]).unwrap_err();
    assert!(none.to_string().starts_with("issuers `none`"), "{none}");
    let twice = [jwt(&a, &clock).build().unwrap(), jwt(&a, &clock).build().unwrap()];
    let error = Issuers::new(twice).unwrap_err();
    assert!(error.to_string().starts_with("issuers `https://a.test`"), "{error}");
    let no_room = tenants(&[], &clock).0.max_live(0).build().unwrap_err();
    assert!(no_room.to_string().starts_with("max_live `0`"), "{no_room}");
}

// === tenants ===

/// A resolver that trusts these issuers, and counts the questions.
fn tenants(trusted: &[&ScriptedIssuer], clock: &ManualClock) -> (TenantsBuilder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let trusted: Vec<_> = trusted.iter().map(|issuer| (*issuer).clone()).collect();
    let (counter, its_clock) = (Arc::clone(&asked), clock.clone());
    let resolver = move |name: String| {
        counter.fetch_add(1, Ordering::SeqCst);
        let found = trusted.iter().find(|issuer| issuer.issuer() == name);
        let found = found.map(|issuer| jwt(issuer, &its_clock).build().unwrap());
        async move {
            tokio::task::yield_now().await;
            Ok::<_, BoxError>(found)
        }
    };
    (Tenants::resolver(resolver).clock(clock.clone()), asked)
}

#[tokio::test]
async fn a_tenant_is_resolved_once_for_all_who_wait_and_then_lives() {
    let clock = ManualClock::new();
    let a = issuer("a", &clock);
    let (builder, asked) = tenants(&[&a], &clock);
    let door = builder.build().unwrap();
    let token = good(&a);
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (door, token) = (door.clone(), token.clone());
            tokio::spawn(async move { judge(&door, &token).await.is_ok() })
        })
        .collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap());
    }
    assert_eq!((asked.load(Ordering::SeqCst), a.calls(Endpoint::Jwks)), (1, 1));
    assert_eq!((door.live(), door.get("https://a.test").unwrap().jwks().generation()), (1, 1));
    assert!(judge(&door, &good(&a)).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn case_56_an_issuer_that_the_resolver_does_not_allow_is_never_fetched_from() {
    let clock = ManualClock::new();
    let (a, stranger) = (issuer("a", &clock), issuer("stranger", &clock));
    let (builder, asked) = tenants(&[&a], &clock);
    let door = builder.build().unwrap();
    for _ in 0..100 {
        assert_eq!(judge(&door, &good(&stranger)).await.unwrap_err(), wrong_issuer());
    }
    assert_eq!((asked.load(Ordering::SeqCst), calls(&stranger)), (1, 0), "the no is remembered");
    clock.advance(Duration::from_secs(30));
    judge(&door, &good(&stranger)).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "for 30 s");
    // What can be no issuer is not even asked about.
    for name in ["", "a", "http://a.test", "https://a.test?x", "https://u@a.test", "javascript:1"] {
        let token = stranger.mint(TokenSpec::new().issuer(name));
        judge(&door, &token).await.unwrap_err();
    }
    let long = format!("https://{}.test", "x".repeat(600));
    judge(&door, &stranger.mint(TokenSpec::new().issuer(&long))).await.unwrap_err();
    assert_eq!((asked.load(Ordering::SeqCst), door.live()), (2, 0));
}

#[tokio::test]
async fn a_flood_of_invented_issuers_is_bounded_and_moves_no_live_tenant() {
    let clock = ManualClock::new();
    let (a, liar) = (issuer("a", &clock), issuer("liar", &clock));
    let (builder, _) = tenants(&[&a], &clock);
    let door = builder.max_live(2).build().unwrap();
    let token = good(&a);
    let caller = judge(&door, &token).await.unwrap();
    for n in 0..3_000 {
        let invented = liar.mint(TokenSpec::new().issuer(&format!("https://{n}.test")));
        assert_eq!(judge(&door, &invented).await.unwrap_err(), wrong_issuer());
    }
    assert_eq!(door.live(), 1);
    let again = judge(&door, &token).await.unwrap();
    assert!(Arc::ptr_eq(&caller.principal, &again.principal));
    assert_eq!((a.calls(Endpoint::Jwks), calls(&liar)), (1, 0));
}

#[tokio::test]
async fn the_tenant_goes_that_was_of_no_use_the_longest_and_comes_back_when_needed() {
    let clock = ManualClock::new();
    let names = ["a", "b", "c"].map(|name| issuer(name, &clock));
    let [a, b, c] = &names;
    let (builder, asked) = tenants(&[a, b, c], &clock);
    let door = builder.max_live(2).build().unwrap();
    for tenant in [a, b, a] {
        assert!(judge(&door, &good(tenant)).await.is_ok());
    }
    // Tokens that are refused keep nobody live.
    for n in 0..10 {
        judge(&door, &b.forge(&n.to_string())).await.unwrap_err();
    }
    assert!(judge(&door, &good(c)).await.is_ok());
    assert_eq!(door.live(), 2);
    assert!(door.get("https://b.test").is_none() && door.get("https://a.test").is_some());
    assert!(judge(&door, &good(b)).await.is_ok());
    assert_eq!((door.live(), asked.load(Ordering::SeqCst)), (2, 4));
}

#[tokio::test]
async fn a_tenant_that_is_forgotten_is_asked_about_again() {
    let clock = ManualClock::new();
    let a = issuer("a", &clock);
    let (builder, asked) = tenants(&[&a], &clock);
    let door = builder.build().unwrap();
    assert!(!door.forget("https://a.test"));
    assert!(judge(&door, &good(&a)).await.is_ok());
    assert!(door.forget("https://a.test"));
    assert!(judge(&door, &good(&a)).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_in_trouble_is_503_and_is_asked_again() {
    let clock = ManualClock::new();
    let (a, other) = (issuer("a", &clock), issuer("other", &clock));
    type Answer = Result<Option<Jwt>, BoxError>;
    type Answers = Box<dyn Fn() -> Answer + Send + Sync>;
    let answers: Vec<(&str, Answers)> = vec![
        ("an error", Box::new(|| Err("CANARY".into()))),
        ("another issuer", {
            let other = jwt(&other, &clock).build().unwrap();
            Box::new(move || Ok(Some(other.clone())))
        }),
    ];
    for (name, answer) in answers {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let door = Tenants::resolver(move |_: String| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::ready(answer())
        });
        let door = door.build().unwrap();
        for n in 1..=2 {
            let rejection = judge(&door, &good(&a)).await.unwrap_err();
            assert_eq!(rejection.status(), 503, "{name}");
            assert!(!format!("{rejection:?} {rejection}").contains("CANARY"));
            assert_eq!((asked.load(Ordering::SeqCst), door.live()), (n, 0), "{name}");
        }
    }
    let hanging = Tenants::resolver(|_: String| std::future::pending::<Answer>()).build().unwrap();
    let token = good(&a);
    let waited = tokio::time::timeout(Duration::from_millis(5_100), judge(&hanging, &token));
    assert_eq!(waited.await.expect("five seconds").unwrap_err().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn more_questions_than_places_are_told_503_and_not_parked() {
    let clock = ManualClock::new();
    let a = issuer("a", &clock);
    let slow = |_: String| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<Option<Jwt>, BoxError>(None)
    };
    let door = Tenants::resolver(slow).build().unwrap();
    let waiting: Vec<_> = (0..65)
        .map(|n| {
            let token = a.mint(TokenSpec::new().issuer(&format!("https://{n}.test")));
            let door = door.clone();
            tokio::spawn(async move { judge(&door, &token).await.unwrap_err().status() })
        })
        .collect();
    let mut statuses = Vec::new();
    for waiting in waiting {
        statuses.push(waiting.await.unwrap().as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 1, "{statuses:?}");
}

/// `n` issuers that the resolver trusts.
fn many(n: usize, clock: &ManualClock) -> Vec<ScriptedIssuer> {
    (0..n).map(|n| issuer(&format!("t{n}"), clock)).collect()
}

#[tokio::test]
async fn forged_tokens_of_idle_tenants_move_no_tenant_that_is_in_use() {
    let clock = ManualClock::new();
    let names = many(6, &clock);
    let (builder, asked) = tenants(&names.iter().collect::<Vec<_>>(), &clock);
    let door = builder.max_live(2).build().unwrap();
    let (busy, idle) = names.split_at(2);
    let tokens: Vec<_> = busy.iter().map(good).collect();
    for token in &tokens {
        assert!(judge(&door, token).await.is_ok());
    }
    for n in 0..50 {
        for liar in idle {
            judge(&door, &liar.forge(&n.to_string())).await.unwrap_err();
        }
        for token in &tokens {
            assert!(judge(&door, token).await.is_ok());
        }
    }
    for tenant in busy {
        assert_eq!(tenant.calls(Endpoint::Jwks), 1, "its keys are still at hand");
    }
    // Nor is a fetch to be had for each of them by naming them in turns.
    for tenant in idle {
        assert!(tenant.calls(Endpoint::Jwks) <= 2, "{}", tenant.calls(Endpoint::Jwks));
    }
    assert_eq!(asked.load(Ordering::SeqCst), names.len());
}

#[tokio::test]
async fn one_more_on_trial_than_there_is_room_for_is_told_when_to_come_again() {
    const ROOM: usize = 256;
    let clock = ManualClock::new();
    let names = many(ROOM + 2, &clock);
    let (builder, asked) = tenants(&names.iter().collect::<Vec<_>>(), &clock);
    let door = builder.max_live(1).build().unwrap();
    let (in_use, rest) = names.split_first().unwrap();
    let (late, idle) = rest.split_last().unwrap();
    assert!(judge(&door, &good(in_use)).await.is_ok());
    for liar in idle {
        assert_eq!(judge(&door, &liar.forge("x")).await.unwrap_err(), unknown_key());
    }
    assert_eq!(door.live(), 1 + ROOM);
    let Rejection::Unavailable { retry_after, .. } = judge(&door, &good(late)).await.unwrap_err()
    else {
        panic!("not the caller's fault");
    };
    assert_eq!(retry_after, Duration::from_secs(30));
    assert_eq!((asked.load(Ordering::SeqCst), calls(late)), (1 + ROOM, 0));
    // Who is known comes in all the same, and a trial ends well at any time.
    assert!(judge(&door, &good(in_use)).await.is_ok());
    assert!(judge(&door, &good(&idle[7])).await.is_ok());
    assert!(judge(&door, &good(late)).await.is_ok(), "a place was free");
    assert!(door.get("https://t0.test").is_none(), "one in use, and the last one is");
    clock.advance(Duration::from_secs(30));
    assert!(judge(&door, &good(in_use)).await.is_ok());
}

#[tokio::test]
async fn j22_tenants_take_tokens_as_large_as_they_are_told() {
    let clock = ManualClock::new();
    let a = issuer("a", &clock);
    let large = jwt(&a, &clock).max_token_bytes(20_000).build().unwrap();
    let resolver = move |_: String| std::future::ready(Ok::<_, BoxError>(Some(large.clone())));
    let token = a.mint(TokenSpec::new().claim("padding", "x".repeat(9_000)));
    let too_large = Rejection::Invalid(InvalidToken::TooLarge);
    for (bytes, expected) in [(None, Some(too_large.clone())), (Some(20_000), None)] {
        let builder = Tenants::resolver(resolver.clone());
        let builder = match bytes {
            Some(bytes) => builder.max_token_bytes(bytes),
            None => builder,
        };
        let door = builder.clock(clock.clone()).build().unwrap();
        assert_eq!(door.max_token_bytes(), bytes.unwrap_or(8 * 1024));
        assert_eq!(judge(&door, &token).await.err(), expected);
    }
    // A tenant holds its tokens to its own rules, whatever all of them are allowed.
    let small = jwt(&a, &clock).build().unwrap();
    let resolver = move |_: String| std::future::ready(Ok::<_, BoxError>(Some(small.clone())));
    let door = Tenants::resolver(resolver).max_token_bytes(64 * 1024).build().unwrap();
    for _ in 0..2 {
        assert_eq!(judge(&door, &token).await.unwrap_err(), too_large);
    }
    for bytes in [0, 1023, 64 * 1024 + 1] {
        let error = tenants(&[], &clock).0.max_token_bytes(bytes).build().unwrap_err();
        assert!(error.to_string().starts_with(&format!("max_token_bytes `{bytes}`")), "{error}");
    }
}
