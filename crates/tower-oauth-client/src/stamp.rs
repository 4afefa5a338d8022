use http::header::AUTHORIZATION;
use http::{Method, Request};
use tower_oauth_core::{Token, TokenSource};

/// Whose `Authorization` a request carries after [`stamp`].
pub(crate) enum Stamped {
    /// One of the source's: put there now, or by a layer outside over the same source.
    Ours(Token),
    /// The caller's own, which wins; or a request that must not have one. What the answer says of
    /// it is none of our business.
    Foreign,
    /// None: the source has no token at hand.
    Nobody,
}

/// Puts the token at hand on the request, unless it carries one.
pub(crate) fn stamp<B>(source: &dyn TokenSource, request: &mut Request<B>) -> Stamped {
    if let Some(carried) = request.headers().get(AUTHORIZATION) {
        return source.recognise(carried).map_or(Stamped::Foreign, Stamped::Ours);
    }
    if asks_a_proxy(request) {
        return Stamped::Foreign;
    }
    match source.peek() {
        Some(token) => {
            put(&token, request);
            Stamped::Ours(token)
        }
        None => Stamped::Nobody,
    }
}

/// Puts this token on the request, in place of another.
pub(crate) fn put<B>(token: &Token, request: &mut Request<B>) {
    request.headers_mut().insert(AUTHORIZATION, token.header().clone());
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
            stamp(&token, &mut request);
            assert_eq!(request.headers().contains_key(AUTHORIZATION), stamped, "{uri}");
        }
    }
}
