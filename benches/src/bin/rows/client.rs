//! The client door beside a header that is inserted by hand.

use std::convert::Infallible;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower::{Layer, Service};
use tower_oauth::{
    HttpClient, InjectTokenLayer, Need, RetryInvalidTokenLayer, TokenCache, TokenSource,
};
use tower_oauth_benches::contest::Contest;
use tower_oauth_test::ScriptedIssuer;

use crate::{Row, figure};

type Body = Full<Bytes>;

#[derive(Clone)]
struct Resource;

impl Service<Request<Body>> for Resource {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(&request);
        std::future::ready(Ok(Response::new(())))
    }
}

/// What one writes without a library.
#[derive(Clone)]
struct ByHand<S> {
    inner: S,
    header: HeaderValue,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for ByHand<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        request.headers_mut().insert(AUTHORIZATION, self.header.clone());
        self.inner.call(request)
    }
}

fn call<S: Service<Request<Body>>>(service: &mut S) -> bool {
    let mut request = Request::new(Full::new(Bytes::from_static(b"{}")));
    request.headers_mut().insert("accept", HeaderValue::from_static("application/json"));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut context) else { return false };
    let mut future = std::pin::pin!(service.call(request));
    matches!(future.as_mut().poll(&mut context), Poll::Ready(Ok(_)))
}

pub(crate) fn rows(rounds: usize) -> Vec<Row> {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let issuer = ScriptedIssuer::builder().client("id", "secret").build().unwrap();
    let tokens = TokenCache::builder()
        .issuer(issuer.issuer())
        .client_credentials("id", "secret")
        .http_client(HttpClient::new(issuer.service()))
        .build()
        .unwrap();
    let token = runtime.block_on(tokens.fetch(Need::Any)).unwrap();
    let _guard = runtime.enter();

    let mut floor = Resource;
    let mut by_hand = ByHand { inner: Resource, header: token.header().clone() };
    let mut inject = InjectTokenLayer::new(tokens.clone()).layer(Resource);
    let mut retry = RetryInvalidTokenLayer::new(tokens).layer(Resource);
    let mut contest = Contest::default();
    contest.enter("floor", || assert!(call(&mut floor)));
    contest.enter("by hand", || assert!(call(&mut by_hand)));
    contest.enter("inject", || assert!(call(&mut inject)));
    contest.enter("retry", || assert!(call(&mut retry)));
    let figures = contest.run(rounds);
    let [floor, by_hand, inject, retry] =
        ["floor", "by hand", "inject", "retry"].map(|name| figure(&figures, name));
    vec![
        Row {
            path: "client, inject a cached token".into(),
            ours_ns: inject.nanoseconds,
            reference_ns: by_hand.nanoseconds,
            budget_ratio: 1.5,
            allocations: inject.allocations - by_hand.allocations,
            budget_allocations: 0,
        },
        Row {
            path: "client, inject and retry armed, small body".into(),
            ours_ns: retry.nanoseconds - floor.nanoseconds,
            // 750 ns over a floor of 161 ns is what cf-gears cost; the peers' own run replaces this figure.
            reference_ns: 750.0 / 161.0 * floor.nanoseconds,
            budget_ratio: 0.2,
            allocations: retry.allocations - by_hand.allocations,
            budget_allocations: 2,
        },
    ]
}
