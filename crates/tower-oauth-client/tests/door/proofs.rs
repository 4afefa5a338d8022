//! Tokens that are bound to a key, as the layers see them: the prover is a stranger's, and its proofs say what they are for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_oauth_client::{
    ClientError, Error, ErrorKind, InjectTokenLayer, ProofRequest, Prover, RetryInvalidTokenLayer,
    ServerNonces, Token,
};

use crate::bodies::unsync;
use crate::rig::{TokioClock, authorization, ms, ok, sleep_ms};

/// Writes a proof that can be read: number, method, target, token and nonce.
#[derive(Default)]
struct Scribe {
    number: AtomicUsize,
    nonces: ServerNonces,
    fails: AtomicBool,
}

impl Prover for Scribe {
    fn prove(&self, request: &ProofRequest<'_>) -> Result<HeaderValue, Error> {
        if self.fails.load(SeqCst) {
            return Err(ErrorKind::Timeout.into());
        }
        let number = self.number.fetch_add(1, SeqCst);
        let (method, uri) = (request.method, request.uri);
        let (token, nonce) = (request.access_token.unwrap(), request.nonce.unwrap_or("-"));
        Ok(format!("scribe {number} {method} {uri} {token} {nonce}").parse().unwrap())
    }

    fn recognises(&self, proof: &HeaderValue) -> bool {
        proof.as_bytes().starts_with(b"scribe ")
    }

    fn nonces(&self) -> &ServerNonces {
        &self.nonces
    }
}

fn bound() -> (Arc<Scribe>, Token) {
    let scribe = Arc::new(Scribe::default());
    let token = Token::bearer("t").unwrap().with_prover(Arc::clone(&scribe) as _);
    (scribe, token)
}

fn proof(headers: &HeaderMap) -> Option<&str> {
    headers.get("dpop")?.to_str().ok()
}

fn wants(nonce: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(401)
        .header("www-authenticate", r#"DPoP error="use_dpop_nonce""#)
        .header("dpop-nonce", nonce)
        .body(Full::default())
        .unwrap()
}

/// Takes the nonce `n`, and panics unless this very clone was polled until it was ready.
#[derive(Default)]
struct StrictOnNonces {
    proofs: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<String>>>,
    polls: u32,
}

impl Clone for StrictOnNonces {
    fn clone(&self) -> Self {
        Self { proofs: self.proofs.clone(), bodies: self.bodies.clone(), polls: 0 }
    }
}

impl<B> Service<Request<B>> for StrictOnNonces
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = tower_oauth_client::BoxFuture<Result<Response<Full<Bytes>>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.polls) >= 2, "called without being ready");
        let proof = proof(request.headers()).unwrap().to_owned();
        let is_content = proof.ends_with(" n");
        self.proofs.lock().unwrap().push(proof);
        let bodies = self.bodies.clone();
        Box::pin(async move {
            let mut body = std::pin::pin!(request.into_body());
            if !is_content {
                // Refused half-way.
                let first = body.frame().await.unwrap().unwrap().into_data().ok().unwrap();
                bodies.lock().unwrap().push(String::from_utf8(first.to_vec()).unwrap());
                return Ok(wants("n"));
            }
            let whole = body.collect().await.unwrap().to_bytes();
            bodies.lock().unwrap().push(String::from_utf8(whole.to_vec()).unwrap());
            Ok(ok())
        })
    }
}

/// One request that is sent again with the nonce that the server asks for.
#[cfg(feature = "metrics")]
pub(crate) async fn one_nonce() {
    let service = RetryInvalidTokenLayer::new(bound().1).layer(StrictOnNonces::default());
    let stream = crate::bodies::frames([Ok(Bytes::from("one"))]);
    let request = Request::post("https://a.example/up").body(unsync(stream)).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn r11_a_request_that_is_proved_again_goes_to_a_ready_service_with_its_whole_body() {
    let (_, token) = bound();
    let strict = StrictOnNonces::default();
    let service = RetryInvalidTokenLayer::new(token).layer(strict.clone());
    let frames = ["one ", "two ", "three"].map(|text| Ok(Bytes::from(text)));
    let stream = crate::bodies::frames(frames);
    let request = Request::post("https://a.example/up?load=1").body(unsync(stream)).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(
        *strict.proofs.lock().unwrap(),
        ["scribe 0 POST https://a.example/up t -", "scribe 1 POST https://a.example/up t n",]
    );
    assert_eq!(*strict.bodies.lock().unwrap(), ["one ", "one two three"]);
}

/// A signer that is asked over a wire may fail: then nothing is sent.
#[tokio::test(start_paused = true)]
async fn a_prover_that_fails_is_an_error_and_no_request_without_a_proof() {
    let (scribe, token) = bound();
    scribe.fails.store(true, SeqCst);
    let nobody = service_fn(|_: Request<Full<Bytes>>| async {
        panic!("nothing is to be sent");
        #[allow(unreachable_code)]
        Ok::<_, std::io::Error>(ok())
    });
    let request = || Request::get("https://a.example/").body(Full::default()).unwrap();
    let retry = RetryInvalidTokenLayer::new(token.clone()).layer(nobody);
    let inject = InjectTokenLayer::new(token).layer(nobody);
    for error in
        [retry.oneshot(request()).await.unwrap_err(), inject.oneshot(request()).await.unwrap_err()]
    {
        let ClientError::Token(error) = error else { panic!("{error:?}") };
        assert_eq!(error.error().kind(), ErrorKind::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn r11_a_prover_that_fails_later_leaves_the_callers_answer_alone() {
    let (scribe, token) = bound();
    let failing = Arc::clone(&scribe);
    let service =
        RetryInvalidTokenLayer::new(token).layer(service_fn(move |_: Request<Full<Bytes>>| {
            failing.fails.store(true, SeqCst);
            async { Ok::<_, std::io::Error>(wants("n")) }
        }));
    let request = Request::get("https://a.example/").body(Full::default()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 401);
    assert_eq!(scribe.number.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn r15_a_request_is_not_proved_again_when_its_time_is_over() {
    for (takes, sent) in [(50, 2), (150, 1)] {
        let (scribe, token) = bound();
        let service = service_fn(move |request: Request<Full<Bytes>>| async move {
            sleep_ms(takes).await;
            let is_content = proof(request.headers()).unwrap().ends_with(" n");
            Ok::<_, std::io::Error>(if is_content { ok() } else { wants("n") })
        });
        let service =
            RetryInvalidTokenLayer::new(token).with_clock(TokioClock::new()).layer(service);
        let request = Request::post("https://a.example/").header("grpc-timeout", "100m");
        let answer = service.oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), if sent == 2 { 200 } else { 401 });
        assert_eq!(scribe.number.load(SeqCst), sent, "{:?}", ms(takes));
    }
}

/// A → B → A, where only A is the token's. Who follows the redirects takes `Authorization` off for B and leaves the proof.
#[tokio::test]
async fn r12_a_proof_goes_where_its_token_goes_and_is_made_anew_at_each_hop() {
    for place in ["inject inside", "retry inside", "both"] {
        let (_, token) = bound();
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let net = service_fn(move |request: Request<Full<Bytes>>| {
            let uri = request.uri().to_string();
            let has_token = authorization(request.headers()).is_some();
            let target =
                proof(request.headers()).map(|proof| proof.split(' ').nth(3).unwrap().to_owned());
            written.lock().unwrap().push((uri.clone(), has_token, target));
            let to = match uri.as_str() {
                "https://a.example/1" => Some("https://b.example/2"),
                "https://b.example/2" => Some("https://a.example/3"),
                _ => None,
            };
            let answer = Response::builder().status(if to.is_some() { 307 } else { 200 });
            let answer = answer.header("location", to.unwrap_or_default());
            async move { Ok::<_, std::io::Error>(answer.body(Full::<Bytes>::default()).unwrap()) }
        });
        let retry = RetryInvalidTokenLayer::new(token.clone());
        let retry = retry.with_origins(["https://a.example"]).unwrap();
        let inject = InjectTokenLayer::new(token);
        let inject = inject.with_origins(["https://a.example"]).unwrap();
        let follow = FollowRedirectLayer::new;
        let request = Request::get("https://a.example/1").body(Full::default()).unwrap();
        let status = match place {
            "inject inside" => {
                let service = ServiceBuilder::new().layer(follow()).layer(inject).service(net);
                service.oneshot(request).await.unwrap().status()
            }
            "retry inside" => {
                let service = ServiceBuilder::new().layer(follow()).layer(retry).service(net);
                service.oneshot(request).await.unwrap().status()
            }
            _ => {
                let service = ServiceBuilder::new();
                let service = service.layer(inject).layer(follow()).layer(retry).service(net);
                service.oneshot(request).await.unwrap().status()
            }
        };
        assert_eq!(status, 200);
        let hop =
            |uri: &str, is_ours: bool| (uri.to_owned(), is_ours, is_ours.then(|| uri.to_owned()));
        let expected = [
            hop("https://a.example/1", true),
            hop("https://b.example/2", false),
            hop("https://a.example/3", true),
        ];
        assert_eq!(*log.lock().unwrap(), expected, "{place}");
    }
}

/// One who speaks DPoP without us keeps what is theirs.
#[tokio::test]
async fn r12_a_proof_that_the_caller_has_made_stays_on_a_request_to_another_origin() {
    let (_, token) = bound();
    for (source, own, stays) in [
        (token.clone(), "mine", true),
        (token, "scribe 0 GET https://a.example/ t -", false),
        (Token::bearer("t").unwrap(), "mine", true),
    ] {
        let service = InjectTokenLayer::new(source)
            .with_origins(["https://a.example"])
            .unwrap()
            .layer(service_fn(move |request: Request<Full<Bytes>>| async move {
                assert_eq!(authorization(request.headers()), None);
                assert_eq!(proof(request.headers()), stays.then_some(own));
                Ok::<_, std::io::Error>(ok())
            }));
        let request = Request::post("https://idp.example/token").header("dpop", own);
        let answer = service.oneshot(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn l01_a_proof_is_sensitive_even_if_its_maker_forgot() {
    let (_, token) = bound();
    assert!(format!("{token:?}").contains("is_bound: true"));
    let service = InjectTokenLayer::new(token).layer(service_fn(
        |request: Request<Full<Bytes>>| async move {
            assert!(request.headers()["dpop"].is_sensitive());
            Ok::<_, std::io::Error>(ok())
        },
    ));
    let request = Request::get("https://a.example/").body(Full::default()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}
