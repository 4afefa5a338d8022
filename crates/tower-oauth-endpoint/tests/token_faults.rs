//! A token endpoint that fails in every way, seen through the edge.

// What clippy allows in tests it takes for production code in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use tower::ServiceExt;
use tower_oauth_core::codec::{ClientAuth, Grant, TokenCodec, TokenRequest};
use tower_oauth_core::{EndpointUri, Error, ErrorKind, OAuthCode, Scopes};
use tower_oauth_endpoint::Endpoint;
use tower_oauth_test::{Endpoint as Of, Fault, ScriptedIssuer};

const CANARY: &str = "CANARY-secret";

fn issuer() -> ScriptedIssuer {
    ScriptedIssuer::builder().client("orders", CANARY).build().unwrap()
}

async fn exchange(issuer: &ScriptedIssuer, secret: &str) -> Result<(), Error> {
    let auth = ClientAuth::Basic { id: "orders".into(), secret: secret.into() };
    let codec = TokenCodec::new(EndpointUri::parse(&issuer.url(Of::Token)).unwrap(), auth);
    let request = TokenRequest {
        grant: Grant::ClientCredentials,
        scopes: Scopes::default(),
        resources: Vec::new(),
        audiences: Vec::new(),
        unlike: None,
    };
    Endpoint::new(codec, issuer.service()).oneshot(request).await.map(drop)
}

fn body(status: u16, content_type: &str, body: &'static [u8]) -> Fault {
    Fault::Body { status, content_type: content_type.into(), body: body.into() }
}

fn retry_after(status: u16, text: &str) -> Fault {
    Fault::StatusWithRetryAfter { status, retry_after: text.into() }
}

#[tokio::test(start_paused = true)]
async fn t01_t02_t03_t04_t12_every_fault_has_its_kind_and_shows_nothing() {
    use ErrorKind::{OAuth, Redirect, Status, Timeout, TooLarge, Transport};
    let json = "application/json";
    let malformed = ErrorKind::Malformed("");
    // (fault, kind, transient, seconds of Retry-After)
    let cases: Vec<(Fault, ErrorKind, bool, Option<u64>)> = vec![
        (Fault::Hang, Timeout, true, None),
        (Fault::Delay(Duration::from_secs(6)), Timeout, true, None),
        (Fault::DripForever(Duration::from_millis(100)), Timeout, true, None),
        (Fault::Reset, Transport, true, None),
        (Fault::LoseAnswer, Transport, true, None),
        (Fault::CutBody, Transport, true, None),
        (Fault::EndlessBody, TooLarge, true, None),
        (Fault::Redirect("https://evil.example/token".into()), Redirect, false, None),
        (Fault::Status(500), Status(500), true, None),
        (Fault::Status(404), Status(404), false, None),
        (retry_after(503, "7"), Status(503), true, Some(7)),
        (retry_after(429, "315360000"), Status(429), true, Some(300)),
        (retry_after(503, "soon"), Status(503), true, None),
        (Fault::oauth_error("invalid_client"), OAuth(OAuthCode::InvalidClient), false, None),
        (Fault::oauth_error("invalid_grant"), OAuth(OAuthCode::InvalidGrant), false, None),
        (Fault::oauth_error("CANARY"), OAuth(OAuthCode::Other), false, None),
        (body(503, json, br#"{"error":"invalid_client"}"#), Status(503), true, None),
        (body(200, json, br#"{"error":"invalid_client"}"#), malformed, true, None),
        (body(200, "text/html", b"<h1>CANARY</h1>"), malformed, true, None),
        (body(200, json, b""), malformed, true, None),
        (body(200, json, b"{\"access_token\":\"CANARY\""), malformed, true, None),
        (Fault::Garbage("\u{feff}{}".into()), malformed, true, None),
    ];
    for (fault, kind, transient, delay) in cases {
        let issuer = issuer();
        issuer.fault(Of::Token, fault.clone()).times(1);
        let error = exchange(&issuer, CANARY).await.unwrap_err();
        match kind {
            ErrorKind::Malformed(_) => {
                assert!(matches!(error.kind(), ErrorKind::Malformed(_)), "{fault:?}: {error}");
            }
            kind => assert_eq!(error.kind(), kind, "{fault:?}"),
        }
        assert_eq!(error.is_transient(), transient, "{fault:?}");
        assert_eq!(error.retry_after(), delay.map(Duration::from_secs), "{fault:?}");
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{fault:?}: {error:?}");
        assert_eq!(issuer.calls(Of::Token), 1, "{fault:?}: the edge itself tries once");
        exchange(&issuer, CANARY).await.unwrap_or_else(|e| panic!("{fault:?}: not healed: {e}"));
    }
}

#[tokio::test]
async fn t01_nobody_there_and_t03_a_wrong_secret() {
    let issuer = issuer();
    issuer.go_dark();
    assert_eq!(exchange(&issuer, CANARY).await.unwrap_err().kind(), ErrorKind::Transport);
    issuer.light_up().unwrap();
    let error = exchange(&issuer, "wrong").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OAuth(OAuthCode::InvalidClient));
    exchange(&issuer, CANARY).await.unwrap();
}
