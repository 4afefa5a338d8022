//! Where a token may go.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};
use tower_oauth_core::BuildError;

use crate::error::Refusal;

/// Whether a token may travel with a request, by the request's URI.
///
/// Asked at each hop, where the token would be put on: a redirect is a request of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// `None`: any origin that does not show the token to the network.
    origins: Option<Arc<[Origin]>>,
    allows_http: bool,
    refuses_others: bool,
    refuses_own_authorization: bool,
    /// The origin of requests that show none, for a proof.
    proof_origin: Option<Arc<str>>,
}

/// Scheme, host and port (RFC 9110 §4.3.1), in their normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: Box<str>,
    port: u16,
    /// Host and port as most requests spell them.
    authority: Box<str>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// The token may go along.
    With,
    /// The request goes, the token does not.
    Without,
    /// Neither goes.
    Refused(Refusal),
}

// === impl Guard ===

impl Guard {
    pub(crate) fn with_origins<I>(mut self, origins: I) -> Result<Self, BuildError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let parse = |text: I::Item| Origin::parse(text.as_ref(), self.allows_http);
        let origins: Vec<_> = origins.into_iter().map(parse).collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(BuildError::new("origins", "", "is empty: no request would have a token"));
        }
        self.origins = Some(origins.into());
        Ok(self)
    }

    pub(crate) fn with_proof_origin(mut self, origin: &str) -> Result<Self, BuildError> {
        let origin = Origin::parse(origin, self.allows_http)
            .map_err(|error| error.with_option("dpop_origin"))?;
        self.proof_origin = Some(origin.to_text().into());
        Ok(self)
    }

    /// Scheme, host and port of a request in their normal form, as a proof names them. A URI that shows none is for a
    /// connection that somebody has made: then it is the configured one, or the only one that there may be.
    pub(crate) fn origin_of(&self, uri: &Uri) -> Option<Cow<'_, str>> {
        if uri.authority().is_some() {
            return origin_of(uri).map(Cow::Owned);
        }
        match (&self.proof_origin, self.origins.as_deref()) {
            (Some(origin), _) => Some(Cow::Borrowed(&**origin)),
            (None, Some([origin])) => Some(Cow::Owned(origin.to_text())),
            (None, _) => None,
        }
    }

    pub(crate) fn insecure_allow_http(mut self) -> Self {
        self.allows_http = true;
        self
    }

    pub(crate) fn refuse_other_origins(mut self) -> Self {
        self.refuses_others = true;
        self
    }

    pub(crate) fn refuse_own_authorization(mut self) -> Self {
        self.refuses_own_authorization = true;
        self
    }

    pub(crate) fn refuses_own_authorization(&self) -> bool {
        self.refuses_own_authorization
    }

    /// A URI without an authority is for the connection that somebody has made: a tonic `Channel`
    /// adds its origin further in.
    pub(crate) fn check(&self, uri: &Uri) -> Passage {
        let Some(authority) = uri.authority() else {
            return Passage::With;
        };
        let Some(scheme) = uri.scheme() else {
            return match self.origins {
                Some(_) => self.elsewhere(),
                None => Passage::Refused(Refusal::NoOrigin),
            };
        };
        match &self.origins {
            // Most requests, and all of it that has to be looked at on the hot path.
            None if *scheme == Scheme::HTTPS && !authority.as_str().contains('@') => Passage::With,
            None => match Target::of(scheme, authority) {
                Some(target) if self.allows_http || target.is_private() => Passage::With,
                Some(_) => Passage::Refused(Refusal::PlainHttp),
                None => Passage::Refused(Refusal::NoOrigin),
            },
            Some(origins) => {
                let is_spelt_so = |origin: &Origin| {
                    origin.secure
                        && *scheme == Scheme::HTTPS
                        && *origin.authority == *authority.as_str()
                };
                let is_listed = || {
                    let target = Target::of(scheme, authority);
                    target.is_some_and(|target| origins.iter().any(|origin| target.is(origin)))
                };
                if origins.iter().any(is_spelt_so) || is_listed() {
                    Passage::With
                } else {
                    self.elsewhere()
                }
            }
        }
    }

    fn elsewhere(&self) -> Passage {
        if self.refuses_others { Passage::Refused(Refusal::OtherOrigin) } else { Passage::Without }
    }
}

// === impl Origin ===

impl Origin {
    fn parse(text: &str, allows_http: bool) -> Result<Self, BuildError> {
        // What stands before an `@` may be a password, and a query too.
        let shown = text.split('?').next().unwrap_or_default();
        let shown = shown.rsplit('@').next().unwrap_or_default();
        let refuse = |why| Err(BuildError::new("origins", shown, why));
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("is not a URI");
        };
        let target = uri.authority().zip(uri.scheme());
        let Some(target) = target.and_then(|(at, scheme)| Target::of(scheme, at)) else {
            return refuse("is not an origin such as https://api.example.com");
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return refuse("has more than scheme, host and port");
        }
        if target.host.contains('*') {
            return refuse("has a wildcard; origins are named one by one");
        }
        if !allows_http && !target.is_private() {
            return refuse(
                "must be https (plain http: only loopback, or insecure_allow_http first)",
            );
        }
        let authority = target.authority();
        let Target { secure, host, port } = target;
        Ok(Self { secure, host: canonical_host(host).into(), port, authority: authority.into() })
    }

    fn to_text(&self) -> String {
        to_text(self.secure, &self.authority)
    }
}

/// The origin of a request, borrowed.
#[derive(Clone, Copy)]
struct Target<'a> {
    secure: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Target<'a> {
    /// `None` for what HTTP does not speak of, and for what two programs may read as two hosts.
    fn of(scheme: &Scheme, authority: &'a Authority) -> Option<Self> {
        let secure = match scheme.as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let host = authority.host();
        // No user info, which hides the host from readers (`https://good.example@evil.example`), and
        // no port that is not a number.
        let rest = authority.as_str().strip_prefix(host)?;
        let port = match (rest, authority.port_u16()) {
            ("" | ":", _) if secure => 443,
            ("" | ":", _) => 80,
            (_, Some(port)) => port,
            (_, None) => return None,
        };
        (!host.is_empty()).then_some(Self { secure, host, port })
    }

    fn authority(&self) -> String {
        let host = canonical_host(self.host);
        let is_default = self.port == if self.secure { 443 } else { 80 };
        if is_default { host } else { format!("{host}:{}", self.port) }
    }

    fn to_text(self) -> String {
        to_text(self.secure, &self.authority())
    }

    /// Whether nobody on the network can read along.
    fn is_private(&self) -> bool {
        self.secure || is_loopback(self.host)
    }

    /// Hosts are compared as they stand, but for case and the spelling of an IPv6 address: a trailing
    /// dot makes another origin (WHATWG URL, RFC 6454 §4), and a look-alike in Punycode is another name.
    fn is(&self, origin: &Origin) -> bool {
        self.secure == origin.secure
            && self.port == origin.port
            && (self.host.eq_ignore_ascii_case(&origin.host)
                || (self.host.starts_with('[') && canonical_host(self.host) == *origin.host))
    }
}

/// The origin that a URI shows.
pub(crate) fn origin_of(uri: &Uri) -> Option<String> {
    Some(Target::of(uri.scheme()?, uri.authority()?)?.to_text())
}

/// A WebSocket begins as a request by HTTP (RFC 6455 §1.3).
fn to_text(secure: bool, authority: &str) -> String {
    format!("{}://{authority}", if secure { "https" } else { "http" })
}

fn canonical_host(host: &str) -> String {
    match address(host) {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_ascii_lowercase(),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// A name under `.localhost` or a trailing dot may resolve elsewhere: only the exact word counts.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || address(host).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use Passage::{Refused, With, Without};

    use super::*;

    fn check(guard: &Guard, uri: &str) -> Passage {
        guard.check(&uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}")))
    }

    #[test]
    fn r13_without_a_list_a_token_goes_by_https_or_stays_on_this_machine() {
        let cases = [
            ("https://a.example/", With),
            ("HTTPS://A.example:8443/x?y", With),
            ("wss://a.example/", With),
            ("/only/a/path", With),
            ("http://localhost:1/", With),
            ("http://127.9.9.9/", With),
            ("http://[::1]:1/", With),
            ("http://a.example/", Refused(Refusal::PlainHttp)),
            ("ws://a.example/", Refused(Refusal::PlainHttp)),
            ("http://10.0.0.1/", Refused(Refusal::PlainHttp)),
            ("http://localhost./", Refused(Refusal::PlainHttp)),
            ("http://x.localhost/", Refused(Refusal::PlainHttp)),
            ("http://127.0.0.1.evil.example/", Refused(Refusal::PlainHttp)),
            ("http://127.1/", Refused(Refusal::PlainHttp)),
            ("http://0x7f000001/", Refused(Refusal::PlainHttp)),
            ("http://[::ffff:127.0.0.1]/", Refused(Refusal::PlainHttp)),
            ("http://localhost@evil.example/", Refused(Refusal::NoOrigin)),
            ("https://good.example@evil.example/", Refused(Refusal::NoOrigin)),
            ("ftp://a.example/", Refused(Refusal::NoOrigin)),
            ("a.example:443", Refused(Refusal::NoOrigin)),
        ];
        for (uri, expected) in cases {
            assert_eq!(check(&Guard::default(), uri), expected, "{uri}");
        }
        let in_the_clear = Guard::default().insecure_allow_http();
        assert_eq!(check(&in_the_clear, "http://a.example/"), With);
        assert_eq!(
            check(&in_the_clear, "ftp://a.example/"),
            Refused(Refusal::NoOrigin),
            "a switch for http is one for http"
        );
    }

    #[test]
    fn r12_an_origin_is_scheme_host_and_port() {
        let guard = Guard::default()
            .with_origins([
                "https://ok.example",
                "https://Port.example:8443/",
                "https://[2001:db8::1]",
                "https://xn--bcher-kva.example",
                "http://127.0.0.1:9000",
            ])
            .unwrap();
        let cases = [
            ("https://ok.example/", With),
            ("https://ok.example:443/a?b", With),
            ("https://ok.example:/", With),
            ("https://OK.Example/", With),
            ("/path", With),
            ("https://port.example:8443/", With),
            ("https://[2001:DB8:0:0:0:0:0:1]/", With),
            ("https://[2001:db8::1]:443/", With),
            ("https://xn--bcher-kva.example/", With),
            ("http://127.0.0.1:9000/", With),
            ("http://ok.example/", Without),
            ("http://ok.example:443/", Without),
            ("https://ok.example:8443/", Without),
            ("https://port.example/", Without),
            ("https://ok.example./", Without),
            ("https://sub.ok.example/", Without),
            ("https://ok.example.evil.example/", Without),
            ("https://evil.example/ok.example", Without),
            ("https://ok.example@evil.example/", Without),
            ("https://ok.example:443@evil.example/", Without),
            ("https://me@ok.example/", Without),
            ("https://me:pw@ok.example:443/", Without),
            ("https://xn--ok-example-n2e/", Without),
            ("https://buecher.example/", Without),
            ("https://[2001:db8::2]/", Without),
            ("https://[::ffff:127.0.0.1]:9000/", Without),
            ("http://127.0.0.1:9001/", Without),
            ("http://localhost:9000/", Without),
            ("ftp://ok.example:443/", Without),
            ("ok.example:443", Without),
        ];
        for (uri, expected) in cases {
            assert_eq!(check(&guard, uri), expected, "{uri}");
            let refusing = guard.clone().refuse_other_origins();
            let refused = if expected == With { With } else { Refused(Refusal::OtherOrigin) };
            assert_eq!(check(&refusing, uri), refused, "{uri}");
        }
    }

    #[test]
    fn r12_a_list_that_cannot_be_meant_is_refused_where_it_is_made() {
        let with = |origin: &str| Guard::default().with_origins([origin]);
        for bad in [
            "",
            "/",
            "ok.example",
            "https://",
            "https://ok.example/path",
            "https://ok.example?CANARY",
            "https://ok.example/#x",
            "https://me:CANARY@ok.example",
            "https://ok.example:99999",
            "http://ok.example",
            "ftp://ok.example",
            "https://bücher.example",
            "https://*.example",
        ] {
            let error = with(bad).expect_err(bad).to_string();
            assert!(!error.contains("CANARY"), "{error}");
        }
        assert!(Guard::default().with_origins([""; 0]).is_err());
        assert!(Guard::default().insecure_allow_http().with_origins(["http://ok.example"]).is_ok());
    }
}
