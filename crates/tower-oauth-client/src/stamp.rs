use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request};
use tower_oauth_core::{Report, Token, TokenSource};

use crate::error::Refusal;
use crate::origin::{Guard, Passage};
use crate::prove::{DPOP, prove};
use crate::{ClientError, RefusedRequest};

/// Whose `Authorization` a request carries after [`stamp`].
pub(crate) enum Stamped {
    /// One of the source's: put there now, or by a layer outside over the same source.
    Ours(Token),
    /// The caller's own, which wins; or a request that must not have one. What the answer says of
    /// it is none of our business.
    Foreign,
    /// None: the source has no token at hand.
    Nobody,
    /// The request must not be sent.
    Refused(ClientError),
}

/// Puts the token at hand on the request, unless it carries one or leads to where no token may go.
pub(crate) fn stamp<B>(
    source: &dyn TokenSource,
    guard: &Guard,
    request: &mut Request<B>,
) -> Stamped {
    if let Some(carried) = request.headers().get(AUTHORIZATION) {
        return match source.recognise(carried) {
            Some(token) => keep(source, guard, request, token),
            None if guard.refuses_own_authorization() => {
                Stamped::Refused(refused(Refusal::OwnAuthorization))
            }
            None => Stamped::Foreign,
        };
    }
    if asks_a_proxy(request) {
        return Stamped::Foreign;
    }
    match guard.check(request.uri()) {
        Passage::With => match source.peek() {
            Some(token) => match put(&token, guard, request, None) {
                Ok(()) => Stamped::Ours(token),
                Err(error) => Stamped::Refused(error),
            },
            None => Stamped::Nobody,
        },
        Passage::Without => {
            drop_stale_proof(source, request.headers_mut());
            source.report(Report::OriginRefused);
            Stamped::Foreign
        }
        Passage::Refused(why) => refuse(source, why),
    }
}

/// Puts this token on the request, in place of another; one that is bound with a proof for this very request.
pub(crate) fn put<B>(
    token: &Token,
    guard: &Guard,
    request: &mut Request<B>,
    nonce: Option<&str>,
) -> Result<(), ClientError> {
    if let Some(prover) = token.prover() {
        prove(token, &**prover, guard, request, nonce)?;
    }
    request.headers_mut().insert(AUTHORIZATION, token.header().clone());
    Ok(())
}

/// Layers that follow redirects take `Authorization` off where it must not go, and know nothing of the proof beside it. One
/// that the caller has made for itself stays.
fn drop_stale_proof(source: &dyn TokenSource, headers: &mut HeaderMap) {
    let Some(proof) = headers.get(DPOP) else { return };
    let is_the_callers = source
        .peek()
        .is_some_and(|token| token.prover().is_none_or(|prover| !prover.recognises(proof)));
    if !is_the_callers {
        headers.remove(DPOP);
    }
}

/// A token that a layer outside has put on: it may have been for another origin, where a layer
/// between the two follows redirects.
fn keep<B>(
    source: &dyn TokenSource,
    guard: &Guard,
    request: &mut Request<B>,
    token: Token,
) -> Stamped {
    match guard.check(request.uri()) {
        Passage::With => match token.prover() {
            // What is on it may be for another hop, or be sent a second time by a layer between the two.
            Some(prover) => match prove(&token, &**prover, guard, request, None) {
                Ok(()) => Stamped::Ours(token),
                Err(error) => Stamped::Refused(error),
            },
            None => Stamped::Ours(token),
        },
        Passage::Without => {
            request.headers_mut().remove(AUTHORIZATION);
            request.headers_mut().remove(DPOP);
            source.report(Report::OriginRefused);
            Stamped::Foreign
        }
        Passage::Refused(why) => refuse(source, why),
    }
}

fn refuse(source: &dyn TokenSource, why: Refusal) -> Stamped {
    source.report(Report::OriginRefused);
    Stamped::Refused(refused(why))
}

fn refused(why: Refusal) -> ClientError {
    ClientError::Refused(RefusedRequest::new(why))
}

/// A plain `CONNECT` (RFC 9110 §9.3.6) is for a proxy, which the token is not meant for. An extended
/// one (RFC 8441, WebSocket over HTTP/2) has a scheme and is for the resource.
fn asks_a_proxy<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT && request.uri().scheme().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_a_proxy_never_gets_the_token() {
        let token = Token::bearer("t").unwrap();
        for (method, uri, stamped) in [
            (Method::GET, "https://a.example/", true),
            (Method::GET, "/", true),
            (Method::CONNECT, "a.example:443", false),
            (Method::CONNECT, "https://a.example/chat", true),
        ] {
            let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
            stamp(&token, &Guard::default(), &mut request);
            assert_eq!(request.headers().contains_key(AUTHORIZATION), stamped, "{uri}");
        }
    }

    #[test]
    fn r12_a_token_from_outside_is_taken_off_where_it_must_not_go() {
        let token = Token::bearer("t").unwrap();
        let guard = Guard::default().with_origins(["https://a.example"]).unwrap();
        for (uri, carried, left) in [
            ("https://a.example/", "Bearer t", true),
            ("https://b.example/", "Bearer t", false),
            ("https://b.example/", "Bearer the-callers-own", true),
        ] {
            let mut request = Request::get(uri).header("dpop", "proof").body(()).unwrap();
            request.headers_mut().insert(AUTHORIZATION, carried.parse().unwrap());
            stamp(&token, &guard, &mut request);
            let headers = request.headers();
            assert_eq!(headers.contains_key(AUTHORIZATION), left, "{uri} {carried}");
            assert_eq!(headers.contains_key(DPOP), left, "{uri} {carried}");
        }
    }
}
