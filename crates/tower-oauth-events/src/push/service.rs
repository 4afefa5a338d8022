//! The service: from a request to a SET, and from a verdict to an answer (RFC 8935 §2).

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_oauth_core::BoxFuture;
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{BoxError, Rejection};
use tower_service::Service;

use super::{SetPush, add};
use crate::intake::{is_of_type, seconds};
use crate::observe::{self, Outcome, Receiver};

const SET: &str = "application/secevent+jwt";

/// Why nothing was done.
enum Refusal {
    /// `err` and `description`.
    Bad(&'static str, String),
    Method,
    /// Nobody knows whether it is good: to be sent again.
    Later(Duration),
}

impl<B> Service<Request<B>> for SetPush
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(answer(this.serve(request).await)) })
    }
}

impl SetPush {
    async fn serve<B>(&self, request: Request<B>) -> Result<(), Refusal>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let Some(_place) = self.0.intake.place() else {
            observe::received(Receiver::SecurityEvents, Outcome::Busy);
            return Err(Refusal::Later(Duration::ZERO));
        };
        let set = match self.set_of(request).await {
            Ok(set) => set,
            Err(refusal) => {
                add(&self.0.counters.refused, 1);
                observe::received(Receiver::SecurityEvents, Outcome::Refused);
                return Err(refusal);
            }
        };
        self.receive(&set).await.map_err(|rejection| match rejection {
            Rejection::Invalid(reason) => Refusal::Bad(code(reason), reason.to_string()),
            Rejection::Unavailable { retry_after, .. } => Refusal::Later(retry_after),
            _ => Refusal::Later(Duration::ZERO),
        })
    }

    async fn set_of<B>(&self, request: Request<B>) -> Result<String, Refusal>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let bad = |err, text: &str| Refusal::Bad(err, text.to_owned());
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        if !self.knows(request.headers()) {
            return Err(bad("authentication_failed", "the transmitter is not known"));
        }
        if !is_of_type(request.headers(), SET) {
            return Err(bad("invalid_request", "the body is not application/secevent+jwt"));
        }
        let body = self.0.intake.read(request.into_body()).await;
        let body = body.map_err(|unread| bad("invalid_request", unread.text()))?;
        let set = String::from_utf8(body.to_vec());
        set.map_err(|_| bad("invalid_request", InvalidToken::Malformed.to_string().as_str()))
    }

    /// Whether the request has the `Authorization` that the transmitter was given.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = &self.0.authorization else { return true };
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        verify_slices_are_equal(value.as_bytes(), expected.expose().as_bytes()).is_ok()
    }
}

/// RFC 8935 §2.4.
pub(crate) fn code(reason: InvalidToken) -> &'static str {
    match reason {
        InvalidToken::WrongIssuer => "invalid_issuer",
        InvalidToken::WrongAudience => "invalid_audience",
        InvalidToken::AlgorithmNotAllowed
        | InvalidToken::UnknownKey
        | InvalidToken::KeyMismatch
        | InvalidToken::AmbiguousKey
        | InvalidToken::BadSignature => "invalid_key",
        _ => "invalid_request",
    }
}

fn answer(outcome: Result<(), Refusal>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let mut set = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
    set(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (status, body) = match outcome {
        Ok(()) => (StatusCode::ACCEPTED, None),
        Err(Refusal::Bad(err, description)) => {
            tracing::debug!(err, reason = %description, "security event refused");
            set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // A description has to say in what language it is (§2.3).
            set(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
            let json = serde_json::json!({ "err": err, "description": description });
            (StatusCode::BAD_REQUEST, Some(json.to_string()))
        }
        Err(Refusal::Method) => {
            set(ALLOW, HeaderValue::from_static("POST"));
            (StatusCode::METHOD_NOT_ALLOWED, None)
        }
        Err(Refusal::Later(retry_after)) => {
            set(RETRY_AFTER, seconds(retry_after).into());
            (StatusCode::SERVICE_UNAVAILABLE, None)
        }
    };
    *response.status_mut() = status;
    if let Some(body) = body {
        *response.body_mut() = Full::from(body);
    }
    response
}
