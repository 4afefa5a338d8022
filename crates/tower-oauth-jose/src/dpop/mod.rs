//! DPoP proofs (RFC 9449 section 4), verified.

mod error;
mod uri;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;

pub use self::error::InvalidProof;
pub use self::uri::TargetUri;
use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::error::InvalidToken;
use crate::json::{Object, Value};
use crate::key::{Thumbprint, VerifyingKey};
use crate::{MAX_PROOF_BYTES, base64url};

/// The end of the year 9999, as for the dates of tokens.
const MAX_DATE: i64 = 253_402_300_799;
/// Parameters that change what the proof means (RFC 7515 section 4.1.11, RFC 7797, RFC 7516).
const FORBIDDEN: [&str; 5] = ["crit", "b64", "zip", "enc", "cty"];

/// What a DPoP proof must be like.
///
/// | rule | default |
/// | --- | --- |
/// | algorithms | all that are supported; all of them are asymmetric |
/// | oldest age | 60 s |
/// | how far `iat` may lie in the future | 5 s |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DpopRules {
    algorithms: AlgorithmSet,
    max_age: i64,
    max_future: i64,
}

impl DpopRules {
    /// The defaults.
    pub fn new() -> Self {
        Self { algorithms: AlgorithmSet::ASYMMETRIC, max_age: 60, max_future: 5 }
    }

    /// Accepts these algorithms only.
    pub fn algorithms(mut self, algorithms: AlgorithmSet) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// How old a proof may be, in whole seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = whole_seconds(max_age);
        self
    }

    /// How far `iat` may lie in the future, in whole seconds: clocks differ.
    pub fn max_future(mut self, max_future: Duration) -> Self {
        self.max_future = whole_seconds(max_future);
        self
    }
}

impl Default for DpopRules {
    fn default() -> Self {
        Self::new()
    }
}

/// The request that a proof came with.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DpopRequest<'a> {
    method: &'a str,
    uris: &'a [TargetUri],
    token: Option<(&'a str, Option<Thumbprint>)>,
}

impl<'a> DpopRequest<'a> {
    /// A request with this method; the URIs are the names under which its target is known, mostly one.
    pub const fn new(method: &'a str, uris: &'a [TargetUri]) -> Self {
        Self { method, uris, token: None }
    }

    /// It brings this access token, which is bound to this key if it is bound to one. (Whether it has to be is the caller's to say.)
    pub const fn access_token(mut self, token: &'a str, bound_to: Option<Thumbprint>) -> Self {
        self.token = Some((token, bound_to));
        self
    }
}

/// A proof that is right in everything that can be told without a memory.
///
/// What is left to the caller: that there was exactly one proof, that its [`nonce`](Self::nonce) is one of its own, and that it has not
/// seen this [`jti`](Self::jti) before.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_oauth_jose::{DpopProof, DpopRequest, DpopRules, InvalidProof, TargetUri};
///
/// // RFC 9449 section 7.1
/// let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
/// let uri = [TargetUri::parse("https://resource.example.org/protectedresource").unwrap()];
/// let request = DpopRequest::new("GET", &uri)
///     .access_token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", None);
/// let now = UNIX_EPOCH + Duration::from_secs(1_562_262_620);
///
/// let proven = DpopProof::verify(proof, &DpopRules::new(), &request, now)?;
/// assert_eq!(proven.jkt().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
/// assert_eq!(proven.jti(), "e1j3V_bKic8-LAEB");
///
/// let later = now + Duration::from_secs(60);
/// let stale = DpopProof::verify(proof, &DpopRules::new(), &request, later);
/// assert_eq!(stale.unwrap_err(), InvalidProof::TooOld);
/// # Ok::<(), InvalidProof>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DpopProof {
    jkt: Thumbprint,
    jti: Box<str>,
    issued_at: i64,
    nonce: Option<Box<str>>,
}

impl DpopProof {
    /// Makes the checks of RFC 9449 section 4.3, the cheap ones before the signature.
    ///
    /// # Errors
    /// The first check that fails, as an [`InvalidProof`].
    pub fn verify(
        proof: &str,
        rules: &DpopRules,
        request: &DpopRequest<'_>,
        now: SystemTime,
    ) -> Result<Self, InvalidProof> {
        if proof.len() > MAX_PROOF_BYTES {
            return Err(InvalidProof::TooLarge);
        }
        // Check 2: a single well-formed JWT.
        let mut parts = proof.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidProof::Malformed);
        };
        let message = proof.get(..header.len() + 1 + payload.len());
        let message = message.ok_or(InvalidProof::Malformed)?.as_bytes();
        let decode = |part| base64url::decode(part).ok_or(InvalidProof::Malformed);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);

        let (algorithm, key) = read_header(&Object::parse(&header)?, rules)?;
        let this = read_claims(&Object::parse(&payload)?, key.thumbprint(), rules, request, now)?;
        // Check 7.
        key.verify(algorithm, message, &signature).map_err(|reason| match reason {
            InvalidToken::KeyMismatch => InvalidProof::KeyMismatch,
            _ => InvalidProof::BadSignature,
        })?;
        Ok(this)
    }

    /// The thumbprint of the key that signed it (RFC 9449 section 6.1).
    #[must_use]
    pub const fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// `jti`: the proof's own name, never empty. It is the client's text: store a digest of it, and keep it out of logs.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// `iat`: when the client says that it was made, rounded down to seconds.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        let since = Duration::from_secs(self.issued_at.unsigned_abs());
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }

    /// `nonce`: what the client gives back of ours, if it does.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

// The client's texts stay out of logs.
impl fmt::Debug for DpopProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopProof").field("jkt", &self.jkt).finish_non_exhaustive()
    }
}

/// Checks 4 to 6 and, with the key, what makes 7 possible.
///
/// Only the embedded key counts. A `kid` beside it, certificates and addresses of keys are never looked at.
fn read_header(
    header: &Object<'_>,
    rules: &DpopRules,
) -> Result<(Algorithm, VerifyingKey), InvalidProof> {
    for name in FORBIDDEN {
        if header.contains(name) {
            return Err(InvalidProof::ForbiddenHeader(name));
        }
    }
    if header.get("typ").and_then(Value::string).as_deref() != Some("dpop+jwt") {
        return Err(InvalidProof::WrongType);
    }
    let algorithm = header.get("alg").and_then(Value::string);
    let algorithm = algorithm.and_then(|name| Algorithm::from_name(&name));
    let algorithm = algorithm
        .filter(|algorithm| rules.algorithms.contains(*algorithm))
        .ok_or(InvalidProof::AlgorithmNotAllowed)?;
    let jwk = header.get("jwk").ok_or(InvalidProof::MissingKey)?;
    let key = VerifyingKey::from_jwk(jwk.text()).map_err(InvalidProof::InvalidKey)?;
    Ok((algorithm, key))
}

/// Check 3, and 8 to 12 without the nonce.
fn read_claims(
    claims: &Object<'_>,
    jkt: Thumbprint,
    rules: &DpopRules,
    request: &DpopRequest<'_>,
    now: SystemTime,
) -> Result<DpopProof, InvalidProof> {
    let jti = required(claims, "jti")?;
    // Methods are case-sensitive (RFC 9110 section 9.1).
    if required(claims, "htm")? != request.method {
        return Err(InvalidProof::WrongMethod);
    }
    let htu = required(claims, "htu")?;
    let htu = TargetUri::parse(&htu).ok_or(InvalidProof::InvalidClaim("htu"))?;
    if !request.uris.contains(&htu) {
        return Err(InvalidProof::WrongUri);
    }
    let issued_at = claims.get("iat").ok_or(InvalidProof::MissingClaim("iat"))?;
    let issued_at = issued_at.whole_number().filter(|date| (0..=MAX_DATE).contains(date));
    let issued_at = issued_at.ok_or(InvalidProof::InvalidClaim("iat"))?;
    let now = whole_seconds(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    if issued_at > now.saturating_add(rules.max_future) {
        return Err(InvalidProof::FromTheFuture);
    }
    if now.saturating_sub(issued_at) >= rules.max_age {
        return Err(InvalidProof::TooOld);
    }
    if let Some((token, bound_to)) = request.token {
        let ath = digest::digest(&digest::SHA256, token.as_bytes());
        if required(claims, "ath")? != base64url::encode(ath) {
            return Err(InvalidProof::WrongToken);
        }
        if bound_to.is_some_and(|bound_to| bound_to != jkt) {
            return Err(InvalidProof::WrongKey);
        }
    }
    let nonce = text(claims, "nonce")?.map(Box::<str>::from);
    Ok(DpopProof { jkt, jti: jti.into(), issued_at, nonce })
}

fn required<'a>(claims: &Object<'a>, name: &'static str) -> Result<Cow<'a, str>, InvalidProof> {
    text(claims, name)?.ok_or(InvalidProof::MissingClaim(name))
}

/// A string that is not empty.
fn text<'a>(claims: &Object<'a>, name: &'static str) -> Result<Option<Cow<'a, str>>, InvalidProof> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let text = value.string().filter(|text| !text.is_empty());
    text.map(Some).ok_or(InvalidProof::InvalidClaim(name))
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
