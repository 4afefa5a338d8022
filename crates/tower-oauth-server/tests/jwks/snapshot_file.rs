//! Case 15: the set that outlives the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tower_oauth_server::{Jwks, JwksHealth, Jwt};
use tower_oauth_test::{Endpoint, Rotation};

use crate::fixture::{House, judge, jwt, settle};

/// A directory of its own for each test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("tower-oauth-{name}-{}", std::process::id());
        let place = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&place));
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    fn file(&self) -> PathBuf {
        self.0.join("shop.jwks")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Waits for the thread that writes; it does not obey paused time.
    async fn written(&self, holds: impl Fn(&str) -> bool) {
        for _ in 0..200_000 {
            if fs::read_to_string(self.file()).is_ok_and(|text| holds(&text)) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the file was not written: {:?}", self.names());
    }

    async fn gone(&self) {
        for _ in 0..200_000 {
            if !self.file().exists() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the file is still there: {:?}", self.names());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Another process of the same service, later.
fn restarted(house: &House, file: &Path) -> Jwt {
    jwt(&house.issuer, &house.clock).snapshot_file(file).build().unwrap()
}

/// A service that has run and left its file.
async fn left(place: &Place) -> House {
    let house = House::new();
    let jwt = restarted(&house, &place.file());
    jwt.jwks().warm().await.unwrap();
    place.written(|text| text.contains("key-1")).await;
    house.issuer.reset_calls();
    house
}

#[tokio::test(start_paused = true)]
async fn case_15_a_fresh_snapshot_serves_at_once_and_is_refreshed() {
    let place = Place::new("fresh");
    let house = left(&place).await;
    house.pass(300.0);
    let jwt = restarted(&house, &place.file());
    assert_eq!(jwt.jwks().health(), JwksHealth::Fresh);
    assert!(judge(&jwt, &house.token()).await.is_ok());
    settle(0.01).await;
    assert_eq!(house.fetches(), 1, "in the background");
    house.pass(301.0);
    assert_eq!(jwt.jwks().health(), JwksHealth::Fresh);

    // What was left of its freshness is all it has, and a new key is found as ever.
    let place = Place::new("fresh-idle");
    let house = left(&place).await;
    house.pass(300.0);
    let idle = restarted(&house, &place.file());
    let busy = restarted(&house, &place.file());
    house.issuer.rotate(Rotation::Add);
    assert!(judge(&busy, &house.token()).await.is_ok());
    house.pass(301.0);
    assert!(matches!(idle.jwks().health(), JwksHealth::Stale { .. }));
    assert_eq!(busy.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test(start_paused = true)]
async fn case_15_a_fresh_snapshot_needs_no_issuer() {
    let place = Place::new("dark");
    let house = left(&place).await;
    house.issuer.go_dark();
    let jwt = restarted(&house, &place.file());
    for _ in 0..60 {
        assert!(judge(&jwt, &house.token()).await.is_ok());
        settle(0.01).await;
        house.pass(60.0);
    }
    assert!(matches!(jwt.jwks().health(), JwksHealth::Stale { .. }));
}

#[tokio::test]
async fn case_15_a_stale_snapshot_is_not_used_before_the_issuer_was_asked() {
    let place = Place::new("stale");
    let house = left(&place).await;
    let old = house.token();
    house.issuer.rotate(Rotation::Replace);
    house.pass(3_600.0);
    let jwt = restarted(&house, &place.file());
    assert_eq!(jwt.jwks().health(), JwksHealth::Unavailable { cause: None });
    assert!(judge(&jwt, &old).await.is_err(), "its key was withdrawn while nobody was looking");
    assert!(judge(&jwt, &house.token()).await.is_ok());

    // Without an answer it is better than nothing, for as long as it would have been anyway.
    let place = Place::new("stale-dark");
    let house = left(&place).await;
    house.issuer.go_dark();
    house.pass(24.0 * 3_600.0 + 590.0);
    let token = house.token();
    let jwt = restarted(&house, &place.file());
    assert!(judge(&jwt, &token).await.is_ok());
    let warmed = restarted(&house, &place.file());
    warmed.jwks().warm().await.unwrap();
    house.pass(11.0);
    assert_eq!(judge(&jwt, &token).await.unwrap_err().status(), 503);
    let too_late = restarted(&house, &place.file());
    assert_eq!(judge(&too_late, &token).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn case_15_a_key_of_the_file_that_is_dropped_before_it_served_is_gone() {
    for all in [false, true] {
        let place = Place::new(&format!("dropped-{all}"));
        let house = left(&place).await;
        house.issuer.go_dark();
        house.pass(3_600.0);
        let jwt = restarted(&house, &place.file());
        if all {
            jwt.jwks().clear();
        } else {
            assert!(!jwt.jwks().evict("z"));
            assert!(jwt.jwks().evict("key-1"), "it would have served");
            assert!(!jwt.jwks().evict("key-1"));
        }
        assert_eq!(judge(&jwt, &house.token()).await.unwrap_err().status(), 503);
        place.gone().await;
        // Nor does the next process find it.
        let next = restarted(&house, &place.file());
        assert_eq!(judge(&next, &house.token()).await.unwrap_err().status(), 503);
    }
}

#[tokio::test]
async fn case_15_a_file_that_cannot_be_believed_is_ignored() {
    let place = Place::new("unbelievable");
    let house = left(&place).await;
    let good = fs::read_to_string(place.file()).unwrap();
    let (head, body) = good.split_once("\n\n").unwrap();
    let future = head.replace("fetched_at ", "fetched_at 9");
    let cases = [
        ("cut", good.get(..good.len() - 20).unwrap().to_owned()),
        ("empty", String::new()),
        ("no head", body.to_owned()),
        ("no set", head.to_owned()),
        ("another form", good.replace("tower-oauth-jwks 1", "tower-oauth-jwks 2")),
        ("another issuer", good.replace("https://issuer.test", "https://other.test")),
        ("a slash more", good.replace("https://issuer.test", "https://issuer.test/")),
        ("a line more", good.replace("\n\n", "\nmore 1\n\n")),
        ("no number", good.replace("fresh_for ", "fresh_for x")),
        ("from the future", format!("{future}\n\n{body}")),
        ("no key", format!("{head}\n\n{{\"keys\":[]}}")),
        ("too large", format!("{good}{}", " ".repeat(300_000))),
    ];
    for (name, text) in cases {
        fs::write(place.file(), text).unwrap();
        let jwt = restarted(&house, &place.file());
        assert_eq!(jwt.jwks().health(), JwksHealth::Unavailable { cause: None }, "{name}");
    }
    let jwt = restarted(&house, &place.file());
    assert!(judge(&jwt, &house.token()).await.is_ok(), "a start without the file");
    place.written(|text| text.ends_with(body)).await;
    fs::write(place.file(), &good).unwrap();
    assert_eq!(restarted(&house, &place.file()).jwks().health(), JwksHealth::Fresh, "a control");
    let uri = house.issuer.url(Endpoint::Jwks);
    let http = tower_oauth_endpoint::HttpClient::new(house.issuer.service());
    let other = Jwks::uri(uri).http_client(http).snapshot_file(place.file()).build().unwrap();
    assert_eq!(other.health(), JwksHealth::Unavailable { cause: None }, "another source");
}

#[cfg(unix)]
#[tokio::test]
async fn case_15_a_file_that_others_may_have_written_is_ignored_and_ours_is_closed_to_them() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new("mode");
    let house = left(&place).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.file()), 0o600);
    for (mode, believed) in [(0o644, true), (0o400, true), (0o660, false), (0o602, false)] {
        fs::set_permissions(place.file(), fs::Permissions::from_mode(mode)).unwrap();
        let jwt = restarted(&house, &place.file());
        assert_eq!(jwt.jwks().health() == JwksHealth::Fresh, believed, "{mode:o}");
    }
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let link = place.0.join("link");
    symlink(place.file(), &link).unwrap();
    let jwt = restarted(&house, &link);
    assert_eq!(jwt.jwks().health(), JwksHealth::Unavailable { cause: None });
}

#[tokio::test]
async fn case_15_the_file_follows_the_set_and_leaves_nothing_beside_it() {
    let place = Place::new("follows");
    let house = House::new();
    let jwt = restarted(&house, &place.file());
    jwt.jwks().warm().await.unwrap();
    place.written(|text| text.contains("key-1")).await;
    house.issuer.rotate(Rotation::Add);
    jwt.jwks().refresh().await.unwrap();
    place.written(|text| text.contains("key-2")).await;
    assert_eq!(place.names(), ["shop.jwks"]);

    // What an operator drops must not come back with a restart.
    assert!(jwt.jwks().evict("key-1"));
    for _ in 0..200_000 {
        if place.names().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(place.names().is_empty());
    jwt.jwks().refresh().await.unwrap();
    place.written(|text| text.contains("key-2")).await;

    // A private key that the issuer has published is not copied to the disk.
    let private = serde_json::json!({ "kty": "RSA", "kid": "p", "n": "AQAB", "d": "CANARY" });
    house.issuer.publish_extra_key(private);
    jwt.jwks().refresh().await.unwrap();
    for _ in 0..200_000 {
        if place.names().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn a_disk_that_fails_costs_no_request() {
    let place = Place::new("gone");
    let house = House::new();
    let jwt = restarted(&house, &place.file());
    fs::remove_dir_all(&place.0).unwrap();
    assert!(judge(&jwt, &house.token()).await.is_ok());
    house.pass(1.0);
    jwt.jwks().refresh().await.unwrap();
}

#[test]
fn case_16_a_file_without_a_place_is_refused_by_name() {
    let house = House::new();
    for path in ["/no/such/directory/shop.jwks", "/"] {
        let error = jwt(&house.issuer, &house.clock).snapshot_file(path).build().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("snapshot_file") && text.contains(path), "{text}");
    }
    let shared = jwt(&house.issuer, &house.clock).build().unwrap().jwks().clone();
    let error = Jwt::issuer(house.issuer.issuer())
        .audience("a")
        .jwks(shared)
        .snapshot_file("shop.jwks")
        .build()
        .unwrap_err();
    assert!(error.to_string().starts_with("snapshot_file"));
}

#[tokio::test]
async fn a_set_that_is_not_modified_makes_its_file_younger() {
    let place = Place::new("younger");
    let house = House::new();
    let jwt = restarted(&house, &place.file());
    jwt.jwks().warm().await.unwrap();
    place.written(|text| text.contains("key-1")).await;
    house.pass(550.0);
    let now = tower_oauth_core::Clock::unix_seconds(&house.clock);
    assert!(judge(&jwt, &house.token()).await.is_ok());
    place.written(|text| text.contains(&format!("fetched_at {now}\n"))).await;
    let request = house.issuer.last_request(Endpoint::Jwks).unwrap();
    assert!(request.headers().contains_key(http::header::IF_NONE_MATCH));
    house.pass(Duration::from_secs(500).as_secs_f64());
    assert_eq!(restarted(&house, &place.file()).jwks().health(), JwksHealth::Fresh);
}
