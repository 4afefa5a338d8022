use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::codec::{
    RevocationRequest, TokenAnswer, TokenHint, TokenRequest, TokenResponse,
};
use tower_oauth_core::{Clock, Error, ErrorKind, Prover, Secret};

use super::redeem::ROUNDS;
use super::{LostRefresh, RefreshTokenStore, SessionId, StoredRefreshToken};
use crate::source::ClientEdge;

/// What the exchanges of one cache share from log-in to log-out.
pub(crate) struct Session {
    pub(super) id: SessionId,
    pub(super) store: Arc<dyn RefreshTokenStore>,
    pub(super) edge: ClientEdge,
    pub(super) lost: LostRefresh,
    /// Tells this process from others that share the store.
    pub(super) holder: u64,
    /// Whether there is a user's session, with a refresh token to look for.
    pub(crate) is_of_a_user: bool,
    /// Held by the one exchange of a user's session that is in the air: a refresh token is redeemed once.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// As in the state, to be read for each request.
    epoch: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Counts log-ins and log-outs: an exchange that began before one has no place after it.
    epoch: u64,
    logged_out: bool,
    /// A refresh token that was configured and is not in the store yet.
    seed: Option<Secret>,
    /// What the store would not take.
    unsaved: Option<StoredRefreshToken>,
    /// The last access token, for its revocation.
    access: Option<Secret>,
    /// Tokens that came after the log-out and could not be revoked then.
    stray: Vec<(Secret, TokenHint)>,
    /// An answer for which nobody waited to the end.
    unclaimed: Option<Unclaimed>,
}

/// An answer, when it came, and what it answers.
struct Unclaimed {
    response: TokenResponse,
    came: Instant,
    request: TokenRequest,
}

/// A record, and the generation that the store holds: another one where this one is not stored yet.
pub(super) struct Found {
    pub(super) record: StoredRefreshToken,
    pub(super) stored: u64,
}

/// What a new refresh token takes the place of.
#[derive(Clone, Copy)]
pub(super) enum Replaces<'a> {
    /// The record of the token that was redeemed for it.
    Record(&'a StoredRefreshToken),
    /// Whatever is stored with this generation; 0 for nothing.
    Generation(u64),
}

/// How many tokens are remembered for a later revocation.
const MAX_STRAY: usize = 16;
/// How long an answer that nobody took is good for somebody else.
const UNCLAIMED: Duration = Duration::from_secs(30);

impl Session {
    pub(crate) fn new(
        id: SessionId,
        store: Arc<dyn RefreshTokenStore>,
        edge: ClientEdge,
        lost: LostRefresh,
        is_of_a_user: bool,
        seed: Option<Secret>,
    ) -> Self {
        let state = Mutex::new(State { seed, ..State::default() });
        let holder = fastrand::u64(1..);
        let turn = tokio::sync::Mutex::new(());
        let epoch = AtomicU64::default();
        Self { id, store, edge, lost, holder, is_of_a_user, turn, state, epoch }
    }

    /// Changes with each log-in and log-out, for all caches of the session.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The epoch, and whether in it nobody is logged in.
    pub(crate) fn now(&self) -> (u64, bool) {
        let state = self.state();
        (state.epoch, state.logged_out)
    }

    /// What the tokens of the session are bound to, if they are.
    pub(crate) fn prover(&self) -> Option<Arc<dyn Prover>> {
        self.edge.prover()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.edge.clock
    }

    /// Begins an exchange.
    pub(super) fn begin(&self) -> Result<u64, Error> {
        let state = self.state();
        if state.logged_out { Err(ErrorKind::LoggedOut.into()) } else { Ok(state.epoch) }
    }

    /// What is stored, or was to be.
    pub(super) async fn record(&self) -> Result<Option<Found>, Error> {
        let stored = self.stored().await?;
        let generation = stored.as_ref().map_or(0, |stored| stored.generation);
        let mut state = self.state();
        let unsaved = state.unsaved.clone().filter(|unsaved| unsaved.generation > generation);
        if unsaved.is_none() {
            // Saved by now, or somebody else has gone on in the meantime: an older one loses.
            state.unsaved = None;
        }
        let seed = || state.seed.clone().map(StoredRefreshToken::first);
        let record = unsaved.or(stored).or_else(seed);
        Ok(record.map(|record| Found { record, stored: generation }))
    }

    /// The store has what there was to be stored.
    pub(super) fn is_stored(&self) {
        let mut state = self.state();
        state.seed = None;
        state.unsaved = None;
    }

    pub(super) async fn stored(&self) -> Result<Option<StoredRefreshToken>, Error> {
        let loading = tokio::time::timeout(self.edge.deadline, self.store.load(&self.id));
        loading.await.unwrap_or_else(|_| Err(ErrorKind::Store.into()))
    }

    pub(super) async fn swap(
        &self,
        expected: u64,
        next: Option<StoredRefreshToken>,
    ) -> Result<bool, Error> {
        let swapping = self.store.swap(&self.id, expected, next);
        let swapping = tokio::time::timeout(self.edge.deadline, swapping);
        swapping.await.unwrap_or_else(|_| Err(ErrorKind::Store.into()))
    }

    /// Puts the record in the place of the one of generation `expected`. A token that the store does not take stays in memory, and
    /// is offered to it again: to lose it would be to lose the session.
    pub(super) async fn keep(&self, expected: u64, next: StoredRefreshToken) {
        match self.swap(expected, Some(next.clone())).await {
            Ok(true) => self.is_stored(),
            Ok(false) => tracing::debug!("a newer refresh token is stored already"),
            Err(error) => {
                tracing::warn!(%error, "the refresh token could not be stored; it is kept in memory");
                let mut state = self.state();
                state.seed = None;
                state.unsaved = Some(next);
            }
        }
    }

    /// Takes over what an exchange that began in `epoch` brought; after a log-out there is nobody to take it.
    pub(super) async fn landed(
        &self,
        epoch: u64,
        answer: TokenAnswer,
        replaces: Replaces<'_>,
    ) -> Result<TokenResponse, Error> {
        let access = answer.outcome.as_ref().ok().map(|response| response.access_token.clone());
        let over = {
            let mut state = self.state();
            let is_over = state.logged_out || state.epoch != epoch;
            if !is_over && access.is_some() {
                state.access.clone_from(&access);
            }
            is_over.then_some(state.logged_out)
        };
        if let Some(logged_out) = over {
            self.end([
                (answer.refresh_token, TokenHint::RefreshToken),
                (access, TokenHint::AccessToken),
            ])
            .await;
            // After a new log-in the exchange is made again, in the new session.
            let kind = if logged_out { ErrorKind::LoggedOut } else { ErrorKind::Lost };
            return Err(kind.into());
        }
        if self.is_of_a_user
            && let Some(token) = answer.refresh_token
        {
            // Stored before the access token beside it is used: from here on a crash loses nothing.
            let (expected, next) = match replaces {
                Replaces::Record(record) => (
                    record.generation,
                    StoredRefreshToken { token, redeeming: None, ..record.next() },
                ),
                Replaces::Generation(stored) => {
                    let mut first = StoredRefreshToken::first(token);
                    first.generation = first.generation.saturating_add(stored);
                    (stored, first)
                }
            };
            self.keep(expected, next).await;
        }
        answer.outcome.map(|response| {
            let mut response = response;
            response.refresh_token = None;
            response
        })
    }

    pub(super) fn put_unclaimed(&self, request: TokenRequest, response: TokenResponse) {
        let came = self.clock().now();
        let mut state = self.state();
        // Of this session, and not of one that has ended since.
        let last = state.access.as_ref().map(Secret::expose);
        if last == Some(response.access_token.expose()) {
            state.unclaimed = Some(Unclaimed { response, came, request });
        }
    }

    /// What nobody took of the same request: the caches of a session ask for several scopes, resources and audiences.
    pub(super) fn take_unclaimed(&self, request: &TokenRequest) -> Option<TokenResponse> {
        let asked = |it: &TokenRequest| {
            (it.scopes == request.scopes)
                && (it.resources == request.resources)
                && (it.audiences == request.audiences)
        };
        let unclaimed = self.state().unclaimed.take_if(|it| asked(&it.request))?;
        let mut response = unclaimed.response;
        let age = self.clock().now().saturating_duration_since(unclaimed.came);
        response.expires_in = response.expires_in.map(|life| life.saturating_sub(age));
        (age < UNCLAIMED).then_some(response)
    }

    // === log-out ===

    /// Ends the session here.
    pub(crate) fn end_here(&self) {
        let mut state = self.state();
        if !state.logged_out {
            state.epoch += 1;
            state.logged_out = true;
            self.epoch.store(state.epoch, Ordering::Release);
        }
        state.unclaimed = None;
    }

    /// Ends the session here at once, and then there.
    pub(crate) async fn log_out(&self) -> Result<(), Error> {
        self.end_here();
        // An exchange in the air brings tokens that have to be revoked, too: it does so itself, but who logs out wants
        // to know that it is done.
        let _turn = tokio::time::timeout(self.edge.deadline, self.turn.lock()).await;
        let stored = self.stored().await?;
        let (refresh, access, stray) = {
            let mut state = self.state();
            let unsaved = state.unsaved.as_ref().map(|unsaved| unsaved.token.clone());
            let stored = stored.as_ref().map(|stored| stored.token.clone());
            let refresh = unsaved.or(stored).or_else(|| state.seed.clone());
            (refresh, state.access.clone(), std::mem::take(&mut state.stray))
        };
        // RFC 7009 §2.1: with the refresh token the access tokens of the same grant end, too, at most servers. So it goes first.
        let mut first_error = None;
        let tokens = [(refresh, TokenHint::RefreshToken), (access, TokenHint::AccessToken)];
        let tokens = tokens.into_iter().filter_map(|(token, hint)| Some((token?, hint)));
        for (token, hint) in tokens.chain(stray) {
            let revoked = self.edge.revoke(RevocationRequest { token: token.clone(), hint }).await;
            if let Err(error) = revoked {
                if error.is_transient() {
                    self.stray(token, hint);
                }
                tracing::warn!(%error, ?hint, "token could not be revoked");
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            // RFC 7009 §2.2.1: it must be taken for alive. It is kept for the caller's next try.
            Some(error) if error.is_transient() => Err(error),
            rest => {
                self.wipe(stored.map(|stored| stored.generation)).await?;
                rest.map_or(Ok(()), Err)
            }
        }
    }

    async fn wipe(&self, stored: Option<u64>) -> Result<(), Error> {
        if let Some(generation) = stored
            && !self.swap(generation, None).await?
        {
            // Another process has logged in again, or has just renewed what we have revoked.
            tracing::debug!("another refresh token is stored by now; it stays");
        }
        let mut state = self.state();
        state.seed = None;
        state.unsaved = None;
        state.access = None;
        state.stray.clear();
        Ok(())
    }

    /// Begins another session with a refresh token of its own.
    pub(crate) async fn log_in(&self, token: Secret) -> Result<(), Error> {
        if !self.is_of_a_user {
            let why = "this client asks for itself; a session needs a refresh_token_store(..)";
            return Err(ErrorKind::Configuration(why).into());
        }
        let _turn = self.turn.lock().await;
        for _ in 0..ROUNDS {
            let held = self.stored().await?.map_or(0, |held| held.generation);
            let first = StoredRefreshToken::first(token.clone());
            if !self.swap(held, Some(first)).await? {
                // Somebody was faster: read again.
                continue;
            }
            let mut state = self.state();
            let epoch = state.epoch + 1;
            *state = State { epoch, stray: std::mem::take(&mut state.stray), ..State::default() };
            self.epoch.store(epoch, Ordering::Release);
            return Ok(());
        }
        Err(ErrorKind::Store.into())
    }

    async fn end(&self, tokens: [(Option<Secret>, TokenHint); 2]) {
        for (token, hint) in tokens {
            let Some(token) = token else { continue };
            if self.edge.revoke(RevocationRequest { token: token.clone(), hint }).await.is_err() {
                self.stray(token, hint);
            }
        }
    }

    fn stray(&self, token: Secret, hint: TokenHint) {
        let mut state = self.state();
        if state.stray.len() < MAX_STRAY
            && !state.stray.iter().any(|(held, _)| held.expose() == token.expose())
        {
            state.stray.push((token, hint));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
