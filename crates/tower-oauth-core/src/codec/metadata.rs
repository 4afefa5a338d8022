//! Authorization server metadata: RFC 8414, OpenID Connect Discovery 1.0.

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Method, StatusCode};

use super::{Codec, status_error};
use crate::json::Object;
use crate::{BuildError, EndpointUri, Error, ErrorKind, Issuer};

/// Asks one well-known address for the metadata of an issuer.
#[derive(Clone, Debug)]
pub struct MetadataRequest {
    /// The issuer that the answer must name, byte for byte.
    pub issuer: Issuer,
    /// Where to ask: one of [`Issuer::metadata_uris`].
    pub uri: EndpointUri,
}

/// What this family of crates needs of the metadata.
///
/// An endpoint that cannot be used (not secure, or on a host that is not trusted) is an error for
/// who asks for it, and for nobody else.
#[derive(Clone, Debug)]
pub struct Metadata {
    issuer: Issuer,
    token_endpoint: Result<EndpointUri, Error>,
    jwks_uri: Result<EndpointUri, Error>,
    introspection_endpoint: Result<EndpointUri, Error>,
    revocation_endpoint: Result<EndpointUri, Error>,
}

impl Metadata {
    /// The issuer, as configured and as the server says.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Where tokens are issued.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`]: the metadata do not name it, or name a place that is not secure or not trusted.
    /// So for the other endpoints.
    pub fn token_endpoint(&self) -> Result<EndpointUri, Error> {
        self.token_endpoint.clone()
    }

    /// Where the keys are.
    ///
    /// # Errors
    /// As [`Self::token_endpoint`].
    pub fn jwks_uri(&self) -> Result<EndpointUri, Error> {
        self.jwks_uri.clone()
    }

    /// Where tokens are introspected (RFC 7662).
    ///
    /// # Errors
    /// As [`Self::token_endpoint`].
    pub fn introspection_endpoint(&self) -> Result<EndpointUri, Error> {
        self.introspection_endpoint.clone()
    }

    /// Where tokens are revoked (RFC 7009).
    ///
    /// # Errors
    /// As [`Self::token_endpoint`].
    pub fn revocation_endpoint(&self) -> Result<EndpointUri, Error> {
        self.revocation_endpoint.clone()
    }
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
    ) -> Result<EndpointUri, Error> {
        let refuse = |why, error: BuildError| {
            Err(Error::new(ErrorKind::Configuration(why)).with_source(error.with_option(name)))
        };
        let Some(text) = object.text(name, "an endpoint is not text")? else {
            let error = BuildError::new(name, issuer, "is not in the metadata of this issuer");
            return refuse("the metadata do not name the endpoint", error);
        };
        // A document that points a client's credentials, or a server's trust, to plain http or to
        // somebody else's host is not followed there.
        let uri = match EndpointUri::parse(text) {
            Ok(uri) => uri,
            Err(error) => return refuse("an endpoint in the metadata is not secure", error),
        };
        let trusted = uri.host().eq_ignore_ascii_case(&issuer.host())
            || self.trusted_hosts.iter().any(|host| host.eq_ignore_ascii_case(uri.host()));
        if !trusted {
            let error = BuildError::new(name, &uri, "trust_host(..) allows another host");
            return refuse("an endpoint is on another host than its issuer", error);
        }
        Ok(uri)
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
            token_endpoint: endpoint("token_endpoint"),
            jwks_uri: endpoint("jwks_uri"),
            introspection_endpoint: endpoint("introspection_endpoint"),
            revocation_endpoint: endpoint("revocation_endpoint"),
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
            let keys = |codec| decode(codec, &with(uri)).unwrap().jwks_uri();
            assert_eq!(keys(&strict).is_ok(), home, "{uri}");
            assert_eq!(keys(&open).is_ok(), listed, "{uri}");
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_named_and_harms_no_other() {
        let body = r#"{"issuer":"https://idp.example/r","jwks_uri":"https://idp.example/k",
            "revocation_endpoint":"https://elsewhere.example/r"}"#;
        let metadata = decode(&MetadataCodec::new(), body).unwrap();
        assert_eq!(metadata.jwks_uri().unwrap().to_string(), "https://idp.example/k");
        let chain = |error: Error| std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            chain(metadata.revocation_endpoint().unwrap_err()),
            "revocation_endpoint `https://elsewhere.example/r`: trust_host(..) allows another host"
        );
        assert_eq!(
            chain(metadata.token_endpoint().unwrap_err()),
            "token_endpoint `https://idp.example/r`: is not in the metadata of this issuer"
        );
    }
}
