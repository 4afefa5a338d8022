//! Back-channel logout from a real authorization server: who logs out there is out here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as the tests do"
)]

use axum::Router;
use tokio::net::TcpListener;
use tower_oauth::{BackchannelLogout, Jwt, RequireTokenLayer, Revocations};
use tower_oauth_tests::idp::{
    Idp, IdpConfig, LogIn, RegisteredClient, Resource, Rotate, SigningAlg,
};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::raw_http;
use tower_oauth_tests::resource;

const APP: &str = "inventory-app";
const INVENTORY: &str = "https://inventory.test";
const LOGOUT: &str = "/backchannel-logout";

/// An authorization server that knows the address of a resource server, and that one.
struct World {
    idp: Idp,
    uri: String,
    revocations: Revocations,
    server: tokio::task::JoinHandle<()>,
}

impl World {
    async fn start(alg: SigningAlg) -> Self {
        logs::print();
        // The address comes first: the client is registered with it.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let app = RegisteredClient::basic(APP, secret())
            .scope("openid inventory.read")
            .backchannel_logout(format!("{uri}{LOGOUT}"));
        let inventory = Resource::jwt(INVENTORY, alg).scope("inventory.read");
        let idp = Idp::start(IdpConfig::new().client(app).resource(inventory)).await;

        let revocations = Revocations::new();
        let jwt = Jwt::issuer(idp.issuer())
            .audience(INVENTORY)
            .revocations(revocations.clone())
            .build()
            .unwrap();
        let logout = BackchannelLogout::issuer(idp.issuer())
            .client_id(APP)
            .sink(revocations.clone())
            .build()
            .unwrap();
        let routes: Router =
            resource::routes().layer(RequireTokenLayer::new(jwt)).route_service(LOGOUT, logout);
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { idp, uri, revocations, server }
    }

    async fn log_in(&self, account: &str) -> LogIn {
        self.idp.log_in((APP, &secret()), account, INVENTORY).await
    }

    async fn status(&self, log_in: &LogIn) -> u16 {
        let bearer = format!("Bearer {}", log_in.access_token());
        let url = format!("{}/whoami", self.uri);
        raw_http::call("GET", &url, &[("authorization", &bearer)], "").await.unwrap().status()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn secret() -> String {
    format!("{CANARY}-{APP}")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_69_who_logs_out_at_the_authorization_server_is_out_at_the_resource_server() {
    let world = World::start(SigningAlg::Es256).await;
    let phone = world.log_in("alice").await;
    let laptop = world.log_in("alice").await;
    let bob = world.log_in("bob").await;
    for _ in 0..2 {
        for log_in in [&phone, &laptop, &bob] {
            assert_eq!(world.status(log_in).await, 200);
        }
    }
    assert!(world.revocations.is_empty());

    world.idp.log_out(&phone).await;
    assert_eq!(world.status(&phone).await, 401);
    assert_eq!(world.status(&laptop).await, 200, "another session of the same account");
    assert_eq!(world.status(&bob).await, 200);

    let again = world.log_in("alice").await;
    assert_eq!(world.status(&again).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_a_new_key_has_signed_counts_too() {
    let world = World::start(SigningAlg::EdDsa).await;
    let log_in = world.log_in("alice").await;
    assert_eq!(world.status(&log_in).await, 200);
    world.idp.rotate(Rotate::Add).await;
    world.idp.log_out(&log_in).await;
    assert_eq!(world.status(&log_in).await, 401);
}
