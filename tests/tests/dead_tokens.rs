//! Tokens that die before their time, on real sockets: the caller never learns of it.
//!
//! The issuer is scripted; the resources ask its session state, so a restart kills every token at
//! once although its signature and its `exp` are fine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::time::Duration;

use tokio::task::JoinSet;
use tower_oauth::{Jwt, RequireTokenLayer, TokenCache};
use tower_oauth_test::{Endpoint, Fault, ScriptedIssuer};
use tower_oauth_tests::clients::{Grpc, Http};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::resource::{self, Server};
use tower_oauth_tests::session::Session;

struct World {
    issuer: ScriptedIssuer,
    _idp: tower_oauth_test::Serving,
    http: Server,
    grpc: Server,
}

impl World {
    async fn start() -> Self {
        logs::print();
        let secret = format!("{CANARY}-secret");
        let issuer = ScriptedIssuer::builder()
            .client("orders", secret)
            .audience("inventory")
            // The tokens themselves carry the canary too.
            .claim("note", CANARY)
            .build()
            .unwrap();
        let idp = issuer.serve().await.unwrap();
        let door = || {
            let jwt = Jwt::issuer(issuer.issuer()).audience("inventory").build().unwrap();
            RequireTokenLayer::new(Session::new(jwt, issuer.clone()))
        };
        let http = resource::serve(resource::routes().layer(door())).await;
        let grpc = resource::serve_grpc(door()).await;
        Self { issuer, _idp: idp, http, grpc }
    }

    fn tokens(&self) -> TokenCache {
        TokenCache::builder()
            .issuer(self.issuer.issuer())
            .client_credentials("orders", format!("{CANARY}-secret"))
            .scope("inventory.read")
            .build()
            .unwrap()
    }

    fn clients(&self) -> (Http, Grpc) {
        let tokens = self.tokens();
        (Http::new(self.http.uri(), tokens.clone()), Grpc::new(self.grpc.uri(), tokens))
    }
}

#[tokio::test]
async fn all_four_kinds_of_grpc_calls_survive_the_death_of_their_token() {
    let world = World::start().await;
    let (_, grpc) = world.clients();
    for round in 0..4 {
        world.issuer.restart();
        match round {
            0 => assert_eq!(grpc.count("bolt").await.unwrap(), 4),
            1 => assert_eq!(grpc.list(4).await.unwrap(), [0, 1, 2, 3]),
            2 => assert_eq!(grpc.receive(&[1, 2, 3, 4]).await.unwrap(), 10),
            _ => assert_eq!(grpc.watch(&["a", "bb", "ccc"]).await.unwrap(), [1, 2, 3]),
        }
        assert_eq!(world.issuer.calls(Endpoint::Token), round + 1, "one exchange a restart");
    }
}

#[tokio::test]
async fn a_request_body_is_sent_again_whole() {
    let world = World::start().await;
    let (http, grpc) = world.clients();
    let long = "x".repeat(60 * 1024);
    assert_eq!(http.get("/whoami").await.0, 200);
    world.issuer.restart();
    assert_eq!(http.post("/echo", &long).await, (200, long.clone()));
    world.issuer.restart();
    assert_eq!(grpc.count(&long).await.unwrap(), 60 * 1024);
    assert_eq!(world.issuer.calls(Endpoint::Token), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_a_restart_are_one_exchange_and_no_failure_twice() {
    let world = World::start().await;
    let (http, grpc) = world.clients();
    assert_eq!(http.get("/whoami").await.0, 200);
    for restart in 1..=2 {
        let mut calls = JoinSet::new();
        world.issuer.restart();
        for n in 0..1_000 {
            let (http, grpc) = (http.clone(), grpc.clone());
            calls.spawn(async move {
                if n % 2 == 0 {
                    http.get("/whoami").await.0 == 200
                } else {
                    grpc.count("x").await.is_ok()
                }
            });
        }
        let answers = calls.join_all().await;
        assert_eq!(answers.iter().filter(|good| !**good).count(), 0, "restart {restart}");
        assert_eq!(world.issuer.calls(Endpoint::Token), restart + 1);
    }
}

#[tokio::test]
async fn an_issuer_that_needs_a_second_to_come_back_is_waited_for() {
    let world = World::start().await;
    let (http, grpc) = world.clients();
    assert_eq!(http.get("/whoami").await.0, 200);
    world.issuer.restart();
    world.issuer.fault(Endpoint::Token, Fault::Status(503)).times(2);
    let (answer, count) = tokio::join!(http.get("/whoami"), grpc.count("bolt"));
    assert_eq!((answer.0, count.unwrap()), (200, 4));
}

#[tokio::test]
async fn without_any_token_a_tonic_caller_is_told_unavailable_and_not_unknown() {
    let world = World::start().await;
    let (_, grpc) = world.clients();
    world.issuer.go_dark();
    let status = tokio::time::timeout(Duration::from_secs(10), grpc.count("bolt")).await.unwrap();
    assert_eq!(status.unwrap_err().code(), tonic::Code::Unavailable);
    world.issuer.light_up().unwrap();
}

#[tokio::test]
async fn with_the_keys_out_of_reach_a_good_token_is_unavailable_and_not_refused() {
    let world = World::start().await;
    world.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    let (http, grpc) = world.clients();
    assert_eq!(http.get("/whoami").await.0, 503);
    assert_eq!(grpc.count("bolt").await.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(world.issuer.calls(Endpoint::Token), 1, "an outage is no reason for another token");
}
