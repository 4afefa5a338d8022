use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::profile::Profile;
use crate::{LARGEST_TOKEN_BYTES, MAX_TOKEN_BYTES};

const MAX_LEEWAY: Duration = Duration::from_secs(300);
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 1024..=LARGEST_TOKEN_BYTES;

/// What a token must say to be accepted. Configured means required: a claim that is asked for and
/// not there is a refusal.
///
/// | rule | default |
/// | --- | --- |
/// | issuer, one audience or more | none: they must be given |
/// | algorithms | all but HMAC |
/// | profile | [`Profile::Rfc9068`] |
/// | clients | any |
/// | further claims | none are required |
/// | leeway | 30 s, for `exp`, `nbf` and `iat` alike; at most 300 s |
/// | maximum lifetime | 24 h |
/// | token size | 8 KiB; from 1 KiB to 64 KiB |
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
    /// The clients whose tokens are accepted; any if there is none.
    pub(crate) clients: Vec<Box<str>>,
    pub(crate) required_claims: Vec<&'static str>,
    max_token_bytes: usize,
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
        RulesBuilder { audiences: vec![audience.into()], ..RulesBuilder::new(issuer.into()) }
    }

    /// Rules for an Amazon Cognito user pool, whose access tokens name no audience: tokens of one of
    /// these app clients are accepted, and of no other. See [`Profile::Cognito`].
    ///
    /// ```
    /// use tower_oauth_jose::{Profile, Rules};
    ///
    /// let pool = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE";
    /// let rules = Rules::cognito(pool, ["1h57kf5cpq17m0eml12EXAMPLE"]).build()?;
    /// assert_eq!(rules.profile(), Profile::Cognito);
    /// assert!(Rules::cognito(pool, [""; 0]).build().is_err());
    /// # Ok::<(), tower_oauth_jose::InvalidRules>(())
    /// ```
    pub fn cognito<C: Into<String>>(
        issuer: impl Into<String>,
        clients: impl IntoIterator<Item = C>,
    ) -> RulesBuilder {
        RulesBuilder::new(issuer.into()).profile(Profile::Cognito).clients(clients)
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

    /// The clients whose tokens are accepted; none means any.
    pub fn clients(&self) -> impl Iterator<Item = &str> {
        self.clients.iter().map(AsRef::as_ref)
    }

    /// How long a token may be: for [`Unverified::parse_up_to`](crate::Unverified::parse_up_to).
    #[must_use]
    pub fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// How far our clock and the issuer's may differ.
    #[must_use]
    pub fn leeway(&self) -> Duration {
        Duration::from_secs(self.leeway.unsigned_abs())
    }
}

/// Builds [`Rules`]; see there for the defaults.
#[derive(Clone, Debug)]
#[must_use]
pub struct RulesBuilder {
    issuer: String,
    audiences: Vec<String>,
    algorithms: AlgorithmSet,
    profile: Profile,
    clients: Option<Vec<String>>,
    required_claims: Vec<&'static str>,
    max_token_bytes: usize,
    leeway: Duration,
    max_lifetime: Duration,
}

impl RulesBuilder {
    fn new(issuer: String) -> Self {
        Self {
            issuer,
            audiences: Vec::new(),
            algorithms: AlgorithmSet::ASYMMETRIC,
            profile: Profile::default(),
            clients: None,
            required_claims: Vec::new(),
            max_token_bytes: MAX_TOKEN_BYTES,
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// One more audience that we are. A token needs to name one of them.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts these algorithms only. HMAC must be named here to be accepted.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Accepts tokens that were issued to one of these clients, and no others. Under
    /// [`Profile::Cognito`] this is what stands in for the audience, and must be given.
    pub fn clients<C: Into<String>>(mut self, clients: impl IntoIterator<Item = C>) -> Self {
        self.clients = Some(clients.into_iter().map(Into::into).collect());
        self
    }

    /// Refuses tokens that do not have this claim, or have it as `null`. What is in it is up to the
    /// application.
    pub fn require_claim(mut self, name: &'static str) -> Self {
        self.required_claims.push(name);
        self
    }

    /// Sets the profile.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How long a token may be, in bytes: 8 KiB if not set, from 1 KiB to 64 KiB. What a hostile token
    /// costs grows with it.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
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
    /// If the issuer, an audience, a client or a claim's name is empty; there is no audience (no client
    /// under [`Profile::Cognito`]); there is a list of clients with nobody on it; no algorithm is
    /// accepted; the token size is out of bounds; the leeway is more than 300 s; or the maximum lifetime is less than a second.
    pub fn build(self) -> Result<Rules, InvalidRules> {
        let invalid = |problem| Err(InvalidRules { problem });
        if self.issuer.is_empty() {
            return invalid(Problem::EmptyIssuer);
        }
        if self.audiences.iter().any(String::is_empty) {
            return invalid(Problem::EmptyAudience);
        }
        let by_client = self.profile.shape().audience_may_be_missing;
        if self.audiences.is_empty() && !by_client {
            return invalid(Problem::NoAudience);
        }
        let clients = match self.clients {
            Some(clients) if clients.is_empty() => return invalid(Problem::NoClients),
            None if by_client => return invalid(Problem::NoClients),
            clients => clients.unwrap_or_default(),
        };
        if clients.iter().any(String::is_empty) {
            return invalid(Problem::EmptyClient);
        }
        if self.required_claims.contains(&"") {
            return invalid(Problem::EmptyClaim);
        }
        if self.algorithms.is_empty() {
            return invalid(Problem::NoAlgorithms);
        }
        if !TOKEN_BYTES.contains(&self.max_token_bytes) {
            return invalid(Problem::TokenBytes(self.max_token_bytes));
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
            clients: clients.into_iter().map(String::into_boxed_str).collect(),
            required_claims: self.required_claims,
            max_token_bytes: self.max_token_bytes,
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
    NoAudience,
    EmptyClient,
    NoClients,
    EmptyClaim,
    NoAlgorithms,
    TokenBytes(usize),
    Leeway(Duration),
    Lifetime(Duration),
}

impl fmt::Display for InvalidRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::EmptyIssuer => f.write_str("the issuer is empty"),
            Problem::EmptyAudience => f.write_str("an audience is empty"),
            Problem::NoAudience => f.write_str("there is no audience"),
            Problem::EmptyClient => f.write_str("a client is empty"),
            Problem::NoClients => f.write_str("there is no client"),
            Problem::EmptyClaim => f.write_str("the name of a required claim is empty"),
            Problem::NoAlgorithms => f.write_str("no algorithm is accepted"),
            Problem::TokenBytes(bytes) => {
                write!(f, "a token size of {bytes} bytes is not from 1 KiB to 64 KiB")
            }
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
