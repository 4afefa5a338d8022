use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use tower_oauth_core::{BuildError, EndpointUri, Secret};
use tower_oauth_endpoint::{Endpoint, HttpClient};

use super::codec::{Owed, PollCodec};
use super::{DEADLINE, SetPoll};
use crate::SetPush;

const MAX_EVENTS: usize = 32;

/// Builds a [`SetPoll`]; made by [`SetPoll::builder`].
///
/// | option | default |
/// | --- | --- |
/// | [`authorization`](Self::authorization) | none |
/// | [`interval`](Self::interval) | 10 s |
/// | [`http_client`](Self::http_client) | the `transport` feature's; without the feature it must be given |
#[derive(Clone)]
#[must_use]
pub struct SetPollBuilder {
    events: SetPush,
    endpoint: String,
    authorization: Option<Secret>,
    interval: Duration,
    http: Option<HttpClient>,
}

impl SetPollBuilder {
    pub(super) fn new(events: SetPush, endpoint: String) -> Self {
        let interval = Duration::from_secs(10);
        Self { events, endpoint, authorization: None, interval, http: None }
    }

    /// The whole value of the `Authorization` field of each request: `Bearer ..`, say. A token that is renewed is put there by an
    /// [`http_client`](Self::http_client) that wears the client door's layer.
    pub fn authorization(mut self, value: Secret) -> Self {
        self.authorization = Some(value);
        self
    }

    /// How long after it had nothing more the transmitter is asked again: 10 s if not set, from 1 s to an hour. For so long may a dead token be let in.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Polls with this HTTP client, whatever Tower layers it wears.
    pub fn http_client(mut self, http: HttpClient) -> Self {
        self.http = Some(http);
        self
    }

    /// Checks the values. Nothing is asked for yet.
    ///
    /// # Errors
    /// A value that cannot work, by name: an address that is not https (nor loopback), an `Authorization` value that is empty or no field value, an interval out
    /// of bounds, no HTTP client.
    pub fn build(self) -> Result<SetPoll, BuildError> {
        let endpoint = EndpointUri::parse(&self.endpoint)?;
        let authorization = self.authorization.as_ref().map(field_value).transpose()?;
        if !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.interval) {
            let value = format_args!("{:?}", self.interval);
            return Err(BuildError::new("interval", value, "is not between 1 s and an hour"));
        }
        let http = match self.http {
            Some(http) => http,
            None => default_http_client()?,
        };
        let codec = PollCodec { endpoint, authorization };
        Ok(SetPoll {
            events: self.events,
            endpoint: Endpoint::new(codec, http).with_deadline(DEADLINE),
            interval: self.interval,
            max_events: MAX_EVENTS,
            owed: Owed::default(),
        })
    }
}

fn field_value(secret: &Secret) -> Result<HeaderValue, BuildError> {
    let value = HeaderValue::from_str(secret.expose()).ok().filter(|value| !value.is_empty());
    let mut value =
        value.ok_or_else(|| BuildError::new("authorization", "..", "is no field value"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(feature = "transport")]
fn default_http_client() -> Result<HttpClient, BuildError> {
    HttpClient::transport()
}

#[cfg(not(feature = "transport"))]
fn default_http_client() -> Result<HttpClient, BuildError> {
    Err(BuildError::new("http_client", "none", "is needed without the feature `transport`"))
}

impl fmt::Debug for SetPollBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPollBuilder")
            .field("events", &self.events)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
