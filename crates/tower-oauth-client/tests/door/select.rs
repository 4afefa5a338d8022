//! A source for each request, picked by its head.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_oauth_client::{
    ClientError, Error, ErrorKind, InjectTokenLayer, RetryInvalidTokenLayer, SelectSource, Token,
    TokenCache, TokenSource,
};

use crate::rig::{Mint, Strict};

fn of_tenant(tenant: &str) -> Request<Full<Bytes>> {
    Request::get("https://a.example/").header("x-tenant", tenant).body(Full::default()).unwrap()
}

fn tenants(
    sources: &[(&'static str, TokenCache)],
) -> impl Fn(&Parts) -> Result<TokenCache, Error> + Clone + use<> {
    let sources: HashMap<_, _> = sources.iter().cloned().collect();
    move |head: &Parts| {
        let tenant = head.headers.get("x-tenant").and_then(|tenant| tenant.to_str().ok());
        let source = tenant.and_then(|tenant| sources.get(tenant));
        source.cloned().ok_or(ErrorKind::Configuration("no such tenant").into())
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_has_the_token_of_its_own_source() {
    let (a, b) = (Mint::new(), Mint::new());
    a.then_token("of-a");
    b.then_token("of-b");
    let select = tenants(&[("a", a.cache()), ("b", b.cache())]);
    let strict = Strict::that_likes(|_| true);
    let inject = InjectTokenLayer::select(select.clone()).layer(strict.clone());
    let retry = RetryInvalidTokenLayer::select(select).clone().layer(strict.clone());
    for tenant in ["a", "b", "a"] {
        inject.clone().oneshot(of_tenant(tenant)).await.unwrap();
        retry.clone().oneshot(of_tenant(tenant)).await.unwrap();
    }
    let (a1, b1) = ("Bearer of-a", "Bearer of-b");
    assert_eq!(strict.seen(), [a1, a1, b1, b1, a1, a1]);
    assert_eq!((a.exchanges(), b.exchanges()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_replay_has_a_token_of_the_source_that_was_picked() {
    let (a, b) = (Mint::new(), Mint::new());
    a.then_token("a1").then_token("a2");
    b.then_token("b1");
    let select = tenants(&[("a", a.cache()), ("b", b.cache())]);
    let strict = Strict::that_likes(|token| token != "Bearer a1");
    let service = RetryInvalidTokenLayer::select(select).layer(strict.clone());
    assert_eq!(service.clone().oneshot(of_tenant("b")).await.unwrap().status(), 200);
    assert_eq!(service.oneshot(of_tenant("a")).await.unwrap().status(), 200);
    assert_eq!(strict.seen(), ["Bearer b1", "Bearer a1", "Bearer a2"]);
    assert_eq!((a.exchanges(), b.exchanges()), (2, 1), "the other one's token lives");
}

#[tokio::test(start_paused = true)]
async fn without_a_source_nothing_is_sent() {
    let select = tenants(&[]);
    let strict = Strict::that_likes(|_| true);
    let inject = InjectTokenLayer::select(select.clone()).layer(strict.clone());
    let retry = RetryInvalidTokenLayer::select(select).layer(strict.clone());
    for error in [
        inject.oneshot(of_tenant("a")).await.unwrap_err(),
        retry.oneshot(of_tenant("a")).await.unwrap_err(),
    ] {
        let ClientError::Token(error) = error else { panic!("{error:?}") };
        assert_eq!(error.error().kind(), ErrorKind::Configuration("no such tenant"));
    }
    assert_eq!(strict.seen().len(), 0);
}

/// A shared source is handed through as it is, and not put into another box.
#[test]
fn a_source_that_is_shared_already_is_not_wrapped_again() {
    let shared: Arc<dyn TokenSource> = Arc::new(Token::bearer("t").unwrap());
    let held = Arc::clone(&shared);
    let select = move |_: &Parts| Ok::<_, Error>(Arc::clone(&held));
    let head = of_tenant("a").into_parts().0;
    let picked = SelectSource::select(&select, &head).unwrap();
    assert!(Arc::ptr_eq(&picked, &shared));
}

/// A selector that is a type of its own.
struct ByHost(Arc<dyn TokenSource>);

impl SelectSource for ByHost {
    fn select(&self, head: &Parts) -> Result<Arc<dyn TokenSource>, Error> {
        match head.uri.host() {
            Some("a.example") => Ok(Arc::clone(&self.0)),
            _ => Err(ErrorKind::NotRenewable.into()),
        }
    }
}

#[tokio::test]
async fn a_selector_may_be_a_type() {
    let strict = Strict::that_likes(|_| true);
    let source = Arc::new(Token::bearer("t").unwrap());
    let service = InjectTokenLayer::select(ByHost(source)).layer(strict.clone());
    service.clone().oneshot(of_tenant("x")).await.unwrap();
    let elsewhere = Request::get("https://b.example/").body(Full::<Bytes>::default()).unwrap();
    service.oneshot(elsewhere).await.unwrap_err();
    assert_eq!(strict.seen(), ["Bearer t"]);
}
