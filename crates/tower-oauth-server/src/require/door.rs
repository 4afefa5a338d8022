//! The decision, without the service behind it.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION};
use http::request::Parts;
use tower_oauth_core::{BoxFuture, Clock, SystemClock};

use super::admission::{Admission, Proof};
use super::erased::{Erased, ErasedAuthenticate, ErasedVerdict};
use super::strip::Strip;
use crate::render::Style;
use crate::{
    Authenticate, MalformedRequest, Presented, Rejection, UntilExpiry, credentials, observe,
};

#[derive(Clone)]
pub(super) struct Door {
    authenticator: Arc<dyn ErasedAuthenticate>,
    pub(super) style: Arc<Style>,
    pub(super) allow_anonymous: bool,
    pub(super) allow_cors_preflight: bool,
    /// What a client may not say about itself.
    pub(super) strip: Strip,
    pub(super) cut_streams: bool,
    /// For the cut alone: whether a token has expired is for the authenticator to say.
    pub(super) clock: Arc<dyn Clock>,
}

/// What the door has to say to a request.
pub(super) enum Answer {
    Now(Result<Admission, Rejection>),
    Later(BoxFuture<Result<Proof, Rejection>>),
}

impl Door {
    pub(super) fn new<A: Authenticate>(authenticator: A) -> Self {
        Self {
            authenticator: Arc::new(Erased(authenticator)),
            style: Arc::default(),
            allow_anonymous: false,
            allow_cors_preflight: false,
            strip: Strip::default(),
            cut_streams: false,
            clock: Arc::new(SystemClock),
        }
    }

    pub(super) fn judge(&self, head: &Parts) -> Answer {
        if self.allow_cors_preflight && is_cors_preflight(head) {
            return Answer::Now(Ok(Admission::Preflight));
        }
        let token = match credentials::read(head) {
            Ok(Some(token)) if token.len() > self.authenticator.max_token_bytes() => {
                return Answer::Now(Err(MalformedRequest::TooLong.into()));
            }
            Ok(Some(token)) => token,
            Ok(None) if self.allow_anonymous => {
                return Answer::Now(Ok(Admission::Anonymous { style: Arc::clone(&self.style) }));
            }
            Ok(None) => return Answer::Now(Err(Rejection::Missing)),
            Err(rejection) => return Answer::Now(Err(rejection)),
        };
        match self.authenticator.authenticate(Presented::new(token, head)) {
            ErasedVerdict::Now(verdict) => Answer::Now(verdict.map(|proof| self.admission(proof))),
            ErasedVerdict::Later(verdict) => Answer::Later(verdict),
        }
    }

    pub(super) fn admission(&self, proof: Proof) -> Admission {
        Admission::Caller(proof.with_style(Arc::clone(&self.style)))
    }

    /// Lets a request in: leaves the one word of this door in it, in place of any that came with it, and
    /// takes away what the client may not say. What comes back is when its answer has to end.
    pub(super) fn admit(&self, head: &mut Parts, admission: Admission) -> Option<UntilExpiry> {
        let until = match &admission {
            Admission::Caller(proof) if self.cut_streams => {
                Some(UntilExpiry::new(&proof.principal, Arc::clone(&self.clock)))
            }
            _ => None,
        };
        if matches!(admission, Admission::Caller(_)) {
            observe::authenticated();
        }
        head.extensions.insert(admission);
        // The value was checked here; whoever prints the request's headers further in does not print it.
        if let Some(authorization) = head.headers.get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        self.strip.apply(&mut head.headers);
        until
    }

    pub(super) fn debug(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("style", &self.style)
            .field("allow_anonymous", &self.allow_anonymous)
            .field("allow_cors_preflight", &self.allow_cors_preflight)
            .field("strip", &self.strip)
            .field("cut_streams_at_expiry", &self.cut_streams)
            .finish_non_exhaustive()
    }
}

fn is_cors_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
