//! The certificate of a client: where it stands, and how proxies write it down.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_oauth_jose::CertificateDigest;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// RFC 8941 §4.2.7: missing padding is forgiven, so both forms are read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The certificate that the client has shown in the TLS handshake: its SHA-256 digest, which is all that is compared.
///
/// Whoever accepts connections puts it into the extensions of each request. It is computed once for a connection, and copied:
///
/// ```
/// use tower_oauth_server::PeerCertificate;
///
/// // rustls: `connection.peer_certificates()`, the first of them
/// fn peer(certificates: Option<&[Vec<u8>]>) -> Option<PeerCertificate> {
///     certificates?.first().map(PeerCertificate::from_der)
/// }
///
/// let mut request = http::Request::new(());
/// if let Some(certificate) = peer(Some(&[b"DER of the client's".to_vec()])) {
///     request.extensions_mut().insert(certificate);
/// }
/// # assert!(request.extensions().get::<PeerCertificate>().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCertificate(CertificateDigest);

impl PeerCertificate {
    /// Of the certificate in DER, as TLS carries it: the client's own, the first of the chain.
    #[must_use]
    pub fn from_der(certificate: impl AsRef<[u8]>) -> Self {
        Self(CertificateDigest::of_der(certificate.as_ref()))
    }

    /// Of a digest that somebody else has computed: the SHA-256 of the DER.
    #[must_use]
    pub const fn from_sha256(digest: [u8; 32]) -> Self {
        Self(CertificateDigest::from_bytes(digest))
    }

    pub(super) const fn digest(self) -> CertificateDigest {
        self.0
    }

    /// `Client-Cert: :MIIB...:` (RFC 9440 §2.2), a byte sequence with the DER.
    pub(super) fn of_client_cert(headers: &HeaderMap) -> Option<Self> {
        let value = only(headers, &CLIENT_CERT)?.to_str().ok()?;
        let base64 = value.trim().strip_prefix(':')?.strip_suffix(':')?;
        let der = BASE64.decode(base64).ok().filter(|der| !der.is_empty())?;
        Some(Self::from_der(der))
    }

    /// `X-Forwarded-Client-Cert: By=..;Hash=<hex>;Subject="..."`, as Envoy writes it. Each proxy of a chain may add an element; which of several
    /// is our caller's only the configuration of all of them tells, so exactly one is asked for.
    pub(super) fn of_forwarded_client_cert(headers: &HeaderMap) -> Option<Self> {
        let value = only(headers, &FORWARDED_CLIENT_CERT)?.to_str().ok()?;
        let mut hash = None;
        for pair in pairs_of_the_only_element(value)? {
            let Some((name, text)) = pair.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("hash") && hash.replace(text.trim()).is_some() {
                return None;
            }
        }
        hex_digest(hash?).map(Self::from_sha256)
    }
}

/// The value of a field that occurs exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Splits at semicolons outside of quotes; `None` if there is a comma outside of quotes, or a quote is not closed.
fn pairs_of_the_only_element(value: &str) -> Option<Vec<&str>> {
    let mut pairs = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, char) in value.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return None,
            ';' if !quoted => {
                pairs.push(value.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    pairs.push(value.get(start..)?);
    (!quoted).then_some(pairs)
}

fn hex_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return None;
    }
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    for byte in &mut digest {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn d06_a_client_cert_field_is_one_byte_sequence_or_nothing() {
        let der = PeerCertificate::from_der(b"certificate");
        let read =
            |values: &[&str]| PeerCertificate::of_client_cert(&headers("client-cert", values));
        assert_eq!(read(&[":Y2VydGlmaWNhdGU=:"]), Some(der));
        assert_eq!(read(&[":Y2VydGlmaWNhdGU:"]), Some(der));
        for bad in [
            &[][..],
            &[":Y2VydGlmaWNhdGU=:", ":Y2VydGlmaWNhdGU=:"],
            &[":Y2VydGlmaWNhdGU=:, :Y2VydGlmaWNhdGU=:"],
            &["Y2VydGlmaWNhdGU="],
            &[":Y2VydGlm aWNhdGU=:"],
            &["::"],
            &[":"],
            &[""],
            &["-----BEGIN CERTIFICATE-----"],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn d06_a_forwarded_certificate_is_that_of_the_only_hop_or_nothing() {
        let digest = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";
        let read = |values: &[&str]| {
            let headers = headers("x-forwarded-client-cert", values);
            PeerCertificate::of_forwarded_client_cert(&headers)
        };
        let found = read(&[&format!("Hash={digest}")]);
        assert_eq!(found, hex_digest(digest).map(PeerCertificate::from_sha256));
        assert!(found.is_some());
        let subject = r#"Subject="/C=US, O=A; Hash=\"x\"";URI=spiffe://a/b"#;
        for good in [
            format!("By=spiffe://a;Hash={digest};{subject}"),
            format!("{subject};hash={}", digest.to_uppercase()),
        ] {
            assert_eq!(read(&[&good]), found, "{good}");
        }
        for bad in [
            String::new(),
            "By=spiffe://a".to_owned(),
            format!("Hash={}", &digest[1..]),
            format!("Hash={digest}0"),
            format!("Hash=+{}", &digest[1..]),
            format!("Hash={digest};Hash={digest}"),
            format!("Hash={digest},Hash={digest}"),
            format!("By=a,Hash={digest}"),
            format!("Subject=\"x;Hash={digest}"),
            format!("Subject=\"x;Hash={digest}\""),
        ] {
            assert_eq!(read(&[&bad]), None, "{bad}");
        }
        let good = format!("Hash={digest}");
        assert_eq!(read(&[&good, &good]), None);
    }
}
