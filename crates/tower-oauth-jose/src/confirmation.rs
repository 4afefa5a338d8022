//! What a token is bound to: the claim `cnf` (RFC 7800).

use std::fmt;

use aws_lc_rs::digest;

use crate::base64url;
use crate::error::InvalidToken;
use crate::json::Object;
use crate::key::Thumbprint;

/// What a token is bound to (RFC 7800 section 3.1): a key that its sender proves by DPoP, a certificate that it shows in the
/// TLS handshake, or both.
///
/// At least one is there. All that are there have to be confirmed.
///
/// ```
/// use tower_oauth_jose::{Confirmation, InvalidToken};
///
/// // RFC 9449 section 6.1
/// let cnf = Confirmation::parse(r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#)?;
/// assert_eq!(cnf.jkt().unwrap().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
/// assert_eq!(cnf.certificate(), None);
///
/// let unknown = Confirmation::parse(r#"{"kid":"7"}"#);
/// assert_eq!(unknown, Err(InvalidToken::SenderConstrained));
/// # Ok::<(), InvalidToken>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    jkt: Option<Thumbprint>,
    certificate: Option<CertificateDigest>,
}

impl Confirmation {
    /// Reads the value of a `cnf` member, of a token or of an introspection answer (RFC 9449 section 6.2, RFC 8705 section 3.2).
    ///
    /// # Errors
    /// [`InvalidToken::SenderConstrained`] if there is a member that we do not know how to confirm, or none at all: a token that
    /// says "bound" must not pass for one that is not. [`InvalidToken::InvalidClaim`] for a digest that is none, and the errors of the JSON reader.
    pub fn parse(json: impl AsRef<[u8]>) -> Result<Self, InvalidToken> {
        let json = json.as_ref();
        if !json.starts_with(b"{") {
            return Err(InvalidToken::SenderConstrained);
        }
        let cnf = Object::parse(json)?;
        let mut this = Self { jkt: None, certificate: None };
        for (name, value) in cnf.members() {
            let text = value.string().ok_or(InvalidToken::SenderConstrained)?;
            let invalid = InvalidToken::InvalidClaim("cnf");
            match name {
                "jkt" => this.jkt = Some(Thumbprint::parse(&text).ok_or(invalid)?),
                "x5t#S256" => {
                    this.certificate = Some(CertificateDigest::parse(&text).ok_or(invalid)?);
                }
                _ => return Err(InvalidToken::SenderConstrained),
            }
        }
        if this.jkt.is_none() && this.certificate.is_none() {
            return Err(InvalidToken::SenderConstrained);
        }
        Ok(this)
    }

    /// `jkt`: the thumbprint of the key that signs the DPoP proofs (RFC 9449 section 6.1).
    #[must_use]
    pub const fn jkt(&self) -> Option<Thumbprint> {
        self.jkt
    }

    /// `x5t#S256`: the digest of the certificate of the TLS handshake (RFC 8705 section 3.1).
    #[must_use]
    pub const fn certificate(&self) -> Option<CertificateDigest> {
        self.certificate
    }
}

/// The SHA-256 digest of a certificate in DER, as in `x5t#S256` (RFC 8705 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateDigest([u8; 32]);

impl CertificateDigest {
    /// The digest of this certificate.
    #[must_use]
    pub fn of_der(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 has 32 bytes; `zip` says so without a panic.
        let digest = digest::digest(&digest::SHA256, certificate);
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// A digest that somebody else has computed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the base64url form: 43 characters, no padding.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Thumbprint::parse(text).map(|digest| Self(*digest.as_bytes()))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// As base64url.
impl fmt::Display for CertificateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for CertificateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const X5T: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    #[test]
    fn d05_a_method_that_we_cannot_confirm_is_refused_also_beside_one_that_we_can() {
        let bound = Err(InvalidToken::SenderConstrained);
        let cases = [
            "{}".to_owned(),
            "null".to_owned(),
            "\"x\"".to_owned(),
            "[]".to_owned(),
            r#"{"jwk":{"kty":"oct"}}"#.to_owned(),
            r#"{"kid":"a"}"#.to_owned(),
            format!(r#"{{"jkt":"{JKT}","jku":"https://a"}}"#),
            r#"{"jkt":null}"#.to_owned(),
            r#"{"jkt":7}"#.to_owned(),
            format!(r#"{{"JKT":"{JKT}"}}"#),
            format!(r#"{{"x5t":"{X5T}"}}"#),
        ];
        for json in cases {
            assert_eq!(Confirmation::parse(&json), bound, "{json}");
        }
        for digest in [
            "",
            "AA",
            &JKT[1..],
            &format!("{JKT}="),
            &format!("{JKT}A"),
            "0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        ] {
            let invalid = Err(InvalidToken::InvalidClaim("cnf"));
            assert_eq!(
                Confirmation::parse(format!(r#"{{"jkt":"{digest}"}}"#)),
                invalid,
                "{digest}"
            );
            assert_eq!(Confirmation::parse(format!(r#"{{"x5t#S256":"{digest}"}}"#)), invalid);
        }
        let twice = format!(r#"{{"jkt":"{JKT}","jkt":"{JKT}"}}"#);
        assert_eq!(Confirmation::parse(twice), Err(InvalidToken::DuplicateMember));
    }

    #[test]
    fn a_token_may_be_bound_to_a_key_and_a_certificate() {
        let x5t = CertificateDigest::of_der(b"certificate").to_string();
        let both = format!(r#"{{"jkt":"{JKT}","x5t#S256":"{x5t}"}}"#);
        let both = Confirmation::parse(both).unwrap();
        assert_eq!(both.jkt().unwrap().to_string(), JKT);
        assert_eq!(both.certificate().unwrap(), CertificateDigest::of_der(b"certificate"));
    }
}
