use http::Request;
use http::header::AUTHORIZATION;
use tower_oauth_core::{Token, TokenSource};

/// Whose `Authorization` a request carries after [`stamp`].
pub(crate) enum Stamped {
    /// One of the source's: put there now, or by a layer outside over the same source.
    Ours(Token),
    /// The caller's own. It wins, and what the resource says of it is none of our business.
    Foreign,
    /// None: the source has no token at hand.
    Nobody,
}

/// Puts the token at hand on the request, unless it carries one.
pub(crate) fn stamp<B>(source: &dyn TokenSource, request: &mut Request<B>) -> Stamped {
    if let Some(carried) = request.headers().get(AUTHORIZATION) {
        return source.recognise(carried).map_or(Stamped::Foreign, Stamped::Ours);
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
