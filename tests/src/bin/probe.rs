//! The probes that were run against other crates, run against us in the same form.
//!
//! One line for each: its name, what was seen, and whether that is what we promise, separated by
//! tabs; `cargo xtask probe` prints them beside the others' figures. What takes minutes there takes none here: the issuer, the door and
//! the timers obey a manual clock and tokio's paused time, in steps of half a second.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a probe that cannot do its work has failed"
)]

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth::{HttpClient, Jwt, RequireTokenLayer};
use tower_oauth_test::{
    Algorithm, Endpoint, Fault, ManualClock, Rotation, ScriptedIssuer, TokenSpec,
};

const STEP: Duration = Duration::from_millis(500);

/// What a probe has seen, and whether it is what we promise.
type Seen = (String, bool);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let rows = runtime.block_on(probes());
    let mut all = true;
    for (name, (seen, kept)) in rows {
        all &= kept;
        println!("{name}\t{seen}\t{}", if kept { "kept" } else { "BROKEN" });
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn probes() -> Vec<(&'static str, Seen)> {
    vec![
        ("new-kid", new_kid().await),
        ("same-kid", same_kid().await),
        ("forged-2000", forged_at_once().await),
        ("forged-minutes", forged_for_minutes().await),
        ("error-500", answers(Fault::Status(500)).await),
        ("error-garbage", answers(Fault::Garbage("<html>".into())).await),
        ("error-500-empty-set", answers(empty_set(500)).await),
        ("error-200-empty-set", answers(empty_set(200)).await),
        (
            "cold-unknown-kty",
            cold(json!({"kty": "AKP", "kid": "x", "alg": "ML-DSA-44", "pub": "AA"})).await,
        ),
        (
            "cold-other-curve",
            cold(json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"})).await,
        ),
        ("cold-no-kid", cold(without_kid()).await),
        ("concurrent-cold", concurrent(None).await),
        ("concurrent-rotated", concurrent(Some(0)).await),
        ("concurrent-rotated-62", concurrent(Some(62)).await),
        ("down-at-start", down_at_start().await),
        ("hanging", hanging().await),
        ("starved", starved().await),
        ("use-enc", keys_for_other_uses().await),
        ("alg-of-key", alg_of_key().await),
        ("wrong-iss", wrong_issuer().await),
    ]
}

/// A door, its issuer, and the clock of both.
struct House {
    issuer: ScriptedIssuer,
    clock: ManualClock,
    layer: RequireTokenLayer,
}

impl House {
    fn new() -> Self {
        Self::of(Algorithm::Es256)
    }

    fn of(algorithm: Algorithm) -> Self {
        let clock = ManualClock::new();
        let issuer = ScriptedIssuer::builder()
            .audience("inventory")
            .algorithm(algorithm)
            .clock(clock.clone())
            .token_life(Duration::from_secs(24 * 3_600))
            .build()
            .expect("a scripted issuer");
        let jwt = Jwt::issuer(issuer.issuer())
            .audience("inventory")
            .http_client(HttpClient::new(issuer.service()))
            .clock(clock.clone())
            .build()
            .expect("a validator");
        Self { issuer, clock, layer: RequireTokenLayer::new(jwt) }
    }

    /// With a set that was just loaded.
    async fn warm() -> Self {
        let house = Self::new();
        assert_eq!(house.status(&house.token()).await, 200);
        house.issuer.reset_calls();
        house
    }

    fn token(&self) -> String {
        self.issuer.mint(TokenSpec::new())
    }

    fn fetches(&self) -> u64 {
        self.issuer.calls(Endpoint::Jwks)
    }

    async fn status(&self, token: &str) -> u16 {
        let inner = service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let answer = self.layer.layer(inner).oneshot(request.body(()).unwrap()).await;
        answer.unwrap().status().as_u16()
    }

    /// Half a second passes, for the clock and for what runs in the background.
    async fn step(&self) {
        tokio::time::sleep(STEP).await;
        self.clock.advance(STEP);
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.step().await;
        }
    }

    /// For how long a valid token is refused, asked every half second; `None`: for more than 620 s.
    async fn refused_for(&self, token: impl Fn() -> String) -> Option<Duration> {
        let mut refused = Duration::ZERO;
        while self.status(&token()).await != 200 {
            refused += STEP;
            if refused > Duration::from_secs(620) {
                return None;
            }
            self.step().await;
        }
        Some(refused)
    }
}

fn seconds(refused: Option<Duration>) -> String {
    refused.map_or("never in 620 s".into(), |refused| match refused {
        Duration::ZERO => "0".into(),
        refused => format!("{} s", refused.as_secs_f64()),
    })
}

async fn new_kid() -> Seen {
    let house = House::warm().await;
    house.step().await;
    house.issuer.rotate(Rotation::Add);
    let refused = house.refused_for(|| house.token()).await;
    (seconds(refused), refused == Some(Duration::ZERO))
}

async fn same_kid() -> Seen {
    let house = House::warm().await;
    let old = house.token();
    assert_eq!(house.status(&old).await, 200);
    house.step().await;
    house.issuer.rotate(Rotation::SameKid);
    let refused = house.refused_for(|| house.token()).await;
    let old_is_dead = house.status(&old).await == 401;
    let seen =
        format!("{}, old key {}", seconds(refused), if old_is_dead { "dead" } else { "trusted" });
    (seen, refused == Some(Duration::ZERO) && old_is_dead)
}

async fn forged_at_once() -> Seen {
    let house = House::warm().await;
    house.pass(62).await;
    for n in 0..2_000 {
        assert_eq!(house.status(&house.issuer.forge(&n.to_string())).await, 401);
    }
    (house.fetches().to_string(), house.fetches() <= 6)
}

async fn forged_for_minutes() -> Seen {
    let house = House::warm().await;
    house.pass(62).await;
    let mut by_minute = Vec::new();
    for minute in 0..3 {
        house.issuer.reset_calls();
        for second in 0..120 {
            for n in 0..20 {
                let forged = house.issuer.forge(&format!("{minute}-{second}-{n}"));
                assert_eq!(house.status(&forged).await, 401);
            }
            assert_eq!(house.status(&house.token()).await, 200);
            house.step().await;
        }
        by_minute.push(house.fetches());
    }
    // The refresh that grows due in the third to ninth minute is not the flood's.
    let [first, later @ ..] = by_minute.as_slice() else { return (String::new(), false) };
    let kept = *first <= 6 && later.iter().all(|fetches| *fetches <= 2);
    let counts: Vec<_> = by_minute.iter().map(u64::to_string).collect();
    (counts.join(", "), kept)
}

fn empty_set(status: u16) -> Fault {
    let body = Bytes::from_static(b"{\"keys\":[]}");
    Fault::Body { status, content_type: "application/json".into(), body }
}

/// For an hour, through every refresh.
async fn answers(fault: Fault) -> Seen {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, fault);
    let (mut refused, mut asked) = (0, 0);
    for _ in 0..720 {
        house.pass(5).await;
        asked += 1;
        refused += u32::from(house.status(&house.token()).await != 200);
    }
    let seen = if refused == 0 { "ok".into() } else { format!("{refused}/{asked} refused") };
    (seen, refused == 0)
}

/// A first set in which this key is, too.
async fn cold(key: Value) -> Seen {
    let house = House::new();
    house.issuer.publish_extra_key(key);
    let status = house.status(&house.token()).await;
    (if status == 200 { "ok".into() } else { status.to_string() }, status == 200)
}

fn without_kid() -> Value {
    let other = House::of(Algorithm::Rs256);
    let mut key = other.issuer.jwks()["keys"][0].clone();
    key.as_object_mut().unwrap().remove("kid");
    key
}

/// 200 at once, the key set 200 ms away: at a cold start, or so long after the load of a set that was
/// then rotated.
async fn concurrent(rotated_after: Option<u64>) -> Seen {
    let house = match rotated_after {
        None => House::new(),
        Some(seconds) => {
            let house = House::warm().await;
            house.pass(seconds).await;
            house.issuer.rotate(Rotation::Replace);
            house.issuer.reset_calls();
            house
        }
    };
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_millis(200)));
    let token = house.token();
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let (layer, token) = (house.layer.clone(), token.clone());
            let house = House { issuer: house.issuer.clone(), clock: house.clock.clone(), layer };
            tokio::spawn(async move { house.status(&token).await })
        })
        .collect();
    let mut accepted = 0;
    for waiting in waiting {
        accepted += u32::from(waiting.await.unwrap() == 200);
    }
    (format!("{} / {accepted}", house.fetches()), (house.fetches(), accepted) == (1, 200))
}

async fn down_at_start() -> Seen {
    let house = House::new();
    house.issuer.go_dark();
    let token = house.token();
    for _ in 0..6 {
        assert_eq!(house.status(&token).await, 503, "our trouble, not the caller's");
        house.step().await;
    }
    house.issuer.light_up().unwrap();
    let refused = house.refused_for(|| token.clone()).await;
    let kept = refused.is_some_and(|refused| refused <= Duration::from_secs(1));
    (refused.map_or("never".into(), |refused| format!("+{} s", refused.as_secs_f64())), kept)
}

// What it measures is the time that somebody waits, and it has no clock of the program at hand.
#[allow(clippy::disallowed_methods)]
async fn hanging() -> Seen {
    let house = House::warm().await;
    house.pass(62).await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(3)));
    let (known, forged) = (house.token(), house.issuer.forge("z"));
    house.issuer.reset_calls();
    let miss = house.status(&forged);
    let hit = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The hanging answer is in the air; what is not there at once has waited.
        tokio::time::timeout(Duration::ZERO, house.status(&known)).await
    };
    let (_, hit) = tokio::join!(miss, hit);
    assert_eq!(house.fetches(), 1, "nobody asked the issuer");
    let seen = if hit.is_ok() { "0" } else { "waits" };
    (seen.into(), hit == Ok(200))
}

async fn starved() -> Seen {
    let house = House::warm().await;
    house.pass(62).await;
    for n in 0..75 {
        house.status(&house.issuer.forge(&format!("a{n}"))).await;
        house.pass(1).await;
    }
    house.issuer.rotate(Rotation::Replace);
    let token = house.token();
    let mut refused = 0;
    while house.status(&token).await != 200 {
        house.status(&house.issuer.forge(&format!("b{refused}"))).await;
        house.pass(1).await;
        refused += 1;
        if refused > 75 {
            return ("> 75 s".into(), false);
        }
    }
    (format!("{refused} s"), refused <= 30)
}

async fn keys_for_other_uses() -> Seen {
    let mut seen = Vec::new();
    for (member, value) in [("use", json!("enc")), ("key_ops", json!(["encrypt"]))] {
        seen.push(with_key(Algorithm::Es256, member, value).await.to_string());
    }
    let seen = seen.join(" / ");
    let kept = seen == "401 / 401";
    (seen, kept)
}

async fn alg_of_key() -> Seen {
    let status = with_key(Algorithm::Rs256, "alg", json!("RS512")).await;
    (status.to_string(), status == 401)
}

/// The status of a good token under a key of which one member is another. A second key sees to it that the set
/// is not refused as a whole.
async fn with_key(algorithm: Algorithm, member: &str, value: Value) -> u16 {
    let house = House::of(algorithm);
    let mut key = house.issuer.jwks()["keys"][0].clone();
    let mut other = House::new().issuer.jwks()["keys"][0].clone();
    key[member] = value;
    other["kid"] = json!("other");
    let set = json!({ "keys": [key, other] }).to_string();
    house.issuer.fault(Endpoint::Jwks, Fault::Garbage(set.into()));
    house.status(&house.token()).await
}

async fn wrong_issuer() -> Seen {
    let house = House::warm().await;
    let token = house.issuer.mint(TokenSpec::new().issuer("https://other.test"));
    let status = house.status(&token).await;
    (status.to_string(), status == 401)
}
