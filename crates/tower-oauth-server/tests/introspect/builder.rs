//! What is refused before anything is asked.

use std::time::Duration;

use tower_oauth_server::{Introspection, IntrospectionBuilder, Jwks, Outage};

use crate::fixture::{House, introspection};

type Change = fn(IntrospectionBuilder) -> IntrospectionBuilder;

#[test]
fn a_value_that_cannot_work_is_named() {
    let house = House::new();
    let good = || introspection(&house.issuer, &house.clock);
    good().build().unwrap();
    let cases: [(&str, Change); 9] = [
        ("cache_ttl `301s`: is more than 300 s", |b| b.cache_ttl(Duration::from_secs(301))),
        ("negative_ttl `61s`: is more than 60 s", |b| b.negative_ttl(Duration::from_secs(61))),
        ("leeway `301s`: is more than 300 s", |b| b.leeway(Duration::from_secs(301))),
        ("max_entries `1`: is not between 2 and 1,000,000", |b| b.max_entries(1)),
        ("max_concurrency `0`: is not between 1 and 10,000", |b| b.max_concurrency(0)),
        ("outage `86401s`: is more than 24 hours", |b| {
            b.outage(Outage::Grace(Duration::from_secs(86_401)))
        }),
        ("introspection_endpoint `http://idp.example/i`", |b| {
            b.introspection_endpoint("http://idp.example/i")
        }),
        ("trust_host `x.example`: is for a discovered endpoint", |b| {
            b.introspection_endpoint("https://idp.example/i").trust_host("x.example")
        }),
        ("signed_answers `https://other.example`: are the keys of another issuer", |b| {
            let http = tower_oauth_endpoint::HttpClient::new(tower::service_fn(|_| async {
                Err::<http::Response<http_body_util::Full<bytes::Bytes>>, _>("no network")
            }));
            let jwks = Jwks::issuer("https://other.example").http_client(http).build().unwrap();
            b.signed_answers(jwks)
        }),
    ];
    for (expected, change) in cases {
        let error = change(good()).build().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn issuer_client_and_audience_are_required() {
    let build = |issuer: &str, id: &str, audiences: &[&str]| {
        let client = Introspection::issuer(issuer).client_credentials(id, "s");
        client.audiences(audiences.iter().copied()).build().map(drop).map_err(|e| e.to_string())
    };
    for (issuer, id, audiences, option) in [
        ("idp.example", "api", &["a"][..], "issuer"),
        ("http://idp.example", "api", &["a"], "issuer"),
        ("https://idp.example", "", &["a"], "client_credentials"),
        ("https://idp.example", "api", &[], "audiences"),
        ("https://idp.example", "api", &["a", ""], "audience"),
    ] {
        let error = build(issuer, id, audiences).unwrap_err();
        assert!(error.starts_with(&format!("{option} `")), "{error}");
    }
    let house = House::new();
    assert!(house.tokens.with_audience("").is_err());
    assert!(house.tokens.with_outage(Outage::Grace(Duration::MAX)).is_err());
}
