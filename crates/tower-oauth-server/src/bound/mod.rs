//! Tokens that are bound to a key of their sender: DPoP (RFC 9449) and mutual TLS (RFC 8705 §3).
//!
//! 1. The authenticator says what a token is bound to ([`Principal::confirmation`](crate::Principal)); it does not check it.
//! 2. What the sender shows is read from the head of the request, after the token was found good: proofs cost arithmetic.
//! 3. All that the token is bound to has to be shown, each by its own means. What is not configured here counts as not shown.
//! 4. The nonce comes before the memory of proofs, and the memory last: only what would be let in takes up room.

mod certificate;
mod dpop;
mod mutual_tls;
mod nonce;
mod replay;

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_oauth_core::BoxFuture;
use tower_oauth_jose::{CertificateDigest, InvalidProof, InvalidToken};

pub use self::certificate::PeerCertificate;
pub(crate) use self::dpop::Offer;
use self::dpop::Proven;
pub use self::dpop::{Dpop, DpopBuilder};
pub use self::mutual_tls::MutualTls;
pub use self::replay::{ProofId, Remember, ReplayStore, Seen};
use crate::credentials::{self, Credentials};
use crate::require::Proof;
use crate::{Rejection, Scheme};

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How a door checks senders.
#[derive(Clone, Debug, Default)]
pub(crate) struct SenderPolicy {
    pub(crate) dpop: Option<Dpop>,
    pub(crate) mutual_tls: Option<MutualTls>,
}

/// What the sender of a request has shown, and nobody has compared with the token yet.
pub(crate) struct Shown {
    policy: SenderPolicy,
    proven: Option<Proven>,
    certificate: Option<CertificateDigest>,
    offer: Option<Offer>,
}

/// The sender is the one whom the token is for.
pub(crate) enum Confirmed {
    Now(Proof),
    /// A shared memory is asked whether the proof is new.
    Later(BoxFuture<Result<Proof, Rejection>>),
}

impl SenderPolicy {
    /// Whether bound tokens can be let in at all.
    pub(crate) const fn checks(&self) -> bool {
        self.dpop.is_some() || self.mutual_tls.is_some()
    }

    pub(crate) const fn takes_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// What to say of DPoP in a challenge.
    pub(crate) fn offer(&self, head: &Parts) -> Option<Offer> {
        let dpop = self.dpop.as_ref()?;
        let used = if credentials::uses_dpop(head) { Scheme::Dpop } else { Scheme::Bearer };
        Some(dpop.offer(used))
    }

    pub(crate) fn nonce_for(&self, rejection: &Rejection) -> Option<HeaderValue> {
        match rejection {
            Rejection::UseDpopNonce => self.dpop.as_ref().and_then(Dpop::fresh_nonce),
            _ => None,
        }
    }

    pub(crate) fn look_at(
        &self,
        credentials: Credentials<'_>,
        head: &Parts,
    ) -> Result<Shown, Rejection> {
        let proven = match (&self.dpop, credentials.scheme) {
            (Some(dpop), Scheme::Dpop) => Some(dpop.read(credentials.token, head)?),
            _ => None,
        };
        Ok(Shown {
            policy: self.clone(),
            proven,
            certificate: self.mutual_tls.as_ref().and_then(|tls| tls.certificate(head)),
            offer: self.offer(head),
        })
    }
}

impl Shown {
    /// Compares what was shown with what the token is bound to.
    pub(crate) fn confirm(self, mut proof: Proof) -> Result<Confirmed, Rejection> {
        let confirmation = proof.principal.confirmation.as_ref();
        let jkt = confirmation.and_then(|cnf| cnf.jkt());
        match (&self.proven, jkt) {
            (Some(proven), Some(jkt)) if proven.jkt() == jkt => {}
            (Some(_), Some(_)) => return Err(InvalidProof::WrongKey.into()),
            // RFC 9449 §7.1: the scheme is for bound tokens only.
            (Some(_), None) => return Err(InvalidToken::NotSenderConstrained.into()),
            // RFC 9449 §7.2: no downgrade.
            (None, Some(_)) => return Err(InvalidToken::SenderConstrained.into()),
            (None, None) if self.policy.dpop.as_ref().is_some_and(Dpop::is_required) => {
                return Err(InvalidToken::NotSenderConstrained.into());
            }
            (None, None) => {}
        }
        match (confirmation.and_then(|cnf| cnf.certificate()), self.certificate) {
            (Some(bound_to), Some(shown)) if bound_to == shown => {}
            (Some(_), Some(_)) => return Err(InvalidToken::WrongSender.into()),
            (Some(_), None) => return Err(InvalidToken::SenderConstrained.into()),
            (None, _) if self.policy.mutual_tls.as_ref().is_some_and(MutualTls::is_required) => {
                return Err(InvalidToken::NotSenderConstrained.into());
            }
            (None, _) => {}
        }
        proof.offer = self.offer;
        let (Some(dpop), Some(proven)) = (self.policy.dpop, self.proven) else {
            return Ok(Confirmed::Now(proof));
        };
        proof.nonce = dpop.check_nonce(&proven)?;
        match dpop.remember(&proven) {
            Remember::Now(seen) => dpop::admit_once(seen).map(|()| Confirmed::Now(proof)),
            Remember::Later(seen) => Ok(Confirmed::Later(Box::pin(async move {
                dpop::admit_once(seen.await).map(|()| proof)
            }))),
        }
    }
}

/// Gives the client a nonce for its next proof. An answer with a nonce must not come out of a cache (RFC 9449 §8.2): where the inner service
/// says nothing of caching, `no-store` is said for it.
pub(crate) fn give_nonce(headers: &mut HeaderMap, nonce: HeaderValue) {
    headers.insert(DPOP_NONCE, nonce);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
