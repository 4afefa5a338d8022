//! What the caller gets to see of a verdict, and what the source is told.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    BoxFuture, Error, Flush, Need, RejectionPolicy, Replayed, Report, RetryInvalidTokenLayer,
    StandardPolicy, Token, TokenCache, TokenSource, TokenVerdict,
};

use crate::rig::{Mint, Strict, authorization, invalid_token, ok, request};

// === what the caller sees ===

#[tokio::test(start_paused = true)]
async fn each_verdict_is_visible_in_the_extensions() {
    // (first answer, answer to the second token, verdict, replayed)
    let cases = [
        ((200, None), 200, None, false),
        ((204, None), 200, None, false),
        ((404, None), 200, Some(TokenVerdict::Silent), false),
        ((403, None), 200, Some(TokenVerdict::Silent), false),
        ((401, Some(r#"Bearer error="invalid_token""#)), 200, Some(TokenVerdict::Accepted), true),
        ((401, Some(r#"Bearer error="invalid_token""#)), 404, Some(TokenVerdict::Silent), true),
        ((401, Some(r#"Bearer error="invalid_token""#)), 401, Some(TokenVerdict::Rejected), true),
    ];
    for ((first, challenge), second, verdict, replayed) in cases {
        let resource = service_fn(move |request: Request<Full<Bytes>>| {
            let is_first = authorization(request.headers()) == Some("Bearer t1");
            let mut answer = match (is_first, second) {
                (true, _) => Response::builder().status(first),
                (false, 401) => Response::builder().status(401),
                (false, _) => Response::builder().status(second),
            };
            if let (true, Some(challenge)) = (is_first || second == 401, challenge) {
                answer = answer.header("www-authenticate", challenge);
            }
            async move { io::Result::Ok(answer.body(()).unwrap()) }
        });
        let layer = RetryInvalidTokenLayer::new(Mint::new().cache());
        let answer = layer.layer(resource).oneshot(request()).await.unwrap();
        assert_eq!(answer.extensions().get::<TokenVerdict>().copied(), verdict, "{first} {second}");
        assert_eq!(answer.extensions().get::<Replayed>().is_some(), replayed, "{first} {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_nothing_was_done_about_is_visible() {
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(Token::bearer("t").unwrap()).layer(strict);
    let answer = service.oneshot(request()).await.unwrap();
    assert_eq!(answer.extensions().get(), Some(&TokenVerdict::Rejected));
    assert_eq!(answer.extensions().get::<Replayed>(), None);
}

#[tokio::test(start_paused = true)]
async fn r10_no_policy_makes_a_407_the_tokens_death() {
    let mint = Mint::new();
    let all = |_: &Parts| TokenVerdict::Rejected;
    let resource = service_fn(|_: Request<Full<Bytes>>| async {
        io::Result::Ok(Response::builder().status(407).body(()).unwrap())
    });
    let service = RetryInvalidTokenLayer::new(mint.cache()).with_policy(all).layer(resource);
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 407);
    assert_eq!(mint.exchanges(), 1);
}

// === what the source is told ===

/// A cache whose reports are written down.
#[derive(Clone)]
struct Watched {
    tokens: TokenCache,
    told: Arc<Mutex<Vec<Report>>>,
}

impl Watched {
    fn new(mint: &Mint) -> Self {
        Self { tokens: mint.cache(), told: Arc::default() }
    }

    fn told(&self) -> Vec<Report> {
        self.told.lock().unwrap().clone()
    }
}

impl TokenSource for Watched {
    fn peek(&self) -> Option<Token> {
        self.tokens.peek()
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        self.tokens.fetch(need)
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.tokens.recognise(authorization)
    }

    fn report(&self, report: Report) {
        self.told.lock().unwrap().push(report);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_ask_for_the_end_of_more_than_one_token() {
    for flush in [Flush::Subject, Flush::Issuer] {
        let source = Watched::new(&Mint::new());
        let first = source.fetch(Need::Any).await.unwrap().id();
        let policy = StandardPolicy.or(move |head: &Parts| match head.status.as_u16() {
            419 => TokenVerdict::Flush(flush),
            _ => TokenVerdict::Silent,
        });
        let resource = service_fn(|request: Request<Full<Bytes>>| {
            let dead = authorization(request.headers()) == Some("Bearer t1");
            let status = if dead { 419 } else { 200 };
            async move { io::Result::Ok(Response::builder().status(status).body(()).unwrap()) }
        });
        let layer = RetryInvalidTokenLayer::new(source.clone()).with_policy(policy);
        assert_eq!(layer.layer(resource).oneshot(request()).await.unwrap().status(), 200);
        let second = source.peek().unwrap().id();
        assert_eq!(source.told(), [Report::Flush(first, flush), Report::Healed(second)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_how_a_rejection_ended() {
    // Healed.
    let source = Watched::new(&Mint::new());
    let strict = Strict::that_likes(|token| token == "Bearer t2");
    let service = RetryInvalidTokenLayer::new(source.clone()).layer(strict);
    service.clone().oneshot(request()).await.unwrap();
    service.oneshot(request()).await.unwrap();
    assert_eq!(source.told(), [Report::Healed(source.peek().unwrap().id())]);

    // Not replayable.
    let source = Watched::new(&Mint::new());
    let first = source.fetch(Need::Any).await.unwrap().id();
    let strict = Strict::that_likes(|_| false);
    let layer = RetryInvalidTokenLayer::new(source.clone()).without_replay();
    layer.layer(strict.clone()).oneshot(request()).await.unwrap();
    assert_eq!(source.told(), [Report::NotReplayable(first)]);

    // Replayed in vain: nothing was healed.
    let source = Watched::new(&Mint::new());
    RetryInvalidTokenLayer::new(source.clone()).layer(strict).oneshot(request()).await.unwrap();
    let second = source.peek().unwrap().id();
    assert_eq!(source.told(), [Report::RejectedAgain(second)]);
}

/// Gives the same token under another name each time.
struct Forgetful(Arc<Mutex<Vec<Report>>>);

impl TokenSource for Forgetful {
    fn peek(&self) -> Option<Token> {
        Token::bearer("same").ok()
    }

    fn fetch(&self, _: Need) -> BoxFuture<Result<Token, Error>> {
        Box::pin(std::future::ready(Token::bearer("same")))
    }

    fn recognise(&self, _: &HeaderValue) -> Option<Token> {
        None
    }

    fn report(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

#[tokio::test]
async fn r04_a_source_that_gives_the_same_token_again_is_told() {
    let told = Arc::default();
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(Forgetful(Arc::clone(&told))).layer(strict);
    service.oneshot(request()).await.unwrap();
    assert!(matches!(told.lock().unwrap()[..], [Report::SameTokenAgain(_)]));
}

#[tokio::test(start_paused = true)]
async fn r14_a_replay_keeps_its_idempotency_key_and_only_a_named_death_is_replayed() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    for (answer, calls) in [(401, 2), (403, 1), (409, 1), (500, 1), (503, 1)] {
        let seen = Arc::clone(&keys);
        let resource = service_fn(move |request: Request<Full<Bytes>>| {
            seen.lock().unwrap().push(request.headers()["idempotency-key"].clone());
            let dead = authorization(request.headers()) == Some("Bearer t1");
            let response = match (dead, answer) {
                (true, 401) => invalid_token(),
                (true, other) => Response::builder().status(other).body(Full::default()).unwrap(),
                _ => ok(),
            };
            async move { io::Result::Ok(response) }
        });
        let mut post = request();
        post.headers_mut().insert("idempotency-key", HeaderValue::from_static("7"));
        RetryInvalidTokenLayer::new(Mint::new().cache())
            .layer(resource)
            .oneshot(post)
            .await
            .unwrap();
        let sent = std::mem::take(&mut *keys.lock().unwrap());
        assert_eq!(sent, vec!["7"; calls], "{answer}");
    }
}
