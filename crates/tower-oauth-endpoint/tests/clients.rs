//! The erased services, and the default transport against real sockets.

// What clippy allows in tests it takes for production code in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt, service_fn};
use tower_oauth_core::{Error, ErrorKind};
use tower_oauth_endpoint::{BoxError, HttpClient, SharedService};

/// Doubles a number. Panics unless this very clone was polled ready; `Send`, but not `Sync`.
#[derive(Default)]
struct Strict {
    ready: Cell<bool>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<u32> for Strict {
    type Response = u32;
    type Error = Error;
    type Future = Ready<Result<u32, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.ready.set(true);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u32) -> Self::Future {
        assert!(self.ready.take(), "called without being ready");
        ready(if number == 0 { Err(ErrorKind::Timeout.into()) } else { Ok(number * 2) })
    }
}

fn is_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}

#[tokio::test]
async fn a_shared_service_drives_a_ready_clone_for_each_call() {
    let shared: SharedService<u32, u32, Error> = SharedService::new(Strict::default());
    is_shareable(&shared);
    assert_eq!(shared.send(1).await.unwrap(), 2);
    assert_eq!(shared.clone().oneshot(2).await.unwrap(), 4);
    // Also by somebody who does not poll it ready, and for several calls at a time.
    let mut held = shared.clone();
    let (one, two) = (held.call(3), held.call(4));
    drop((held, shared));
    assert_eq!((two.await.unwrap(), one.await.unwrap()), (8, 6));
}

#[tokio::test]
async fn a_shared_service_converts_errors_and_shows_nothing() {
    let shared: SharedService<u32, u32, BoxError> = SharedService::new(Strict::default());
    let error = shared.send(0).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Timeout);
    assert_eq!(format!("{shared:?}"), "SharedService");
}

#[tokio::test]
async fn nothing_runs_before_the_future_is_polled() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let shared: SharedService<(), (), io::Error> = SharedService::new(service_fn(move |()| {
        counter.fetch_add(1, SeqCst);
        ready(io::Result::Ok(()))
    }));
    drop(shared.send(()));
    assert_eq!(calls.load(SeqCst), 0);
    shared.send(()).await.unwrap();
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test]
async fn an_http_client_is_any_service_with_any_body() {
    let scripted = service_fn(|request: Request<Full<Bytes>>| async move {
        match request.uri().path() {
            "/broken" => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            _ => Ok(Response::new(request.into_body().map_err(io::Error::other))),
        }
    });
    let http = HttpClient::new(scripted);
    is_shareable(&http);
    assert_eq!(format!("{http:?}"), "HttpClient");

    let request = Request::new(Full::new(Bytes::from("echo")));
    let answer = http.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "echo");

    let request = Request::get("https://idp.example/broken").body(Full::default()).unwrap();
    let error = http.oneshot(request).await.unwrap_err();
    assert_eq!(error.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
}

#[cfg(feature = "transport")]
mod transport {
    use std::time::Duration;

    use tower_oauth_core::EndpointUri;
    use tower_oauth_core::codec::{ClientAuth, Grant, TokenCodec, TokenRequest, TokenResponse};
    use tower_oauth_endpoint::Endpoint;
    use tower_oauth_test::{Endpoint as Of, Fault, ScriptedIssuer};

    use super::*;

    async fn exchange(http: &HttpClient, uri: &str) -> Result<TokenResponse, Error> {
        let auth = ClientAuth::Basic { id: "orders".into(), secret: "s3cret".into() };
        let codec = TokenCodec::new(EndpointUri::parse(uri).unwrap(), auth);
        let request = TokenRequest {
            grant: Grant::ClientCredentials,
            scopes: Default::default(),
            resources: Vec::new(),
            audiences: Vec::new(),
            unlike: None,
        };
        let deadline = Duration::from_millis(500);
        Endpoint::new(codec, http.clone()).with_deadline(deadline).oneshot(request).await
    }

    #[tokio::test]
    async fn the_default_transport_gets_a_token_from_a_real_socket_and_tells_every_trouble() {
        let issuer = ScriptedIssuer::builder().client("orders", "s3cret").build().unwrap();
        let serving = issuer.serve().await.unwrap();
        let http = HttpClient::transport().unwrap();
        let uri = issuer.url(Of::Token);
        assert!(uri.starts_with("http://127.0.0.1:"), "{uri}");

        let token = exchange(&http, &uri).await.unwrap();
        assert!(issuer.is_active(token.access_token.expose()));

        let faults = [
            (Fault::Redirect(issuer.url(Of::Jwks)), ErrorKind::Redirect),
            (Fault::EndlessBody, ErrorKind::TooLarge),
            (Fault::Reset, ErrorKind::Transport),
            (Fault::CutBody, ErrorKind::Transport),
            (Fault::Hang, ErrorKind::Timeout),
            (Fault::DripForever(Duration::from_millis(10)), ErrorKind::Timeout),
        ];
        for (fault, kind) in faults {
            issuer.fault(Of::Token, fault.clone()).times(1);
            assert_eq!(exchange(&http, &uri).await.unwrap_err().kind(), kind, "{fault:?}");
            exchange(&http, &uri).await.unwrap_or_else(|e| panic!("after {fault:?}: {e:?}"));
        }
        assert_eq!(issuer.calls(Of::Jwks), 0, "a redirect is not followed");

        // T01: connection refused; the idle connection in the pool is dead, too.
        issuer.go_dark();
        assert_eq!(exchange(&http, &uri).await.unwrap_err().kind(), ErrorKind::Transport);
        issuer.light_up().unwrap();
        exchange(&http, &uri).await.unwrap();

        // T01: TLS failure, where somebody speaks plain HTTP.
        let tls = uri.replace("http://", "https://");
        assert_eq!(exchange(&http, &tls).await.unwrap_err().kind(), ErrorKind::Transport);
        drop(serving);
    }

    #[test]
    fn the_default_transport_is_made_outside_a_runtime() {
        HttpClient::transport().unwrap();
    }
}

/// Whatever a peer does before HTTP begins, and where there is none: passing trouble, told in time.
#[cfg(feature = "transport")]
#[tokio::test]
async fn t01_no_name_and_no_handshake_are_passing_trouble() {
    use tokio::io::AsyncWriteExt;
    use tower_oauth_core::EndpointUri;
    use tower_oauth_core::codec::{ClientAuth, Grant, TokenCodec, TokenRequest};
    use tower_oauth_endpoint::Endpoint;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // It speaks no TLS.
        while let Ok((mut peer, _)) = listener.accept().await {
            drop(peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
        }
    });
    for uri in [format!("https://127.0.0.1:{port}/token"), "https://nobody.invalid/token".into()] {
        let request = TokenRequest {
            grant: Grant::ClientCredentials,
            scopes: Default::default(),
            resources: Vec::new(),
            audiences: Vec::new(),
            unlike: None,
        };
        let auth = ClientAuth::Basic { id: "orders".into(), secret: "CANARY".into() };
        let codec = TokenCodec::new(EndpointUri::parse(&uri).unwrap(), auth);
        let endpoint = Endpoint::new(codec, HttpClient::transport().unwrap());
        let error = endpoint.oneshot(request).await.unwrap_err();
        // A resolver that does not answer either is one that hangs.
        let is_expected = matches!(error.kind(), ErrorKind::Transport | ErrorKind::Timeout);
        assert!(is_expected && error.is_transient(), "{uri}: {error:?}");
        assert!(!format!("{error:?}").contains("CANARY"));
    }
}
