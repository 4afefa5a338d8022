//! What is told to the logs, and what never is.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tower_oauth_server::Rejection;
use tower_oauth_test::{Endpoint, Fault, TokenSpec};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::fixture::{House, introspection, judge, knock};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }

    /// All that happens on this thread, at every level.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let all = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(self.clone());
        tracing::subscriber::set_default(all.finish())
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

#[tokio::test(flavor = "current_thread")]
async fn a_span_stands_round_a_question_and_round_nothing_else() {
    let (log, house) = (Log::default(), House::new());
    let _listening = log.listen();
    let token = house.token();
    let spans = |log: &Log| {
        let log = log.take();
        let of_ours =
            |line: &&str| line.contains("introspection:") || line.contains("introspection{");
        log.lines().filter(of_ours).filter(|line| line.contains(" new")).count()
    };
    let asking: Vec<_> = (0..5)
        .map(|_| {
            let (tokens, token) = (house.tokens.clone(), token.clone());
            tokio::spawn(async move { judge(&tokens, &token).await.is_ok() })
        })
        .collect();
    for asking in asking {
        assert!(asking.await.unwrap());
    }
    assert_eq!((spans(&log), house.calls()), (1, 1), "five waited for it");
    assert!(house.accepts(&token).await);
    assert_eq!(spans(&log), 0, "nobody was asked");
}

#[tokio::test(flavor = "current_thread")]
async fn l03_nothing_of_an_answer_gets_into_an_error_or_a_log_line() {
    #[derive(serde::Deserialize)]
    struct Numbers {
        #[serde(rename = "sub")]
        _sub: u64,
    }
    let (log, house) = (Log::default(), House::new());
    let _listening = log.listen();
    let numbers = introspection(&house.issuer, &house.clock).claims::<Numbers>().build().unwrap();
    let body = |content_type: &str, body: &'static str| Fault::Body {
        status: 200,
        content_type: content_type.into(),
        body: body.into(),
    };
    let mut shown = String::new();
    for fault in [
        body("text/html", "<html>CANARY\u{1b}[31m</html>"),
        body("application/json", "<html>CANARY"),
        body("application/json", r#"{"active":"CANARY"}"#),
        body("application/json", r#"{"active":true,"exp":"CANARY"}"#),
        body("application/json", r#"{"active":true,"CANARY":1,"CANARY":2}"#),
        body("application/token-introspection+jwt", "CANARY.CANARY.CANARY"),
        Fault::Redirect("https://CANARY.example/CANARY".into()),
        Fault::oauth_error("CANARY"),
    ] {
        house.issuer.fault(Endpoint::Introspection, fault);
        let rejection = knock(&house.tokens, "CANARY-token").await.unwrap_err();
        assert!(matches!(rejection, Rejection::Unavailable { .. }));
        shown.push_str(&format!("{rejection:?} {rejection}"));
        house.issuer.heal(Endpoint::Introspection);
        // A server that is well again keeps the gate open.
        assert!(house.accepts(&house.token()).await);
    }
    let unfit = house.issuer.mint(TokenSpec::new().subject("CANARY").claim("cnf", json!(null)));
    let rejection = judge(&numbers, &unfit).await.map(drop).unwrap_err();
    shown.push_str(&format!("{rejection:?} {rejection}"));
    shown.push_str(&log.take());
    assert!(shown.contains("introspection failed"), "{shown}");
    assert!(!shown.contains("CANARY"), "{shown}");
}
