//! What a caller is told: chains that do not repeat themselves, codes that survive.

use std::error::Error as StdError;
use std::fmt;
use std::future::ready;
use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    ClientError, Error, ErrorKind, InjectTokenLayer, RetryInvalidTokenLayer, Token,
};

use crate::rig::{Mint, Strict, request};

/// The errors of both layers where there is no token, for this reason.
async fn no_token(error: Error) -> [ClientError; 2] {
    let mint = Mint::new();
    for _ in 0..4 {
        mint.then(Err(error.clone()));
    }
    let tokens = mint.cache();
    let inject = InjectTokenLayer::new(tokens.clone()).layer(Strict::that_likes(|_| true));
    let retry = RetryInvalidTokenLayer::new(tokens).layer(Strict::that_likes(|_| true));
    [inject.oneshot(request()).await.unwrap_err(), retry.oneshot(request()).await.unwrap_err()]
}

/// The errors of both layers where the inner service fails with this.
async fn broken<E>(make: impl Fn() -> E + Clone) -> [ClientError; 2]
where
    E: StdError + Send + Sync + 'static,
{
    let inner =
        service_fn(move |_: Request<Full<Bytes>>| ready(Err::<Response<Full<Bytes>>, E>(make())));
    let token = Token::bearer("fixed").unwrap();
    let inject = InjectTokenLayer::new(token.clone()).layer(inner.clone());
    let retry = RetryInvalidTokenLayer::new(token).layer(inner);
    [inject.oneshot(request()).await.unwrap_err(), retry.oneshot(request()).await.unwrap_err()]
}

fn chain(error: &dyn StdError) -> Vec<String> {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn the_chain_tells_why_there_is_no_token() {
    let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "refused by 10.0.0.1");
    let error = Error::new(ErrorKind::Transport).with_source(cause);
    for error in no_token(error).await {
        let ClientError::Token(token) = &error else { panic!("{error:?}") };
        assert_eq!(token.error().kind(), ErrorKind::Transport);
        let chain = chain(&error);
        assert_eq!(chain[..2], ["request not sent", "no access token"]);
        assert_eq!(chain[chain.len() - 2..], ["connection failed", "refused by 10.0.0.1"]);
        // A `tonic::Status` stands alone where it is found, so it says all that it knows.
        assert_eq!(chain.len(), if cfg!(feature = "tonic") { 5 } else { 4 }, "{chain:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_inner_error_is_there_unchanged_and_said_once() {
    for error in broken(|| io::Error::new(io::ErrorKind::BrokenPipe, "broken pipe")).await {
        assert_eq!(chain(&error), ["request failed", "broken pipe"]);
        let ClientError::Inner(inner) = error else { panic!("no inner error") };
        assert_eq!(inner.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test(start_paused = true)]
async fn stacked_layers_keep_the_innermost_error_in_the_chain() {
    #[derive(Debug)]
    struct Mine;

    impl fmt::Display for Mine {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("mine")
        }
    }

    impl StdError for Mine {}

    let inner = service_fn(|_: Request<Full<Bytes>>| ready(Err::<Response<Full<Bytes>>, _>(Mine)));
    let token = Token::bearer("fixed").unwrap();
    let inner = InjectTokenLayer::new(token.clone()).layer(inner);
    let error = RetryInvalidTokenLayer::new(token).layer(inner).oneshot(request()).await;
    let error = error.unwrap_err();
    assert_eq!(chain(&error).last().unwrap(), "mine");
    let mut sources = std::iter::successors(Some(&error as &dyn StdError), |e| (*e).source());
    assert!(sources.any(|error| error.is::<Mine>()));
}

#[cfg(feature = "tonic")]
mod tonic_status {
    use tonic::{Code, Status};
    use tower_oauth_client::OAuthCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_that_passes_is_unavailable_and_a_refusal_is_unauthenticated() {
        let table = [
            (ErrorKind::Transport, Code::Unavailable),
            (ErrorKind::Timeout, Code::Unavailable),
            (ErrorKind::Status(503), Code::Unavailable),
            (ErrorKind::Status(404), Code::Unauthenticated),
            (ErrorKind::OAuth(OAuthCode::InvalidClient), Code::Unauthenticated),
            (ErrorKind::NarrowScope, Code::Unauthenticated),
            (ErrorKind::Configuration("x"), Code::Unauthenticated),
        ];
        for (kind, code) in table {
            for error in no_token(kind.into()).await {
                let status = Status::from_error(Box::new(error));
                assert_eq!(status.code(), code, "{kind:?}");
                assert_eq!(status.message(), format!("no access token: {kind}"));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_status_keeps_its_code_also_in_a_chain() {
        #[derive(Debug)]
        struct Wrapped(Status);

        impl fmt::Display for Wrapped {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("wrapped")
            }
        }

        impl StdError for Wrapped {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }

        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::NotFound, Code::Cancelled] {
            for error in broken(|| Status::new(code, "said")).await {
                let status = Status::from_error(Box::new(error));
                assert_eq!((status.code(), status.message()), (code, "said"));
            }
            for error in broken(|| Wrapped(Status::new(code, "said"))).await {
                assert_eq!(Status::from_error(Box::new(error)).code(), code);
            }
        }
    }
}
