//! Values that cannot work are refused by name.

use std::time::Duration;

use tower_oauth_server::{Outage, StatusLists, StatusListsBuilder};

#[test]
fn case_16_each_value_out_of_bounds_is_named() {
    let second = Duration::from_secs;
    type Set = Box<dyn Fn(StatusListsBuilder) -> StatusListsBuilder>;
    let cases: Vec<(Set, Option<&str>)> = vec![
        (Box::new(|lists| lists), None),
        (Box::new(|lists| lists.accept_status(2).accept_status(255)), None),
        (Box::new(|lists| lists.accept_status(0)), Some("accept_status `0`")),
        (Box::new(|lists| lists.accept_status(3).accept_status(1)), Some("accept_status `1`")),
        (Box::new(move |lists| lists.max_ttl(second(5))), None),
        (Box::new(move |lists| lists.max_ttl(second(24 * 3600))), None),
        (Box::new(move |lists| lists.max_ttl(second(4))), Some("max_ttl `4s`")),
        (Box::new(move |lists| lists.max_ttl(second(24 * 3600 + 1))), Some("max_ttl `86401s`")),
        (Box::new(|lists| lists.max_lists(1)), None),
        (Box::new(|lists| lists.max_lists(0)), Some("max_lists `0`")),
        (Box::new(|lists| lists.max_lists(4_097)), Some("max_lists `4097`")),
        (Box::new(|lists| lists.max_token_bytes(1023)), Some("max_token_bytes `1023`")),
        (Box::new(|lists| lists.max_token_bytes(4 << 20)), None),
        (Box::new(|lists| lists.max_token_bytes(5 << 20)), Some("max_token_bytes `5242880`")),
        (Box::new(|lists| lists.max_unpacked_bytes(0)), Some("max_unpacked_bytes `0`")),
        (
            Box::new(|lists| lists.max_unpacked_bytes(65 << 20)),
            Some("max_unpacked_bytes `68157440`"),
        ),
        (Box::new(|lists| lists.trust_host("")), Some("trust_host ``")),
        (
            Box::new(move |lists| lists.outage(Outage::Grace(second(24 * 3600 + 1)))),
            Some("outage `86401s`"),
        ),
    ];
    for (set, expected) in cases {
        let built = set(StatusLists::builder()).build();
        match expected {
            None => assert!(built.is_ok(), "{built:?}"),
            Some(begin) => {
                let error = built.unwrap_err().to_string();
                assert!(error.starts_with(begin), "{error}");
            }
        }
    }
    let lists = StatusLists::builder().build().unwrap();
    assert!(lists.with_outage(Outage::Grace(second(24 * 3600 + 1))).is_err());
}
