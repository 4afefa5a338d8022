//! What the door leaves in the extensions of a request that it lets in.

use std::any::Any;
use std::sync::Arc;

use http::request::Parts;
use http::{Extensions, HeaderValue};

use super::recheck::Judged;
use crate::bound::Offer;
use crate::render::{Refusal, Style};
use crate::{Caller, Principal, Rejection};

/// How a request came in. Only [`RequireToken`](crate::RequireToken) makes one, and puts it in the place of any that was there before.
#[derive(Clone)]
pub(crate) enum Admission {
    /// With a valid token.
    Caller(Proof),
    /// Without credentials, where that is allowed.
    Anonymous { style: Arc<Style>, offer: Option<Offer> },
    /// As a CORS preflight, which never has credentials.
    Preflight,
}

/// That a token was valid, with its claims in a type that only the handler names.
#[derive(Clone)]
pub(crate) struct Proof {
    pub(crate) principal: Arc<Principal>,
    claims: Arc<dyn Any + Send + Sync>,
    pub(crate) style: Option<Arc<Style>>,
    pub(crate) offer: Option<Offer>,
    /// For the answer, if the client should take a fresh one for its next proof.
    pub(crate) nonce: Option<HeaderValue>,
    /// Where the door judges again what is still going on.
    pub(crate) judged: Option<Arc<Judged>>,
}

impl Admission {
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Rejection> {
        extensions.get().ok_or(Rejection::Misconfigured(
            "no RequireTokenLayer is above this route: nobody has checked a token",
        ))
    }

    /// How the door looks, for a refusal further in.
    fn style(&self) -> Option<Arc<Style>> {
        match self {
            Self::Caller(proof) => proof.style.clone(),
            Self::Anonymous { style, .. } => Some(Arc::clone(style)),
            Self::Preflight => None,
        }
    }

    /// Refuses the request with this head in the style of the door that it came through, if there is one.
    pub(crate) fn refusal(rejection: Rejection, head: &Parts) -> Refusal {
        let admission = Self::of(&head.extensions).ok();
        Refusal::new(rejection, head, admission.and_then(Self::style))
            .offering(admission.and_then(Self::offer))
    }

    /// The DPoP challenge to make in a refusal further in.
    fn offer(&self) -> Option<Offer> {
        match self {
            Self::Caller(Proof { offer, .. }) | Self::Anonymous { offer, .. } => offer.clone(),
            Self::Preflight => None,
        }
    }

    pub(super) fn nonce(&self) -> Option<HeaderValue> {
        match self {
            Self::Caller(proof) => proof.nonce.clone(),
            Self::Anonymous { .. } | Self::Preflight => None,
        }
    }
}

impl Proof {
    pub(super) fn new<C: Send + Sync + 'static>(caller: Caller<C>) -> Self {
        Self {
            principal: caller.principal,
            claims: caller.claims,
            style: None,
            offer: None,
            nonce: None,
            judged: None,
        }
    }

    pub(super) fn with_style(mut self, style: Arc<Style>) -> Self {
        self.style = Some(style);
        self
    }

    /// The claims, if this is their type.
    pub(crate) fn claims<C: Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        Arc::clone(&self.claims).downcast().ok()
    }
}
