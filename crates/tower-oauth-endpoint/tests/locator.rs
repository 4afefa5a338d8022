//! Where an endpoint is thought to be, and when the metadata are asked again.

// What clippy allows in tests it takes for production code in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_oauth_core::codec::{Metadata, MetadataCodec};
use tower_oauth_core::{EndpointUri, Error, ErrorKind, Issuer};
use tower_oauth_endpoint::{Discovery, HttpClient, Locator};
use tower_oauth_test::{Endpoint, Fault, ManualClock, ScriptedIssuer};

const HOUR: Duration = Duration::from_secs(60 * 60);

struct World {
    issuer: ScriptedIssuer,
    clock: ManualClock,
    locator: Locator,
    called: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let issuer = ScriptedIssuer::builder().build().unwrap();
        let clock = ManualClock::new();
        let discovery = Discovery::new(MetadataCodec::new(), HttpClient::new(issuer.service()));
        let id = Issuer::parse(&issuer.issuer()).unwrap();
        let pick = Metadata::jwks_uri;
        let locator = Locator::discovered(id, discovery, pick, Arc::new(clock.clone()));
        Self { issuer, clock, locator, called: Arc::default() }
    }

    /// Calls the endpoint, which answers so.
    async fn call(&self, answer: Result<(), ErrorKind>) -> Result<(), ErrorKind> {
        let called = self.locator.call(|uri: EndpointUri| async move {
            self.called.lock().unwrap().push(uri.to_string());
            answer.map_err(Error::from)
        });
        called.await.map_err(|error| error.kind())
    }

    fn discoveries(&self) -> u64 {
        self.issuer.calls(Endpoint::Discovery)
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_discovered_once_and_again_after_an_hour() {
    let world = World::new();
    for _ in 0..3 {
        world.call(Ok(())).await.unwrap();
    }
    assert_eq!(world.discoveries(), 1);
    world.clock.advance(HOUR);
    world.call(Ok(())).await.unwrap();
    world.call(Ok(())).await.unwrap();
    assert_eq!(world.discoveries(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_has_worked_is_better_than_none() {
    let world = World::new();
    world.call(Ok(())).await.unwrap();
    world.clock.advance(HOUR);
    world.issuer.fault(Endpoint::Discovery, Fault::Status(500));
    world.call(Ok(())).await.unwrap();
    world.issuer.fault(Endpoint::Discovery, Fault::Hang);
    world.call(Ok(())).await.unwrap();
    assert_eq!(world.called.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_any_address_the_discovery_says_why() {
    let world = World::new();
    world.issuer.fault(Endpoint::Discovery, Fault::Status(500));
    assert_eq!(world.call(Ok(())).await, Err(ErrorKind::Status(500)));
    assert!(world.called.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_there_is_looked_for_once_and_called_again_if_it_moved() {
    let world = World::new();
    world.call(Ok(())).await.unwrap();
    for (kind, asks) in [
        (ErrorKind::Transport, 1),
        (ErrorKind::Status(404), 1),
        (ErrorKind::Redirect, 1),
        (ErrorKind::Status(503), 0),
        (ErrorKind::Timeout, 0),
    ] {
        let before = world.discoveries();
        world.called.lock().unwrap().clear();
        assert_eq!(world.call(Err(kind)).await, Err(kind));
        assert_eq!(world.discoveries() - before, asks, "{kind:?}");
        assert_eq!(world.called.lock().unwrap().len(), 1, "{kind:?}: it has not moved");
    }
}

#[tokio::test]
async fn a_fixed_address_is_never_discovered() {
    let locator = Locator::fixed(EndpointUri::parse("https://idp.example/token").unwrap());
    let answer = locator.call(|uri| async move { Ok(uri.to_string()) }).await;
    assert_eq!(answer.unwrap(), "https://idp.example/token");
}
