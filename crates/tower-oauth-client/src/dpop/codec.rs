use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Uri};
use tower_oauth_core::codec::Codec;
use tower_oauth_core::{Error, ErrorKind, ProofRequest, Prover};

use super::KeyProver;
use crate::origin::origin_of;
use crate::prove::{DPOP, target};

/// The messages of a token endpoint, with a proof on each request and the nonce taken from each answer (RFC 9449 §5, §8).
#[derive(Clone)]
pub(crate) struct ProvenCodec<C> {
    codec: C,
    prover: Arc<KeyProver>,
    /// Of the endpoint.
    uri: Uri,
}

impl<C> ProvenCodec<C> {
    pub(crate) fn new(codec: C, prover: Arc<KeyProver>, uri: Uri) -> Self {
        Self { codec, prover, uri }
    }

    fn origin(&self) -> Result<String, Error> {
        origin_of(&self.uri)
            .ok_or_else(|| ErrorKind::Configuration("the token endpoint has no origin").into())
    }
}

impl<C: Codec> Codec for ProvenCodec<C> {
    type Request = C::Request;
    type Response = C::Response;

    const MAX_BODY: usize = C::MAX_BODY;

    fn max_body(&self) -> usize {
        self.codec.max_body()
    }

    fn encode(&self, request: &C::Request) -> Result<Request<Bytes>, Error> {
        let mut encoded = self.codec.encode(request)?;
        let origin = self.origin()?;
        let nonce = self.prover.issuers().of(&origin);
        let proof = self.prover.prove(&ProofRequest {
            method: encoded.method(),
            uri: &target(&origin, &self.uri),
            access_token: None,
            nonce: nonce.as_deref(),
        })?;
        encoded.headers_mut().insert(DPOP, proof);
        Ok(encoded)
    }

    fn decode(
        &self,
        request: &C::Request,
        response: Response<Bytes>,
    ) -> Result<C::Response, Error> {
        self.prover.issuers().take(&self.origin()?, response.headers());
        self.codec.decode(request, response)
    }
}
