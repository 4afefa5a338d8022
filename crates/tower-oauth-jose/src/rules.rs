use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::{Algorithm, AlgorithmSet};

const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// What a token must say to be accepted. Configured means required: a claim that is asked for and
/// not there is a refusal.
///
/// | rule | default |
/// | --- | --- |
/// | issuer, one audience or more | none: they must be given |
/// | algorithms | all that are supported |
/// | profile | [`Profile::Rfc9068`] |
/// | leeway | 30 s, for `exp`, `nbf` and `iat` alike; at most 300 s |
/// | maximum lifetime | 24 h |
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_jose::{Algorithm, Profile, Rules};
///
/// let rules = Rules::builder("https://idp.example.com/realms/shop", "inventory")
///     .audience("https://inventory.example.com")
///     .algorithms([Algorithm::ES256, Algorithm::EdDSA])
///     .leeway(Duration::from_secs(5))
///     .max_lifetime(Duration::from_secs(3600))
///     .profile(Profile::Lenient)
///     .build()?;
/// assert_eq!(rules.issuer(), "https://idp.example.com/realms/shop");
///
/// let error = Rules::builder("https://idp.example.com", "inventory")
///     .leeway(Duration::from_secs(3600))
///     .build()
///     .unwrap_err();
/// assert_eq!(error.to_string(), "a leeway of 3600s is more than the 300s that are allowed");
/// # Ok::<(), tower_oauth_jose::InvalidRules>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) issuer: Arc<str>,
    pub(crate) audiences: Vec<Box<str>>,
    pub(crate) algorithms: AlgorithmSet,
    pub(crate) profile: Profile,
    /// In seconds, like the dates in a token.
    pub(crate) leeway: i64,
    pub(crate) max_lifetime: i64,
}

impl Rules {
    /// Rules for the tokens of one issuer that are meant for `audience`.
    ///
    /// Both are compared byte by byte: `https://idp.example.com` and `https://idp.example.com/` are
    /// different issuers (RFC 8414 section 3.3).
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> RulesBuilder {
        RulesBuilder {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            algorithms: AlgorithmSet::ASYMMETRIC,
            profile: Profile::default(),
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// The issuer whose tokens are accepted.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The audiences that we are.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.audiences.iter().map(AsRef::as_ref)
    }

    /// The algorithms that are accepted.
    #[must_use]
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// The profile that tokens must follow.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// How far our clock and the issuer's may differ.
    #[must_use]
    pub fn leeway(&self) -> Duration {
        Duration::from_secs(self.leeway.unsigned_abs())
    }
}

/// The kind of JWT that is accepted as an access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// RFC 9068: `typ` is `at+jwt` (or `application/at+jwt`), and `iss`, `exp`, `aud`, `sub`,
    /// `client_id`, `iat` and `jti` must be there. `scope` is one string.
    #[default]
    Rfc9068,
    /// For issuers that do not follow RFC 9068.
    ///
    /// `typ` may be missing, `JWT`, or `at+jwt`; only `iss`, `aud` and `exp` must be there; `azp`
    /// stands in for `client_id`; the scopes may be a list, and may be called `scp`.
    ///
    /// Since `typ` does not tell an access token from other kinds, what tells those is refused: the
    /// claims `events`, `nonce`, `at_hash`, `c_hash`, `s_hash`, `htm`, `htu` and
    /// `token_introspection`, a `token_use` other than `access`, and the `typ` claims `ID`,
    /// `Refresh`, `Offline` and `Logout`. **An ID token without any of these cannot be told from an
    /// access token**: give the API an audience that is no client's id.
    Lenient,
}

/// Builds [`Rules`]; see there for the defaults.
#[derive(Clone, Debug)]
#[must_use]
pub struct RulesBuilder {
    issuer: String,
    audiences: Vec<String>,
    algorithms: AlgorithmSet,
    profile: Profile,
    leeway: Duration,
    max_lifetime: Duration,
}

impl RulesBuilder {
    /// One more audience that we are. A token needs to name one of them.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts these algorithms only.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Sets the profile.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How far our clock and the issuer's may differ, in whole seconds; at most 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How long a token may live from `iat` to `exp`, in whole seconds. If it has no `iat` (the
    /// lenient profile allows that), from now to `exp`, plus the leeway.
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = max_lifetime;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If the issuer or an audience is empty, no algorithm is accepted, the leeway is more than
    /// 300 s, or the maximum lifetime is less than a second.
    pub fn build(self) -> Result<Rules, InvalidRules> {
        let invalid = |problem| Err(InvalidRules { problem });
        if self.issuer.is_empty() {
            return invalid(Problem::EmptyIssuer);
        }
        if self.audiences.iter().any(String::is_empty) {
            return invalid(Problem::EmptyAudience);
        }
        if self.algorithms.is_empty() {
            return invalid(Problem::NoAlgorithms);
        }
        if self.leeway > MAX_LEEWAY {
            return invalid(Problem::Leeway(self.leeway));
        }
        if self.max_lifetime.as_secs() == 0 {
            return invalid(Problem::Lifetime(self.max_lifetime));
        }
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Ok(Rules {
            issuer: self.issuer.into(),
            audiences: self.audiences.into_iter().map(String::into_boxed_str).collect(),
            algorithms: self.algorithms,
            profile: self.profile,
            leeway: seconds(self.leeway),
            max_lifetime: seconds(self.max_lifetime),
        })
    }
}

/// Rules that make no sense, or would be no rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRules {
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    EmptyIssuer,
    EmptyAudience,
    NoAlgorithms,
    Leeway(Duration),
    Lifetime(Duration),
}

impl fmt::Display for InvalidRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::EmptyIssuer => f.write_str("the issuer is empty"),
            Problem::EmptyAudience => f.write_str("an audience is empty"),
            Problem::NoAlgorithms => f.write_str("no algorithm is accepted"),
            Problem::Leeway(leeway) => {
                write!(f, "a leeway of {leeway:?} is more than the {MAX_LEEWAY:?} that are allowed")
            }
            Problem::Lifetime(lifetime) => {
                write!(f, "a maximum lifetime of {lifetime:?} is less than a second")
            }
        }
    }
}

impl std::error::Error for InvalidRules {}
