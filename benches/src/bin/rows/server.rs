//! The server door beside the bare verification of the same token.

use std::convert::Infallible;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth::{HttpClient, Introspection, Jwt, RequireTokenLayer};
use tower_oauth_benches::contest::Contest;
use tower_oauth_test::{Algorithm, ScriptedIssuer, Signature, TokenSpec};

use crate::{Row, figure};

/// The claims of a token have so many bytes as JSON: what an identity provider with some roles sends.
const CLAIMS_BYTES: usize = 879;

async fn handler(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    black_box(&request);
    Ok(Response::new(Full::default()))
}

fn request(authorization: &HeaderValue) -> Request<()> {
    let mut request = Request::new(());
    request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    request
}

/// One call that has its answer at the first poll, as all these have.
fn call<S>(service: &mut S, request: Request<()>) -> u16
where
    S: Service<Request<()>, Response: Status>,
{
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut context) else { return 0 };
    let mut future = std::pin::pin!(service.call(request));
    match future.as_mut().poll(&mut context) {
        Poll::Ready(Ok(response)) => response.status(),
        _ => 0,
    }
}

/// Of any body.
trait Status {
    fn status(&self) -> u16;
}

impl<B> Status for Response<B> {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).unwrap()
}

/// A token whose claims have [`CLAIMS_BYTES`].
fn sized(issuer: &ScriptedIssuer) -> String {
    let spec = |filler: usize| {
        TokenSpec::new().scope("inventory.read inventory.write").claim("tenant", "a".repeat(filler))
    };
    let claims = |token: &str| {
        let payload = token.split('.').nth(1).unwrap();
        URL_SAFE_NO_PAD.decode(payload).unwrap().len()
    };
    let bare = claims(&issuer.mint(spec(0)));
    issuer.mint(spec(CLAIMS_BYTES - bare))
}

/// The same key, as the fastest verifier takes it.
fn verifier(issuer: &ScriptedIssuer, algorithm: Algorithm) -> ParsedPublicKey {
    let jwks = issuer.jwks();
    let key = jwks.pointer("/keys/0").unwrap();
    let member =
        |name: &str| URL_SAFE_NO_PAD.decode(key.get(name).unwrap().as_str().unwrap()).unwrap();
    match algorithm {
        Algorithm::Rs256 => {
            let components = RsaPublicKeyComponents { n: member("n"), e: member("e") };
            let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = components.as_der().unwrap();
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).unwrap()
        }
        Algorithm::Es256 => {
            let point = [vec![4], member("x"), member("y")].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap()
        }
        _ => ParsedPublicKey::new(&ED25519, member("x")).unwrap(),
    }
}

pub(crate) fn rows(rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut rs256 = 0.0;
    for (algorithm, budget) in
        [(Algorithm::Rs256, 1.12), (Algorithm::Es256, 1.04), (Algorithm::EdDsa, 1.06)]
    {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let issuer =
            ScriptedIssuer::builder().audience("inventory").algorithm(algorithm).build().unwrap();
        let jwt = || {
            Jwt::issuer(issuer.issuer())
                .audience("inventory")
                .http_client(HttpClient::new(issuer.service()))
        };
        let token = sized(&issuer);
        let good = bearer(&token);
        let hostile = bearer(&hostile(&issuer));
        let verifier = verifier(&issuer, algorithm);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();

        let forgetful = RequireTokenLayer::new(jwt().verified_token_cache(None).build().unwrap());
        let remembering = RequireTokenLayer::new(jwt().build().unwrap());
        let mut first = forgetful.layer(service_fn(handler));
        let mut before = remembering.layer(service_fn(handler));
        // Keys are loaded, and what is remembered is, before anything is measured.
        runtime.block_on(async {
            for authorization in [&good, &hostile] {
                let _ = first.ready().await.unwrap().call(request(authorization)).await;
                let _ = before.ready().await.unwrap().call(request(authorization)).await;
            }
        });
        let _guard = runtime.enter();
        assert_eq!(call(&mut first, request(&good)), 200);
        assert_eq!(call(&mut before, request(&good)), 200);
        assert_eq!(call(&mut first, request(&hostile)), 401);

        let mut floor = service_fn(handler);
        let (mut first_again, mut refusing) = (first.clone(), first.clone());
        let mut contest = Contest::default();
        contest.enter("bare", || {
            verifier.verify_sig(black_box(message.as_bytes()), &signature).unwrap();
        });
        contest.enter("floor", || {
            black_box(call(&mut floor, request(&good)));
        });
        contest.enter("first", || {
            black_box(call(&mut first_again, request(&good)));
        });
        contest.enter("before", || {
            black_box(call(&mut before, request(&good)));
        });
        contest.enter("hostile", || {
            black_box(call(&mut refusing, request(&hostile)));
        });
        let figures = contest.run(rounds);
        let [bare, floor, first, before, hostile] =
            ["bare", "floor", "first", "before", "hostile"].map(|name| figure(&figures, name));
        let name = algorithm.name();
        rows.push(Row {
            path: format!("server, token seen first, {name}"),
            ours_ns: first.nanoseconds,
            reference_ns: bare.nanoseconds,
            budget_ratio: budget,
            allocations: first.allocations - floor.allocations,
            budget_allocations: 12,
        });
        if algorithm != Algorithm::Rs256 {
            continue;
        }
        rs256 = bare.nanoseconds;
        rows.push(Row {
            path: "server, token seen before, above the floor".into(),
            ours_ns: before.nanoseconds - floor.nanoseconds,
            reference_ns: rs256,
            budget_ratio: 0.03,
            allocations: before.allocations - floor.allocations,
            budget_allocations: 3,
        });
        rows.push(Row {
            path: "server, hostile 8 KiB token with a forged kid".into(),
            ours_ns: hostile.nanoseconds,
            reference_ns: rs256,
            budget_ratio: 0.35,
            allocations: hostile.allocations,
            budget_allocations: 24,
        });
    }
    rows.push(introspection(rounds, rs256));
    rows
}

/// As large as a token may be, with a key that nobody has.
fn hostile(issuer: &ScriptedIssuer) -> String {
    let spec = |filler: usize| {
        TokenSpec::new()
            .header("kid", "a-kid-that-nobody-has")
            .claim("filler", "a".repeat(filler))
            .signature(Signature::Random)
    };
    let bare = issuer.mint(spec(0)).len();
    let token = issuer.mint(spec((8192 - bare) / 4 * 3 - 3));
    assert!((8100..=8192).contains(&token.len()), "{}", token.len());
    token
}

/// An opaque token that was asked about a moment ago.
fn introspection(rounds: usize, rs256: f64) -> Row {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let issuer = ScriptedIssuer::builder()
        .audience("inventory")
        .client("api", "secret")
        .opaque_tokens()
        .build()
        .unwrap();
    let introspection = Introspection::issuer(issuer.issuer())
        .client_credentials("api", "secret")
        .audience("inventory")
        .http_client(HttpClient::new(issuer.service()))
        .build()
        .unwrap();
    let authorization = bearer(&issuer.mint(TokenSpec::new().scope("inventory.read")));
    let mut door = RequireTokenLayer::new(introspection).layer(service_fn(handler));
    runtime.block_on(async {
        let response = door.ready().await.unwrap().call(request(&authorization)).await.unwrap();
        assert_eq!(response.status(), 200);
    });
    let _guard = runtime.enter();
    let mut floor = service_fn(handler);
    let mut contest = Contest::default();
    contest.enter("floor", || {
        black_box(call(&mut floor, request(&authorization)));
    });
    contest.enter("hit", || {
        assert_eq!(call(&mut door, request(&authorization)), 200);
    });
    let figures = contest.run(rounds);
    let (floor, hit) = (figure(&figures, "floor"), figure(&figures, "hit"));
    Row {
        path: "server, introspection hit, above the floor".into(),
        ours_ns: hit.nanoseconds - floor.nanoseconds,
        reference_ns: rs256,
        budget_ratio: 0.05,
        allocations: hit.allocations - floor.allocations,
        budget_allocations: 3,
    }
}
