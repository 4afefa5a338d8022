//! The messages of RFC 8936 §2.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tower_oauth_core::codec::Codec;
use tower_oauth_core::{EndpointUri, Error, ErrorKind};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Clone)]
pub(super) struct PollCodec {
    pub(super) endpoint: EndpointUri,
    pub(super) authorization: Option<HeaderValue>,
}

/// What is asked, and what became of what came before.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) max_events: usize,
    pub(super) owed: Owed,
}

/// SETs that the transmitter waits to hear of.
#[derive(Clone, Default)]
pub(super) struct Owed {
    pub(super) acks: Vec<String>,
    /// By name: `err` and `description`.
    pub(super) errors: Map<String, Value>,
}

pub(super) struct Sets {
    /// By name: the SET, which should be a text.
    pub(super) sets: Map<String, Value>,
    pub(super) more_available: bool,
}

impl Codec for PollCodec {
    type Request = Ask;
    type Response = Sets;

    /// 32 SETs of the largest size, and the JSON round them.
    const MAX_BODY: usize = 1024 * 1024;

    fn encode(&self, ask: &Ask) -> Result<Request<Bytes>, Error> {
        let mut body = json!({ "maxEvents": ask.max_events, "returnImmediately": true });
        if let Some(body) = body.as_object_mut() {
            if !ask.owed.acks.is_empty() {
                body.insert("ack".to_owned(), json!(ask.owed.acks));
            }
            if !ask.owed.errors.is_empty() {
                body.insert("setErrs".to_owned(), json!(ask.owed.errors));
            }
        }
        let mut request = Request::new(Bytes::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.as_uri().clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, JSON);
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    fn decode(&self, _: &Ask, response: Response<Bytes>) -> Result<Sets, Error> {
        if response.status() != StatusCode::OK {
            let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let kind = ErrorKind::Status(response.status().as_u16());
            return Err(Error::new(kind).with_retry_after(after));
        }
        let malformed = |part| Error::from(ErrorKind::Malformed(part));
        let body: Map<String, Value> = serde_json::from_slice(response.body())
            .map_err(|_| malformed("the answer to a poll is no JSON object"))?;
        let more_available = match body.get("moreAvailable") {
            None => false,
            Some(Value::Bool(more)) => *more,
            Some(_) => return Err(malformed("moreAvailable")),
        };
        let mut body = body;
        match body.remove("sets") {
            Some(Value::Object(sets)) => Ok(Sets { sets, more_available }),
            _ => Err(malformed("sets")),
        }
    }
}
