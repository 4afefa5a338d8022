//! How a client proves who it is: RFC 6749 §2.3.1, RFC 7523 §2.2, RFC 8705 §2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::form::Form;
use crate::{Error, ErrorKind, Secret};

/// How the client proves who it is in one request. `Debug` shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientAuth {
    /// `client_secret_basic`: id and secret form-encoded, then Base64 in the `Authorization` header.
    Basic {
        /// The client identifier.
        id: String,
        /// The client secret.
        secret: Secret,
    },
    /// `client_secret_post`: id and secret in the form.
    Post {
        /// The client identifier.
        id: String,
        /// The client secret.
        secret: Secret,
    },
    /// The client id alone, in the form: `none`, for a public client; or `tls_client_auth` and
    /// `self_signed_tls_client_auth`, where the certificate of the connection is the proof (RFC 8705 §2).
    IdOnly {
        /// The client identifier.
        id: String,
    },
    /// `private_key_jwt` or `client_secret_jwt`: a signed JWT in the form (RFC 7523 §2.2).
    ///
    /// It is good for one try: a server may refuse a `jti` that it has seen, so each try needs a new one.
    Assertion {
        /// The client identifier.
        id: String,
        /// The signed JWT.
        assertion: Secret,
    },
}

/// RFC 7523 §2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl ClientAuth {
    /// Adds to the form what belongs there; the rest is the `Authorization` header.
    pub(super) fn write<'a>(&'a self, form: &mut Form<'a>) -> Result<Option<HeaderValue>, Error> {
        match self {
            Self::Basic { id, secret } => return basic_header(id, secret).map(Some),
            Self::Post { id, secret } => {
                form.add("client_id", id.as_str());
                form.add("client_secret", secret.expose());
            }
            Self::IdOnly { id } => form.add("client_id", id.as_str()),
            Self::Assertion { id, assertion } => {
                form.add("client_id", id.as_str());
                form.add("client_assertion_type", JWT_BEARER);
                form.add("client_assertion", assertion.expose());
            }
        }
        Ok(None)
    }
}

/// RFC 6749 §2.3.1: both parts are form-encoded *before* Base64, else a `:` in the id moves the border.
fn basic_header(id: &str, secret: &Secret) -> Result<HeaderValue, Error> {
    let pair = pair(id, secret.expose());
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let mut text = Zeroizing::new(Vec::with_capacity(SCHEME.len() + encoded.len()));
    text.extend_from_slice(SCHEME.as_bytes());
    text.extend_from_slice(encoded.as_bytes());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text))
        .map_err(|_| ErrorKind::Configuration("client credentials cannot be written"))?;
    header.set_sensitive(true);
    Ok(header)
}

const SCHEME: &str = "Basic ";

/// With room for the worst from the start, as the form has: growing would leave a copy of the secret behind.
fn pair(id: &str, secret: &str) -> Zeroizing<String> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (id.len() + secret.len()) + 1));
    pair.extend(form_urlencoded::byte_serialize(id.as_bytes()));
    pair.push(':');
    pair.extend(form_urlencoded::byte_serialize(secret.as_bytes()));
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l05_the_pair_never_grows_beyond_its_first_buffer() {
        for (id, secret) in
            [("", ""), ("app", "s3cret"), ("\u{20ac}:%", &"\u{20ac}&=+%".repeat(100))]
        {
            let room = String::with_capacity(3 * (id.len() + secret.len()) + 1).capacity();
            assert_eq!(pair(id, secret).capacity(), room, "{id}");
        }
        assert_eq!(*pair("a:b", "c d%"), "a%3Ab:c+d%25");
    }
}
