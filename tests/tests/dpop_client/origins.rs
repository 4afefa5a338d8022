//! Where a proof goes, and what it says of where it goes.

use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_oauth::{ClientError, InjectTokenLayer, RetryInvalidTokenLayer};

use crate::rig::{API, Net, Req, Res, World, get, net, status};

/// A request as a tonic `Channel` gets it.
fn bare(path: &str) -> Req {
    Request::post(path).body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn d02_a_uri_without_an_origin_needs_one_that_is_told() {
    let world = World::new().await;
    let tokens = world.tokens();
    let net = || net(&world.seen, |_| Res::default());
    let retry = || RetryInvalidTokenLayer::new(tokens.clone());
    let inject = || InjectTokenLayer::new(tokens.clone());
    let two = [API, "https://b.example"];
    let told = [
        Net::new(retry().dpop_origin(API).unwrap().layer(net()).map_err(Into::into)),
        Net::new(
            inject()
                .dpop_origin("https://API.example.com:443/")
                .unwrap()
                .layer(net())
                .map_err(Into::into),
        ),
        Net::new(retry().with_origins([API]).unwrap().layer(net()).map_err(Into::into)),
        Net::new(
            retry()
                .with_origins(two)
                .unwrap()
                .dpop_origin(API)
                .unwrap()
                .layer(net())
                .map_err(Into::into),
        ),
    ];
    // Also where the first request waits for the token.
    for service in told {
        assert_eq!(status(&service, bare("/inventory.Inventory/Count")).await, 200);
        let came = world.seen.take();
        let expected = format!("{API}/inventory.Inventory/Count");
        assert_eq!(came[0].said("htu"), Some(&*expected));
        // What the URI shows is what counts.
        assert_eq!(status(&service, get("https://api.example.com/x")).await, 200);
        assert_eq!(world.seen.take()[0].said("htu"), Some("https://api.example.com/x"));
    }
    let untold = [
        Net::new(retry().layer(net()).map_err(Into::into)),
        Net::new(inject().layer(net()).map_err(Into::into)),
        Net::new(retry().with_origins(two).unwrap().layer(net()).map_err(Into::into)),
    ];
    for is_cold in [false, true] {
        for service in &untold {
            if is_cold {
                tokens.flush();
            }
            let error = service.clone().oneshot(bare("/x")).await.unwrap_err();
            let Some(ClientError::Refused(refused)) = error.downcast_ref::<ClientError>() else {
                panic!("{error:?}")
            };
            assert!(refused.is_missing_dpop_origin());
            let status =
                std::error::Error::source(refused).unwrap().downcast_ref::<tonic::Status>();
            assert_eq!(status.unwrap().code(), tonic::Code::FailedPrecondition);
            assert_eq!(world.seen.take().len(), 0, "nothing was sent");
        }
    }
}

#[test]
fn a_dpop_origin_that_is_none_is_refused_where_it_is_made() {
    for bad in [
        "",
        "api.example.com",
        "https://api.example.com/v1",
        "http://api.example.com",
        "https://me:CANARY@a.example",
    ] {
        let layer = InjectTokenLayer::new(tower_oauth::Token::bearer("t").unwrap());
        let error = layer.dpop_origin(bad).unwrap_err().to_string();
        assert!(error.starts_with("dpop_origin ") && !error.contains("CANARY"), "{error}");
    }
}
