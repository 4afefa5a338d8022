//! A client with a key, an issuer that binds tokens to it, and a door between them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oauth_core::Clock as _;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{
    Authenticated, Dpop, DpopBuilder, Jwt, Rejection, RequireScopeLayer, RequireTokenLayer,
};
use tower_oauth_test::{ManualClock, ScriptedIssuer, TokenSpec};

pub(crate) const AUDIENCE: &str = "inventory";
pub(crate) const BASE: &str = "https://api.example.com";
pub(crate) const PATH: &str = "/stock/7";

/// The client's key pair.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
    }

    pub(crate) fn jkt(&self) -> String {
        let jwk = self.jwk();
        let key = tower_oauth_jose::VerifyingKey::from_jwk(jwk.to_string()).unwrap();
        key.thumbprint().to_string()
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature))
    }
}

pub(crate) struct House {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) key: Key,
    pub(crate) jwt: Jwt,
}

impl House {
    /// With the issuer's keys loaded, so that verdicts come at once.
    pub(crate) async fn new() -> Self {
        let house = Self::cold();
        house.jwt.jwks().warm().await.unwrap();
        house
    }

    pub(crate) fn cold() -> Self {
        let clock = ManualClock::new();
        let issuer = ScriptedIssuer::builder()
            .audience(AUDIENCE)
            .clock(clock.clone())
            .token_life(Duration::from_secs(24 * 3600))
            .build()
            .unwrap();
        let jwt = Jwt::issuer(issuer.issuer())
            .audience(AUDIENCE)
            .http_client(HttpClient::new(issuer.service()))
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
        Self { issuer, clock, key: Key::new(), jwt }
    }

    pub(crate) fn dpop(&self) -> DpopBuilder {
        Dpop::builder().external_base_url(BASE).clock(self.clock.clone())
    }

    /// A door that takes DPoP with the defaults.
    pub(crate) fn door(&self) -> RequireTokenLayer {
        self.door_with(|dpop| dpop)
    }

    pub(crate) fn door_with(
        &self,
        options: impl FnOnce(DpopBuilder) -> DpopBuilder,
    ) -> RequireTokenLayer {
        self.bare_door().dpop(options(self.dpop()).build().unwrap())
    }

    pub(crate) fn bare_door(&self) -> RequireTokenLayer {
        RequireTokenLayer::new(self.jwt.clone())
    }

    pub(crate) fn unbound(&self) -> String {
        self.issuer.mint(TokenSpec::new().subject("alice").scope("stock.read"))
    }

    /// A token with this `cnf`.
    pub(crate) fn bound_to(&self, cnf: Value) -> String {
        let spec = TokenSpec::new().subject("alice").scope("stock.read");
        self.issuer.mint(spec.claim("cnf", cnf))
    }

    /// A token that is bound to the client's key.
    pub(crate) fn token(&self) -> String {
        self.bound_to(json!({"jkt": self.key.jkt()}))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.jwk()})
    }

    /// The claims of a good proof for `GET` of [`PATH`] with this token, each time with a new `jti`.
    pub(crate) fn claims(&self, token: &str) -> Value {
        json!({
            "jti": format!("{:032x}", fastrand::u128(..)),
            "htm": "GET",
            "htu": format!("{BASE}{PATH}"),
            "iat": self.clock.unix_seconds(),
            "ath": encode(digest(&SHA256, token.as_bytes())),
        })
    }

    pub(crate) fn proof(&self, token: &str) -> String {
        self.proof_with(token, json!({}))
    }

    /// A proof with claims changed, or (by `null`) removed.
    pub(crate) fn proof_with(&self, token: &str, more: Value) -> String {
        self.key.sign(&self.header(), &with(self.claims(token), more))
    }

    /// A request with the token in the scheme `DPoP`, and a good proof.
    pub(crate) fn good(&self) -> Request<()> {
        let token = self.token();
        dpop(&token, &[&self.proof(&token)])
    }
}

pub(crate) fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => base[name] = value.clone(),
        }
    }
    base
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn dpop(token: &str, proofs: &[&str]) -> Request<()> {
    request("DPoP", token, proofs)
}

pub(crate) fn bearer(token: &str) -> Request<()> {
    request("Bearer", token, &[])
}

pub(crate) fn request(scheme: &str, token: &str, proofs: &[&str]) -> Request<()> {
    let request = Request::get(PATH).header("authorization", format!("{scheme} {token}"));
    proofs.iter().fold(request, |request, proof| request.header("dpop", *proof)).body(()).unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) rejection: Option<Rejection>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn challenges(&self) -> Vec<&str> {
        let all = self.headers.get_all("www-authenticate");
        all.iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Alice came in.
    pub(crate) fn is_in(&self) -> bool {
        self.rejection.is_none() && self.body == "alice"
    }
}

/// Asks a door, with a service behind it that wants a scope and greets.
pub(crate) async fn ask(door: &RequireTokenLayer, request: Request<()>) -> Seen {
    let greet = service_fn(async |request: Request<()>| {
        let caller: Authenticated = Authenticated::from_extensions(request.extensions()).unwrap();
        let name = caller.subject().unwrap_or("nobody").to_owned();
        let mut response = Response::new(Full::new(Bytes::from(name)));
        if let Some(jkt) = caller.confirmation().and_then(|cnf| cnf.jkt()) {
            response.headers_mut().insert("bound-to", jkt.to_string().parse().unwrap());
        }
        Ok::<_, Infallible>(response)
    });
    let service = door.layer(RequireScopeLayer::all(["stock.read"]).layer(greet));
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Seen {
        status: head.status,
        headers: head.headers,
        rejection: head.extensions.get().cloned(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// The refusal of a request over HTTP, after it was checked that gRPC has the same to say.
pub(crate) async fn refused(
    house: &House,
    door: &RequireTokenLayer,
    make: impl Fn(&House, &Method) -> Request<()>,
) -> Seen {
    let http = ask(door, make(house, &Method::GET)).await;
    let rejection = http.rejection.clone().unwrap_or_else(|| panic!("was let in: {http:?}"));
    assert_eq!(http.status, rejection.status());

    let mut request = make(house, &Method::POST);
    *request.method_mut() = Method::POST;
    let grpc_type = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", grpc_type);
    let grpc = ask(door, request).await;
    assert_eq!(grpc.rejection.as_ref(), Some(&rejection));
    assert_eq!((grpc.status.as_u16(), grpc.body.as_str()), (200, ""));
    assert_eq!(grpc.header("grpc-status"), Some(rejection.grpc_code().to_string().as_str()));
    assert_eq!(grpc.challenges(), http.challenges());
    assert_eq!(grpc.header("dpop-nonce"), http.header("dpop-nonce"));
    http
}
