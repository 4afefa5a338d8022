//! A form that holds secrets, sent by POST.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use zeroize::Zeroizing;

use super::ClientAuth;
use crate::{EndpointUri, Error};

/// Parameters in the order in which they were added.
#[derive(Default)]
pub(super) struct Form<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Form<'a> {
    pub(super) fn add(&mut self, name: &'static str, value: impl Into<Cow<'a, str>>) {
        self.0.push((name, value.into()));
    }

    /// The request to `endpoint`, with what proves the client.
    pub(super) fn post(
        mut self,
        endpoint: &EndpointUri,
        accept: &'static str,
        auth: &'a ClientAuth,
    ) -> Result<Request<Bytes>, Error> {
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(endpoint.as_uri().clone())
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(header) = auth.write(&mut self)? {
            builder = builder.header(AUTHORIZATION, header);
        }
        builder
            // The owner wipes the form, which may hold a secret, when the transport drops it.
            .body(Bytes::from_owner(Zeroizing::new(self.into_text().into_bytes())))
            .map_err(|_| crate::ErrorKind::Configuration("the request cannot be written").into())
    }

    /// Enough room from the start: growing would leave a copy of a secret behind in freed memory.
    /// Three bytes for one is the worst that form-encoding does.
    fn into_text(self) -> String {
        let room = self.0.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        let mut text = form_urlencoded::Serializer::new(String::with_capacity(room));
        for (name, value) in &self.0 {
            text.append_pair(name, value);
        }
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l05_the_form_never_grows_beyond_its_first_buffer() {
        let mut form = Form::default();
        form.add("password", "\u{20ac}&=+%".repeat(100));
        form.add("empty", "");
        let room: usize = form.0.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        assert!(form.into_text().len() <= room);
    }
}
