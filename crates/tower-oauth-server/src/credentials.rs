//! Reading of the `Authorization` field (RFC 6750 §2.1).
//!
//! Nothing that is read here is ever logged or repeated in an answer.

use http::header::AUTHORIZATION;
use http::request::Parts;
use tower_oauth_jose::LARGEST_TOKEN_BYTES;

use crate::{MalformedRequest, Rejection, Scheme};

const BEARER: &[u8] = b"bearer";
const DPOP: &[u8] = b"dpop";

/// A token, and how it was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Credentials<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) token: &'a str,
}

/// The token of a request; `None` if the request makes no use of the schemes at all: `Bearer`, and `DPoP` if it is taken.
///
/// A token in the query or in a form is not looked for (RFC 9700 §4.3.2 forbids it): it counts for nothing. Beside a
/// token in the header it makes the request ambiguous, which RFC 6750 §2 forbids.
///
/// # Errors
/// [`Rejection::Malformed`], and [`Rejection::Missing`] for `Bearer` without a token.
pub(crate) fn read(head: &Parts, takes_dpop: bool) -> Result<Option<Credentials<'_>>, Rejection> {
    let mut fields = head.headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    // `Authorization` is no list (RFC 9110 §11.6.2). Whoever picks one of two lets a proxy in front see another
    // caller than the service behind it.
    if fields.next().is_some() {
        return Err(MalformedRequest::SeveralCredentials.into());
    }
    match read_field(field.as_bytes(), takes_dpop)? {
        Some(_) if has_token(head.uri.query()) => Err(MalformedRequest::TokenInQuery.into()),
        token => Ok(token),
    }
}

/// Whether the request makes use of the scheme `DPoP`, rightly or not.
pub(crate) fn uses_dpop(head: &Parts) -> bool {
    head.headers.get(AUTHORIZATION).is_some_and(|field| {
        let (scheme, _) = split_where(field.as_bytes(), |byte| !is_tchar(byte));
        scheme.eq_ignore_ascii_case(DPOP)
    })
}

/// The token of one field's value: `"Bearer" 1*SP b64token`, the scheme in any case. `DPoP` has the same form (RFC 9449 §7.1).
fn read_field(field: &[u8], takes_dpop: bool) -> Result<Option<Credentials<'_>>, Rejection> {
    let (name, rest) = split_where(field, |byte| !is_tchar(byte));
    let Some(scheme) = scheme_of(name, takes_dpop) else {
        // `BearereyJ...`: the space was forgotten. No scheme of that beginning is registered.
        if name.is_empty() || starts_with_scheme(name) {
            return Err(MalformedRequest::NotABearerToken.into());
        }
        if holds_another_token(rest, takes_dpop) {
            return Err(MalformedRequest::SeveralCredentials.into());
        }
        return Ok(None);
    };
    let (spaces, token) = split_where(rest, |byte| byte != b' ');
    if token.is_empty() {
        return Err(Rejection::Missing);
    }
    if spaces.is_empty() {
        return Err(MalformedRequest::NotABearerToken.into());
    }
    // Nobody takes more; the authenticator may take less, which the door asks it.
    if token.len() > LARGEST_TOKEN_BYTES {
        return Err(MalformedRequest::TooLong.into());
    }
    if !is_b64token(token) {
        let (_, after_comma) = split_where(token, |byte| byte == b',');
        if after_comma.iter().any(|byte| !matches!(byte, b',' | b' ' | b'\t')) {
            return Err(MalformedRequest::SeveralCredentials.into());
        }
        let (text, padding) = split_where(token, |byte| !is_b64token_char(byte));
        if text.is_empty() || padding.iter().any(|&byte| byte != b'=') {
            return Err(MalformedRequest::NotABearerToken.into());
        }
    }
    match std::str::from_utf8(token) {
        Ok(token) => Ok(Some(Credentials { scheme, token })),
        Err(_) => Err(MalformedRequest::NotABearerToken.into()),
    }
}

fn scheme_of(name: &[u8], takes_dpop: bool) -> Option<Scheme> {
    if name.eq_ignore_ascii_case(BEARER) {
        Some(Scheme::Bearer)
    } else if takes_dpop && name.eq_ignore_ascii_case(DPOP) {
        Some(Scheme::Dpop)
    } else {
        None
    }
}

/// Whether a `Bearer` (or `DPoP`) stands behind a comma, as when a proxy has joined two fields into one.
///
/// Commas also separate the parameters of other schemes, and stand in their quoted strings.
fn holds_another_token(credentials: &[u8], takes_dpop: bool) -> bool {
    let mut rest = credentials;
    let (mut quoted, mut escaped) = (false, false);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                let (_, element) = split_where(rest, |byte| !matches!(byte, b' ' | b'\t'));
                let (word, after) = split_where(element, |byte| !is_tchar(byte));
                if scheme_of(word, takes_dpop).is_some() && after.first() != Some(&b'=') {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn has_token(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query.split('&').any(|pair| {
            let (name, _) = split_where(pair.as_bytes(), |byte| byte == b'=');
            PercentDecoded(name).eq(b"access_token".iter().copied())
        })
    })
}

/// The bytes of a query's name, `%5F` being the same as `_`.
struct PercentDecoded<'a>(&'a [u8]);

impl Iterator for PercentDecoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&byte, tail) = self.0.split_first()?;
        if let (b'%', [high, low, rest @ ..]) = (byte, tail)
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            self.0 = rest;
            return Some(high << 4 | low);
        }
        self.0 = tail;
        Some(byte)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn starts_with_scheme(word: &[u8]) -> bool {
    word.get(..BEARER.len()).is_some_and(|start| start.eq_ignore_ascii_case(BEARER))
}

fn split_where(bytes: &[u8], found: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|&byte| found(byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether there are only characters of a `b64token`, as in every JWT.
///
/// It looks at each of them without a branch, a block at a time, so that the compiler makes vectors of them: a token may have 64 KiB, and anybody
/// can send one.
fn is_b64token(bytes: &[u8]) -> bool {
    let all = |block: &[u8]| block.iter().fold(true, |all, &byte| all & is_b64token_char(byte));
    let (blocks, end) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| all(block)) && all(end)
}

const fn is_b64token_char(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits stand side by side.
    let is_middle = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_middle | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(field: &[u8]) -> Result<Option<&str>, Rejection> {
        read_field(field, false).map(|read| read.map(|credentials| credentials.token))
    }

    const SEVERAL: Rejection = Rejection::Malformed(MalformedRequest::SeveralCredentials);
    const NOT_BEARER: Rejection = Rejection::Malformed(MalformedRequest::NotABearerToken);
    const TOO_LONG: Rejection = Rejection::Malformed(MalformedRequest::TooLong);

    // What an `http::HeaderValue` cannot hold, and so no request of the door's tests can bring.
    #[test]
    fn h04_a_control_byte_is_refused_even_if_the_header_type_let_it_in() {
        for byte in (0..0x20).chain([0x7f]) {
            let field = [b"Bearer a", &[byte][..], b"b"].concat();
            assert_eq!(bearer(&field), Err(NOT_BEARER), "{byte:#x}");
            let field = [b"Bearer", &[byte][..], b"ab"].concat();
            assert_eq!(bearer(&field), Err(NOT_BEARER), "{byte:#x}");
        }
    }

    #[test]
    fn only_the_characters_of_a_b64token_are_let_through() {
        for byte in 0..=u8::MAX {
            let field = [b"Bearer a", &[byte][..], b"b"].concat();
            let accepted = bearer(&field).is_ok();
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!((accepted, is_b64token_char(byte)), (allowed, allowed), "{byte:#x}");
        }
    }

    #[test]
    fn h04_a_token_has_64_kib_and_no_more_whoever_looks_at_it() {
        let field = |length| format!("Bearer {}", "a".repeat(length));
        assert!(matches!(bearer(field(65_536).as_bytes()), Ok(Some(_))));
        assert_eq!(bearer(field(65_537).as_bytes()), Err(TOO_LONG));
    }

    #[test]
    fn h02_dpop_is_a_scheme_only_where_it_is_taken() {
        let dpop = |token| Ok(Some(Credentials { scheme: Scheme::Dpop, token }));
        let bearer = |token| Ok(Some(Credentials { scheme: Scheme::Bearer, token }));
        let cases: &[(&str, Result<Option<Credentials<'_>>, Rejection>, _)] = &[
            ("DPoP a", dpop("a"), Ok(None)),
            ("dpop   a", dpop("a"), Ok(None)),
            ("Bearer a", bearer("a"), bearer("a")),
            ("DPoP", Err(Rejection::Missing), Ok(None)),
            ("DPoP\ta", Err(NOT_BEARER), Ok(None)),
            ("DPoP a b", Err(NOT_BEARER), Ok(None)),
            ("DPoP a, DPoP b", Err(SEVERAL), Ok(None)),
            ("DPoP a, Bearer b", Err(SEVERAL), Err(SEVERAL)),
            ("Bearer a, DPoP b", Err(SEVERAL), Err(SEVERAL)),
            ("Basic a, DPoP b", Err(SEVERAL), Ok(None)),
            ("DPoPa", Ok(None), Ok(None)),
        ];
        for (field, taken, not_taken) in cases {
            assert_eq!(read_field(field.as_bytes(), true), *taken, "{field}");
            assert_eq!(read_field(field.as_bytes(), false), *not_taken, "{field}");
        }
    }

    #[test]
    fn h02_a_bearer_behind_another_scheme_is_found_outside_quoted_strings_only() {
        let cases: &[(&str, Result<Option<&str>, Rejection>)] = &[
            ("Basic dTpw", Ok(None)),
            ("Basic dTpw, Bearer a", Err(SEVERAL)),
            ("Basic dTpw,bearer a", Err(SEVERAL)),
            ("Basic dTpw,\t BEARER", Err(SEVERAL)),
            ("Basic dTpw, Bearer, x", Err(SEVERAL)),
            (r#"Digest username="a, Bearer b", realm="c""#, Ok(None)),
            (r#"Digest username="a\", Bearer b", realm="c""#, Ok(None)),
            (r#"Digest username="a\\", Bearer b"#, Err(SEVERAL)),
            (r#"Digest username="a", bearer="b""#, Ok(None)),
            ("Digest username=a, bearers b", Ok(None)),
        ];
        for (field, expected) in cases {
            assert_eq!(bearer(field.as_bytes()), *expected, "{field}");
        }
    }

    #[test]
    fn h01_the_name_of_a_query_parameter_is_decoded() {
        let cases = [
            ("access_token=a", true),
            ("a=b&access_token=c", true),
            ("access%5ftoken=a", true),
            ("%61ccess%5Ftoken", true),
            ("access_token", true),
            ("a=access_token", false),
            ("xaccess_token=a", false),
            ("access_token2=a", false),
            ("access%5=a", false),
            ("access%zztoken=a", false),
            ("", false),
        ];
        for (query, expected) in cases {
            assert_eq!(has_token(Some(query)), expected, "{query}");
        }
        assert!(!has_token(None));
    }
}
