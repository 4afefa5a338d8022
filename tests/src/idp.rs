//! A real authorization server: `idp/idp.mjs`, which is oidc-provider with an admin port.
//!
//! It lives in a process of its own, so that a test can do to it what the world does: kill it,
//! start it again with new keys and no memory, rotate its keys, break its endpoints; and ask it
//! how often it was called.

mod config;
mod controls;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub use config::{IdpConfig, RegisteredClient, Resource, SigningAlg};
pub use controls::{Counters, Fault, Rotate};

use crate::raw_http::{self, Answer};

/// How long a start may take. It takes about a second; an RSA key on a busy machine takes more.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running authorization server. Dropping it kills it; and it ends by itself with this process,
/// however that ends.
///
/// ```no_run
/// use tower_oauth_tests::idp::{Idp, IdpConfig, RegisteredClient, Resource, Rotate, SigningAlg};
///
/// # async fn example() {
/// let mut idp = Idp::start(
///     IdpConfig::new()
///         .client(RegisteredClient::basic("orders", "s3cret").scope("inventory.read"))
///         .resource(Resource::jwt("https://inventory.test", SigningAlg::Es256).scope("inventory.read")),
/// )
/// .await;
/// let issuer = idp.issuer().to_owned();
/// idp.rotate(Rotate::Add).await;
/// idp.restart().await;
/// assert_eq!(idp.issuer(), issuer);
/// assert_eq!(idp.counters().await.token, 0);
/// # }
/// ```
#[derive(Debug)]
pub struct Idp {
    config: IdpConfig,
    process: Child,
    ready: Ready,
}

/// Somebody who is logged in.
pub struct LogIn {
    browser: u64,
    access_token: String,
}

impl LogIn {
    /// The access token that the application got.
    #[must_use]
    pub fn access_token(&self) -> &str {
        &self.access_token
    }
}

/// What the server says of itself when it is ready.
#[derive(Debug)]
struct Ready {
    issuer: String,
    admin: String,
    pid: u32,
}

impl Idp {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    ///
    /// If Node or its packages are not installed, or the server is not ready within 20 seconds.
    pub async fn start(config: IdpConfig) -> Self {
        let (process, ready) = spawn(&config, 0).await;
        Self { config, process, ready }
    }

    /// The issuer's URL; a restart does not change it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.ready.issuer
    }

    /// An endpoint's URL; the paths are those of [`Fault`].
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ready.issuer)
    }

    /// The id of its process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.ready.pid
    }

    /// Kills it without a warning (SIGKILL) and waits for its end. Its port refuses connections
    /// until [`restart`](Self::restart).
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("killing the authorization server");
    }

    /// Kills it, if it still runs, and starts it again on the same port: the same issuer with the
    /// same clients, which has forgotten every token, key, fault and counter.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) {
        self.kill().await;
        (self.process, self.ready) = spawn(&self.config, port_of(&self.ready.issuer)).await;
    }

    /// Changes the signing keys of all algorithms while it runs.
    ///
    /// # Panics
    ///
    /// If the server does not run; so do all the methods below.
    pub async fn rotate(&self, how: Rotate) {
        self.post("/rotate", &json!({ "mode": how.as_str() })).await;
    }

    /// Forgets every opaque token. JWTs stay good: they can only be ended with their key.
    pub async fn drop_tokens(&self) {
        self.post("/drop", &json!({})).await;
    }

    /// Breaks something from now on. Where several faults fit, the newest is played.
    pub async fn fault(&self, fault: Fault) {
        self.post("/fault", &fault.to_json()).await;
    }

    /// Ends all faults.
    pub async fn clear_faults(&self) {
        self.post("/fault/clear", &json!({})).await;
    }

    /// Puts keys in front of the JWKS that nobody can use, or takes them out: ML-DSA-44,
    /// secp256k1, X25519, and one of a type that does not exist.
    pub async fn publish_unknown_keys(&self, published: bool) {
        self.post("/extra-keys", &json!({ "keys": published })).await;
    }

    /// Logs this account in with a browser of its own, by the authorization code flow of this client, for a resource.
    pub async fn log_in(&self, client: (&str, &str), account: &str, resource: &str) -> LogIn {
        let (id, secret) = client;
        let person = json!({
            "client_id": id, "client_secret": secret, "account": account, "scope": "openid",
            "resource": resource,
        });
        let tokens = self.admin("POST", "/login", &person.to_string()).await.json();
        LogIn {
            browser: tokens["browser"].as_u64().expect("the number of a browser"),
            access_token: tokens["access_token"].as_str().expect("an access token").to_owned(),
        }
    }

    /// Logs out in that browser. Clients that asked for it have been told when this returns.
    pub async fn log_out(&self, log_in: &LogIn) {
        self.post("/logout", &json!({ "browser": log_in.browser })).await;
    }

    /// How often each endpoint was called since the start, the last restart, or
    /// [`reset_counters`](Self::reset_counters); calls that met a fault are counted too.
    pub async fn counters(&self) -> Counters {
        Counters::from_json(&self.admin("GET", "/counters", "").await.json())
    }

    /// How many families of refresh tokens were ended since the counters began: by reuse, or by revocation.
    ///
    /// # Panics
    ///
    /// As [`rotate`](Self::rotate).
    pub async fn revoked_grants(&self) -> u64 {
        let counters = self.admin("GET", "/counters", "").await.json();
        counters["revoked_grants"].as_u64().unwrap_or_default()
    }

    /// Counts from zero again.
    pub async fn reset_counters(&self) {
        self.post("/counters/reset", &json!({})).await;
    }

    async fn post(&self, path: &str, body: &Value) {
        self.admin("POST", path, &body.to_string()).await;
    }

    async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = raw_http::call(method, &format!("{}{path}", self.ready.admin), &[], body)
            .await
            .unwrap_or_else(|error| panic!("admin call {path}: {error}"));
        assert_eq!(answer.status(), 200, "admin call {path}: {}", answer.body());
        answer
    }
}

/// A command that starts the server on this port (0: a free one), with its output in pipes. For
/// [`Idp`], and for tests of how a server ends without it.
///
/// # Panics
///
/// If the Node packages are not installed.
#[must_use]
pub fn command(config: &IdpConfig, port: u16) -> Command {
    let home = home();
    assert!(
        home.join("node_modules/oidc-provider").is_dir(),
        "the authorization server's packages are not installed: run `cargo xtask test`, or `npm ci` in {}",
        home.display(),
    );
    let mut command = Command::new("node");
    command
        .arg(home.join("idp.mjs"))
        .args(["--port", &port.to_string(), "--config", &config.to_json().to_string()])
        // It ends with its stdin. So this pipe is its leash: the system drops it even when this
        // process is killed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn spawn(config: &IdpConfig, port: u16) -> (Child, Ready) {
    let mut process = command(config, port).spawn().unwrap_or_else(|error| {
        panic!(
            "node does not start ({error}): install Node 20 or later, then run `cargo xtask test`"
        )
    });
    let stdout = process.stdout.take().expect("stdout is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    match timeout(START_DEADLINE, lines.next_line()).await {
        Ok(Ok(Some(line))) => (process, Ready::parse(&line)),
        Ok(_) => panic!("the authorization server ended at its start: {}", end_of(process).await),
        Err(_) => panic!("the authorization server is not ready after {START_DEADLINE:?}"),
    }
}

async fn end_of(mut process: Child) -> ExitStatus {
    timeout(START_DEADLINE, process.wait())
        .await
        .expect("a process without stdout ends soon")
        .expect("the exit status of a child")
}

impl Ready {
    fn parse(line: &str) -> Self {
        let json: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{error} in the ready line: {line}"));
        let text = |name: &str| json[name].as_str().expect("a URL in the ready line").to_owned();
        let pid = json["pid"].as_u64().and_then(|pid| pid.try_into().ok());
        Self {
            issuer: text("issuer"),
            admin: text("admin"),
            pid: pid.expect("a pid in the ready line"),
        }
    }
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("idp")
}

fn port_of(issuer: &str) -> u16 {
    let authority = issuer.split('/').nth(2).expect("an authority in the issuer's URL");
    let (_, port) = authority.rsplit_once(':').expect("a port in the issuer's URL");
    port.parse().expect("a port number in the issuer's URL")
}
