//! The decision, without the service behind it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use tower_oauth_core::{BoxFuture, Clock, Secret, SystemClock};

use super::admission::{Admission, Proof};
use super::erased::{Erased, ErasedAuthenticate, ErasedVerdict};
use super::recheck::Judged;
use super::strip::Strip;
use crate::bound::{self, Confirmed, SenderPolicy};
use crate::render::{Refusal, Style};
use crate::{
    Authenticate, DoorBody, MalformedRequest, Presented, Rejection, UntilExpiry, credentials,
    observe,
};

#[derive(Clone)]
pub(super) struct Door {
    authenticator: Arc<dyn ErasedAuthenticate>,
    pub(super) style: Arc<Style>,
    pub(super) sender: SenderPolicy,
    pub(super) allow_anonymous: bool,
    pub(super) allow_cors_preflight: bool,
    /// What a client may not say about itself.
    pub(super) strip: Strip,
    pub(super) cut_streams: bool,
    /// How often the token of a stream is judged again.
    pub(super) recheck_every: Option<Duration>,
    /// For the cut alone: whether a token has expired is for the authenticator to say.
    pub(super) clock: Arc<dyn Clock>,
}

/// What the door has to say to a request.
pub(super) enum Answer {
    Now(Result<Admission, Rejection>),
    Later(BoxFuture<Result<Proof, Rejection>>),
}

/// What the door has to do to the answer of the inner service.
pub(super) struct OnAnswer {
    /// When its body has to end.
    pub(super) until: Option<UntilExpiry>,
    /// For the client's next proof.
    pub(super) nonce: Option<HeaderValue>,
}

impl OnAnswer {
    pub(super) fn apply<B>(&mut self, response: Response<B>) -> Response<DoorBody<B>> {
        let mut response = match self.until.take() {
            Some(until) => DoorBody::cutting(response, until),
            None => response.map(DoorBody::inner),
        };
        if let Some(nonce) = self.nonce.take() {
            bound::give_nonce(response.headers_mut(), nonce);
        }
        response
    }
}

impl Door {
    pub(super) fn new<A: Authenticate>(authenticator: A) -> Self {
        Self {
            authenticator: Arc::new(Erased(authenticator)),
            style: Arc::default(),
            sender: SenderPolicy::default(),
            allow_anonymous: false,
            allow_cors_preflight: false,
            strip: Strip::default(),
            cut_streams: false,
            recheck_every: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Whoever prints the headers from here on, be it an authenticator or a service further in, does not print the token.
    pub(super) fn hide_token(head: &mut Parts) {
        if let Some(authorization) = head.headers.get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
    }

    /// The same where there is more than one, for those who write the refusal.
    pub(super) fn hide_tokens(head: &mut Parts) {
        let fields = head.headers.iter_mut().filter(|(name, _)| **name == AUTHORIZATION);
        fields.for_each(|(_, authorization)| authorization.set_sensitive(true));
    }

    pub(super) fn judge(&self, head: &Parts) -> Answer {
        if self.allow_cors_preflight && is_cors_preflight(head) {
            return Answer::Now(Ok(Admission::Preflight));
        }
        let credentials = match credentials::read(head, self.sender.takes_dpop()) {
            Ok(Some(credentials))
                if credentials.token.len() > self.authenticator.max_token_bytes() =>
            {
                return Answer::Now(Err(MalformedRequest::TooLong.into()));
            }
            Ok(Some(credentials)) => credentials,
            Ok(None) if self.allow_anonymous => {
                let (style, offer) = (Arc::clone(&self.style), self.sender.offer(head));
                return Answer::Now(Ok(Admission::Anonymous { style, offer }));
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
                    Ok(Confirmed::Now(proof)) => Answer::Now(Ok(self.admission(proof))),
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
        Refusal::new(rejection, head, Some(Arc::clone(&self.style)))
            .offering(self.sender.offer(head))
            .with_nonce(nonce)
    }

    pub(super) fn admission(&self, proof: Proof) -> Admission {
        Admission::Caller(proof.with_style(Arc::clone(&self.style)))
    }

    /// Lets a request in: leaves the one word of this door in it, in place of any that came with it, and
    /// takes away what the client may not say. What comes back is what to do to its answer.
    pub(super) fn admit(&self, head: &mut Parts, admission: Admission) -> OnAnswer {
        let mut admission = admission;
        let until = match &mut admission {
            Admission::Caller(proof) if self.cut_streams => {
                proof.judged = self.recheck_every.and_then(|every| self.judged(head, every));
                let (clock, judged) = (Arc::clone(&self.clock), proof.judged.clone());
                Some(UntilExpiry::new(&proof.principal, clock, judged))
            }
            _ => None,
        };
        let nonce = admission.nonce();
        if matches!(admission, Admission::Caller(_)) {
            observe::authenticated();
        }
        head.extensions.insert(admission);
        self.strip.apply(&mut head.headers);
        OnAnswer { until, nonce }
    }

    /// What it takes to judge the token of this request again.
    fn judged(&self, head: &Parts, every: Duration) -> Option<Arc<Judged>> {
        let credentials = credentials::read(head, self.sender.takes_dpop()).ok().flatten()?;
        Some(Arc::new(Judged {
            authenticator: Arc::clone(&self.authenticator),
            token: Secret::new(credentials.token),
            head: head.clone(),
            scheme: credentials.scheme,
            sender_is_checked: self.sender.checks(),
            every,
        }))
    }

    pub(super) fn debug(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("style", &self.style)
            .field("sender", &self.sender)
            .field("allow_anonymous", &self.allow_anonymous)
            .field("allow_cors_preflight", &self.allow_cors_preflight)
            .field("strip", &self.strip)
            .field("cut_streams_at_expiry", &self.cut_streams)
            .field("recheck_streams_every", &self.recheck_every)
            .finish_non_exhaustive()
    }
}

fn is_cors_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
