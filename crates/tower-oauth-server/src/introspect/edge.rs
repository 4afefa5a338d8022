//! One question to the authorization server: where it is asked, how many at a time, and what comes back.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tower_oauth_core::codec::{
    IntrospectionCodec, IntrospectionRequest, IntrospectionResponse, Metadata,
};
use tower_oauth_core::{BoxFuture, Clock, EndpointUri, Error, ErrorKind, Issuer, Secret};
use tower_oauth_endpoint::{Discovery, Endpoint, FurtherAddresses, HttpClient};
use tower_oauth_jose::InvalidToken;
use tower_service::Service;
use tower_single_flight::{FlightError, SingleFlight};

use super::gate::Gate;
use super::key::Key;
use super::known::{Asked, Rules};
use super::signed::SignedAnswers;
use super::store::{Landed, Remembered, Store};

/// The total time of a question, discovery included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long a question may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a discovered address is believed.
const REDISCOVER: Duration = Duration::from_secs(60 * 60);
/// How long it is believed when asking again was no use.
const REDISCOVER_SOON: Duration = Duration::from_secs(60);
/// The time for asking again while an address is known, so that some is left for the question.
const REDISCOVERY_DEADLINE: Duration = Duration::from_secs(2);
/// For each question that may be in the air, so many may wait for their turn.
const QUEUE: usize = 16;

/// Asks about one token.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) token: Secret,
    pub(super) asked: Asked,
}

/// Asks the authorization server.
pub(super) struct Asker<C>(pub(super) Arc<Edge<C>>);

pub(super) struct Edge<C> {
    pub(super) place: Place,
    /// `None`: there is only the one.
    pub(super) further: Option<FurtherAddresses>,
    pub(super) endpoint: Endpoint<IntrospectionCodec, HttpClient>,
    pub(super) signed: Option<SignedAnswers>,
    pub(super) rules: Rules<C>,
    pub(super) store: Arc<Store<C>>,
    pub(super) gate: Arc<Gate>,
    pub(super) limit: Limit,
    pub(super) clock: Arc<dyn Clock>,
}

/// Where to ask.
pub(super) enum Place {
    Uri(EndpointUri),
    Issuer { issuer: Issuer, discovery: SharedDiscovery, found: ArcSwapOption<Found> },
}

/// Many tokens that come at the same moment ask for the metadata once.
pub(super) type SharedDiscovery =
    SingleFlight<Discovery<HttpClient>, fn(&Issuer), (), Metadata, Error>;

/// A discovered address.
pub(super) struct Found {
    uri: EndpointUri,
    again_at: Instant,
}

/// How many questions may be in the air, and how many more may wait.
pub(super) struct Limit {
    in_air: Semaphore,
    places: Semaphore,
}

// === impl Asker ===

impl<C: Send + Sync + 'static> Service<Ask> for Asker<C> {
    type Response = Landed<C>;
    type Error = Error;
    type Future = BoxFuture<Result<Landed<C>, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let edge = Arc::clone(&self.0);
        Box::pin(async move {
            // Between a request's look into the cache and this call another flight may have landed.
            if let Some(verdict) = edge.store.find(&ask.key, edge.clock.now()) {
                return Ok(Landed { verdict, asked: None });
            }
            let answer = edge.ask(ask.token).await?;
            Ok(edge.judge(answer, ask.asked))
        })
    }
}

impl<C> Clone for Asker<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// === impl Edge ===

impl<C> Edge<C> {
    async fn ask(&self, token: Secret) -> Result<IntrospectionResponse, Error> {
        // Never in an endless queue: who finds no place is told so at once.
        let _place = self.limit.places.try_acquire().map_err(|_| ErrorKind::TooManyWaiters)?;
        // Apart from the time for the question: that we are busy says nothing of the server.
        let turn = tokio::time::timeout(PATIENCE, self.limit.in_air.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(ErrorKind::TooManyWaiters)?;
        self.gate.pass(self.clock.now())?;
        let result = tokio::time::timeout(DEADLINE, self.exchange(token)).await;
        match result.unwrap_or_else(|_| Err(ErrorKind::Timeout.into())) {
            Ok(answer) => {
                self.gate.opened();
                Ok(answer)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: Error) -> Error {
        if let (Place::Issuer { found, .. }, ErrorKind::Status(404 | 410)) =
            (&self.place, error.kind())
        {
            // It may have moved.
            found.store(None);
        }
        // A flood of odd tokens must not flood the log; a server that is given up for a while is news.
        if self.gate.failed(self.clock.now(), &error) {
            tracing::warn!(cause = %error, "introspection pauses");
        } else {
            tracing::debug!(cause = %error, "introspection failed");
        }
        error
    }

    async fn exchange(&self, token: Secret) -> Result<IntrospectionResponse, Error> {
        let token = &token;
        let once = |uri: Option<EndpointUri>| async move {
            let endpoint = match uri {
                None => self.address().await?,
                Some(uri) => uri,
            };
            let mut asking = self.endpoint.clone();
            std::future::poll_fn(|cx| asking.poll_ready(cx)).await?;
            asking.call(IntrospectionRequest { endpoint, token: token.clone() }).await
        };
        let answer = match &self.further {
            None => once(None).await?,
            Some(further) => further.call(once, |_| true).await?,
        };
        match (answer, &self.signed) {
            (IntrospectionResponse::Signed(jwt), Some(signed)) => {
                signed.open(&jwt, &*self.clock).await
            }
            (IntrospectionResponse::Signed(_), None) => {
                Err(ErrorKind::Malformed("nobody asked for a signed answer").into())
            }
            (answer, _) => Ok(answer),
        }
    }

    async fn address(&self) -> Result<EndpointUri, Error> {
        let (issuer, discovery, found) = match &self.place {
            Place::Uri(uri) => return Ok(uri.clone()),
            Place::Issuer { issuer, discovery, found } => (issuer, discovery, found),
        };
        let known = found.load_full();
        if let Some(known) = known.as_deref()
            && self.clock.now() < known.again_at
        {
            return Ok(known.uri.clone());
        }
        let patience = if known.is_some() { REDISCOVERY_DEADLINE } else { DEADLINE };
        let metadata = tokio::time::timeout(patience, discovery.clone().call(issuer.clone())).await;
        let uri = match metadata {
            Ok(Ok(metadata)) => metadata.introspection_endpoint(),
            Ok(Err(error)) => Err(flatten(error)),
            Err(_) => Err(ErrorKind::Timeout.into()),
        };
        let (uri, believed) = match (uri, known) {
            (Ok(uri), _) => (uri, REDISCOVER),
            (Err(_), Some(known)) => (known.uri.clone(), REDISCOVER_SOON),
            (Err(error), None) => return Err(error),
        };
        let now = self.clock.now();
        let again_at = now.checked_add(believed).unwrap_or(now);
        found.store(Some(Arc::new(Found { uri: uri.clone(), again_at })));
        Ok(uri)
    }

    fn judge(&self, answer: IntrospectionResponse, asked: Asked) -> Landed<C> {
        let verdict = match answer {
            IntrospectionResponse::Active(token) => self
                .rules
                .judge(&token, asked)
                .map(|(known, fresh_until)| Remembered { known: Arc::new(known), fresh_until }),
            // The signed ones are open by now.
            _ => Err(InvalidToken::Inactive),
        };
        Landed { verdict, asked: Some(asked) }
    }
}

impl Limit {
    pub(super) fn new(max_concurrency: usize) -> Self {
        let places = max_concurrency.saturating_mul(QUEUE + 1).min(Semaphore::MAX_PERMITS);
        Self { in_air: Semaphore::new(max_concurrency), places: Semaphore::new(places) }
    }
}

/// The error of a flight, which all who waited for it share.
pub(super) fn flatten(error: FlightError<Error>) -> Error {
    match error {
        FlightError::Service(error) => (*error).clone(),
        FlightError::Lost => ErrorKind::Lost.into(),
        FlightError::NoRuntime => ErrorKind::NoRuntime.into(),
        FlightError::TooManyWaiters => ErrorKind::TooManyWaiters.into(),
        _ => ErrorKind::Panicked.into(),
    }
}
