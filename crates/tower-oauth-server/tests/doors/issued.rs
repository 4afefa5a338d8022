//! A door that checks real tokens of a scripted issuer, by a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{Jwt, RequireTokenLayer};
use tower_oauth_test::{ManualClock, ScriptedIssuer, TokenSpec};

pub(crate) const NOW: i64 = 1_800_000_000;
/// How long the tokens live.
pub(crate) const LIFE: Duration = Duration::from_secs(600);
/// The leeway of the validator.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
pub(crate) struct Roles {
    #[serde(default)]
    pub(crate) roles: Vec<String>,
}

pub(crate) struct Issued {
    pub(crate) issuer: ScriptedIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) jwt: Jwt<Roles>,
}

impl Issued {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(NOW);
        let issuer = ScriptedIssuer::builder()
            .audience("inventory")
            .clock(clock.clone())
            .token_life(LIFE)
            .build()
            .unwrap();
        let jwt = Jwt::issuer(issuer.issuer())
            .audience("inventory")
            .claims::<Roles>()
            .http_client(HttpClient::new(issuer.service()))
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
        Self { issuer, clock, jwt }
    }

    pub(crate) fn door(&self) -> RequireTokenLayer {
        RequireTokenLayer::new(self.jwt.clone()).clock(Arc::new(self.clock.clone()))
    }

    pub(crate) fn token(&self, spec: TokenSpec) -> String {
        self.issuer.mint(spec)
    }
}
