//! Who takes part: the issuer, a resource server for each group, their clients.

use std::sync::Arc;
use std::time::Duration;

use tower_oauth::{Authenticate, BoxError, Jwt, Secret};
use tower_oauth_test::{Endpoint, ScriptedIssuer, Serving};

use crate::args::Login;
use crate::control::{ControlDevice, Idp, KeysLoadedOnce};
use crate::load::{Device, Group, Load, Protocol, Target};
use crate::mood::Mood;
use crate::ours::OurDevice;
use crate::progress::Progress;
use crate::report::{Incident, Phase};
use crate::resource::{Resource, SCOPE, SessionCheck};
use crate::wire;

const AUDIENCE: &str = "https://inventory.example";

/// Everything that takes part.
pub(crate) struct Stage {
    pub(crate) issuer: ScriptedIssuer,
    _issuer_socket: Serving,
    login: Login,
    pub(crate) ours: Resource,
    pub(crate) our_target: Target,
    pub(crate) control: Resource,
    control_target: Target,
    control_keys: KeysLoadedOnce,
    control_idp: Idp,
    pub(crate) load: Arc<Load>,
    progress: Progress,
}

impl Stage {
    /// Starts the issuer and both resource servers. Nobody sends anything yet.
    pub(crate) async fn set(load: Arc<Load>, progress: Progress) -> Result<Self, BoxError> {
        let issuer = ScriptedIssuer::builder()
            .client("orders", "s3cret")
            .client("control", "s3cret")
            .audience(AUDIENCE)
            .build()?;
        let issuer_socket = issuer.serve().await?;
        let login = Login {
            issuer: issuer.issuer(),
            client_id: "orders".into(),
            secret: Secret::new("s3cret"),
            scopes: vec![SCOPE.into()],
            resource: Some(AUDIENCE.into()),
        };

        // Our server follows the keys of the issuer by itself: that is all there is to configure.
        let jwt = Jwt::issuer(&login.issuer).audience(AUDIENCE).build()?;
        let ours = resource(jwt, &issuer).await?;

        // An account of its own: where one token is alive for each, the groups do not share it.
        let control_idp = Idp::new(Login { client_id: "control".into(), ..login.clone() })?;
        let control_keys = KeysLoadedOnce::start(&control_idp, AUDIENCE).await?;
        let control = resource(control_keys.clone(), &issuer).await?;

        let our_target = target(&ours)?;
        let control_target = target(&control)?;
        Ok(Self {
            issuer,
            _issuer_socket: issuer_socket,
            login,
            ours,
            our_target,
            control,
            control_target,
            control_keys,
            control_idp,
            load,
            progress,
        })
    }

    /// Begins a phase. The operators of the control group have noticed the trouble of the one before
    /// and restart everything, so that each phase shows its own damage only.
    pub(crate) async fn begin(&self, name: &'static str) -> Result<Phase, BoxError> {
        self.control_keys.restart(&self.control_idp, AUDIENCE).await?;
        let device = self.control_device();
        device.send(Protocol::Http, None).await?;
        self.load.equip(Group::Control, vec![device]);
        self.progress.phase(name);
        let mut phase = Phase::new(name, self.load.now());
        phase.token_requests = Some(self.token_requests());
        phase.jwks_fetches = Some(self.jwks_fetches());
        Ok(phase)
    }

    pub(crate) fn end(&self, phases: &mut [Phase]) {
        if let Some(phase) = phases.last_mut() {
            phase.ended = self.load.now();
            phase.token_requests =
                phase.token_requests.map(|before| self.token_requests() - before);
            phase.jwks_fetches = phase.jwks_fetches.map(|before| self.jwks_fetches() - before);
        }
    }

    pub(crate) fn mark(&self, phases: &mut [Phase], label: &'static str, lasted: Duration) {
        if let Some(phase) = phases.last_mut() {
            phase.incident = Some(Incident { label, at: self.load.now(), lasted });
        }
    }

    /// What our group asked for: all that the issuer counted, without the control group's.
    fn token_requests(&self) -> u64 {
        self.issuer.calls(Endpoint::Token).saturating_sub(self.control_idp.token_calls())
    }

    fn jwks_fetches(&self) -> u64 {
        self.issuer.calls(Endpoint::Jwks).saturating_sub(self.control_idp.jwks_calls())
    }

    pub(crate) fn our_device(&self) -> Result<Arc<dyn Device>, BoxError> {
        Ok(Arc::new(OurDevice::new(&self.login, &self.our_target)?))
    }

    /// One that also takes a bare 403 for a dead token, if it is one.
    pub(crate) fn our_device_at_a_gateway(&self) -> Result<Arc<OurDevice>, BoxError> {
        Ok(Arc::new(OurDevice::at_a_gateway(&self.login, &self.our_target)?))
    }

    pub(crate) fn control_device(&self) -> Arc<dyn Device> {
        Arc::new(ControlDevice::new(self.control_idp.clone(), self.control_target.clone()))
    }
}

async fn resource(inner: impl Authenticate, issuer: &ScriptedIssuer) -> Result<Resource, BoxError> {
    let mood = Mood::default();
    let check = SessionCheck { inner, issuer: issuer.clone(), mood: mood.clone() };
    Resource::start(check, mood).await
}

fn target(resource: &Resource) -> Result<Target, BoxError> {
    Ok(Target {
        uri: format!("{}/stock/bolt-m8", resource.uri).parse()?,
        http: wire::plain(),
        grpc: Some(tonic::transport::Channel::from_shared(resource.uri.clone())?.connect_lazy()),
    })
}
