//! An authorization server that binds tokens, a resource behind our own door, and all that they have seen.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth::jose::{DpopProof, DpopRequest, DpopRules, TargetUri};
use tower_oauth::{
    Clock, Dpop, DpopBuilder, DpopKey, HttpClient, Jwt, RequireTokenLayer, TokenCache,
    TokenCacheBuilder,
};
use tower_oauth_test::{Endpoint, ManualClock, ScriptedIssuer, TokenSpec};

pub(crate) const API: &str = "https://api.example.com";
pub(crate) const SECRET: &str = "CANARY-secret";

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type Res = Response<Full<Bytes>>;
pub(crate) type Net = BoxCloneSyncService<Req, Res, BoxError>;

/// What came with one request.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) uri: String,
    pub(crate) authorization: String,
    /// The claims of the one proof; null for none.
    pub(crate) proof: Value,
    pub(crate) form: Vec<(String, String)>,
}

impl Came {
    fn of(request: &Req, form: &[u8]) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let proofs: Vec<_> = request.headers().get_all("dpop").iter().map(text).collect();
        assert!(proofs.len() <= 1, "{} proofs", proofs.len());
        assert!(request.headers().get_all("dpop").iter().all(http::HeaderValue::is_sensitive));
        Self {
            uri: request.uri().to_string(),
            authorization: request.headers().get("authorization").map(text).unwrap_or_default(),
            proof: proofs.first().map_or(Value::Null, |proof| claims(proof)),
            form: form_urlencoded::parse(form).into_owned().collect(),
        }
    }

    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.proof[name].as_str()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn claims(proof: &str) -> Value {
    let payload = proof.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Came>>>);

impl Log {
    /// What came since this was last asked.
    pub(crate) fn take(&self) -> Vec<Came> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn note(&self, came: Came) {
        self.0.lock().unwrap().push(came);
    }
}

/// How the token endpoint answers, beside a good answer to a good request.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// Another `token_type`; null for none.
    Type(Value),
    OAuth(&'static str),
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) issuer: ScriptedIssuer,
    /// Of the token endpoint.
    pub(crate) exchanges: Log,
    /// Of the resource.
    pub(crate) seen: Log,
    /// What the token endpoint asks for.
    pub(crate) nonce: Arc<Mutex<Option<String>>>,
    pub(crate) script: Arc<Mutex<VecDeque<Say>>>,
    /// Tokens that the resource does not take any more.
    pub(crate) dead: Arc<Mutex<HashSet<String>>>,
    issued: Arc<Mutex<u64>>,
    jwt: Jwt,
}

/// Whether the resource looks at the token or at the proof first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Token,
    Proof,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = ManualClock::new();
        let issuer = ScriptedIssuer::builder()
            .audience(API)
            .clock(clock.clone())
            .token_life(Duration::from_secs(12 * 3600))
            .build()
            .unwrap();
        let jwt = Jwt::issuer(issuer.issuer())
            .audience(API)
            .http_client(HttpClient::new(issuer.service()))
            .clock(clock.clone())
            .build()
            .unwrap();
        jwt.jwks().warm().await.unwrap();
        Self {
            clock,
            issuer,
            exchanges: Log::default(),
            seen: Log::default(),
            nonce: Arc::default(),
            script: Arc::default(),
            dead: Arc::default(),
            issued: Arc::default(),
            jwt,
        }
    }

    pub(crate) fn bare_builder(&self) -> TokenCacheBuilder {
        TokenCache::builder()
            .token_endpoint(self.issuer.url(Endpoint::Token))
            .http_client(self.token_endpoint())
            .clock(self.clock.clone())
            .dpop(DpopKey::generate().unwrap())
    }

    pub(crate) fn builder(&self) -> TokenCacheBuilder {
        self.bare_builder().client_credentials("orders", SECRET)
    }

    pub(crate) fn tokens(&self) -> TokenCache {
        self.builder().build().unwrap()
    }

    /// The token of the last good exchange is dead from now on.
    pub(crate) fn kill(&self, came: &Came) {
        self.dead.lock().unwrap().insert(came.authorization.clone());
    }

    fn token_endpoint(&self) -> HttpClient {
        let world = self.clone();
        HttpClient::new(service_fn(move |request: Req| {
            let world = world.clone();
            async move {
                use http_body_util::BodyExt as _;
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let request = Request::from_parts(head, Full::default());
                Ok::<_, std::io::Error>(world.answer(&request, &body))
            }
        }))
    }

    fn answer(&self, request: &Req, form: &[u8]) -> Res {
        self.exchanges.note(Came::of(request, form));
        let refuse = |code: &str| json!({ "error": code });
        let nonce = self.nonce.lock().unwrap().clone();
        let proof = request.headers().get("dpop").map(|proof| proof.to_str().unwrap());
        let Some(proof) = proof else {
            return said(400, &refuse("invalid_dpop_proof"), None);
        };
        let uris = [TargetUri::parse(&request.uri().to_string()).unwrap()];
        let now = u64::try_from(self.clock.unix_seconds()).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(now);
        let wanted = DpopRequest::new(request.method().as_str(), &uris);
        let proof = match DpopProof::verify(proof, &DpopRules::new(), &wanted, now) {
            Ok(proof) => proof,
            Err(error) => panic!("{error}"),
        };
        if nonce.is_some() && proof.nonce() != nonce.as_deref() {
            return said(400, &refuse("use_dpop_nonce"), nonce.as_deref());
        }
        let mut kind = json!("DPoP");
        match self.script.lock().unwrap().pop_front() {
            Some(Say::OAuth(code)) => return said(400, &refuse(code), None),
            Some(Say::Type(other)) => kind = other,
            None => {}
        }
        let mut issued = self.issued.lock().unwrap();
        *issued += 1;
        let token = TokenSpec::new()
            .subject("orders")
            .claim("number", *issued)
            .claim("cnf", json!({"jkt": proof.jkt().to_string()}));
        let token = self.issuer.mint(token);
        let mut answer = json!({"access_token": token, "expires_in": 12 * 3600});
        answer["refresh_token"] = format!("refresh-{issued}").into();
        if !kind.is_null() {
            answer["token_type"] = kind;
        }
        said(200, &answer, None)
    }

    pub(crate) fn dpop(&self) -> DpopBuilder {
        Dpop::builder().external_base_url(API).clock(self.clock.clone())
    }

    /// A resource that asks for nonces which are good for a minute or two.
    pub(crate) fn with_nonces(&self) -> DpopBuilder {
        self.dpop().nonces(Duration::from_secs(60))
    }

    /// A resource behind our own door.
    pub(crate) fn resource(&self, dpop: DpopBuilder, first: First) -> Net {
        let door = RequireTokenLayer::new(self.jwt.clone()).dpop(dpop.build().unwrap());
        let welcome =
            service_fn(|_: Req| async { Ok::<_, std::convert::Infallible>(Res::default()) });
        let gate = |inner: Net, dead: Arc<Mutex<HashSet<String>>>| {
            service_fn(move |request: Req| {
                let text = request
                    .headers()
                    .get("authorization")
                    .map(|value| value.to_str().unwrap().to_owned());
                let is_dead = text.is_some_and(|text| dead.lock().unwrap().contains(&text));
                let inner = inner.clone();
                async move {
                    if is_dead {
                        Ok(challenge("invalid_token", None))
                    } else {
                        inner.oneshot(request).await
                    }
                }
            })
        };
        let boxed = |service| Net::new(service);
        let seen = self.seen.clone();
        let log = move |request: Req| {
            seen.note(Came::of(&request, &[]));
            request
        };
        let dead = Arc::clone(&self.dead);
        match first {
            First::Token => {
                let door =
                    door.layer(welcome).map_response(|answer| answer.map(|_| Full::default()));
                let gate = Net::new(gate(boxed(door.map_err(BoxError::from)), dead));
                Net::new(gate.map_request(log))
            }
            First::Proof => {
                let gate = gate(Net::new(welcome.map_err(BoxError::from)), dead);
                // The door answers with what is inside of it, which is no error there.
                let gate = gate.map_err(|error| -> std::convert::Infallible { panic!("{error}") });
                let door = door.layer(gate).map_response(|answer| answer.map(|_| Full::default()));
                Net::new(door.map_err(BoxError::from).map_request(log))
            }
        }
    }
}

pub(crate) fn challenge(error: &str, nonce: Option<&str>) -> Res {
    let mut answer = Response::builder()
        .status(401)
        .header("www-authenticate", format!("DPoP error=\"{error}\", algs=\"ES256\""));
    if let Some(nonce) = nonce {
        answer = answer.header("dpop-nonce", nonce);
    }
    answer.body(Full::default()).unwrap()
}

fn said(status: u16, body: &Value, nonce: Option<&str>) -> Res {
    let mut answer = Response::builder().status(status).header("content-type", "application/json");
    if let Some(nonce) = nonce {
        answer = answer.header("dpop-nonce", nonce);
    }
    answer.body(Full::from(body.to_string())).unwrap()
}

pub(crate) fn get(uri: &str) -> Req {
    Request::get(uri).body(Full::default()).unwrap()
}

pub(crate) async fn status<S>(service: &S, request: Req) -> u16
where
    S: tower::Service<Req, Response = Res> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// Answers as the closure says, whatever comes.
pub(crate) fn net(
    log: &Log,
    answer: impl Fn(&HeaderMap) -> Res + Clone + Send + Sync + 'static,
) -> Net {
    let log = log.clone();
    Net::new(service_fn(move |request: Req| {
        log.note(Came::of(&request, &[]));
        let answer = answer(request.headers());
        async move { Ok(answer) }
    }))
}
