use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tower_oauth_core::{BuildError, Clock, Issuer, Secret, SystemClock};

use crate::key::SigningKey;
use crate::state::{Config, Shared};
use crate::{Algorithm, ScriptedIssuer};

/// Makes a [`ScriptedIssuer`]; every option has a default that suits most tests.
#[must_use]
pub struct ScriptedIssuerBuilder {
    issuer: Option<String>,
    path: String,
    clients: HashMap<String, Secret>,
    clock: Arc<dyn Clock>,
    algorithm: Algorithm,
    config: Config,
    token_life: Duration,
}

impl ScriptedIssuerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            issuer: None,
            path: String::new(),
            clients: HashMap::new(),
            clock: Arc::new(SystemClock),
            algorithm: Algorithm::Es256,
            config: Config {
                audience: "https://resource.test".into(),
                granted_scope: None,
                extra_claims: Map::new(),
                opaque: false,
                jwks_cache_control: Some("public, max-age=600".into()),
                metadata: Map::new(),
            },
            token_life: Duration::from_secs(3600),
        }
    }

    /// The issuer identifier. Default: `https://issuer.test` in process, and the address of the
    /// socket (`http://127.0.0.1:PORT`) once it is served. One that is set here stays.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// A path at the end of the default issuer identifier: `/realms/shop`. Default: none.
    pub fn issuer_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Registers a client. Default: none, and then nobody gets a token from `/token`.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.clients.insert(id.into(), Secret::new(secret.into()));
        self
    }

    /// The `aud` of a token whose request names neither `resource` nor `audience`.
    /// Default: `https://resource.test`.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.config.audience = audience.into();
        self
    }

    /// The algorithm of the first key. Default: [`Algorithm::Es256`], which is quick to make.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How long a token lives. Default: one hour;
    /// [`set_token_life`](ScriptedIssuer::set_token_life) changes it later.
    pub fn token_life(mut self, life: Duration) -> Self {
        self.token_life = life;
        self
    }

    /// Tells the time for `iat`, `exp` and what is expired. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Grants this scope whatever is asked. Default: as asked.
    pub fn granted_scope(mut self, scope: impl Into<String>) -> Self {
        self.config.granted_scope = Some(scope.into());
        self
    }

    /// A claim that every token carries. It does not replace one of the issuer's own.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.config.extra_claims.insert(name.into(), value.into());
        self
    }

    /// Issues random texts instead of JWTs; introspection tells what they mean.
    pub fn opaque_tokens(mut self) -> Self {
        self.config.opaque = true;
        self
    }

    /// The `Cache-Control` field of the JWKS; `None` for none. Default: `public, max-age=600`.
    pub fn jwks_cache_control<'a>(mut self, value: impl Into<Option<&'a str>>) -> Self {
        self.config.jwks_cache_control = value.into().map(str::to_owned);
        self
    }

    /// A member of the metadata, in place of the issuer's own; `null` leaves it out.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.config.metadata.insert(name.into(), value.into());
        self
    }

    /// Makes the first key and the issuer.
    ///
    /// # Errors
    /// The issuer is no `https` (or loopback `http`) URI without query and fragment, or the
    /// system has no randomness for a key.
    pub fn build(self) -> Result<ScriptedIssuer, BuildError> {
        let fixed = self.issuer.is_some();
        let issuer = self.issuer.unwrap_or_else(|| format!("https://issuer.test{}", self.path));
        Issuer::parse(&issuer)?;
        if !self.path.is_empty() && !self.path.starts_with('/') {
            return Err(BuildError::new("issuer_path", self.path, "must begin with a slash"));
        }
        if fixed && !self.path.is_empty() {
            return Err(BuildError::new(
                "issuer_path",
                self.path,
                "belongs to the default issuer; `issuer` has its own path",
            ));
        }
        let key = SigningKey::generate("key-1".into(), self.algorithm)
            .map_err(|_| BuildError::new("algorithm", self.algorithm, "no key could be made"))?;
        Ok(ScriptedIssuer::from_shared(Shared::new(
            self.config,
            self.clock,
            issuer,
            fixed,
            self.clients,
            key,
            self.token_life,
        )))
    }
}

impl fmt::Debug for ScriptedIssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedIssuerBuilder")
            .field("issuer", &self.issuer)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
