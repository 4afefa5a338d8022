//! The little of DER (X.690) that a public key is written in, strictly.

use super::SkipReason;
use super::material::Public;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The `[0]` before a certificate's version.
const VERSION: u8 = 0xa0;

/// 1.2.840.113549.1.1.1 `rsaEncryption`
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1 `id-ecPublicKey`
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7 `secp256r1`
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34 `secp384r1`
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112 `id-Ed25519`
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The `SubjectPublicKeyInfo` of a certificate (RFC 5280 section 4.1). Nothing else of the
/// certificate is looked at: it is a box that the key came in.
pub(super) fn certificate(der: &[u8]) -> Result<Public, SkipReason> {
    find_key_info(der).ok_or(SkipReason::Malformed).and_then(key_info)
}

fn find_key_info(der: &[u8]) -> Option<&[u8]> {
    let mut certificate = Der(Der::whole(der, SEQUENCE)?);
    let mut body = Der(certificate.take(SEQUENCE)?);
    if body.is_next(VERSION) {
        body.take(VERSION)?;
    }
    body.take(INTEGER)?; // serial number
    for _ in ["signature", "issuer", "validity", "subject"] {
        body.take(SEQUENCE)?;
    }
    body.take_with_header(SEQUENCE)
}

/// RFC 5280 section 4.1.2.7, with the algorithms of RFC 3279, RFC 5480 and RFC 8410.
pub(super) fn key_info(der: &[u8]) -> Result<Public, SkipReason> {
    let (algorithm, parameters, key) = split_key_info(der).ok_or(SkipReason::Malformed)?;
    match algorithm {
        RSA if parameters == [NULL, 0] => rsa(key),
        RSA => Err(SkipReason::InvalidMaterial),
        EC => match Der::whole(parameters, OID) {
            Some(P256) => ec_point(key, 32).map(|(x, y)| Public::P256 { x, y }),
            Some(P384) => ec_point(key, 48).map(|(x, y)| Public::P384 { x, y }),
            _ => Err(SkipReason::UnsupportedCurve),
        },
        ED25519 if parameters.is_empty() => Ok(Public::Ed25519 { x: key.to_vec() }),
        ED25519 => Err(SkipReason::InvalidMaterial),
        _ => Err(SkipReason::UnsupportedKeyType),
    }
}

fn split_key_info(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut info = Der(Der::whole(der, SEQUENCE)?);
    let mut algorithm = Der(info.take(SEQUENCE)?);
    let name = algorithm.take(OID)?;
    let key = info.take(BIT_STRING)?;
    // The first byte counts the bits of the last one that are not used.
    let (unused, key) = key.split_first()?;
    (*unused == 0 && info.0.is_empty()).then_some((name, algorithm.0, key))
}

/// `RSAPublicKey` of RFC 8017 appendix A.1.1.
pub(super) fn rsa(der: &[u8]) -> Result<Public, SkipReason> {
    let split = || {
        let mut key = Der(Der::whole(der, SEQUENCE)?);
        let (n, e) = (key.take(INTEGER)?, key.take(INTEGER)?);
        key.0.is_empty().then_some((n, e))
    };
    let (n, e) = split().ok_or(SkipReason::Malformed)?;
    Ok(Public::Rsa { n: unsigned(n)?, e: unsigned(e)? })
}

/// The uncompressed form of SEC 1 section 2.3.3. The compressed one is refused.
pub(super) fn ec_point(point: &[u8], length: usize) -> Result<(Vec<u8>, Vec<u8>), SkipReason> {
    match point.split_first() {
        Some((4, both)) if both.len() == 2 * length => {
            let (x, y) = both.split_at(length);
            Ok((x.to_vec(), y.to_vec()))
        }
        _ => Err(SkipReason::InvalidMaterial),
    }
}

/// A DER integer has a zero in front just if it would read as negative without.
fn unsigned(integer: &[u8]) -> Result<Vec<u8>, SkipReason> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest.to_vec()),
        [1..=0x7f, ..] => Ok(integer.to_vec()),
        _ => Err(SkipReason::InvalidMaterial),
    }
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the one element that makes up `der`.
    fn whole(der: &'a [u8], tag: u8) -> Option<&'a [u8]> {
        let mut reader = Der(der);
        let content = reader.take(tag)?;
        reader.0.is_empty().then_some(content)
    }

    fn is_next(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (length, rest) = match *self.0 {
            [found, length @ 0..=0x7f, ref rest @ ..] if found == tag => {
                (usize::from(length), rest)
            }
            [found, 0x81, length @ 0x80..=0xff, ref rest @ ..] if found == tag => {
                (usize::from(length), rest)
            }
            [found, 0x82, high @ 1..=0xff, low, ref rest @ ..] if found == tag => {
                (usize::from(high) << 8 | usize::from(low), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn take_with_header(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.take(tag)?;
        before.get(..before.len() - self.0.len())
    }
}
