//! What counts as a dead token, from end to end, and what is handed on untouched.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    BareForbidden, BareUnauthorized, BoxFuture, Error, Need, RejectionPolicy,
    RetryInvalidTokenLayer, StandardPolicy, Token, TokenSource, TokenVerdict,
};

use crate::rig::{Mint, Strict, authorization, ms, request, sleep_ms};

/// A refusal: a status and its fields.
type Answer = (u16, &'static [(&'static str, &'static str)]);

fn refusal((status, fields): Answer) -> Response<Full<Bytes>> {
    let mut answer = Response::builder().status(status);
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    answer.body(Full::default()).unwrap()
}

/// Sends one request whose first token is answered like this, another with 200; how often the resource
/// was called, how many exchanges there were, and the status that the caller saw.
async fn seen(policy: impl RejectionPolicy, answer: Answer) -> (usize, usize, u16) {
    let mint = Mint::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let resource = service_fn(move |request: Request<Full<Bytes>>| {
        counter.fetch_add(1, SeqCst);
        let first = authorization(request.headers()) == Some("Bearer t1");
        ready(io::Result::Ok(if first { refusal(answer) } else { Response::default() }))
    });
    let layer = RetryInvalidTokenLayer::new(mint.cache()).with_policy(policy);
    let status = layer.layer(resource).oneshot(request()).await.unwrap().status();
    (calls.load(SeqCst), mint.exchanges(), status.as_u16())
}

const WWW: &str = "www-authenticate";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test(start_paused = true)]
async fn r07_r08_r09_r10_only_the_standards_words_cost_an_exchange() {
    let dead: &[Answer] = &[
        (401, &[(WWW, r#"Bearer error="invalid_token""#)]),
        (401, &[(WWW, r#"Basic realm="a, Bearer error=\"x\"", Bearer error="invalid_token""#)]),
        (401, &[(WWW, "Negotiate"), (WWW, r#"Bearer realm="x", error = "invalid_token""#)]),
        (200, &[GRPC, ("grpc-status", "16")]),
    ];
    for answer in dead {
        assert_eq!(seen(StandardPolicy, *answer).await, (2, 2, 200), "{answer:?}");
    }
    let alive: &[Answer] = &[
        // R07: nobody says that it is the token.
        (401, &[]),
        (401, &[(WWW, r#"Basic realm="proxy""#)]),
        (401, &[(WWW, "Negotiate")]),
        (401, &[(WWW, "Bearer")]),
        // R08: the words stand in another place.
        (401, &[(WWW, r#"Basic realm="Bearer error=\"invalid_token\"""#)]),
        (401, &[(WWW, r#"Bearer realm="invalid_token""#)]),
        (401, &[(WWW, r#"Bearer error="invalid_token", error="x""#)]),
        // R09: the token lives, and is not enough.
        (403, &[(WWW, r#"Bearer error="insufficient_scope", scope="a""#)]),
        (403, &[]),
        (401, &[(WWW, r#"Bearer error="insufficient_user_authentication", max_age="5""#)]),
        // R10: the proxy's.
        (407, &[("proxy-authenticate", r#"Bearer error="invalid_token""#)]),
        (407, &[(WWW, r#"Bearer error="invalid_token""#)]),
        (401, &[(WWW, r#"DPoP error="use_dpop_nonce""#)]),
        (200, &[GRPC, ("grpc-status", "7")]),
        (200, &[GRPC]),
        (302, &[("location", "https://evil.example/")]),
        (500, &[(WWW, r#"Bearer error="invalid_token""#)]),
    ];
    for answer in alive {
        assert_eq!(seen(StandardPolicy, *answer).await, (1, 1, answer.0), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r07_r09_what_more_is_dead_is_opted_in() {
    let table: &[(Answer, bool, bool)] = &[
        // (answer, dead to BareUnauthorized, dead to BareForbidden)
        ((401, &[]), true, false),
        ((401, &[(WWW, "Bearer")]), true, false),
        ((401, &[(WWW, "Negotiate")]), false, false),
        ((403, &[]), false, true),
        ((403, &[(WWW, r#"Bearer error="insufficient_scope""#)]), false, false),
        ((407, &[]), false, false),
        ((401, &[(WWW, r#"Bearer error="invalid_token""#)]), true, true),
    ];
    for (answer, unauthorized, forbidden) in table {
        let expected = |dead: bool| if dead { (2, 2, 200) } else { (1, 1, answer.0) };
        let got = seen(StandardPolicy.or(BareUnauthorized), *answer).await;
        assert_eq!(got, expected(*unauthorized), "{answer:?}");
        let got = seen(StandardPolicy.or(BareForbidden), *answer).await;
        assert_eq!(got, expected(*forbidden), "{answer:?}");
    }
    let own = |head: &http::response::Parts| match head.headers.get("x-fault-code") {
        Some(code) if code == "900901" => TokenVerdict::Rejected,
        _ => TokenVerdict::Silent,
    };
    assert_eq!(seen(own, (403, &[("x-fault-code", "900901")])).await, (2, 2, 200));
    assert_eq!(seen(own, (403, &[("x-fault-code", "900908")])).await, (1, 1, 403));
}

#[tokio::test(start_paused = true)]
async fn r01_refused_for_ever_is_one_replay_and_then_the_answer() {
    let mint = Mint::new();
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(mint.cache()).layer(strict.clone());
    let answer = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(strict.seen(), ["Bearer t1", "Bearer t2"]);
    // The budget is spent: no replay, and the answer comes at once.
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 401);
    assert_eq!((strict.seen().len(), mint.exchanges()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn r04_the_same_token_again_is_no_replay_and_no_storm() {
    let mint = Mint::new();
    for _ in 0..1000 {
        mint.then_token("same");
    }
    let tokens = mint.cache();
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(strict.clone());
    for _ in 0..1000 {
        assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), 401);
        sleep_ms(10).await;
    }
    assert_eq!(strict.seen().len(), 1000, "nothing is sent twice");
    assert!(mint.exchanges() <= 8, "{} exchanges in 10 s", mint.exchanges());
    assert!(tokens.peek().is_some(), "what there is goes on being used");
}

#[tokio::test(start_paused = true)]
async fn r04_a_server_that_gives_the_same_token_for_a_while_is_healed_by() {
    let mint = Mint::new();
    mint.then_token("dead").then_token("dead").then_token("dead");
    let strict = Strict::that_likes(|token| token != "Bearer dead");
    let service = RetryInvalidTokenLayer::new(mint.cache()).layer(strict);
    let mut waited = 0;
    while service.clone().oneshot(request()).await.unwrap().status() == 401 {
        sleep_ms(10).await;
        waited += 10;
    }
    assert!(waited <= 3010, "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn without_another_token_the_first_answer_comes_back() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(strict.clone());
    tokens.fetch(Need::Any).await.unwrap();
    mint.then(Err(tower_oauth_client::ErrorKind::NarrowScope.into()));
    let answer = service.oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(strict.seen(), ["Bearer t1"]);
}

/// A source that gives the same token for ever, each time under another name.
struct Forgetful;

impl TokenSource for Forgetful {
    fn peek(&self) -> Option<Token> {
        Token::bearer("same").ok()
    }

    fn fetch(&self, _: Need) -> BoxFuture<Result<Token, Error>> {
        Box::pin(ready(Token::bearer("same")))
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.peek().filter(|token| token.header() == authorization)
    }
}

#[tokio::test]
async fn r04_the_same_token_under_another_name_is_no_replay() {
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(Forgetful).layer(strict.clone());
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 401);
    assert_eq!(strict.seen(), ["Bearer same"]);
}
