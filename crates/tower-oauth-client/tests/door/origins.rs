//! R12, R13: where a token goes, with a layer that follows redirects outside and inside of the door.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_oauth_client::{
    BoxFuture, ClientError, Error, InjectTokenLayer, Need, Report, RetryInvalidTokenLayer, Token,
    TokenCache, TokenSource,
};

use crate::rig::{Mint, Strict, invalid_token};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;

const ALLOWED: [&str; 3] = ["https://a.example", "https://b.example:8443", "https://[2001:db8::1]"];

fn get(uri: &str) -> Req {
    Request::get(uri).body(Full::default()).unwrap()
}

fn fixed() -> Token {
    Token::bearer("t").unwrap()
}

/// Where requests went, and whether with a token.
type Log = Arc<Mutex<Vec<(Uri, bool)>>>;

/// A net that answers as `answer` says and writes down what came.
fn net(
    answer: impl Fn(&Uri) -> Res + Clone + Send + Sync + 'static,
) -> (Log, BoxCloneSyncService<Req, Res, io::Error>) {
    let log = Log::default();
    let written = Arc::clone(&log);
    let service = service_fn(move |request: Req| {
        let has_token =
            ["authorization", "dpop"].iter().any(|name| request.headers().contains_key(*name));
        written.lock().unwrap().push((request.uri().clone(), has_token));
        let answer = answer(request.uri());
        async move { Ok(answer) }
    });
    (log, BoxCloneSyncService::new(service))
}

fn redirect(status: u16, to: &str) -> Res {
    Response::builder().status(status).header("location", to).body(Full::default()).unwrap()
}

/// The hops of a call to `start`, with the door in each place, as (URI, with token).
async fn hops(
    place: &str,
    start: &str,
    answer: impl Fn(&Uri) -> Res + Clone + Send + Sync + 'static,
) -> Vec<(String, bool)> {
    let (log, net) = net(answer);
    let inject = InjectTokenLayer::new(fixed()).with_origins(ALLOWED).unwrap();
    let retry = RetryInvalidTokenLayer::new(fixed()).with_origins(ALLOWED).unwrap();
    let follow = FollowRedirectLayer::new;
    let request = get(start);
    let sent = match place {
        "inject inside" => {
            let service = ServiceBuilder::new().layer(follow()).layer(inject).service(net);
            service.oneshot(request).await.map_err(BoxError::from)
        }
        "retry inside" => {
            let service = ServiceBuilder::new().layer(follow()).layer(retry).service(net);
            service.oneshot(request).await.map_err(BoxError::from)
        }
        "retry outside" => {
            let service = ServiceBuilder::new().layer(retry).layer(follow()).service(net);
            service.oneshot(request).await.map_err(BoxError::from)
        }
        _ => {
            let service = ServiceBuilder::new();
            let service = service.layer(inject).layer(follow()).layer(retry).service(net);
            service.oneshot(request).await.map_err(BoxError::from)
        }
    };
    sent.unwrap();
    let log = log.lock().unwrap();
    log.iter().map(|(uri, has_token)| (uri.to_string(), *has_token)).collect()
}

const PLACES: [&str; 4] = ["inject inside", "retry inside", "retry outside", "both"];

#[tokio::test]
async fn r12_no_hop_to_a_foreign_origin_has_a_token() {
    for to in [
        "https://evil.example/",
        "http://a.example/",
        "https://a.example:8443/",
        "https://a.example./",
        "https://a.example@evil.example/",
        "https://a.example:443@evil.example/",
        "https://sub.a.example/",
        "https://a.example.evil.example/",
        "https://xn--a-0ka.example/",
        "https://[2001:db8::2]/",
        "//evil.example/",
    ] {
        for place in PLACES {
            let hops = hops(place, "https://a.example/start", move |uri| match uri.path() {
                "/start" => redirect(302, to),
                _ => Response::default(),
            });
            let hops = hops.await;
            let with_token: Vec<_> = hops.iter().map(|(_, has_token)| *has_token).collect();
            assert_eq!(with_token, [true, false], "{place}: {hops:?}");
        }
    }
}

#[tokio::test]
async fn r12_a_hop_to_another_origin_of_the_list_has_its_token_where_the_door_is_inside() {
    for to in [
        "https://B.example:8443/x",
        "https://[2001:DB8:0::1]:443/x",
        "/x",
        "https://a.example:443/x",
    ] {
        for place in ["inject inside", "retry inside", "both"] {
            let hops = hops(place, "https://A.example/start", move |uri| match uri.path() {
                "/start" => redirect(307, to),
                _ => Response::default(),
            });
            assert!(hops.await.iter().all(|(_, has_token)| *has_token), "{place} {to}");
        }
    }
}

#[tokio::test]
async fn r12_there_and_back_again() {
    let answer = |uri: &Uri| match (uri.host(), uri.path()) {
        (_, "/start") => redirect(302, "https://evil.example/back"),
        (Some("evil.example"), _) => redirect(302, "https://a.example/end"),
        _ => Response::default(),
    };
    for (place, expected) in [
        ("inject inside", [true, false, true]),
        ("retry inside", [true, false, true]),
        // What was dropped on the way stays dropped; the door does not see the hops.
        ("retry outside", [true, false, false]),
        ("both", [true, false, true]),
    ] {
        let hops = hops(place, "https://a.example/start", answer).await;
        let with_token: Vec<_> = hops.iter().map(|(_, has_token)| *has_token).collect();
        assert_eq!(with_token, expected, "{place}");
    }
}

/// Ten thousand nets of redirects among good and bad origins, each with the door in four places and both
/// kinds of door: no foreign origin ever sees a token.
#[tokio::test(start_paused = true)]
async fn r12_in_ten_thousand_random_nets_no_token_is_on_a_foreign_origin() {
    const ORIGINS: [&str; 12] = [
        "https://a.example",
        "https://A.EXAMPLE:443",
        "https://b.example:8443",
        "https://[2001:db8::1]",
        "https://b.example",
        "http://a.example",
        "https://a.example.",
        "https://evil.example",
        "https://a.example@evil.example",
        "https://me:pw@a.example",
        "https://[2001:db8::2]:8443",
        "http://b.example:8443",
    ];
    // By hand, and not by the guard's own reading.
    const GOOD: [&str; 5] = [
        "https://a.example",
        "https://a.example:443",
        "https://b.example:8443",
        "https://[2001:db8::1]",
        "https://[2001:db8::1]:443",
    ];
    let is_good = |uri: &Uri| {
        let authority = uri.authority().unwrap().as_str();
        let host = authority.rsplit('@').next().unwrap().to_ascii_lowercase();
        GOOD.contains(&format!("{}://{host}", uri.scheme_str().unwrap()).as_str())
    };
    let (mut with_token, mut hops, mut foreign) = (0, 0, 0);
    let mut tokens = Mint::new().cache();
    for seed in 0..10_000_u64 {
        if seed % 100 == 0 {
            tokens = Mint::new().cache();
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let start = format!("{}/0", random.choice(ORIGINS).unwrap());
        let net = move |uri: &Uri| {
            // The same answer each time, by the place.
            let place = uri.to_string().bytes().fold(seed, |hash, byte| {
                hash.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte))
            });
            let mut random = fastrand::Rng::with_seed(place);
            let to = format!("{}/{}", random.choice(ORIGINS).unwrap(), random.u32(..4));
            match random.u32(..10) {
                0 => Response::default(),
                1 => invalid_token(),
                2 => redirect(302, &format!("/{}", random.u32(..4))),
                n => redirect([301, 302, 303, 307, 308][n as usize % 5], &to),
            }
        };
        let log = call(seed % 4, tokens.clone(), &start, net).await;
        for (uri, has_token) in &*log.lock().unwrap() {
            assert!(!has_token || is_good(uri), "seed {seed}: {uri}");
            hops += 1;
            with_token += usize::from(*has_token);
            foreign += usize::from(!is_good(uri));
        }
    }
    // The test has seen something.
    assert!(with_token > 5_000 && foreign > 5_000, "{with_token} and {foreign} of {hops}");
}

async fn call(
    place: u64,
    tokens: TokenCache,
    start: &str,
    answer: impl Fn(&Uri) -> Res + Clone + Send + Sync + 'static,
) -> Log {
    let (log, net) = net(answer);
    let inject = InjectTokenLayer::new(tokens.clone()).with_origins(ALLOWED).unwrap();
    let retry = RetryInvalidTokenLayer::new(tokens).with_origins(ALLOWED).unwrap();
    let follow = FollowRedirectLayer::new;
    let (stack, request) = (ServiceBuilder::new(), get(start));
    let _ = match place {
        0 => stack.layer(follow()).layer(inject).service(net).oneshot(request).await.is_ok(),
        1 => stack.layer(follow()).layer(retry).service(net).oneshot(request).await.is_ok(),
        2 => stack.layer(retry).layer(follow()).service(net).oneshot(request).await.is_ok(),
        _ => {
            let stack = stack.layer(inject).layer(follow()).layer(retry);
            stack.service(net).oneshot(request).await.is_ok()
        }
    };
    log
}

// === one door, no redirects ===

#[tokio::test]
async fn r12_a_request_to_another_origin_goes_without_or_not_at_all() {
    let strict = Strict::that_likes(|_| true);
    let inject = InjectTokenLayer::new(fixed()).with_origins(["https://a.example"]).unwrap();
    let retry = RetryInvalidTokenLayer::new(fixed()).with_origins(["https://a.example"]).unwrap();
    inject.layer(strict.clone()).oneshot(get("https://b.example/")).await.unwrap();
    retry.layer(strict.clone()).oneshot(get("https://b.example/")).await.unwrap();
    assert_eq!(strict.seen(), ["", ""]);

    let inject = inject.refuse_other_origins().layer(strict.clone());
    let retry = retry.refuse_other_origins().layer(strict.clone());
    for error in [
        inject.oneshot(get("https://b.example/")).await.unwrap_err(),
        retry.oneshot(get("https://b.example/")).await.unwrap_err(),
    ] {
        assert!(matches!(&error, ClientError::Refused(why) if why.is_other_origin()), "{error:?}");
    }
    assert_eq!(strict.seen().len(), 2, "nothing was sent");
}

#[tokio::test]
async fn r13_plain_http_to_another_machine_is_an_error_unless_allowed() {
    let strict = Strict::that_likes(|_| true);
    let (inject, retry) = (InjectTokenLayer::new(fixed()), RetryInvalidTokenLayer::new(fixed()));
    for uri in
        ["http://inventory.example/", "http://10.0.0.1:8080/", "http://localhost.evil.example/"]
    {
        for error in [
            inject.layer(strict.clone()).oneshot(get(uri)).await.unwrap_err(),
            retry.layer(strict.clone()).oneshot(get(uri)).await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, ClientError::Refused(why) if why.is_plain_http()),
                "{error:?}"
            );
        }
    }
    assert_eq!(strict.seen().len(), 0, "nothing was sent");
    for uri in [
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://localhost:1/",
        "/path-only",
        "https://x.example/",
    ] {
        inject.layer(strict.clone()).oneshot(get(uri)).await.unwrap();
        retry.layer(strict.clone()).oneshot(get(uri)).await.unwrap();
    }
    let uri = "http://10.0.0.1:8080/";
    inject.insecure_allow_http().layer(strict.clone()).oneshot(get(uri)).await.unwrap();
    retry.insecure_allow_http().layer(strict.clone()).oneshot(get(uri)).await.unwrap();
    assert_eq!(strict.seen(), ["Bearer t"; 12]);
}

#[tokio::test]
async fn r13_the_callers_own_authorization_wins_or_is_an_error() {
    let own = || {
        // Also to where our token would not go.
        let mut request = get("http://elsewhere.example/");
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        request
    };
    let strict = Strict::that_likes(|_| true);
    let (inject, retry) = (InjectTokenLayer::new(fixed()), RetryInvalidTokenLayer::new(fixed()));
    inject.layer(strict.clone()).oneshot(own()).await.unwrap();
    retry.layer(strict.clone()).oneshot(own()).await.unwrap();
    assert_eq!(strict.seen(), ["Basic abc", "Basic abc"]);
    for error in [
        inject.refuse_own_authorization().layer(strict.clone()).oneshot(own()).await.unwrap_err(),
        retry.refuse_own_authorization().layer(strict.clone()).oneshot(own()).await.unwrap_err(),
    ] {
        let own = matches!(&error, ClientError::Refused(why) if why.is_own_authorization());
        assert!(own, "{error:?}");
    }
    assert_eq!(strict.seen().len(), 2, "nothing was sent");
}

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Report>>>);

impl TokenSource for Told {
    fn peek(&self) -> Option<Token> {
        panic!("no token is needed")
    }

    fn fetch(&self, _: Need) -> BoxFuture<Result<Token, Error>> {
        panic!("no token is needed")
    }

    fn recognise(&self, _: &HeaderValue) -> Option<Token> {
        None
    }

    fn report(&self, report: Report) {
        self.0.lock().unwrap().push(report);
    }
}

#[tokio::test]
async fn r12_a_request_that_must_not_have_a_token_asks_for_none_and_the_source_is_told() {
    let told = Told::default();
    let strict = Strict::that_likes(|_| true);
    let layer = InjectTokenLayer::new(told.clone()).with_origins(["https://a.example"]).unwrap();
    layer.layer(strict.clone()).oneshot(get("https://b.example/")).await.unwrap();
    let layer = RetryInvalidTokenLayer::new(told.clone());
    layer.layer(strict).oneshot(get("http://b.example/")).await.unwrap_err();
    assert_eq!(*told.0.lock().unwrap(), [Report::OriginRefused; 2]);
}

#[tokio::test]
async fn r12_a_waiting_request_was_checked_before_it_waits() {
    let mint = Mint::new();
    let strict = Strict::that_likes(|_| true);
    let layer =
        RetryInvalidTokenLayer::new(mint.cache()).with_origins(["https://a.example"]).unwrap();
    layer.layer(strict.clone()).oneshot(get("https://b.example/")).await.unwrap();
    assert_eq!((mint.exchanges(), strict.seen()), (0, vec![String::new()]));
    layer.layer(strict.clone()).oneshot(get("https://a.example/")).await.unwrap();
    assert_eq!(strict.seen()[1], "Bearer t1");
}

#[tokio::test]
async fn l04_errors_about_origins_show_no_token_and_no_user_info() {
    let layer = RetryInvalidTokenLayer::new(Token::bearer("CANARY").unwrap());
    let strict = Strict::that_likes(|_| true);
    let error = layer.layer(strict).oneshot(get("http://me:CANARY@b.example/?CANARY")).await;
    let error = error.unwrap_err();
    let mut shown = format!("{error} {error:?} {layer:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        shown += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    assert!(!shown.contains("CANARY"), "{shown}");
}
