use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::hmac;
use http::Uri;
use serde_json::{Map, Value, json};
use tower_oauth_core::{Clock, Secret};

use crate::fault::{PerEndpoint, Script};
use crate::key::{SigningKey, base64url, must, random_bytes};
use crate::keyring::KeyRing;
use crate::socket::Socket;
use crate::status_list::StatusLists;
use crate::{ActiveTokens, Endpoint, ReceivedRequest, Signature, TokenSpec};

/// The claims of a token, as the issuer remembers it.
pub(crate) type Claims = Map<String, Value>;

/// What the builder has fixed.
pub(crate) struct Config {
    pub(crate) audience: String,
    pub(crate) granted_scope: Option<String>,
    pub(crate) extra_claims: Claims,
    pub(crate) opaque: bool,
    pub(crate) jwks_cache_control: Option<String>,
    pub(crate) metadata: Claims,
}

/// All that the handles of one issuer share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meters: PerEndpoint<Meter>,
    pub(crate) issued: AtomicU64,
    state: Mutex<State>,
}

/// What changes while the issuer runs.
pub(crate) struct State {
    pub(crate) issuer: String,
    /// Where the endpoints are: the issuer, unless one was fixed and then served on a socket.
    pub(crate) base: String,
    /// The path of the issuer, without a slash at its end.
    pub(crate) path: String,
    issuer_is_fixed: bool,
    pub(crate) clients: HashMap<String, Secret>,
    pub(crate) keys: KeyRing,
    pub(crate) alive: HashMap<String, Claims>,
    pub(crate) token_life: Duration,
    pub(crate) active_tokens: ActiveTokens,
    /// Those that were granted since that was set, and may be handed out again.
    pub(crate) handed_out: HashSet<String>,
    pub(crate) scripts: PerEndpoint<Script>,
    pub(crate) last: PerEndpoint<Option<ReceivedRequest>>,
    pub(crate) status_lists: StatusLists,
    pub(crate) dark: bool,
    pub(crate) sockets: Vec<Weak<Socket>>,
}

/// Counts the calls of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
}

/// A call that has begun; its drop ends it.
pub(crate) struct Flight {
    shared: Arc<Shared>,
    endpoint: Endpoint,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        issuer: String,
        issuer_is_fixed: bool,
        clients: HashMap<String, Secret>,
        key: SigningKey,
        token_life: Duration,
    ) -> Self {
        let base = issuer.trim_end_matches('/').to_owned();
        let path = base.parse::<Uri>().map_or_else(|_| String::new(), |uri| uri.path().to_owned());
        let path = path.trim_end_matches('/').to_owned();
        Self {
            config,
            clock,
            meters: PerEndpoint::default(),
            issued: AtomicU64::new(0),
            state: Mutex::new(State {
                issuer,
                base,
                path,
                issuer_is_fixed,
                clients,
                keys: KeyRing::new(key),
                alive: HashMap::new(),
                token_life,
                active_tokens: ActiveTokens::default(),
                handed_out: HashSet::new(),
                scripts: PerEndpoint::default(),
                last: PerEndpoint::default(),
                status_lists: StatusLists::default(),
                dark: false,
                sockets: Vec::new(),
            }),
        }
    }

    /// One short look or change at a time; nothing is awaited inside.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn begin(self: &Arc<Self>, endpoint: Endpoint) -> Flight {
        self.meters.of(endpoint).begin();
        Flight { shared: Arc::clone(self), endpoint }
    }

    pub(crate) fn token_life(&self) -> Duration {
        self.with(|state| state.token_life)
    }

    /// The claims of a token that this issuer has issued, not forgotten, and that has not expired.
    pub(crate) fn active(&self, token: &str) -> Option<Claims> {
        let now = self.clock.unix_seconds();
        let claims = self.with(|state| state.alive.get(token).cloned())?;
        // RFC 7519 §4.1.4: dead on its `exp`, not after it.
        let ends = claims.get("exp").and_then(Value::as_f64);
        ends.is_none_or(|exp| exp > now as f64).then_some(claims)
    }

    /// The claims that `/token` gives this client (RFC 9068 §2.2).
    pub(crate) fn claims(&self, client: &str, audience: Value, scope: Option<&str>) -> Claims {
        let now = self.clock.unix_seconds();
        let mut claims = self.config.extra_claims.clone();
        claims.insert("iss".into(), self.with(|state| state.issuer.clone()).into());
        claims.insert("sub".into(), client.into());
        claims.insert("client_id".into(), client.into());
        claims.insert("aud".into(), audience);
        claims.insert("iat".into(), now.into());
        let exp = now.saturating_add_unsigned(self.token_life().as_secs());
        claims.insert("exp".into(), exp.into());
        claims.insert("jti".into(), base64url(&random_bytes(16)).into());
        if let Some(scope) = scope {
            claims.insert("scope".into(), scope.into());
        }
        claims
    }

    /// Makes a token and remembers it.
    pub(crate) fn issue(&self, spec: &TokenSpec, mut claims: Claims) -> String {
        spec.apply(&mut claims, self.clock.unix_seconds());
        let token = if self.config.opaque {
            base64url(&random_bytes(32))
        } else {
            self.compact(spec, &claims)
        };
        self.issued.fetch_add(1, Ordering::Relaxed);
        self.with(|state| state.alive.insert(token.clone(), claims));
        token
    }

    /// The compact serialisation (RFC 7515 §7.1), signed as the spec says.
    pub(crate) fn compact(&self, spec: &TokenSpec, claims: &Claims) -> String {
        let key = self.with(|state| state.keys.signing());
        let header = spec.raw_header.clone().unwrap_or_else(|| {
            let mut header = Map::new();
            header.insert("alg".into(), key.algorithm().name().into());
            header.insert("kid".into(), key.kid().into());
            header.insert("typ".into(), "at+jwt".into());
            for (name, value) in &spec.header {
                match value {
                    Some(value) => header.insert(name.clone(), value.clone()),
                    None => header.remove(name),
                };
            }
            Value::Object(header).to_string().into()
        });
        let payload = spec.raw_payload.clone().unwrap_or_else(|| json!(claims).to_string().into());
        let mut token = format!("{}.{}", base64url(&header), base64url(&payload));
        let signature = sign(&spec.signature, &key, token.as_bytes());
        token.push('.');
        token.push_str(&base64url(&signature));
        token
    }

    /// The Status List Token at this target (draft-ietf-oauth-status-list §5.1).
    pub(crate) fn status_list_token(&self, target: &str) -> String {
        let now = self.clock.unix_seconds();
        let mut claims = self.with(|state| {
            // The target has the issuer's path in it, and the base too.
            let origin = state.base.strip_suffix(state.path.as_str()).unwrap_or(&state.base);
            state.status_lists.claims(&format!("{origin}{target}"))
        });
        claims.insert("iat".into(), now.into());
        claims.insert("exp".into(), now.saturating_add(24 * 3600).into());
        self.compact(&TokenSpec::new().header("typ", "statuslist+jwt"), &claims)
    }

    /// The issuer lives at this socket now.
    pub(crate) fn served_at(&self, uri: &str, socket: &Arc<Socket>) {
        self.with(|state| {
            let base = format!("{uri}{}", state.path);
            if !state.issuer_is_fixed {
                // A slash at the end is part of the name (RFC 8414 §2) and stays.
                let slash = if state.issuer.ends_with('/') { "/" } else { "" };
                state.issuer = format!("{base}{slash}");
            }
            state.base = base;
            state.sockets.retain(|socket| socket.strong_count() > 0);
            state.sockets.push(Arc::downgrade(socket));
        });
    }

    pub(crate) fn sockets(&self) -> Vec<Arc<Socket>> {
        self.with(|state| state.sockets.iter().filter_map(Weak::upgrade).collect())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|state| {
            f.debug_struct("ScriptedIssuer")
                .field("issuer", &state.issuer)
                .field("key", &state.keys.signing())
                .field("tokens_alive", &state.alive.len())
                .field("dark", &state.dark)
                .finish_non_exhaustive()
        })
    }
}

impl Meter {
    fn begin(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Calls that are under way stay counted as such, and are the peak from now on.
    pub(crate) fn reset(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.peak.store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.meters.of(self.endpoint).in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn sign(signature: &Signature, key: &SigningKey, message: &[u8]) -> Vec<u8> {
    match signature {
        Signature::Issuer => must(key.sign(message), "a signature"),
        Signature::Stranger => {
            let stranger = SigningKey::generate(key.kid().to_owned(), key.algorithm());
            must(must(stranger, "a key").sign(message), "a signature")
        }
        Signature::Random => random_bytes(key.algorithm().signature_len()),
        Signature::Empty => Vec::new(),
        Signature::Bytes(bytes) => bytes.to_vec(),
        Signature::Hmac(secret) => {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&secret, message).as_ref().to_vec()
        }
    }
}
