//! What the server door costs a request: a good token that is verified or remembered, and hostile ones.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark is no library")]

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth::{HttpClient, Jwt, RequireTokenLayer};
use tower_oauth_test::{Algorithm, ScriptedIssuer, TokenSpec};

async fn handler(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    black_box(&request);
    Ok(Response::new(Full::default()))
}

fn server_door(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let issuer =
            ScriptedIssuer::builder().audience("inventory").algorithm(algorithm).build().unwrap();
        let jwt = || {
            Jwt::issuer(issuer.issuer())
                .audience("inventory")
                .http_client(HttpClient::new(issuer.service()))
        };
        let remembering = RequireTokenLayer::new(jwt().build().unwrap());
        let forgetful = RequireTokenLayer::new(jwt().verified_token_cache(None).build().unwrap());
        let good = issuer.mint(TokenSpec::new().scope("inventory.read"));
        let forged = issuer.forge("a-kid-that-nobody-has");
        let expired = issuer.mint(TokenSpec::new().expired());

        let mut group = criterion.benchmark_group(format!("server door, {}", algorithm.name()));
        for (name, layer, token, status) in [
            ("good token, verified", &forgetful, &good, 200),
            ("good token, seen before", &remembering, &good, 200),
            ("forged kid", &remembering, &forged, 401),
            ("expired", &remembering, &expired, 401),
        ] {
            let mut door = layer.layer(service_fn(handler));
            let mut call = || {
                let request = Request::get("/stock/bolt")
                    .header("authorization", format!("Bearer {token}"))
                    .body(())
                    .unwrap();
                runtime.block_on(async { door.ready().await.unwrap().call(request).await.unwrap() })
            };
            // The key set is loaded, and the forged kid known as such, before anything is measured.
            assert_eq!(call().status(), status, "{name}");
            group.bench_function(name, |b| b.iter(|| black_box(call())));
        }
        group.finish();
    }
}

criterion_group!(benches, server_door);
criterion_main!(benches);
