use std::fmt;

/// The target of a request, ready to be compared: RFC 9449 section 4.3 compares `htu` with it after the normalisation of RFC 3986
/// sections 6.2.2 and 6.2.3, "ignoring any query and fragment parts".
///
/// Scheme and host are in lower case, the scheme's own port is left out, `%7e` is `~` and `%2f` is `%2F`, dot segments are gone, and an
/// empty path is `/`. `%2F` and `/` stay different, as are `//` and `/`.
///
/// ```
/// use tower_oauth_jose::TargetUri;
///
/// let uri = TargetUri::parse("HTTPS://API.example.com:443/a/./b/../%7Ec?q#f").unwrap();
/// assert_eq!(uri.as_str(), "https://api.example.com/a/~c");
/// assert_eq!(TargetUri::parse("https://user@api.example.com/"), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUri(Box<str>);

impl TargetUri {
    /// Normalises an absolute `http` or `https` URI; `None` for anything else, and for one with user info.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        Self::from_parts(scheme, authority, path)
    }

    /// Of the parts of a request; the path may have a query behind it.
    #[must_use]
    pub fn from_parts(scheme: &str, authority: &str, path: &str) -> Option<Self> {
        let (scheme, default_port) = if scheme.eq_ignore_ascii_case("https") {
            ("https", "443")
        } else if scheme.eq_ignore_ascii_case("http") {
            ("http", "80")
        } else {
            return None;
        };
        // The colons of an IPv6 address stand in brackets.
        let after_address = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority.get(after_address..)?.find(':') {
            Some(at) => {
                let (host, port) = authority.split_at_checked(after_address + at)?;
                (host, port.strip_prefix(':')?)
            }
            None => (authority, ""),
        };
        let odd =
            |byte: u8| !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=%[]:".contains(&byte);
        if host.is_empty() || host.bytes().any(odd) || port.bytes().any(|b| !b.is_ascii_digit()) {
            return None;
        }
        let mut text = format!("{scheme}://{}", host.to_ascii_lowercase());
        if !port.is_empty() && port != default_port {
            text.push(':');
            text.push_str(port);
        }
        let path = path.split(['?', '#']).next().unwrap_or_default();
        push_path(&mut text, &unescape_unreserved(path)?);
        Some(Self(text.into()))
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// A path may hold what is nobody else's business.
impl fmt::Debug for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TargetUri(..)")
    }
}

/// RFC 3986 sections 6.2.2.1 and 6.2.2.2: `%XX` in upper case, or the character itself where it needs no escape. `None` for half a triplet and
/// for characters that no URI has.
fn unescape_unreserved(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if !byte.is_ascii_graphic() {
            return None;
        }
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let code = digit(bytes.next())? << 4 | digit(bytes.next())?;
        let decoded = char::from(u8::try_from(code).ok()?);
        if decoded.is_ascii_alphanumeric() || "-._~".contains(decoded) {
            out.push(decoded);
        } else {
            out.push_str(&format!("%{code:02X}"));
        }
    }
    Some(out)
}

/// RFC 3986 section 5.2.4, for a path that is empty or begins with `/`.
fn push_path(text: &mut String, path: &str) {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    for segment in &kept {
        text.push('/');
        text.push_str(segment);
    }
    if kept.is_empty() {
        text.push('/');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d02_uris_are_compared_after_normalisation() {
        let cases = [
            ("https://api.example.com", "https://api.example.com/"),
            ("https://api.example.com/", "https://api.example.com/"),
            ("HTTPS://Api.Example.COM/A", "https://api.example.com/A"),
            ("https://api.example.com:443/a", "https://api.example.com/a"),
            ("https://api.example.com:/a", "https://api.example.com/a"),
            ("https://api.example.com:80/a", "https://api.example.com:80/a"),
            ("http://api.example.com:80/a", "http://api.example.com/a"),
            ("https://[2001:DB8::1]:443/a", "https://[2001:db8::1]/a"),
            ("https://[2001:DB8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
            ("https://a.example?x=1", "https://a.example/"),
            ("https://a.example#x", "https://a.example/"),
            ("https://a.example/b?x=/../", "https://a.example/b"),
            ("https://a.example/b#/c", "https://a.example/b"),
            ("https://a.example/%7Euser/%41", "https://a.example/~user/A"),
            ("https://a.example/%2f%3a", "https://a.example/%2F%3A"),
            ("https://a.example/a%2Fb", "https://a.example/a%2Fb"),
            ("https://a.example/a/./b/../c", "https://a.example/a/c"),
            ("https://a.example/a/b/..", "https://a.example/a/"),
            ("https://a.example/a/b/.", "https://a.example/a/b/"),
            ("https://a.example/a/%2e%2E/b", "https://a.example/b"),
            ("https://a.example/../../a", "https://a.example/a"),
            ("https://a.example/..", "https://a.example/"),
            ("https://a.example//a//b/", "https://a.example//a//b/"),
        ];
        for (uri, normal) in cases {
            assert_eq!(TargetUri::parse(uri).unwrap().as_str(), normal, "{uri}");
            assert_eq!(TargetUri::parse(normal).unwrap().as_str(), normal, "not stable: {normal}");
        }
    }

    #[test]
    fn d02_what_is_no_http_uri_is_no_target() {
        for uri in [
            "",
            "/a",
            "api.example.com/a",
            "ftp://api.example.com/",
            "https:/api.example.com/",
            "https://",
            "https:///a",
            "https://user@api.example.com/",
            "https://user:p@api.example.com/",
            "https://api.example.com:x/",
            "https://api.example.com:4 43/",
            "https://api example.com/",
            "https://api.example.com\\@evil.example/",
            "https://api.example.com/%",
            "https://api.example.com/%7",
            "https://api.example.com/%zz",
            "https://api.example.com/a b",
            "https://api.example.com/\u{e4}",
            " https://api.example.com/",
            "https://api.example.com/a\n",
        ] {
            assert_eq!(TargetUri::parse(uri), None, "{uri:?}");
        }
    }
}
