//! A server that wants a nonce in the proof gets the same token once more, with another proof (RFC 9449 §9).
//!
//! It is no rejection: the token is as good as before, and a request may be sent again for either reason, once for each.

use std::sync::Arc;

use http::{Request, Response, Uri};
use tower_oauth_core::Token;

use super::{Call, IsReproof};
use crate::capture::Captured;
use crate::observe;
use crate::prove::{ProvenTo, asks_for_nonce};
use crate::stamp::put;

/// What an answer wants of the proof.
pub(super) enum Wants {
    /// Nothing; the answer is about something else.
    Nothing,
    /// This nonce. `None` where the request is not to be sent again: it was already, or it would not help.
    Nonce(Option<Arc<str>>),
}

/// What a request needs to be sent again.
pub(super) struct Spare<S, B> {
    /// Not ready.
    pub(super) service: S,
    pub(super) head: Request<()>,
    pub(super) body: Captured<B>,
}

impl Call {
    /// Learns the nonce of an answer to a bound token, and reads what the answer wants.
    pub(super) fn wants<R>(&self, token: &Token, uri: &Uri, response: &Response<R>) -> Wants {
        let Some(server) = ProvenTo::of(token, &self.shared.guard, uri) else {
            return Wants::Nothing;
        };
        let now = self.shared.clock.now();
        let nonce = server.hear(response.headers());
        let asks = asks_for_nonce(response.status(), response.headers());
        if self.is_reproof {
            server.replayed(asks, now);
        }
        if !asks {
            return Wants::Nothing;
        }
        let was_reproof = self.is_reproof || response.extensions().get::<IsReproof>().is_some();
        Wants::Nonce(nonce.filter(|_| !was_reproof && server.may_replay(now)))
    }
}

impl<S, B> Spare<S, B> {
    /// The request once more, if its whole body is there, and time.
    pub(super) fn prove_again(
        self,
        call: &mut Call,
        token: &Token,
        nonce: &str,
    ) -> Option<(S, Request<B>)> {
        let Self { service, head, body } = self;
        let body = body.rewind()?;
        let mut request = head.map(|()| body);
        if !call.is_in_time(&mut request) {
            return None;
        }
        put(token, &call.shared.guard, &mut request, Some(nonce)).ok()?;
        request.extensions_mut().insert(IsReproof);
        call.is_reproof = true;
        observe::nonce_asked();
        Some((service, request))
    }
}

/// Marks an answer that goes back although it asks for a nonce, for a layer outside.
pub(super) fn mark<R>(call: &Call, response: &mut Response<R>) {
    if call.is_reproof {
        response.extensions_mut().insert(IsReproof);
    }
}
