use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, Uri};

/// A request as it reached the issuer. `Debug` shows neither credentials nor the form.
#[derive(Clone)]
pub struct ReceivedRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl ReceivedRequest {
    pub(crate) fn new(head: http::request::Parts, body: Bytes) -> Self {
        Self { method: head.method, uri: head.uri, headers: head.headers, body }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target: absolute in process and by HTTP/2, the path alone by HTTP/1.1.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The header fields, credentials included.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The content, secrets included.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The first value of a form parameter.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<String> {
        self.form_all(name).into_iter().next()
    }

    /// All values of a form parameter.
    #[must_use]
    pub fn form_all(&self, name: &str) -> Vec<String> {
        form_urlencoded::parse(&self.body)
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }
}

impl fmt::Debug for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut headers = self.headers.clone();
        for name in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE] {
            for (key, value) in headers.iter_mut() {
                if *key == name {
                    value.set_sensitive(true);
                }
            }
        }
        f.debug_struct("ReceivedRequest")
            .field("method", &self.method)
            .field("uri", &self.uri)
            .field("headers", &headers)
            .field("body_len", &self.body.len())
            .finish()
    }
}
