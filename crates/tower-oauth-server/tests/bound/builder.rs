//! What cannot work is refused when it is built.

use std::time::Duration;

use tower_oauth_server::{Algorithm, Dpop, DpopBuilder, MutualTls, RequireTokenLayer, Secret};

use crate::sender::*;

#[test]
fn a_value_that_cannot_work_is_named() {
    let refused = |builder: DpopBuilder| builder.build().unwrap_err().to_string();
    let based = || Dpop::builder().external_base_url(BASE);
    assert!(based().build().is_ok());
    for url in [
        "",
        "api.example.com",
        "/v1",
        "http://api.example.com",
        "https://user@api.example.com",
        "https://api.example.com/?a=b",
        "https://api.example.com/#a",
    ] {
        let error = refused(Dpop::builder().external_base_url(url));
        // What may be a secret is not shown.
        let shown = url.replace("https://user@", "").replace("?a=b", "");
        assert!(error.starts_with(&format!("external_base_url `{shown}`: ")), "{error}");
    }
    assert!(Dpop::builder().external_base_url("http://127.0.0.1:8080").build().is_ok());
    let seconds = Duration::from_secs;
    for (builder, option) in [
        (Dpop::builder(), "external_base_url"),
        (based().danger_take_host_from_request("https"), "external_base_url"),
        (Dpop::builder().danger_take_host_from_request("ftp"), "danger_take_host_from_request"),
        (Dpop::builder().danger_take_host_from_request(""), "danger_take_host_from_request"),
        (based().algorithms([]), "algorithms"),
        (based().algorithms([Algorithm::ES256, Algorithm::HS256]), "algorithms"),
        (based().max_age(seconds(0)), "max_age"),
        (based().max_age(seconds(301)), "max_age"),
        (based().max_future(seconds(61)), "max_future"),
        (based().nonces(seconds(0)), "nonces"),
        (based().nonces(seconds(3601)), "nonces"),
        (based().replay_capacity(0), "replay_capacity"),
        (based().shared_secret(Secret::new("CANARY")), "shared_secret"),
    ] {
        let error = refused(builder);
        assert!(error.starts_with(&format!("{option} `")), "{option}: {error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
}

#[test]
fn no_secret_and_no_token_shows() {
    let house = House::cold();
    let secret = Secret::new("CANARYCANARYCANARYCANARYCANARYCANARY");
    let builder = house.dpop().nonces(Duration::from_secs(60)).shared_secret(secret);
    let mut shown = format!("{builder:?}");
    let dpop = builder.build().unwrap();
    shown += &format!("{dpop:?}");
    let door: RequireTokenLayer = house.bare_door().dpop(dpop).mutual_tls(MutualTls::default());
    shown += &format!("{door:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
    assert!(shown.contains("mutual_tls"), "{shown}");
}
