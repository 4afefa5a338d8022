//! Through both doors, over axum and over tonic, against a real authorization server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as the tests do"
)]

use tower_oauth::{AuthMethod, Jwt, RequireScopeLayer, RequireTokenLayer, TokenCache};
use tower_oauth_tests::clients::{Grpc, Http};
use tower_oauth_tests::idp::{Idp, IdpConfig, RegisteredClient, Resource, Rotate, SigningAlg};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::resource::{self, Server};

const ID: &str = "orders";
const AUDIENCE: &str = "https://inventory.test";
const ALGORITHMS: [SigningAlg; 3] = [SigningAlg::Rs256, SigningAlg::Es256, SigningAlg::EdDsa];

fn secret() -> String {
    format!("{CANARY}-secret")
}

fn config(alg: SigningAlg) -> IdpConfig {
    IdpConfig::new()
        .client(RegisteredClient::basic(ID, secret()).scope("inventory.read"))
        .resource(Resource::jwt(AUDIENCE, alg).scope("inventory.read"))
}

fn tokens(idp: &Idp) -> TokenCache {
    TokenCache::builder()
        .issuer(idp.issuer())
        .client_credentials(ID, secret())
        .scope("inventory.read")
        .resource(AUDIENCE)
        .build()
        .unwrap()
}

/// The two resource servers, each with a key set of its own.
struct Servers {
    http: Server,
    grpc: Server,
}

async fn servers(idp: &Idp) -> Servers {
    let jwt = || Jwt::issuer(idp.issuer()).audience(AUDIENCE).build().unwrap();
    let scope = RequireScopeLayer::all(["inventory.read"]);
    let http = resource::serve(
        resource::routes().route_layer(scope.clone()).layer(RequireTokenLayer::new(jwt())),
    );
    let door = tower::ServiceBuilder::new().layer(RequireTokenLayer::new(jwt())).layer(scope);
    let grpc = resource::serve_grpc(door.into_inner());
    Servers { http: http.await, grpc: grpc.await }
}

/// Two clients of one program: they share a token.
struct Clients {
    http: Http,
    grpc: Grpc,
}

impl Clients {
    fn new(servers: &Servers, tokens: &TokenCache) -> Self {
        Self {
            http: Http::new(servers.http.uri(), tokens.clone()),
            grpc: Grpc::new(servers.grpc.uri(), tokens.clone()),
        }
    }

    /// One call over each; both must succeed.
    async fn call(&self, when: &str) {
        let (status, body) = self.http.get("/whoami").await;
        assert_eq!((status, body.as_str()), (200, "orders may inventory.read"), "{when}");
        assert_eq!(self.grpc.count("bolt").await.unwrap(), 4, "{when}");
    }
}

#[tokio::test]
async fn a_token_of_each_algorithm_opens_both_doors_with_one_exchange() {
    logs::print();
    for alg in ALGORITHMS {
        let idp = Idp::start(config(alg)).await;
        let servers = servers(&idp).await;
        let clients = Clients::new(&servers, &tokens(&idp));
        for _ in 0..3 {
            clients.call("happy path").await;
        }
        let counters = idp.counters().await;
        assert_eq!(
            (counters.token, counters.jwks),
            (1, 2),
            "{alg:?}: one token, one fetch a server"
        );
    }
}

#[tokio::test]
async fn a_restart_of_the_process_is_not_noticed() {
    logs::print();
    for alg in ALGORITHMS {
        let mut idp = Idp::start(config(alg)).await;
        let servers = servers(&idp).await;
        let old = Clients::new(&servers, &tokens(&idp));
        old.call("before").await;
        idp.kill().await;
        old.call("while it is down").await;
        idp.restart().await;
        old.call("after, with the old token").await;
        // New keys come with the restart; a new log-in shows them to the servers.
        let new = Clients::new(&servers, &tokens(&idp));
        new.call("a new log-in").await;
        // By now the servers have seen that the old keys are gone, and refuse the old token.
        old.call("the old one again").await;
        let counters = idp.counters().await;
        assert_eq!(
            (counters.token, counters.jwks),
            (2, 2),
            "{alg:?}: one exchange for each client"
        );
    }
}

#[tokio::test]
async fn every_kind_of_rotation_is_followed_with_one_fetch_a_server() {
    logs::print();
    for alg in ALGORITHMS {
        for kind in [Rotate::Add, Rotate::Replace, Rotate::SameKid] {
            let idp = Idp::start(config(alg)).await;
            let servers = servers(&idp).await;
            let old = Clients::new(&servers, &tokens(&idp));
            old.call("before").await;
            idp.rotate(kind).await;
            idp.reset_counters().await;
            let new = Clients::new(&servers, &tokens(&idp));
            new.call("a new log-in").await;
            old.call("the old one").await;
            let counters = idp.counters().await;
            assert_eq!(counters.jwks, 2, "{alg:?} {kind:?}");
            // Where the old key stays published the old token stays good.
            let exchanges = if matches!(kind, Rotate::Add) { 1 } else { 2 };
            assert_eq!(counters.token, exchanges, "{alg:?} {kind:?}");
        }
    }
}

#[tokio::test]
async fn a_key_of_a_type_that_nobody_knows_disturbs_nobody() {
    logs::print();
    for alg in ALGORITHMS {
        let idp = Idp::start(config(alg).unknown_keys()).await;
        let servers = servers(&idp).await;
        Clients::new(&servers, &tokens(&idp)).call("unknown keys in the set").await;
    }
}

#[tokio::test]
async fn t13_credentials_with_odd_characters_arrive_whole() {
    logs::print();
    let id = "or:de rs+%41";
    let secret = format!("s:e cr+et%20{CANARY}");
    for method in [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost] {
        let client = match method {
            AuthMethod::ClientSecretPost => RegisteredClient::post(id, &secret),
            _ => RegisteredClient::basic(id, &secret),
        };
        let idp = Idp::start(
            IdpConfig::new()
                .client(client.scope("inventory.read"))
                .resource(Resource::jwt(AUDIENCE, SigningAlg::Es256).scope("inventory.read")),
        )
        .await;
        let servers = servers(&idp).await;
        let tokens = TokenCache::builder()
            .issuer(idp.issuer())
            .client_credentials(id, secret.clone())
            .token_endpoint_auth_method(method)
            .scope("inventory.read")
            .build()
            .unwrap();
        let answer = Http::new(servers.http.uri(), tokens).get("/whoami").await;
        assert_eq!(answer, (200, format!("{id} may inventory.read")), "{method:?}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_not_tried_in_a_storm() {
    logs::print();
    let idp = Idp::start(config(SigningAlg::Es256)).await;
    let servers = servers(&idp).await;
    let tokens = TokenCache::builder()
        .issuer(idp.issuer())
        .client_credentials(ID, format!("{CANARY}-wrong"))
        .build()
        .unwrap();
    let grpc = Grpc::new(servers.grpc.uri(), tokens);
    for _ in 0..20 {
        let status = grpc.count("bolt").await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status}");
    }
    assert!(idp.counters().await.token <= 3, "{:?}", idp.counters().await);
}
