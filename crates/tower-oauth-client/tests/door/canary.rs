//! L01, L02: neither the token nor the secret in any text, whatever happens.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth_client::{
    ConfirmWithIntrospection, Error, ErrorKind, HttpClient, InjectToken, InjectTokenLayer, Need,
    RetryInvalidToken, RetryInvalidTokenLayer, Secret, Token, TokenCache, TokenSource,
};
use tower_oauth_core::codec::TokenResponse;
use tower_oauth_test::{Endpoint, Fault, Refusal};

use crate::rig::{Mint, Rig, SECRET, Strict, request, sleep_ms};

/// What was logged, shown or told.
#[derive(Clone, Default)]
struct Texts(Arc<Mutex<String>>);

impl Texts {
    fn show(&self, thing: impl Debug) {
        self.0.lock().unwrap().push_str(&format!("{thing:?} {thing:#?}\n"));
    }

    /// Every form in which a secret may have got into a text.
    fn must_not_have(&self, secrets: &[&str]) {
        let texts = self.0.lock().unwrap();
        for secret in secrets {
            assert!(!texts.contains(secret), "{secret} in: {texts}");
        }
    }
}

impl io::Write for Texts {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn l01_l02_no_token_and_no_secret_in_any_log_error_or_debug() {
    let texts = Texts::default();
    let logs = texts.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || logs.clone())
        .finish();
    // For all threads: where the tests run in one process, their logs are searched as well.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::callsite::rebuild_interest_cache();

    let rig = Rig::new();
    texts.show(rig.builder());
    let tokens = rig.tokens();
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(rig.issuer.resource());
    let mut seen = Vec::new();
    for fault in [
        None,
        Some(Fault::Status(503)),
        Some(Fault::oauth_error("invalid_client")),
        Some(Fault::Garbage(format!(r#"{{"access_token":"{SECRET}""#).into())),
        Some(Fault::oauth_error(SECRET)),
        Some(Fault::Reset),
        Some(Fault::Redirect(format!("https://evil.example/{SECRET}"))),
        None,
    ] {
        rig.issuer.restart();
        match fault {
            Some(fault) => drop(rig.issuer.fault(Endpoint::Token, fault)),
            None => rig.issuer.heal(Endpoint::Token),
        }
        for _ in 0..3 {
            match service.clone().oneshot(request()).await {
                Ok(answer) => texts.show(answer.headers()),
                Err(error) => texts.show(error),
            }
            texts.show(tokens.fetch(Need::Any).await);
            texts.show(&tokens);
            seen.extend(tokens.peek());
            sleep_ms(1000).await;
        }
        sleep_ms(600_000).await;
    }
    assert!(texts.0.lock().unwrap().contains("access token issued"), "the logs were caught");
    assert!(texts.0.lock().unwrap().contains("no access token"), "the logs were caught");
    assert!(seen.len() > 3);
    let mut secrets = vec![SECRET, "Q0FOQVJZ", "CANARY"];
    for token in &seen {
        texts.show((token, token.header()));
        secrets.push(token.header().to_str().unwrap().trim_start_matches("Bearer "));
    }
    texts.must_not_have(&secrets);
}

#[tokio::test(start_paused = true)]
async fn l01_a_question_about_a_token_shows_it_nowhere() {
    let texts = Texts::default();
    let logs = texts.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || logs.clone())
        .finish();
    let _caught = tracing::subscriber::set_default(subscriber);
    let rig = Rig::new();
    let http = HttpClient::new(rig.issuer.service());
    let uri = rig.issuer.url(Endpoint::Introspection);
    let confirm = ConfirmWithIntrospection::endpoint(&uri, "orders", SECRET, http).unwrap();
    let resource = rig.issuer.resource().refuse_with(Refusal::Forbidden);
    let layer =
        RetryInvalidTokenLayer::new(rig.tokens()).confirm_with_introspection(confirm.clone());
    let service = layer.layer(resource);
    let mut secrets = vec![SECRET.to_owned(), "CANARY".to_owned()];
    for fault in [None, Some(Fault::Status(500)), Some(Fault::Garbage(SECRET.into())), None] {
        secrets.extend(rig.tokens().fetch(Need::Any).await.ok().map(|token| text(&token)));
        rig.issuer.restart();
        match fault {
            Some(fault) => drop(rig.issuer.fault(Endpoint::Introspection, fault)),
            None => rig.issuer.heal(Endpoint::Introspection),
        }
        for _ in 0..3 {
            let answer = service.clone().oneshot(request()).await.unwrap();
            texts.show((answer.headers(), answer.extensions(), &confirm, &layer));
            sleep_ms(60_000).await;
        }
    }
    assert!(texts.0.lock().unwrap().contains("token could not be confirmed"), "logs were caught");
    texts.must_not_have(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Whatever went wrong: all that an error says, and all that stands behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" / {error} {error:?}"));
        cause = error.source();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn l03_l04_nothing_of_an_answer_or_of_a_panic_gets_into_an_error() {
    let json = |status, body: &str| Fault::Body {
        status,
        content_type: "application/json".into(),
        body: body.to_owned().into(),
    };
    let html = |status| Fault::Body {
        status,
        content_type: "text/html".into(),
        body: "<html>CANARY\u{1b}[31m</html>".into(),
    };
    for fault in [
        html(200),
        html(400),
        html(502),
        json(200, "CANARY"),
        json(200, r#"{"access_token":["CANARY"]}"#),
        json(200, r#"{"access_token":"CANARY\u001b[31m","token_type":"Bearer"}"#),
        json(200, r#"{"access_token":"CANARY","token_type":"CANARY"}"#),
        json(200, r#"{"access_token":"CANARY","access_token":"CANARY","token_type":"Bearer"}"#),
        json(200, r#"{"access_token":"CANARY","token_type":"Bearer","scope":"CANARY"}"#),
        json(400, r#"{"error":"invalid_grant","error_description":"CANARY\u001b[31m\n"}"#),
        json(400, r#"{"error":"CANARY","error_uri":"https://CANARY.example/"}"#),
        Fault::Redirect("https://CANARY.example/CANARY".into()),
    ] {
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Token, fault.clone());
        let tokens = rig.builder().scope("needed").build().unwrap();
        let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(rig.issuer.resource());
        let error = service.oneshot(request()).await.unwrap_err();
        let told = chain(&error) + &chain(&tokens.fetch(Need::Any).await.unwrap_err());
        assert!(!told.contains("CANARY"), "{fault:?}: {told}");
        assert!(!told.chars().any(char::is_control), "{fault:?}: {told:?}");
    }

    let broken = service_fn(|_| async move {
        if true {
            panic!("CANARY");
        }
        Err::<TokenResponse, Error>(ErrorKind::Transport.into())
    });
    let tokens = TokenCache::builder().token_service(broken).build().unwrap();
    let error = tokens.fetch(Need::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(!chain(&error).contains("CANARY"));
}

fn text(token: &Token) -> String {
    token.header().to_str().unwrap().trim_start_matches("Bearer ").to_owned()
}

#[tokio::test(start_paused = true)]
async fn l01_debug_of_every_public_type_is_silent() {
    let texts = Texts::default();
    let token = Token::bearer("CANARY").unwrap();
    let mint = Mint::new();
    mint.then_token("CANARY");
    let tokens = mint.cache();
    texts.show(Secret::new("CANARY"));
    texts.show((&token, token.header(), token.id()));
    let life = None;
    texts.show(TokenResponse::bearer("CANARY", life));
    texts.show(InjectTokenLayer::new(token.clone()));
    texts.show(RetryInvalidTokenLayer::new(token.clone()));
    texts.show(RetryInvalidTokenLayer::new(token.clone()).without_replay());

    let mut inject = InjectToken::new("inner", token.clone());
    texts.show((&mut inject, RetryInvalidToken::new("inner", token.clone())));
    // With a request in it: its body is the caller's secret.
    let post = || Request::new(Full::new(Bytes::from_static(b"CANARY")));
    let strict = Strict::that_likes(|_| false);
    let mut inject = InjectToken::new(strict.clone(), tokens.clone());
    let mut retry = RetryInvalidToken::new(strict, tokens.clone());
    let ready: &mut InjectToken<Strict> =
        ServiceExt::<Request<Full<Bytes>>>::ready(&mut inject).await.unwrap();
    let waiting = ready.call(post());
    texts.show(&waiting);
    waiting.await.unwrap();
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut retry).await.unwrap();
    let sent = ready.call(post());
    texts.show(&sent);
    sent.await.unwrap();
    assert!(tokens.peek().is_some());
    texts.show(&tokens);
    texts.must_not_have(&["CANARY"]);
    assert!(texts.0.lock().unwrap().contains("TokenCache"), "something was shown");
}
