//! What a hostile token costs: the shapes of case J22 through the whole door, each with its median.
//!
//! `cargo bench --package tower-oauth-benches --bench hostile` prints a table, and fails if a token that
//! is refused before its signature is looked at takes more than 50 µs in the median. A forged
//! signature costs a verification, and a door that was told to take tokens of 64 KiB reads so much more;
//! both have rows without a bound.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark is no library"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};
use tower_oauth::{HttpClient, Issuers, Jwt, JwtBuilder, RequireTokenLayer};
use tower_oauth_test::{Algorithm, ScriptedIssuer, Signature, TokenSpec};

const BOUND: Duration = Duration::from_micros(50);
const LIMIT: usize = 8 * 1024;
const LARGEST: usize = 64 * 1024;
const ROUNDS: usize = 4_001;

/// A shape, its tokens in turns, and whether the bound is for it.
struct Shape {
    name: String,
    tokens: Vec<String>,
    is_bounded: bool,
}

fn main() -> ExitCode {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let issuer = issuer(Algorithm::Rs256);
    let doors = [
        ("", LIMIT, RequireTokenLayer::new(jwt(&issuer).build().unwrap())),
        ("lenient: ", LIMIT, RequireTokenLayer::new(jwt(&issuer).lenient().build().unwrap())),
        ("one of several issuers: ", LIMIT, RequireTokenLayer::new(several(&issuer))),
        ("64 KiB allowed: ", LARGEST, {
            RequireTokenLayer::new(jwt(&issuer).max_token_bytes(LARGEST).build().unwrap())
        }),
    ];
    let mut all = true;
    println!("{:<72}{:>9}{:>9}  bound", "hostile token, through the whole door", "median", "p99");
    for (kind, limit, layer) in &doors {
        // What is refused before the claims are read costs the same at each door.
        let shapes = shapes(&issuer, *limit).into_iter();
        for shape in shapes.filter(|shape| kind.is_empty() || shape.name.contains("claims")) {
            let name = format!("{kind}{}", shape.name);
            all &= measured(&runtime, layer, &name, &shape.tokens, shape.is_bounded);
        }
    }
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let issuer = self::issuer(algorithm);
        let layer = RequireTokenLayer::new(jwt(&issuer).build().unwrap());
        let tokens = (0..100)
            .map(|n| {
                let spec = TokenSpec::new().claim("jti", n.to_string());
                issuer.mint(spec.signature(Signature::Stranger))
            })
            .collect::<Vec<_>>();
        let name = format!("{} signature of somebody else, which is verified", algorithm.name());
        measured(&runtime, &layer, &name, &tokens, false);
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn issuer(algorithm: Algorithm) -> ScriptedIssuer {
    ScriptedIssuer::builder().audience("inventory").algorithm(algorithm).build().unwrap()
}

fn jwt(issuer: &ScriptedIssuer) -> JwtBuilder {
    Jwt::issuer(issuer.issuer())
        .audience("inventory")
        .http_client(HttpClient::new(issuer.service()))
}

fn several(issuer: &ScriptedIssuer) -> Issuers {
    let other = ScriptedIssuer::builder().issuer("https://other.test").build().unwrap();
    Issuers::new([issuer, &other].map(|issuer| jwt(issuer).build().unwrap())).unwrap()
}

async fn handler(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    black_box(&request);
    Ok(Response::new(Full::default()))
}

/// Prints a row; says whether the bound holds.
// What it measures is how long a call takes.
#[allow(clippy::disallowed_methods)]
fn measured(
    runtime: &Runtime,
    layer: &RequireTokenLayer,
    name: &str,
    tokens: &[String],
    is_bounded: bool,
) -> bool {
    let mut door = layer.layer(service_fn(handler));
    let requests = || {
        tokens.iter().cycle().map(|token| {
            let request = Request::get("/stock/bolt");
            request.header("authorization", format!("Bearer {token}")).body(()).unwrap()
        })
    };
    // The set is loaded and the budget for look-ups spent before anything is measured.
    for request in requests().take(200) {
        let answer = runtime.block_on(async { door.call(request).await }).unwrap();
        let rejection = answer.extensions().get::<tower_oauth::Rejection>();
        assert!(answer.status().is_client_error(), "{name}: {rejection:?}");
    }
    let mut took: Vec<_> = requests()
        .take(ROUNDS)
        .map(|request| {
            let began = Instant::now();
            let answer = runtime.block_on(async { door.call(request).await });
            let took = began.elapsed();
            drop(black_box(answer));
            took
        })
        .collect();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let (median, p99) = (at(50), at(99));
    let holds = !is_bounded || median < BOUND;
    let verdict = match (is_bounded, holds) {
        (false, _) => "none",
        (true, true) => "kept",
        (true, false) => "OVER",
    };
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{name:<72}{:>7.1}µs{:>7.1}µs  {verdict}", micros(median), micros(p99));
    holds
}

/// The shapes of J22, as large as a door with this limit reads them.
fn shapes(issuer: &ScriptedIssuer, limit: usize) -> Vec<Shape> {
    let header = r#"{"alg":"RS256","typ":"at+jwt","kid":"key-1"}"#;
    let name = issuer.issuer();
    let claims = format!(r#"{{"iss":"{name}","aud":"inventory""#);
    let signature = URL_SAFE_NO_PAD.encode([7; 256]);
    // What is left for the claims, as text, by the limit of the token.
    let room = (limit - signature.len() - 100) * 3 / 4;
    let token = |header: &str, claims: &str| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{signature}", part(header), part(claims))
    };
    let filled = |open: &str, piece: &str, close: &str| {
        let left = room - claims.len() - open.len() - close.len();
        let text = format!("{claims},{open}{}{close}", piece.repeat(left / piece.len()));
        token(header, &text)
    };
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep_claims = |depth| token(header, &format!(r#"{claims},"x":{}}}"#, nested(depth)));
    let deep_header = |depth| {
        let header = format!(r#"{{"alg":"RS256","x":{}}}"#, nested(depth));
        token(&header, &claims)
    };
    let members =
        |count: usize| (0..count).map(|n| format!(r#""member-{n}":{n},"#)).collect::<String>();
    let wide_header = format!(r#"{{"alg":"RS256",{}"x":0}}"#, members(80));
    let late_header = format!(r#"{{"alg":"RS256",{}"alg":"none"}}"#, members(80));
    let late = format!(r#"{claims},{}"member-0":0}}"#, members(200));
    let too_many = format!(r#"{claims},{}"x":0}}"#, members(257));
    let good = filled(r#""x":""#, "x", r#""}"#);
    let bad_end = format!("{}!", good.get(..good.len() - 1).unwrap_or_default());
    let stray = format!("{}*.{signature}", good.rsplit_once('.').unwrap().0);

    let shapes = [
        ("nothing but dots", ".".repeat(limit)),
        ("one part, as long as may be", "A".repeat(limit)),
        ("five parts", format!("{good}.e30.e30").split_off(20)),
        ("1 MiB", "A".repeat(1 << 20)),
        ("1 MiB, three parts", token(header, &"x".repeat(750_000))),
        ("header nested 127 deep", deep_header(127)),
        ("header nested 129 deep", deep_header(129)),
        (
            "header with a huge array",
            token(&format!(r#"{{"x":[{}0]}}"#, "0,".repeat(700)), &claims),
        ),
        (
            "header with an array of 10^6",
            token(&format!(r#"{{"x":[{}0]}}"#, "0,".repeat(1_000_000)), ""),
        ),
        ("header with many members", token(&wide_header, &claims)),
        ("header with a member twice, late", token(&late_header, &claims)),
        ("claims nested 127 deep", deep_claims(127)),
        ("claims nested 129 deep", deep_claims(129)),
        ("claims nested as deep as there is room", filled(r#""x":"#, "[", "")),
        ("claims with a huge array", filled(r#""x":["#, "0,", "0]}")),
        ("claims with many empty objects", filled(r#""x":["#, "{},", "0]}")),
        (
            "claims with many objects, names in escapes",
            filled(r#""x":["#, r#"{"\u0061":0},"#, "0]}"),
        ),
        (
            "claims with many objects 9 deep",
            filled(r#""x":["#, r#"{"a":[{"b":[{"c":[[{}]]}]}]},"#, "0]}"),
        ),
        ("claims with many floats", filled(r#""x":["#, "-1.5e-10,", "0]}")),
        ("claims in escapes all over", filled(r#""sub":""#, r"\ud83d\ude00", r#""}"#)),
        ("claims with a member twice, late", token(header, &late)),
        ("claims with too many members", token(header, &too_many)),
        (
            "claims with a long list where a name should be",
            filled(r#""sub":["#, r#""x","#, r#""x"]}"#),
        ),
        (
            "claims with a list of scopes, expired",
            filled(r#""exp":1,"scope":["#, r#""x","#, r#""x"]}"#),
        ),
        ("long base64 with a bad last character in the claims", stray),
        ("long base64 with a bad last character in the signature", bad_end),
        ("long claims, expired", filled(r#""exp":1,"x":""#, "x", r#""}"#)),
        (
            "long issuer that nobody knows",
            token(header, &format!(r#"{{"iss":"{}"}}"#, "x".repeat(room - 20))),
        ),
    ];
    let shapes = shapes.into_iter().map(|(name, token)| (name.to_owned(), vec![token]));
    let minted = |spec: fn(usize) -> TokenSpec| (0..500).map(|n| issuer.mint(spec(n))).collect();
    let more = [
        (
            "forged kid, all else in order",
            minted(|n| {
                let padding = "x".repeat(4_000);
                let spec = TokenSpec::new().header("kid", format!("z{n}")).claim("x", padding);
                spec.signature(Signature::Random)
            }),
        ),
        (
            "forged kid in place, small",
            minted(|n| {
                TokenSpec::new().header("kid", format!("y{n}")).signature(Signature::Random)
            }),
        ),
        (
            "forged kid as long as may be",
            minted(|n| {
                TokenSpec::new().header("kid", format!("{n:0>256}")).signature(Signature::Random)
            }),
        ),
    ];
    let more = more.into_iter().map(|(name, tokens)| (name.to_owned(), tokens));
    shapes
        .chain(more)
        .map(|(name, tokens)| Shape { name, tokens, is_bounded: limit == LIMIT })
        .collect()
}
