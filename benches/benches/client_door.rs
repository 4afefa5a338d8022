//! What the client door adds to a request, beside a header that is inserted by hand.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark is no library")]

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth::{
    HttpClient, InjectTokenLayer, Need, RetryInvalidTokenLayer, Token, TokenCache, TokenSource,
};
use tower_oauth_test::ScriptedIssuer;

type Body = Full<Bytes>;

async fn resource(request: Request<Body>) -> Result<Response<()>, Infallible> {
    black_box(&request);
    Ok(Response::new(()))
}

fn request() -> Request<Body> {
    Request::get("https://inventory.example/stock/bolt")
        .header("accept", "application/json")
        .header("user-agent", "bench")
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap()
}

fn client_door(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let issuer = ScriptedIssuer::builder().client("id", "secret").build().unwrap();
    let tokens = TokenCache::builder()
        .issuer(issuer.issuer())
        .client_credentials("id", "secret")
        .http_client(HttpClient::new(issuer.service()))
        .build()
        .unwrap();
    let token: Token = runtime.block_on(tokens.fetch(Need::Any)).unwrap();

    let mut group = criterion.benchmark_group("client door");
    let mut bench = |name: &str, mut call: Box<dyn AsyncCall>| {
        group.bench_function(name, |b| b.iter(|| runtime.block_on(call.call())));
    };
    bench("no door", Box::new(Called(service_fn(resource))));
    let by_hand = service_fn(move |mut request: Request<Body>| {
        request.headers_mut().insert(AUTHORIZATION, token.header().clone());
        resource(request)
    });
    bench("header by hand", Box::new(Called(by_hand)));
    let inject = InjectTokenLayer::new(tokens.clone()).layer(service_fn(resource));
    bench("InjectToken", Box::new(Called(inject)));
    let retry = RetryInvalidTokenLayer::new(tokens).layer(service_fn(resource));
    bench("RetryInvalidToken", Box::new(Called(retry)));
    group.finish();
}

/// The services have different types; a benchmark function wants one.
trait AsyncCall {
    fn call(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
}

struct Called<S>(S);

impl<S> AsyncCall for Called<S>
where
    S: Service<Request<Body>, Response = Response<()>>,
{
    fn call(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            let response = self.0.ready().await.ok().unwrap().call(request()).await;
            black_box(response.ok());
        })
    }
}

criterion_group!(benches, client_door);
criterion_main!(benches);
