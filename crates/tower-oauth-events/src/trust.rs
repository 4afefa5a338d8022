//! Who is believed: one sender, with keys that it publishes, who tells it to us.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_oauth_core::{BuildError, Clock, Issuer, RevocationSink, SystemClock};
use tower_oauth_jose::{Algorithm, Checked, InvalidToken, Rules, Unverified, Verified};
use tower_oauth_server::{HttpClient, Jwks, Rejection};

const MAX_CONCURRENCY: usize = 10_000;

/// What both builders are told.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) issuer: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) sinks: Vec<Arc<dyn RevocationSink>>,
    pub(crate) jwks: Option<Jwks>,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) trusted_hosts: Vec<String>,
    pub(crate) http: Option<HttpClient>,
    pub(crate) algorithms: Option<Vec<Algorithm>>,
    pub(crate) leeway: Option<Duration>,
    pub(crate) max_concurrency: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Verifies what the sender has signed.
pub(crate) struct Trust {
    pub(crate) rules: Rules,
    pub(crate) jwks: Jwks,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How the bounds of the two kinds of tokens differ.
pub(crate) struct Bounds {
    pub(crate) max_lifetime: Duration,
    pub(crate) max_token_bytes: usize,
}

// === impl Options ===

impl Options {
    pub(crate) fn new(issuer: String, audiences: Vec<String>) -> Self {
        Self {
            issuer,
            audiences,
            sinks: Vec::new(),
            jwks: None,
            jwks_uri: None,
            trusted_hosts: Vec::new(),
            http: None,
            algorithms: None,
            leeway: None,
            max_concurrency: 64,
            clock: Arc::new(SystemClock),
        }
    }

    /// Checks the values. `audience` is what the sender's word for us is called in the builder.
    pub(crate) fn trust(
        &self,
        audience: &'static str,
        bounds: &Bounds,
    ) -> Result<Trust, BuildError> {
        let issuer = Issuer::parse(&self.issuer)?;
        check_intake(self.sinks.len(), self.max_concurrency)?;
        let Some((first, rest)) = self.audiences.split_first() else {
            return Err(BuildError::new(audience, "none", "names nobody"));
        };
        if self.audiences.iter().any(String::is_empty) {
            return Err(BuildError::new(audience, "", "is empty"));
        }
        let mut rules = Rules::builder(issuer.as_str(), first)
            .max_lifetime(bounds.max_lifetime)
            .max_token_bytes(bounds.max_token_bytes);
        rules = rest.iter().fold(rules, |rules, more| rules.audience(more));
        if let Some(leeway) = self.leeway {
            rules = rules.leeway(leeway);
        }
        if let Some(algorithms) = &self.algorithms {
            rules = rules.algorithms(algorithms.iter().copied());
        }
        let rules =
            rules.build().map_err(|error| BuildError::new("rules", error, "cannot be used"))?;
        let jwks = self.key_source(&issuer)?;
        Ok(Trust { rules, jwks, clock: Arc::clone(&self.clock) })
    }

    fn key_source(&self, issuer: &Issuer) -> Result<Jwks, BuildError> {
        let Some(jwks) = &self.jwks else {
            let builder = match &self.jwks_uri {
                Some(uri) => Jwks::uri(uri),
                None => Jwks::issuer(issuer.as_str()),
            };
            let hosts = self.trusted_hosts.iter();
            let builder = hosts
                .fold(builder, |builder, host| builder.trust_host(host))
                .clock(Arc::clone(&self.clock));
            return match &self.http {
                Some(http) => builder.http_client(http.clone()).build(),
                None => builder.build(),
            };
        };
        let contradiction = [
            ("jwks_uri", self.jwks_uri.is_some()),
            ("http_client", self.http.is_some()),
            ("trust_host", !self.trusted_hosts.is_empty()),
        ];
        if let Some((option, _)) = contradiction.iter().find(|(_, is_set)| *is_set) {
            let why = "says how to fetch keys, but the keys come from jwks(..)";
            return Err(BuildError::new(option, "..", why));
        }
        // One sender's keys would sign for another (RFC 8725 §3.8).
        if let Some(other) = jwks.issuer_name().filter(|other| *other != issuer.as_str()) {
            return Err(BuildError::new("jwks", other, "are the keys of another issuer"));
        }
        Ok(jwks.clone())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("sinks", &self.sinks.len())
            .finish_non_exhaustive()
    }
}

// === impl Trust ===

impl Trust {
    /// Checks the claims, and then the signature: what is not meant for us costs no key.
    pub(crate) async fn verify<'t>(
        &self,
        token: &'t str,
        check: impl FnOnce(Unverified<'t>, &Rules, SystemTime) -> Result<Checked<'t>, InvalidToken>,
    ) -> Result<Verified, Rejection> {
        let checked = Unverified::parse_up_to(self.rules.max_token_bytes(), token)
            .and_then(|token| check(token, &self.rules, self.now()))
            .map_err(Rejection::Invalid)?;
        self.jwks.verify(checked).await
    }

    fn now(&self) -> SystemTime {
        let seconds = u64::try_from(self.clock.unix_seconds()).unwrap_or(0);
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
    }
}

/// What every receiver needs: somebody to tell, and a bound.
pub(crate) fn check_intake(sinks: usize, max_concurrency: usize) -> Result<(), BuildError> {
    if sinks == 0 {
        return Err(BuildError::new("sink", "none", "is told nothing"));
    }
    if !(1..=MAX_CONCURRENCY).contains(&max_concurrency) {
        let why = "is not between 1 and 10,000";
        return Err(BuildError::new("max_concurrency", max_concurrency, why));
    }
    Ok(())
}

/// The options that both builders have, in a field `options`.
macro_rules! shared_options {
    () => {
        /// Tells this sink. Each one that is given is told, in the order in which they are given; the answer goes out after that.
        pub fn sink(mut self, sink: impl ::tower_oauth_core::RevocationSink) -> Self {
            self.options.sinks.push(::std::sync::Arc::new(sink));
            self
        }

        /// The address of the sender's key set, where its metadata do not tell.
        pub fn jwks_uri(mut self, jwks_uri: impl Into<String>) -> Self {
            self.options.jwks_uri = Some(jwks_uri.into());
            self
        }

        /// Also takes a discovered `jwks_uri` on this host, which is not the sender's.
        pub fn trust_host(mut self, host: impl Into<String>) -> Self {
            self.options.trusted_hosts.push(host.into());
            self
        }

        /// Takes the sender's keys from here.
        ///
        /// To share the set of a `Jwt` saves fetches. Then both share the budget for unknown keys, too: forged tokens that are sent here make
        /// access tokens of a rotation wait longer, 30 s at most. With a set of its own, which is the default, they do not.
        pub fn jwks(mut self, jwks: ::tower_oauth_server::Jwks) -> Self {
            self.options.jwks = Some(jwks);
            self
        }

        /// Fetches metadata and keys with this HTTP client, whatever Tower layers it wears.
        pub fn http_client(mut self, http: ::tower_oauth_server::HttpClient) -> Self {
            self.options.http = Some(http);
            self
        }

        /// Accepts these signature algorithms only. (An algorithm must also be the key's, always.)
        pub fn algorithms(
            mut self,
            algorithms: impl IntoIterator<Item = ::tower_oauth_jose::Algorithm>,
        ) -> Self {
            self.options.algorithms = Some(algorithms.into_iter().collect());
            self
        }

        /// How far our clock and the sender's may differ: 30 s if not set, at most 300 s, in whole seconds.
        pub fn leeway(mut self, leeway: ::std::time::Duration) -> Self {
            self.options.leeway = Some(leeway);
            self
        }

        /// How many requests are served at a time: 64 if not set, from 1 to 10,000. More get 503 at once, and come again.
        pub fn max_concurrency(mut self, max_concurrency: usize) -> Self {
            self.options.max_concurrency = max_concurrency;
            self
        }

        /// Takes the time from this clock.
        pub fn clock(mut self, clock: impl ::tower_oauth_core::Clock) -> Self {
            self.options.clock = ::std::sync::Arc::new(clock);
            self
        }
    };
}

pub(crate) use shared_options;
