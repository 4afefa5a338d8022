//! Connections, and what counts as an answer. Nothing here knows of tokens.

use std::error::Error;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::metadata::MetadataValue;
use tower_oauth::{BoxError, HttpClient};

/// The header by which a request asks the slow network in front of our servers to be kept.
pub(crate) const HOLD: &str = "x-hold";

/// A hyper client for the servers of this process.
///
/// It speaks HTTP/2 without TLS, so that 500 requests in flight are 500 streams of one
/// connection and not 500 file descriptors.
pub(crate) fn plain() -> HttpClient {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    HttpClient::new(Client::builder(TokioExecutor::new()).http2_only(true).build(tcp))
}

/// A hyper client for the world: http, or https by the system's root certificates (and HTTP/2
/// then, where the other side has it).
pub(crate) fn public(uri: &http::Uri) -> Result<HttpClient, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new());
    if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Ok(HttpClient::new(client.build(tcp)));
    }
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp);
    Ok(HttpClient::new(client.build(connector)))
}

/// A GET over HTTP.
pub(crate) fn get(uri: &http::Uri, hold: Option<u32>) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::get(uri);
    if let Some(incident) = hold {
        request = request.header(HOLD, incident);
    }
    request.body(Full::default())
}

/// A question over gRPC.
pub(crate) fn count(hold: Option<u32>) -> tonic::Request<inventory_proto::Item> {
    let mut request = tonic::Request::new(inventory_proto::Item { sku: "bolt-m8".into() });
    if let Some(incident) = hold {
        request.metadata_mut().insert(HOLD, MetadataValue::from(incident));
    }
    request
}

/// The body of a 200, whole. Everything else is an error.
pub(crate) async fn whole<B>(response: Response<B>) -> Result<Bytes, BoxError>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let status = response.status();
    let body = response.into_body().collect().await.map_err(Into::into)?.to_bytes();
    if status == StatusCode::OK { Ok(body) } else { Err(format!("the answer is {status}").into()) }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    // A status that was made of another error repeats it in its own words.
    let told = causes.filter(|error| !error.is::<tonic::Status>() || error.source().is_none());
    told.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
