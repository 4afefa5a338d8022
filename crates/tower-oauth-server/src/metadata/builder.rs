use std::time::Duration;

use http::HeaderValue;
use serde_json::{Map, Value};
use tower_oauth_core::{BuildError, EndpointUri, Issuer, Scopes};

use super::document::{Document, ResourceMetadata};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Builds a [`ResourceMetadata`]. What is not said is not in the document, except that tokens are taken in the header.
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceMetadataBuilder {
    resource: String,
    authorization_servers: Vec<String>,
    scopes: Vec<String>,
    /// The members that need no check.
    members: Map<String, Value>,
    links: Vec<(&'static str, String)>,
    max_age: Duration,
}

impl ResourceMetadataBuilder {
    pub(super) fn new(resource: String) -> Self {
        Self {
            resource,
            authorization_servers: Vec::new(),
            scopes: Vec::new(),
            members: Map::new(),
            links: Vec::new(),
            max_age: Duration::from_secs(60 * 60),
        }
    }

    /// `authorization_servers`: an issuer whose tokens are taken here, as it calls itself. Called again it adds another one.
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// `scopes_supported`: the scopes that a client may want to ask for.
    pub fn scopes_supported<T: Into<String>>(
        mut self,
        scopes: impl IntoIterator<Item = T>,
    ) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// `resource_name`: what a human may call it.
    pub fn resource_name(self, name: impl Into<String>) -> Self {
        self.member("resource_name", name.into())
    }

    /// `resource_documentation`: a page for developers.
    pub fn resource_documentation(mut self, uri: impl Into<String>) -> Self {
        self.links.push(("resource_documentation", uri.into()));
        self
    }

    /// `resource_policy_uri`: a page that says what may be done with the data.
    pub fn resource_policy_uri(mut self, uri: impl Into<String>) -> Self {
        self.links.push(("resource_policy_uri", uri.into()));
        self
    }

    /// `dpop_bound_access_tokens_required`: only tokens that are bound by DPoP (RFC 9449) are taken.
    pub fn dpop_bound_access_tokens_required(self, required: bool) -> Self {
        self.member("dpop_bound_access_tokens_required", required)
    }

    /// `dpop_signing_alg_values_supported`: the algorithms of DPoP proofs that are taken.
    pub fn dpop_signing_alg_values_supported<T: Into<String>>(
        self,
        algorithms: impl IntoIterator<Item = T>,
    ) -> Self {
        let algorithms: Vec<String> = algorithms.into_iter().map(Into::into).collect();
        self.member("dpop_signing_alg_values_supported", algorithms)
    }

    /// `tls_client_certificate_bound_access_tokens`: tokens that are bound by mutual TLS (RFC 8705) are taken.
    pub fn tls_client_certificate_bound_access_tokens(self, supported: bool) -> Self {
        self.member("tls_client_certificate_bound_access_tokens", supported)
    }

    /// How long the document may be cached; one hour by default, in whole seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Writes the document.
    ///
    /// # Errors
    /// The resource, an authorization server or a link is no URL that is `https` or on a loopback address; the resource has a fragment or
    /// a query; an entry of `scopes_supported` is not one scope token. The error names the value.
    pub fn build(self) -> Result<ResourceMetadata, BuildError> {
        let (origin, path) = split(&self.resource)?;
        let path = format!("{WELL_KNOWN}{path}");
        let uri = format!("{origin}{path}");
        let mut document = self.members;
        document.insert("resource".into(), self.resource.clone().into());
        for issuer in &self.authorization_servers {
            Issuer::parse(issuer).map_err(|error| error.with_option("authorization_server"))?;
        }
        if !self.authorization_servers.is_empty() {
            document.insert("authorization_servers".into(), self.authorization_servers.into());
        }
        Scopes::new(&self.scopes).map_err(|error| error.with_option("scopes_supported"))?;
        if !self.scopes.is_empty() {
            document.insert("scopes_supported".into(), self.scopes.into());
        }
        for (name, link) in self.links {
            EndpointUri::parse(&link).map_err(|error| error.with_option(name))?;
            document.insert(name.into(), link.into());
        }
        // The door takes tokens nowhere else (RFC 6750 §2.1).
        document.insert("bearer_methods_supported".into(), vec!["header"].into());
        let cache_control = format!("public, max-age={}", self.max_age.as_secs());
        Ok(ResourceMetadata::new(Document {
            resource: self.resource,
            uri,
            path,
            json: Value::Object(document).to_string().into(),
            cache_control: HeaderValue::try_from(cache_control)
                .unwrap_or(const { HeaderValue::from_static("public") }),
        }))
    }

    fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }
}

/// Origin and path of a resource. "Any terminating slash following the host component" is not part of the latter (RFC 9728 §3.1).
fn split(resource: &str) -> Result<(&str, &str), BuildError> {
    EndpointUri::parse(resource).map_err(|error| error.with_option("resource"))?;
    let refuse = |why| Err(BuildError::new("resource", resource, why));
    if resource.contains('?') {
        return refuse("must not have a query");
    }
    // It stands in a quoted string of each challenge.
    if !resource.chars().all(crate::render::is_plain) {
        return refuse("has a character that has to be percent-encoded");
    }
    let host_at = resource.find("://").map_or(0, |at| at + 3);
    let after_host = resource.get(host_at..).and_then(|rest| rest.find('/'));
    let path_at = after_host.map_or(resource.len(), |at| host_at + at);
    let (origin, path) = resource.split_at_checked(path_at).unwrap_or((resource, ""));
    Ok((origin, if path == "/" { "" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_stands_between_host_and_path() {
        let cases = [
            ("https://a.example", "https://a.example", ""),
            ("https://a.example/", "https://a.example", ""),
            ("https://a.example:8443/x", "https://a.example:8443", "/x"),
            ("https://a.example/x/", "https://a.example", "/x/"),
            ("https://a.example/x/y", "https://a.example", "/x/y"),
            ("http://127.0.0.1:80/x", "http://127.0.0.1:80", "/x"),
        ];
        for (resource, origin, path) in cases {
            assert_eq!(split(resource).unwrap(), (origin, path));
            let metadata = ResourceMetadata::builder(resource).build().unwrap();
            assert_eq!(metadata.path(), format!("/.well-known/oauth-protected-resource{path}"));
            assert_eq!(metadata.uri(), format!("{origin}{}", metadata.path()));
            assert_eq!(metadata.resource(), resource);
        }
    }
}
