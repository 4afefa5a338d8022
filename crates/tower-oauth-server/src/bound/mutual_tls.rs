use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_oauth_jose::CertificateDigest;

use super::PeerCertificate;

type Read = Arc<dyn Fn(&Parts) -> Option<PeerCertificate> + Send + Sync>;
type TrustedHop = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Takes tokens that are bound to the client's TLS certificate (RFC 8705 §3), for
/// [`RequireTokenLayer::mutual_tls`](crate::RequireTokenLayer::mutual_tls).
///
/// Such a token has `cnf` with `x5t#S256`, and comes in the scheme `Bearer`. It is let in if the certificate that the client has shown
/// has that SHA-256 digest. No certificate, and another one: 401. Whether a certificate is in date and who has issued it is
/// for TLS to judge, or for nobody: the issuer of the token has vouched for this one.
///
/// The certificate is taken
///
/// 1. from a header, if the request comes from a hop that you trust to set it, and then from nowhere else: on that connection the proxy's
///    own certificate may stand;
/// 2. else from the connection: the [`PeerCertificate`] in the extensions of the request, or what [`peer_certificate`](Self::peer_certificate) finds.
///
/// A header from anybody else counts for nothing. The proxy has to remove what its own clients send under that name.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use tower_oauth_server::{MutualTls, PeerCertificate};
///
/// // On the connection, where the acceptor leaves a `PeerCertificate`:
/// let direct = MutualTls::new();
///
/// // In tonic, whose server leaves `TlsConnectInfo` in the extensions:
/// use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
/// let tonic = MutualTls::new().peer_certificate(|head| {
///     let info = head.extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
///     info.peer_certs()?.first().map(PeerCertificate::from_der)
/// });
///
/// // Behind a proxy: axum's `ConnectInfo` says who is at the other end.
/// use axum::extract::ConnectInfo;
/// use std::net::SocketAddr;
/// let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
/// let behind_a_proxy = MutualTls::new().trust_client_cert_header_if(move |head| {
///     head.extensions.get::<ConnectInfo<SocketAddr>>().is_some_and(|peer| peer.0.ip() == proxy)
/// });
/// ```
#[derive(Clone)]
#[must_use]
pub struct MutualTls {
    peer_certificate: Read,
    header: Option<(TrustedHop, Read)>,
    required: bool,
}

impl MutualTls {
    /// Takes the certificate from the [`PeerCertificate`] in the extensions of the request. Tokens that are not bound to one are let in too.
    pub fn new() -> Self {
        Self {
            peer_certificate: Arc::new(|head| head.extensions.get().copied()),
            header: None,
            required: false,
        }
    }

    /// Refuses tokens that are not bound to a certificate.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Takes the connection's certificate from here instead of the extension. The head is the client's word, all but its extensions: do not read
    /// headers here.
    pub fn peer_certificate(
        mut self,
        read: impl Fn(&Parts) -> Option<PeerCertificate> + Send + Sync + 'static,
    ) -> Self {
        self.peer_certificate = Arc::new(read);
        self
    }

    /// Takes the certificate from `Client-Cert` (RFC 9440) in requests of which this says that they come from a trusted hop.
    ///
    /// Tell it by the connection (an address, a certificate, a listener of its own) and not by anything that a client could send. Of this method and
    /// the next the last call counts.
    pub fn trust_client_cert_header_if(
        mut self,
        from_a_trusted_hop: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        let read = |head: &Parts| PeerCertificate::of_client_cert(&head.headers);
        self.header = Some((Arc::new(from_a_trusted_hop), Arc::new(read)));
        self
    }

    /// Takes the certificate's `Hash` from `X-Forwarded-Client-Cert`, as Envoy and its kin write it, in requests of which this says that they
    /// come from a trusted hop. There has to be exactly one element: let the proxy `SANITIZE_SET`.
    pub fn trust_forwarded_client_cert_header_if(
        mut self,
        from_a_trusted_hop: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        let read = |head: &Parts| PeerCertificate::of_forwarded_client_cert(&head.headers);
        self.header = Some((Arc::new(from_a_trusted_hop), Arc::new(read)));
        self
    }

    pub(super) const fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn certificate(&self, head: &Parts) -> Option<CertificateDigest> {
        let certificate = match &self.header {
            Some((trusted_hop, read)) if trusted_hop(head) => read(head),
            _ => (self.peer_certificate)(head),
        };
        certificate.map(PeerCertificate::digest)
    }
}

impl Default for MutualTls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MutualTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutualTls")
            .field("header", &self.header.is_some())
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
