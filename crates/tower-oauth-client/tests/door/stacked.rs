//! Both layers over one source, in either order, with others between them.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_oauth_client::{
    Error, InjectTokenLayer, Need, RetryInvalidTokenLayer, Token, TokenCache, TokenSource,
};
use tower_oauth_core::BoxFuture;

use crate::rig::{Mint, Strict, ms, request};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

/// A layer that builds a new head and copies the fields; what it does not know is lost.
fn rebuild_request(request: Req) -> Req {
    let (head, body) = request.into_parts();
    let mut rebuilt = Request::builder().method(head.method).uri(head.uri).body(body).unwrap();
    *rebuilt.headers_mut() = head.headers;
    rebuilt
}

/// A layer that builds a new answer.
fn rebuild_response(response: Res) -> Res {
    let (head, body) = response.into_parts();
    let mut rebuilt = Response::builder().status(head.status).body(body).unwrap();
    *rebuilt.headers_mut() = head.headers;
    rebuilt
}

fn strip(mut request: Req) -> Req {
    request.headers_mut().remove(AUTHORIZATION);
    request
}

async fn status<S>(service: S) -> u16
where
    S: Service<Req, Response = Res> + Clone,
    S::Error: Into<BoxError>,
{
    service.oneshot(request()).await.map_err(Into::into).unwrap().status().as_u16()
}

/// A cold start, and the death of the token: in each stack one exchange more, and no failure.
macro_rules! survives {
    ($($stack:expr),+ $(,)?) => {$({
        let mint = Mint::new().takes(ms(50));
        let tokens = mint.cache();
        let strict = Strict::that_likes(|token| token == "Bearer t1");
        let make: fn(TokenCache, Strict) -> _ = $stack;
        assert_eq!(status(make(tokens.clone(), strict.clone())).await, 200);
        assert_eq!(mint.exchanges(), 1);
        let strict = Strict::that_likes(|token| token == "Bearer t2");
        assert_eq!(status(make(tokens.clone(), strict.clone())).await, 200);
        assert_eq!(strict.seen(), ["Bearer t1", "Bearer t2"], stringify!($stack));
        assert_eq!(mint.exchanges(), 2, stringify!($stack));
        assert_eq!(status(make(tokens, strict.clone())).await, 200);
        assert_eq!(strict.seen().len(), 3, stringify!($stack));
    })+};
}

#[tokio::test(start_paused = true)]
async fn in_either_order_and_alone_they_heal() {
    survives![
        |tokens, inner| RetryInvalidTokenLayer::new(tokens).layer(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(InjectTokenLayer::new(tokens.clone()))
            .layer(RetryInvalidTokenLayer::new(tokens))
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(RetryInvalidTokenLayer::new(tokens.clone()))
            .layer(InjectTokenLayer::new(tokens))
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(InjectTokenLayer::new(tokens.clone()))
            .layer(InjectTokenLayer::new(tokens.clone()))
            .layer(RetryInvalidTokenLayer::new(tokens.clone()))
            .layer(InjectTokenLayer::new(tokens))
            .service(inner),
    ];
}

#[tokio::test(start_paused = true)]
async fn layers_between_that_rebuild_requests_or_answers_cut_no_wire() {
    survives![
        |tokens, inner| ServiceBuilder::new()
            .layer(InjectTokenLayer::new(tokens.clone()))
            .map_request(rebuild_request)
            .map_response(rebuild_response)
            .layer(RetryInvalidTokenLayer::new(tokens))
            .map_request(rebuild_request)
            .map_response(rebuild_response)
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(RetryInvalidTokenLayer::new(tokens.clone()))
            .map_request(rebuild_request)
            .map_response(rebuild_response)
            .layer(InjectTokenLayer::new(tokens))
            .map_request(rebuild_request)
            .map_response(rebuild_response)
            .service(inner),
    ];
}

#[tokio::test(start_paused = true)]
async fn tower_layers_below_see_each_attempt_as_a_request_of_its_own() {
    survives![
        // A limit whose one place the first attempt must have left before the second takes it.
        |tokens, inner| ServiceBuilder::new()
            .layer(RetryInvalidTokenLayer::new(tokens))
            .concurrency_limit(1)
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(RetryInvalidTokenLayer::new(tokens))
            .layer(tower::buffer::BufferLayer::new(1))
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .boxed_clone()
            .layer(RetryInvalidTokenLayer::new(tokens))
            .service(inner),
    ];
}

#[tokio::test(start_paused = true)]
async fn r01_retry_in_retry_is_bounded() {
    // A layer between that rebuilds answers and requests cuts the wire: then each replays once.
    for (rebuilds, most) in [(false, 2), (true, 4)] {
        for accepted in [false, true] {
            let mint = Mint::new();
            let tokens = mint.cache();
            if accepted {
                tokens.fetch(Need::Any).await.unwrap().mark_accepted();
            }
            let strict = Strict::that_likes(|_| false);
            let service = ServiceBuilder::new()
                .layer(RetryInvalidTokenLayer::new(tokens.clone()))
                .map_request(
                    move |request| if rebuilds { rebuild_request(request) } else { request },
                )
                .map_response(
                    move |answer| if rebuilds { rebuild_response(answer) } else { answer },
                )
                .layer(RetryInvalidTokenLayer::new(tokens.clone()))
                .service(strict.clone());
            for _ in 0..100 {
                let before = strict.seen().len();
                assert_eq!(status(service.clone()).await, 401);
                let calls = strict.seen().len() - before;
                assert!(calls <= most, "{calls} calls for a request, rebuilds: {rebuilds}");
            }
            let calls = strict.seen().len();
            assert!((101..=108).contains(&calls), "{calls} calls for 100 requests");
            assert!((2..=3).contains(&mint.exchanges()), "{}", mint.exchanges());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_in_retry_heals_with_one_exchange() {
    survives![|tokens, inner| ServiceBuilder::new()
        .layer(RetryInvalidTokenLayer::new(tokens.clone()))
        .layer(RetryInvalidTokenLayer::new(tokens))
        .service(inner)];
}

/// What the inner one could not send again the outer one can.
#[tokio::test(start_paused = true)]
async fn an_inner_layer_without_replay_leaves_the_replay_to_the_outer_one() {
    survives![|tokens, inner| ServiceBuilder::new()
        .layer(RetryInvalidTokenLayer::new(tokens.clone()))
        .layer(RetryInvalidTokenLayer::new(tokens).without_replay())
        .service(inner)];
}

#[tokio::test(start_paused = true)]
async fn of_two_sources_the_outer_one_stamps() {
    let (outer, inner) = (Mint::new(), Mint::new());
    let strict = Strict::that_likes(|token| token == "Bearer o1");
    outer.then_token("o1");
    let service = ServiceBuilder::new()
        .layer(InjectTokenLayer::new(outer.cache()))
        .layer(RetryInvalidTokenLayer::new(inner.cache()))
        .service(strict.clone());
    assert_eq!(status(service).await, 200);
    assert_eq!((outer.exchanges(), inner.exchanges()), (1, 0));
}

/// A gateway between two doors: it takes the token of the one off, the other one puts its own on. Also
/// on a replay, whose mark travels through.
#[tokio::test(start_paused = true)]
async fn a_replay_that_lost_its_token_on_the_way_is_not_sent_without_one() {
    let (front, back) = (Mint::new(), Mint::new());
    let strict = Strict::that_likes(|_| false);
    let service = ServiceBuilder::new()
        .layer(RetryInvalidTokenLayer::new(front.cache()))
        .map_request(strip)
        .layer(RetryInvalidTokenLayer::new(back.cache()))
        .service(strict.clone());
    assert_eq!(status(service).await, 401);
    assert_eq!(front.exchanges(), 2, "the front has sent its request again");
    assert_eq!(strict.seen(), ["Bearer t1", "Bearer t2", "Bearer t2"]);
}

/// Hands on what a cache gives.
struct Wrapper(TokenCache);

impl TokenSource for Wrapper {
    fn peek(&self) -> Option<Token> {
        self.0.peek()
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        self.0.fetch(need)
    }

    fn recognise(&self, authorization: &http::HeaderValue) -> Option<Token> {
        self.0.recognise(authorization)
    }
}

/// The request waits in a queue between the two layers, and the token is replaced meanwhile.
#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_between_two_layers_is_known_to_the_inner_one() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let first = tokens.fetch(Need::Any).await.unwrap();
    let strict = Strict::that_likes(|token| token == "Bearer t2");
    let inner = RetryInvalidTokenLayer::new(Wrapper(tokens.clone())).layer(strict.clone());
    let (replaced, refused) = (tokens.clone(), first.id());
    let queue = tower::service_fn(move |request| {
        let (tokens, inner) = (replaced.clone(), inner.clone());
        async move {
            tokens.fetch(Need::Unlike(refused)).await?;
            inner.oneshot(request).await.map_err(tower::BoxError::from)
        }
    });
    let service = InjectTokenLayer::new(Wrapper(tokens)).layer(queue);
    assert_eq!(status(service).await, 200);
    assert_eq!(strict.seen(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_layer_over_a_wrapper_and_a_layer_over_its_cache_agree() {
    survives![
        |tokens, inner| ServiceBuilder::new()
            .layer(RetryInvalidTokenLayer::new(Wrapper(tokens)))
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(InjectTokenLayer::new(tokens.clone()))
            .layer(RetryInvalidTokenLayer::new(Wrapper(tokens)))
            .service(inner),
        |tokens, inner| ServiceBuilder::new()
            .layer(InjectTokenLayer::new(Wrapper(tokens.clone())))
            .layer(RetryInvalidTokenLayer::new(tokens))
            .service(inner),
    ];
}
