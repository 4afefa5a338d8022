//! The issuer goes dark: nobody is refused on a warm server, the bound is honest, and recovery is at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use http::uri::PathAndQuery;
use tonic::{Code, Status};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{Authenticated, JwksHealth, Jwt, Rejection, RequireTokenLayer};
use tower_oauth_test::{ManualClock, Rotation, ScriptedIssuer, TokenSpec};

use crate::support::{Seen, seen, with_token};
use crate::tonic_server::Text;

struct House {
    issuer: ScriptedIssuer,
    clock: ManualClock,
    jwt: Jwt,
    /// One validator behind two doors, as in a process that speaks both.
    axum: Router,
    tonic: RequireTokenLayer,
}

impl House {
    async fn warm() -> Self {
        let clock = ManualClock::new();
        let issuer = ScriptedIssuer::builder()
            .audience("inventory")
            .clock(clock.clone())
            .token_life(Duration::from_secs(300))
            .build()
            .unwrap();
        let jwt = Jwt::issuer(issuer.issuer())
            .audience("inventory")
            .http_client(HttpClient::new(issuer.service()))
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
        jwt.jwks().warm().await.unwrap();
        let door = RequireTokenLayer::new(jwt.clone());
        let axum = Router::new().route("/", on_get(whoami)).layer(door.clone());
        Self { issuer, clock, axum, tonic: door, jwt }
    }

    fn token(&self) -> String {
        self.issuer.mint(TokenSpec::new().subject("alice"))
    }

    /// What axum's router answers.
    async fn http(&self, token: &str) -> Seen {
        let app = self
            .axum
            .clone()
            .map_request(|request: http::Request<()>| request.map(|()| axum::body::Body::empty()));
        seen(app, with_token(token)).await
    }

    /// What a tonic client gets from a tonic server.
    async fn grpc(&self, token: &str) -> Result<String, Status> {
        let server = service_fn(async |call: http::Request<tonic::body::Body>| {
            let tell = service_fn(async |request: tonic::Request<String>| {
                let caller = Authenticated::<tower_oauth_server::StandardClaims>::from_extensions(
                    request.extensions(),
                );
                let subject = caller.unwrap().subject().unwrap().to_owned();
                Ok::<_, Status>(tonic::Response::new(subject))
            });
            Ok::<_, Infallible>(tonic::server::Grpc::new(Text).unary(tell, call).await)
        });
        let mut client = tonic::client::Grpc::new(self.tonic.layer(server));
        client.ready().await.unwrap();
        let mut request = tonic::Request::new("who am I?".to_owned());
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        let path = PathAndQuery::from_static("/test.Whoami/Ask");
        client.unary(request, path, Text).await.map(tonic::Response::into_inner)
    }

    /// How many of four are refused: over both stacks a token that nobody has seen, and `known`.
    async fn refused(&self, known: &str) -> u32 {
        let mut refused = 0;
        for token in [self.token().as_str(), known] {
            refused += u32::from(self.http(token).await.body != "alice");
            refused += u32::from(self.grpc(token).await.ok().as_deref() != Some("alice"));
        }
        refused
    }

    async fn second(&self) {
        // What runs in the background runs.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.clock.advance(Duration::from_secs(1));
    }

    /// It is our trouble, over both stacks, and the caller is told when to come again.
    async fn is_unavailable(&self, token: &str) {
        let http = self.http(token).await;
        assert_eq!(http.status, 503);
        assert!(matches!(http.rejection, Some(Rejection::Unavailable { .. })));
        assert!(http.header("retry-after").is_some());
        assert_eq!(http.header("www-authenticate"), None, "not the caller's fault");
        let status = self.grpc(token).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.metadata().contains_key("retry-after"));
        assert!(!status.metadata().contains_key("www-authenticate"));
    }
}

async fn whoami(caller: Authenticated) -> String {
    caller.subject().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn k14_case_34_sixty_minutes_of_darkness_refuse_nobody_on_a_warm_server() {
    let house = House::warm().await;
    house.issuer.go_dark();
    let mut known = house.token();
    let (mut asked, mut refused) = (0, 0);
    for second in 0..3_600 {
        if second % 240 == 0 {
            known = house.token();
        }
        refused += house.refused(&known).await;
        asked += 4;
        house.second().await;
    }
    assert_eq!((asked, refused), (14_400, 0));
    assert!(matches!(house.jwt.jwks().health(), JwksHealth::Stale { .. }));

    // Light again: within the longest pause between refreshes the set is fresh, and nobody waits.
    house.issuer.light_up().unwrap();
    for _ in 0..61 {
        refused += house.refused(&house.token()).await;
        house.second().await;
    }
    assert_eq!(refused, 0);
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test(start_paused = true)]
async fn k14_case_34_keys_that_changed_in_the_dark_are_followed_at_once_when_it_is_light() {
    let house = House::warm().await;
    let old = house.token();
    house.issuer.go_dark();
    house.issuer.rotate(Rotation::Replace);
    let new = house.token();
    for _ in 0..60 {
        assert_eq!(house.http(&old).await.body, "alice");
        // Of a key that nobody could look for it is not known that it is bad.
        house.is_unavailable(&new).await;
        house.second().await;
    }
    house.issuer.light_up().unwrap();
    // No more than the pause after the last look.
    let mut seconds = 0;
    while house.http(&new).await.body != "alice" {
        house.second().await;
        seconds += 1;
        assert!(seconds <= 6, "{seconds} s in the light");
    }
    assert_eq!(house.grpc(&new).await.unwrap(), "alice");
    assert_eq!(house.http(&old).await.status, 401, "the key was withdrawn");
    assert_eq!(house.grpc(&old).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(start_paused = true)]
async fn k14_case_35_past_the_bound_it_is_503_and_unavailable_and_recovery_is_at_once() {
    let house = House::warm().await;
    house.issuer.go_dark();
    // The last good set is good for 24 hours after the ten minutes for which it was fresh.
    house.clock.advance(Duration::from_secs(24 * 3_600 + 599));
    let known = house.token();
    assert_eq!(house.refused(&known).await, 0);
    house.second().await;

    for _ in 0..60 {
        house.is_unavailable(&house.token()).await;
        house.is_unavailable(&known).await;
        house.second().await;
    }
    assert!(matches!(house.jwt.jwks().health(), JwksHealth::Unavailable { .. }));
    // What is wrong with a token is still told as such.
    let expired = house.issuer.mint(TokenSpec::new().expired());
    assert_eq!(house.http(&expired).await.status, 401);
    assert_eq!(house.grpc(&expired).await.unwrap_err().code(), Code::Unauthenticated);

    house.issuer.light_up().unwrap();
    let mut seconds = 0;
    while house.http(&known).await.status != 200 {
        house.second().await;
        seconds += 1;
        assert!(seconds <= 1, "{seconds} s in the light");
    }
    assert_eq!(house.refused(&known).await, 0);
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}
