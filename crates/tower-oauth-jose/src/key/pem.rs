//! PEM (RFC 7468), strictly: one block, and nothing but white space round it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use zeroize::Zeroizing;

use super::SkipReason;
use super::der;
use super::material::Public;

/// The longest text that is looked at. A certificate with many names has some kilobytes.
const MAX_BYTES: usize = 64 * 1024;

/// Reads one public key.
pub(super) fn read(text: &[u8]) -> Result<Public, SkipReason> {
    let (label, der) = split(text).ok_or(SkipReason::NotPem)?;
    match label {
        "PUBLIC KEY" => der::key_info(&der),
        "RSA PUBLIC KEY" => der::rsa(&der),
        "CERTIFICATE" => der::certificate(&der),
        // Whoever holds this can sign; it has no place where tokens are verified.
        label if label.ends_with("PRIVATE KEY") => Err(SkipReason::Private),
        _ => Err(SkipReason::UnsupportedKeyType),
    }
}

/// The content of the one block `PRIVATE KEY`, for a key that signs.
pub(crate) fn read_pkcs8_pem(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    split(text).filter(|(label, _)| *label == "PRIVATE KEY").map(|(_, der)| der)
}

fn split(text: &[u8]) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, end) = rest.split_once("-----END ")?;
    if end.strip_suffix("-----")? != label {
        return None;
    }
    // The dashes stand on lines of their own. Headers and further blocks are no base64.
    if !body.starts_with(['\r', '\n']) || !body.ends_with('\n') {
        return None;
    }
    // It may be a private key: with its full size from the start no part of it is left behind.
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    joined.extend(body.lines().map(str::trim_ascii));
    Some((label, Zeroizing::new(STANDARD.decode(joined.as_bytes()).ok()?)))
}
