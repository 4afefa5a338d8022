//! Who has sent it: HMAC-SHA-256 under a shared secret, as Standard Webhooks has it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tower_oauth_core::{BuildError, Secret};

/// What a secret begins with that is Base64.
const PREFIX: &str = "whsec_";
/// The scheme of a signature; others are for other readers.
const VERSION: &str = "v1,";
/// RFC 2104 advises against less than the digest has; the specification wants 24 bytes.
const MIN_SECRET: usize = 24;
const MAX_SIGNATURES: usize = 8;
const DIGEST_BASE64: usize = 44;

/// Any of these may have signed.
pub(super) struct Keys(Vec<hmac::Key>);

impl Keys {
    pub(super) fn new(secrets: &[Secret]) -> Result<Self, BuildError> {
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of the signatures is good for one of the keys.
    pub(super) fn verify(&self, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        signatures
            .split(' ')
            .filter_map(|one| one.strip_prefix(VERSION))
            // A longer text is not decoded.
            .filter(|one| one.len() == DIGEST_BASE64)
            .take(MAX_SIGNATURES)
            .filter_map(|one| STANDARD.decode(one).ok())
            .any(|tag| self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()))
    }
}

fn key(secret: &Secret) -> Result<hmac::Key, BuildError> {
    let bad = |why| BuildError::new("secret", "..", why);
    let decoded;
    let bytes = match secret.expose().strip_prefix(PREFIX) {
        Some(text) => {
            decoded = STANDARD.decode(text).map_err(|_| bad("is not Base64 after whsec_"))?;
            decoded.as_slice()
        }
        None => secret.expose().as_bytes(),
    };
    if bytes.len() < MIN_SECRET {
        return Err(bad("is shorter than 24 bytes"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_good_and_any_change_to_it_is_not() {
        let keys = Keys::new(&[Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).unwrap();
        let (id, at) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(keys.verify(id, at, body, signature));
        assert!(keys.verify(id, at, body, &format!("v1a,x v1,{} {signature}", "A".repeat(44))));
        for (id, at, body, signature) in [
            ("msg_other", at, &body[..], signature),
            (id, "1614265331", body, signature),
            (id, at, b"{}", signature),
            (id, at, body, &signature[3..]),
            (id, at, body, &signature.replace("v1,", "v2,")),
            (id, at, body, &signature.replace("g0", "g1")),
            (id, at, body, "v1,"),
            (id, at, body, ""),
        ] {
            assert!(!keys.verify(id, at, body, signature), "{id} {at} {signature}");
        }
    }
}
