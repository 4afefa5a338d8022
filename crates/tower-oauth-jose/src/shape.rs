//! What a token looks like, before anybody believes a word of it.

use crate::json::{JsonError, Object};
use crate::{MAX_HEADER_BYTES, base64url};

/// Whether this text has the shape of a compact JWS (RFC 7515 section 7.1): three parts of base64url
/// characters, none of them empty, and a JSON object in the first.
///
/// It says nothing of whether the token is acceptable, and what is decided by it must not depend on more
/// than the shape: which way of checking a token goes, and never whether.
///
/// ```
/// use tower_oauth_jose::is_jws_shaped;
///
/// assert!(is_jws_shaped("eyJhbGciOiJub25lIn0.e30.x"));
/// assert!(!is_jws_shaped("2YotnFZFEjr1zCsicMWpAA"));
/// assert!(!is_jws_shaped("one.two.three"));
/// ```
#[must_use]
pub fn is_jws_shaped(token: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if ![header, payload, signature].into_iter().all(is_part) {
        return false;
    }
    if header.len() > MAX_HEADER_BYTES {
        // Not decoded, since it is refused anyway; `eyJ` and `ey` are what `{"` and `{` begin with.
        return header.starts_with("ey");
    }
    let Some(text) = base64url::decode(header) else { return false };
    // A header with a member twice is a bad header, and a header.
    !matches!(Object::parse(&text), Err(JsonError::Malformed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_the_shape_is_three_parts_and_a_json_header() {
        let part = |text: &str| base64url::encode(text);
        let header = part(r#"{"alg":"ES256"}"#);
        let long = part(&format!(r#"{{"kid":"{}"}}"#, "x".repeat(4000)));
        for (token, expected) in [
            (format!("{header}.e30.c2ln"), true),
            (format!("{}.e30.c2ln", part("{}")), true),
            (format!("{}.e30.c2ln", part(r#"{"alg":1,"alg":2}"#)), true),
            (format!("{header}.!.c2ln").replace('!', "_-_"), true),
            (format!("{long}.e30.c2ln"), true),
            (format!("{}.e30.c2ln", "A".repeat(4000)), false),
            (format!("{header}.e30."), false),
            (format!("{header}..c2ln"), false),
            (format!(".{header}.c2ln"), false),
            (format!("{header}.e30"), false),
            (format!("{header}.e30.c2ln.x"), false),
            (format!("{header}.e30.c2ln.x.y"), false),
            (format!("{header}.e3=.c2ln"), false),
            (format!("{header}.e3+.c2ln"), false),
            (format!("{}.e30.c2ln", part("[]")), false),
            (format!("{}.e30.c2ln", part("\"alg\"")), false),
            (format!("{}.e30.c2ln", part("garbage")), false),
            (header.clone(), false),
            ("2YotnFZFEjr1zCsicMWpAA".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_jws_shaped(&token), expected, "{token}");
        }
    }
}
