use std::time::Duration;

use crate::TokenSpec;

use super::*;

#[tokio::test]
async fn a_list_is_served_as_a_signed_token_of_now() {
    for issuer in [issuer(), builder().issuer_path("/realms/shop").build().unwrap()] {
        let uri = issuer.url(Endpoint::StatusList);
        let answer = ask(&issuer, get(&issuer, Endpoint::StatusList)).await;
        assert_eq!(answer.header("content-type"), Some("application/statuslist+jwt"));
        let (header, claims) = parts(std::str::from_utf8(&answer.body).unwrap());
        assert_eq!((&header["typ"], &header["kid"]), (&json!("statuslist+jwt"), &json!("key-1")));
        assert_eq!(claims["sub"], json!(uri));
        assert_eq!((&claims["iat"], &claims["ttl"]), (&json!(NOW), &json!(60)));
        assert_eq!(claims["status_list"]["bits"], 1);
        let (_, token) =
            parts(&issuer.mint(TokenSpec::new().claim("status", issuer.status_claim(7))));
        assert_eq!(token["status"], json!({"status_list": {"idx": 7, "uri": uri}}));
    }
}

#[tokio::test]
async fn each_list_says_what_it_was_told() {
    let issuer = issuer();
    let other = issuer.url(Endpoint::StatusList).replace("/1", "/other?part=2");
    let told = async |uri: &str| {
        let request = Request::get(uri).body(Full::default()).unwrap();
        let body = ask(&issuer, request).await.body;
        parts(std::str::from_utf8(&body).unwrap()).1
    };
    let first = told(&issuer.url(Endpoint::StatusList)).await;
    issuer.set_status(3, 2);
    issuer.set_status_list_ttl(None);
    let second = told(&issuer.url(Endpoint::StatusList)).await;
    assert_ne!(first["status_list"], second["status_list"]);
    assert_eq!(second["status_list"]["bits"], 2);
    assert_eq!(second.get("ttl"), None);
    issuer.set_status_list_ttl(Duration::from_secs(5));
    let third = told(&other).await;
    assert_eq!((&third["sub"], &third["ttl"]), (&json!(other), &json!(5)));
    assert_eq!(third["status_list"], first["status_list"], "untouched");
    issuer.set_status_of(&other, 3, 1);
    assert_ne!(told(&other).await["status_list"], first["status_list"]);
    assert_eq!(issuer.calls(Endpoint::StatusList), 4);
}
