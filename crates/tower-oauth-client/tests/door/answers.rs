//! Answers whose body is looked into: what is judged, and that the caller gets all of it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    Need, RejectionPolicy, Replayed, RetryInvalidTokenLayer, TokenSource, TokenVerdict, Wso2Faults,
};

use crate::rig::{Mint, TokioClock, authorization, invalid_token, ms, ok, request};

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
