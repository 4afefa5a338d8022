use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tower_oauth_core::{BuildError, Issuer, Secret};

use super::events::may_end;
use super::subject::{Resolve, SubjectName, Subjects, by_default};
use super::{Counters, Inner, SetPush};
use crate::intake::Intake;
use crate::seen::SeenNames;
use crate::trust::{Bounds, Options, shared_options};

const MAX_SET: usize = 16 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_REMEMBERED: usize = 100_000;

/// The first step to a [`SetPush`]: a transmitter, and nobody yet whom it tells.
#[derive(Clone, Debug)]
#[must_use = "a `SetPush` needs an audience"]
pub struct SetPushTransmitter {
    issuer: String,
}

impl SetPushTransmitter {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// Who is told: the `aud` of the stream.
    pub fn audience(self, audience: impl Into<String>) -> SetPushBuilder {
        self.audiences([audience.into()])
    }

    /// The same where the stream has several names for us.
    pub fn audiences<A: Into<String>>(
        self,
        audiences: impl IntoIterator<Item = A>,
    ) -> SetPushBuilder {
        let audiences = audiences.into_iter().map(Into::into).collect();
        SetPushBuilder {
            options: Options::new(self.issuer, audiences),
            token_issuer: None,
            authorization: None,
            resolve: Arc::new(by_default),
            allowed: None,
        }
    }
}

/// Builds a [`SetPush`]; made by [`SetPush::transmitter`] and an audience.
///
/// | option | default |
/// | --- | --- |
/// | [`sink`](Self::sink) | none: one must be given |
/// | [`token_issuer`](Self::token_issuer) | the transmitter issues the tokens |
/// | [`authorization`](Self::authorization) | none: the signature says who it is |
/// | [`resolve_subject`](Self::resolve_subject) | `opaque` and `email` are the `sub` |
/// | [`allow_events`](Self::allow_events) | all of those in the table |
/// | [`jwks`](Self::jwks) | a key set of its own |
/// | [`jwks_uri`](Self::jwks_uri) | what the transmitter's metadata say |
/// | [`trust_host`](Self::trust_host) | the transmitter's own host only |
/// | [`algorithms`](Self::algorithms) | all: RS/PS 256 to 512, ES256, ES384, EdDSA |
/// | [`leeway`](Self::leeway) | 30 s |
/// | [`max_concurrency`](Self::max_concurrency) | 64 requests at a time |
/// | [`http_client`](Self::http_client) | the `transport` feature's; without the feature it must be given |
/// | [`clock`](Self::clock) | the system's |
#[derive(Clone)]
#[must_use]
pub struct SetPushBuilder {
    options: Options,
    token_issuer: Option<String>,
    authorization: Option<Secret>,
    resolve: Resolve,
    allowed: Option<BTreeSet<String>>,
}

impl SetPushBuilder {
    shared_options!();

    /// Whose tokens end, where the transmitter is not the issuer of the tokens. A transmitter ends the tokens of one issuer.
    pub fn token_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.token_issuer = Some(issuer.into());
        self
    }

    /// The whole value of the `Authorization` field that the transmitter was told to send (SSF's `authorization_header`): `Bearer ..`, say.
    ///
    /// It is compared in constant time, before the body is read. The signature of a SET has to be good in any case.
    pub fn authorization(mut self, value: Secret) -> Self {
        self.authorization = Some(value);
        self
    }

    /// Says which `sub` stands for a subject that comes by another name; `None` for one that is not known.
    ///
    /// It is called while a request is served: a look-up in memory, and nothing that waits.
    pub fn resolve_subject(
        mut self,
        resolve: impl Fn(SubjectName<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.resolve = Arc::new(resolve);
        self
    }

    /// Only events of these types have an effect: what the stream was set up for (SSF's `events_requested`), as whole URIs.
    ///
    /// Others are acknowledged and counted as [`disallowed_events`](super::SetCounts::disallowed_events), and not read any further. More calls add to the list.
    pub fn allow_events<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.allowed.get_or_insert_default().extend(types.into_iter().map(Into::into));
        self
    }

    /// Checks the values. Nothing is fetched yet.
    ///
    /// # Errors
    /// A value that cannot work, by name: no absolute https transmitter or issuer, no audience or an empty one, no sink, an `Authorization` value that is empty
    /// or no field value, an allowed event that ends nothing in any case, or none, no algorithm, a leeway of more than 300 s, a number of requests out of bounds, keys of another issuer, an option for
    /// fetching keys beside [`jwks`](Self::jwks).
    pub fn build(self) -> Result<SetPush, BuildError> {
        // A SET has no life; its rules want one.
        let bounds = Bounds { max_lifetime: DAY, max_token_bytes: MAX_SET };
        let trust = self.options.trust("audience", &bounds)?;
        let issuer = match &self.token_issuer {
            Some(issuer) => {
                Issuer::parse(issuer).map_err(|error| error.with_option("token_issuer"))?
            }
            None => Issuer::parse(&self.options.issuer)?,
        };
        if let Some(value) = &self.authorization {
            let text = value.expose();
            if text.is_empty() || HeaderValue::from_str(text).is_err() {
                return Err(BuildError::new("authorization", "..", "is no field value"));
            }
        }
        if let Some(allowed) = &self.allowed {
            // One that is misspelt would be a revocation that is never heard.
            if let Some(idle) = allowed.iter().find(|name| !may_end(name)) {
                return Err(BuildError::new("allow_events", idle, "is no event that ends tokens"));
            }
            if allowed.is_empty() {
                return Err(BuildError::new("allow_events", "none", "allows no event"));
            }
        }
        let subjects = Subjects { issuer: issuer.as_str().to_owned(), resolve: self.resolve };
        Ok(SetPush(Arc::new(Inner {
            trust,
            subjects,
            allowed: self.allowed,
            authorization: self.authorization,
            sinks: self.options.sinks,
            seen: SeenNames::new(MAX_REMEMBERED, DAY),
            intake: Intake::new(self.options.max_concurrency, MAX_SET),
            counters: Counters::default(),
        })))
    }
}

impl fmt::Debug for SetPushBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPushBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
