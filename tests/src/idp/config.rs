//! What the authorization server knows when it starts.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// The clients, the resources and the habits of an authorization server.
///
/// ```
/// use tower_oauth_tests::idp::{IdpConfig, RegisteredClient, Resource, SigningAlg};
///
/// let config = IdpConfig::new()
///     .client(RegisteredClient::basic("orders", "s3cret").scope("inventory.read"))
///     .resource(Resource::jwt("https://inventory.test", SigningAlg::Es256).scope("inventory.read"));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct IdpConfig {
    clients: Vec<RegisteredClient>,
    resources: Vec<Resource>,
    issuer_path: String,
    jwks_cache_control: Option<String>,
    unknown_keys: bool,
    dpop_nonce: bool,
    users: Vec<(String, String)>,
    refresh_grace: Duration,
}

impl IdpConfig {
    /// Nobody may ask for anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more client that may use the client credentials grant.
    pub fn client(mut self, client: RegisteredClient) -> Self {
        self.clients.push(client);
        self
    }

    /// One more resource. The first one is meant by a token request that names none.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// A path for the issuer's URL, as `/realms/shop`. Default: none.
    pub fn issuer_path(mut self, path: impl Into<String>) -> Self {
        self.issuer_path = path.into();
        self
    }

    /// The `Cache-Control` of the JWKS. Default: no such header.
    pub fn jwks_cache_control(mut self, value: impl Into<String>) -> Self {
        self.jwks_cache_control = Some(value.into());
        self
    }

    /// Begins with keys in the JWKS that nobody can use, as [`Idp::publish_unknown_keys`] adds
    /// them later.
    ///
    /// [`Idp::publish_unknown_keys`]: super::Idp::publish_unknown_keys
    pub fn unknown_keys(mut self) -> Self {
        self.unknown_keys = true;
        self
    }

    /// Asks for a nonce in each DPoP proof at the token endpoint. Default: it may be left out.
    pub fn dpop_nonce(mut self) -> Self {
        self.dpop_nonce = true;
        self
    }

    /// A user with a password: for the grants `password` and, with a token of theirs, token exchange.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// For so long, in whole seconds, a refresh token that was rotated is taken once more. Default: not at all; it ends its family.
    pub const fn refresh_grace(mut self, grace: Duration) -> Self {
        self.refresh_grace = grace;
        self
    }

    pub(super) fn to_json(&self) -> Value {
        let users = self.users.iter().map(|(name, password)| (name.clone(), json!(password)));
        json!({
            "users": users.collect::<serde_json::Map<_, _>>(),
            "refresh_grace_s": self.refresh_grace.as_secs(),
            "dpop_nonce": self.dpop_nonce,
            "clients": self.clients.iter().map(RegisteredClient::to_json).collect::<Vec<_>>(),
            "resources": self.resources.iter().map(Resource::to_json).collect::<Vec<_>>(),
            "issuer_path": self.issuer_path,
            "jwks_cache_control": self.jwks_cache_control,
            "extra_keys": self.unknown_keys,
        })
    }
}

/// A client as the authorization server knows it. `Debug` keeps the secret to itself.
#[derive(Clone)]
#[must_use]
pub struct RegisteredClient {
    id: String,
    secret: String,
    auth_method: &'static str,
    scope: String,
    certificate_bound: bool,
    logout_uri: Option<String>,
    grants: Vec<&'static str>,
    public_key: Option<(String, &'static str)>,
}

impl RegisteredClient {
    /// A client that shows its secret in an `Authorization: Basic` header (RFC 6749, 2.3.1).
    pub fn basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id.into(), secret.into(), "client_secret_basic")
    }

    /// A client that shows its secret in the form.
    pub fn post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id.into(), secret.into(), "client_secret_post")
    }

    /// A client that signs with its secret, by HS256.
    pub fn secret_jwt(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id.into(), secret.into(), "client_secret_jwt")
    }

    /// A client that signs with a private key, whose public half in PEM is registered as `k1` for this algorithm.
    pub fn private_key_jwt(id: impl Into<String>, public_pem: &str, alg: SigningAlg) -> Self {
        let mut client = Self::new(id.into(), String::new(), "private_key_jwt");
        client.public_key = Some((public_pem.into(), alg.as_str()));
        client
    }

    /// A client without anything to prove itself by.
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id.into(), String::new(), "none").grants(&["password", "refresh_token"])
    }

    fn new(id: String, secret: String, auth_method: &'static str) -> Self {
        let grants = vec!["client_credentials"];
        let (scope, public_key) = (String::new(), None);
        Self {
            id,
            secret,
            auth_method,
            scope,
            certificate_bound: false,
            logout_uri: None,
            grants,
            public_key,
        }
    }

    /// The grants that it may use. Default: `client_credentials`.
    pub fn grants(mut self, grants: &[&'static str]) -> Self {
        self.grants = grants.to_vec();
        self
    }

    /// The scopes it may ask for, separated by spaces. Default: none.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Its tokens are bound to its TLS certificate (RFC 8705, 3.4), which a token request has to bring in the header
    /// `x-client-certificate`: PEM, percent-encoded.
    pub fn certificate_bound(mut self) -> Self {
        self.certificate_bound = true;
        self
    }

    /// It also logs people in ([`Idp::log_in`](super::Idp::log_in)), and is told at this address when they log out (OpenID Connect
    /// Back-Channel Logout), with the session. Its scopes need `openid`.
    pub fn backchannel_logout(mut self, uri: impl Into<String>) -> Self {
        self.logout_uri = Some(uri.into());
        self
    }

    fn to_json(&self) -> Value {
        let mut json = json!({
            "grant_types": self.grants,
            "tls_client_certificate_bound_access_tokens": self.certificate_bound,
            "client_id": self.id,
            "token_endpoint_auth_method": self.auth_method,
            "scope": self.scope,
        });
        if let Some(uri) = &self.logout_uri {
            json["backchannel_logout_uri"] = json!(uri);
            json["backchannel_logout_session_required"] = json!(true);
        }
        if !self.secret.is_empty() {
            json["client_secret"] = json!(self.secret);
        }
        if let Some((pem, alg)) = &self.public_key {
            json["public_key"] = json!(pem);
            json["alg"] = json!(alg);
        }
        json
    }
}

impl fmt::Debug for RegisteredClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredClient")
            .field("id", &self.id)
            .field("auth_method", &self.auth_method)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A resource that tokens are for.
#[derive(Debug, Clone)]
#[must_use]
pub struct Resource {
    identifier: String,
    audience: Option<String>,
    scope: String,
    alg: Option<SigningAlg>,
    lifetime: Duration,
}

impl Resource {
    /// A resource that gets JWT access tokens (RFC 9068). Its identifier is an absolute URI
    /// (RFC 8707).
    pub fn jwt(identifier: impl Into<String>, alg: SigningAlg) -> Self {
        Self::new(identifier.into(), Some(alg))
    }

    /// A resource that gets opaque tokens and has to introspect them.
    pub fn opaque(identifier: impl Into<String>) -> Self {
        Self::new(identifier.into(), None)
    }

    const fn new(identifier: String, alg: Option<SigningAlg>) -> Self {
        let lifetime = Duration::from_secs(3600);
        Self { identifier, audience: None, scope: String::new(), alg, lifetime }
    }

    /// The `aud` of its tokens. Default: the identifier.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The scopes that it knows, separated by spaces; others are left out of its tokens.
    /// Default: none.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// How long its tokens live, in whole seconds. Default: one hour.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    fn to_json(&self) -> Value {
        let mut json = json!({
            "identifier": self.identifier,
            "scope": self.scope,
            "ttl": self.lifetime.as_secs(),
        });
        if let Some(audience) = &self.audience {
            json["audience"] = json!(audience);
        }
        match self.alg {
            Some(alg) => json["alg"] = json!(alg.as_str()),
            None => json["format"] = json!("opaque"),
        }
        json
    }
}

/// The algorithm that signs a resource's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a test wants to match on all of them")]
pub enum SigningAlg {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519 under its first name (RFC 8037).
    EdDsa,
    /// Ed25519 under its new name (RFC 9864).
    Ed25519,
}

impl SigningAlg {
    /// Its name in a JOSE header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}
