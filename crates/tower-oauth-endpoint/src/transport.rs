use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tower_oauth_core::BuildError;

use crate::HttpClient;

/// Shorter than the total deadline, so that a dead address leaves time for the next one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle connections are few and short-lived: an endpoint is called once in a token's life.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl HttpClient {
    /// The default transport: HTTP/1.1 by hyper, TLS by rustls on aws-lc-rs, the system's root
    /// certificates. It follows no redirect and knows no proxy. Plain `http` is for loopback
    /// addresses; [`Endpoint`](crate::Endpoint) sees to that.
    ///
    /// The aws-lc-rs provider is named explicitly: rustls' process-wide default is neither read nor
    /// set. Without any system root certificate each `https` call fails, not this function.
    ///
    /// # Errors
    /// rustls refuses the provider's protocol versions.
    pub fn transport() -> Result<Self, BuildError> {
        Self::transport_builder().build()
    }

    /// The default transport with a client certificate (RFC 8705) or root certificates of your own.
    ///
    /// ```no_run
    /// use tower_oauth_endpoint::HttpClient;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let http = HttpClient::transport_builder()
    ///     .identity_pem(std::fs::read("client.crt")?, std::fs::read("client.key")?)
    ///     .build()?;
    /// # drop(http); Ok(()) }
    /// ```
    pub fn transport_builder() -> TransportBuilder {
        TransportBuilder { identity: None, roots: Vec::new() }
    }
}

/// Builds the default transport; made by [`HttpClient::transport_builder`]. `Debug` shows no key.
#[must_use]
pub struct TransportBuilder {
    identity: Option<(Vec<u8>, Vec<u8>)>,
    roots: Vec<Vec<u8>>,
}

impl TransportBuilder {
    /// Shows this certificate (with its chain, the own one first) to servers that ask for one, and proves it with this key
    /// (PKCS #8, PKCS #1 or SEC 1); both in PEM. They are read once: a certificate that is renewed needs a new client.
    pub fn identity_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        private_key: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((certificates.into(), private_key.into()));
        self
    }

    /// Trusts these root certificates, in PEM, and not the system's. May be called several times.
    pub fn root_certificates_pem(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.roots.push(certificates.into());
        self
    }

    /// Reads the certificates and the key.
    ///
    /// # Errors
    /// Names what cannot be read; never a key. rustls refuses the provider's protocol versions.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|_| BuildError::new("transport", "tls", "no usable protocol version"))
        };
        let with_roots = if self.roots.is_empty() {
            match builder()?.with_native_roots() {
                Ok(with_roots) => with_roots,
                Err(_) => builder()?.with_root_certificates(RootCertStore::empty()),
            }
        } else {
            builder()?.with_root_certificates(roots(&self.roots)?)
        };
        let tls = match &self.identity {
            None => with_roots.with_no_client_auth(),
            Some((chain, key)) => {
                let refuse = |why| BuildError::new("identity_pem", "", why);
                let chain =
                    certificates(chain).ok_or_else(|| refuse("has no certificate in PEM"))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| refuse("has no private key in PEM"))?;
                with_roots
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| refuse("the key is not usable, or not the certificate's"))?
            }
        };
        Ok(client(tls))
    }
}

impl fmt::Debug for TransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportBuilder")
            .field("has_identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

fn client(tls: ClientConfig) -> HttpClient {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(2)
        .build(connector);
    HttpClient::new(client)
}

fn roots(texts: &[Vec<u8>]) -> Result<RootCertStore, BuildError> {
    let refuse = |why| BuildError::new("root_certificates_pem", "", why);
    let mut store = RootCertStore::empty();
    for text in texts {
        for certificate in certificates(text).ok_or_else(|| refuse("has no certificate in PEM"))? {
            store.add(certificate).map_err(|_| refuse("has a certificate that is no root"))?;
        }
    }
    Ok(store)
}

/// At least one, and nothing that only looks like one.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|certificates| !certificates.is_empty())
}
