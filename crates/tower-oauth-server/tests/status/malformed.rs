//! Answers that are no list of this issuer: each is a 503, and none takes the place of a good one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde_json::{Value, json};
use tower_oauth_core::ErrorKind;
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::Outage;
use tower_oauth_test::{Signature, TokenSpec};

use crate::fixture::{House, invalid, outage};

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn list(bits: Value, lst: impl Into<Value>) -> Value {
    json!({ "status_list": {"bits": bits, "lst": lst.into()} })
}

#[tokio::test]
async fn case_70_what_is_no_list_is_no_answer() {
    let zlib = compress_to_vec_zlib(&[0; 4096], 10);
    let bomb = compress_to_vec_zlib(&vec![0; 32 * 1024 * 1024], 10);
    let house = House::new().await;
    let now = tower_oauth_core::Clock::unix_seconds(&house.clock);
    let spec = |more| house.list(more);
    let cases: Vec<(&str, TokenSpec)> = vec![
        ("bits 3", spec(list(json!(3), encode(&zlib)))),
        ("bits 0", spec(list(json!(0), encode(&zlib)))),
        ("bits 16", spec(list(json!(16), encode(&zlib)))),
        ("bits as text", spec(list(json!("1"), encode(&zlib)))),
        ("lst not base64", spec(list(json!(1), "eNrb*RgAAhcBXQ"))),
        ("lst padded", spec(list(json!(1), format!("{}==", encode(&zlib))))),
        ("lst no text", spec(list(json!(1), json!([1, 2])))),
        ("zlib truncated", spec(list(json!(1), encode(&zlib[..zlib.len() - 1])))),
        ("zlib of nothing", spec(list(json!(1), ""))),
        ("no zlib", spec(list(json!(1), encode(&[0; 64])))),
        ("a bomb", spec(list(json!(1), encode(&bomb)))),
        ("another list", spec(json!({ "sub": house.uri("2") }))),
        ("no sub", spec(json!({ "sub": null }))),
        ("another issuer", spec(json!({ "iss": "https://other.test" }))),
        ("expired", spec(json!({ "exp": now - 30 }))),
        ("from the future", spec(json!({ "iat": now + 31 }))),
        ("no iat", spec(json!({ "iat": null }))),
        ("ttl 0", spec(json!({ "ttl": 0 }))),
        ("no list", spec(json!({ "status_list": null }))),
        ("an access token", spec(json!({})).header("typ", "at+jwt")),
        ("a plain JWT", spec(json!({})).header("typ", "JWT")),
        ("no type", spec(json!({})).without_header("typ")),
        ("a stranger's", spec(json!({})).signature(Signature::Stranger)),
        ("nobody's", spec(json!({})).header("alg", "none").signature(Signature::Empty)),
        ("HMAC", spec(json!({})).header("alg", "HS256").signature(Signature::Hmac("k".into()))),
        ("an unknown key", spec(json!({})).header("kid", "z")),
    ];
    for (name, spec) in cases {
        let house = House::with(|lists| lists.outage(Outage::Grace(Duration::from_secs(60)))).await;
        house.serve_list(spec);
        let rejection = house.judge(&house.token(7)).await.unwrap_err();
        assert!(matches!(outage(&rejection).0, ErrorKind::Malformed(_)), "{name}: {rejection:?}");
        // The next one is good.
        house.issuer.heal_all();
        house.pass(1.0);
        assert!(house.accepts(&house.token(7)).await, "{name}");
        // And a bad one after it harms nobody for the grace.
        house.serve("garbage");
        house.pass(60.0);
        assert!(house.accepts(&house.token(7)).await, "{name}");
    }
}

#[tokio::test]
async fn case_70_the_control_to_the_table_is_a_list() {
    let house = House::new().await;
    // With a line end, as an editor leaves it in a file.
    let text = house.issuer.mint(house.list(json!({})));
    house.serve(format!("{text}\n"));
    assert!(house.accepts(&house.token(15)).await);
    let rejection = house.judge(&house.token(16)).await.unwrap_err();
    assert_eq!(rejection, invalid(InvalidToken::NoStatus));
}

/// §4.2 of the draft: statuses as they are printed there, by the whole way from the wire to the verdict.
#[tokio::test]
async fn case_70_the_vectors_of_the_draft_end_to_end() {
    let vectors: [(u8, &str, &[u8]); 2] = [
        (1, "eNrbuRgAAhcBXQ", &[1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        (2, "eNo76fITAAPfAgc", &[1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
    ];
    for (bits, lst, statuses) in vectors {
        let house = House::new().await;
        house.serve_list(house.list(list(json!(bits), lst)));
        for (index, status) in (0..).zip(statuses) {
            let verdict = house.judge(&house.token(index)).await.map(drop);
            let expected = match status {
                0 => Ok(()),
                1 => Err(invalid(InvalidToken::Inactive)),
                2 => Err(invalid(InvalidToken::Suspended)),
                _ => Err(invalid(InvalidToken::UnknownStatus)),
            };
            assert_eq!(verdict, expected, "{bits} bits, {index}");
        }
    }
}

#[tokio::test]
async fn case_41_the_caps_are_those_that_were_set() {
    let zlib = |bytes: usize| {
        let mut noise = 1_u32;
        let bytes: Vec<u8> = (0..bytes)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8 & 0b1111_0000
            })
            .collect();
        list(json!(1), encode(&compress_to_vec_zlib(&bytes, 10)))
    };
    // 300,000 bytes in some 200 KiB: more than the default takes on the way, less than it takes unpacked.
    for (bytes, max_token, max_unpacked, good) in [
        (2_000, 1_024, 4_000, false),
        (2_000, 256 * 1024, 1_999, false),
        (2_000, 256 * 1024, 2_000, true),
        (300_000, 256 * 1024, 4 * 1024 * 1024, false),
        (300_000, 1024 * 1024, 4 * 1024 * 1024, true),
    ] {
        let options = |lists: tower_oauth_server::StatusListsBuilder| {
            lists.max_token_bytes(max_token).max_unpacked_bytes(max_unpacked)
        };
        let house = House::with(options).await;
        house.serve_list(house.list(zlib(bytes)));
        let verdict = house.judge(&house.token(0)).await.map(drop);
        assert_eq!(verdict.is_ok(), good, "{bytes} {max_token} {max_unpacked}: {verdict:?}");
        if let Err(rejection) = verdict {
            assert_eq!(rejection.status(), 503);
        }
    }
}
