use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tower_oauth_core::Secret;

use crate::answer::answer;
use crate::builder::ScriptedIssuerBuilder;
use crate::key::{SigningKey, must};
use crate::state::Shared;
use crate::{
    ActiveTokens, Algorithm, Endpoint, Fault, ReceivedRequest, Rotation, ScriptedResource,
    ScriptedService, Serving, TokenSpec,
};

/// An authorization server that does what a test tells it to.
///
/// It issues real tokens (RFC 9068), signed by real keys that it makes itself, and *remembers*
/// them: after [`restart`](Self::restart) a token is dead although its signature and its `exp` are
/// fine, which is what a restarted identity provider does to its clients.
///
/// Clones are handles on the same issuer: give one to the server and keep one in the test.
///
/// # Defaults
/// ES256, tokens of one hour, scope granted as asked, no clients, the system's clock.
#[derive(Clone)]
pub struct ScriptedIssuer(Arc<Shared>);

/// A fault that was scripted; says how often it is played.
#[derive(Debug)]
pub struct ScriptedFault {
    issuer: ScriptedIssuer,
    endpoint: Endpoint,
    id: u64,
}

// === what it is ===

impl ScriptedIssuer {
    /// Starts the description of an issuer.
    pub fn builder() -> ScriptedIssuerBuilder {
        ScriptedIssuerBuilder::new()
    }

    pub(crate) fn from_shared(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// The issuer identifier: what `iss` says. It changes when the issuer is first
    /// [served](Self::serve), unless the builder fixed it.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.0.with(|state| state.issuer.clone())
    }

    /// The URL of an endpoint; of the metadata the form that OpenID Connect Discovery has.
    #[must_use]
    pub fn url(&self, endpoint: Endpoint) -> String {
        let base = self.0.with(|state| state.base.clone());
        format!("{base}{}", endpoint.path())
    }

    /// The name of the key that signs now.
    #[must_use]
    pub fn kid(&self) -> String {
        self.0.with(|state| state.keys.signing().kid().to_owned())
    }

    /// The key set as it is published now (RFC 7517 §5).
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.0.with(|state| state.keys.jwks())
    }

    // === how it is reached ===

    /// The issuer in process: an HTTP service without a socket, for every path of its URL.
    #[must_use]
    pub fn service(&self) -> ScriptedService {
        ScriptedService::new(Arc::clone(&self.0))
    }

    /// Serves the issuer on a free port of 127.0.0.1, by HTTP/1.1 and HTTP/2. Its identifier is the
    /// URL of the socket from then on, unless the builder fixed it.
    ///
    /// ```
    /// # use tower_oauth_test::{Endpoint, ScriptedIssuer};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = ScriptedIssuer::builder().client("orders", "s3cret").build()?;
    /// let serving = issuer.serve().await?;
    /// assert_eq!(issuer.issuer(), serving.uri());
    /// assert_eq!(issuer.url(Endpoint::Jwks), format!("{}/jwks", serving.uri()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The system gives no port.
    pub async fn serve(&self) -> io::Result<Serving> {
        self.serve_on(0).await
    }

    /// As [`Self::serve`], on this port: where it was before, say.
    ///
    /// # Errors
    /// The port is taken.
    // Binding needs no await; being async says that a runtime must be there.
    pub async fn serve_on(&self, port: u16) -> io::Result<Serving> {
        let shared = Arc::clone(&self.0);
        let (serving, socket) =
            Serving::start(port, move |request| answer(Arc::clone(&shared), request))?;
        self.0.served_at(serving.uri(), &socket);
        if self.0.with(|state| state.dark) {
            socket.close();
        }
        Ok(serving)
    }

    /// A resource that accepts the tokens that are alive here.
    #[must_use]
    pub fn resource(&self) -> ScriptedResource {
        ScriptedResource::new(self.clone())
    }

    // === tokens ===

    /// Makes a token without HTTP. It is [active](Self::is_active) until its `exp`, whatever else
    /// is wrong with it: the issuer's memory is asked there, not the signature.
    ///
    /// # Panics
    /// If the cryptographic library refuses to sign.
    #[must_use]
    pub fn mint(&self, spec: TokenSpec) -> String {
        let audience = self.0.config.audience.as_str().into();
        let claims = self.0.claims("test-client", audience, None);
        self.0.issue(&spec, claims)
    }

    /// Makes a token that this issuer never issued: its own claims under this `kid`, and a signature
    /// that no key made. Cheap enough for floods, and never active.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn forge(&self, kid: &str) -> String {
        let audience = self.0.config.audience.as_str().into();
        let claims = self.0.claims("test-client", audience, None);
        let spec = TokenSpec::new().header("kid", kid).signature(crate::Signature::Random);
        self.0.compact(&spec, &claims)
    }

    /// Whether this issuer has issued the token, has not forgotten or revoked it, and its `exp` is
    /// still to come.
    #[must_use]
    pub fn is_active(&self, token: &str) -> bool {
        self.0.active(token).is_some()
    }

    /// Ends one token; says whether it was known.
    pub fn revoke(&self, token: &str) -> bool {
        self.0.with(|state| state.alive.remove(token)).is_some()
    }

    // === the script ===

    /// Forgets every token, as a restart without storage does. The keys stay.
    pub fn restart(&self) {
        self.0.with(|state| state.alive.clear());
    }

    /// Tokens that are issued from now on live so long. In whole seconds.
    pub fn set_token_life(&self, life: Duration) {
        self.0.with(|state| state.token_life = life);
    }

    /// How many tokens of one holder live at the same time, from now on. Default:
    /// [`ActiveTokens::Many`]. Tokens that there are already live on and are not handed out again.
    pub fn set_active_tokens(&self, mode: ActiveTokens) {
        self.0.with(|state| {
            state.active_tokens = mode;
            state.handed_out.clear();
        });
    }

    /// Changes the keys; a new one is of the algorithm of the current one.
    ///
    /// # Panics
    /// If the cryptographic library cannot make a key.
    pub fn rotate(&self, rotation: Rotation) {
        let algorithm = self.0.with(|state| state.keys.signing().algorithm());
        self.rotate_to(rotation, algorithm);
    }

    /// Changes the keys; a new one is of this algorithm. With [`Rotation::Withdraw`] there is none.
    ///
    /// # Panics
    /// If the cryptographic library cannot make a key.
    pub fn rotate_to(&self, rotation: Rotation, algorithm: Algorithm) {
        let kid = self.0.with(|state| state.keys.name_for(rotation));
        // Made outside the lock: an RSA key takes long enough to be noticed by every other call.
        let key = kid.map(|kid| must(SigningKey::generate(kid, algorithm), "a key"));
        self.0.with(|state| state.keys.rotate(rotation, key));
    }

    /// Publishes this in front of the keys: a key of an unknown type, one that is broken, or no
    /// object at all.
    pub fn publish_extra_key(&self, key: Value) {
        self.0.with(|state| state.keys.publish_extra(key));
    }

    /// Takes all extra keys out of the set.
    pub fn withdraw_extra_keys(&self) {
        self.0.with(|state| state.keys.withdraw_extra());
    }

    /// Registers a client, or gives it another secret.
    pub fn register_client(&self, id: &str, secret: &str) {
        self.0.with(|state| state.clients.insert(id.into(), Secret::new(secret)));
    }

    /// Breaks an endpoint until it is [healed](Self::heal), or as often as
    /// [`times`](ScriptedFault::times) says. Several are played in the order in which they were
    /// scripted; a new one replaces one that stands until healed.
    ///
    /// ```
    /// # use tower_oauth_test::{Endpoint, Fault, ScriptedIssuer};
    /// # let issuer = ScriptedIssuer::builder().build()?;
    /// issuer.fault(Endpoint::Token, Fault::Status(503)).times(2);
    /// issuer.fault(Endpoint::Token, Fault::Garbage("<html>".into())).times(1);
    /// // The fourth call is answered well.
    /// # Ok::<_, tower_oauth_core::BuildError>(())
    /// ```
    pub fn fault(&self, endpoint: Endpoint, fault: Fault) -> ScriptedFault {
        let id = self.0.with(|state| state.scripts.of_mut(endpoint).add(fault));
        ScriptedFault { issuer: self.clone(), endpoint, id }
    }

    /// Ends the faults of an endpoint.
    pub fn heal(&self, endpoint: Endpoint) {
        self.0.with(|state| state.scripts.of_mut(endpoint).clear());
    }

    /// Ends the faults of all endpoints. An issuer that is dark stays dark.
    pub fn heal_all(&self) {
        for endpoint in Endpoint::ALL {
            self.heal(endpoint);
        }
    }

    /// Vanishes: sockets refuse connections (their ports stay reserved) and cut those that there
    /// are; in process every call fails with
    /// [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused). For an issuer that swallows
    /// requests instead, see [`Fault::Hang`].
    pub fn go_dark(&self) {
        self.0.with(|state| state.dark = true);
        for socket in self.0.sockets() {
            socket.close();
        }
    }

    /// Comes back, at the same ports. When this returns, a connection succeeds.
    ///
    /// # Errors
    /// A port could not be kept and another process has it.
    pub fn light_up(&self) -> io::Result<()> {
        self.0.with(|state| state.dark = false);
        self.0.sockets().iter().try_for_each(|socket| socket.open())
    }

    // === what happened ===

    /// How often an endpoint was called since the start or [`reset_calls`](Self::reset_calls),
    /// faults included.
    #[must_use]
    pub fn calls(&self, endpoint: Endpoint) -> u64 {
        self.0.meters.of(endpoint).calls()
    }

    /// The most calls of an endpoint that were under way at the same time.
    #[must_use]
    pub fn peak_in_flight(&self, endpoint: Endpoint) -> u64 {
        self.0.meters.of(endpoint).peak()
    }

    /// How many tokens were issued, by `/token` and by [`mint`](Self::mint); forged ones do not
    /// count.
    #[must_use]
    pub fn tokens_issued(&self) -> u64 {
        self.0.issued.load(Ordering::Relaxed)
    }

    /// Counts calls, peaks and tokens from zero again, and forgets the last requests.
    pub fn reset_calls(&self) {
        for endpoint in Endpoint::ALL {
            self.0.meters.of(endpoint).reset();
            self.0.with(|state| *state.last.of_mut(endpoint) = None);
        }
        self.0.issued.store(0, Ordering::Relaxed);
    }

    /// The last request that reached an endpoint.
    #[must_use]
    pub fn last_request(&self, endpoint: Endpoint) -> Option<ReceivedRequest> {
        self.0.with(|state| state.last.of(endpoint).clone())
    }
}

impl fmt::Debug for ScriptedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ScriptedFault {
    /// Plays the fault so many times; then the next one, or the endpoint is well again.
    pub fn times(self, times: u64) {
        self.issuer.0.with(|state| state.scripts.of_mut(self.endpoint).limit(self.id, times));
    }
}
