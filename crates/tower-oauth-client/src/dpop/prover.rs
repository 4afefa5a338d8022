use std::sync::Arc;

use http::HeaderValue;
use tower_oauth_core::{Clock, Error, ErrorKind, ProofRequest, Prover, ServerNonces};
use tower_oauth_jose::DpopClaims;

use super::DpopKey;

/// The key of one source, and what the servers that it is shown to have said of nonces.
pub(crate) struct KeyProver {
    key: DpopKey,
    clock: Arc<dyn Clock>,
    resources: ServerNonces,
    /// Apart, since a server may be both, and the nonces are not the same (RFC 9449 §8).
    issuers: ServerNonces,
}

impl KeyProver {
    pub(crate) fn new(key: DpopKey, clock: Arc<dyn Clock>) -> Self {
        let (resources, issuers) = (ServerNonces::default(), ServerNonces::default());
        Self { key, clock, resources, issuers }
    }

    /// The nonces of token endpoints.
    pub(super) fn issuers(&self) -> &ServerNonces {
        &self.issuers
    }
}

impl Prover for KeyProver {
    fn prove(&self, request: &ProofRequest<'_>) -> Result<HeaderValue, Error> {
        let mut claims = DpopClaims::new(request.method.as_str(), request.uri);
        if let Some(token) = request.access_token {
            claims = claims.access_token(token);
        }
        if let Some(nonce) = request.nonce {
            claims = claims.nonce(nonce);
        }
        let proof = self.key.signer().sign(&claims, self.clock.unix_seconds());
        let proof = proof.and_then(|proof| HeaderValue::try_from(proof).ok());
        let mut proof = proof.ok_or(ErrorKind::Configuration("the proof cannot be signed"))?;
        proof.set_sensitive(true);
        Ok(proof)
    }

    fn recognises(&self, proof: &HeaderValue) -> bool {
        self.key.signer().recognises(proof.as_bytes())
    }

    fn nonces(&self) -> &ServerNonces {
        &self.resources
    }
}
