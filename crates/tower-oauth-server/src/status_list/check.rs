//! From a caller to a verdict over the status of the token: at once if its list is at hand, else after a fetch.

use std::sync::Arc;

use tower_oauth_core::{EndpointUri, Error, ErrorKind};
use tower_oauth_jose::{InvalidToken, Verified};
use tower_service::Service;
use tower_single_flight::FlightError;

use super::StatusLists;
use super::fetch::{Ask, Verifier};
use super::list::{Key, Loaded, Place};
use crate::introspect::flatten;
use crate::jwt::unavailable;
use crate::{Caller, Rejection, Verdict};

/// A list from before the question, one from after it, and more should flights be lost.
const LOOKS: usize = 4;

/// The lists, as one [`Jwt`](crate::Jwt) asks for them.
#[derive(Clone)]
pub(crate) struct StatusCheck {
    lists: StatusLists,
    verifier: Arc<Verifier>,
}

/// What one look says.
enum Look {
    Status(u8),
    /// The list has no such index, and has just been asked for.
    NoEntry,
    NoAnswer(Error),
    Ask(Ask),
}

impl StatusCheck {
    pub(super) fn new(lists: StatusLists, verifier: Verifier) -> Self {
        Self { lists, verifier: Arc::new(verifier) }
    }

    /// Where the status of a token stands. One that names no list is nobody's business, unless a status is required.
    pub(crate) fn place(&self, verified: &Verified) -> Result<Option<Place>, InvalidToken> {
        match verified.status_reference()? {
            Some(reference) => {
                let issuer = Arc::clone(&self.verifier.issuer);
                let key = Key { issuer, uri: reference.uri().into() };
                let key = self.lists.shared.store.intern(key);
                Ok(Some(Place { key, index: reference.index() }))
            }
            None if self.lists.shared.options.required => Err(InvalidToken::MissingClaim("status")),
            None => Ok(None),
        }
    }

    /// Lets a caller in whose token is valid by now.
    pub(crate) fn judge<C: Send + Sync + 'static>(&self, caller: Caller<C>) -> Verdict<C> {
        let Some(place) = &caller.principal.status else { return Verdict::Now(Ok(caller)) };
        let verdict = match self.look(place) {
            Look::Status(status) => self.admit(status),
            Look::NoEntry => Err(Rejection::Invalid(InvalidToken::NoStatus)),
            Look::NoAnswer(error) => self.without_answer(place, &error),
            Look::Ask(ask) => {
                let place = place.clone();
                return Verdict::Later(Box::pin(self.clone().ask(ask, place, caller)));
            }
        };
        Verdict::Now(verdict.map(|()| caller))
    }

    fn look(&self, place: &Place) -> Look {
        let (store, now) = (&self.lists.shared.store, self.verifier.clock.now());
        let list = store.find(&place.key);
        let seen = list.as_ref().map_or(0, |list| list.seq);
        let serves = |list: &Arc<Loaded>| list.is_fresh(now) && self.verifier.finds_standing(list);
        if let Some(list) = list.filter(serves) {
            if now >= list.ages.refresh_at {
                self.refresh_in_background(place, seen);
            }
            if let Some(status) = list.list.status(place.index) {
                return Look::Status(status);
            }
            if store.pause(&place.key, now).is_none()
                && !self.lists.shared.flight.is_in_flight(&place.key)
                && !store.spend_on_a_miss(&place.key, now)
            {
                return Look::NoEntry;
            }
        }
        match store.pause(&place.key, now) {
            Some(error) => Look::NoAnswer(error),
            None => self.asking(place, seen).map_or_else(Look::NoAnswer, Look::Ask),
        }
    }

    /// The cold path: waits for the list.
    async fn ask<C>(
        self,
        mut ask: Ask,
        place: Place,
        caller: Caller<C>,
    ) -> Result<Caller<C>, Rejection> {
        let came = self.verifier.clock.now();
        for _ in 0..LOOKS {
            let mut flight = self.lists.shared.flight.clone();
            let list = match flight.call(ask.clone()).await {
                Ok(list) => list,
                // The runtime that it was started in has ended; ours has not.
                Err(FlightError::Lost) => continue,
                Err(error) => {
                    return self.without_answer(&place, &flatten(error)).map(|()| caller);
                }
            };
            let Some(status) = list.list.status(place.index) else {
                // The token may be younger than a list that was asked for before it came.
                let (store, now) = (&self.lists.shared.store, self.verifier.clock.now());
                if list.asked < came && store.spend_on_a_miss(&place.key, now) {
                    ask.seen = list.seq;
                    continue;
                }
                return Err(Rejection::Invalid(InvalidToken::NoStatus));
            };
            self.admit(status)?;
            // The token may have died while it waited.
            let wall = u64::try_from(self.verifier.clock.unix_seconds()).unwrap_or(0);
            if wall >= caller.principal.valid_until.as_secs() {
                return Err(Rejection::Invalid(InvalidToken::Expired));
            }
            return Ok(caller);
        }
        Err(unavailable(ErrorKind::Lost, None))
    }

    fn admit(&self, status: u8) -> Result<(), Rejection> {
        let reason = match status {
            0 => return Ok(()),
            1 => InvalidToken::Inactive,
            other if self.lists.shared.options.accepted.contains(&other) => return Ok(()),
            2 => InvalidToken::Suspended,
            _ => InvalidToken::UnknownStatus,
        };
        Err(Rejection::Invalid(reason))
    }

    /// The list cannot be had: what the route wants to be done then.
    fn without_answer(&self, place: &Place, error: &Error) -> Result<(), Rejection> {
        let last = self.lists.route.outage.grace(error).and_then(|grace| {
            let list = self.lists.shared.store.find(&place.key)?;
            let end = list.ages.fresh_until.checked_add(grace)?;
            let serves = self.verifier.clock.now() < end && self.verifier.finds_standing(&list);
            list.list.status(place.index).filter(|_| serves)
        });
        match last {
            Some(status) => self.admit(status),
            None => Err(unavailable(error.kind(), error.retry_after())),
        }
    }

    /// Sets a refresh off. Nobody waits for it.
    fn refresh_in_background(&self, place: &Place, seen: u64) {
        let (shared, now) = (&self.lists.shared, self.verifier.clock.now());
        if shared.flight.is_in_flight(&place.key) || shared.store.pause(&place.key, now).is_some() {
            return;
        }
        if let Ok(ask) = self.asking(place, seen) {
            drop(shared.flight.clone().call(ask));
        }
    }

    /// A question for the list, if its address is one where we ask.
    fn asking(&self, place: &Place, seen: u64) -> Result<Ask, Error> {
        let refuse = |why| Error::from(ErrorKind::Configuration(why));
        let uri = EndpointUri::parse(&place.key.uri).map_err(|error| {
            refuse("the address of a status list is not secure").with_source(error)
        })?;
        let trusted = &self.lists.shared.options.trusted_hosts;
        let is_trusted = uri.host().eq_ignore_ascii_case(&self.verifier.host)
            || trusted.iter().any(|host| host.eq_ignore_ascii_case(uri.host()));
        if !is_trusted {
            return Err(refuse("a status list is on another host than its issuer"));
        }
        Ok(Ask { key: place.key.clone(), uri, seen, verifier: Arc::clone(&self.verifier) })
    }
}
