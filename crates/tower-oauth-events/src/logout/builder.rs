use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::BuildError;

use super::{BackchannelLogout, Inner};
use crate::intake::Intake;
use crate::seen::SeenNames;
use crate::trust::{Bounds, Options, shared_options};

/// A logout token, and what a form puts round it.
const MAX_BODY: usize = 16 * 1024;
const MAX_TOKEN: usize = 8 * 1024;
/// From `iat` to `exp`; two minutes are advised (Back-Channel Logout §4).
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The life of a token, and the most leeway on either side of it.
const REMEMBERED: Duration = Duration::from_secs(60 * 60 + 2 * 300);
const MAX_REMEMBERED: usize = 100_000;

/// The first step to a [`BackchannelLogout`]: a provider, and no client yet.
#[derive(Clone, Debug)]
#[must_use = "a `BackchannelLogout` needs a client id"]
pub struct BackchannelLogoutIssuer {
    issuer: String,
}

impl BackchannelLogoutIssuer {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// Who is told: the client that is registered with the address of this service. A logout token names it in `aud`.
    pub fn client_id(self, client_id: impl Into<String>) -> BackchannelLogoutBuilder {
        self.client_ids([client_id.into()])
    }

    /// The same for several clients that share the service.
    pub fn client_ids<I: Into<String>>(
        self,
        client_ids: impl IntoIterator<Item = I>,
    ) -> BackchannelLogoutBuilder {
        let client_ids = client_ids.into_iter().map(Into::into).collect();
        BackchannelLogoutBuilder {
            options: Options::new(self.issuer, client_ids),
            accept_untyped: false,
        }
    }
}

/// Builds a [`BackchannelLogout`]; made by [`BackchannelLogout::issuer`] and a client id.
///
/// | option | default |
/// | --- | --- |
/// | [`sink`](Self::sink) | none: one must be given |
/// | [`accept_untyped`](Self::accept_untyped) | off: `typ` is `logout+jwt` |
/// | [`jwks`](Self::jwks) | a key set of its own |
/// | [`jwks_uri`](Self::jwks_uri) | what the provider's metadata say |
/// | [`trust_host`](Self::trust_host) | the provider's own host only |
/// | [`algorithms`](Self::algorithms) | all: RS/PS 256 to 512, ES256, ES384, EdDSA |
/// | [`leeway`](Self::leeway) | 30 s |
/// | [`max_concurrency`](Self::max_concurrency) | 64 requests at a time |
/// | [`http_client`](Self::http_client) | the `transport` feature's; without the feature it must be given |
/// | [`clock`](Self::clock) | the system's |
#[derive(Clone)]
#[must_use]
pub struct BackchannelLogoutBuilder {
    options: Options,
    accept_untyped: bool,
}

impl BackchannelLogoutBuilder {
    shared_options!();

    /// Also takes logout tokens whose `typ` is missing or `JWT`.
    ///
    /// Back-Channel Logout §2.4 only recommends the type, and older providers do not send it. Such a token is told from an ID token by its
    /// `events`, and by its having no `nonce`.
    pub fn accept_untyped(mut self) -> Self {
        self.accept_untyped = true;
        self
    }

    /// Checks the values. Nothing is fetched yet.
    ///
    /// # Errors
    /// A value that cannot work, by name: no absolute https issuer, no client id or an empty one, no sink, no algorithm, a leeway of more than
    /// 300 s, a number of requests out of bounds, keys of another issuer, an option for fetching keys beside [`jwks`](Self::jwks).
    pub fn build(self) -> Result<BackchannelLogout, BuildError> {
        let bounds = Bounds { max_lifetime: MAX_LIFETIME, max_token_bytes: MAX_TOKEN };
        let trust = self.options.trust("client_id", &bounds)?;
        Ok(BackchannelLogout(Arc::new(Inner {
            trust,
            accept_untyped: self.accept_untyped,
            sinks: self.options.sinks,
            seen: SeenNames::new(MAX_REMEMBERED, REMEMBERED),
            intake: Intake::new(self.options.max_concurrency, MAX_BODY),
        })))
    }
}

impl fmt::Debug for BackchannelLogoutBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackchannelLogoutBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
