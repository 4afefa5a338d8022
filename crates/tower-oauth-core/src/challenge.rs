use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The most that is read of all `WWW-Authenticate` fields together; a longer answer has no challenge for us.
const MAX_BYTES: usize = 16 * 1024;

/// The challenges of an answer (RFC 9110 §11.6.1), really parsed: several per field, several
/// fields, quoted strings with commas and escapes, `token68`, optional white space.
///
/// What does not parse ends the field there: a text that merely *contains* `invalid_token` (in a
/// realm, in another scheme) is never taken for a verdict.
///
/// ```
/// use http::{HeaderMap, header::WWW_AUTHENTICATE};
/// use tower_oauth_core::Challenges;
///
/// let mut headers = HeaderMap::new();
/// let value = r#"Basic realm="a, Bearer error=\"x\"", Bearer error="invalid_token""#;
/// headers.insert(WWW_AUTHENTICATE, value.parse()?);
/// let challenges = Challenges::of(&headers);
/// assert_eq!(challenges.bearer().and_then(|bearer| bearer.param("error")), Some("invalid_token"));
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Challenges(Vec<Challenge>);

/// One challenge: a scheme with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    params: Vec<(String, String)>,
}

impl Challenges {
    /// Parses all `WWW-Authenticate` fields. At most 16 KiB are looked at; more means none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(WWW_AUTHENTICATE);
        if fields.iter().map(http::HeaderValue::len).sum::<usize>() > MAX_BYTES {
            return Self::default();
        }
        let mut found = Vec::new();
        for field in fields {
            parse_field(field.as_bytes(), &mut found);
        }
        Self(found)
    }

    /// The challenges, in the order of the answer.
    pub fn iter(&self) -> impl Iterator<Item = &Challenge> {
        self.0.iter()
    }

    /// The first `Bearer` challenge that names an error, else the first `Bearer` challenge.
    #[must_use]
    pub fn bearer(&self) -> Option<&Challenge> {
        let bearers = || self.iter().filter(|challenge| challenge.is("Bearer"));
        bearers().find(|challenge| challenge.param("error").is_some()).or_else(|| bearers().next())
    }
}

impl Challenge {
    /// The scheme as sent; compare with [`Self::is`].
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether this is the scheme, in any case (RFC 9110 §11.1).
    #[must_use]
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The `token68` credentials, where the challenge has those instead of parameters.
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// The value of a parameter, its name in any case.
    ///
    /// `None` also where the parameter stands twice: RFC 6750 §3 forbids it, and a guess which one
    /// counts would be somebody else's choice.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut values = self.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Reads one field; stops at the first thing that is no challenge, keeping what was whole.
fn parse_field(field: &[u8], found: &mut Vec<Challenge>) {
    let mut cursor = Cursor { rest: field };
    let first = found.len();
    loop {
        cursor.skip_list_separators();
        let Some(word) = cursor.token() else { return };
        if cursor.parameter_follows() {
            // `name = value`: belongs to the scheme before it, also across a comma.
            let Some(value) = cursor.parameter_value() else {
                // A broken parameter makes its whole challenge worthless.
                if found.len() > first {
                    found.pop();
                }
                return;
            };
            // Parameters never reach back into the field before, nor behind a `token68`.
            let owner = found.get_mut(first..).and_then(<[_]>::last_mut);
            match owner {
                Some(challenge) if challenge.token68.is_none() => {
                    challenge.params.push((word, value));
                }
                _ => return,
            }
            if !cursor.at_element_end() {
                found.pop();
                return;
            }
            continue;
        }
        let mut challenge = Challenge { scheme: word, token68: None, params: Vec::new() };
        if cursor.skip_spaces() {
            challenge.token68 = cursor.token68();
        }
        found.push(challenge);
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn skip_spaces(&mut self) -> bool {
        let before = self.rest.len();
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.bump();
        }
        self.rest.len() != before
    }

    /// Empty list elements are legal (RFC 9110 §5.6.1.2).
    fn skip_list_separators(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b',')) {
            self.bump();
        }
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &[u8] {
        let end = self.rest.iter().position(|&byte| !keep(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn token(&mut self) -> Option<String> {
        let taken = self.take_while(is_tchar);
        if taken.is_empty() { None } else { Some(String::from_utf8_lossy(taken).into_owned()) }
    }

    /// Whether `BWS "=" BWS` and the start of a value come next: a `token68` ends in `=` and has no value.
    fn parameter_follows(&self) -> bool {
        let mut ahead = Cursor { rest: self.rest };
        ahead.skip_spaces();
        if ahead.peek() != Some(b'=') {
            return false;
        }
        ahead.bump();
        ahead.skip_spaces();
        !matches!(ahead.peek(), None | Some(b'=' | b','))
    }

    fn parameter_value(&mut self) -> Option<String> {
        self.skip_spaces();
        self.bump();
        self.skip_spaces();
        if self.peek() == Some(b'"') { self.quoted_string() } else { self.token() }
    }

    fn quoted_string(&mut self) -> Option<String> {
        self.bump();
        let mut value = Vec::new();
        loop {
            let byte = self.peek()?;
            self.bump();
            match byte {
                b'"' => return String::from_utf8(value).ok(),
                b'\\' => {
                    value.push(self.peek()?);
                    self.bump();
                }
                byte => value.push(byte),
            }
        }
    }

    /// A `token68` must be the whole rest of its list element; else nothing is consumed.
    fn token68(&mut self) -> Option<String> {
        let mut ahead = Cursor { rest: self.rest };
        let mut text = ahead.take_while(is_token68_char).to_vec();
        if text.is_empty() {
            return None;
        }
        text.extend_from_slice(ahead.take_while(|byte| byte == b'='));
        if !ahead.at_element_end() {
            return None;
        }
        // A bare word followed by a comma is `token68` by the grammar, never the next scheme.
        self.rest = ahead.rest;
        String::from_utf8(text).ok()
    }

    fn at_element_end(&self) -> bool {
        let mut ahead = Cursor { rest: self.rest };
        ahead.skip_spaces();
        matches!(ahead.peek(), None | Some(b','))
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token68_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn bearer_error(fields: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        Challenges::of(&headers).bearer()?.param("error").map(str::to_owned)
    }

    #[test]
    fn r08_a_challenge_is_parsed_never_searched_for() {
        let long = format!(r#"Bearer realm="{}", error="invalid_token""#, "x".repeat(64 * 1024));
        let cases: &[(&[&str], Option<&str>)] = &[
            (&[r#"Bearer error="invalid_token""#], Some("invalid_token")),
            (&["Bearer error=invalid_token"], Some("invalid_token")),
            (&[r#"bEaReR   ERROR = "invalid_token""#], Some("invalid_token")),
            (&["Bearer realm=\"x\"\t,\terror\t=\t\"invalid_token\""], Some("invalid_token")),
            (&[r#"Bearer realm="a,b", error="invalid_token", scope="c""#], Some("invalid_token")),
            (&[r#"Bearer, error="invalid_token""#], Some("invalid_token")),
            (
                &[r#"Basic realm="a, Bearer error=\"x\"", Bearer error="invalid_token""#],
                Some("invalid_token"),
            ),
            (&[r#"Basic realm="a, Bearer error=\"invalid_token\"""#], None),
            (&[r#"Basic realm="Bearer error=invalid_token""#], None),
            (&[r#"Negotiate YWJj==, Bearer error="invalid_token""#], Some("invalid_token")),
            (&["Negotiate", r#"Bearer error="invalid_token""#], Some("invalid_token")),
            (&[r#"Bearer realm="a""#, r#"Bearer error="invalid_token""#], Some("invalid_token")),
            (&[r#"Bearer error="invalid\_token""#], Some("invalid_token")),
            (&[r#"DPoP error="invalid_token""#], None),
            (&[r#"Bearer error='invalid_token'"#], Some("'invalid_token'")),
            (&[r#"Bearer error="invalid_token", error="insufficient_scope""#], None),
            (&[r#"Bearer error="invalid_token"#], None),
            (&[r#"Bearer error="invalid_token" x"#], None),
            (&[r#"Bearer xerror="invalid_token""#], None),
            (&[r#"error="invalid_token""#], None),
            (&["Bearer"], None),
            (&["Bearer error="], None),
            (&[""], None),
            (&[",,,"], None),
            (&["Bearer invalid_token"], None),
            (&[r#"Bearer realm="invalid_token""#], None),
            (&["\u{e9}Bearer error=invalid_token"], None),
            (&[&long], None),
        ];
        for (fields, expected) in cases {
            let shown = fields.iter().map(|f| f.get(..80).unwrap_or(f)).collect::<Vec<_>>();
            assert_eq!(bearer_error(fields).as_deref(), *expected, "{shown:?}");
        }
    }

    #[test]
    fn parameters_do_not_reach_into_the_field_before() {
        assert_eq!(bearer_error(&["Bearer", r#"error="invalid_token""#]), None);
    }

    #[test]
    fn token68_and_parameters_are_told_apart() {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate a/b+c==, Bearer x=y"));
        let challenges = Challenges::of(&headers);
        let list: Vec<_> = challenges.iter().collect();
        assert_eq!(list[0].token68(), Some("a/b+c=="));
        assert_eq!((list[1].scheme(), list[1].param("x")), ("Bearer", Some("y")));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let alphabet = br#"Bearer ="\,a\t"#;
        for seed in 0_u64..20_000 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let bytes: Vec<u8> = (0..24)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    alphabet[(state % alphabet.len() as u64) as usize]
                })
                .collect();
            parse_field(&bytes, &mut Vec::new());
        }
    }
}
