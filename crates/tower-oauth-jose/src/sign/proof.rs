use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use serde_json::{Value, json};

use super::{InvalidSigningKey, SigningKey};
use crate::base64url;
use crate::key::Thumbprint;

/// Signs the proofs of one key (RFC 9449 section 4.2).
///
/// The header of a proof is the same for all of a key, and is written once. Cloning is a reference count.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_oauth_jose::{
///     Algorithm, DpopClaims, DpopProof, DpopRequest, DpopRules, DpopSigner, SigningKey, TargetUri,
/// };
///
/// let signer = DpopSigner::new(SigningKey::generate(Algorithm::ES256)?)?;
/// let claims = DpopClaims::new("GET", "https://api.example.com/stock").access_token("t1");
/// let proof = signer.sign(&claims, 1_800_000_000).unwrap();
///
/// let uris = [TargetUri::parse("https://api.example.com/stock").unwrap()];
/// let request = DpopRequest::new("GET", &uris).access_token("t1", Some(signer.jkt()));
/// let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// assert!(DpopProof::verify(&proof, &DpopRules::new(), &request, now).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DpopSigner {
    key: SigningKey,
    jkt: Thumbprint,
    /// Encoded.
    header: Arc<str>,
}

/// What one proof says: which request it is for, and with which token.
#[derive(Clone, Copy)]
#[must_use]
pub struct DpopClaims<'a> {
    method: &'a str,
    uri: &'a str,
    token: Option<&'a str>,
    nonce: Option<&'a str>,
}

// === impl DpopSigner ===

impl DpopSigner {
    /// A signer with this key, which is a private one. Its `kid` does not matter here.
    ///
    /// # Errors
    ///
    /// [`InvalidSigningKey::AlgorithmMismatch`]: a shared secret proves nothing to a server that does not have it, and must not be shown.
    pub fn new(key: SigningKey) -> Result<Self, InvalidSigningKey> {
        let parts = key.public_jwk().zip(key.thumbprint());
        let (jwk, jkt) = parts.ok_or(InvalidSigningKey::AlgorithmMismatch)?;
        let alg = key.algorithm().name();
        let header = format!(r#"{{"alg":"{alg}","jwk":{jwk},"typ":"dpop+jwt"}}"#);
        Ok(Self { key, jkt, header: base64url::encode(header).into() })
    }

    /// The thumbprint of the key: `jkt` of the tokens that are bound to it, and `dpop_jkt` of an authorization request.
    #[must_use]
    pub const fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// Signs a proof with a `jti` of its own, issued at `now` in seconds since 1970. `None` where the backend fails, for want of
    /// randomness or memory.
    #[must_use]
    pub fn sign(&self, claims: &DpopClaims<'_>, now: i64) -> Option<String> {
        let mut id = [0; 16];
        rand::fill(&mut id).ok()?;
        let mut said = json!({
            "jti": base64url::encode(id),
            "htm": claims.method,
            "htu": claims.uri,
            "iat": now,
        });
        let mut say = |name: &str, value: String| {
            if let Some(said) = said.as_object_mut() {
                said.insert(name.to_owned(), Value::String(value));
            }
        };
        if let Some(token) = claims.token {
            say("ath", base64url::encode(digest::digest(&digest::SHA256, token.as_bytes())));
        }
        if let Some(nonce) = claims.nonce {
            say("nonce", nonce.to_owned());
        }
        self.key.sign_under(&self.header, &said)
    }

    /// Whether this is a proof of this key, for whatever request. The signature is not checked: it tells one's own from another's.
    #[must_use]
    pub fn recognises(&self, proof: &[u8]) -> bool {
        proof.strip_prefix(self.header.as_bytes()).is_some_and(|rest| rest.starts_with(b"."))
    }
}

impl fmt::Debug for DpopSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopSigner")
            .field("algorithm", &self.key.algorithm())
            .field("jkt", &self.jkt)
            .finish_non_exhaustive()
    }
}

// === impl DpopClaims ===

impl<'a> DpopClaims<'a> {
    /// `htm` and `htu`: the method, and the URI of the target without query and fragment.
    pub const fn new(method: &'a str, uri: &'a str) -> Self {
        Self { method, uri, token: None, nonce: None }
    }

    /// `ath`: the request brings this access token.
    pub const fn access_token(mut self, token: &'a str) -> Self {
        self.token = Some(token);
        self
    }

    /// `nonce`: the server has asked for it.
    pub const fn nonce(mut self, nonce: &'a str) -> Self {
        self.nonce = Some(nonce);
        self
    }
}

// A path may hold what is nobody else's business, and the token stands in here.
impl fmt::Debug for DpopClaims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopClaims").field("method", &self.method).finish_non_exhaustive()
    }
}
