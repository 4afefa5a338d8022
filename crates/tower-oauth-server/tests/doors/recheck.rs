//! Streams whose token dies before its time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_core::{ErrorKind, Revocation, RevocationSink};
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{
    Authenticate, Authenticated, Caller, Jwt, Presented, Principal, Rejection, RequireTokenLayer,
    Revocations, Verdict,
};
use tower_oauth_test::{ManualClock, TokenSpec};

use crate::issued::{Issued, NOW};
use crate::support::{grpc, with_token};

const SECOND: Duration = Duration::from_secs(1);

/// Says what it is told to, at once or after a while, and counts.
#[derive(Clone)]
struct Told {
    verdict: Arc<Mutex<Result<(), Rejection>>>,
    later: bool,
    asked: Arc<AtomicUsize>,
}

impl Told {
    fn new(later: bool) -> Self {
        Self { verdict: Arc::new(Mutex::new(Ok(()))), later, asked: Arc::default() }
    }

    fn say(&self, rejection: Rejection) {
        *self.verdict.lock().unwrap() = Err(rejection);
    }

    fn door(&self) -> RequireTokenLayer {
        RequireTokenLayer::new(self.clone())
            .clock(Arc::new(ManualClock::at(NOW)))
            .recheck_streams_every(10 * SECOND)
    }
}

impl Authenticate for Told {
    type Claims = ();

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<()> {
        assert_eq!((presented.token, presented.head.uri.path()), ("good", "/"));
        self.asked.fetch_add(1, Ordering::SeqCst);
        let end = Duration::from_secs(NOW.unsigned_abs() + 3600);
        let caller = Caller::new(Principal::new("https://idp.example", end), ());
        let verdict = self.verdict.lock().unwrap().clone().map(|()| caller);
        if self.later {
            Verdict::Later(Box::pin(async move {
                tokio::time::sleep(SECOND).await;
                verdict
            }))
        } else {
            Verdict::Now(verdict)
        }
    }
}

/// Ticks once a second, for ever.
async fn ticker(_: Request<()>) -> Result<Response<crate::support::Ticks>, Infallible> {
    Ok(crate::support::ticks(SECOND))
}

/// Listens until the end: after how many seconds it came, and as what.
async fn listen<B>(mut body: B) -> (u64, Result<Option<String>, Rejection>)
where
    B: http_body::Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>> + Unpin,
{
    let began = paused_now();
    loop {
        let frame = body.frame().await.unwrap();
        let end = match frame.map(Frame::into_data) {
            Ok(Ok(_)) => continue,
            Ok(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap();
                Ok(trailers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned()))
            }
            Err(error) => Err(error.downcast_ref::<Rejection>().unwrap().clone()),
        };
        return (began.elapsed().as_secs(), end);
    }
}

#[tokio::test(start_paused = true)]
async fn h09_a_stream_ends_at_the_first_look_that_finds_its_token_dead() {
    for later in [false, true] {
        let told = Told::new(later);
        let service = told.door().layer(service_fn(ticker));
        let response = service.clone().oneshot(with_token("good")).await.unwrap();
        let dying = told.clone();
        tokio::spawn(async move {
            tokio::time::sleep(25 * SECOND).await;
            dying.say(Rejection::Invalid(InvalidToken::Inactive));
        });
        let (after, end) = listen(response.into_body()).await;
        assert_eq!(end, Err(Rejection::Invalid(InvalidToken::Inactive)));
        assert_eq!(after, if later { 33 } else { 30 }, "the third look");
        assert_eq!(told.asked.load(Ordering::SeqCst), 4, "the door's own and three more");
    }
}

#[tokio::test(start_paused = true)]
async fn h09_a_grpc_stream_ends_with_16_in_its_trailers() {
    let told = Told::new(false);
    let service = told.door().layer(service_fn(|_: Request<()>| async {
        let mut response = crate::support::ticks(SECOND);
        let headers = response.headers_mut();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        Ok::<_, Infallible>(response)
    }));
    let response = service.oneshot(grpc(with_token("good"))).await.unwrap();
    told.say(Rejection::Invalid(InvalidToken::Inactive));
    assert_eq!(listen(response.into_body()).await, (10, Ok(Some("16".into()))));
}

#[tokio::test(start_paused = true)]
async fn h09_our_own_trouble_ends_no_stream_and_expiry_does() {
    let told = Told::new(false);
    let service = told.door().layer(service_fn(ticker));
    let response = service.oneshot(with_token("good")).await.unwrap();
    told.say(Rejection::Unavailable { cause: ErrorKind::Timeout, retry_after: SECOND });
    let (after, end) = listen(response.into_body()).await;
    assert_eq!((after, end), (3600, Err(Rejection::Invalid(InvalidToken::Expired))));
    assert!(told.asked.load(Ordering::SeqCst) >= 359, "and the looks went on");
}

#[tokio::test(start_paused = true)]
async fn h09_an_answer_of_a_known_small_size_is_not_looked_at_again() {
    let told = Told::new(false);
    let service = told.door().layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"42"))))
    }));
    let response = service.oneshot(with_token("good")).await.unwrap();
    told.say(Rejection::Invalid(InvalidToken::Inactive));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "42");
    assert_eq!(told.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn case_69_h09_a_session_that_ends_takes_its_streams_and_sockets_along() {
    let issued = Issued::new();
    let revocations = Revocations::builder().clock(Arc::new(issued.clock.clone())).build().unwrap();
    let jwt = Jwt::issuer(issued.issuer.issuer())
        .audience("inventory")
        .http_client(tower_oauth_endpoint::HttpClient::new(issued.issuer.service()))
        .clock(Arc::new(issued.clock.clone()))
        .revocations(revocations.clone())
        .build()
        .unwrap();
    let door = RequireTokenLayer::new(jwt)
        .clock(Arc::new(issued.clock.clone()))
        .recheck_streams_every(5 * SECOND);
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = door.layer(service_fn(move |request: Request<()>| {
        let caller: Authenticated = Authenticated::from_extensions(request.extensions()).unwrap();
        *keep.lock().unwrap() = Some(caller);
        ticker(request)
    }));
    let mut ends = Vec::new();
    for session in ["s1", "s2"] {
        let token = issued.token(TokenSpec::new().claim("sid", session));
        let response = service.clone().oneshot(with_token(&token)).await.unwrap();
        assert_eq!(response.status(), 200);
        // A WebSocket's handler waits for this.
        let caller = kept.lock().unwrap().take().unwrap();
        let socket = caller.until_expiry().with_clock(Arc::new(issued.clock.clone()));
        ends.push((tokio::spawn(listen(response.into_body())), tokio::spawn(socket)));
    }
    tokio::time::sleep(7 * SECOND).await;
    revocations.revoke(&Revocation::session(&issued.issuer.issuer(), "s1"));
    tokio::time::sleep(5 * SECOND).await;
    let (second, first) = (ends.pop().unwrap(), ends.pop().unwrap());
    let (after, end) = first.0.await.unwrap();
    assert_eq!((after, end), (10, Err(Rejection::Invalid(InvalidToken::Inactive))));
    assert!(first.1.is_finished());
    assert!(!second.0.is_finished() && !second.1.is_finished(), "the other session goes on");
}

/// Tokio's paused time, which only a test moves: no clock.
#[allow(clippy::disallowed_methods)]
fn paused_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
