use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_oauth_core::codec::{ActiveToken, ClientAuth, IntrospectionCodec, MetadataCodec};
use tower_oauth_core::{BuildError, Clock, EndpointUri, Issuer, Secret, SystemClock};
use tower_oauth_endpoint::{Endpoint, FurtherAddresses, HttpClient};
use tower_oauth_jose::{InvalidToken, StandardClaims};
use tower_single_flight::SingleFlightLayer;

use super::edge::{Ask, Asker, DEADLINE, Edge, FlightKey};
use super::gate::Gate;
use super::key::Keys;
use super::known::{ReadClaims, Rules, standard};
use super::limit::Limit;
use super::place::Place;
use super::signed::SignedAnswers;
use super::store::{Landed, Store};
use super::{Introspection, Outage, Route, Shared};
use crate::jwks::default_http_client;
use crate::{Jwks, Revocations};

const MAX_LEEWAY: Duration = Duration::from_secs(300);
const MAX_CACHE_TTL: Duration = Duration::from_secs(300);
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60);
const MAX_ENTRIES: usize = 1_000_000;
const MAX_CONCURRENCY: usize = 10_000;
/// How many requests with one token may wait for its answer. They hold a token of up to 8 KiB each.
const MAX_WAITERS: usize = 8_192;

/// The first step to an [`Introspection`]: an issuer, and nobody yet who asks it.
#[derive(Clone, Debug)]
#[must_use = "an `Introspection` needs client credentials and an audience"]
pub struct IntrospectionIssuer {
    issuer: String,
}

/// The second step to an [`Introspection`]: an issuer and a client, and no audience yet.
#[derive(Clone, Debug)]
#[must_use = "an `Introspection` needs an audience"]
pub struct IntrospectionClient {
    issuer: String,
    id: String,
    secret: Secret,
}

impl IntrospectionIssuer {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// Who we are to the issuer: an endpoint that tells anybody what a token is worth would be good for trying tokens out, so
    /// it asks for authentication (RFC 7662 §2.1).
    pub fn client_credentials(
        self,
        id: impl Into<String>,
        secret: impl Into<Secret>,
    ) -> IntrospectionClient {
        IntrospectionClient { issuer: self.issuer, id: id.into(), secret: secret.into() }
    }
}

impl IntrospectionClient {
    /// Accepts tokens that name this audience (`aud`): us.
    pub fn audience(self, audience: impl Into<String>) -> IntrospectionBuilder {
        self.audiences([audience.into()])
    }

    /// Accepts tokens that name one of these audiences, where we have several names.
    pub fn audiences<A: Into<String>>(
        self,
        audiences: impl IntoIterator<Item = A>,
    ) -> IntrospectionBuilder {
        IntrospectionBuilder {
            options: Options {
                issuer: self.issuer,
                id: self.id,
                secret: self.secret,
                audiences: audiences.into_iter().map(Into::into).collect(),
                may_lack_audience: false,
                post: false,
                endpoint: None,
                also_at: Vec::new(),
                trusted_hosts: Vec::new(),
                http: None,
                clock: Arc::new(SystemClock),
                cache_ttl: Duration::from_secs(60),
                negative_ttl: Duration::from_secs(5),
                max_entries: 10_000,
                max_concurrency: 64,
                leeway: Duration::from_secs(30),
                outage: Outage::Closed,
                jwks: None,
                revocations: None,
            },
            claims: standard,
        }
    }
}

/// Builds an [`Introspection`]; made by [`Introspection::issuer`], credentials and an audience.
///
/// | option | default |
/// | --- | --- |
/// | [`claims`](Self::claims) | [`StandardClaims`] |
/// | [`introspection_endpoint`](Self::introspection_endpoint) | what the issuer's metadata say |
/// | [`also_at`](Self::also_at) | no further address |
/// | [`trust_host`](Self::trust_host) | the issuer's own host only |
/// | [`client_secret_post`](Self::client_secret_post) | off: `client_secret_basic` |
/// | [`danger_accept_missing_audience`](Self::danger_accept_missing_audience) | off: `aud` must be there |
/// | [`cache_ttl`](Self::cache_ttl) | 60 s, and never beyond `exp`; at most 300 s |
/// | [`negative_ttl`](Self::negative_ttl) | 5 s; at most 60 s |
/// | [`max_entries`](Self::max_entries) | 10,000 active and 10,000 refused tokens |
/// | [`max_concurrency`](Self::max_concurrency) | 64 questions in the air |
/// | [`leeway`](Self::leeway) | 30 s; at most 300 s |
/// | [`outage`](Self::outage) | [`Outage::Closed`] |
/// | [`signed_answers`](Self::signed_answers) | off: plain JSON over TLS |
/// | [`revocations`](Self::revocations) | none: the issuer's word only |
/// | [`http_client`](Self::http_client) | the `transport` feature's; without the feature it must be given |
/// | [`clock`](Self::clock) | the system's |
#[must_use]
pub struct IntrospectionBuilder<C = StandardClaims> {
    options: Options,
    claims: ReadClaims<C>,
}

#[derive(Clone)]
struct Options {
    issuer: String,
    id: String,
    secret: Secret,
    audiences: Vec<String>,
    may_lack_audience: bool,
    post: bool,
    endpoint: Option<String>,
    also_at: Vec<String>,
    trusted_hosts: Vec<String>,
    http: Option<HttpClient>,
    clock: Arc<dyn Clock>,
    cache_ttl: Duration,
    negative_ttl: Duration,
    max_entries: usize,
    max_concurrency: usize,
    leeway: Duration,
    outage: Outage,
    jwks: Option<Jwks>,
    revocations: Option<Revocations>,
}

impl<C> IntrospectionBuilder<C> {
    /// Gives the claims in the application's own type: all members of the answer, `active` among them.
    ///
    /// They are read once for each answer. An active token whose claims do not fit is refused with
    /// [`UnfitClaims`](InvalidToken::UnfitClaims).
    pub fn claims<D>(self) -> IntrospectionBuilder<D>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        let claims = |token: &ActiveToken, _: &str, _: i64| {
            token.claims().map_err(|_| InvalidToken::UnfitClaims)
        };
        IntrospectionBuilder { options: self.options, claims }
    }

    /// The address to ask at, for an issuer without metadata.
    pub fn introspection_endpoint(mut self, uri: impl Into<String>) -> Self {
        self.options.endpoint = Some(uri.into());
        self
    }

    /// Another address of the same endpoint, for when the first one is in trouble. May be called several times; the
    /// order counts. The one that answered is asked first from then on; the first one again after 30 seconds, then less often.
    pub fn also_at(mut self, uri: impl Into<String>) -> Self {
        self.options.also_at.push(uri.into());
        self
    }

    /// Also takes a discovered endpoint on this host, which is not the issuer's.
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.options.trusted_hosts.push(host.into());
        self
    }

    /// Sends the client's id and secret in the form (`client_secret_post`) and not in the `Authorization` field
    /// (RFC 6749 §2.3.1).
    pub fn client_secret_post(mut self) -> Self {
        self.options.post = true;
        self
    }

    /// Also accepts an active token of which the answer does not say whom it is for.
    ///
    /// RFC 7662 §2.2 leaves `aud` out at will, and some servers never send it. **Every token of the issuer is then
    /// good here**, also one that a user gave to another service, which may pass it on. It is safe where the server itself
    /// answers "inactive" for tokens that are not meant for the client that asks (RFC 7662 §4 suggests it), or where the issuer serves one API only.
    /// A refresh token may then pass for an access token, too, where the server tells of neither kind nor audience (oidc-provider, for one).
    /// An `aud` that is there still has to be ours.
    pub fn danger_accept_missing_audience(mut self) -> Self {
        self.options.may_lack_audience = true;
        self
    }

    /// How long an active token is believed without asking again: 60 s if not set, at most 300 s, and never beyond its `exp`. For so long a
    /// revoked token may still be let in. Zero asks for each request.
    pub fn cache_ttl(mut self, ttl: Duration) -> Self {
        self.options.cache_ttl = ttl;
        self
    }

    /// How long a token that is not valid is refused without asking again: 5 s if not set, at most 60 s. Zero asks for each request.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.negative_ttl = ttl;
        self
    }

    /// How many active tokens are remembered, and how many others besides: 10,000 each if not set, from 2 to a million. An active one takes
    /// the room of its claims.
    pub fn max_entries(mut self, max_entries: usize) -> Self {
        self.options.max_entries = max_entries;
        self
    }

    /// How many questions may be in the air at a time: 64 if not set, from 1 to 10,000. A quarter of them, from four on, is kept for tokens that were
    /// active a while ago. Of these and of others 16 times as many may wait for their turn, at most 5 s; who comes beyond that gets 503 at once.
    pub fn max_concurrency(mut self, max_concurrency: usize) -> Self {
        self.options.max_concurrency = max_concurrency;
        self
    }

    /// How far our clock and the issuer's may differ when an answer comes, for `exp`, `nbf` and `iat` alike: 30 s if not set, at most 300 s,
    /// in whole seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.options.leeway = leeway;
        self
    }

    /// What happens while the issuer cannot be asked; a route may [decide otherwise](Introspection::with_outage).
    pub fn outage(mut self, outage: Outage) -> Self {
        self.options.outage = outage;
        self
    }

    /// Asks for signed answers (RFC 9701), verifies them with these keys of the issuer, and takes no others.
    ///
    /// `iss` has to be the issuer, `aud` our client id or one of the audiences given above, and `iat` of the last minute. An answer has at most 8 KiB then.
    pub fn signed_answers(mut self, jwks: Jwks) -> Self {
        self.options.jwks = Some(jwks);
        self
    }

    /// Refuses what stands in this list, whatever the issuer says of it. Validators share one by cloning it.
    ///
    /// What is remembered of a token that was revoked counts no more at once. A token of which it is not known whether it is meant, since
    /// the answer has no `sid`, say, is asked about anew.
    pub fn revocations(mut self, revocations: Revocations) -> Self {
        self.options.revocations = Some(revocations);
        self
    }

    /// Asks with this HTTP client, whatever Tower layers it wears.
    pub fn http_client(mut self, http: HttpClient) -> Self {
        self.options.http = Some(http);
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// Checks the values. Nothing is asked yet.
    ///
    /// # Errors
    /// A value that cannot work, by name: no absolute https issuer or endpoint, no client id, an empty audience or none, a duration or a number
    /// beyond its bounds, a trusted host although nothing is discovered, keys of another issuer, no HTTP client.
    pub fn build(self) -> Result<Introspection<C>, BuildError>
    where
        C: Send + Sync + 'static,
    {
        let options = self.options;
        let issuer = Issuer::parse(&options.issuer)?;
        options.check()?;
        let route = Route {
            audiences: checked_audiences(options.audiences.clone())?,
            may_lack_audience: options.may_lack_audience,
            outage: options.outage.checked()?,
        };
        let http = options.http.clone().map_or_else(default_http_client, Ok)?;
        let place = options.place(&issuer, &http)?;
        let further = options.further()?;
        let named = options.endpoint.as_deref().unwrap_or(issuer.as_str());
        let keys = Keys::new(named, &options.id)?;
        let signed = options.signed(&issuer)?;
        let mut codec = IntrospectionCodec::new(options.auth());
        if signed.is_some() {
            codec = codec.signed_answers();
        }
        let revocations = options.revocations;
        let clock = options.clock;
        let store =
            Arc::new(Store::new(options.max_entries, options.negative_ttl, Arc::clone(&clock)));
        let gate = Arc::new(Gate::default());
        let asker = Asker(Arc::new(Edge {
            place,
            further,
            endpoint: Endpoint::new(codec, http),
            signed,
            rules: Rules {
                issuer: issuer.as_str().to_owned(),
                leeway: i64::try_from(options.leeway.as_secs()).unwrap_or(i64::MAX),
                cache_ttl: options.cache_ttl,
                claims: self.claims,
            },
            store: Arc::clone(&store),
            gate: Arc::clone(&gate),
            limit: Limit::new(options.max_concurrency),
            clock: Arc::clone(&clock),
        }));
        let learning = Arc::clone(&store);
        let flight = SingleFlightLayer::new(Ask::flight as fn(&Ask) -> FlightKey)
            .max_waiters(MAX_WAITERS)
            .on_complete(move |(key, _): &FlightKey, result: Result<&Landed<C>, _>| {
                if let Ok(landed) = result {
                    learning.learn(key, landed);
                }
            })
            .layer(asker);
        let issuer = issuer.as_str().to_owned();
        let shared = Shared { issuer, keys, store, gate, flight, clock, revocations };
        Ok(Introspection { shared: Arc::new(shared), route: Arc::new(route) })
    }
}

pub(super) fn checked_audiences(audiences: Vec<String>) -> Result<Vec<String>, BuildError> {
    if audiences.is_empty() {
        return Err(BuildError::new("audiences", "none", "names no audience"));
    }
    if audiences.iter().any(String::is_empty) {
        return Err(BuildError::new("audience", "", "is empty"));
    }
    Ok(audiences)
}

impl Options {
    fn check(&self) -> Result<(), BuildError> {
        if self.id.is_empty() {
            return Err(BuildError::new("client_credentials", "", "has no client id"));
        }
        for (option, value, most, why) in [
            ("cache_ttl", self.cache_ttl, MAX_CACHE_TTL, "is more than 300 s"),
            ("negative_ttl", self.negative_ttl, MAX_NEGATIVE_TTL, "is more than 60 s"),
            ("leeway", self.leeway, MAX_LEEWAY, "is more than 300 s"),
        ] {
            if value > most {
                return Err(BuildError::new(option, format_args!("{value:?}"), why));
            }
        }
        if !(2..=MAX_ENTRIES).contains(&self.max_entries) {
            let why = "is not between 2 and 1,000,000";
            return Err(BuildError::new("max_entries", self.max_entries, why));
        }
        if !(1..=MAX_CONCURRENCY).contains(&self.max_concurrency) {
            let why = "is not between 1 and 10,000";
            return Err(BuildError::new("max_concurrency", self.max_concurrency, why));
        }
        Ok(())
    }

    fn auth(&self) -> ClientAuth {
        let (id, secret) = (self.id.clone(), self.secret.clone());
        if self.post { ClientAuth::Post { id, secret } } else { ClientAuth::Basic { id, secret } }
    }

    fn place(&self, issuer: &Issuer, http: &HttpClient) -> Result<Place, BuildError> {
        if let Some(uri) = &self.endpoint {
            if let Some(host) = self.trusted_hosts.first() {
                let why = "is for a discovered endpoint; this one is given";
                return Err(BuildError::new("trust_host", host, why));
            }
            let uri = EndpointUri::parse(uri)
                .map_err(|error| error.with_option("introspection_endpoint"))?;
            return Ok(Place::Uri(uri));
        }
        let codec = self
            .trusted_hosts
            .iter()
            .cloned()
            .fold(MetadataCodec::new(), MetadataCodec::trust_host);
        let clock = Arc::clone(&self.clock);
        Ok(Place::discovered(issuer.clone(), codec, http.clone(), clock))
    }

    fn further(&self) -> Result<Option<FurtherAddresses>, BuildError> {
        let parse =
            |uri: &String| EndpointUri::parse(uri).map_err(|error| error.with_option("also_at"));
        let uris: Vec<_> = self.also_at.iter().map(parse).collect::<Result<_, _>>()?;
        let further = || FurtherAddresses::new(uris.clone(), Arc::clone(&self.clock), DEADLINE);
        Ok((!uris.is_empty()).then(further))
    }

    fn signed(&self, issuer: &Issuer) -> Result<Option<SignedAnswers>, BuildError> {
        let Some(jwks) = self.jwks.clone() else { return Ok(None) };
        if let Some(other) = jwks.is_of().filter(|other| *other != issuer) {
            return Err(BuildError::new("signed_answers", other, "are the keys of another issuer"));
        }
        let rules = tower_oauth_jose::Rules::builder(issuer.as_str(), self.id.as_str());
        // RFC 9701 §5: `aud` is the resource server, and servers differ in which of its names they take.
        let rules = (self.audiences.iter().cloned())
            .fold(rules, tower_oauth_jose::RulesBuilder::audience)
            .leeway(self.leeway)
            .build()
            .map_err(|error| BuildError::new("signed_answers", error, "cannot be used"))?;
        Ok(Some(SignedAnswers { jwks, rules }))
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for IntrospectionBuilder<C> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), claims: self.claims }
    }
}

impl<C> fmt::Debug for IntrospectionBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionBuilder")
            .field("issuer", &self.options.issuer)
            .field("client_id", &self.options.id)
            .field("audiences", &self.options.audiences)
            .finish_non_exhaustive()
    }
}
