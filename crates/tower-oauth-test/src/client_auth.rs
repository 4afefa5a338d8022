use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::ReceivedRequest;
use crate::endpoints::Refused;
use crate::state::Shared;

/// A form whose parameters are looked at by the rules of RFC 6749 §3.2.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn of(request: &ReceivedRequest) -> Result<Self, Refused> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refused("invalid_request"));
        }
        Ok(Self(form_urlencoded::parse(request.body()).into_owned().collect()))
    }

    /// The value of a parameter that must not be repeated; an empty one counts as left out.
    pub(crate) fn one(&self, name: &str) -> Result<Option<String>, Refused> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Refused("invalid_request")),
            (first, _) => Ok(first.filter(|value| !value.is_empty()).cloned()),
        }
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }
}

/// The client that the request proves to come from (RFC 6749 §2.3.1).
pub(crate) fn authenticate(
    shared: &Shared,
    request: &ReceivedRequest,
    form: &Form,
) -> Result<String, Refused> {
    let mut fields = request.headers().get_all(AUTHORIZATION).iter();
    let (id, secret) = match (fields.next(), fields.next()) {
        (Some(field), None) => {
            // RFC 6749 §2.3: one method in a request, not two.
            if form.one("client_secret")?.is_some() {
                return Err(Refused("invalid_request"));
            }
            field.to_str().ok().and_then(basic).ok_or(Refused("invalid_client"))?
        }
        (None, _) => match (form.one("client_id")?, form.one("client_secret")?) {
            (Some(id), Some(secret)) => (id, secret),
            _ => return Err(Refused("invalid_client")),
        },
        (Some(_), Some(_)) => return Err(Refused("invalid_request")),
    };
    let known = shared.with(|state| state.clients.get(&id).cloned());
    if known.is_some_and(|known| known.expose() == secret) {
        Ok(id)
    } else {
        Err(Refused("invalid_client"))
    }
}

/// Id and secret of a Basic header. Both are form-encoded *before* Base64, so the first colon parts them.
fn basic(field: &str) -> Option<(String, String)> {
    let (scheme, credentials) = field.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, form_decode(secret)?))
}

/// Strict, unlike a form's own parser: a client that does not encode shall be noticed here, not at
/// the first server that minds.
fn form_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            // What the encoding leaves alone (WHATWG URL §5.2), and the two that RFC 3986 adds.
            byte if byte.is_ascii_alphanumeric() || b"*-._~!'()".contains(&byte) => byte,
            _ => return None,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn basic_credentials_are_form_encoded_first() {
        let cases = [
            ("orders:s3cret", Some(("orders", "s3cret"))),
            ("a%3Ab:c%3Ad", Some(("a:b", "c:d"))),
            ("a+b:%25%2B", Some(("a b", "%+"))),
            ("a:", Some(("a", ""))),
            ("%C3%A4:%c3%b6", Some(("ä", "ö"))),
            ("a:b:c", None),
            ("a:100%", None),
            ("a:%zz", None),
            ("a:b c", None),
            ("a:%FF", None),
            ("a:b/c", None),
            ("ab", None),
        ];
        for (pair, expected) in cases {
            let expected = expected.map(|(id, secret)| (id.to_owned(), secret.to_owned()));
            assert_eq!(basic(&encoded(pair)), expected, "{pair}");
        }
    }

    #[test]
    fn a_basic_header_is_a_basic_header() {
        for field in ["Bearer abc", "Basic", "Basic !!!", ""] {
            assert_eq!(basic(field), None, "{field}");
        }
        assert!(basic(&encoded("a:b").replace("Basic", "bAsIc")).is_some());
    }
}
