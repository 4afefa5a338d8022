//! T13: secrets in files, which change while the program runs.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::service_fn;
use tower_oauth_client::{
    Client, ErrorKind, HttpClient, Need, OAuthCode, SecretFile, TokenCache, TokenSource,
};

use crate::rig::{TokioClock, sleep_ms};

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-oauth-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join("secret");
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An authorization server that knows one secret at a time, and what it was sent.
#[derive(Clone, Default)]
struct Server {
    knows: Arc<Mutex<String>>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn knows(&self, secret: &str) {
        *self.knows.lock().unwrap() = secret.into();
    }

    fn sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    fn tokens(&self, file: SecretFile) -> TokenCache {
        let server = self.clone();
        let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let form = form_urlencoded::parse(&body).into_owned();
                let secret = form.into_iter().find(|(name, _)| name == "client_secret").unwrap().1;
                server.sent.lock().unwrap().push(secret.clone());
                let known = *server.knows.lock().unwrap() == secret;
                let (status, body) = if known {
                    (200, r#"{"access_token":"t","token_type":"Bearer","expires_in":100}"#)
                } else {
                    (401, r#"{"error":"invalid_client"}"#)
                };
                let answer = Response::builder().status(status);
                let answer = answer.header("content-type", "application/json");
                Ok::<_, std::io::Error>(answer.body(Full::new(Bytes::from(body))).unwrap())
            }
        }));
        TokenCache::builder()
            .token_endpoint("https://idp.example/token")
            .client(Client::post("app", file))
            .http_client(http)
            .clock(TokioClock::new())
            .build()
            .unwrap()
    }
}

async fn later(tokens: &TokenCache) -> Result<(), ErrorKind> {
    sleep_ms(400_000).await;
    tokens.fetch(Need::Any).await.map(drop).map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn t13_a_file_that_changes_is_read_at_the_next_exchange() {
    let (dir, server) = (Dir::new("changes"), Server::default());
    let tokens = server.tokens(SecretFile::open(dir.write("one\n")).unwrap());
    for secret in ["one", "two", "a b\u{e4}:%", "four"] {
        dir.write(format!("{secret}\r\n"));
        server.knows(secret);
        assert_eq!(later(&tokens).await, Ok(()));
        assert_eq!(server.sent(), [secret]);
    }
}

#[tokio::test(start_paused = true)]
async fn t13_a_file_that_is_gone_empty_or_no_text_leaves_the_last_secret_in_use() {
    let (dir, server) = (Dir::new("spoilt"), Server::default());
    let path = dir.write("good");
    let tokens = server.tokens(SecretFile::open(&path).unwrap());
    server.knows("good");
    let spoilt: [&[u8]; 4] = [b"", b"\n\n", b"\xff\xfe", &[b'a'; 70_000]];
    for content in spoilt {
        dir.write(content);
        assert_eq!(later(&tokens).await, Ok(()));
    }
    fs::remove_file(path).unwrap();
    assert_eq!(later(&tokens).await, Ok(()));
    assert_eq!(server.sent(), ["good"; 5]);
}

#[tokio::test(start_paused = true)]
async fn t13_a_half_written_or_early_secret_is_refused_once_and_the_proven_one_goes_on() {
    let (dir, server) = (Dir::new("half"), Server::default());
    let tokens = server.tokens(SecretFile::open(dir.write("old-secret")).unwrap());
    server.knows("old-secret");
    later(&tokens).await.unwrap();
    // Half of the new one; then all of it, which the server does not know yet.
    for content in ["new-s", "new-secret"] {
        dir.write(content);
        server.sent();
        assert_eq!(later(&tokens).await, Ok(()));
        assert_eq!(server.sent(), [content, "old-secret"]);
        assert_eq!(later(&tokens).await, Ok(()));
        assert_eq!(server.sent(), ["old-secret"], "what was refused is not sent again and again");
    }
    // Now it does, and not the old one any more.
    server.knows("new-secret");
    assert_eq!(later(&tokens).await, Ok(()));
    assert_eq!(server.sent(), ["old-secret", "new-secret"]);
    assert_eq!(later(&tokens).await, Ok(()));
    assert_eq!(server.sent(), ["new-secret"]);
}

#[tokio::test(start_paused = true)]
async fn t13_a_secret_that_is_replaced_while_it_is_refused_is_tried_at_once() {
    let (dir, server) = (Dir::new("late"), Server::default());
    let tokens = server.tokens(SecretFile::open(dir.write("one")).unwrap());
    server.knows("two");
    let refused = Err(ErrorKind::OAuth(OAuthCode::InvalidClient));
    assert_eq!(later(&tokens).await, refused);
    assert_eq!(server.sent(), ["one"], "there is nothing else to try");
    dir.write("two");
    assert_eq!(later(&tokens).await, Ok(()));
    assert_eq!(server.sent(), ["two"]);
}

#[test]
fn a_file_that_is_no_secret_from_the_start_is_named_and_not_shown() {
    let dir = Dir::new("start");
    let missing = dir.0.join("missing");
    assert!(SecretFile::open(&missing).unwrap_err().to_string().contains("missing"));
    let error = SecretFile::open(dir.write(b"CANARY\xff")).unwrap_err().to_string();
    assert!(error.contains("is not UTF-8") && !error.contains("CANARY"), "{error}");
    let file = SecretFile::open(dir.write("CANARY")).unwrap();
    assert!(!format!("{file:?}").contains("CANARY"));
}

#[cfg(feature = "assertions")]
#[tokio::test]
async fn t13_a_key_file_that_is_half_written_leaves_the_last_key_in_use() {
    use tower_oauth_client::{Algorithm, KeyFile};
    // RFC 8410 section 10.3, the private key without its public half.
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    let dir = Dir::new("key");
    let path = dir.write(pem);
    assert!(KeyFile::open(&path, Algorithm::RS256).is_err());
    let key = KeyFile::open(&path, Algorithm::EdDSA).unwrap().with_kid("k1").unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asking = Arc::clone(&asked);
    let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
        let asking = Arc::clone(&asking);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut form = form_urlencoded::parse(&body).into_owned();
            asking
                .lock()
                .unwrap()
                .push(form.find(|(name, _)| name == "client_assertion").unwrap().1);
            let body = r#"{"access_token":"t","token_type":"Bearer","expires_in":100}"#;
            let answer = Response::builder().header("content-type", "application/json");
            Ok::<_, std::io::Error>(answer.body(Full::new(Bytes::from(body))).unwrap())
        }
    }));
    let tokens = || {
        TokenCache::builder()
            .token_endpoint("https://idp.example/token")
            .client(
                Client::private_key_jwt("app", key.clone())
                    .assertion_audience(tower_oauth_client::AssertionAudience::TokenEndpoint),
            )
            .http_client(http.clone())
            .build()
            .unwrap()
    };
    tokens().fetch(Need::Any).await.unwrap();
    dir.write(&pem[..40]);
    tokens().fetch(Need::Any).await.unwrap();
    fs::remove_file(&path).unwrap();
    tokens().fetch(Need::Any).await.unwrap();
    let asked = asked.lock().unwrap();
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|token| header(token) == header(&asked[0])));
    assert!(
        asked.iter().enumerate().all(|(i, token)| !asked[i + 1..].contains(token)),
        "new each time"
    );
}
