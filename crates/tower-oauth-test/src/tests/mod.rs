//! The issuer as its users see it.

mod active;
mod faults;
mod keys;
mod metadata;
mod resource;
mod socket;
mod status_lists;
mod tokens;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{Endpoint, ManualClock, ScriptedBody, ScriptedIssuer, ScriptedIssuerBuilder};

const NOW: i64 = 1_800_000_000;

/// An answer that has been read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

fn builder() -> ScriptedIssuerBuilder {
    ScriptedIssuer::builder().client("orders", "s3cret").clock(ManualClock::at(NOW))
}

fn issuer() -> ScriptedIssuer {
    builder().build().unwrap()
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn get(issuer: &ScriptedIssuer, endpoint: Endpoint) -> Request<Full<Bytes>> {
    Request::get(issuer.url(endpoint)).body(Full::default()).unwrap()
}

/// A form sent by the client `orders`.
fn post(issuer: &ScriptedIssuer, endpoint: Endpoint, form: &str) -> Request<Full<Bytes>> {
    Request::post(issuer.url(endpoint))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(AUTHORIZATION, basic("orders", "s3cret"))
        .body(Full::from(form.to_owned()))
        .unwrap()
}

fn token_request(issuer: &ScriptedIssuer) -> Request<Full<Bytes>> {
    post(issuer, Endpoint::Token, "grant_type=client_credentials")
}

async fn send(
    issuer: &ScriptedIssuer,
    request: Request<Full<Bytes>>,
) -> std::io::Result<Response<ScriptedBody>> {
    issuer.service().oneshot(request).await
}

async fn ask(issuer: &ScriptedIssuer, request: Request<Full<Bytes>>) -> Answer {
    let (head, body) = send(issuer, request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// A token from `/token`.
async fn obtain(issuer: &ScriptedIssuer) -> String {
    let answer = ask(issuer, token_request(issuer)).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// The header and the claims of a compact JWT.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

#[test]
fn l01_no_debug_shows_a_token_or_a_secret() {
    let issuer = builder().client("canary-client", "CANARY").build().unwrap();
    let token = issuer.mint(crate::TokenSpec::new().claim("name", json!("CANARY")));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let form = format!("token={token}&client_secret=CANARY");
    runtime.block_on(ask(&issuer, post(&issuer, Endpoint::Introspection, &form)));
    let spec = crate::TokenSpec::new().claim("a", "CANARY").header("b", "CANARY");
    let shown = format!(
        "{issuer:?} {:?} {:?} {:?} {:?} {spec:?}",
        issuer.service(),
        issuer.resource(),
        builder().client("a", "CANARY"),
        issuer.last_request(Endpoint::Introspection).unwrap(),
    );
    let signature = token.rsplit('.').next().unwrap();
    for secret in ["CANARY", signature, &STANDARD.encode("orders:s3cret")] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
