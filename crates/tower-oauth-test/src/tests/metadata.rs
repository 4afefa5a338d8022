use super::*;

#[tokio::test]
async fn every_well_known_form_tells_the_same() {
    let issuer = builder().issuer_path("/realms/shop").build().unwrap();
    assert_eq!(issuer.issuer(), "https://issuer.test/realms/shop");
    let forms = [
        "/realms/shop/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/realms/shop",
        "/.well-known/openid-configuration/realms/shop",
    ];
    for form in forms {
        let request = Request::get(form).body(Full::default()).unwrap();
        let told = ask(&issuer, request).await.json();
        assert_eq!(told["issuer"], "https://issuer.test/realms/shop");
        assert_eq!(told["token_endpoint"], "https://issuer.test/realms/shop/token");
        assert_eq!(told["jwks_uri"], issuer.url(Endpoint::Jwks));
        assert_eq!(told["introspection_endpoint"], issuer.url(Endpoint::Introspection));
        assert_eq!(told["revocation_endpoint"], issuer.url(Endpoint::Revocation));
        assert_eq!(told["id_token_signing_alg_values_supported"], json!(["ES256"]));
    }
    assert_eq!(issuer.calls(Endpoint::Discovery), 3);
}

#[tokio::test]
async fn members_can_be_replaced_and_left_out() {
    let issuer = builder()
        .metadata("issuer", "https://evil.test")
        .metadata("jwks_uri", Value::Null)
        .build()
        .unwrap();
    let told = ask(&issuer, get(&issuer, Endpoint::Discovery)).await.json();
    assert_eq!(told["issuer"], "https://evil.test");
    assert_eq!(told.get("jwks_uri"), None);
}

#[tokio::test]
async fn a_slash_at_the_end_is_part_of_the_name() {
    let issuer = builder().issuer("https://a.test/").build().unwrap();
    let told = ask(&issuer, get(&issuer, Endpoint::Discovery)).await.json();
    assert_eq!(told["issuer"], "https://a.test/");
    assert_eq!(told["token_endpoint"], "https://a.test/token");
}

#[tokio::test]
async fn what_is_not_there_is_not_counted() {
    let issuer = issuer();
    let request = Request::get("https://issuer.test/authorize").body(Full::default()).unwrap();
    assert_eq!(ask(&issuer, request).await.status, StatusCode::NOT_FOUND);
    assert_eq!(Endpoint::ALL.map(|endpoint| issuer.calls(endpoint)), [0; 6]);
}

#[tokio::test]
async fn a_wrong_method_is_not_allowed() {
    let issuer = issuer();
    for (endpoint, method, allow) in [
        (Endpoint::Token, "GET", "POST"),
        (Endpoint::Introspection, "GET", "POST"),
        (Endpoint::Revocation, "PUT", "POST"),
        (Endpoint::Jwks, "POST", "GET, HEAD"),
        (Endpoint::Discovery, "DELETE", "GET, HEAD"),
        (Endpoint::StatusList, "POST", "GET, HEAD"),
    ] {
        let mut request = get(&issuer, endpoint);
        *request.method_mut() = method.parse().unwrap();
        let answer = ask(&issuer, request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {endpoint:?}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
}

#[test]
fn a_builder_refuses_what_cannot_be_an_issuer() {
    let refused = [
        builder().issuer("http://issuer.test"),
        builder().issuer("https://issuer.test/?a=b"),
        builder().issuer("issuer.test"),
        builder().issuer_path("realms/shop"),
        builder().issuer_path("/a?b"),
        builder().issuer("https://issuer.test").issuer_path("/a"),
    ];
    for builder in refused {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with("issuer"), "{error}");
    }
}
