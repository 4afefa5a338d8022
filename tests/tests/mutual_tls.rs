//! Certificate-bound tokens (RFC 8705 §3): a real authorization server binds the token, a real TLS handshake shows the certificate.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::byte_serialize;
use inventory_proto::Item;
use inventory_proto::inventory_client::InventoryClient;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, ServerTlsConfig};
use tonic::{Code, Status};
use tower_oauth::{Jwt, MutualTls, PeerCertificate, RequireTokenLayer};
use tower_oauth_tests::idp::{Idp, IdpConfig, RegisteredClient, Resource, SigningAlg};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::{raw_http, resource};

const ID: &str = "orders";
const AUDIENCE: &str = "https://inventory.test";

fn secret() -> String {
    format!("{CANARY}-secret")
}

fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([name.to_owned()]).unwrap()
}

fn der(certificate: &CertifiedKey<KeyPair>) -> CertificateDer<'static> {
    certificate.cert.der().clone()
}

fn key(certificate: &CertifiedKey<KeyPair>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap()
}

fn roots(certificates: &[&CertifiedKey<KeyPair>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    certificates.iter().for_each(|certificate| roots.add(der(certificate)).unwrap());
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

// === the server ===

/// What the server knows of a connection, for [`ConnectInfo`].
#[derive(Clone)]
struct Peer(Option<PeerCertificate>);

/// axum's listener with TLS round its connections.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let certificates = stream.io().get_ref().1.peer_certificates();
        Self(certificates.and_then(<[_]>::first).map(PeerCertificate::from_der))
    }
}

/// Serves behind TLS that asks for a client certificate and can do without.
async fn serve(
    idp: &Idp,
    own: &CertifiedKey<KeyPair>,
    clients: &[&CertifiedKey<KeyPair>],
) -> SocketAddr {
    let tls =
        MutualTls::new().peer_certificate(|head| head.extensions.get::<ConnectInfo<Peer>>()?.0.0);
    let jwt = Jwt::issuer(idp.issuer()).audience(AUDIENCE).build().unwrap();
    let app = resource::routes().layer(RequireTokenLayer::new(jwt).mutual_tls(tls));

    serve_app(app, own, clients).await
}

async fn serve_app(
    app: axum::Router,
    own: &CertifiedKey<KeyPair>,
    clients: &[&CertifiedKey<KeyPair>],
) -> SocketAddr {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(clients).into(), provider())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![der(own)], key(own))
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let listener = TlsListener { tcp, acceptor: Arc::new(config).into() };
    let service = app.into_make_service_with_connect_info::<Peer>();
    // It ends with the test's runtime.
    drop(tokio::spawn(async move { axum::serve(listener, service).await.unwrap() }));
    address
}

// === the client ===

/// `GET /whoami` over a connection of its own: the answer's text.
async fn whoami(
    server: SocketAddr,
    trusted: &CertifiedKey<KeyPair>,
    shown: Option<&CertifiedKey<KeyPair>>,
    token: &str,
    more: &str,
) -> String {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&[trusted]));
    let config = match shown {
        Some(own) => config.with_client_auth_cert(vec![der(own)], key(own)).unwrap(),
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(server).await.unwrap();
    let name = ServerName::try_from("inventory.test").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = format!(
        "GET /whoami HTTP/1.1\r\nhost: inventory.test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that ends the connection without TLS's own goodbye has still answered.
    let _unclean = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// A token for this client; the proxy in front of the authorization server hands its certificate on.
async fn token(idp: &Idp, certificate: &CertifiedKey<KeyPair>) -> String {
    let pem: String = byte_serialize(certificate.cert.pem().as_bytes()).collect();
    // `+` means a space in forms only.
    let pem = pem.replace('+', "%20");
    let basic = format!("Basic {}", STANDARD.encode(format!("{ID}:{}", secret())));
    let headers = [("authorization", basic.as_str()), ("x-client-certificate", pem.as_str())];
    let form = [("grant_type", "client_credentials"), ("scope", "inventory.read")];
    let answer = raw_http::post_form(&idp.url("/token"), &headers, &form).await.unwrap().json();
    answer["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("no token: {}", answer["error"]))
        .to_owned()
}

async fn idp() -> Idp {
    let client = RegisteredClient::basic(ID, secret()).scope("inventory.read").certificate_bound();
    Idp::start(
        IdpConfig::new()
            .client(client)
            .resource(Resource::jwt(AUDIENCE, SigningAlg::Es256).scope("inventory.read")),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_a_certificate_bound_token_comes_in_over_its_own_certificate_only() {
    logs::print();
    let idp = idp().await;
    let (own, ours, other) =
        (certificate("inventory.test"), certificate("orders.test"), certificate("payroll.test"));
    let server = serve(&idp, &own, &[&ours, &other]).await;
    let token = token(&idp, &ours).await;

    let good = whoami(server, &own, Some(&ours), &token, "").await;
    assert!(good.starts_with("HTTP/1.1 200 "), "{good}");
    assert!(good.ends_with("orders may inventory.read"), "{good}");

    // The forged header says what the handshake did not.
    let forged = format!("client-cert: :{}:\r\n", STANDARD.encode(der(&ours)));
    for (shown, more) in
        [(None, ""), (Some(&other), ""), (None, forged.as_str()), (Some(&other), forged.as_str())]
    {
        let refused = whoami(server, &own, shown, &token, more).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
        assert!(refused.contains("error=\"invalid_token\""), "{refused}");
    }
}

/// One call to tonic's server with this token, over a connection of its own.
async fn count(
    server: &resource::Server,
    trusted: &CertifiedKey<KeyPair>,
    shown: Option<&CertifiedKey<KeyPair>>,
    token: &str,
    forged: Option<&str>,
) -> Result<i64, Status> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(trusted.cert.pem()))
        .domain_name("inventory.test");
    if let Some(own) = shown {
        tls = tls.identity(identity(own));
    }
    let uri = server.uri().replace("http://", "https://");
    let channel = Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect_lazy();
    let mut request = tonic::Request::new(Item { sku: "sku".into() });
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
    if let Some(forged) = forged {
        metadata.insert("client-cert", forged.parse().unwrap());
    }
    let answer = InventoryClient::new(channel).count(request).await?;
    Ok(answer.into_inner().quantity)
}

fn identity(certificate: &CertifiedKey<KeyPair>) -> Identity {
    Identity::from_pem(certificate.cert.pem(), certificate.signing_key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_over_tonic_too_it_is_the_certificate_of_the_handshake_that_counts() {
    logs::print();
    let idp = idp().await;
    let (own, ours, other) =
        (certificate("inventory.test"), certificate("orders.test"), certificate("payroll.test"));
    let tls = MutualTls::new().peer_certificate(|head| {
        let info = head.extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
        info.peer_certs()?.first().map(PeerCertificate::from_der)
    });
    let jwt = Jwt::issuer(idp.issuer()).audience(AUDIENCE).build().unwrap();
    let config = ServerTlsConfig::new()
        .identity(identity(&own))
        .client_ca_root(Certificate::from_pem(ours.cert.pem() + &other.cert.pem()))
        .client_auth_optional(true);
    let builder = tonic::transport::Server::builder().tls_config(config).unwrap();
    let server =
        resource::serve_grpc_by(builder, RequireTokenLayer::new(jwt).mutual_tls(tls)).await;
    let token = token(&idp, &ours).await;

    assert_eq!(count(&server, &own, Some(&ours), &token, None).await.unwrap(), 3);
    let forged = format!(":{}:", STANDARD.encode(der(&ours)));
    for (shown, forged) in [
        (None, None),
        (Some(&other), None),
        (None, Some(forged.as_str())),
        (Some(&other), Some(forged.as_str())),
    ] {
        let status = count(&server, &own, shown, &token, forged).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        assert!(status.metadata().contains_key("www-authenticate"), "not TLS, but the door");
    }
}

// === the client's own certificate at the token endpoint ===

/// A token for whoever shows a certificate and names itself, and brings no other proof.
async fn issue(
    ConnectInfo(Peer(shown)): ConnectInfo<Peer>,
    headers: axum::http::HeaderMap,
    form: String,
) -> (axum::http::StatusCode, axum::Json<serde_json::Value>) {
    let is_named = form_urlencoded::parse(form.as_bytes())
        .any(|(name, value)| name == "client_id" && value == ID);
    let has_secret = headers.contains_key("authorization") || form.contains("client_secret");
    if shown.is_none() || !is_named || has_secret {
        let refused = serde_json::json!({ "error": "invalid_client" });
        return (axum::http::StatusCode::UNAUTHORIZED, axum::Json(refused));
    }
    let token = serde_json::json!({ "access_token": "bound", "token_type": "Bearer" });
    (axum::http::StatusCode::OK, axum::Json(token))
}

#[tokio::test]
async fn a_client_with_a_certificate_needs_no_secret() {
    use tower_oauth::{Client, ErrorKind, HttpClient, Need, OAuthCode, TokenCache, TokenSource};
    logs::print();
    let (own, client) = (certificate("localhost"), certificate("orders.test"));
    let app = axum::Router::new().route("/token", axum::routing::post(issue));
    let server = serve_app(app, &own, &[&client]).await;
    let tokens = |http: HttpClient| {
        TokenCache::builder()
            .token_endpoint(format!("https://localhost:{}/token", server.port()))
            .client(Client::mutual_tls(ID))
            .http_client(http)
            .build()
            .unwrap()
    };
    let transport = || HttpClient::transport_builder().root_certificates_pem(own.cert.pem());
    let shown = transport().identity_pem(client.cert.pem(), client.signing_key.serialize_pem());
    let token = tokens(shown.build().unwrap()).fetch(Need::Any).await.unwrap();
    assert_eq!(token.header(), "Bearer bound");
    let error = tokens(transport().build().unwrap()).fetch(Need::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OAuth(OAuthCode::InvalidClient));
    // The system's roots do not know the server.
    let error = tokens(HttpClient::transport().unwrap()).fetch(Need::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_and_no_key_is_shown() {
    use tower_oauth::HttpClient;
    let (one, other) = (certificate("a.test"), certificate("b.test"));
    let (pem, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let cases = [
        ("identity_pem ``: has no certificate", key.clone(), key.clone()),
        ("identity_pem ``: has no private key", pem.clone(), pem.clone()),
        ("identity_pem ``: the key is not", pem.clone(), other.signing_key.serialize_pem()),
    ];
    for (start, certificates, key) in cases {
        let built = HttpClient::transport_builder().identity_pem(certificates, key).build();
        let text = built.unwrap_err().to_string();
        assert!(text.starts_with(start), "{text}");
    }
    let built = HttpClient::transport_builder().root_certificates_pem("none").build();
    assert!(built.unwrap_err().to_string().starts_with("root_certificates_pem ``"));
    let shown = HttpClient::transport_builder().identity_pem(pem, key.clone());
    assert!(!format!("{shown:?}").contains(&key[40..60]));
}
