//! One question to the authorization server: where it is asked, how many at a time, and what comes back.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tower_oauth_core::codec::{IntrospectionCodec, IntrospectionRequest, IntrospectionResponse};
use tower_oauth_core::{BoxFuture, Clock, EndpointUri, Error, ErrorKind, Secret};
use tower_oauth_endpoint::{Endpoint, FurtherAddresses, HttpClient};
use tower_oauth_jose::InvalidToken;
use tower_service::Service;
use tower_single_flight::FlightError;
use tracing::Instrument;

use super::gate::Gate;
use super::key::Key;
use super::known::{Asked, Rules};
use super::limit::{Limit, Sort};
use super::place::Place;
use super::signed::SignedAnswers;
use super::store::{Landed, Remembered, Store};

/// The total time of a question, discovery included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long a question may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks about one token.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) token: Secret,
    pub(super) asked: Asked,
    /// An answer to a question of this moment, or an earlier one, will not do.
    pub(super) outdated: Option<Instant>,
}

/// A token, and how often something was forgotten before.
pub(super) type FlightKey = (Key, u64);

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

// === impl Ask ===

impl Ask {
    /// Who comes with the same token joins the question, unless the verdict was forgotten on purpose since it was asked.
    pub(super) fn flight(&self) -> FlightKey {
        (self.key, self.asked.epoch)
    }
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
            let is_outdated =
                |found: &Remembered<C>| ask.outdated.is_some_and(|at| found.known.asked_at() <= at);
            match edge.store.find(&ask.key, edge.clock.now()) {
                Some(Ok(found)) if is_outdated(&found) => {}
                Some(verdict) => return Ok(Landed { verdict, asked: None }),
                None => {}
            }
            let sort = if edge.store.was_active(&ask.key) { Sort::Known } else { Sort::Stranger };
            let answer = edge.ask(ask.token, sort).await?;
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
    async fn ask(&self, token: Secret, sort: Sort) -> Result<IntrospectionResponse, Error> {
        // Never in an endless queue: who finds no place is told so at once.
        let _place = self.limit.place(sort).ok_or(ErrorKind::TooManyWaiters)?;
        // Apart from the time for the question: that we are busy says nothing of the server.
        let turn = tokio::time::timeout(PATIENCE, self.limit.turn(sort)).await;
        let _turn = turn.ok().flatten().ok_or(ErrorKind::TooManyWaiters)?;
        self.gate.pass(self.clock.now())?;
        #[cfg(feature = "metrics")]
        let began = self.clock.now();
        // Only here, where a question is really asked: those who wait for its answer are not in the span.
        let span = tracing::debug_span!(target: "tower_oauth::introspection", "introspection");
        let exchange = self.exchange(token).instrument(span);
        let result = tokio::time::timeout(DEADLINE, exchange).await;
        let result = result.unwrap_or_else(|_| Err(ErrorKind::Timeout.into()));
        #[cfg(feature = "metrics")]
        crate::observe::introspected(
            result
                .as_ref()
                .map(|answer| matches!(answer, IntrospectionResponse::Active(_)))
                .map_err(Error::kind),
            self.clock.now().saturating_duration_since(began),
        );
        match result {
            Ok(answer) => {
                self.gate.opened();
                Ok(answer)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: Error) -> Error {
        // A flood of odd tokens must not flood the log; a server that is given up for a while is news.
        if self.gate.failed(self.clock.now(), &error) {
            tracing::warn!(target: "tower_oauth::introspection", cause = %error, "introspection pauses");
        } else {
            tracing::debug!(target: "tower_oauth::introspection", cause = %error, "introspection failed");
        }
        error
    }

    async fn exchange(&self, token: Secret) -> Result<IntrospectionResponse, Error> {
        let answer = match &self.further {
            None => self.at_the_first(&token).await?,
            Some(further) => {
                let at = |uri: Option<EndpointUri>| self.at(uri, &token);
                further.call(at, |_| true).await?
            }
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

    /// Asks where the issuer is known to be, or has moved to.
    async fn at_the_first(&self, token: &Secret) -> Result<IntrospectionResponse, Error> {
        let endpoint = self.place.address().await?;
        match self.question(endpoint.clone(), token.clone()).await {
            Ok(answer) => Ok(answer),
            Err(error) => match self.place.moved(&endpoint, error.kind()).await {
                Some(endpoint) => self.question(endpoint, token.clone()).await,
                None => Err(error),
            },
        }
    }

    /// Asks at this address, or at the first.
    async fn at(
        &self,
        uri: Option<EndpointUri>,
        token: &Secret,
    ) -> Result<IntrospectionResponse, Error> {
        match uri {
            None => self.at_the_first(token).await,
            Some(uri) => self.question(uri, token.clone()).await,
        }
    }

    async fn question(
        &self,
        endpoint: EndpointUri,
        token: Secret,
    ) -> Result<IntrospectionResponse, Error> {
        let mut asking = self.endpoint.clone();
        std::future::poll_fn(|cx| asking.poll_ready(cx)).await?;
        asking.call(IntrospectionRequest { endpoint, token }).await
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

/// The error of a flight, which all who waited for it share.
pub(crate) fn flatten(error: FlightError<Error>) -> Error {
    match error {
        FlightError::Service(error) => (*error).clone(),
        FlightError::Lost => ErrorKind::Lost.into(),
        FlightError::NoRuntime => ErrorKind::NoRuntime.into(),
        FlightError::TooManyWaiters => ErrorKind::TooManyWaiters.into(),
        _ => ErrorKind::Panicked.into(),
    }
}
