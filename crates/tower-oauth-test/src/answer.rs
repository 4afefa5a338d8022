use std::error::Error as StdError;
use std::future::pending;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::sleep;

use crate::endpoints;
use crate::state::Shared;
use crate::{Endpoint, Fault, ReceivedRequest, ScriptedBody};

/// The largest request that is read.
const MAX_REQUEST: usize = 64 * 1024;

/// Answers one request, in process or on a socket. An error is a broken connection.
pub(crate) async fn answer<B>(
    shared: Arc<Shared>,
    request: Request<B>,
) -> io::Result<Response<ScriptedBody>>
where
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    refuse_in_the_dark(&shared, io::ErrorKind::ConnectionRefused)?;
    let path = shared.with(|state| state.path.clone());
    let Some(endpoint) = Endpoint::at(request.uri().path(), &path) else {
        return Ok(response(StatusCode::NOT_FOUND, &[], Bytes::new()));
    };
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST).collect().await;
    let body = match body {
        Ok(body) => body,
        Err(error) if error.is::<LengthLimitError>() => {
            let _flight = shared.begin(endpoint);
            return Ok(response(StatusCode::PAYLOAD_TOO_LARGE, &[], Bytes::new()));
        }
        // The request broke off: it never arrived.
        Err(error) => return Err(io::Error::other(error)),
    };
    let received = ReceivedRequest::new(head, body.to_bytes());
    let fault = shared.with(|state| {
        *state.last.of_mut(endpoint) = Some(received.clone());
        state.scripts.of_mut(endpoint).play()
    });
    // Counted last: a test that has waited for the count may rely on the fault being taken.
    let _flight = shared.begin(endpoint);
    let work = || endpoints::answer(&shared, endpoint, &received);
    match fault {
        None => Ok(work()),
        Some(Fault::Delay(by)) => {
            sleep(by).await;
            // It may have vanished meanwhile; nothing is issued then.
            refuse_in_the_dark(&shared, io::ErrorKind::ConnectionReset)?;
            Ok(work())
        }
        Some(Fault::LoseAnswer) => {
            work();
            Err(reset())
        }
        Some(Fault::CutBody) => Ok(work().map(ScriptedBody::cut)),
        Some(Fault::Reset) => Err(reset()),
        Some(Fault::Hang) => pending().await,
        Some(other) => Ok(instead(other)),
    }
}

impl Endpoint {
    /// Its path below the issuer's.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Token => "/token",
            Self::Jwks => "/jwks",
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Introspection => "/introspect",
            Self::Revocation => "/revoke",
            Self::StatusList => "/statuslists/1",
        }
    }

    /// The endpoint at a path, for an issuer whose own path is `issuer_path`.
    ///
    /// OpenID Connect Discovery §4.1 appends its suffix; RFC 8414 §3.1 inserts its own before the
    /// issuer's path, and §5 the OpenID suffix too.
    fn at(path: &str, issuer_path: &str) -> Option<Self> {
        let inserted =
            ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
        if inserted.iter().any(|suffix| path.strip_prefix(suffix) == Some(issuer_path)) {
            return Some(Self::Discovery);
        }
        let below = path.strip_prefix(issuer_path)?;
        if below.strip_prefix("/statuslists/").is_some_and(|name| !name.is_empty()) {
            return Some(Self::StatusList);
        }
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == below)
    }
}

/// A whole answer. A text that cannot be a field value leaves its field out.
pub(crate) fn response(
    status: StatusCode,
    headers: &[(HeaderName, &str)],
    body: impl Into<Bytes>,
) -> Response<ScriptedBody> {
    with_body(status, headers, ScriptedBody::whole(body))
}

fn with_body(
    status: StatusCode,
    headers: &[(HeaderName, &str)],
    body: ScriptedBody,
) -> Response<ScriptedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, text) in headers {
        if let Ok(value) = HeaderValue::from_str(text) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The faults that need neither time nor the endpoint's work.
fn instead(fault: Fault) -> Response<ScriptedBody> {
    const JSON: (HeaderName, &str) = (CONTENT_TYPE, "application/json");
    match fault {
        Fault::StatusWithRetryAfter { status: code, retry_after } => {
            response(status(code), &[(RETRY_AFTER, &retry_after)], Bytes::new())
        }
        Fault::Garbage(body) => response(StatusCode::OK, &[JSON], body),
        Fault::Body { status: code, content_type, body } => {
            response(status(code), &[(CONTENT_TYPE, &content_type)], body)
        }
        Fault::Redirect(to) => {
            response(StatusCode::TEMPORARY_REDIRECT, &[(LOCATION, &to)], Bytes::new())
        }
        Fault::EndlessBody => with_body(StatusCode::OK, &[JSON], ScriptedBody::endless()),
        Fault::DripForever(interval) => {
            with_body(StatusCode::OK, &[JSON], ScriptedBody::drip(interval))
        }
        Fault::Status(code) => response(status(code), &[], Bytes::new()),
        // Played before this is asked.
        Fault::Delay(_) | Fault::Hang | Fault::Reset | Fault::LoseAnswer | Fault::CutBody => {
            response(StatusCode::INTERNAL_SERVER_ERROR, &[], Bytes::new())
        }
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the script breaks the connection")
}

fn refuse_in_the_dark(shared: &Shared, kind: io::ErrorKind) -> io::Result<()> {
    if shared.with(|state| state.dark) {
        return Err(io::Error::new(kind, "the issuer is dark"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k04_well_known_is_appended_and_inserted() {
        let cases = [
            ("", "/token", Some(Endpoint::Token)),
            ("", "/jwks", Some(Endpoint::Jwks)),
            ("", "/introspect", Some(Endpoint::Introspection)),
            ("", "/revoke", Some(Endpoint::Revocation)),
            ("", "/statuslists/1", Some(Endpoint::StatusList)),
            ("/r", "/r/statuslists/other", Some(Endpoint::StatusList)),
            ("", "/statuslists/", None),
            ("", "/.well-known/openid-configuration", Some(Endpoint::Discovery)),
            ("", "/.well-known/oauth-authorization-server", Some(Endpoint::Discovery)),
            ("", "/.well-known/oauth-authorization-server/r/s", None),
            ("", "/token/", None),
            ("", "/", None),
            ("/r/s", "/r/s/token", Some(Endpoint::Token)),
            ("/r/s", "/r/s/.well-known/openid-configuration", Some(Endpoint::Discovery)),
            ("/r/s", "/.well-known/openid-configuration/r/s", Some(Endpoint::Discovery)),
            ("/r/s", "/.well-known/oauth-authorization-server/r/s", Some(Endpoint::Discovery)),
            ("/r/s", "/.well-known/openid-configuration", None),
            ("/r/s", "/token", None),
        ];
        for (issuer_path, path, expected) in cases {
            assert_eq!(Endpoint::at(path, issuer_path), expected, "{path} below {issuer_path}");
        }
    }
}
