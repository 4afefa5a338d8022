//! Authorization server metadata: RFC 8414, OpenID Connect Discovery 1.0.

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Method, StatusCode};

use super::{Codec, status_error};
use crate::json::Object;
use crate::{EndpointUri, Error, ErrorKind, Issuer};

/// Asks one well-known address for the metadata of an issuer.
#[derive(Clone, Debug)]
pub struct MetadataRequest {
    /// The issuer that the answer must name, byte for byte.
    pub issuer: Issuer,
    /// Where to ask: one of [`Issuer::metadata_uris`].
    pub uri: EndpointUri,
}

/// What this family of crates needs of the metadata.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metadata {
    /// The issuer, as configured and as the server says.
    pub issuer: Issuer,
    /// Where tokens are issued.
    pub token_endpoint: Option<EndpointUri>,
    /// Where the keys are.
    pub jwks_uri: Option<EndpointUri>,
    /// Where tokens are introspected (RFC 7662).
    pub introspection_endpoint: Option<EndpointUri>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<EndpointUri>,
}

/// Writes and reads metadata messages.
#[derive(Clone, Debug, Default)]
pub struct MetadataCodec {
    trusted_hosts: Vec<String>,
}

impl MetadataCodec {
    /// Endpoints must stand on the issuer's own host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also takes endpoints on this host. Google's, for one, are not on the issuer's.
    #[must_use]
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.trusted_hosts.push(host.into());
        self
    }

    fn endpoint(
        &self,
        object: &Object,
        issuer: &Issuer,
        name: &'static str,
    ) -> Result<Option<EndpointUri>, Error> {
        let Some(text) = object.text(name, "an endpoint is not text")? else {
            return Ok(None);
        };
        // A document that points a client's credentials, or a server's trust, to plain http or to
        // somebody else's host is refused as a whole: half a configuration helps nobody.
        let uri = EndpointUri::parse(text).map_err(|error| {
            Error::new(ErrorKind::Configuration("an endpoint in the metadata is not secure"))
                .with_source(error.with_option(name))
        })?;
        let trusted = uri.host().eq_ignore_ascii_case(&issuer.host())
            || self.trusted_hosts.iter().any(|host| host.eq_ignore_ascii_case(uri.host()));
        if !trusted {
            return Err(ErrorKind::Configuration(
                "an endpoint in the metadata is on another host than the issuer; trust_host(..) allows it",
            )
            .into());
        }
        Ok(Some(uri))
    }
}

impl Codec for MetadataCodec {
    type Request = MetadataRequest;
    type Response = Metadata;

    fn encode(&self, request: &MetadataRequest) -> Result<http::Request<Bytes>, Error> {
        http::Request::builder()
            .method(Method::GET)
            .uri(request.uri.as_uri().clone())
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| ErrorKind::Configuration("the metadata request cannot be written").into())
    }

    fn decode(
        &self,
        request: &MetadataRequest,
        response: http::Response<Bytes>,
    ) -> Result<Metadata, Error> {
        if response.status() != StatusCode::OK {
            return Err(status_error(&response));
        }
        let object = Object::parse(response.body())?;
        let named = object.text("issuer", "issuer is not text")?;
        // RFC 8414 §3.3: identical, or the document must not be used.
        if named != Some(request.issuer.as_str()) {
            return Err(ErrorKind::Configuration("the metadata names another issuer").into());
        }
        let endpoint = |name| self.endpoint(&object, &request.issuer, name);
        Ok(Metadata {
            issuer: request.issuer.clone(),
            token_endpoint: endpoint("token_endpoint")?,
            jwks_uri: endpoint("jwks_uri")?,
            introspection_endpoint: endpoint("introspection_endpoint")?,
            revocation_endpoint: endpoint("revocation_endpoint")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(codec: &MetadataCodec, body: &str) -> Result<Metadata, ErrorKind> {
        let issuer = Issuer::parse("https://idp.example/r").unwrap();
        let uri = issuer.metadata_uris().unwrap().remove(0);
        let response = http::Response::new(Bytes::copy_from_slice(body.as_bytes()));
        codec.decode(&MetadataRequest { issuer, uri }, response).map_err(|error| error.kind())
    }

    #[test]
    fn k04_the_issuer_is_identical_or_the_document_is_refused() {
        for (body, good) in [
            (r#"{"issuer":"https://idp.example/r"}"#, true),
            (r#"{"issuer":"https://idp.example/r/"}"#, false),
            (r#"{"issuer":"https://IDP.example/r"}"#, false),
            (r#"{"issuer":["https://idp.example/r"]}"#, false),
            (r#"{}"#, false),
            (r#"[]"#, false),
        ] {
            assert_eq!(decode(&MetadataCodec::new(), body).is_ok(), good, "{body}");
        }
    }

    #[test]
    fn k04_endpoints_are_secure_and_at_home() {
        let with =
            |uri: &str| format!(r#"{{"issuer":"https://idp.example/r","jwks_uri":"{uri}"}}"#);
        let strict = MetadataCodec::new();
        let open = MetadataCodec::new().trust_host("keys.example");
        for (uri, home, listed) in [
            ("https://idp.example/jwks", true, true),
            ("https://IDP.example:8443/jwks", true, true),
            ("https://keys.example/jwks", false, true),
            ("https://idp.example.evil.example/jwks", false, false),
            ("http://idp.example/jwks", false, false),
            ("/jwks", false, false),
        ] {
            assert_eq!(decode(&strict, &with(uri)).is_ok(), home, "{uri}");
            assert_eq!(decode(&open, &with(uri)).is_ok(), listed, "{uri}");
        }
    }
}
