//! The proof beside a token that is bound to a key (RFC 9449 §7), at the door.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, StatusCode, Uri};
use tower_oauth_core::{Challenges, ProofRequest, Prover, Token};

use crate::error::Refusal;
use crate::origin::Guard;
use crate::{ClientError, NoToken, RefusedRequest};

/// The proof beside a bound token (RFC 9449 §4.1), which goes where the token goes.
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Puts a proof on the request that is for it, for this token and for nothing else; in place of another, if there is one. With
/// the nonce that this server has asked for, or with the last that is known.
pub(crate) fn prove<B>(
    token: &Token,
    prover: &dyn Prover,
    guard: &Guard,
    request: &mut Request<B>,
    nonce: Option<&str>,
) -> Result<(), ClientError> {
    let no_origin = || ClientError::Refused(RefusedRequest::new(Refusal::NoProofOrigin));
    let origin = guard.origin_of(request.uri()).ok_or_else(no_origin)?;
    let known = if nonce.is_none() { prover.nonces().of(&origin) } else { None };
    let proof = prover.prove(&ProofRequest {
        method: request.method(),
        uri: &target(&origin, request.uri()),
        access_token: Some(text_of(token)),
        nonce: nonce.or(known.as_deref()),
    });
    let mut proof = proof.map_err(|error| ClientError::Token(NoToken::new(error)))?;
    proof.set_sensitive(true);
    request.headers_mut().insert(DPOP, proof);
    Ok(())
}

/// The path as it stands: a server that does not normalise compares it with what it has received.
pub(crate) fn target(origin: &str, uri: &Uri) -> String {
    let path = uri.path();
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{origin}{slash}{path}")
}

/// Behind the scheme.
fn text_of(token: &Token) -> &str {
    let header = token.header().to_str().unwrap_or_default();
    header.split_once(' ').map_or(header, |(_, text)| text)
}

/// The server that a proof went to, and whose answer it has to be.
pub(crate) struct ProvenTo {
    prover: Arc<dyn Prover>,
    origin: String,
}

impl ProvenTo {
    /// `None` for a token that is not bound.
    pub(crate) fn of(token: &Token, guard: &Guard, uri: &Uri) -> Option<Self> {
        let prover = Arc::clone(token.prover()?);
        Some(Self { prover, origin: guard.origin_of(uri)?.into_owned() })
    }

    /// Takes the nonce out of an answer, whatever that says.
    pub(crate) fn hear(&self, answer: &HeaderMap) -> Option<Arc<str>> {
        self.prover.nonces().take(&self.origin, answer)
    }

    pub(crate) fn may_replay(&self, now: Instant) -> bool {
        self.prover.nonces().may_replay(&self.origin, now)
    }

    pub(crate) fn replayed(&self, asked_again: bool, now: Instant) {
        self.prover.nonces().replayed(&self.origin, asked_again, now);
    }
}

/// Whether an answer asks for a proof with a nonce (RFC 9449 §9), over HTTP or over gRPC, where the challenge is metadata.
pub(crate) fn asks_for_nonce(status: StatusCode, headers: &HeaderMap) -> bool {
    // Looked for first: most answers have none.
    if !headers.contains_key(WWW_AUTHENTICATE) {
        return false;
    }
    let is_grpc = || {
        let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let code = headers.get("grpc-status").map(http::HeaderValue::as_bytes);
        kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) && code == Some(b"16")
    };
    if status != StatusCode::UNAUTHORIZED && !is_grpc() {
        return false;
    }
    let challenges = Challenges::of(headers);
    let mut of_dpop = challenges.iter().filter(|challenge| challenge.is("DPoP"));
    of_dpop.any(|challenge| challenge.param("error") == Some("use_dpop_nonce"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_only_the_challenge_of_dpop_asks_for_a_nonce() {
        const WWW: &str = "www-authenticate";
        const NONCE: (&str, &str) = (WWW, r#"DPoP error="use_dpop_nonce", algs="ES256""#);
        const GRPC: (&str, &str) = ("content-type", "application/grpc");
        type Fields = &'static [(&'static str, &'static str)];
        let cases: &[(u16, Fields, bool)] = &[
            (401, &[NONCE], true),
            (401, &[(WWW, "Bearer"), NONCE], true),
            (401, &[(WWW, r#"Bearer, dpop error=use_dpop_nonce"#)], true),
            (200, &[GRPC, ("grpc-status", "16"), NONCE], true),
            (200, &[GRPC, ("grpc-status", "7"), NONCE], false),
            (200, &[NONCE], false),
            (400, &[NONCE], false),
            (403, &[NONCE], false),
            (407, &[("proxy-authenticate", NONCE.1)], false),
            (401, &[], false),
            (401, &[(WWW, r#"DPoP error="invalid_token""#)], false),
            (401, &[(WWW, r#"DPoP error="invalid_dpop_proof""#)], false),
            (401, &[(WWW, r#"Bearer error="use_dpop_nonce""#)], false),
            (401, &[(WWW, r#"Basic realm="DPoP error=use_dpop_nonce""#)], false),
        ];
        for (status, fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                headers.append(*name, value.parse().unwrap());
            }
            let status = StatusCode::from_u16(*status).unwrap();
            assert_eq!(asks_for_nonce(status, &headers), *expected, "{status} {fields:?}");
        }
    }
}
