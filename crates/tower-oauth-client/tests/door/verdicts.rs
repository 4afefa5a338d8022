//! What a policy sees, what the caller gets to see of it, and what the source is told.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    BoxFuture, Error, Flush, Need, RejectionPolicy, Replayed, Report, RetryInvalidTokenLayer,
    StandardPolicy, Token, TokenCache, TokenSource, TokenVerdict, Wso2Faults,
};

use crate::rig::{Mint, Strict, TokioClock, authorization, invalid_token, ms, ok, request};

/// One step of an answer's body.
enum Step {
    Data(&'static str),
    Trailers,
    Broken,
    /// Nothing more comes, and no end either.
    Hangs,
}

struct Script {
    steps: VecDeque<Step>,
    announced: Option<u64>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if matches!(self.steps.front(), Some(Step::Hangs)) {
            return Poll::Pending;
        }
        Poll::Ready(self.steps.pop_front().map(|step| match step {
            Step::Data(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Step::Trailers => Ok(Frame::trailers(trailers())),
            Step::Broken | Step::Hangs => Err(io::ErrorKind::BrokenPipe.into()),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-checksum".parse().unwrap(), HeaderValue::from_static("7"))])
}

const JSON: &str = "application/json";
const DEAD: &str = r#"{"fault":{"code":900901,"message":"Invalid Credentials"}}"#;
const FORBIDDEN: &str = r#"{"code":"900908","message":"Resource forbidden"}"#;
const KIB: &str = "................................................................";

fn answer(status: u16, kind: &str, steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let body = Script { steps: steps.into_iter().collect(), announced: None };
    Response::builder().status(status).header("content-type", kind).body(body).unwrap()
}

/// What the caller reads: the text, the trailers, and whether it broke off.
async fn read<B>(body: B) -> (String, Option<HeaderMap>, bool)
where
    B: Body<Data = Bytes, Error = io::Error>,
{
    let mut body = std::pin::pin!(body);
    let (mut text, mut trailers) = (String::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => text += std::str::from_utf8(&data).unwrap(),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(_) => return (text, trailers, true),
        }
    }
    (text, trailers, false)
}

/// Sends a request to a resource that answers `t1` like this and others with 200; the answer, and the number of exchanges.
async fn sent(
    policy: impl RejectionPolicy,
    make: impl Fn() -> Response<Script> + Clone + Send + Sync + 'static,
) -> (Response<impl Body<Data = Bytes, Error = io::Error>>, usize) {
    let mint = Mint::new();
    let resource = service_fn(move |request: Request<Full<Bytes>>| {
        let first = authorization(request.headers()) == Some("Bearer t1");
        let answer = if first { make() } else { answer(200, JSON, [Step::Data("fine")]) };
        async move { io::Result::Ok(answer) }
    });
    let layer = RetryInvalidTokenLayer::new(mint.cache()).with_policy(policy).reading_bodies();
    let answer = layer.layer(resource).oneshot(request()).await.unwrap();
    (answer, mint.exchanges())
}

// === reading bodies ===

#[tokio::test(start_paused = true)]
async fn a_fault_in_the_body_is_the_tokens_death() {
    use Step::Data;
    for status in [401, 403] {
        for make in [
            || answer(401, JSON, [Data(DEAD)]),
            || {
                answer(
                    401,
                    JSON,
                    [Data("{\"fault\":{\"co"), Data("de\":9009"), Data("01,\"m\":1}}")],
                )
            },
            || answer(401, "text/xml", [Data("<am:fault><am:code>900901</am:code></am:fault>")]),
            || answer(401, JSON, [Data(DEAD), Step::Hangs]),
            || answer(401, JSON, [Data(DEAD), Step::Broken]),
            || answer(401, "", [Data(""), Data(DEAD)]),
        ] {
            let make = move || {
                let mut answer = make();
                *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
                answer
            };
            let (answer, exchanges) = sent(Wso2Faults, make).await;
            assert_eq!((answer.status().as_u16(), exchanges), (200, 2));
            assert_eq!(read(answer.into_body()).await.0, "fine");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_looked_into_reaches_the_caller_unchanged() {
    use Step::{Broken, Data, Trailers};
    /// (name, the body's steps, what the caller reads, whether it breaks)
    type Case = (&'static str, fn() -> Vec<Step>, usize, bool, bool);
    let cases: &[Case] = &[
        ("empty", Vec::new, 0, false, false),
        ("short", || vec![Data(FORBIDDEN)], FORBIDDEN.len(), false, false),
        ("with trailers", || vec![Data(FORBIDDEN), Trailers], FORBIDDEN.len(), true, false),
        ("only trailers", || vec![Trailers], 0, true, false),
        ("breaks", || vec![Data(FORBIDDEN), Broken], FORBIDDEN.len(), false, true),
        ("breaks at once", || vec![Broken], 0, false, true),
        ("long", || (0..1000).map(|_| Data(KIB)).chain([Trailers]).collect(), 64_000, true, false),
        (
            "breaks late",
            || (0..100).map(|_| Data(KIB)).chain([Broken]).collect(),
            6_400,
            false,
            true,
        ),
        (
            "many empty frames",
            || (0..500).map(|_| Data("")).chain([Data("x")]).collect(),
            1,
            false,
            false,
        ),
    ];
    for (name, steps, length, has_trailers, breaks) in cases {
        for status in [401, 403, 404, 200] {
            let steps = *steps;
            let (answer, exchanges) = sent(Wso2Faults, move || answer(status, JSON, steps())).await;
            assert_eq!((answer.status().as_u16(), exchanges), (status, 1), "{name}");
            let (text, with_trailers, broke) = read(answer.into_body()).await;
            assert_eq!(text.len(), *length, "{name} {status}");
            assert_eq!(with_trailers, has_trailers.then(trailers), "{name} {status}");
            assert_eq!(broke, *breaks, "{name} {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_looked_into_has_its_length() {
    for status in [403, 200] {
        let make = move || {
            let body = Script { steps: [Step::Data(FORBIDDEN)].into(), announced: Some(48) };
            Response::builder().status(status).body(body).unwrap()
        };
        let (answer, _) = sent(Wso2Faults, make).await;
        let hint = answer.body().size_hint();
        let held = if status == 403 { FORBIDDEN.len() as u64 } else { 48 };
        assert_eq!(hint.exact(), Some(held), "{status}");
        assert!(!answer.body().is_end_stream());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_does_not_hang_the_judgement() {
    let clock = TokioClock::new();
    let slow = || answer(401, JSON, [Step::Data("{\"fault\":"), Step::Hangs]);
    let (answer, exchanges) = sent(Wso2Faults, slow).await;
    assert_eq!((answer.status().as_u16(), exchanges), (401, 1));
    assert_eq!(clock.ms(), 500);
    // What was read is there, and the rest is still to come.
    let mut body = std::pin::pin!(answer.into_body());
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "{\"fault\":");
    assert!(tokio::time::timeout(ms(10_000), body.frame()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn streams_and_long_answers_are_not_looked_into() {
    let clock = TokioClock::new();
    for kind in
        ["text/event-stream", "TEXT/Event-Stream; x=y", "application/grpc+proto", "multipart/mixed"]
    {
        let (answer, exchanges) =
            sent(Wso2Faults, move || answer(401, kind, [Step::Data(DEAD), Step::Hangs])).await;
        assert_eq!((answer.status().as_u16(), exchanges), (401, 1), "{kind}");
    }
    let long = || {
        let body = Script { steps: [Step::Hangs].into(), announced: Some(64 * 1024 + 1) };
        Response::builder().status(401).body(body).unwrap()
    };
    assert_eq!(sent(Wso2Faults, long).await.0.status(), 401);
    assert_eq!(clock.ms(), 0, "nobody waited");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_wants_a_body_judges_by_the_head_where_nobody_reads_it() {
    let mint = Mint::new();
    let resource = service_fn(|request: Request<Full<Bytes>>| {
        let dead = authorization(request.headers()) == Some("Bearer t1");
        async move { io::Result::Ok(if dead { invalid_token() } else { ok() }) }
    });
    let layer = RetryInvalidTokenLayer::new(mint.cache()).with_policy(Wso2Faults);
    assert_eq!(layer.layer(resource).oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_second_answer_is_looked_into_too() {
    let mint = Mint::new();
    let resource = service_fn(|_: Request<Full<Bytes>>| async {
        io::Result::Ok(answer(403, JSON, [Step::Data(DEAD), Step::Trailers]))
    });
    let layer = RetryInvalidTokenLayer::new(mint.cache()).with_policy(Wso2Faults).reading_bodies();
    let answer = layer.layer(resource).oneshot(request()).await.unwrap();
    assert_eq!(answer.extensions().get(), Some(&TokenVerdict::Rejected));
    assert_eq!(answer.extensions().get(), Some(&Replayed::default()));
    let (text, with_trailers, broke) = read(answer.into_body()).await;
    assert_eq!((text.as_str(), with_trailers, broke), (DEAD, Some(trailers()), false));
}

#[tokio::test(start_paused = true)]
async fn bodies_are_read_without_replay_as_well() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let resource = service_fn(|_: Request<Full<Bytes>>| async {
        io::Result::Ok(answer(401, JSON, [Step::Data(DEAD)]))
    });
    let layer = RetryInvalidTokenLayer::new(tokens.clone()).without_replay().reading_bodies();
    let layer = layer.with_policy(Wso2Faults);
    let answer = layer.layer(resource).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    tokens.fetch(Need::Any).await.unwrap();
    assert_eq!(mint.exchanges(), 2);
}

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
    assert_eq!(source.told(), []);
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
