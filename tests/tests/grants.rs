//! Grants, client authentication and log-out against a real authorization server, which rotates refresh tokens, ends a family
//! when one comes twice, and takes an assertion once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_oauth::codec::{Grant, TokenExchange};
use tower_oauth::{
    AssertionAudience, BuildError, Client, ErrorKind, LostRefresh, MemoryStore, Need, OAuthCode,
    Scopes, Secret, SubjectToken, TokenCache, TokenCacheBuilder, TokenKey, TokenSource,
    TokenTypeUri,
};
use tower_oauth_test::ManualClock;
use tower_oauth_tests::idp::{Counters, Fault, Idp, IdpConfig, RegisteredClient, Resource};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::raw_http;

const ID: &str = "app";
const USER: &str = "alice";
const AUDIENCE: &str = "https://inventory.test";
const LIFE: Duration = Duration::from_secs(60);
const ALL: [&str; 4] = [
    "password",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

fn secret() -> String {
    format!("{CANARY}-secret-of-32-bytes-and-some-more")
}

fn password() -> String {
    format!("{CANARY}-password")
}

fn app() -> RegisteredClient {
    RegisteredClient::basic(ID, secret()).grants(&ALL).scope("stock.read stock.write")
}

fn config(client: RegisteredClient) -> IdpConfig {
    IdpConfig::new()
        .client(client)
        .user(USER, password())
        .resource(Resource::opaque(AUDIENCE).scope("stock.read stock.write").lifetime(LIFE))
}

async fn start() -> Idp {
    logs::print();
    Idp::start(config(app())).await
}

/// A client of a user's, which has not said yet how it gets tokens.
fn builder(idp: &Idp, clock: &ManualClock) -> TokenCacheBuilder {
    TokenCache::builder()
        .issuer(idp.issuer())
        .client(Client::basic(ID, secret()))
        .scope("stock.read")
        .resource(AUDIENCE)
        .clock(clock.clone())
}

fn with_password(idp: &Idp, clock: &ManualClock) -> TokenCacheBuilder {
    builder(idp, clock).password(USER, password())
}

/// The value of the `Authorization` header.
async fn token(tokens: &TokenCache) -> Result<String, ErrorKind> {
    let token = tokens.fetch(Need::Any).await.map_err(|error| error.kind())?;
    Ok(token.header().to_str().unwrap().to_owned())
}

async fn is_active(idp: &Idp, header: &str) -> bool {
    let bare = header.strip_prefix("Bearer ").unwrap();
    introspect(idp, bare).await
}

async fn introspect(idp: &Idp, token: &str) -> bool {
    let form = [("token", token), ("client_id", ID)];
    post(idp, "/introspect", &form).await.1["active"] == true
}

async fn post(idp: &Idp, path: &str, form: &[(&str, &str)]) -> (u16, serde_json::Value) {
    use base64::Engine as _;
    let encode =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let pair = format!("{}:{}", encode(ID), encode(&secret()));
    let basic =
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    let mut body = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form {
        body.append_pair(name, value);
    }
    let headers =
        [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let answer = raw_http::call("POST", &idp.url(path), &headers, &body.finish()).await.unwrap();
    let json = serde_json::from_str(answer.body()).unwrap_or_default();
    (answer.status(), json)
}

/// A log-in elsewhere: what a browser would bring.
async fn log_in(idp: &Idp) -> String {
    let password = password();
    let form = [
        ("grant_type", "password"),
        ("username", USER),
        ("password", &password),
        ("scope", "stock.read stock.write"),
    ];
    let (status, answer) = post(idp, "/token", &form).await;
    assert_eq!(status, 200, "{answer}");
    answer["refresh_token"].as_str().unwrap().to_owned()
}

// === password and refresh ===

#[tokio::test]
async fn a_password_is_sent_once_and_then_refresh_tokens_rotate() {
    let idp = start().await;
    let clock = ManualClock::new();
    let tokens = with_password(&idp, &clock).build().unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let token = token(&tokens).await.unwrap();
        assert!(is_active(&idp, &token).await);
        seen.push(token);
        clock.advance(LIFE);
    }
    seen.dedup();
    assert_eq!(seen.len(), 5);
    // The password is wrong from now on: nobody notices while the session lives.
    let stale = builder(&idp, &clock).password(USER, "changed");
    assert_eq!(token(&stale.build().unwrap()).await, Err(ErrorKind::Reauthenticate));
    assert!(token(&tokens).await.is_ok());
    assert_eq!(idp.revoked_grants().await, 0);
}

#[tokio::test]
async fn a_restart_that_forgets_the_session_falls_back_on_the_password() {
    let mut idp = start().await;
    let clock = ManualClock::new();
    let tokens = with_password(&idp, &clock).build().unwrap();
    token(&tokens).await.unwrap();
    for forget in [true, false] {
        if forget {
            idp.drop_tokens().await;
        } else {
            idp.restart().await;
        }
        clock.advance(LIFE);
        idp.reset_counters().await;
        let token = token(&tokens).await.unwrap();
        assert!(is_active(&idp, &token).await);
        assert_eq!(idp.counters().await.token, 2, "the refresh token, then the password");
    }
}

#[tokio::test]
async fn a_refresh_token_alone_ends_in_a_typed_error_and_a_new_one_begins_again() {
    let idp = start().await;
    let clock = ManualClock::new();
    let first = log_in(&idp).await;
    let tokens = builder(&idp, &clock).refresh_token(first.as_str()).build().unwrap();
    token(&tokens).await.unwrap();
    // Somebody has stolen the first one: the server ends the whole family.
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.as_str())];
    assert_eq!(post(&idp, "/token", &form).await.1["error"], "invalid_grant");
    assert_eq!(idp.revoked_grants().await, 1);
    clock.advance(LIFE);
    let error = tokens.fetch(Need::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reauthenticate);
    assert!(!error.is_transient());
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("invalid_grant"), "{cause}");
    tokens.log_in(log_in(&idp).await).await.unwrap();
    assert!(is_active(&idp, &token(&tokens).await.unwrap()).await);
}

#[tokio::test]
async fn trouble_that_passes_never_brings_out_the_password() {
    let idp = start().await;
    let clock = ManualClock::new();
    let tokens = with_password(&idp, &clock).build().unwrap();
    token(&tokens).await.unwrap();
    clock.advance(LIFE);
    idp.reset_counters().await;
    idp.fault(Fault::at("/token").status(503).times(2)).await;
    assert!(token(&tokens).await.is_ok());
    assert_eq!(idp.counters().await.token, 3, "the same refresh token each time");
    clock.advance(LIFE);
    idp.fault(Fault::at("/token").status(401).body(r#"{"error":"invalid_client"}"#).times(1)).await;
    idp.reset_counters().await;
    let refused = token(&tokens).await;
    assert_eq!(refused, Err(ErrorKind::OAuth(OAuthCode::InvalidClient)));
    assert_eq!(idp.counters().await.token, 1);
    clock.advance(Duration::from_secs(1));
    assert!(token(&tokens).await.is_ok());
    assert_eq!(idp.revoked_grants().await, 0);
}

// === 10,000 rotations ===

const SESSIONS: u32 = 20;
const ROTATIONS: u32 = 500;
const CALLERS: usize = 4;

/// Every session rotates so often, with several callers each time and one answer in twenty lost.
async fn rotate(idp: &Idp, lost: LostRefresh) {
    idp.fault(Fault::at("/token").lose_answer().every(20)).await;
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let clock = ManualClock::new();
            let tokens = with_password(idp, &clock).lost_refresh(lost).build().unwrap();
            tokio::spawn(async move {
                for turn in 0..=ROTATIONS {
                    while !all_are_served(&tokens, turn).await {
                        // After the pause that the cache makes, while the session is still to be had.
                        clock.advance(Duration::from_secs(5));
                    }
                    clock.advance(LIFE);
                }
            })
        })
        .collect();
    for session in sessions {
        session.await.unwrap();
    }
}

/// Several callers at once get one token. One in twenty being lost, four answers in a row are once in a while, and that is told
/// to all of them alike.
async fn all_are_served(tokens: &TokenCache, turn: u32) -> bool {
    let calls: Vec<_> = (0..CALLERS)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { token(&tokens).await })
        })
        .collect();
    let mut seen = Vec::new();
    for call in calls {
        seen.push(call.await.unwrap());
    }
    seen.dedup();
    match seen.as_slice() {
        [Ok(_)] => true,
        [Err(ErrorKind::Transport)] => false,
        other => panic!("{turn}: {other:?}"),
    }
}

#[tokio::test]
async fn t09_t10_ten_thousand_rotations_with_lost_answers_and_a_grace_revoke_nothing() {
    logs::print();
    let idp = Idp::start(config(app()).refresh_grace(Duration::from_secs(30))).await;
    rotate(&idp, LostRefresh::RetryWithin(Duration::from_secs(20))).await;
    let Counters { token, .. } = idp.counters().await;
    assert_eq!(idp.revoked_grants().await, 0, "no family was ended by our own doing");
    let wanted = u64::from(SESSIONS * (ROTATIONS + 1));
    // Each exchange once, and once more for an answer that was lost.
    assert!((wanted..=wanted + wanted / 16).contains(&token), "{token} for {wanted}");
    println!("{token} token requests for {wanted} exchanges, 0 families revoked");
}

#[tokio::test]
async fn t09_without_a_grace_a_lost_answer_falls_back_and_revokes_nothing() {
    let idp = start().await;
    rotate(&idp, LostRefresh::FallBack).await;
    assert_eq!(idp.revoked_grants().await, 0, "what may be spent was never sent again");
    let Counters { token, .. } = idp.counters().await;
    println!("{token} token requests, 0 families revoked");
}

#[tokio::test]
async fn t09_without_a_grace_and_without_a_fallback_a_lost_answer_asks_for_a_log_in() {
    let idp = start().await;
    let clock = ManualClock::new();
    let seed = log_in(&idp).await;
    let tokens =
        builder(&idp, &clock).refresh_token(seed).lost_refresh(LostRefresh::FallBack).build();
    let tokens = tokens.unwrap();
    token(&tokens).await.unwrap();
    clock.advance(LIFE);
    idp.fault(Fault::at("/token").lose_answer().times(1)).await;
    idp.reset_counters().await;
    assert_eq!(token(&tokens).await, Err(ErrorKind::Reauthenticate));
    assert_eq!(idp.counters().await.token, 1, "it was not sent again");
    assert_eq!(idp.revoked_grants().await, 0);
}

#[tokio::test]
async fn t09_a_grace_that_the_server_does_not_have_costs_the_session_and_the_password_saves_the_call()
 {
    let idp = start().await;
    let clock = ManualClock::new();
    let lost = LostRefresh::RetryWithin(Duration::from_secs(20));
    let tokens = with_password(&idp, &clock).lost_refresh(lost).build().unwrap();
    token(&tokens).await.unwrap();
    clock.advance(LIFE);
    idp.fault(Fault::at("/token").lose_answer().times(1)).await;
    assert!(token(&tokens).await.is_ok());
    assert_eq!(idp.revoked_grants().await, 1, "the server saw it twice, and said so");
}

// === E, G, H ===

#[tokio::test]
async fn elsewhere_e_t09_a_leader_that_goes_away_leaves_the_successor_of_its_refresh_token() {
    let idp = start().await;
    let clock = ManualClock::new();
    let seed = log_in(&idp).await;
    let tokens = builder(&idp, &clock).refresh_token(seed).build().unwrap();
    token(&tokens).await.unwrap();
    for _ in 0..5 {
        clock.advance(LIFE);
        idp.fault(Fault::at("/token").delay(Duration::from_millis(100)).times(1)).await;
        idp.reset_counters().await;
        let leader = tokens.fetch(Need::Any);
        let waiting = tokio::spawn(tokens.fetch(Need::Any));
        drop(leader);
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(idp.counters().await.token, 1);
    }
    assert_eq!(idp.revoked_grants().await, 0);
}

#[tokio::test]
async fn elsewhere_e_a_deadline_that_cuts_an_exchange_loses_no_refresh_token() {
    let idp = start().await;
    let clock = ManualClock::new();
    let seed = log_in(&idp).await;
    let tokens = builder(&idp, &clock).refresh_token(seed).lost_refresh(LostRefresh::FallBack);
    let tokens = tokens.deadline(Duration::from_millis(400)).build().unwrap();
    token(&tokens).await.unwrap();
    clock.advance(LIFE);
    // The metadata are read again, so that the endpoint's deadline ends after that of the whole try.
    clock.advance(Duration::from_secs(60 * 60));
    idp.fault(Fault::at("/.well-known").delay(Duration::from_millis(200)).times(1)).await;
    idp.fault(Fault::at("/token").delay(Duration::from_millis(300)).times(1)).await;
    assert!(token(&tokens).await.is_ok(), "the second try takes what the first one brings");
    assert_eq!(idp.revoked_grants().await, 0);
}

#[tokio::test]
async fn elsewhere_g_two_replicas_with_one_store_never_meet_invalid_grant() {
    let idp = start().await;
    let store = MemoryStore::new();
    let seed = log_in(&idp).await;
    let replicas: Vec<_> = (0..2)
        .map(|_| {
            let clock = ManualClock::new();
            let tokens = builder(&idp, &clock)
                .refresh_token(seed.as_str())
                .refresh_token_store(store.clone())
                .build()
                .unwrap();
            tokio::spawn(async move {
                for _ in 0..50 {
                    token(&tokens).await.unwrap();
                    clock.advance(LIFE);
                }
            })
        })
        .collect();
    for replica in replicas {
        replica.await.unwrap();
    }
    assert_eq!(idp.revoked_grants().await, 0);
    assert_eq!(idp.counters().await.token, 101, "each redeemed its own once; and one log-in");
}

#[tokio::test]
async fn elsewhere_h_one_refresh_token_and_two_scopes_at_once_get_two_answers() {
    let idp = start().await;
    let store = MemoryStore::new();
    let seed = log_in(&idp).await;
    let clock = ManualClock::new();
    let of = |scope: &str| {
        TokenCache::builder()
            .issuer(idp.issuer())
            .client(Client::basic(ID, secret()))
            .scope(scope)
            .refresh_token(seed.as_str())
            .refresh_token_store(store.clone())
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let (read, write) = (of("stock.read"), of("stock.write"));
    for _ in 0..10 {
        let (read, write) = tokio::join!(read.fetch(Need::Any), write.fetch(Need::Any));
        assert_eq!(read.unwrap().scopes(), Some(&Scopes::parse("stock.read")));
        assert_eq!(write.unwrap().scopes(), Some(&Scopes::parse("stock.write")));
        clock.advance(LIFE);
    }
    assert_eq!(idp.revoked_grants().await, 0);
}

// === token exchange ===

#[tokio::test]
async fn a_token_is_exchanged_on_behalf_of_its_user() {
    let idp = start().await;
    let clock = ManualClock::new();
    let user = with_password(&idp, &clock).build().unwrap();
    let subject = token(&user).await.unwrap().replace("Bearer ", "");
    let behalf =
        |subject: SubjectToken| builder(&idp, &clock).token_exchange(subject).build().unwrap();
    let tokens = behalf(SubjectToken::access_token(subject.as_str()));
    let token_of_behalf = token(&tokens).await.unwrap();
    assert!(is_active(&idp, &token_of_behalf).await);
    assert_ne!(token_of_behalf, format!("Bearer {subject}"));
    // Not the server's to give: a type that it does not know, a token that it has forgotten.
    assert_eq!(
        token(&behalf(SubjectToken::id_token(subject.as_str()))).await,
        Err(ErrorKind::OAuth(OAuthCode::InvalidRequest))
    );
    assert_eq!(
        token(&behalf(SubjectToken::access_token("forged"))).await,
        Err(ErrorKind::Reauthenticate)
    );
    let wanted = SubjectToken::access_token(subject.as_str());
    let wanted = wanted.requested_type(TokenTypeUri::JWT);
    assert_eq!(token(&behalf(wanted)).await, Err(ErrorKind::WrongTokenType));
}

/// A gateway: a token for each caller on whose behalf it asks, chosen by what the caller has sent.
#[tokio::test]
async fn on_behalf_of_each_caller_a_token_of_that_caller_and_of_no_other() {
    const OTHER: &str = "bob";
    let idp = Idp::start(config(app()).user(OTHER, password())).await;
    let clock = ManualClock::new();
    let sign_in = async |user: &str| {
        let tokens = builder(&idp, &clock).password(user, password()).build().unwrap();
        token(&tokens).await.unwrap().replace("Bearer ", "")
    };
    let inbound = [sign_in(USER).await, sign_in(OTHER).await];
    let keyed = builder(&idp, &clock).build_keyed(|key: &TokenKey, mut request| {
        let none = || BuildError::new("key", "", "names no caller");
        let subject = key.part("subject_token").ok_or_else(none)?;
        let exchange = TokenExchange::new(subject, TokenTypeUri::ACCESS_TOKEN);
        request.grant = Grant::TokenExchange(Box::new(exchange));
        Ok(request)
    });
    let keyed = keyed.unwrap();
    let of = |subject: &str| {
        keyed.get(&TokenKey::new().with_secret("subject_token", &Secret::new(subject)))
    };
    idp.reset_counters().await;
    // Each caller at once with many requests, and the two of them in turns.
    let calls: Vec<_> = (0..40)
        .map(|call| {
            let (who, tokens) = (call % 2, of(&inbound[call % 2]));
            tokio::spawn(async move { (who, token(&tokens).await.unwrap()) })
        })
        .collect();
    let mut held = [const { Vec::new() }; 2];
    for call in calls {
        let (who, token) = call.await.unwrap();
        held[who].push(token);
    }
    assert_eq!(idp.counters().await.token, 2, "one exchange for each");
    for (tokens, user) in held.iter_mut().zip([USER, OTHER]) {
        tokens.dedup();
        assert_eq!(tokens.len(), 1);
        let bare = tokens[0].strip_prefix("Bearer ").unwrap();
        let form = [("token", bare), ("client_id", ID)];
        assert_eq!(post(&idp, "/introspect", &form).await.1["sub"], user);
    }

    // The server forgets everything, the inbound tokens too: the caller has to come with a new one.
    idp.drop_tokens().await;
    let first = of(&inbound[0]).peek().unwrap();
    let error = of(&inbound[0]).fetch(Need::Unlike(first.id())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reauthenticate);
    let again = sign_in(USER).await;
    assert!(is_active(&idp, &token(&of(&again)).await.unwrap()).await);
}

// === log-out ===

#[tokio::test]
async fn after_log_out_nothing_is_alive_there_and_nothing_is_kept_here() {
    let idp = start().await;
    let clock = ManualClock::new();
    let store = MemoryStore::new();
    let tokens = with_password(&idp, &clock).refresh_token_store(store.clone()).build().unwrap();
    let access = token(&tokens).await.unwrap();
    assert!(is_active(&idp, &access).await);
    tokens.log_out().await.unwrap();
    assert!(!is_active(&idp, &access).await);
    assert!(tokens.peek().is_none());
    assert_eq!(token(&tokens).await, Err(ErrorKind::LoggedOut));
    // Nor is there a refresh token for another cache with the same store.
    let other = builder(&idp, &clock).session(USER).refresh_token_store(store).build().unwrap();
    assert_eq!(token(&other).await, Err(ErrorKind::Reauthenticate));
    tokens.log_in(log_in(&idp).await).await.unwrap();
    assert!(is_active(&idp, &token(&tokens).await.unwrap()).await);
}

#[tokio::test]
async fn a_503_at_log_out_leaves_the_tokens_alive_for_the_next_try_and_for_nothing_else() {
    let idp = start().await;
    let clock = ManualClock::new();
    let tokens = with_password(&idp, &clock).build().unwrap();
    let access = token(&tokens).await.unwrap();
    idp.fault(Fault::at("/revoke").status(503).retry_after("7")).await;
    let error = tokens.log_out().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status(503));
    assert!(error.is_transient());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(token(&tokens).await, Err(ErrorKind::LoggedOut));
    assert!(is_active(&idp, &access).await);
    idp.clear_faults().await;
    tokens.log_out().await.unwrap();
    assert!(!is_active(&idp, &access).await);
    tokens.log_out().await.unwrap();
}

#[tokio::test]
async fn an_exchange_in_the_air_does_not_bring_a_session_back() {
    let idp = start().await;
    let clock = ManualClock::new();
    let tokens = with_password(&idp, &clock).build().unwrap();
    token(&tokens).await.unwrap();
    for _ in 0..3 {
        clock.advance(LIFE);
        idp.fault(Fault::at("/token").delay(Duration::from_millis(200)).times(1)).await;
        idp.reset_counters().await;
        let waiting = tokio::spawn(tokens.fetch(Need::Any));
        while idp.counters().await.token == 0 {
            tokio::task::yield_now().await;
        }
        tokens.log_out().await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::LoggedOut);
        assert_eq!(token(&tokens).await, Err(ErrorKind::LoggedOut));
        let seed = log_in(&idp).await;
        tokens.log_in(seed).await.unwrap();
        token(&tokens).await.unwrap();
    }
}

// === client authentication ===

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A private key and its public half, in PEM.
fn key_pair(alg: &str) -> (String, String) {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };
    let (private, public): (Vec<u8>, PublicKeyX509Der<'_>) = match alg {
        "ES256" => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_der().unwrap())
        }
        "EdDSA" => {
            let pair = Ed25519KeyPair::generate().unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_der().unwrap())
        }
        _ => {
            let size = aws_lc_rs::rsa::KeySize::Rsa2048;
            let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
            let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            (der.as_ref().to_vec(), pair.public_key().as_der().unwrap())
        }
    };
    (pem("PRIVATE KEY", &private), pem("PUBLIC KEY", public.as_ref()))
}

#[tokio::test]
async fn t13_private_key_jwt_signs_anew_for_each_try() {
    use tower_oauth::SigningKey;
    use tower_oauth::jose::Algorithm;
    use tower_oauth_tests::idp::SigningAlg;
    logs::print();
    for (registered, algorithm) in [
        (SigningAlg::Rs256, Algorithm::RS256),
        (SigningAlg::Ps256, Algorithm::PS256),
        (SigningAlg::Es256, Algorithm::ES256),
        (SigningAlg::EdDsa, Algorithm::EdDSA),
    ] {
        let (private, public) = key_pair(registered.as_str());
        let client = RegisteredClient::private_key_jwt(ID, &public, registered).scope("stock.read");
        let idp = Idp::start(config(client)).await;
        let key = SigningKey::from_pkcs8_pem(algorithm, private).unwrap().with_kid("k1").unwrap();
        let client = Client::private_key_jwt(ID, key);
        for client in [client.clone(), client.assertion_audience(AssertionAudience::TokenEndpoint)]
        {
            let tokens =
                TokenCache::builder().issuer(idp.issuer()).client(client).scope("stock.read");
            let tokens = tokens.build().unwrap();
            // The server has seen the first assertion; what comes after the lost answer must be another one.
            idp.fault(Fault::at("/token").lose_answer().times(1)).await;
            token(&tokens).await.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        }
    }
}

#[tokio::test]
async fn t13_an_assertion_that_comes_twice_is_refused_there() {
    use tower_oauth::SigningKey;
    use tower_oauth::jose::{Algorithm, ClientAssertion};
    use tower_oauth_tests::idp::SigningAlg;
    logs::print();
    let (private, public) = key_pair("ES256");
    let client =
        RegisteredClient::private_key_jwt(ID, &public, SigningAlg::Es256).scope("stock.read");
    let idp = Idp::start(config(client)).await;
    let key = SigningKey::from_pkcs8_pem(Algorithm::ES256, private).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let signed = ClientAssertion::of_client(ID, idp.issuer());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signed = signed.sign(&key, i64::try_from(now).unwrap()).unwrap();
    let (asking, issuer) = (Arc::clone(&asked), idp.issuer().to_owned());
    let client = Client::assertion_from(ID, move |request| {
        assert_eq!((request.client_id.as_str(), &request.audience), (ID, &issuer));
        asking.lock().unwrap().push(request.issued_at);
        std::future::ready(Ok(Secret::new(signed.clone())))
    });
    let tokens = || {
        let builder = TokenCache::builder().issuer(idp.issuer()).client(client.clone());
        builder.scope("stock.read").build().unwrap()
    };
    token(&tokens()).await.unwrap();
    let again = token(&tokens()).await;
    assert_eq!(again, Err(ErrorKind::OAuth(OAuthCode::InvalidClient)));
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn client_secret_jwt_and_public_clients_get_tokens() {
    logs::print();
    let client = RegisteredClient::secret_jwt(ID, secret()).scope("stock.read");
    let idp = Idp::start(config(client)).await;
    for _ in 0..2 {
        let builder = TokenCache::builder().issuer(idp.issuer());
        let tokens = builder.client(Client::secret_jwt(ID, secret())).scope("stock.read").build();
        token(&tokens.unwrap()).await.unwrap();
    }
    let builder = TokenCache::builder().issuer(idp.issuer());
    let wrong = builder.client(Client::secret_jwt(ID, "x".repeat(64))).build().unwrap();
    assert_eq!(token(&wrong).await, Err(ErrorKind::OAuth(OAuthCode::InvalidClient)));

    let idp = Idp::start(config(RegisteredClient::public(ID).scope("stock.read"))).await;
    let builder = TokenCache::builder().issuer(idp.issuer()).client(Client::public(ID));
    let tokens = builder.password(USER, password()).scope("stock.read").build().unwrap();
    token(&tokens).await.unwrap();
}
