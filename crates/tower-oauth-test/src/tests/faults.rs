use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::Fault;

const LONG: Duration = Duration::from_secs(3600);

/// How long something took, on tokio's clock.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    // The paused clock is what is tested here.
    #[allow(clippy::disallowed_methods)]
    let begin = Instant::now();
    let done = work.await;
    (done, begin.elapsed())
}

#[tokio::test]
async fn each_fault_answers_as_it_says() {
    let body = |status, content_type: &str, body: &'static str| Fault::Body {
        status,
        content_type: content_type.into(),
        body: body.into(),
    };
    let retry =
        |status, text: &str| Fault::StatusWithRetryAfter { status, retry_after: text.into() };
    let json = Some("application/json");
    let cases = [
        (Fault::Status(503), 503, None, ""),
        (Fault::Status(42), 500, None, ""),
        (retry(429, "7"), 429, None, ""),
        (Fault::Garbage("<html>".into()), 200, json, "<html>"),
        (body(418, "text/plain", "tea"), 418, Some("text/plain"), "tea"),
        (Fault::oauth_error("invalid_client"), 401, json, r#"{"error":"invalid_client"}"#),
        (Fault::oauth_error("invalid_scope"), 400, json, r#"{"error":"invalid_scope"}"#),
        (Fault::Redirect("https://evil.test/".into()), 307, None, ""),
    ];
    for (fault, status, content_type, content) in cases {
        for endpoint in Endpoint::ALL {
            let issuer = issuer();
            issuer.fault(endpoint, fault.clone());
            for _ in 0..3 {
                let answer = ask(&issuer, post(&issuer, endpoint, "")).await;
                assert_eq!(answer.status, status, "{fault:?}");
                assert_eq!(answer.header("content-type"), content_type, "{fault:?}");
                assert_eq!(answer.body, content, "{fault:?}");
                let retry_after =
                    matches!(fault, Fault::StatusWithRetryAfter { .. }).then_some("7");
                assert_eq!(answer.header("retry-after"), retry_after);
                let is_redirect = matches!(fault, Fault::Redirect(_));
                assert_eq!(answer.header("location"), is_redirect.then_some("https://evil.test/"));
            }
            assert_eq!((issuer.calls(endpoint), issuer.tokens_issued()), (3, 0));
        }
    }
}

#[tokio::test]
async fn faults_end_by_count_or_by_healing() {
    let issuer = issuer();
    let status = async || ask(&issuer, token_request(&issuer)).await.status.as_u16();
    issuer.fault(Endpoint::Token, Fault::Status(500)).times(2);
    issuer.fault(Endpoint::Token, Fault::Status(503)).times(1);
    assert_eq!(
        [status().await, status().await, status().await, status().await],
        [500, 500, 503, 200]
    );
    issuer.fault(Endpoint::Token, Fault::Status(500));
    issuer.fault(Endpoint::Jwks, Fault::Status(500));
    assert_eq!([status().await, status().await], [500, 500]);
    issuer.heal(Endpoint::Token);
    assert_eq!(status().await, 200);
    assert_eq!(ask(&issuer, get(&issuer, Endpoint::Jwks)).await.status, 500);
    issuer.heal_all();
    assert_eq!(ask(&issuer, get(&issuer, Endpoint::Jwks)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_delay_passes_on_tokios_clock() {
    let issuer = issuer();
    issuer.fault(Endpoint::Token, Fault::Delay(LONG)).times(1);
    let (answer, took) = timed(ask(&issuer, token_request(&issuer))).await;
    assert_eq!((answer.status, took), (StatusCode::OK, LONG));
    assert_eq!(timed(ask(&issuer, token_request(&issuer))).await.1, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_is_never_answered_and_counts_as_under_way() {
    let issuer = issuer();
    issuer.fault(Endpoint::Token, Fault::Hang);
    let call = || tokio::spawn(timeout(LONG, issuer.service().oneshot(token_request(&issuer))));
    let calls = [call(), call(), call()];
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    assert_eq!((issuer.calls(Endpoint::Token), issuer.peak_in_flight(Endpoint::Token)), (3, 3));
    issuer.heal_all();
    issuer.reset_calls();
    obtain(&issuer).await;
    assert_eq!((issuer.calls(Endpoint::Token), issuer.peak_in_flight(Endpoint::Token)), (1, 1));
}

#[tokio::test]
async fn a_reset_does_nothing_and_a_lost_answer_has_done_it() {
    for (fault, issued) in [(Fault::Reset, 0), (Fault::LoseAnswer, 1)] {
        let issuer = issuer();
        issuer.fault(Endpoint::Token, fault);
        let error = send(&issuer, token_request(&issuer)).await.unwrap_err();
        assert_eq!((error.kind(), issuer.tokens_issued()), (ErrorKind::ConnectionReset, issued));
    }
}

#[tokio::test]
async fn a_cut_body_breaks_in_the_middle() {
    let issuer = issuer();
    let whole = ask(&issuer, get(&issuer, Endpoint::Jwks)).await.body;
    issuer.fault(Endpoint::Jwks, Fault::CutBody);
    let mut body = send(&issuer, get(&issuer, Endpoint::Jwks)).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, whole[..whole.len() / 2]);
    assert_eq!(body.frame().await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_endless_body_can_be_stopped_by_a_deadline() {
    let issuer = issuer();
    issuer.fault(Endpoint::Jwks, Fault::EndlessBody);
    let mut body = send(&issuer, get(&issuer, Endpoint::Jwks)).await.unwrap().into_body();
    let mut read = 0;
    while read < 1024 * 1024 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    assert!(timeout(Duration::from_millis(5), body.collect()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drip_is_one_byte_an_interval() {
    let issuer = issuer();
    issuer.fault(Endpoint::Jwks, Fault::DripForever(LONG));
    let mut body = send(&issuer, get(&issuer, Endpoint::Jwks)).await.unwrap().into_body();
    for _ in 0..3 {
        let (frame, took) = timed(body.frame()).await;
        assert_eq!((frame.unwrap().unwrap().into_data().unwrap().len(), took), (1, LONG));
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_dark_every_call_is_refused_and_none_arrives() {
    let issuer = issuer();
    issuer.fault(Endpoint::Token, Fault::Delay(LONG)).times(1);
    let early = tokio::spawn(issuer.service().oneshot(token_request(&issuer)));
    tokio::task::yield_now().await;
    issuer.go_dark();
    let error = send(&issuer, get(&issuer, Endpoint::Jwks)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(issuer.calls(Endpoint::Jwks), 0);
    // What was under way is lost, and nothing has come of it.
    assert_eq!(early.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!((issuer.calls(Endpoint::Token), issuer.tokens_issued()), (1, 0));
    issuer.light_up().unwrap();
    assert_eq!(ask(&issuer, get(&issuer, Endpoint::Jwks)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_last_request_is_kept_for_the_test() {
    let issuer = issuer();
    let form = "grant_type=client_credentials&resource=a&resource=b";
    ask(&issuer, post(&issuer, Endpoint::Token, form)).await;
    let last = issuer.last_request(Endpoint::Token).unwrap();
    assert_eq!((last.method().as_str(), last.uri().path()), ("POST", "/token"));
    assert_eq!(last.headers()["authorization"], basic("orders", "s3cret"));
    assert_eq!(last.form("grant_type").as_deref(), Some("client_credentials"));
    assert_eq!(
        (last.form_all("resource"), last.form("scope")),
        (vec!["a".into(), "b".into()], None)
    );
    assert_eq!(last.body().as_ref(), form.as_bytes());
    assert!(issuer.last_request(Endpoint::Jwks).is_none());
    issuer.reset_calls();
    assert!(issuer.last_request(Endpoint::Token).is_none());
}

#[tokio::test]
async fn a_request_beyond_the_cap_is_refused() {
    let issuer = issuer();
    let request = post(&issuer, Endpoint::Token, &"a".repeat(64 * 1024 + 1));
    assert_eq!(ask(&issuer, request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_request_that_breaks_off_never_arrived() {
    let issuer = issuer();
    let body = ScriptedBody::whole("grant_type=client_credentials").cut();
    let request = token_request(&issuer).map(|_| body);
    assert!(issuer.service().oneshot(request).await.is_err());
    assert_eq!(issuer.calls(Endpoint::Token), 0);
}

#[tokio::test]
async fn a_call_without_readiness_fails_also_on_a_clone() {
    use tower_service::Service;
    let issuer = issuer();
    let mut service = issuer.service();
    assert!(service.call(get(&issuer, Endpoint::Jwks)).await.is_err());
    let mut resource = issuer.resource();
    assert!(resource.call(get(&issuer, Endpoint::Jwks)).await.is_err());

    ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
    assert!(service.clone().call(get(&issuer, Endpoint::Jwks)).await.is_err());
    assert!(service.call(get(&issuer, Endpoint::Jwks)).await.is_ok());
    assert!(service.call(get(&issuer, Endpoint::Jwks)).await.is_err());
    assert_eq!(issuer.calls(Endpoint::Jwks), 1);
}
