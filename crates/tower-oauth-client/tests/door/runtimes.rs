//! Panics, and runtimes that end: an error or a new try, never a hang.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};
use tower::{Service, service_fn};
use tower_oauth_client::{Error, ErrorKind, Need, Token, TokenCache, TokenSource};
use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_test::ManualClock;

use crate::rig::{Mint, ms};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn response(text: &str) -> TokenResponse {
    TokenResponse::bearer(text, Some(ms(100_000)))
}

/// A cache over a service that is made of a closure over the number of the call.
fn cache<F>(act: impl Fn(usize) -> F + Clone + Send + 'static) -> TokenCache
where
    F: Future<Output = Result<TokenResponse, Error>> + Send + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |_: TokenRequest| act(calls.fetch_add(1, SeqCst)));
    TokenCache::builder().token_service(service).build().unwrap()
}

/// A cache whose service never answers this call; and what says that the call has begun.
fn cache_that_loses_call(lost: usize) -> (TokenCache, Receiver<()>) {
    let (begins, begun) = channel();
    let tokens = cache(move |call| {
        let begins = begins.clone();
        async move {
            if call == lost {
                begins.send(()).unwrap();
                pending().await
            } else {
                Ok(response(&format!("t{call}")))
            }
        }
    });
    (tokens, begun)
}

#[tokio::test]
async fn r17_a_panic_is_an_error_to_all_who_wait_and_the_next_call_starts_anew() {
    let tokens = cache(|call| async move {
        tokio::task::yield_now().await;
        match call {
            0 | 2 => panic!("of the token service; this is part of the test"),
            call => Ok(response(&format!("t{call}"))),
        }
    });
    let (one, two) = tokio::join!(tokens.fetch(Need::Any), tokens.fetch(Need::Any));
    for told in [one, two] {
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Panicked);
    }
    let token = tokens.fetch(Need::Any).await.unwrap();
    assert_eq!(token.header(), "Bearer t1");

    // The one that is refused is there again after the panic, and can be refused again.
    token.mark_accepted();
    let told = tokens.fetch(Need::Unlike(token.id())).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Panicked);
    assert_eq!(tokens.peek().unwrap().id(), token.id());
    let next = tokens.fetch(Need::Unlike(token.id())).await.unwrap();
    assert_eq!(next.header(), "Bearer t3");
}

#[tokio::test]
async fn r17_a_panic_that_nobody_waited_for_blocks_nobody() {
    let tokens = cache(|call| async move {
        assert_ne!(call, 1, "this is part of the test");
        Ok(response(&format!("t{call}")))
    });
    let token = tokens.fetch(Need::Any).await.unwrap();
    drop(tokens.fetch(Need::Unlike(token.id())));
    tokio::task::yield_now().await;
    assert_eq!(tokens.fetch(Need::Any).await.unwrap().header(), "Bearer t2");
}

#[test]
fn r17_a_caller_whose_leaders_runtime_ends_leads_itself() {
    let (leading, waiting) = (runtime(), runtime());
    let (tokens, begun) = cache_that_loses_call(0);
    let mut waiters = Vec::new();
    leading.block_on(async { drop(tokens.fetch(Need::Any)) });
    begun.recv().unwrap();
    for _ in 0..10 {
        waiters.push(waiting.spawn(tokens.fetch(Need::Any)));
    }
    // Each has joined the flight: it did so in `fetch` itself.
    leading.shutdown_background();
    for waiter in waiters {
        assert_eq!(waiting.block_on(waiter).unwrap().unwrap().header(), "Bearer t1");
    }
}

#[test]
fn r17_a_replacement_that_is_lost_with_its_runtime_is_made_again() {
    let (leading, waiting) = (runtime(), runtime());
    let (tokens, begun) = cache_that_loses_call(1);
    let token = waiting.block_on(tokens.fetch(Need::Any)).unwrap();
    leading.block_on(async { drop(tokens.fetch(Need::Unlike(token.id()))) });
    begun.recv().unwrap();
    let joined = tokens.fetch(Need::Unlike(token.id()));
    leading.shutdown_background();
    assert_eq!(waiting.block_on(joined).unwrap().header(), "Bearer t2");
}

#[test]
fn r17_without_a_runtime_there_is_an_error_and_no_panic() {
    let clock = ManualClock::new();
    let mint = Mint::new().life(Some(100));
    let tokens = runtime().block_on(async { mint.cache_with(clock.clone()) });
    let poll_once = |need| {
        let mut fetch = pin!(tokens.fetch(need));
        fetch.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    let no_runtime = |polled: Poll<Result<Token, Error>>| match polled {
        Poll::Ready(Err(error)) => error.kind() == ErrorKind::NoRuntime,
        _ => false,
    };
    assert!(no_runtime(poll_once(Need::Any)));

    // What is at hand needs no runtime; a refresh that is due waits for somebody who has one.
    let token = runtime().block_on(tokens.fetch(Need::Any)).unwrap();
    assert!(matches!(poll_once(Need::Any), Poll::Ready(Ok(_))));
    token.mark_accepted();
    clock.advance(ms(85_000));
    assert_eq!(tokens.peek().unwrap().id(), token.id());
    assert!(no_runtime(poll_once(Need::Unlike(token.id()))));
    assert_eq!(tokens.peek().unwrap().id(), token.id(), "given back");
    // Not even polled: the next caller with a runtime makes good for it.
    drop(tokens.fetch(Need::Unlike(token.id())));
    let next = runtime().block_on(tokens.fetch(Need::Unlike(token.id()))).unwrap();
    assert_ne!(next.id(), token.id());
}

#[tokio::test]
async fn a_token_service_that_is_ready_late_is_waited_for() {
    #[derive(Clone)]
    struct Late(bool);

    impl Service<TokenRequest> for Late {
        type Response = TokenResponse;
        type Error = Error;
        type Future = std::future::Ready<Result<TokenResponse, Error>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(Ok(()));
            }
            let waker = cx.waker().clone();
            std::thread::spawn(move || waker.wake());
            Poll::Pending
        }

        fn call(&mut self, _: TokenRequest) -> Self::Future {
            assert!(self.0, "called without being ready");
            std::future::ready(Ok(response("late")))
        }
    }

    let tokens = TokenCache::builder().token_service(Late(false)).build().unwrap();
    assert_eq!(tokens.fetch(Need::Any).await.unwrap().header(), "Bearer late");
}
