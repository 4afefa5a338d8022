//! Sessions that end and begin while exchanges are in the air, and several caches of one session.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_oauth_client::{
    BuildError, ErrorKind, HttpClient, MemoryStore, Need, Scopes, Secret, SecretSource,
    SubjectToken, TokenCache, TokenCacheBuilder, TokenCaches, TokenKey, TokenSource, TokenStatus,
    TokenTypeUri,
};
use tower_oauth_core::codec::{Grant, TokenExchange};

use crate::grants::{Say, Server, fetch, later, named};
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
async fn t11_who_asks_after_a_log_in_never_gets_a_token_of_the_session_before() {
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
async fn a_log_out_of_one_key_ends_every_cache_of_the_session() {
    let server = Server::says([Say::Token(Some("r1")), Say::Token(None), Say::Token(None)]);
    let keyed = by_scope(named(&server).password("alice", "pw")).with_capacity(2);
    let (read, write) = (keyed.get(&"read"), keyed.get(&"write"));
    // Held by a caller and not in the table any more.
    let dropped = keyed.get(&"third");
    for tokens in [&read, &write, &dropped] {
        fetch(tokens).await.unwrap();
        assert!(tokens.peek().is_some());
    }
    read.log_out().await.unwrap();
    for tokens in [&read, &write, &dropped, &keyed.get(&"new")] {
        assert!(tokens.peek().is_none());
        assert_eq!(tokens.health().status, TokenStatus::Idle);
        assert_eq!(fetch(tokens).await, Err(ErrorKind::LoggedOut));
    }
    server.sent();
    write.log_in("s1").await.unwrap();
    for tokens in [&read, &write, &dropped, &keyed.get(&"new")] {
        assert_eq!(fetch(tokens).await, Ok(()), "no back-off is left from before");
        assert!(tokens.peek().is_some());
    }
    assert_eq!(server.sent(), ["s1", "s1", "s1", "s1"]);
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

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_itself_has_no_session_to_log_in_to() {
    let server = Server::default();
    let tokens = named(&server).build().unwrap();
    let error = tokens.log_in("r1").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error}");
    // It waits for a log-in where it is told to.
    let tokens = named(&server).refresh_token_store(MemoryStore::new()).build().unwrap();
    assert_eq!(fetch(&tokens).await, Err(ErrorKind::Reauthenticate));
    tokens.log_in("r1").await.unwrap();
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["r1"]);
}

/// A token for each caller on whose behalf it is asked for.
fn on_behalf(builder: TokenCacheBuilder) -> TokenCaches<TokenKey> {
    let keyed = builder.build_keyed(|key: &TokenKey, mut request| {
        let none = || BuildError::new("key", "", "names no subject");
        let subject = key.part("subject_token").ok_or_else(none)?;
        let exchange = TokenExchange::new(subject, TokenTypeUri::ACCESS_TOKEN);
        request.grant = Grant::TokenExchange(Box::new(exchange));
        Ok(request)
    });
    keyed.unwrap()
}

fn behalf_of(subject: &str) -> TokenKey {
    TokenKey::new().with_secret("subject_token", &Secret::new(subject))
}

#[tokio::test(start_paused = true)]
async fn a_key_may_bring_a_grant_of_its_own() {
    // Refresh tokens of two subjects, which nobody may mix up: they are not kept.
    let server = Server::says([Say::Token(Some("r1")), Say::Token(Some("r2"))]);
    let keyed = on_behalf(named(&server));
    for subject in ["alice", "bob", "alice", "bob"] {
        fetch(&keyed.get(&behalf_of(subject))).await.unwrap();
    }
    assert_eq!(server.sent(), ["alice", "bob"]);
    later().await;
    server.then([Say::Token(None), Say::OAuth("invalid_grant")]);
    assert_eq!(fetch(&keyed.get(&behalf_of("bob"))).await, Ok(()));
    // Her token is over there: she has to come again, and nobody else stands in for her.
    let alice = keyed.get(&behalf_of("alice"));
    assert_eq!(fetch(&alice).await, Err(ErrorKind::Reauthenticate));
    assert_eq!(server.sent(), ["bob", "alice"]);
    let error = keyed.try_get(&TokenKey::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error}");

    // Beside grants of the builder it would never be asked: the session's subject would be another one.
    let server = Server::default();
    for builder in [
        named(&server).password("alice", "pw"),
        named(&server).refresh_token("r1"),
        named(&server).token_exchange(SubjectToken::access_token("somebody")),
    ] {
        let error = on_behalf(builder).try_get(&behalf_of("alice")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error}");
    }
    assert!(server.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn subjects_that_share_a_store_have_names_in_it() {
    let server = Server::says([Say::Token(Some("of-alice")), Say::Token(Some("of-bob"))]);
    let store = MemoryStore::new();
    let of = |subject: &'static str| {
        let exchange = SubjectToken::access_token(subject);
        named(&server).token_exchange(exchange).refresh_token_store(store.clone())
    };
    // Without one the second would find the refresh token of the first, and be that subject.
    let error = of("alice").build().unwrap_err().to_string();
    assert!(error.starts_with("session ``: is not set"), "{error}");
    for subject in ["alice", "bob"] {
        fetch(&of(subject).session(subject).build().unwrap()).await.unwrap();
    }
    assert_eq!(server.sent(), ["alice", "bob"]);
}
