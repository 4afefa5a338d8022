//! Sessions that end and begin while exchanges are in the air, and several caches of one session.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_oauth_client::{
    ErrorKind, HttpClient, MemoryStore, Need, Scopes, Secret, SecretSource, TokenCache,
    TokenCacheBuilder, TokenCaches, TokenSource, TokenStatus,
};

use crate::grants::{Say, Server, fetch, named};
use crate::rig::{ms, sleep_ms};

/// The client of a server that takes so long for each answer.
fn slow(server: &Server, takes: u64) -> TokenCacheBuilder {
    let slow = server.clone();
    let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
        let inner = slow.http();
        async move {
            let answer = inner.oneshot(request).await;
            sleep_ms(takes).await;
            answer
        }
    }));
    named(server).http_client(http)
}

/// A cache for each scope, over what this builder describes.
fn by_scope(builder: TokenCacheBuilder) -> TokenCaches<&'static str> {
    let keyed = builder.build_keyed(|scope, mut request| {
        request.scopes = Scopes::new([*scope])?;
        Ok(request)
    });
    keyed.unwrap()
}

async fn text(tokens: &TokenCache) -> String {
    tokens.fetch(Need::Any).await.unwrap().header().to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_log_in_never_gets_a_token_of_the_session_before() {
    // The exchange of the first session, at each moment around its landing.
    for before in 0..8 {
        let server = Server::default();
        let tokens = slow(&server, 100).refresh_token("r1").build().unwrap();
        let waiting = tokio::spawn(tokens.fetch(Need::Any));
        sleep_ms(99).await;
        let after = {
            let tokens = tokens.clone();
            tokio::spawn(async move {
                for _ in 0..before {
                    tokio::task::yield_now().await;
                }
                tokens.log_in("s1").await.unwrap();
                text(&tokens).await
            })
        };
        drop(waiting.await.unwrap());
        assert_eq!(after.await.unwrap(), "Bearer t2", "{before}");
        assert_eq!(tokens.peek().unwrap().header(), "Bearer t2");
        assert_eq!(server.sent(), ["r1", "s1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_serves_only_who_asks_for_the_same() {
    let server = Server::says([Say::Token(None)]);
    // The endpoint takes less than its deadline, and what comes before it does the rest.
    let password = SecretSource::call(|| async {
        sleep_ms(500).await;
        Ok(Secret::new("pw"))
    });
    let builder = slow(&server, 900).password("alice", password).deadline(ms(1000));
    let keyed = by_scope(builder);
    let (read, write) = (keyed.get(&"read"), keyed.get(&"write"));
    let reading = tokio::spawn(read.fetch(Need::Any));
    sleep_ms(600).await;
    // It waits for its turn when the answer comes that `read` waits for no longer.
    let writing = tokio::spawn(write.fetch(Need::Any));
    let written = writing.await.unwrap().map(|token| token.header().clone());
    assert_ne!(written.ok().unwrap_or(HeaderValue::from_static("")), "Bearer t1", "another scope");
    drop(reading.await);
    sleep_ms(10_000).await;
    let (read, write) = (keyed.get(&"read"), keyed.get(&"write"));
    while fetch(&read).await.is_err() || fetch(&write).await.is_err() {
        sleep_ms(1000).await;
    }
    assert_ne!(text(&read).await, text(&write).await);
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_bring_back_what_was_logged_out() {
    let server = Server::says([Say::Token(Some("r1"))]);
    let tokens = named(&server).password("alice", "pw").build().unwrap();
    fetch(&tokens).await.unwrap();
    tokens.log_out().await.unwrap();
    server.sent();
    for _ in 0..3 {
        tokens.flush();
        assert_eq!(fetch(&tokens).await, Err(ErrorKind::LoggedOut));
        assert!(tokens.peek().is_none());
    }
    assert!(server.sent().is_empty());
}
