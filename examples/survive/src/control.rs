//! The control group: what is done everywhere.
//!
//! No straw man: such a cache is right as long as the issuer keeps its word about `expires_in`, and
//! a key set that is loaded when the process starts is right until the keys are rotated. Both pass
//! every test that is run without an incident.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use inventory_proto::inventory_client::InventoryClient;
use serde_json::Value;
use tokio::sync::Mutex;
use tower::ServiceExt;
use tower_oauth::jose::{KeySet, StandardClaims};
use tower_oauth::{
    Authenticate, BoxError, BoxFuture, Clock, HttpClient, Jwks, Jwt, Presented, SystemClock,
    Verdict,
};

use crate::args::Login;
use crate::load::{Device, Protocol, Target};
use crate::wire;

/// The issuer, as the control group talks to it.
#[derive(Clone)]
pub(crate) struct Idp {
    login: Login,
    http: HttpClient,
    calls: Arc<Calls>,
}

/// What the control group asked of the issuer, so that it can be taken from the issuer's own
/// counters: what is left is our group's.
#[derive(Default)]
struct Calls {
    token: AtomicU64,
    jwks: AtomicU64,
}

impl Idp {
    pub(crate) fn new(login: Login) -> Result<Self, BoxError> {
        Ok(Self { login, http: HttpClient::transport()?, calls: Arc::default() })
    }

    /// How often it asked for a token and was answered.
    pub(crate) fn token_calls(&self) -> u64 {
        self.calls.token.load(Ordering::Relaxed)
    }

    /// How often it fetched the keys.
    pub(crate) fn jwks_calls(&self) -> u64 {
        self.calls.jwks.load(Ordering::Relaxed)
    }

    async fn log_in(&self) -> Result<(HeaderValue, Duration), BoxError> {
        let request = self.token_request(&self.find("token_endpoint").await?)?;
        let response = self.http.clone().oneshot(request).await?;
        self.calls.token.fetch_add(1, Ordering::Relaxed);
        let answer: Value = serde_json::from_slice(&wire::whole(response).await?)?;
        let token = answer.get("access_token").and_then(Value::as_str).ok_or("no access_token")?;
        let life = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(3600);
        Ok((HeaderValue::try_from(format!("Bearer {token}"))?, Duration::from_secs(life)))
    }

    fn token_request(&self, endpoint: &str) -> Result<Request<Full<Bytes>>, BoxError> {
        let mut form = Serializer::new(String::from("grant_type=client_credentials"));
        if !self.login.scopes.is_empty() {
            form.append_pair("scope", &self.login.scopes.join(" "));
        }
        if let Some(resource) = &self.login.resource {
            form.append_pair("resource", resource);
        }
        self.post(endpoint, form.finish())
    }

    fn post(&self, endpoint: &str, form: String) -> Result<Request<Full<Bytes>>, BoxError> {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let (id, secret) = (&self.login.client_id, self.login.secret.expose());
        let basic = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
        Ok(Request::post(endpoint)
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into())?)
    }

    /// Ends a token (RFC 7009).
    pub(crate) async fn revoke(&self, bearer: &HeaderValue) -> Result<(), BoxError> {
        let token = bearer.to_str()?.strip_prefix("Bearer ").ok_or("no bearer token")?;
        let endpoint = self.find("revocation_endpoint").await?;
        let form = Serializer::new(String::new()).append_pair("token", token).finish();
        let request = self.post(&endpoint, form)?;
        wire::whole(self.http.clone().oneshot(request).await?).await.map(drop)
    }

    async fn keys(&self) -> Result<KeySet, BoxError> {
        let uri = self.find("jwks_uri").await?;
        let response = self.http.clone().oneshot(wire::get(&uri.parse()?, None)?).await?;
        self.calls.jwks.fetch_add(1, Ordering::Relaxed);
        Ok(KeySet::from_jwks(wire::whole(response).await?)?)
    }

    /// An address in the issuer's metadata.
    async fn find(&self, name: &str) -> Result<String, BoxError> {
        let issuer = self.login.issuer.trim_end_matches('/');
        let uri = format!("{issuer}/.well-known/openid-configuration").parse()?;
        let response = self.http.clone().oneshot(wire::get(&uri, None)?).await?;
        let metadata: Value = serde_json::from_slice(&wire::whole(response).await?)?;
        let found = metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| format!("the metadata of the issuer have no {name}").into())
    }
}

/// A device whose token cache believes `expires_in` and looks at no answer.
pub(crate) struct ControlDevice(Arc<Inner>);

struct Inner {
    idp: Idp,
    target: Target,
    clock: SystemClock,
    cached: Mutex<Option<(HeaderValue, Instant)>>,
}

impl ControlDevice {
    pub(crate) fn new(idp: Idp, target: Target) -> Self {
        Self(Arc::new(Inner { idp, target, clock: SystemClock, cached: Mutex::default() }))
    }
}

impl Inner {
    /// The token that is cached, or a new one when its time is up.
    async fn bearer(&self) -> Result<HeaderValue, BoxError> {
        let mut cached = self.cached.lock().await;
        if let Some((bearer, ends)) = &*cached
            && self.clock.now() < *ends
        {
            return Ok(bearer.clone());
        }
        let (bearer, life) = self.idp.log_in().await?;
        *cached = Some((bearer.clone(), self.clock.now() + life));
        Ok(bearer)
    }
}

impl Device for ControlDevice {
    fn send(&self, over: Protocol, hold: Option<u32>) -> BoxFuture<Result<(), BoxError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let bearer = inner.bearer().await?;
            match over {
                Protocol::Http => {
                    let mut request = wire::get(&inner.target.uri, hold)?;
                    request.headers_mut().insert(AUTHORIZATION, bearer);
                    wire::whole(inner.target.http.clone().oneshot(request).await?).await?;
                }
                Protocol::Grpc => {
                    let mut request = wire::count(hold);
                    request.metadata_mut().insert("authorization", bearer.to_str()?.parse()?);
                    let channel = inner.target.grpc.clone().ok_or("nobody speaks gRPC here")?;
                    InventoryClient::new(channel).count(request).await?;
                }
            }
            Ok(())
        })
    }

    fn log_out(&self) -> BoxFuture<Result<(), BoxError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let cached = inner.cached.lock().await.take();
            let (bearer, _) = cached.ok_or("it has not logged in")?;
            inner.idp.revoke(&bearer).await
        })
    }
}

/// The control group's server: the same door as ours, on keys that were loaded once.
///
/// Only what it knows of the keys differs, so that the comparison shows that and nothing else.
#[derive(Clone)]
pub(crate) struct KeysLoadedOnce(Arc<RwLock<Jwt>>);

impl KeysLoadedOnce {
    pub(crate) async fn start(idp: &Idp, audience: &str) -> Result<Self, BoxError> {
        Ok(Self(Arc::new(RwLock::new(Self::load(idp, audience).await?))))
    }

    /// The operator's way out: a restart, which loads the keys anew.
    pub(crate) async fn restart(&self, idp: &Idp, audience: &str) -> Result<(), BoxError> {
        let jwt = Self::load(idp, audience).await?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = jwt;
        Ok(())
    }

    async fn load(idp: &Idp, audience: &str) -> Result<Jwt, BoxError> {
        let keys = Jwks::fixed(idp.keys().await?)?;
        Ok(Jwt::issuer(&idp.login.issuer).audience(audience).jwks(keys).build()?)
    }
}

impl Authenticate for KeysLoadedOnce {
    type Claims = StandardClaims;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<StandardClaims> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).authenticate(presented)
    }
}
