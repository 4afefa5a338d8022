//! The policy for DPoP: what is asked of a proof, and how it is remembered.

mod builder;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use http::header::HOST;
use http::request::Parts;
use http::uri::Scheme as UriScheme;
use http::{HeaderName, HeaderValue};
use tower_oauth_core::{Clock, Error};
use tower_oauth_jose::{DpopProof, DpopRequest, DpopRules, InvalidProof, TargetUri, Thumbprint};

pub use self::builder::DpopBuilder;
use super::nonce::{Age, Nonces};
use super::replay::{ProofId, Remember, ReplayStore, Seen};
use crate::{Rejection, Scheme};

const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The shortest time after which a client is asked to come again.
const SOON: Duration = Duration::from_secs(1);

/// Takes tokens that are bound to a key, with the proof that the sender holds it (RFC 9449), for
/// [`RequireTokenLayer::dpop`](crate::RequireTokenLayer::dpop).
///
/// A request then brings `Authorization: DPoP <token>` and a fresh proof in `DPoP`. The proof is checked as RFC 9449 §4.3 says: its key is
/// that in the token's `cnf`, it is for this method, this target and this token, it was made just now, and it is used once. A bound token that comes as
/// `Bearer` is refused, as is a token in the scheme `DPoP` that is not bound.
///
/// # The target
///
/// `htu` is compared with [`external_base_url`](DpopBuilder::external_base_url) and the request's path, after normalisation and without the
/// query. What the client wrote into `Host`, and what proxies write into headers, is not asked. The path is the one that the door sees: where
/// a proxy, or axum's `nest`, has cut off a prefix, put the prefix into the base URL.
///
/// # The memory
///
/// Each proof is remembered by a keyed digest for as long as it could be used again. The memory is bounded; when it is full, and when a
/// [store](DpopBuilder::replay_store) fails, the request is refused with 503: to let it in would be to let in a replay. The default is of this
/// process: behind a load balancer, and after a restart, a proof can be used once more on each node within its [age](DpopBuilder::max_age). A
/// shared store, or nonces, close that gap.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_server::Dpop;
///
/// let dpop = Dpop::builder()
///     .external_base_url("https://api.example.com")
///     .nonces(Duration::from_secs(300))
///     .build()?;
/// # let _ = dpop;
///
/// let missing = Dpop::builder().build().unwrap_err();
/// assert!(missing.to_string().starts_with("external_base_url"), "{missing}");
/// # Ok::<(), tower_oauth_core::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Dpop(Arc<Inner>);

struct Inner {
    rules: DpopRules,
    targets: Targets,
    required: bool,
    /// For challenges: the algorithms, separated by spaces.
    algs: Arc<str>,
    nonces: Option<Nonces>,
    key: hmac::Key,
    store: Arc<dyn ReplayStore>,
    /// How long a proof could be used again.
    life: Duration,
    clock: Arc<dyn Clock>,
}

/// How the service is called from outside.
enum Targets {
    /// Scheme, authority, and the path before that of the request.
    Configured(Vec<Base>),
    /// As the request says, under this scheme.
    OfTheRequest(UriScheme),
}

struct Base {
    scheme: String,
    authority: String,
    /// Empty, or `/prefix`.
    prefix: String,
}

/// What to say of DPoP in a challenge.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) algs: Arc<str>,
    /// Whether `Bearer` is taken too.
    pub(crate) bearer: bool,
    /// What the client has used.
    pub(crate) used: Scheme,
}

/// A proof that is right but for the nonce, the memory and the token.
pub(super) struct Proven(DpopProof);

impl Proven {
    pub(super) const fn jkt(&self) -> Thumbprint {
        self.0.jkt()
    }
}

impl Dpop {
    /// With the defaults; see [`DpopBuilder`].
    pub fn builder() -> DpopBuilder {
        DpopBuilder::new()
    }

    pub(super) fn is_required(&self) -> bool {
        self.0.required
    }

    pub(super) fn offer(&self, used: Scheme) -> Offer {
        Offer { algs: Arc::clone(&self.0.algs), bearer: !self.0.required, used }
    }

    /// A nonce for the next proof, where nonces are asked for.
    pub(super) fn fresh_nonce(&self) -> Option<HeaderValue> {
        self.0.nonces.as_ref()?.issue(self.0.unix_seconds())
    }

    /// Reads and verifies the proof of a request that brings this token.
    pub(super) fn read(&self, token: &str, head: &Parts) -> Result<Proven, Rejection> {
        let mut fields = head.headers.get_all(DPOP).iter();
        let proof = fields.next().ok_or(InvalidProof::Missing)?;
        if fields.next().is_some() {
            return Err(InvalidProof::Several.into());
        }
        let proof = proof.to_str().map_err(|_| InvalidProof::Malformed)?;
        let uris = self.0.targets.of(head);
        let request = DpopRequest::new(head.method.as_str(), &uris).access_token(token, None);
        let proof = DpopProof::verify(proof, &self.0.rules, &request, self.0.wall_clock())?;
        Ok(Proven(proof))
    }

    /// Gives back a fresh nonce for a client whose own ends soon.
    pub(super) fn check_nonce(&self, proven: &Proven) -> Result<Option<HeaderValue>, Rejection> {
        let Some(nonces) = &self.0.nonces else { return Ok(None) };
        let nonce = proven.0.nonce().unwrap_or_default();
        match nonces.age(nonce, self.0.unix_seconds()) {
            Age::Current => Ok(None),
            Age::Ending => Ok(self.fresh_nonce()),
            Age::Stale => Err(Rejection::UseDpopNonce),
        }
    }

    pub(super) fn remember(&self, proven: &Proven) -> Remember {
        let mut context = hmac::Context::with_key(&self.0.key);
        // The key first, at a fixed length: nobody can use up the `jti` of another.
        for part in [&b"tower-oauth dpop proof\0"[..], proven.0.jkt().as_bytes()] {
            context.update(part);
        }
        context.update(proven.0.jti().as_bytes());
        let mut digest = [0; 32];
        // HMAC-SHA-256 has 32 bytes; `zip` says so without a panic.
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        self.0.store.remember(ProofId::new(digest), self.0.life, self.0.clock.now())
    }
}

/// The verdict over what the memory says.
pub(super) fn admit_once(seen: Result<Seen, Error>) -> Result<(), Rejection> {
    match seen {
        Ok(Seen::First) => Ok(()),
        Ok(Seen::Before) => Err(InvalidProof::Replayed.into()),
        Err(error) => Err(Rejection::Unavailable {
            cause: error.kind(),
            retry_after: error.retry_after().unwrap_or(SOON).max(SOON),
        }),
    }
}

impl Inner {
    /// A clock before 1970 reads as 1970: every proof is then of the future.
    fn unix_seconds(&self) -> u64 {
        u64::try_from(self.clock.unix_seconds()).unwrap_or(0)
    }

    fn wall_clock(&self) -> SystemTime {
        let since = Duration::from_secs(self.unix_seconds());
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }
}

impl Targets {
    /// None for a request that has no target that could be compared; no proof is for it.
    fn of(&self, head: &Parts) -> Vec<TargetUri> {
        let path = head.uri.path();
        match self {
            Self::Configured(bases) => bases.iter().filter_map(|base| base.target(path)).collect(),
            Self::OfTheRequest(scheme) => {
                let mut hosts = head.headers.get_all(HOST).iter();
                let host = match (head.uri.authority(), hosts.next(), hosts.next()) {
                    (Some(authority), ..) => Some(authority.as_str()),
                    (None, Some(host), None) => host.to_str().ok(),
                    _ => None,
                };
                let uri = host.and_then(|host| TargetUri::from_parts(scheme.as_str(), host, path));
                uri.into_iter().collect()
            }
        }
    }
}

impl Base {
    fn target(&self, path: &str) -> Option<TargetUri> {
        let target = |path: &str| TargetUri::from_parts(&self.scheme, &self.authority, path);
        // By itself first: dots in the path must not lead out of the prefix, to another service of the same host.
        let alone = target(path)?;
        if self.prefix.is_empty() {
            return Some(alone);
        }
        let (_, rest) = alone.as_str().split_once("://")?;
        let path = rest.get(rest.find('/')?..)?;
        target(&format!("{}{path}", self.prefix))
    }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("rules", &self.0.rules)
            .field("required", &self.0.required)
            .field("nonces", &self.0.nonces.is_some())
            .finish_non_exhaustive()
    }
}
