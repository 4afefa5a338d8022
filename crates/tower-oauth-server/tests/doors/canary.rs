//! No token in an answer, in a `Debug`, in a log line.

use std::io;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request};
use tower::{Layer, ServiceBuilder, service_fn};
use tower_oauth_server::{
    Authenticate, Caller, Presented, Principal, Rejection, RequireScopeLayer, RequireTokenLayer,
    Verdict,
};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::*;

/// Requests that are refused, each with the canary wherever a token can be.
fn refused() -> Vec<Request<()>> {
    let long = format!("Bearer {}", CANARY.repeat(2_000));
    let mut requests = vec![
        with_token(EXPIRED),
        with_token(EXPIRED_LATER),
        with_token(OUTAGE),
        with_token(OUTAGE_LATER),
        with_token("CANARY.unknown"),
        get("/", &[b"Bearer CANARY,"]),
        get("/", &[b"Bearer \"CANARY\""]),
        get("/", &[b"Bearer CANARY, Bearer CANARY"]),
        get("/", &[b"Bearer CANARY", b"Basic CANARY"]),
        get("/", &[b"BearerCANARY"]),
        get("/", &[b"Bearer CANARY\xff"]),
        get("/", &[b"CANARY"]),
        get("/", &[b"DPoP CANARY"]),
        get("/", &[long.as_bytes()]),
        get("/?access_token=CANARY", &[]),
        get("/?access_token=CANARY", &[b"Bearer CANARY"]),
    ];
    for kind in ["application/grpc", "application/grpc-web-text", "application/grpc+CANARY"] {
        for index in 0..16 {
            let mut request = requests[index].clone();
            request.headers_mut().insert("content-type", HeaderValue::from_str(kind).unwrap());
            requests.push(request);
        }
    }
    requests
}

#[tokio::test]
async fn h07_no_text_of_a_refused_token_is_in_an_answer_or_a_log_line() {
    let log = Log::default();
    // Global, and so with the lines of the tests that run beside this one: what a scoped subscriber sees depends on
    // which thread reaches a log line first. hyper and h2 are left out; what they log is theirs.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("off,tower_oauth=trace"))
        .with_writer(log.clone())
        .init();

    let requests = refused();
    for request in requests {
        let shown = format!("{:?}", request.uri());
        let answer = ask(&table().realm("shop").unwrap(), request).await;
        assert!(answer.rejection.is_some(), "{shown} was not refused");
        let answer = format!("{answer:?}");
        assert!(!answer.contains(CANARY), "{answer}");
    }
    let service = ServiceBuilder::new()
        .layer(table())
        .layer(RequireScopeLayer::all(["stock.admin"]))
        .service(service_fn(greet));
    seen(service, with_token(ALICE)).await;
    seen(RequireScopeLayer::all(["a"]).layer(service_fn(greet)), with_token(EXPIRED)).await;

    let log = log.text();
    assert!(log.contains("request refused") && log.contains("insufficient_scope"), "{log}");
    assert!(log.contains("misconfigured"), "{log}");
    assert!(!log.contains(CANARY) && !log.contains(ALICE), "{log}");
}

#[tokio::test]
async fn an_accepted_token_is_not_printed_with_the_headers_further_in() {
    let service = table().layer(service_fn(|request: Request<()>| async move {
        let shown = format!("{:?}", request.headers());
        Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(
            bytes::Bytes::from(shown),
        )))
    }));
    for token in [ALICE, CAROL] {
        let shown = seen(service.clone(), with_token(token)).await.body;
        assert!(shown.contains("authorization") && !shown.contains(token), "{shown}");
    }
}

#[tokio::test]
async fn l02_whoever_prints_the_headers_of_a_refused_request_prints_no_token() {
    let shown = Arc::new(Mutex::new(String::new()));
    let print = |shown: &Arc<Mutex<String>>| {
        let shown = Arc::clone(shown);
        move |head: &http::request::Parts| {
            shown.lock().unwrap().push_str(&format!("{:?}", head.headers));
        }
    };
    struct Printing<F>(F);
    impl<F: Fn(&http::request::Parts) + Send + Sync + 'static> Authenticate for Printing<F> {
        type Claims = Claims;

        fn authenticate(&self, presented: Presented<'_>) -> Verdict<Claims> {
            (self.0)(presented.head);
            Table::default().authenticate(presented)
        }
    }
    let (renderer, authenticator) = (print(&shown), print(&shown));
    let door = RequireTokenLayer::new(Printing(authenticator)).render_with(
        move |_: &Rejection, head: &http::request::Parts| {
            renderer(head);
            http::Response::new(bytes::Bytes::new())
        },
    );
    // The canary elsewhere than in credentials is the client's own affair.
    let is_plain = |request: &Request<()>| {
        request.uri().query().is_none() && !request.headers().contains_key("content-type")
    };
    for request in refused().into_iter().filter(is_plain) {
        ask(&door, request).await;
    }
    let scoped = door.layer(RequireScopeLayer::all(["a"]).layer(service_fn(greet)));
    for token in [ALICE, CAROL] {
        seen(scoped.clone(), with_token(token)).await;
    }
    let shown = shown.lock().unwrap();
    assert!(shown.contains("authorization"));
    for secret in [CANARY, ALICE, CAROL] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn nothing_of_the_seam_shows_tokens_or_claims() {
    let request = with_token(EXPIRED);
    let (head, ()) = request.into_parts();
    let caller = Caller::<&str>::new(
        Principal::new("https://idp.example", std::time::Duration::ZERO),
        "CANARY claims",
    );
    let layer = table();
    let shown =
        format!("{:?} {caller:?} {layer:?} {:?}", Presented::new(EXPIRED, &head), layer.layer(()));
    assert!(!shown.contains(CANARY), "{shown}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
