use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tower_layer::Layer;
use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_core::{
    BoxFuture, Clock, Error, ErrorKind, Flush, Need, Prover, Report, Token, TokenSource,
};
use tower_service::Service;
use tower_single_flight::{FlightError, ResponseFuture, SingleFlight, SingleFlightLayer};

use super::TokenCacheBuilder;
use super::event::{Announcer, TokenEvents};
use super::exchange::{Exchange, TokenService};
use super::health::TokenHealth;
use super::state::{Decision, State};
use crate::grant::Session;
use crate::observe;

/// One access token, kept alive.
///
/// * **Refreshed ahead**, in the background, by the first request after 70 % to 80 % of its life; the
///   old token is used meanwhile, and goes on being used while the authorization server is down.
/// * **Not sent in its last 10 seconds** (short lives: their last fifth). A token without
///   `expires_in` lives 60 seconds, none is believed to live longer than 24 hours.
/// * **Replaced when a resource refuses it**, by one exchange however many refusals come; a late
///   refusal of an older token gets the newer one without a call. A token that was accepted once is replaced at
///   once, always; one that is rejected at first sight, or by one resource and not by another, spends a budget
///   (1 s, doubling to 60 s, with jitter) and goes on being used.
/// * **Not in a duel.** Where another holder of the same account is active and each exchange ends the other's token (four
///   tokens in a row live less than half a second, or 32 die within four minutes), there is one exchange a second at
///   most, later one in 5 s; the requests between end at once in [`ErrorKind::Duel`].
/// * **The exchange is detached**: callers that go away lose only their own wait.
/// * **A failed exchange** is tried up to four times within two seconds where the trouble may pass;
///   then everybody who waits is told, and the same answer is given until the back-off (nearly 5 s; refusals in
///   OAuth's own words 500 ms to 5 min; `Retry-After` up to 5 min) is over.
/// * **Watched and switched by operators**: [`health`](Self::health), [`subscribe`](Self::subscribe),
///   [`flush`](Self::flush), and in the builder [`max_token_age`](TokenCacheBuilder::max_token_age) and
///   [`without_caching`](TokenCacheBuilder::without_caching).
///
/// Cloning is a reference count; clones share everything. Exchanges run on the Tokio runtime of
/// the caller that starts them, with its timers. A runtime that ends is noticed, and the next caller leads; one that
/// lives and is not driven (a current-thread runtime outside of `block_on`) holds the exchange up for everybody, so
/// share a cache between runtimes only if the one that may lead keeps running.
///
/// ```
/// use tower_oauth_client::TokenCache;
/// # fn main() -> Result<(), tower_oauth_client::BuildError> {
/// let tokens = TokenCache::builder()
///     .issuer("https://idp.example.com/realms/shop")
///     .client_credentials("orders", "s3cret")
///     .scope("inventory.read")
///     .build()?;
/// # drop(tokens); Ok(()) }
/// ```
#[derive(Clone)]
pub struct TokenCache(Arc<Inner>);

/// One exchange at a time, by era: who asks after a flush or a log-in never joins an exchange from before.
type Flight = SingleFlight<Renew, fn(&Renewal) -> u64, u64, Token, Error>;

/// What is asked of the service below the flight.
struct Renewal {
    /// See [`State::era`].
    era: u64,
    request: TokenRequest,
}

struct Inner {
    shared: Arc<Shared>,
    flight: Flight,
    request: TokenRequest,
    /// What there is to log out of; a token service of the user's own has its own.
    session: Option<Arc<Session>>,
    family: Option<Family>,
}

/// What a cache is made of.
pub(super) struct Parts {
    pub(super) service: TokenService,
    pub(super) request: TokenRequest,
    pub(super) clock: Arc<dyn Clock>,
    /// Of each try of an exchange.
    pub(super) deadline: Duration,
    pub(super) max_age: Option<Duration>,
    /// Where this cache is one of many.
    pub(super) family: Option<Family>,
    /// What there is to log out of.
    pub(super) session: Option<Arc<Session>>,
}

/// Told how far a rejection reaches, where it reaches further than one cache.
pub(super) type Family = Arc<dyn Fn(Flush) + Send + Sync>;

/// What callers and the flight both see.
struct Shared {
    snapshot: ArcSwap<State>,
    /// Held while a new snapshot is made; never across an await.
    changing: Mutex<()>,
    clock: Arc<dyn Clock>,
    announcer: Announcer,
    /// What the tokens are bound to, if they are.
    prover: Option<Arc<dyn Prover>>,
}

/// What a caller of [`Inner::at_hand`] gets.
enum AtHand {
    Take(Token),
    Fail(Error),
    Wait(Joined),
}

/// A place in a flight, and of which era that is.
struct Joined {
    era: u64,
    flight: ResponseFuture<Token, Error>,
}

impl TokenCache {
    /// Starts with no setting.
    pub fn builder() -> TokenCacheBuilder {
        TokenCacheBuilder::new()
    }

    pub(super) fn new(parts: Parts) -> Self {
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(State::new(parts.max_age)),
            changing: Mutex::new(()),
            clock: Arc::clone(&parts.clock),
            announcer: Announcer::default(),
            prover: parts.session.as_ref().and_then(|session| session.prover()),
        });
        let renew = Renew {
            exchange: Exchange::new(parts.service, parts.clock, parts.deadline),
            shared: Arc::clone(&shared),
        };
        let stored = Arc::clone(&shared);
        let key: fn(&Renewal) -> u64 = |renewal| renewal.era;
        let flight = SingleFlightLayer::new(key)
            .on_complete(move |&era, result| stored.landed(era, result))
            .layer(renew);
        let Parts { request, family, session, .. } = parts;
        Self(Arc::new(Inner { shared, flight, request, family, session }))
    }

    /// Drops the token, and with it every back-off: the next request waits for another one.
    ///
    /// The token of an exchange that is in the air goes to those who wait for it already, and is not kept; the next request
    /// starts another one beside it. Requests that carry the old token are not called back.
    pub fn flush(&self) {
        self.0.shared.change(|state, _| self.0.up_to_date(state).flush());
    }

    /// How well it is, and for how long it has been so. It asks nobody.
    #[must_use]
    pub fn health(&self) -> TokenHealth {
        let now = self.0.shared.clock.now();
        self.catch_up();
        let state = self.0.shared.snapshot.load();
        let (status, since) = state.status(self.0.flight.is_in_flight(&state.era()), now);
        TokenHealth { status, since: now.saturating_duration_since(since) }
    }

    /// What happens to the token from now on.
    ///
    /// ```
    /// # async fn watch(tokens: tower_oauth_client::TokenCache) {
    /// use tower_oauth_client::TokenEvent;
    /// let mut events = tokens.subscribe();
    /// while let Some(event) = events.next().await {
    ///     if let TokenEvent::DuelSuspected { .. } = event {
    ///         println!("another device uses our account");
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> TokenEvents {
        self.0.shared.announcer.subscribe()
    }

    /// Whether it has nothing to do at this moment.
    pub(super) fn is_idle(&self) -> bool {
        !self.0.flight.is_in_flight(&self.0.shared.snapshot.load().era())
    }

    /// The first callers are told without an exchange.
    pub(super) fn fail_at_once(&self, error: Error) {
        self.0.shared.change(|state, now| state.fail(error, now, 0.0));
    }

    /// Because of what another one of the family was told.
    pub(super) fn flush_older(&self, by: Flush) {
        self.0.shared.change(|state, now| state.flush_older(by, now));
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.0.session.as_deref()
    }

    /// Forgets what is of a session that is over.
    pub(super) fn catch_up(&self) {
        if self.0.is_of_another_session(&self.0.shared.snapshot.load()) {
            self.0.shared.change(|state, _| {
                self.0.up_to_date(state);
            });
        }
    }

    /// Where there is no session that would tell it.
    pub(super) fn end(&self) {
        self.0.shared.change(|state, _| state.follow((0, true)));
    }
}

impl TokenSource for TokenCache {
    fn peek(&self) -> Option<Token> {
        let state = self.0.shared.snapshot.load();
        if self.0.is_of_another_session(&state) {
            return None;
        }
        let (token, refresh) = state.peek(self.0.shared.clock.now())?;
        if refresh {
            self.0.refresh_ahead();
        }
        Some(token.clone())
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        // Decided here and not on first poll: a caller that drops the future has started the exchange all the same.
        match self.0.at_hand(need) {
            AtHand::Take(token) => Box::pin(std::future::ready(Ok(token))),
            AtHand::Fail(error) => Box::pin(std::future::ready(Err(error))),
            AtHand::Wait(joined) => Box::pin(self.clone().wait(need, joined)),
        }
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.catch_up();
        self.0.shared.snapshot.load().recognise(authorization).cloned()
    }

    fn report(&self, report: Report) {
        self.0.shared.change(|state, now| state.hear(report, now));
        if let (Report::Flush(_, flush @ (Flush::Subject | Flush::Issuer)), Some(family)) =
            (report, &self.0.family)
        {
            family(flush);
        }
    }
}

impl TokenCache {
    async fn wait(self, need: Need, mut joined: Joined) -> Result<Token, Error> {
        // After a flight the answer is compared again: it may have landed the very token that was
        // refused, where it was in the air before the refusal. Twice is enough: a second flight
        // began after the refusal was noted. A caller whose leader's runtime has ended leads itself;
        // so does one that made this future outside of a runtime and polls it inside.
        for _ in 0..2 {
            match joined.flight.await {
                Ok(token) if need != Need::Unlike(token.id()) => return Ok(token),
                Ok(_) | Err(FlightError::Lost | FlightError::NoRuntime) => {}
                Err(error) => return Err(self.0.shared.told(joined.era, error)),
            }
            joined = match self.0.at_hand(need) {
                AtHand::Take(token) => return Ok(token),
                AtHand::Fail(error) => return Err(error),
                AtHand::Wait(joined) => joined,
            };
        }
        match joined.flight.await {
            Ok(token) if need != Need::Unlike(token.id()) => Ok(token),
            Ok(_) => Err(ErrorKind::NotRenewable.into()),
            Err(error) => Err(self.0.shared.told(joined.era, error)),
        }
    }
}

impl Inner {
    /// Decides, and where the decision is to wait, joins the flight in the same breath: between the
    /// two a flight could land and a second exchange would be made for nothing.
    fn at_hand(&self, need: Need) -> AtHand {
        self.shared.change(|state, now| {
            match self.up_to_date(state).decide(need, now, fastrand::f64()) {
                Decision::Take(token) => AtHand::Take(token),
                Decision::Fail(error) => AtHand::Fail(error),
                Decision::Join => AtHand::Wait(self.join(state)),
            }
        })
    }

    /// Whether somebody has logged out or in since this cache last looked; caches share sessions.
    fn is_of_another_session(&self, state: &State) -> bool {
        self.session.as_ref().is_some_and(|session| session.epoch() != state.epoch())
    }

    fn up_to_date<'a>(&self, state: &'a mut State) -> &'a mut State {
        if let Some(session) = self.session.as_ref().filter(|it| it.epoch() != state.epoch()) {
            state.follow(session.now());
        }
        state
    }

    fn join(&self, state: &State) -> Joined {
        let (era, unlike) = (state.era(), state.withheld());
        let request = TokenRequest { unlike, ..self.request.clone() };
        Joined { era, flight: self.flight.clone().call(Renewal { era, request }) }
    }

    fn refresh_ahead(&self) {
        if self.flight.is_in_flight(&self.shared.snapshot.load().era()) {
            return;
        }
        // Looked at again where nothing changes meanwhile: the snapshot that asked for a refresh may
        // be older than a flight that has just landed.
        self.shared.change(|state, now| {
            if state.peek(now).is_some_and(|(_, refresh)| refresh) {
                // The flight is detached: nobody has to wait for it.
                drop(self.join(state));
            }
        });
    }
}

impl Shared {
    fn change<T>(&self, make: impl FnOnce(&mut State, Instant) -> T) -> T {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = State::clone(&self.snapshot.load());
        let result = make(&mut state, self.clock.now());
        let notes = state.notes();
        self.snapshot.store(Arc::new(state));
        drop(changing);
        for note in notes {
            observe::token_event(&note.event, note.is_news);
            if note.is_news {
                self.announcer.announce(note.event);
            }
        }
        result
    }

    /// Runs inside the flight, before any waiter sees the result.
    fn landed(&self, era: u64, result: Result<&Token, &Error>) {
        let random = fastrand::f64();
        self.change(|state, now| match result {
            Ok(token) if era == state.era() => state.store(token.clone(), now, random),
            Err(error) if era == state.era() => state.fail(error.clone(), now, random),
            // For those who wait for it, and for nobody else.
            Ok(token) => state.landed_late(token.clone()),
            Err(_) => {}
        });
    }

    /// The error of a flight in this crate's words. One that ended without a result has not given
    /// the withheld token back; that happens here.
    fn told(&self, era: u64, error: FlightError<Error>) -> Error {
        let kind = match error {
            FlightError::Service(error) => return Error::clone(&error),
            FlightError::TooManyWaiters => return ErrorKind::TooManyWaiters.into(),
            FlightError::Panicked => ErrorKind::Panicked,
            FlightError::NoRuntime => ErrorKind::NoRuntime,
            _ => ErrorKind::Lost,
        };
        self.change(|state, _| {
            if era == state.era() {
                state.give_back();
            }
        });
        kind.into()
    }
}

/// The service below the flight: exchanges, and makes a [`Token`] of the answer.
#[derive(Clone)]
struct Renew {
    exchange: Exchange,
    shared: Arc<Shared>,
}

impl Service<Renewal> for Renew {
    type Response = Token;
    type Error = Error;
    type Future = BoxFuture<Result<Token, Error>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        // Each try readies a clone of its own.
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, Renewal { request, .. }: Renewal) -> Self::Future {
        let is_probe = self.shared.snapshot.load().is_failing();
        let answer = self.exchange.clone().send(request, is_probe);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.name(&answer.await?) })
    }
}

impl Shared {
    /// Some servers answer with the token that they have given before. It keeps its name; and where
    /// it is the one that was refused there is nothing new.
    fn name(&self, response: &TokenResponse) -> Result<Token, Error> {
        let fresh = Token::from_response(response, self.clock.now())?;
        let fresh = match &self.prover {
            Some(prover) => fresh.with_prover(Arc::clone(prover)),
            None => fresh,
        };
        let state = self.snapshot.load();
        if state.is_nothing_new(fresh.header()) {
            return Err(ErrorKind::NotRenewable.into());
        }
        match state.current() {
            Some(current) if current.header() == fresh.header() => Ok(fresh.renamed(current)),
            _ => Ok(fresh),
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("request", &self.0.request)
            .field("current", &self.0.shared.snapshot.load().current())
            .finish_non_exhaustive()
    }
}
