use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::{BuildError, Clock, Issuer, RevocationSink, Secret, SystemClock};

use super::signature::Keys;
use super::{Inner, Webhook};
use crate::intake::Intake;
use crate::seen::SeenNames;
use crate::trust::check_intake;

const MAX_BODY: usize = 64 * 1024;
const MAX_REMEMBERED: usize = 100_000;

/// The first step to a [`Webhook`]: an issuer, and nobody yet who may tell of its tokens.
#[derive(Clone, Debug)]
#[must_use = "a `Webhook` needs a secret"]
pub struct WebhookIssuer {
    issuer: String,
}

impl WebhookIssuer {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// What the sender signs with: `whsec_` and Base64, or else the bytes of the text. At least 24 bytes.
    pub fn secret(self, secret: Secret) -> WebhookBuilder {
        WebhookBuilder {
            issuer: self.issuer,
            secrets: vec![secret],
            window: Duration::from_secs(300),
            sinks: Vec::new(),
            max_concurrency: 64,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Builds a [`Webhook`]; made by [`Webhook::issuer`] and a secret.
///
/// | option | default |
/// | --- | --- |
/// | [`sink`](Self::sink) | none: one must be given |
/// | [`also_secret`](Self::also_secret) | the one secret |
/// | [`window`](Self::window) | 300 s |
/// | [`max_concurrency`](Self::max_concurrency) | 64 requests at a time |
/// | [`clock`](Self::clock) | the system's |
#[derive(Clone)]
#[must_use]
pub struct WebhookBuilder {
    issuer: String,
    secrets: Vec<Secret>,
    window: Duration,
    sinks: Vec<Arc<dyn RevocationSink>>,
    max_concurrency: usize,
    clock: Arc<dyn Clock>,
}

impl WebhookBuilder {
    /// Tells this sink. Each one that is given is told, in the order in which they are given; the answer goes out after that.
    pub fn sink(mut self, sink: impl RevocationSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Also takes what is signed with this secret: while one is changed. At most four in all.
    pub fn also_secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// How far the timestamp may be away from now: 300 s if not set, from 10 s to an hour, in whole seconds.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many requests are served at a time: 64 if not set, from 1 to 10,000. More get 503 at once, and come again.
    pub fn max_concurrency(mut self, max_concurrency: usize) -> Self {
        self.max_concurrency = max_concurrency;
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A value that cannot work, by name: no absolute https issuer, a secret that is too short or no Base64, more than four secrets, no sink, a window or a
    /// number of requests out of bounds.
    pub fn build(self) -> Result<Webhook, BuildError> {
        let issuer = Issuer::parse(&self.issuer)?.as_str().to_owned();
        check_intake(self.sinks.len(), self.max_concurrency)?;
        if self.secrets.len() > 4 {
            return Err(BuildError::new("also_secret", "..", "makes more than four secrets"));
        }
        if !(10..=3_600).contains(&self.window.as_secs()) {
            let value = format_args!("{:?}", self.window);
            return Err(BuildError::new("window", value, "is not between 10 s and an hour"));
        }
        // From a window ahead of now to one behind it, and the second that is under way.
        let remembered = Duration::from_secs(2 * self.window.as_secs() + 1);
        Ok(Webhook(Arc::new(Inner {
            issuer,
            keys: Keys::new(&self.secrets)?,
            window: self.window.as_secs(),
            sinks: self.sinks,
            seen: SeenNames::new(MAX_REMEMBERED, remembered),
            intake: Intake::new(self.max_concurrency, MAX_BODY),
            clock: self.clock,
        })))
    }
}

impl fmt::Debug for WebhookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookBuilder").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
