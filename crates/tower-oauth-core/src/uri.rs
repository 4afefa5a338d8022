use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;

use crate::BuildError;

/// Where a protocol message goes: `https`, or `http` to this machine only.
///
/// Parsed once, so that no later line has to ask: no user info, no fragment, a host, and a scheme
/// that does not carry secrets in the clear. A query is allowed (RFC 6749 §3.2).
///
/// ```
/// use tower_oauth_core::EndpointUri;
/// assert!(EndpointUri::parse("https://idp.example.com/token").is_ok());
/// assert!(EndpointUri::parse("http://127.0.0.1:4444/token").is_ok());
/// assert!(EndpointUri::parse("http://idp.example.com/token").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndpointUri(Uri);

/// Names of query parameters that would carry a secret into logs and histories.
const SECRETS: [&str; 7] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "password",
    "refresh_token",
    "token",
];

impl EndpointUri {
    /// Parses and checks.
    ///
    /// # Errors
    /// The text is no absolute URI, has a fragment or user info, or is plain `http` to another
    /// machine, or names a secret in its query. The error shows the text without user info and query.
    pub fn parse(text: &str) -> Result<Self, BuildError> {
        // Neither what stands before an `@` nor a query is shown: either may be a secret.
        let shown = text.split('?').next().unwrap_or_default();
        let shown = shown.rsplit('@').next().unwrap_or_default();
        let refuse = |why| Err(BuildError::new("uri", shown, why));
        if text.contains('#') {
            return refuse("must not have a fragment");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("is not a URI");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return refuse("is not an absolute URI");
        };
        if authority.as_str().contains('@') {
            return refuse("must not have user info");
        }
        let query = uri.query().unwrap_or_default();
        let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        if names.any(|name| SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))) {
            return refuse("must not carry a secret in its query (RFC 9700 §4.3.2)");
        }
        if authority.host().is_empty() {
            return refuse("has no host");
        }
        let secure =
            *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && is_loopback(authority.host()));
        if !secure {
            return refuse("must be https (plain http only to a loopback address)");
        }
        Ok(Self(uri))
    }

    /// The URI.
    #[must_use]
    pub fn as_uri(&self) -> &Uri {
        &self.0
    }

    /// The host, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }
}

impl fmt::Debug for EndpointUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for EndpointUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An issuer identifier (RFC 8414 §2): compared byte for byte, never normalised.
///
/// `https://idp.example.com` and `https://idp.example.com/` are two issuers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// Parses and checks: an [`EndpointUri`] without a query.
    ///
    /// # Errors
    /// As [`EndpointUri::parse`]; also if there is a query.
    pub fn parse(text: &str) -> Result<Self, BuildError> {
        EndpointUri::parse(text).map_err(|error| error.with_option("issuer"))?;
        if let Some((shown, _)) = text.split_once('?') {
            return Err(BuildError::new("issuer", shown, "must not have a query (RFC 8414 §2)"));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text, as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the port.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default()
    }

    /// Where the metadata may stand, most usual first.
    ///
    /// OpenID Connect Discovery §4.1 *appends* its suffix to the path; RFC 8414 §3.1 *inserts* its
    /// own between host and path, and §5 allows the insertion for the OpenID suffix too.
    ///
    /// ```
    /// # use tower_oauth_core::Issuer;
    /// let forms = Issuer::parse("https://idp.example.com/realms/shop")?.metadata_uris()?;
    /// assert_eq!(forms[0].to_string(), "https://idp.example.com/realms/shop/.well-known/openid-configuration");
    /// assert_eq!(forms[1].to_string(), "https://idp.example.com/.well-known/oauth-authorization-server/realms/shop");
    /// # Ok::<_, tower_oauth_core::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// None for an issuer that has parsed; the signature is that of the parser of the results.
    pub fn metadata_uris(&self) -> Result<Vec<EndpointUri>, BuildError> {
        let trimmed = self.0.strip_suffix('/').unwrap_or(&self.0);
        let authority_at = trimmed.find("://").map_or(0, |at| at + 3);
        let path_at = trimmed
            .get(authority_at..)
            .and_then(|rest| rest.find('/'))
            .map_or(trimmed.len(), |at| authority_at + at);
        let (origin, path) = trimmed.split_at_checked(path_at).unwrap_or((trimmed, ""));
        let mut forms = vec![
            EndpointUri::parse(&format!("{trimmed}/.well-known/openid-configuration"))?,
            EndpointUri::parse(&format!("{origin}/.well-known/oauth-authorization-server{path}"))?,
        ];
        if !path.is_empty() {
            forms.push(EndpointUri::parse(&format!(
                "{origin}/.well-known/openid-configuration{path}"
            ))?);
        }
        Ok(forms)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    // A name under `.localhost` or a trailing dot may resolve elsewhere: only the exact word counts.
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_by_https_or_stay_on_this_machine() {
        let cases = [
            ("https://idp.example.com/token", true),
            ("https://idp.example.com:8443/token?tenant=a", true),
            ("http://localhost:1/t", true),
            ("http://[::1]:1/t", true),
            ("http://127.9.9.9/t", true),
            ("http://127.0.0.1.example.com/t", false),
            ("http://localhost.example.com/t", false),
            ("http://10.0.0.1/t", false),
            ("http://idp.example.com/token", false),
            ("ftp://idp.example.com/token", false),
            ("https://user@idp.example.com/", false),
            ("https://idp.example.com/#top", false),
            ("/token", false),
            ("idp.example.com", false),
            ("", false),
        ];
        for (text, good) in cases {
            assert_eq!(EndpointUri::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn k04_well_known_is_appended_and_inserted() {
        let cases: &[(&str, &[&str])] = &[
            (
                "https://a.example",
                &[
                    "https://a.example/.well-known/openid-configuration",
                    "https://a.example/.well-known/oauth-authorization-server",
                ],
            ),
            (
                "https://a.example:8/r/s/",
                &[
                    "https://a.example:8/r/s/.well-known/openid-configuration",
                    "https://a.example:8/.well-known/oauth-authorization-server/r/s",
                    "https://a.example:8/.well-known/openid-configuration/r/s",
                ],
            ),
        ];
        for (issuer, expected) in cases {
            let forms = Issuer::parse(issuer).unwrap().metadata_uris().unwrap();
            assert_eq!(forms.iter().map(ToString::to_string).collect::<Vec<_>>(), *expected);
        }
    }

    #[test]
    fn l01_a_refused_uri_shows_no_secret() {
        for text in [
            "https://me:CANARY@idp.example/token",
            "https://idp.example/token?client_secret=CANARY",
            "https://idp.example/token?Access%5FToken=CANARY",
            "http://idp.example/token?x=CANARY",
            "CANARY@",
        ] {
            let error = EndpointUri::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
        }
        assert!(EndpointUri::parse("https://idp.example/token?tenant=a").is_ok());
    }

    #[test]
    fn an_issuer_has_no_query() {
        let error = Issuer::parse("https://a.example/?x=1").unwrap_err();
        assert!(error.to_string().starts_with("issuer `https://a.example/`: "), "{error}");
    }
}
