//! The issuer goes dark: nobody is refused on a warm server, the bound is honest, and recovery is at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, service_fn};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{Authenticated, JwksHealth, Jwt, Rejection, RequireTokenLayer};
use tower_oauth_test::{ManualClock, ScriptedIssuer, TokenSpec};

use crate::support::{Seen, grpc, seen, with_token};

struct House {
    issuer: ScriptedIssuer,
    clock: ManualClock,
    jwt: Jwt,
    door: RequireTokenLayer,
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
        Self { issuer, clock, door: RequireTokenLayer::new(jwt.clone()), jwt }
    }

    fn token(&self) -> String {
        self.issuer.mint(TokenSpec::new().subject("alice"))
    }

    async fn ask(&self, request: Request<()>) -> Seen {
        seen(self.door.layer(service_fn(greet)), request).await
    }

    /// One request each over HTTP and gRPC, with a token that nobody has seen and with `known`.
    async fn lets_in(&self, known: &str) -> bool {
        let mut all = true;
        for token in [self.token().as_str(), known] {
            let (http, rpc) = (with_token(token), grpc(with_token(token)));
            all &= self.ask(http).await.body == "alice" && self.ask(rpc).await.body == "alice";
        }
        all
    }
}

async fn greet(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let caller =
        Authenticated::<tower_oauth_server::StandardClaims>::from_extensions(request.extensions());
    let name = caller.unwrap().subject().unwrap().to_owned();
    Ok(Response::new(Full::new(Bytes::from(name))))
}

#[tokio::test(start_paused = true)]
async fn k14_case_34_sixty_minutes_of_darkness_refuse_nobody_on_a_warm_server() {
    let house = House::warm().await;
    house.issuer.go_dark();
    let mut known = house.token();
    let mut refused = 0;
    for second in 0..3_600 {
        if second % 240 == 0 {
            known = house.token();
        }
        refused += u32::from(!house.lets_in(&known).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
        house.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(refused, 0);
    assert!(matches!(house.jwt.jwks().health(), JwksHealth::Stale { .. }));

    // Light again: within the longest pause between refreshes the set is fresh, and nobody waits.
    house.issuer.light_up().unwrap();
    for _ in 0..61 {
        assert!(house.lets_in(&house.token()).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
        house.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test(start_paused = true)]
async fn k14_case_35_past_the_bound_it_is_503_and_unavailable_and_recovery_is_at_once() {
    let house = House::warm().await;
    house.issuer.go_dark();
    house.clock.advance(Duration::from_secs(24 * 3_600 + 599));
    let known = house.token();
    assert!(house.lets_in(&known).await);
    tokio::time::sleep(Duration::from_millis(1)).await;
    house.clock.advance(Duration::from_secs(1));

    for token in [house.token(), known.clone()] {
        let http = house.ask(with_token(&token)).await;
        assert_eq!(http.status, 503);
        assert!(matches!(http.rejection, Some(Rejection::Unavailable { .. })));
        assert!(http.header("retry-after").is_some());
        assert_eq!(http.header("www-authenticate"), None, "not the caller's fault");
        let rpc = house.ask(grpc(with_token(&token))).await;
        assert_eq!((rpc.status.as_u16(), rpc.header("grpc-status")), (200, Some("14")));
    }
    // What is wrong with a token is still told as such.
    let expired = house.issuer.mint(TokenSpec::new().expired());
    assert_eq!(house.ask(with_token(&expired)).await.status, 401);
    assert_eq!(house.ask(grpc(with_token(&expired))).await.header("grpc-status"), Some("16"));

    house.issuer.light_up().unwrap();
    house.clock.advance(Duration::from_secs(1));
    assert!(house.lets_in(&known).await, "within a second");
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn k14_case_34_case_35_darkness_behind_an_axum_router() {
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn whoami(caller: Authenticated) -> String {
        caller.subject().unwrap().to_owned()
    }
    let house = House::warm().await;
    let app = Router::new().route("/", get(whoami)).layer(house.door.clone());
    let ask = async |token: &str| {
        let app = app
            .clone()
            .map_request(|request: Request<()>| request.map(|()| axum::body::Body::empty()));
        seen(app, with_token(token)).await
    };
    house.issuer.go_dark();
    for _ in 0..60 {
        house.clock.advance(Duration::from_secs(60));
        assert_eq!(ask(&house.token()).await.body, "alice");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    house.clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(ask(&house.token()).await.status, 503);
    house.issuer.light_up().unwrap();
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&house.token()).await.body, "alice");
}
