//! What the door leaves in the extensions of a request that it lets in.

use std::any::Any;
use std::sync::Arc;

use http::{Extensions, HeaderValue};

use crate::bound::Offer;
use crate::{Caller, Principal, Rejection};

/// How a request came in. Only [`RequireToken`](crate::RequireToken) makes one, and puts it in the place of any that was there before.
#[derive(Clone)]
pub(crate) enum Admission {
    /// With a valid token.
    Caller(Proof),
    /// Without credentials, where that is allowed.
    Anonymous { realm: Option<Arc<str>>, offer: Option<Offer> },
    /// As a CORS preflight, which never has credentials.
    Preflight,
}

/// That a token was valid, with its claims in a type that only the handler names.
#[derive(Clone)]
pub(crate) struct Proof {
    pub(crate) principal: Arc<Principal>,
    claims: Arc<dyn Any + Send + Sync>,
    pub(crate) realm: Option<Arc<str>>,
    pub(crate) offer: Option<Offer>,
    /// For the answer, if the client should take a fresh one for its next proof.
    pub(crate) nonce: Option<HeaderValue>,
}

impl Admission {
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Rejection> {
        extensions.get().ok_or(Rejection::Misconfigured(
            "no RequireTokenLayer is above this route: nobody has checked a token",
        ))
    }

    /// The realm to name in a refusal further in.
    pub(crate) fn realm(&self) -> Option<Arc<str>> {
        match self {
            Self::Caller(Proof { realm, .. }) | Self::Anonymous { realm, .. } => realm.clone(),
            Self::Preflight => None,
        }
    }

    /// The DPoP challenge to make in a refusal further in.
    pub(crate) fn offer(&self) -> Option<Offer> {
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
            realm: None,
            offer: None,
            nonce: None,
        }
    }

    pub(super) fn with_realm(mut self, realm: Option<Arc<str>>) -> Self {
        self.realm = realm;
        self
    }

    /// The claims, if this is their type.
    pub(crate) fn claims<C: Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        Arc::clone(&self.claims).downcast().ok()
    }
}
