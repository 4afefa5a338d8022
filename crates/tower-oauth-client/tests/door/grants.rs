//! Which grant is tried when, and what becomes of a refresh token.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::service_fn;
use tower_oauth_client::{
    BoxFuture, Client, Error, ErrorKind, HttpClient, LostRefresh, MemoryStore, Need, OAuthCode,
    RefreshTokenStore, Secret, SecretSource, SessionId, StoredRefreshToken, SubjectToken,
    TokenCache, TokenCacheBuilder, TokenSource, TokenTypeUri,
};

use crate::rig::{TokioClock, ms, sleep_ms};

type Form = HashMap<String, String>;

/// How the authorization server answers once.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// An access token, with this refresh token.
    Token(Option<&'static str>),
    OAuth(&'static str),
    Status(u16),
    Body(&'static str),
    Refused,
    Broken,
    Hang,
    /// `invalid_grant`, after two seconds.
    RefusedLate,
}

/// An authorization server that says what it is told, then gives tokens without refresh tokens.
#[derive(Clone, Default)]
pub(crate) struct Server {
    script: Arc<Mutex<VecDeque<Say>>>,
    forms: Arc<Mutex<Vec<Form>>>,
}

impl Server {
    pub(crate) fn says(script: impl IntoIterator<Item = Say>) -> Self {
        let server = Self::default();
        server.then(script);
        server
    }

    pub(crate) fn then(&self, script: impl IntoIterator<Item = Say>) {
        self.script.lock().unwrap().extend(script);
    }

    pub(crate) fn http(&self) -> HttpClient {
        let server = self.clone();
        HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut form: Form = form_urlencoded::parse(&body).into_owned().collect();
                form.insert("path".into(), path);
                let number = {
                    let mut forms = server.forms.lock().unwrap();
                    forms.push(form);
                    forms.len()
                };
                let say = server.script.lock().unwrap().pop_front();
                answer(say.unwrap_or(Say::Token(None)), number).await
            }
        }))
    }

    /// What was sent, one word for each request.
    pub(crate) fn sent(&self) -> Vec<String> {
        let word = |form: &Form| {
            let of = |name: &str| form.get(name).cloned().unwrap_or_default();
            match form.get("grant_type").map(String::as_str) {
                Some("refresh_token") => of("refresh_token"),
                Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => of("assertion"),
                Some("urn:ietf:params:oauth:grant-type:token-exchange") => of("subject_token"),
                Some("client_credentials") => "client".into(),
                Some(grant) => grant.to_owned(),
                None => format!("revoke {}", of("token")),
            }
        };
        self.forms.lock().unwrap().drain(..).map(|form| word(&form)).collect()
    }
}

async fn answer(say: Say, number: usize) -> io::Result<Response<Full<Bytes>>> {
    let json = |status: u16, body: String| {
        let builder = Response::builder().status(status).header("content-type", "application/json");
        Ok(builder.body(Full::new(Bytes::from(body))).unwrap())
    };
    match say {
        Say::Token(refresh) => {
            let refresh = refresh.map(|token| format!(r#","refresh_token":"{token}""#));
            let issued = "urn:ietf:params:oauth:token-type:access_token";
            let body = format!(
                r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":100,"issued_token_type":"{issued}"{}}}"#,
                refresh.unwrap_or_default()
            );
            json(200, body)
        }
        Say::OAuth(code) => json(
            if code == "invalid_client" { 401 } else { 400 },
            format!(r#"{{"error":"{code}"}}"#),
        ),
        Say::Status(status) => json(status, String::new()),
        Say::Body(body) => json(200, body.to_owned()),
        Say::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
        Say::Broken => Err(io::ErrorKind::ConnectionReset.into()),
        Say::Hang => std::future::pending().await,
        Say::RefusedLate => {
            sleep_ms(2000).await;
            json(400, r#"{"error":"invalid_grant"}"#.into())
        }
    }
}

pub(crate) fn builder(server: &Server) -> TokenCacheBuilder {
    TokenCache::builder()
        .token_endpoint("https://idp.example/token")
        .revocation_endpoint("https://idp.example/revoke")
        .http_client(server.http())
        .clock(TokioClock::new())
}

pub(crate) fn named(server: &Server) -> TokenCacheBuilder {
    builder(server).client(Client::basic("app", Secret::new("s3cret")))
}

/// All four.
fn full(server: &Server) -> TokenCacheBuilder {
    builder(server)
        .client_credentials("app", "s3cret")
        .refresh_token("r1")
        .jwt_bearer("assertion")
        .password("alice", "password")
}

pub(crate) async fn fetch(tokens: &TokenCache) -> Result<(), ErrorKind> {
    tokens.fetch(Need::Any).await.map(drop).map_err(|error| error.kind())
}

/// So much later that the token has to be replaced and no back-off is on.
pub(crate) async fn later() {
    sleep_ms(400_000).await;
}

// === the order, and what ends it ===

#[tokio::test(start_paused = true)]
async fn the_chain_goes_on_only_where_what_was_presented_is_refused() {
    use OAuthCode::{InvalidClient, InvalidScope, InvalidTarget, UnauthorizedClient};
    let on = ["invalid_grant", "unsupported_grant_type", "invalid_request", "interaction_required"];
    for code in on {
        let server = Server::says([Say::OAuth(code), Say::OAuth(code), Say::OAuth(code)]);
        assert_eq!(fetch(&full(&server).build().unwrap()).await, Ok(()), "{code}");
        assert_eq!(server.sent(), ["r1", "assertion", "password", "client"], "{code}");
    }
    let stops = [
        ("invalid_client", InvalidClient),
        ("unauthorized_client", UnauthorizedClient),
        ("invalid_scope", InvalidScope),
        ("invalid_target", InvalidTarget),
    ];
    let chain = ["r1", "assertion", "password", "client"];
    for (code, kind) in stops {
        for place in 0..chain.len() {
            let server = Server::default();
            server.then(std::iter::repeat_n(Say::OAuth("invalid_grant"), place));
            server.then([Say::OAuth(code)]);
            let found = fetch(&full(&server).build().unwrap()).await;
            assert_eq!(found, Err(ErrorKind::OAuth(kind)), "{code} at {place}");
            assert_eq!(server.sent(), chain[..=place], "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_is_no_reason_to_try_another_grant() {
    let narrow = r#"{"access_token":"a","token_type":"Bearer","scope":"other"}"#;
    let cases = [
        (Say::Status(500), true),
        (Say::Status(503), true),
        (Say::Status(429), true),
        (Say::Refused, true),
        (Say::Broken, true),
        (Say::Hang, true),
        (Say::Body("<html>"), true),
        (Say::Status(404), false),
        (Say::Body(narrow), false),
    ];
    for (say, is_transient) in cases {
        let server = Server::default();
        server.then(std::iter::repeat_n(say.clone(), 10));
        let tokens = full(&server).scope("needed").build().unwrap();
        let error = tokens.fetch(Need::Any).await.unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{say:?}");
        let sent = server.sent();
        assert!(!sent.is_empty() && sent.iter().all(|it| it == "r1"), "{say:?}: {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_grant_stands_alone_and_the_client_asks_for_itself_only_if_told() {
    let none = ErrorKind::Reauthenticate;
    type Configure = fn(TokenCacheBuilder) -> TokenCacheBuilder;
    let cases: [(Configure, &str, ErrorKind); 5] = [
        (|it| it, "client", ErrorKind::OAuth(OAuthCode::InvalidGrant)),
        (|it| it.refresh_token("r1"), "r1", none),
        (|it| it.jwt_bearer("a.b.c"), "a.b.c", none),
        (|it| it.token_exchange(SubjectToken::access_token("sub")), "sub", none),
        (|it| it.password("alice", "pw"), "password", none),
    ];
    for (configure, word, refused) in cases {
        let server = Server::default();
        let tokens = configure(named(&server)).build().unwrap();
        assert_eq!(fetch(&tokens).await, Ok(()));
        assert_eq!(server.sent(), [word]);
        server.then([Say::OAuth("invalid_grant")]);
        later().await;
        assert_eq!(fetch(&tokens).await, Err(refused), "{word}");
        assert_eq!(server.sent(), [word]);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_refusal_that_a_log_in_would_help_against_asks_for_one() {
    for (code, expected) in [
        ("invalid_grant", ErrorKind::Reauthenticate),
        ("interaction_required", ErrorKind::Reauthenticate),
        ("unsupported_grant_type", ErrorKind::OAuth(OAuthCode::UnsupportedGrantType)),
        ("invalid_request", ErrorKind::OAuth(OAuthCode::InvalidRequest)),
    ] {
        let server = Server::says([Say::OAuth(code)]);
        let tokens = named(&server).password("alice", "pw").build().unwrap();
        assert_eq!(fetch(&tokens).await, Err(expected), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_serves_the_next_one_who_asks() {
    let server = Server::says([Say::Token(Some("r1"))]);
    let slow = server.clone();
    let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
        let inner = slow.http();
        async move {
            sleep_ms(900).await;
            tower::ServiceExt::oneshot(inner, request).await
        }
    }));
    // The endpoint takes less than its deadline, and what comes before it does the rest.
    let password = SecretSource::call(|| async {
        sleep_ms(500).await;
        Ok(Secret::new("pw"))
    });
    let tokens = builder(&server).http_client(http).client(Client::public("app"));
    let tokens = tokens.password("alice", password).deadline(ms(1000)).build().unwrap();
    assert_eq!(fetch(&tokens).await, Ok(()), "by the second try");
    assert_eq!(server.sent(), ["password"], "which had nothing left to do");
}

#[tokio::test(start_paused = true)]
async fn what_is_presented_is_asked_for_anew_each_time() {
    let server = Server::default();
    let count = Arc::new(Mutex::new(0));
    let source = SecretSource::call(move || {
        let mut count = count.lock().unwrap();
        *count += 1;
        std::future::ready(Ok(Secret::new(format!("a{count}"))))
    });
    let tokens = named(&server).jwt_bearer(source).build().unwrap();
    server.then([Say::Status(500), Say::Token(None)]);
    fetch(&tokens).await.unwrap();
    later().await;
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["a1", "a2", "a3"]);
}

// === rotation ===

#[tokio::test(start_paused = true)]
async fn a_refresh_token_from_any_grant_comes_first_from_then_on() {
    let server = Server::says([
        Say::Token(Some("r1")),
        Say::Token(Some("r2")),
        Say::Token(None),
        Say::OAuth("invalid_grant"),
        Say::Token(Some("s1")),
    ]);
    let tokens = named(&server).password("alice", "pw").build().unwrap();
    for expected in [&["password"][..], &["r1"], &["r2"], &["r2", "password"], &["s1"]] {
        fetch(&tokens).await.unwrap();
        assert_eq!(server.sent(), expected);
        later().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t09_a_refresh_token_beside_a_useless_access_token_is_kept() {
    let narrow =
        r#"{"access_token":"a","token_type":"Bearer","scope":"less","refresh_token":"r2"}"#;
    let server = Server::says([Say::Body(narrow)]);
    let tokens = named(&server).refresh_token("r1").scope("more").build().unwrap();
    assert_eq!(fetch(&tokens).await, Err(ErrorKind::NarrowScope));
    later().await;
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn t09_a_lost_answer_is_handled_as_configured() {
    let within = |seconds: u64| LostRefresh::RetryWithin(ms(seconds * 1000));
    // (configured, seconds of silence, whether it is sent again when the server is back)
    let cases = [
        (within(10), 5, true),
        (within(10), 30, false),
        (within(0), 1, false),
        (LostRefresh::FallBack, 1, false),
        (LostRefresh::default(), 5, true),
        (LostRefresh::default(), 30, false),
    ];
    for (lost, seconds, again) in cases {
        for trouble in [Say::Broken, Say::Hang, Say::Status(500), Say::Status(502), Say::Body("")] {
            let server = Server::says([Say::Token(Some("r1")), Say::Token(Some("r2"))]);
            let tokens = named(&server).password("alice", "pw").lost_refresh(lost);
            let tokens = tokens.deadline(ms(1000)).build().unwrap();
            fetch(&tokens).await.unwrap();
            later().await;
            fetch(&tokens).await.unwrap();
            server.sent();
            later().await;
            // Whatever is asked meanwhile is lost, too.
            server.then(std::iter::repeat_n(trouble.clone(), 4));
            let tried = fetch(&tokens).await;
            let sent = server.sent();
            assert_eq!(sent[0], "r2", "{lost:?} {trouble:?}");
            server.script.lock().unwrap().clear();
            if lost == LostRefresh::FallBack {
                assert_eq!(sent.iter().filter(|it| *it == "r2").count(), 1, "{trouble:?}");
            }
            assert!(tried.is_err(), "{lost:?} {trouble:?}");
            sleep_ms(seconds * 1000).await;
            while fetch(&tokens).await.is_err() {
                sleep_ms(100).await;
            }
            let sent = server.sent();
            let expected = if again { "r2" } else { "password" };
            assert_eq!(sent.last().unwrap(), expected, "{lost:?} {trouble:?} {seconds}: {sent:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t09_what_never_reached_the_server_is_not_lost() {
    for trouble in [Say::Refused, Say::Status(503), Say::Status(429)] {
        let server = Server::says([Say::Token(Some("r2"))]);
        let tokens = named(&server).refresh_token("r1").lost_refresh(LostRefresh::FallBack);
        let tokens = tokens.build().unwrap();
        fetch(&tokens).await.unwrap();
        later().await;
        server.then(std::iter::repeat_n(trouble.clone(), 3));
        server.then([Say::Token(Some("r3"))]);
        fetch(&tokens).await.unwrap();
        assert_eq!(server.sent(), ["r1", "r2", "r2", "r2", "r2"], "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_rotate_is_asked_with_the_same_token_at_any_time() {
    let server = Server::says([Say::Token(None)]);
    let tokens = named(&server).refresh_token("r1").lost_refresh(LostRefresh::FallBack);
    let tokens = tokens.build().unwrap();
    fetch(&tokens).await.unwrap();
    for _ in 0..3 {
        later().await;
        server.then([Say::Broken, Say::Broken]);
        fetch(&tokens).await.unwrap();
        assert_eq!(server.sent().pop().as_deref(), Some("r1"));
    }
}

// === the store ===

/// A store that can be out of order, and tells in which order things happened.
#[derive(Clone, Default)]
struct Shaky {
    inner: MemoryStore,
    is_down: Arc<AtomicBool>,
    takes_nothing: Arc<AtomicBool>,
    kept: Arc<Mutex<Vec<String>>>,
}

impl RefreshTokenStore for Shaky {
    fn load(&self, of: &SessionId) -> BoxFuture<Result<Option<StoredRefreshToken>, Error>> {
        if self.is_down.load(SeqCst) {
            return Box::pin(std::future::ready(Err(ErrorKind::Store.into())));
        }
        self.inner.load(of)
    }

    fn swap(
        &self,
        of: &SessionId,
        expected: u64,
        next: Option<StoredRefreshToken>,
    ) -> BoxFuture<Result<bool, Error>> {
        let is_mark = next.as_ref().is_some_and(|next| next.redeeming.is_some());
        if self.is_down.load(SeqCst) || (self.takes_nothing.load(SeqCst) && !is_mark) {
            return Box::pin(std::future::ready(Err(ErrorKind::Store.into())));
        }
        let what = next.as_ref().map_or("nothing".to_owned(), |next| {
            format!("{}{}", next.token.expose(), if is_mark { " sent" } else { "" })
        });
        self.kept.lock().unwrap().push(what);
        self.inner.swap(of, expected, next)
    }
}

#[tokio::test(start_paused = true)]
async fn t09_a_token_is_marked_before_it_is_sent_and_its_successor_stored_before_anybody_is_served()
{
    let server = Server::says([Say::Token(Some("r2"))]);
    let store = Shaky::default();
    let tokens = named(&server).refresh_token("r1").refresh_token_store(store.clone());
    let tokens = tokens.build().unwrap();
    fetch(&tokens).await.unwrap();
    assert_eq!(*store.kept.lock().unwrap(), ["r1 sent", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn t09_a_successor_that_the_store_does_not_take_stays_in_memory() {
    let server = Server::says([Say::Token(Some("r2")), Say::Token(Some("r3"))]);
    let store = Shaky::default();
    let tokens = named(&server).refresh_token("r1").refresh_token_store(store.clone());
    let tokens = tokens.build().unwrap();
    store.takes_nothing.store(true, SeqCst);
    fetch(&tokens).await.unwrap();
    later().await;
    store.takes_nothing.store(false, SeqCst);
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["r1", "r2"]);
    assert_eq!(store.kept.lock().unwrap().last().unwrap(), "r3");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_passing_trouble_and_nothing_is_sent() {
    let server = Server::default();
    let store = Shaky::default();
    let tokens = full(&server).refresh_token_store(store.clone()).build().unwrap();
    store.is_down.store(true, SeqCst);
    let error = tokens.fetch(Need::Any).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Store, true));
    assert!(server.sent().is_empty());
    store.is_down.store(false, SeqCst);
    later().await;
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn t10_one_redemption_for_a_thousand_callers_and_for_all_caches_of_a_store() {
    let server = Server::says([Say::Token(Some("r2")), Say::Token(Some("r3")), Say::Token(None)]);
    let store = MemoryStore::new();
    let caches: Vec<_> = (0..3)
        .map(|_| named(&server).refresh_token("r1").refresh_token_store(store.clone()))
        .map(|builder| builder.build().unwrap())
        .collect();
    let callers: Vec<_> =
        (0..999).map(|index| tokio::spawn(caches[index % 3].fetch(Need::Any))).collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(server.sent(), ["r1", "r2", "r3"], "each one once, none twice");
}

#[tokio::test(start_paused = true)]
async fn t10_a_refused_token_that_another_process_has_renewed_is_read_again_once() {
    let server = Server::says([Say::Token(Some("r2"))]);
    let store = MemoryStore::new();
    let build = || {
        let builder = named(&server).refresh_token("r1").refresh_token_store(store.clone());
        builder.build().unwrap()
    };
    let (ours, theirs) = (build(), build());
    fetch(&ours).await.unwrap();
    later().await;
    // While ours is refused, theirs has logged in again.
    server.then([Say::RefusedLate]);
    let refused = tokio::spawn(ours.fetch(Need::Any));
    sleep_ms(1000).await;
    theirs.log_in("s1").await.unwrap();
    assert!(refused.await.unwrap().is_ok());
    assert_eq!(server.sent(), ["r1", "r2", "s1"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_died_with_the_token_in_hand_is_not_waited_for_for_ever() {
    let store = MemoryStore::new();
    let dead = Server::says([Say::Token(Some("r2")), Say::Hang]);
    let tokens = named(&dead).refresh_token("r1").refresh_token_store(store.clone());
    let tokens = tokens.build().unwrap();
    fetch(&tokens).await.unwrap();
    later().await;
    drop(tokio::time::timeout(ms(100), tokens.fetch(Need::Any)).await);
    // Seen by another process: in hand, then given up, and within the grace.
    let server = Server::default();
    let other = named(&server).refresh_token_store(store.clone()).clock(TokioClock::new());
    let other = other.lost_refresh(LostRefresh::RetryWithin(ms(60_000))).build().unwrap();
    assert!(fetch(&other).await.is_err());
    assert!(server.sent().is_empty(), "it was still in hand");
    sleep_ms(8_000).await;
    while fetch(&other).await.is_err() {
        sleep_ms(500).await;
    }
    assert_eq!(server.sent(), ["r2"]);
}

// === log-out ===

#[tokio::test(start_paused = true)]
async fn log_out_revokes_the_refresh_token_first_and_then_the_access_token() {
    let server = Server::says([Say::Token(Some("r1"))]);
    let store = Shaky::default();
    let tokens = named(&server).password("alice", "pw").refresh_token_store(store.clone());
    let tokens = tokens.build().unwrap();
    let held = tokens.fetch(Need::Any).await.unwrap();
    tokens.log_out().await.unwrap();
    assert_eq!(server.sent(), ["password", "revoke r1", "revoke t1"]);
    assert_eq!(*store.kept.lock().unwrap(), ["r1", "nothing"]);
    assert!(tokens.peek().is_none());
    assert!(tokens.recognise(held.header()).is_none());
    for need in [Need::Any, Need::Unlike(held.id())] {
        let error = tokens.fetch(need).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::LoggedOut, false));
    }
    assert!(server.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_revoked_is_wiped_and_one_that_may_be_is_kept_for_it() {
    let cases = [
        (Say::Status(503), true),
        (Say::Refused, true),
        (Say::Hang, true),
        (Say::OAuth("unsupported_token_type"), false),
        (Say::OAuth("invalid_client"), false),
        (Say::Status(404), false),
    ];
    for (say, again) in cases {
        let server = Server::says([Say::Token(Some("r1")), say.clone(), say.clone()]);
        let tokens = named(&server).password("alice", "pw").build().unwrap();
        fetch(&tokens).await.unwrap();
        let error = tokens.log_out().await.unwrap_err();
        assert_eq!(error.is_transient(), again, "{say:?}");
        assert_eq!(fetch(&tokens).await, Err(ErrorKind::LoggedOut));
        server.sent();
        tokens.log_out().await.unwrap();
        let mut sent = server.sent();
        sent.sort();
        sent.dedup();
        let expected: &[_] = if again { &["revoke r1", "revoke t1"] } else { &[] };
        assert_eq!(sent, expected, "{say:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_exchange_in_the_air_brings_after_log_out_is_revoked_as_well() {
    for grant in ["password", "client"] {
        let server = Server::default();
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let gate = Arc::new(Mutex::new(Some(gate)));
        let answering = server.clone();
        let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
            let (inner, gate) = (answering.http(), Arc::clone(&gate));
            async move {
                let is_token = request.uri().path() == "/token";
                let answer = tower::ServiceExt::oneshot(inner, request).await;
                let held = if is_token { gate.lock().unwrap().take() } else { None };
                if let Some(gate) = held {
                    let _ = gate.await;
                }
                answer
            }
        }));
        let tokens = builder(&server).http_client(http);
        let tokens = match grant {
            "password" => tokens.client(Client::public("app")).password("alice", "pw"),
            _ => tokens.client_credentials("app", "s3cret"),
        };
        server.then([Say::Token(Some("r1"))]);
        let tokens = tokens.build().unwrap();
        let waiting = tokio::spawn(tokens.fetch(Need::Any));
        while server.forms.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let leaving = tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.log_out().await }
        });
        tokio::task::yield_now().await;
        sleep_ms(10).await;
        go.send(()).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::LoggedOut, "{grant}");
        leaving.await.unwrap().unwrap();
        sleep_ms(10).await;
        assert_eq!(server.sent(), [grant, "revoke r1", "revoke t1"]);
        assert_eq!(fetch(&tokens).await, Err(ErrorKind::LoggedOut));
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_in_begins_anew_and_forgets_what_was() {
    let server = Server::says([Say::Token(Some("r2"))]);
    let tokens = named(&server).refresh_token("r1").build().unwrap();
    fetch(&tokens).await.unwrap();
    tokens.log_out().await.unwrap();
    tokens.log_in("s1").await.unwrap();
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["r1", "revoke r2", "revoke t1", "s1"]);
    // Another user, without a log-out: nothing of the first one is left here.
    tokens.log_in("u1").await.unwrap();
    assert!(tokens.peek().is_none());
    fetch(&tokens).await.unwrap();
    assert_eq!(server.sent(), ["u1"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_service_of_ones_own_is_left_out_of_it() {
    let tokens = crate::rig::Mint::new().cache();
    fetch(&tokens).await.unwrap();
    let error = tokens.log_out().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)));
    assert_eq!(fetch(&tokens).await, Err(ErrorKind::LoggedOut));
    assert!(matches!(tokens.log_in("r").await.unwrap_err().kind(), ErrorKind::Configuration(_)));
}

// === the builder ===

#[tokio::test]
async fn grants_that_cannot_work_are_named_by_build() {
    let server = Server::default();
    let cases = [
        (
            "client_credentials `app`: names a client beside",
            named(&server).client_credentials("app", "x").build(),
        ),
        ("client ``: the client id is empty", builder(&server).client(Client::public("")).build()),
        (
            "token_exchange ``: stands beside jwt_bearer(..)",
            named(&server).jwt_bearer("a").token_exchange(SubjectToken::jwt("b")).build(),
        ),
        (
            "also_at `http://a.example/`: must be https",
            named(&server).also_at("http://a.example/").build(),
        ),
        ("revocation_endpoint `nowhere`", named(&server).revocation_endpoint("nowhere").build()),
        (
            "client `app`: signs for an issuer that is not known",
            builder(&server)
                .client(Client::assertion_from("app", |_| std::future::ready(Ok(Secret::new("x")))))
                .build(),
        ),
    ];
    for (start, built) in cases {
        let text = built.expect_err(start).to_string();
        assert!(text.starts_with(start), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn l01_no_grant_and_no_record_shows_what_it_holds() {
    let server = Server::says([Say::Token(Some("CANARY-r2")), Say::OAuth("invalid_grant")]);
    let canary = || Secret::new("CANARY");
    let builder = builder(&server)
        .client(Client::basic("app", canary()))
        .refresh_token(canary())
        .token_exchange(SubjectToken::jwt(canary()).actor(canary(), TokenTypeUri::JWT))
        .password("CANARY", canary());
    let mut shown = format!("{builder:?}");
    let store = Shaky::default();
    let tokens = builder.session("shop").refresh_token_store(store.clone()).build().unwrap();
    fetch(&tokens).await.unwrap();
    let id = Arc::new(Mutex::new(None));
    let asking = Watching(Arc::clone(&id));
    drop(named(&server).refresh_token_store(asking.clone()).build().unwrap().log_out().await);
    let id = id.lock().unwrap().clone().unwrap();
    let record = StoredRefreshToken::decode(b"tower-oauth-refresh 1\n1 yes 0 0\nCANARY").unwrap();
    shown.push_str(&format!("{tokens:?} {record:?} {id:?} {:?}", store.inner));
    shown.push_str(&format!(
        "{:?} {:?}",
        SecretSource::from(canary()),
        SubjectToken::jwt(canary())
    ));
    assert!(!shown.contains("CANARY"), "{shown}");
}

/// A store that notes for whom it was asked.
#[derive(Clone)]
struct Watching(Arc<Mutex<Option<SessionId>>>);

impl RefreshTokenStore for Watching {
    fn load(&self, of: &SessionId) -> BoxFuture<Result<Option<StoredRefreshToken>, Error>> {
        *self.0.lock().unwrap() = Some(of.clone());
        Box::pin(std::future::ready(Ok(None)))
    }

    fn swap(
        &self,
        _of: &SessionId,
        _expected: u64,
        _next: Option<StoredRefreshToken>,
    ) -> BoxFuture<Result<bool, Error>> {
        Box::pin(std::future::ready(Ok(true)))
    }
}
