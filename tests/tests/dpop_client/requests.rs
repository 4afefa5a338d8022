//! A proof with each request: for it, for its token, and for nothing else.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth::{
    BoxFuture, Error, InjectTokenLayer, Need, RetryInvalidTokenLayer, Token, TokenCache,
    TokenSource,
};

use crate::rig::{API, Came, First, Req, World, get, net, status};

fn ath(came: &Came) -> String {
    let token = came.authorization.strip_prefix("DPoP ").unwrap();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

/// Hands on what a cache gives, and knows nothing of keys.
struct Wrapper(TokenCache);

impl TokenSource for Wrapper {
    fn peek(&self) -> Option<Token> {
        self.0.peek()
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        self.0.fetch(need)
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.0.recognise(authorization)
    }
}

#[tokio::test(start_paused = true)]
async fn d01_d02_d03_each_request_has_a_proof_of_its_own_that_our_server_door_takes() {
    let world = World::new().await;
    let resource = world.resource(world.dpop(), First::Token);
    let inject = InjectTokenLayer::new(world.tokens()).layer(resource.clone());
    let retry = RetryInvalidTokenLayer::new(Wrapper(world.tokens())).layer(resource);
    let mut names = HashSet::new();
    for (method, path, htu) in [
        ("GET", "/stock/7?limit=1", "/stock/7"),
        ("POST", "", "/"),
        ("PUT", "/a%20b/%7Ec//d/./e", "/a%20b/%7Ec//d/./e"),
        ("OPTIONS", "/?", "/"),
    ] {
        let request = || {
            Request::builder()
                .method(method)
                .uri(format!("{API}{path}"))
                .body(Full::<Bytes>::default())
        };
        assert_eq!(status(&inject, request().unwrap()).await, 200, "{method} {path}");
        assert_eq!(status(&retry, request().unwrap()).await, 200, "{method} {path}");
        let seen = world.seen.take();
        assert_eq!(seen.len(), 2);
        for came in seen {
            assert_eq!(came.said("htm"), Some(method));
            assert_eq!(came.said("htu"), Some(&*format!("{API}{htu}")));
            assert_eq!(came.said("ath"), Some(&*ath(&came)));
            assert_eq!(came.said("nonce"), None);
            assert!(names.insert(came.said("jti").unwrap().to_owned()), "a jti twice");
        }
    }
    assert_eq!(world.exchanges.take().len(), 2, "one for each source");
}

#[tokio::test(start_paused = true)]
async fn d02_the_authority_is_in_its_normal_form_and_the_clock_is_the_sources() {
    let world = World::new().await;
    let service = RetryInvalidTokenLayer::new(world.tokens())
        .layer(net(&world.seen, |_| http::Response::default()));
    for (uri, htu) in [
        ("HTTPS://API.Example.com:443/A", "https://api.example.com/A"),
        ("https://api.example.com:8443/A", "https://api.example.com:8443/A"),
        ("wss://api.example.com/A", "https://api.example.com/A"),
        ("http://127.0.0.1:80/", "http://127.0.0.1/"),
        ("http://[::1]:9000/", "http://[::1]:9000/"),
    ] {
        assert_eq!(status(&service, get(uri)).await, 200);
        assert_eq!(world.seen.take()[0].said("htu"), Some(htu), "{uri}");
    }
    assert_eq!(status(&service, get(API)).await, 200);
    let before = world.seen.take()[0].proof["iat"].as_i64().unwrap();
    world.clock.step_wall(100);
    assert_eq!(status(&service, get(API)).await, 200);
    assert_eq!(world.seen.take()[0].proof["iat"], before + 100);
}

#[tokio::test(start_paused = true)]
async fn r11_after_a_replacement_the_replay_has_a_proof_for_the_new_token() {
    let world = World::new().await;
    let service = RetryInvalidTokenLayer::new(world.tokens())
        .layer(world.resource(world.dpop(), First::Token));
    assert_eq!(status(&service, get(API)).await, 200);
    for _ in 0..20 {
        world.kill(world.seen.take().last().unwrap());
        assert_eq!(status(&service, get(API)).await, 200);
        // Otherwise it would be a duel.
        world.clock.advance(std::time::Duration::from_secs(600));
        let seen = world.seen.take();
        assert_eq!(seen.len(), 2);
        assert_ne!(seen[0].authorization, seen[1].authorization);
        assert_ne!(seen[0].said("jti"), seen[1].said("jti"));
        assert_eq!(seen[1].said("ath"), Some(&*ath(&seen[1])));
        assert_eq!(status(&service, get(API)).await, 200);
    }
    assert_eq!(world.exchanges.take().len(), 21);
}

#[tokio::test(start_paused = true)]
async fn layers_in_any_order_over_one_source_send_one_proof_that_holds() {
    let world = World::new().await;
    let resource = || world.resource(world.dpop(), First::Token);
    let tokens = world.tokens();
    let inject = || InjectTokenLayer::new(tokens.clone());
    let retry = || RetryInvalidTokenLayer::new(tokens.clone());
    let one = ServiceBuilder::new().layer(inject()).layer(retry()).service(resource());
    let other = ServiceBuilder::new().layer(retry()).layer(inject()).service(resource());
    let twice = ServiceBuilder::new().layer(retry()).layer(retry()).service(resource());
    for _ in 0..2 {
        assert_eq!(status(&one, get(API)).await, 200);
        assert_eq!(status(&other, get(API)).await, 200);
        assert_eq!(status(&twice, get(API)).await, 200);
        world.kill(world.seen.take().last().unwrap());
    }
    assert_eq!(world.exchanges.take().len(), 2);
}

/// A layer that sends again what it was given would send the proof twice; the layer inside makes another.
#[tokio::test(start_paused = true)]
async fn d03_a_retry_outside_of_the_door_is_no_replay_of_a_proof() {
    let world = World::new().await;
    let tokens = world.tokens();
    let resource = world.resource(world.dpop(), First::Token);
    let inside = InjectTokenLayer::new(tokens.clone()).layer(resource);
    let thrice = service_fn(move |request: Req| {
        let inside = inside.clone();
        async move {
            for _ in 0..2 {
                assert_eq!(status(&inside, request.clone()).await, 200);
            }
            inside.oneshot(request).await
        }
    });
    let service = InjectTokenLayer::new(tokens).layer(thrice);
    let answer = service.oneshot(get(API)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = world.seen.take();
    let names: HashSet<_> = seen.iter().map(|came| came.said("jti")).collect();
    assert_eq!((seen.len(), names.len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn r02_the_callers_own_authorization_and_proof_go_untouched() {
    let world = World::new().await;
    let service = RetryInvalidTokenLayer::new(world.tokens()).layer(net(&world.seen, |headers| {
        assert_eq!(headers["authorization"], "DPoP mine");
        assert_eq!(headers["dpop"], "e30.e30.e30");
        crate::rig::challenge("use_dpop_nonce", Some("n"))
    }));
    let request = Request::get(API)
        .header("authorization", "DPoP mine")
        .header("dpop", {
            let mut proof = HeaderValue::from_static("e30.e30.e30");
            proof.set_sensitive(true);
            proof
        })
        .body(Full::default());
    assert_eq!(status(&service, request.unwrap()).await, 401);
    assert_eq!(world.seen.take().len(), 1);
}
