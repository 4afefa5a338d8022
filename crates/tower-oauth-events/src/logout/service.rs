//! The service: from a request to a logout token, and from a verdict to an answer.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_oauth_core::BoxFuture;
use tower_oauth_server::{BoxError, Rejection};
use tower_service::Service;

use super::BackchannelLogout;
use crate::intake::{Unread, is_of_type, seconds};
use crate::observe::{self, Outcome, Receiver};

const FORM: &str = "application/x-www-form-urlencoded";
const PARAMETER: &str = "logout_token";

/// Why nothing was done.
enum Refusal {
    Bad(String),
    /// Nobody knows whether it is good: to be sent again.
    Later(Duration),
}

impl<B> Service<Request<B>> for BackchannelLogout
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

impl BackchannelLogout {
    async fn serve<B>(&self, request: Request<B>) -> Result<(), Refusal>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let Some(_place) = self.0.intake.place() else {
            observe::received(Receiver::Logout, Outcome::Busy);
            return Err(Refusal::Later(Duration::ZERO));
        };
        let token = match self.token_of(request).await {
            Ok(token) => token,
            Err(text) => {
                observe::received(Receiver::Logout, Outcome::Refused);
                return Err(Refusal::Bad(text.to_owned()));
            }
        };
        self.receive(&token).await.map_err(|rejection| match rejection {
            Rejection::Invalid(reason) => Refusal::Bad(reason.to_string()),
            Rejection::Unavailable { retry_after, .. } => Refusal::Later(retry_after),
            _ => Refusal::Later(Duration::ZERO),
        })
    }

    async fn token_of<B>(&self, request: Request<B>) -> Result<String, &'static str>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        // §2.8 knows one answer to whatever is wrong with a request.
        if request.method() != Method::POST {
            return Err("the method is not POST");
        }
        if !is_of_type(request.headers(), FORM) {
            return Err("the body is not a form");
        }
        let body = self.0.intake.read(request.into_body()).await;
        let body = body.map_err(Unread::text)?;
        // What else is in the form must be ignored (§2.5).
        let mut tokens = form_urlencoded::parse(&body)
            .filter(|(name, _)| name == PARAMETER)
            .map(|(_, value)| value);
        let (Some(token), None) = (tokens.next(), tokens.next()) else {
            return Err("there is not exactly one logout_token");
        };
        Ok(token.into_owned())
    }
}

fn answer(outcome: Result<(), Refusal>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    match outcome {
        Ok(()) => {}
        Err(Refusal::Bad(text)) => {
            tracing::debug!(reason = %text, "logout refused");
            *response.status_mut() = StatusCode::BAD_REQUEST;
            let json = serde_json::json!({ "error": "invalid_request", "error_description": text });
            *response.body_mut() = Full::from(json.to_string());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        Err(Refusal::Later(retry_after)) => {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(RETRY_AFTER, seconds(retry_after).into());
        }
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
