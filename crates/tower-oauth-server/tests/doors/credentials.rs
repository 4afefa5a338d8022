use http::HeaderValue;
use tower_oauth_server::{MalformedRequest, Rejection, RequireTokenLayer};

use crate::support::*;

/// What a door makes of the credentials: who comes in, or why not.
type Expected = Result<&'static str, Rejection>;

const MISSING: Expected = Err(Rejection::Missing);
const SEVERAL: Expected = Err(Rejection::Malformed(MalformedRequest::SeveralCredentials));
const NOT_BEARER: Expected = Err(Rejection::Malformed(MalformedRequest::NotABearerToken));
const TOO_LONG: Expected = Err(Rejection::Malformed(MalformedRequest::TooLong));
const IN_QUERY: Expected = Err(Rejection::Malformed(MalformedRequest::TokenInQuery));

async fn check(cases: &[(&str, &[&[u8]], Expected)]) {
    check_with(&table(), cases).await;
}

/// Each case over axum and over tonic.
async fn check_with(layer: &RequireTokenLayer, cases: &[(&str, &[&[u8]], Expected)]) {
    for (uri, fields, expected) in cases {
        let case = format!(
            "{uri} {:?}",
            fields.iter().map(|f| f.escape_ascii().to_string()).collect::<Vec<_>>()
        );
        let over_http = over_axum(layer, get(uri, fields)).await;
        let over_grpc = over_tonic(layer, get(uri, fields)).await;
        match expected {
            Ok(name) => {
                assert_eq!(
                    (over_http.status.as_u16(), over_http.body.as_str()),
                    (200, *name),
                    "{case}"
                );
                assert_eq!(
                    (over_grpc.body.as_str(), over_grpc.header("grpc-status")),
                    (*name, None),
                    "{case}"
                );
            }
            Err(rejection) => {
                assert_eq!(over_http.rejection.as_ref(), Some(rejection), "{case}");
                let status = if *rejection == Rejection::Missing { 401 } else { 400 };
                assert_eq!(over_http.status, status, "{case}");
                let challenge = over_http.header("www-authenticate").unwrap();
                assert_eq!(challenge.contains("error"), status == 400, "{case}: {challenge}");
                assert_eq!(
                    challenge.contains("error=\"invalid_request\""),
                    status == 400,
                    "{case}"
                );

                assert_eq!(over_grpc.rejection.as_ref(), Some(rejection), "{case}");
                assert_eq!(over_grpc.status, 200, "{case}");
                assert_eq!(over_grpc.header("grpc-status"), Some("16"), "{case}");
                assert_eq!(over_grpc.header("www-authenticate"), Some(challenge), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn h01_a_token_in_the_query_counts_for_nothing_and_beside_a_header_is_malformed() {
    check(&[
        ("/?access_token=alice", &[], MISSING),
        ("/?access_token=alice", &[b"Basic dTpw"], MISSING),
        ("/?access_token=alice", &[b"Bearer"], MISSING),
        ("/?access_token=alice", &[b"Bearer alice"], IN_QUERY),
        ("/?a=b&access%5Ftoken=alice", &[b"Bearer alice"], IN_QUERY),
        ("/?access_token", &[b"Bearer alice"], IN_QUERY),
        ("/?token=alice&b=access_token", &[b"Bearer alice"], Ok("alice")),
    ])
    .await;
}

#[tokio::test]
async fn h01_a_token_in_a_form_counts_for_nothing() {
    let mut request = get("/", &[]).map(|()| "access_token=alice");
    *request.method_mut() = http::Method::POST;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert("content-type", form);
    let service = tower::Layer::layer(&table(), tower::service_fn(greet));
    let response = tower::ServiceExt::oneshot(service, request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Rejection::Missing));
}

#[tokio::test]
async fn h02_of_several_credentials_none_is_picked() {
    check(&[
        ("/", &[b"Bearer alice", b"Bearer alice"], SEVERAL),
        ("/", &[b"Bearer alice", b"Basic dTpw"], SEVERAL),
        ("/", &[b"Basic dTpw", b"Bearer alice"], SEVERAL),
        ("/", &[b"Bearer alice", b"DPoP bob"], SEVERAL),
        ("/", &[b"Basic dTpw", b"Basic dTpw"], SEVERAL),
        ("/", &[b"Bearer alice", b""], SEVERAL),
        ("/", &[b"Bearer alice, Bearer bob"], SEVERAL),
        ("/", &[b"Bearer alice,Bearer bob"], SEVERAL),
        ("/", &[b"Bearer alice, Basic dTpw"], SEVERAL),
        ("/", &[b"Bearer alice, DPoP bob"], SEVERAL),
        ("/", &[b"Basic dTpw, Bearer alice"], SEVERAL),
        ("/", &[b"Bearer , Bearer alice"], SEVERAL),
    ])
    .await;
}

#[tokio::test]
async fn h03_the_scheme_is_read_in_any_case_before_any_number_of_spaces() {
    check(&[
        ("/", &[b"Bearer alice"], Ok("alice")),
        ("/", &[b"bearer alice"], Ok("alice")),
        ("/", &[b"BEARER alice"], Ok("alice")),
        ("/", &[b"bEaReR     carol-later"], Ok("carol-later")),
    ])
    .await;
}

#[tokio::test]
async fn h04_what_is_not_a_bearer_token_is_malformed_and_the_scheme_alone_is_missing() {
    let long = [b"Bearer ", "a".repeat(8193).as_bytes()].concat();
    check(&[
        ("/", &[b"Bearer"], MISSING),
        ("/", &[b"bearer"], MISSING),
        // HTTP/1 cuts trailing spaces off, HTTP/2 does not.
        ("/", &[b"Bearer "], MISSING),
        ("/", &[b"Bearer   "], MISSING),
        ("/", &[b"Bearer\t"], NOT_BEARER),
        ("/", &[b"Bearer\talice"], NOT_BEARER),
        ("/", &[b"Bearer \talice"], NOT_BEARER),
        ("/", &[b"Beareralice"], NOT_BEARER),
        ("/", &[b"Bearer:alice"], NOT_BEARER),
        ("/", &[b"Bearer=alice"], NOT_BEARER),
        ("/", &[b"Bearer,alice"], NOT_BEARER),
        ("/", &[b"Bearer\"alice\""], NOT_BEARER),
        ("/", &[b"Bearer \"alice\""], NOT_BEARER),
        ("/", &[b"Bearer 'alice'"], NOT_BEARER),
        ("/", &[b"Bearer alice "], NOT_BEARER),
        ("/", &[b"Bearer alice\t"], NOT_BEARER),
        ("/", &[b"Bearer alice,"], NOT_BEARER),
        ("/", &[b"Bearer alice, ,"], NOT_BEARER),
        ("/", &[b"Bearer alice bob"], NOT_BEARER),
        ("/", &[b"Bearer Bearer alice"], NOT_BEARER),
        ("/", &[b"Bearer al\xefce"], NOT_BEARER),
        ("/", &[b"Bearer \xc3\xa4"], NOT_BEARER),
        ("/", &[b"Bearer ="], NOT_BEARER),
        ("/", &[b"Bearer al=ice"], NOT_BEARER),
        ("/", &[b"Bearer token=alice"], NOT_BEARER),
        ("/", &[b" Bearer alice"], NOT_BEARER),
        ("/", &[b"\"Bearer alice\""], NOT_BEARER),
        ("/", &[b""], NOT_BEARER),
        ("/", &[b"\xef\xbb\xbfBearer alice"], NOT_BEARER),
        ("/", &[&long], TOO_LONG),
    ])
    .await;
}

#[tokio::test]
async fn h05_no_bearer_credentials_are_missing() {
    check(&[
        ("/", &[], MISSING),
        ("/", &[b"Basic dTpw"], MISSING),
        ("/", &[b"DPoP alice"], MISSING),
        ("/", &[b"Negotiate"], MISSING),
        ("/", &[b"alice"], MISSING),
        ("/", &[br#"Digest username="a, Bearer alice""#], MISSING),
    ])
    .await;
}

#[tokio::test]
async fn h06_where_the_anonymous_may_come_in_an_invalid_token_still_may_not() {
    let layer = table().allow_anonymous();
    let basic: &[(&str, &[&[u8]], Expected)] = &[
        ("/", &[], Ok("anonymous")),
        ("/", &[b"Basic dTpw"], Ok("anonymous")),
        ("/?access_token=alice", &[], Ok("anonymous")),
        ("/", &[b"Bearer alice"], Ok("alice")),
        ("/", &[b"Bearer"], MISSING),
        ("/", &[b"Bearer alice,"], NOT_BEARER),
        ("/", &[b"Basic dTpw", b"Basic dTpw"], SEVERAL),
        ("/?access_token=alice", &[b"Bearer alice"], IN_QUERY),
    ];
    check_with(&layer, basic).await;
    for (token, status) in [(EXPIRED, 401), (EXPIRED_LATER, 401), ("CANARY", 401), (OUTAGE, 503)] {
        assert_eq!(ask(&layer, with_token(token)).await.status, status, "{token}");
    }
}

#[tokio::test]
async fn h08_metadata_of_another_name_is_no_credentials() {
    for name in ["authorization-bin", "proxy-authorization", "x-authorization", "x-access-token"] {
        let mut request = grpc(get("/", &[]));
        request.headers_mut().insert(name, HeaderValue::from_static("Bearer alice"));
        assert_eq!(ask(&table(), request).await.rejection, Some(Rejection::Missing), "{name}");
    }
}

#[tokio::test]
async fn malformed_credentials_never_reach_the_authenticator() {
    let authenticator = Table::default();
    let layer = RequireTokenLayer::new(authenticator.clone());
    for field in ["Bearer", "Bearer a,b", "Bearer \"a\"", "Basic a", "Bearera"] {
        ask(&layer, get("/", &[field.as_bytes()])).await;
    }
    assert_eq!(authenticator.asked(), 0);
    ask(&layer, with_token(ALICE)).await;
    assert_eq!(authenticator.asked(), 1);
}
