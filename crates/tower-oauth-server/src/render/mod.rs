//! How a [`Rejection`] looks on the wire, over HTTP and over gRPC.
//!
//! Only fixed texts are written: nothing that a request has brought is in an answer (RFC 6750 §3 leaves
//! `error_description` to us, and a text made of the token would carry the token into logs).

mod challenge;
mod grpc;
mod style;
mod web;

use std::sync::Arc;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::bound::{self, Offer};
use crate::{DoorBody, Rejection, observe};

pub use style::RenderRejection;
pub(crate) use style::{Renderer, Style};

/// An answer that waits to be written: the reason, and what is needed to write it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    rejection: Rejection,
    dialect: Dialect,
    style: Option<Arc<Style>>,
    /// What the application has made of it, which takes the head of the request.
    own: Option<Response<Bytes>>,
    offer: Option<Offer>,
    nonce: Option<HeaderValue>,
}

/// What the client of a request understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Http,
    /// Like `Http`, without the body (RFC 9110 §9.3.2).
    HttpHead,
    /// gRPC or gRPC-Web; the value is the `content-type` to answer with.
    Grpc(&'static str),
}

impl Refusal {
    /// Refuses the request with this head.
    pub(crate) fn new(rejection: Rejection, head: &Parts, style: Option<Arc<Style>>) -> Self {
        // A refusal is part of a door's daily work, and a flood of them must not flood the log; a door that is put
        // together wrongly is a bug of the application.
        if let Rejection::Misconfigured(how) = rejection {
            tracing::error!(rejection = rejection.code(), how, "request refused");
        } else {
            tracing::debug!(rejection = rejection.code(), "request refused");
        }
        let dialect = Dialect::of(head);
        let renderer = style.as_deref().and_then(|style| style.renderer.as_ref());
        let own = renderer
            .filter(|_| !matches!(dialect, Dialect::Grpc(_)))
            .map(|renderer| renderer.0.render(&rejection, head));
        Self { rejection, dialect, style, own, offer: None, nonce: None }
    }

    /// For one who has no request at hand.
    pub(crate) const fn over_http(rejection: Rejection) -> Self {
        Self { rejection, dialect: Dialect::Http, style: None, own: None, offer: None, nonce: None }
    }

    /// Says in the challenge that `DPoP` is taken too, or only.
    pub(crate) fn offering(mut self, offer: Option<Offer>) -> Self {
        self.offer = offer;
        self
    }

    /// Gives the client a nonce for its next proof.
    pub(crate) fn with_nonce(mut self, nonce: Option<HeaderValue>) -> Self {
        self.nonce = nonce;
        self
    }

    #[cfg(feature = "axum")]
    pub(crate) const fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// The answer, with the [`Rejection`] in its extensions.
    pub(crate) fn to_response(&self) -> Response<Bytes> {
        observe::rejected(&self.rejection);
        let mut challenges =
            challenge::all(&self.rejection, self.style.as_deref(), self.offer.as_ref()).into_iter();
        let challenge = challenges.next();
        let web = |challenge| web::response(&self.rejection, challenge, self.own.clone());
        let mut response = match self.dialect {
            Dialect::Http => web(challenge),
            Dialect::HttpHead => web(challenge).map(|_| Bytes::new()),
            Dialect::Grpc(content_type) => grpc::response(&self.rejection, challenge, content_type),
        };
        for challenge in challenges {
            response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
        if let Some(nonce) = &self.nonce {
            bound::give_nonce(response.headers_mut(), nonce.clone());
        }
        response.extensions_mut().insert(self.rejection.clone());
        response
    }

    pub(crate) fn to_door_response<B>(&self) -> Response<DoorBody<B>> {
        self.to_response().map(DoorBody::refusal)
    }
}

/// The end of a gRPC stream that has begun already.
pub(crate) fn trailers(rejection: &Rejection) -> HeaderMap {
    grpc::trailers(rejection)
}

/// Whether an answer is one of gRPC that ends with trailers.
pub(crate) fn is_native_grpc(headers: &HeaderMap) -> bool {
    grpc::is_native(headers)
}

impl Dialect {
    fn of(head: &Parts) -> Self {
        match grpc::content_type(&head.headers) {
            // gRPC is always POST; for anything else, an answer with status 200 would be a success.
            Some(content_type) if head.method == Method::POST => Self::Grpc(content_type),
            _ if head.method == Method::HEAD => Self::HttpHead,
            _ => Self::Http,
        }
    }
}

/// The text for humans, in the characters that `error_description` allows: `%x20-21 / %x23-5B / %x5D-7E`
/// (RFC 6750 §3). It needs no escapes in a quoted string, nor in JSON.
fn description(rejection: &Rejection) -> String {
    let text = rejection.to_string();
    // As all of our own texts are: to write it again would allocate for each doubling.
    if text.chars().all(is_plain) {
        return text;
    }
    text.chars().map(|char| if is_plain(char) { char } else { '?' }).collect()
}

/// Whether a character may stand in `error_description`, and in a realm.
pub(crate) const fn is_plain(char: char) -> bool {
    matches!(char, '\x20'..='\x21' | '\x23'..='\x5B' | '\x5D'..='\x7E')
}

/// Whole seconds (RFC 9110 §10.2.3), rounded up: who comes back too early has come for nothing.
fn retry_after(rejection: &Rejection) -> Option<HeaderValue> {
    let Rejection::Unavailable { retry_after, .. } = rejection else { return None };
    let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
    Some(HeaderValue::from(seconds.max(1)))
}
