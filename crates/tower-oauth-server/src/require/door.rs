//! The decision, without the service behind it.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::request::Parts;
use tower_oauth_core::BoxFuture;

use super::admission::{Admission, Proof};
use super::erased::{Erased, ErasedAuthenticate, ErasedVerdict};
use crate::bound::{Confirmed, SenderPolicy};
use crate::render::Refusal;
use crate::{Authenticate, Presented, Rejection, credentials};

#[derive(Clone)]
pub(super) struct Door {
    authenticator: Arc<dyn ErasedAuthenticate>,
    pub(super) realm: Option<Arc<str>>,
    pub(super) sender: SenderPolicy,
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
            sender: SenderPolicy::default(),
            allow_anonymous: false,
            allow_cors_preflight: false,
        }
    }

    pub(super) fn judge(&self, head: &Parts) -> Answer {
        if self.allow_cors_preflight && is_cors_preflight(head) {
            return Answer::Now(Ok(Admission::Preflight));
        }
        let credentials = match credentials::read(head, self.sender.takes_dpop()) {
            Ok(Some(credentials)) => credentials,
            Ok(None) if self.allow_anonymous => {
                let (realm, offer) = (self.realm.clone(), self.sender.offer(head));
                return Answer::Now(Ok(Admission::Anonymous { realm, offer }));
            }
            Ok(None) => return Answer::Now(Err(Rejection::Missing)),
            Err(rejection) => return Answer::Now(Err(rejection)),
        };
        let mut presented = Presented::new(credentials.token, head);
        presented.scheme = credentials.scheme;
        presented.sender_is_checked = self.sender.checks();
        match self.authenticator.authenticate(presented) {
            ErasedVerdict::Now(Err(rejection)) => Answer::Now(Err(rejection)),
            // The token first: a proof is worth the arithmetic only if it comes with a good one.
            ErasedVerdict::Now(Ok(proof)) => {
                match self.sender.look_at(credentials, head).and_then(|shown| shown.confirm(proof))
                {
                    Ok(Confirmed::Now(proof)) => Answer::Now(Ok(self.admit(proof))),
                    Ok(Confirmed::Later(proof)) => Answer::Later(proof),
                    Err(rejection) => Answer::Now(Err(rejection)),
                }
            }
            // The head does not wait with the verdict, so the sender shows now what it has.
            ErasedVerdict::Later(verdict) => match self.sender.look_at(credentials, head) {
                Ok(shown) => Answer::Later(Box::pin(async move {
                    match shown.confirm(verdict.await?)? {
                        Confirmed::Now(proof) => Ok(proof),
                        Confirmed::Later(proof) => proof.await,
                    }
                })),
                Err(rejection) => Answer::Now(Err(rejection)),
            },
        }
    }

    /// Refuses the request with this head.
    pub(super) fn refusal(&self, rejection: Rejection, head: &Parts) -> Refusal {
        let nonce = self.sender.nonce_for(&rejection);
        Refusal::new(rejection, head, self.realm.clone())
            .offering(self.sender.offer(head))
            .with_nonce(nonce)
    }

    pub(super) fn admit(&self, proof: Proof) -> Admission {
        Admission::Caller(proof.with_realm(self.realm.clone()))
    }

    pub(super) fn debug(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("realm", &self.realm)
            .field("sender", &self.sender)
            .field("allow_anonymous", &self.allow_anonymous)
            .field("allow_cors_preflight", &self.allow_cors_preflight)
            .finish_non_exhaustive()
    }
}

fn is_cors_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
