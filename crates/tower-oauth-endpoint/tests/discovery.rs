//! Which addresses are asked for an issuer's metadata, and when the search ends.

// What clippy allows in tests it takes for production code in their helpers. Paused time is tokio's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::HashMap;
use std::future::{Pending, pending};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceExt, service_fn};
use tower_oauth_core::codec::{Metadata, MetadataCodec};
use tower_oauth_core::{Error, ErrorKind, Issuer};
use tower_oauth_endpoint::Discovery;
use tower_oauth_test::{Endpoint as Of, Fault, ScriptedIssuer};

const ISSUER: &str = "https://idp.example/realms/shop";
const APPENDED: &str = "/realms/shop/.well-known/openid-configuration";
const INSERTED: &str = "/.well-known/oauth-authorization-server/realms/shop";
const INSERTED_OIDC: &str = "/.well-known/openid-configuration/realms/shop";

/// What a well-known address says.
#[derive(Clone)]
enum Says {
    Metadata(&'static str),
    Status(u16),
    Raw(&'static str),
    Reset,
    Nothing,
}

/// Asks a server that says this at these paths and 404 elsewhere; tells the paths that were asked.
async fn discover(
    codec: MetadataCodec,
    says: &[(&'static str, Says)],
) -> (Result<Metadata, Error>, Vec<String>) {
    let says: HashMap<_, _> = says.iter().cloned().collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let path = request.uri().path().to_owned();
        let said = says.get(path.as_str()).cloned().unwrap_or(Says::Status(404));
        log.lock().unwrap().push(path);
        async move {
            let (status, body) = match said {
                Says::Metadata(issuer) => (
                    200,
                    format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://idp.example/t"}}"#),
                ),
                Says::Status(status) => (status, String::new()),
                Says::Raw(body) => (200, body.to_owned()),
                Says::Reset => return Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                Says::Nothing => pending().await,
            };
            Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
        }
    });
    let answer = Discovery::new(codec, http).oneshot(Issuer::parse(ISSUER).unwrap()).await;
    let asked = asked.lock().unwrap().clone();
    (answer, asked)
}

#[tokio::test]
async fn k04_each_form_is_found_and_they_are_asked_in_order() {
    let forms = [APPENDED, INSERTED, INSERTED_OIDC];
    for (index, form) in forms.into_iter().enumerate() {
        let (answer, asked) =
            discover(MetadataCodec::new(), &[(form, Says::Metadata(ISSUER))]).await;
        let metadata = answer.unwrap();
        assert_eq!(metadata.issuer().as_str(), ISSUER);
        assert_eq!(metadata.token_endpoint().unwrap().to_string(), "https://idp.example/t");
        assert_eq!(asked, forms[..=index]);
    }
}

#[tokio::test]
async fn k04_there_is_nothing_at_any_address() {
    let (answer, asked) = discover(MetadataCodec::new(), &[]).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Status(404));
    assert_eq!(asked, [APPENDED, INSERTED, INSERTED_OIDC]);
}

#[tokio::test(start_paused = true)]
async fn only_where_there_is_no_metadata_the_next_address_is_asked() {
    let there = "https://idp.example/realms/shop/";
    let cases = [
        // (what the first address says, whether the second one is asked)
        (Says::Status(400), true),
        (Says::Status(401), true),
        (Says::Status(404), true),
        (Says::Status(410), true),
        (Says::Status(302), true),
        (Says::Raw("<html>"), true),
        (Says::Raw("[]"), true),
        (Says::Status(429), false),
        (Says::Status(500), false),
        (Says::Status(503), false),
        (Says::Reset, false),
        (Says::Nothing, false),
        (Says::Metadata("https://idp.example/realms/other"), false),
        (Says::Metadata(there), false),
        (Says::Raw(r#"{"issuer":["https://idp.example/realms/shop"]}"#), true),
    ];
    for (index, (first, goes_on)) in cases.into_iter().enumerate() {
        let says = [(APPENDED, first), (INSERTED, Says::Metadata(ISSUER))];
        let (answer, asked) = discover(MetadataCodec::new(), &says).await;
        assert_eq!(answer.is_ok(), goes_on, "case {index}: {answer:?}");
        assert_eq!(asked.len(), if goes_on { 2 } else { 1 }, "case {index}: {asked:?}");
    }
}

#[tokio::test]
async fn k04_an_endpoint_that_cannot_be_used_is_refused_and_not_looked_for_elsewhere() {
    for uri in ["http://idp.example/t", "https://evil.example/t", "/t", "https://a@idp.example/t"] {
        let body = format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"{uri}"}}"#);
        let says = [(APPENDED, Says::Raw(body.leak())), (INSERTED, Says::Metadata(ISSUER))];
        let (answer, asked) = discover(MetadataCodec::new(), &says).await;
        let error = answer.unwrap().token_endpoint().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{uri}: {error:?}");
        assert_eq!(asked, [APPENDED], "{uri}");
    }
}

#[tokio::test]
async fn k04_another_issuer_ends_the_search_and_is_a_matter_of_configuration() {
    let says =
        [(APPENDED, Says::Metadata("https://evil.example")), (INSERTED, Says::Metadata(ISSUER))];
    let (answer, asked) = discover(MetadataCodec::new(), &says).await;
    let error = answer.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("evil.example"), "what a server says is not repeated");
    assert_eq!(asked, [APPENDED]);
}

#[tokio::test]
async fn a_foreign_host_is_trusted_where_the_codec_says_so() {
    let body =
        r#"{"issuer":"https://idp.example/realms/shop","token_endpoint":"https://keys.example/t"}"#;
    let codec = MetadataCodec::new().trust_host("keys.example");
    let (answer, _) = discover(codec, &[(APPENDED, Says::Raw(body))]).await;
    assert_eq!(answer.unwrap().token_endpoint().unwrap().host(), "keys.example");
}

#[tokio::test(start_paused = true)]
async fn t01_the_deadline_is_that_of_one_address() {
    let issuer = ScriptedIssuer::builder().issuer(ISSUER).build().unwrap();
    issuer.fault(Of::Discovery, Fault::Hang);
    let name = Issuer::parse(ISSUER).unwrap();
    for (deadline, expected) in [(None, 5), (Some(Duration::from_secs(1)), 1)] {
        let mut discovery = Discovery::new(MetadataCodec::new(), issuer.service());
        if let Some(deadline) = deadline {
            discovery = discovery.with_deadline(deadline);
        }
        let started = tokio::time::Instant::now();
        let error = discovery.oneshot(name.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(started.elapsed().as_secs(), expected);
    }
    issuer.heal(Of::Discovery);
    let found = Discovery::new(MetadataCodec::new(), issuer.service()).oneshot(name).await.unwrap();
    assert_eq!(found.token_endpoint().unwrap().to_string(), issuer.url(Of::Token));
}

/// Is never ready.
#[derive(Clone)]
struct Busy;

impl Service<Request<Full<Bytes>>> for Busy {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pending<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        panic!("called without being ready")
    }
}

#[tokio::test(start_paused = true)]
async fn t01_the_deadline_covers_the_wait_for_readiness() {
    let search = Discovery::new(MetadataCodec::new(), Busy).oneshot(Issuer::parse(ISSUER).unwrap());
    let answer = tokio::time::timeout(Duration::from_secs(60), search).await;
    assert_eq!(answer.expect("it hangs").unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn discovery_keeps_towers_contract() {
    // The scripted service refuses a call on a clone that was not polled ready.
    let issuer = ScriptedIssuer::builder().issuer(ISSUER).build().unwrap();
    issuer.fault(Of::Discovery, Fault::Status(404)).times(2);
    let mut discovery = Discovery::new(MetadataCodec::new(), issuer.service());
    let name = Issuer::parse(ISSUER).unwrap();
    let search = discovery.ready().await.unwrap().call(name);
    drop(discovery);
    assert_eq!(search.await.unwrap().issuer().as_str(), ISSUER);
    assert_eq!(issuer.calls(Of::Discovery), 3);
}
