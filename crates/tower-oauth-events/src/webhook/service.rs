//! The service: from a request to what has died, and to an answer.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_oauth_core::{BoxFuture, RevocationSink as _};
use tower_oauth_server::BoxError;
use tower_service::Service;

use super::{Webhook, news};
use crate::intake::{Unread, is_of_type};
use crate::observe::{self, Outcome, Receiver};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
const MAX_ID: usize = 256;
/// A tenth of it would be enough.
const MAX_SIGNATURES: usize = 2 * 1024;
/// How far the moment up to which tokens die may lie ahead, in seconds: clocks differ.
const LEEWAY: i64 = 30;

/// Why nothing was done.
struct Refusal(StatusCode, &'static str);

impl<B> Service<Request<B>> for Webhook
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

impl Webhook {
    async fn serve<B>(&self, request: Request<B>) -> Result<(), Refusal>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let Some(_place) = self.0.intake.place() else {
            observe::received(Receiver::Webhook, Outcome::Busy);
            return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time"));
        };
        let outcome = self.take(request).await;
        observe::received(Receiver::Webhook, *outcome.as_ref().unwrap_or(&Outcome::Refused));
        outcome.map(drop)
    }

    async fn take<B>(&self, request: Request<B>) -> Result<Outcome, Refusal>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let bad = |text| Refusal(StatusCode::BAD_REQUEST, text);
        if request.method() != Method::POST {
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "the method is not POST"));
        }
        if !is_of_type(request.headers(), "application/json") {
            return Err(bad("the body is not application/json"));
        }
        let (head, body) = request.into_parts();
        let field = |name, max| one(&head.headers, name, max).map_err(bad);
        let (id, sent) = (field(ID, MAX_ID)?, field(TIMESTAMP, 20)?);
        let signatures = field(SIGNATURE, MAX_SIGNATURES)?;
        // Before the body is read, and again after it has come.
        let timestamp = self.in_window(sent)?;
        let body = self.0.intake.read(body).await.map_err(|unread| match unread {
            Unread::TooLarge => Refusal(StatusCode::PAYLOAD_TOO_LARGE, unread.text()),
            Unread::Broken => bad(unread.text()),
        })?;
        if !self.0.keys.verify(id, sent, &body, signatures) {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "no signature is good"));
        }
        self.in_window(sent)?;
        if self.0.seen.contains(id) {
            tracing::debug!("webhook came again");
            return Ok(Outcome::Replayed);
        }
        let latest = self.0.clock.unix_seconds().saturating_add(LEEWAY);
        let ended =
            news::read(&body, &self.0.issuer, timestamp.min(latest), latest).map_err(bad)?;
        for what in &ended {
            self.0.sinks.revoke(what);
        }
        // After the effect: who sees the name here may answer at once.
        self.0.seen.insert(id, self.0.clock.now());
        observe::revoked(Receiver::Webhook, ended.len());
        tracing::debug!(revocations = ended.len(), "webhook received");
        Ok(Outcome::Applied)
    }

    fn in_window(&self, timestamp: &str) -> Result<i64, Refusal> {
        let seconds = timestamp.bytes().all(|byte| byte.is_ascii_digit()).then_some(timestamp);
        let seconds = seconds.and_then(|text| text.parse::<i64>().ok());
        let seconds = seconds
            .ok_or(Refusal(StatusCode::BAD_REQUEST, "webhook-timestamp is no number of seconds"))?;
        if seconds.abs_diff(self.0.clock.unix_seconds()) > self.0.window {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "the timestamp is too far from now"));
        }
        Ok(seconds)
    }
}

/// The one value of a field.
fn one<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    max: usize,
) -> Result<&'a str, &'static str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err("there is not exactly one of each webhook field");
    };
    let text = value.to_str().ok().filter(|text| (1..=max).contains(&text.len()));
    text.ok_or("a webhook field is empty, too long, or no text")
}

fn answer(outcome: Result<(), Refusal>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let status = match outcome {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(Refusal(status, text)) => {
            tracing::debug!(status = status.as_u16(), reason = text, "webhook refused");
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            if status == StatusCode::SERVICE_UNAVAILABLE {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            if status == StatusCode::METHOD_NOT_ALLOWED {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            *response.body_mut() = Full::from(text);
            status
        }
    };
    *response.status_mut() = status;
    response
}
