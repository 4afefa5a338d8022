use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;
use tower_oauth_core::{BuildError, Clock, SystemClock};

use super::service::{RequireRule, Rule};
use crate::require::Proof;
use crate::{Principal, Rejection};

/// How far the issuer's clock may be from ours, as by default for the other dates of a token.
const LEEWAY: Duration = Duration::from_secs(30);

/// Lets pass only callers who have authenticated strongly or recently enough (RFC 9470, step-up authentication). Goes *inside* of a
/// [`RequireTokenLayer`](crate::RequireTokenLayer).
///
/// | caller | answer |
/// | --- | --- |
/// | fulfils the requirement | the inner service's |
/// | does not, or the token does not say | 401 `insufficient_user_authentication` with `acr_values` and `max_age`, gRPC 16 |
/// | is anonymous, which the door has allowed | 401 without an error, gRPC 16 |
/// | was not checked: no `RequireTokenLayer` further out | 500, gRPC 13 `INTERNAL` |
///
/// What the token says is in [`Principal::acr`] and [`Principal::auth_time`]. A CORS preflight that the door lets in passes here too.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_server::RequireAuthenticationLayer;
///
/// # fn main() -> Result<(), tower_oauth_core::BuildError> {
/// // Payments: with a second factor, and a log-in of the last five minutes.
/// let fresh = RequireAuthenticationLayer::acr_values(["urn:example:mfa"])?
///     .max_age(Duration::from_secs(5 * 60));
/// # drop(fresh); Ok(()) }
/// ```
#[derive(Clone)]
pub struct RequireAuthenticationLayer {
    requirement: AuthenticationRequirement,
    clock: Arc<dyn Clock>,
}

/// What a [`RequireAuthenticationLayer`] asks for; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationRequirement {
    /// As on the wire: separated by single spaces, the preferred first.
    acr_values: Option<Arc<str>>,
    max_age: Option<Duration>,
}

impl RequireAuthenticationLayer {
    /// Asks for an authentication of one of these context classes (`acr`), the preferred first. Compared byte for byte: there is
    /// no order between classes, so a stronger one has to be named too.
    ///
    /// # Errors
    /// There is no value, or one that is empty or has a character other than visible ASCII without quotes and backslashes.
    pub fn acr_values<T: AsRef<str>>(
        values: impl IntoIterator<Item = T>,
    ) -> Result<Self, BuildError> {
        let mut joined = String::new();
        for value in values {
            let value = value.as_ref();
            if value.is_empty()
                || !value.chars().all(|char| char != ' ' && crate::render::is_plain(char))
            {
                return Err(BuildError::new("acr_values", value, "is not one acr value"));
            }
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(value);
        }
        if joined.is_empty() {
            return Err(BuildError::new("acr_values", "", "at least one has to be named"));
        }
        Ok(Self::new(AuthenticationRequirement { acr_values: Some(joined.into()), max_age: None }))
    }

    /// Asks for an authentication (`auth_time`) that is not longer ago than this, in whole seconds and with 30 s of leeway.
    #[must_use]
    pub fn within(max_age: Duration) -> Self {
        Self::new(AuthenticationRequirement { acr_values: None, max_age: None }).max_age(max_age)
    }

    /// Also asks that the authentication is not longer ago than this, in whole seconds and with 30 s of leeway.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.requirement.max_age = Some(Duration::from_secs(max_age.as_secs()));
        self
    }

    /// The clock that `auth_time` is compared with; by default the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn new(requirement: AuthenticationRequirement) -> Self {
        Self { requirement, clock: Arc::new(SystemClock) }
    }
}

impl AuthenticationRequirement {
    /// The context classes, one of which is asked for, the preferred first.
    pub fn acr_values(&self) -> impl Iterator<Item = &str> {
        self.acr_values.iter().flat_map(|values| values.split(' '))
    }

    /// How long ago the authentication may be.
    #[must_use]
    pub const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// `acr_values` as the challenge writes it.
    pub(crate) fn acr_text(&self) -> Option<&str> {
        self.acr_values.as_deref()
    }

    fn fulfilled_by(&self, principal: &Principal, now: Duration) -> bool {
        let strong = self.acr_values.is_none()
            || principal.acr.as_deref().is_some_and(|acr| self.acr_values().any(|one| one == acr));
        let recent = self.max_age.is_none_or(|max_age| {
            principal.auth_time.is_some_and(|at| {
                // A log-in of the future is no recent one.
                at <= now.saturating_add(LEEWAY)
                    && now <= at.saturating_add(max_age).saturating_add(LEEWAY)
            })
        });
        strong && recent
    }
}

impl<S> Layer<S> for RequireAuthenticationLayer {
    type Service = RequireRule<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { requirement, clock } = self.clone();
        let rule: Arc<Rule> = Arc::new(move |proof: &Proof| {
            let now = Duration::from_secs(u64::try_from(clock.unix_seconds()).unwrap_or(0));
            if requirement.fulfilled_by(&proof.principal, now) {
                Ok(())
            } else {
                Err(Rejection::InsufficientAuthentication(requirement.clone()))
            }
        });
        RequireRule::with_rule(inner, rule)
    }
}

impl fmt::Debug for RequireAuthenticationLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireAuthenticationLayer")
            .field("requirement", &self.requirement)
            .finish_non_exhaustive()
    }
}
