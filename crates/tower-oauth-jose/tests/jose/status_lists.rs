//! Status lists: the draft's own vectors, and what is no list (draft-ietf-oauth-status-list).

use std::time::Duration;

use miniz_oxide::deflate::compress_to_vec_zlib;
use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, PackedStatusList, Rules, StatusList, Unverified, Verified};

use crate::signer::{
    AUDIENCE, ED25519, ISSUER, NOW, accept, at, encode, good_claims, good_header, rules, with,
};

const URI: &str = "https://idp.example.com/statuslists/1";
const ROOM: usize = 1024 * 1024;

fn header() -> Value {
    with(good_header(), json!({ "typ": "statuslist+jwt" }))
}

/// Section 4.2: the statuses 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1.
fn claims() -> Value {
    json!({
        "sub": URI, "iat": NOW, "exp": NOW + 3600, "ttl": 60,
        "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"},
    })
}

fn verdict(header: &Value, claims: &Value) -> Result<Verified, InvalidToken> {
    let token = ED25519.token(header, claims);
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let parsed = Unverified::parse_status_list(token.len(), &token)?;
    Ok(parsed.check_status_list(&rules(), URI, at(NOW))?.verify_by(&keys)?)
}

fn packed(bits: u8, lst: &str) -> Result<PackedStatusList, InvalidToken> {
    verdict(&header(), &with(claims(), json!({"status_list": {"bits": bits, "lst": lst}})))?
        .status_list()
}

fn unpacked(bits: u8, lst: &str) -> StatusList {
    packed(bits, lst).unwrap().unpack(ROOM).unwrap()
}

#[test]
fn case_70_the_short_vectors_of_the_draft() {
    for (bits, lst, statuses) in [
        (1, "eNrbuRgAAhcBXQ", vec![1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        (2, "eNo76fITAAPfAgc", vec![1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
    ] {
        let list = unpacked(bits, lst);
        assert_eq!(list.len(), statuses.len() as u64);
        let read: Vec<_> = (0..list.len()).map(|index| list.status(index).unwrap()).collect();
        assert_eq!(read, statuses);
        for beyond in [list.len(), list.len() + 1, u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(list.status(beyond), None, "{beyond}");
        }
    }
}

/// Appendix C.1 to C.3: a million statuses each, all but these are 0.
#[test]
fn case_70_the_long_vectors_of_the_draft() {
    type Statuses = &'static [(u64, u8)];
    let vectors: [(u8, &str, Statuses); 3] = [
        (
            1,
            ONE_BIT,
            &[
                (0, 1),
                (1993, 1),
                (25460, 1),
                (159_495, 1),
                (495_669, 1),
                (554_353, 1),
                (645_645, 1),
                (723_232, 1),
                (854_545, 1),
                (934_534, 1),
                (1_000_345, 1),
            ],
        ),
        (
            2,
            TWO_BITS,
            &[
                (0, 1),
                (1993, 2),
                (25460, 1),
                (159_495, 3),
                (495_669, 1),
                (554_353, 1),
                (645_645, 2),
                (723_232, 1),
                (854_545, 1),
                (934_534, 2),
                (1_000_345, 3),
            ],
        ),
        (
            4,
            FOUR_BITS,
            &[
                (0, 1),
                (1993, 2),
                (35460, 3),
                (459_495, 4),
                (595_669, 5),
                (754_353, 6),
                (845_645, 7),
                (923_232, 8),
                (924_445, 9),
                (934_534, 10),
                (1_000_345, 12),
                (1_004_534, 11),
                (1_030_203, 13),
                (1_030_204, 14),
                (1_030_205, 15),
            ],
        ),
    ];
    for (bits, lst, expected) in vectors {
        let list = unpacked(bits, lst);
        assert_eq!(list.len(), 1 << 20);
        let set: Vec<_> = (0..list.len())
            .filter_map(|index| list.status(index).filter(|s| *s > 0).map(|s| (index, s)))
            .collect();
        assert_eq!(set, expected, "{bits} bits");
    }
}

#[test]
fn eight_bits_are_a_byte() {
    let bytes: Vec<u8> = (0..=255).collect();
    let list = unpacked(8, &encode(compress_to_vec_zlib(&bytes, 10)));
    assert!((0..256).all(|index| list.status(index) == Some(index as u8)));
    let empty = unpacked(8, &encode(compress_to_vec_zlib(&[], 10)));
    assert!(empty.is_empty() && empty.status(0).is_none());
}

#[test]
fn what_is_no_status_list_of_this_issuer_for_this_address_is_refused() {
    let list = |list: Value| json!({ "status_list": list });
    for (more, expected) in [
        (json!({"sub": null}), InvalidToken::MissingClaim("sub")),
        (
            json!({"sub": "https://idp.example.com/statuslists/2"}),
            InvalidToken::InvalidClaim("sub"),
        ),
        (json!({"sub": format!("{URI}/")}), InvalidToken::InvalidClaim("sub")),
        (json!({"iss": "https://other.example"}), InvalidToken::WrongIssuer),
        (json!({"iss": 7}), InvalidToken::InvalidClaim("iss")),
        (json!({"iat": null}), InvalidToken::MissingClaim("iat")),
        (json!({"iat": NOW + 31}), InvalidToken::NotYetValid),
        (json!({"exp": NOW - 30}), InvalidToken::Expired),
        (json!({"exp": "never"}), InvalidToken::InvalidClaim("exp")),
        (json!({"ttl": 0}), InvalidToken::InvalidClaim("ttl")),
        (json!({"ttl": -60}), InvalidToken::InvalidClaim("ttl")),
        (json!({"ttl": "60"}), InvalidToken::InvalidClaim("ttl")),
        (json!({"status_list": null}), InvalidToken::MissingClaim("status_list")),
        (list(json!("eNrbuRgAAhcBXQ")), InvalidToken::InvalidClaim("status_list")),
        (list(json!({"lst": "eNrbuRgAAhcBXQ"})), InvalidToken::InvalidClaim("bits")),
        (list(json!({"bits": 0, "lst": "eNrbuRgAAhcBXQ"})), InvalidToken::InvalidClaim("bits")),
        (list(json!({"bits": 3, "lst": "eNrbuRgAAhcBXQ"})), InvalidToken::InvalidClaim("bits")),
        (list(json!({"bits": 16, "lst": "eNrbuRgAAhcBXQ"})), InvalidToken::InvalidClaim("bits")),
        (list(json!({"bits": 1.5, "lst": "eNrbuRgAAhcBXQ"})), InvalidToken::InvalidClaim("bits")),
        (list(json!({"bits": "1", "lst": "eNrbuRgAAhcBXQ"})), InvalidToken::InvalidClaim("bits")),
        (list(json!({"bits": 1})), InvalidToken::InvalidClaim("lst")),
        (list(json!({"bits": 1, "lst": [1]})), InvalidToken::InvalidClaim("lst")),
        (list(json!({"bits": 1, "lst": "eNrbuRgAAhcBXQ=="})), InvalidToken::InvalidClaim("lst")),
        (list(json!({"bits": 1, "lst": "eNrb+RgAAhcBXQ"})), InvalidToken::InvalidClaim("lst")),
    ] {
        let refused = verdict(&header(), &with(claims(), more.clone())).unwrap_err();
        assert_eq!(refused, expected, "{more}");
    }
    for more in [
        json!({"iss": ISSUER}),
        json!({"iat": NOW + 30}),
        json!({"exp": NOW - 29}),
        json!({"exp": null, "ttl": null}),
        json!({"ttl": 0.5, "other": true}),
    ] {
        assert!(verdict(&header(), &with(claims(), more.clone())).is_ok(), "{more}");
    }
}

#[test]
fn what_is_no_whole_zlib_stream_is_refused_when_it_is_unpacked() {
    let zlib = compress_to_vec_zlib(&[0xb9; 5000], 10);
    let raw = &zlib[2..zlib.len() - 4];
    let mut wrong_sum = zlib.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    for (name, bytes) in [
        ("nothing", &[][..]),
        ("its first byte", &zlib[..1]),
        ("its first half", &zlib[..zlib.len() / 2]),
        ("all but its sum", &zlib[..zlib.len() - 4]),
        ("all but a byte", &zlib[..zlib.len() - 1]),
        ("deflate without zlib", raw),
        ("another sum", &wrong_sum),
        ("noise", b"\x78\x9cnoise noise noise"),
    ] {
        let refused = packed(1, &encode(bytes)).unwrap().unpack(ROOM).unwrap_err();
        assert_eq!(refused, InvalidToken::InvalidClaim("lst"), "{name}");
    }
}

#[test]
fn a_bomb_is_cut() {
    let zlib = compress_to_vec_zlib(&vec![0; 64 * ROOM], 10);
    assert!(zlib.len() < 128 * 1024, "{}", zlib.len());
    let bomb = packed(1, &encode(&zlib)).unwrap();
    assert_eq!(bomb.unpack(4 * ROOM).unwrap_err(), InvalidToken::TooLarge);
    let list = packed(1, &encode(compress_to_vec_zlib(&[0; 1000], 10))).unwrap();
    assert_eq!(list.unpack(999).unwrap_err(), InvalidToken::TooLarge);
    assert_eq!(list.unpack(1000).unwrap().len(), 8000);
}

#[test]
fn a_list_longer_than_the_cap_is_not_looked_at() {
    let token = ED25519.token(&header(), &claims());
    let parse = |max| Unverified::parse_status_list(max, &token).map(drop);
    assert_eq!(parse(token.len() - 1), Err(InvalidToken::TooLarge));
    assert_eq!(parse(token.len()), Ok(()));
    let endless = vec![b'a'; 4 * 1024 * 1024 + 1];
    let refused = Unverified::parse_status_list(usize::MAX, &endless).map(drop);
    assert_eq!(refused, Err(InvalidToken::TooLarge));
}

#[test]
fn e02_an_access_token_is_no_list_and_a_list_no_access_token() {
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let both = with(good_claims(), with(claims(), json!({ "aud": AUDIENCE })));
    for (typ, list, token) in [
        (json!("statuslist+jwt"), true, false),
        (json!("application/StatusList+JWT"), true, false),
        (json!("at+jwt"), false, true),
        (json!("JWT"), false, false),
        (json!("statuslist+cwt"), false, false),
        (json!(null), false, false),
    ] {
        let header = with(header(), json!({ "typ": typ }));
        assert_eq!(verdict(&header, &both).is_ok(), list, "{typ}");
        let jwt = ED25519.token(&header, &both);
        assert_eq!(accept(&jwt, &rules(), &keys).is_ok(), token, "{typ}");
        if list {
            assert!(accept(&jwt, &crate::signer::lenient(), &keys).is_err(), "{typ}");
        }
    }
    let forged = crate::signer::Signer::ed25519().token(&header(), &claims());
    let parsed = Unverified::parse_status_list(ROOM, &forged).unwrap();
    let checked = parsed.check_status_list(&rules(), URI, at(NOW)).unwrap();
    assert_eq!(checked.verify_by(&keys).unwrap_err().reason(), InvalidToken::BadSignature);
    let es256 = [tower_oauth_jose::Algorithm::ES256];
    let es256 = Rules::builder(ISSUER, AUDIENCE).algorithms(es256).build().unwrap();
    let parsed = Unverified::parse_status_list(ROOM, &forged).unwrap();
    let refused = parsed.check_status_list(&es256, URI, at(NOW)).unwrap_err();
    assert_eq!(refused, InvalidToken::AlgorithmNotAllowed);
}

#[test]
fn a_token_says_where_its_status_stands_or_nothing_or_is_refused() {
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let reference = |status: Value| {
        let token =
            ED25519.token(&good_header(), &with(good_claims(), json!({ "status": status })));
        let verified = accept(&token, &rules(), &keys).unwrap();
        verified.status_reference().map(|found| found.map(|r| (r.uri().to_owned(), r.index())))
    };
    let list = |list: Value| reference(json!({ "status_list": list }));
    let good = list(json!({"idx": 7, "uri": URI, "more": [1]}));
    assert_eq!(good, Ok(Some((URI.to_owned(), 7))));
    assert_eq!(
        list(json!({"idx": u64::MAX, "uri": "urn:x"})),
        Ok(Some(("urn:x".into(), u64::MAX)))
    );
    assert_eq!(reference(json!(null)), Ok(None), "not there");
    assert_eq!(reference(json!({"another_mechanism": {"uri": URI}})), Ok(None));
    let invalid = Err(InvalidToken::InvalidClaim("status"));
    for status in [json!("valid"), json!(0), json!([]), json!({"status_list": URI})] {
        assert_eq!(reference(status.clone()), invalid, "{status}");
    }
    for odd in [
        json!({"uri": URI}),
        json!({"idx": -1, "uri": URI}),
        json!({"idx": 1.0, "uri": URI}),
        json!({"idx": "1", "uri": URI}),
        json!({"idx": 1}),
        json!({"idx": 1, "uri": ""}),
        json!({"idx": 1, "uri": [URI]}),
        json!({"idx": 1, "uri": "x".repeat(2049)}),
    ] {
        assert_eq!(list(odd.clone()), invalid, "{odd}");
    }
}

#[test]
fn dates_and_ttl_are_told() {
    let told = |more| {
        let verified = verdict(&header(), &with(claims(), more)).unwrap();
        (verified.standard().expires_at(), verified.status_list().unwrap().ttl())
    };
    let second = Duration::from_secs;
    assert_eq!(told(json!({})), (at(NOW + 3600), Some(second(60))));
    assert_eq!(told(json!({"exp": null, "ttl": null})), (at(253_402_300_799), None));
    assert_eq!(told(json!({"ttl": 1e300})).1, Some(Duration::MAX));
    assert_eq!(told(json!({"ttl": 1.5})).1, Some(Duration::from_millis(1500)));
}

#[test]
fn l01_no_debug_shows_which_token_it_is() {
    let keys = ED25519.key_set(json!({ "kid": "k" }));
    let status = json!({"status": {"status_list": {"idx": 777_777, "uri": "https://CANARY"}}});
    let token = ED25519.token(&good_header(), &with(good_claims(), status));
    let verified = accept(&token, &rules(), &keys).unwrap();
    let list = packed(1, "eNrbuRgAAhcBXQ").unwrap();
    let shown = format!(
        "{verified:?} {:?} {list:?} {:?}",
        verified.status_reference(),
        list.unpack(ROOM).unwrap()
    );
    assert!(!shown.contains("CANARY") && !shown.contains("777"), "{shown}");
    assert!(shown.contains("len: 16"), "{shown}");
}

const ONE_BIT: &str = "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAA\
         AAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAAACAZC8L2AEb";

const TWO_BITS: &str = "eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
         AAAAAEB5WwIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAID0ugQAAAAAAAAAAAAAAAAAQG12SgAAAAAAAAAAAAAAAAAAAAAAAAAAAOCSIQEAAAAA\
         AAAAAAAAAAAAAAAAAAD8ExIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwJEuAQAAAAAAAAAAAAAAAAAAAAAA\
         AMB9SwIAAAAAAAAAAAAAAAAAAACoYUoAAAAAAAAAAAAAAEBqH81gAQw";

const FOUR_BITS: &str = "eNrt0EENgDAQADAIHwImkIIEJEwCUpCEBBQRHOy35Li1EjoOQGabAgAAAAAAAAAAAAAAAAAAACC1SQEAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABADrsCAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADoxaEAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIIo\
         CgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACArpwKAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
         AAAAAAAAAAAAAAAAAAAAAGhqVkAzlwIAAAAAiGVRAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABx3AoAgLpV\
         AQAAAAAAAAAAAAAAwM89rwMAAAAAAAAAAAjsA9xMBMA";
