//! The decision, without the service behind it.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::request::Parts;
use tower_oauth_core::BoxFuture;

use super::admission::{Admission, Proof};
use super::erased::{Erased, ErasedAuthenticate, ErasedVerdict};
use crate::{Authenticate, MalformedRequest, Presented, Rejection, credentials};

#[derive(Clone)]
pub(super) struct Door {
    authenticator: Arc<dyn ErasedAuthenticate>,
    pub(super) realm: Option<Arc<str>>,
    pub(super) allow_anonymous: bool,
    pub(super) allow_cors_preflight: bool,
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
            realm: None,
            allow_anonymous: false,
            allow_cors_preflight: false,
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
                return Answer::Now(Ok(Admission::Anonymous { realm: self.realm.clone() }));
            }
            Ok(None) => return Answer::Now(Err(Rejection::Missing)),
            Err(rejection) => return Answer::Now(Err(rejection)),
        };
        match self.authenticator.authenticate(Presented::new(token, head)) {
            ErasedVerdict::Now(verdict) => Answer::Now(verdict.map(|proof| self.admit(proof))),
            ErasedVerdict::Later(verdict) => Answer::Later(verdict),
        }
    }

    pub(super) fn admit(&self, proof: Proof) -> Admission {
        Admission::Caller(proof.with_realm(self.realm.clone()))
    }

    pub(super) fn debug(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("realm", &self.realm)
            .field("allow_anonymous", &self.allow_anonymous)
            .field("allow_cors_preflight", &self.allow_cors_preflight)
            .finish_non_exhaustive()
    }
}

fn is_cors_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
