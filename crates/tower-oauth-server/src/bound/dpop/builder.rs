use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use http::uri::Scheme as UriScheme;
use tower_oauth_core::{BuildError, Clock, EndpointUri, Secret, SystemClock};
use tower_oauth_jose::{Algorithm, AlgorithmSet, DpopRules};

use super::{Base, Dpop, Inner, Targets};
use crate::ReplayStore;
use crate::bound::nonce::Nonces;
use crate::bound::replay::MemoryStore;

const MAX_AGE: Duration = Duration::from_secs(300);
const MAX_FUTURE: Duration = Duration::from_secs(60);
const MAX_NONCE_LIFE: Duration = Duration::from_secs(3600);
/// As long as the hash (RFC 2104 §3).
const MIN_SECRET_BYTES: usize = 32;

/// Builds a [`Dpop`].
///
/// | option | default |
/// | --- | --- |
/// | [`external_base_url`](Self::external_base_url) | none: it must be given |
/// | [`required`](Self::required) | off: bearer tokens are taken too |
/// | [`algorithms`](Self::algorithms) | all: RS/PS 256 to 512, ES256, ES384, EdDSA |
/// | [`max_age`](Self::max_age) | 60 s |
/// | [`max_future`](Self::max_future) | 5 s |
/// | [`nonces`](Self::nonces) | off |
/// | [`replay_capacity`](Self::replay_capacity) | 1,000,000 proofs, in this process |
/// | [`shared_secret`](Self::shared_secret) | made anew in each process |
/// | [`clock`](Self::clock) | the system's |
#[must_use]
pub struct DpopBuilder {
    bases: Vec<String>,
    trusted_host: Option<String>,
    required: bool,
    algorithms: AlgorithmSet,
    max_age: Duration,
    max_future: Duration,
    nonce_life: Option<Duration>,
    capacity: usize,
    store: Option<Arc<dyn ReplayStore>>,
    secret: Option<Secret>,
    clock: Arc<dyn Clock>,
}

impl DpopBuilder {
    pub(super) fn new() -> Self {
        Self {
            bases: Vec::new(),
            trusted_host: None,
            required: false,
            algorithms: AlgorithmSet::ASYMMETRIC,
            max_age: Duration::from_secs(60),
            max_future: Duration::from_secs(5),
            nonce_life: None,
            capacity: 1_000_000,
            store: None,
            secret: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// How clients call this service: scheme, host, port, and the path before the one that the door sees, if any.
    ///
    /// It may be called again for a service that has several names.
    pub fn external_base_url(mut self, url: impl Into<String>) -> Self {
        self.bases.push(url.into());
        self
    }

    /// Takes host and port from the request (`:authority`, or `Host`), under this scheme: for a service with names that it does not know.
    ///
    /// Then whoever sends the request also says what it is for, and a proof that was made for another service that shares the client's keys is
    /// good here. Use it only where a proxy in front lets through its own hosts and no others.
    pub fn danger_take_host_from_request(mut self, scheme: impl Into<String>) -> Self {
        self.trusted_host = Some(scheme.into());
        self
    }

    /// Refuses tokens that are not bound to a key by DPoP, and challenges with `DPoP` alone.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Accepts proofs with these signature algorithms only. (The algorithm must also be the key's, always.)
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How old a proof may be by its `iat`: 60 s if not set, at most 300 s, in whole seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// How far `iat` may lie in the future, since clocks differ: 5 s if not set, at most 60 s, in whole seconds.
    pub fn max_future(mut self, max_future: Duration) -> Self {
        self.max_future = max_future;
        self
    }

    /// Asks for a nonce of ours in every proof (RFC 9449 §9), which lives so long and at most twice so long: 1 s to an hour, in whole seconds.
    ///
    /// A proof without one, or with a stale one, is answered with `use_dpop_nonce` and a fresh one. A client whose nonce ends soon gets the
    /// next one with the answer to its request. Nothing is stored. The age of a proof is checked as well.
    pub fn nonces(mut self, life: Duration) -> Self {
        self.nonce_life = Some(life);
        self
    }

    /// How many proofs the memory of this process holds: 1,000,000 if not set, about 120 MB when it is full. It has to hold the proofs of
    /// `max_age` + `max_future`: at the defaults that is 15,000 requests a second.
    pub fn replay_capacity(mut self, proofs: usize) -> Self {
        self.capacity = proofs;
        self
    }

    /// Remembers proofs here instead of in this process. Give all machines that share it one [`shared_secret`](Self::shared_secret).
    pub fn replay_store(mut self, store: impl ReplayStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The secret of nonces and digests, at least 32 bytes, for machines that take each other's nonces or share a store. It is used for nothing
    /// else.
    pub fn shared_secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A value that cannot work, by name: no base URL, one that is not https (or loopback) or has a query, both ways to know the target, no
    /// asymmetric algorithm, a duration out of its range, a capacity of 0, a secret that is too short; and if the system has no randomness.
    pub fn build(self) -> Result<Dpop, BuildError> {
        if self.algorithms.is_empty() {
            return Err(BuildError::new("algorithms", "[]", "has to name one"));
        }
        if let Some(hmac) = self.algorithms.iter().find(|algorithm| algorithm.is_hmac()) {
            return Err(BuildError::new("algorithms", hmac, "is not asymmetric"));
        }
        let second = Duration::from_secs(1);
        within("max_age", self.max_age, second, MAX_AGE)?;
        within("max_future", self.max_future, Duration::ZERO, MAX_FUTURE)?;
        if let Some(life) = self.nonce_life {
            within("nonces", life, second, MAX_NONCE_LIFE)?;
        }
        if self.capacity == 0 {
            return Err(BuildError::new("replay_capacity", 0, "has to be positive"));
        }
        let targets = targets(&self.bases, self.trusted_host.as_deref())?;
        let key = key(self.secret.as_ref())?;
        let algs: Vec<_> = self.algorithms.iter().map(Algorithm::name).collect();
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new(self.capacity)));
        Ok(Dpop(Arc::new(Inner {
            rules: DpopRules::new()
                .algorithms(self.algorithms)
                .max_age(self.max_age)
                .max_future(self.max_future),
            targets,
            required: self.required,
            algs: algs.join(" ").into(),
            nonces: self.nonce_life.map(|life| Nonces::new(key.clone(), life)),
            key,
            store,
            // The wall clock that `iat` is compared with counts whole seconds: one more on either side.
            life: self.max_age.saturating_add(self.max_future).saturating_add(second),
            clock: self.clock,
        })))
    }
}

fn within(
    option: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), BuildError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(BuildError::new(option, format_args!("{value:?}"), "is out of its range"))
}

fn targets(bases: &[String], trusted_host: Option<&str>) -> Result<Targets, BuildError> {
    const BASE: &str = "external_base_url";
    match (bases, trusted_host) {
        ([], None) => Err(BuildError::new(BASE, "", "has to be given")),
        ([], Some(scheme)) => match UriScheme::try_from(scheme) {
            Ok(known) if known == UriScheme::HTTPS || known == UriScheme::HTTP => {
                Ok(Targets::OfTheRequest(known))
            }
            _ => Err(BuildError::new(
                "danger_take_host_from_request",
                scheme,
                "has to be https or http",
            )),
        },
        ([base, ..], Some(_)) => {
            Err(BuildError::new(BASE, base, "contradicts danger_take_host_from_request"))
        }
        (bases, None) => {
            bases.iter().map(|url| base(url)).collect::<Result<_, _>>().map(Targets::Configured)
        }
    }
}

fn base(url: &str) -> Result<Base, BuildError> {
    // A query is not shown: it may be a secret.
    let shown = url.split('?').next().unwrap_or_default();
    let refuse = |why| BuildError::new("external_base_url", shown, why);
    let parsed = EndpointUri::parse(url).map_err(|error| error.with_option("external_base_url"))?;
    let uri = parsed.as_uri();
    if uri.query().is_some() {
        return Err(refuse("must not have a query"));
    }
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(refuse("is not an absolute URI"));
    };
    Ok(Base {
        scheme: scheme.to_owned(),
        authority: authority.as_str().to_owned(),
        prefix: uri.path().trim_end_matches('/').to_owned(),
    })
}

fn key(secret: Option<&Secret>) -> Result<hmac::Key, BuildError> {
    let Some(secret) = secret else {
        let mut random = [0; MIN_SECRET_BYTES];
        rand::fill(&mut random)
            .map_err(|_| BuildError::new("shared_secret", "", "the system has no randomness"))?;
        return Ok(hmac::Key::new(hmac::HMAC_SHA256, &random));
    };
    let secret = secret.expose().as_bytes();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(BuildError::new("shared_secret", "..", "has to have 32 bytes at least"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

impl fmt::Debug for DpopBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopBuilder")
            .field("bases", &self.bases)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
