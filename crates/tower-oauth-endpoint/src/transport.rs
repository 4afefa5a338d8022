use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|_| BuildError::new("transport", "tls", "no usable protocol version"))
        };
        let tls = match builder()?.with_native_roots() {
            Ok(with_roots) => with_roots.with_no_client_auth(),
            Err(_) => {
                builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
            }
        };
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
        Ok(Self::new(client))
    }
}
