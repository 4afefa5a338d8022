//! Pushed security events: what each kind of event does to each kind of subject.

use serde_json::{Value, json};
use tower_oauth_core::Revocation;
use tower_oauth_events::SetPush;
use tower_oauth_test::TokenSpec;

use crate::house::{CAEP, House, RECEIVER, SET, call, post, serve, set};

const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const OAUTH: &str = "https://schemas.openid.net/secevent/oauth/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

#[tokio::test]
async fn an_event_ends_the_remembered_tokens_of_its_subject_before_it_is_acknowledged() {
    let house = House::new();
    let push = house.push();
    let (alice, bob) = (house.token("alice", "s-1"), house.token("bob", "s-2"));
    assert!(house.accepts(&alice).await && house.accepts(&bob).await);
    let answer = post(&push, SET, set(&house, json!({}))).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    assert!(!house.accepts(&alice).await && house.accepts(&bob).await);
    house.pass(1);
    assert!(house.accepts(&house.token("alice", "s-3")).await);
}

#[tokio::test]
async fn each_type_of_event_ends_what_it_should() {
    let house = House::new();
    let push = house.push();
    let (ends, nothing, unknown) = ((1, 0), (0, 0), (0, 1));
    for (name, event, (revocations, unknown_events)) in [
        (format!("{CAEP}session-revoked"), json!({}), ends),
        (format!("{CAEP}token-claims-change"), json!({ "claims": { "role": "x" } }), ends),
        (format!("{CAEP}credential-change"), json!({ "change_type": "revoke" }), ends),
        (format!("{CAEP}credential-change"), json!({ "change_type": "update" }), ends),
        (format!("{CAEP}credential-change"), json!({ "change_type": "create" }), nothing),
        (format!("{CAEP}credential-change"), json!({}), ends),
        (format!("{CAEP}assurance-level-change"), json!({ "change_direction": "decrease" }), ends),
        (
            format!("{CAEP}assurance-level-change"),
            json!({ "change_direction": "increase" }),
            nothing,
        ),
        (format!("{CAEP}assurance-level-change"), json!({ "change_direction": 1 }), ends),
        (format!("{CAEP}session-established"), json!({}), nothing),
        (format!("{CAEP}session-presented"), json!({}), nothing),
        (format!("{CAEP}device-compliance-change"), json!({}), unknown),
        (format!("{RISC}account-disabled"), json!({ "reason": "hijacking" }), ends),
        (format!("{RISC}account-purged"), json!({}), ends),
        (format!("{RISC}credential-compromise"), json!({ "credential_type": "password" }), ends),
        (format!("{RISC}sessions-revoked"), json!({}), ends),
        (format!("{RISC}account-enabled"), json!({}), nothing),
        (format!("{RISC}identifier-changed"), json!({}), unknown),
        (format!("{OAUTH}token-revoked"), json!({}), ends),
        (format!("{OAUTH}tokens-revoked"), json!({}), ends),
        (format!("{SSF}verification"), json!({ "state": "x" }), nothing),
        (format!("{SSF}stream-updated"), json!({ "status": "enabled" }), nothing),
        ("https://example.com/made-up".to_owned(), json!({}), unknown),
        ("session-revoked".to_owned(), json!({}), unknown),
    ] {
        let (before, heard) = (push.counts(), house.heard.count());
        let told = set(&house, json!({ "events": { &name: &event } }));
        assert_eq!(post(&push, SET, told).await.status, 202, "{name} {event}");
        let after = push.counts();
        let counted =
            (after.revocations - before.revocations, after.unknown_events - before.unknown_events);
        assert_eq!(counted, (revocations, unknown_events), "{name} {event}");
        assert_eq!(house.heard.count() - heard, revocations as usize, "{name} {event}");
        assert_eq!(after.acknowledged - before.acknowledged, 1);
    }
    assert_eq!(push.counts().refused, 0);
}

#[tokio::test]
async fn e05_a_stream_ends_tokens_by_the_events_that_it_was_set_up_for() {
    let house = House::new();
    let (revoked, disabled) = (format!("{CAEP}session-revoked"), format!("{RISC}account-disabled"));
    let push = house.push_builder().allow_events([revoked.clone()]).build().unwrap();
    // What is not allowed is not read: its date does not matter.
    let told = set(&house, json!({ "events": { &disabled: { "event_timestamp": "x" } } }));
    assert_eq!(post(&push, SET, told).await.status, 202);
    assert_eq!((push.counts().disallowed_events, house.heard.count()), (1, 0));
    let both = set(&house, json!({ "events": { &disabled: {}, &revoked: {} } }));
    assert_eq!(post(&push, SET, both).await.status, 202);
    assert_eq!((push.counts().disallowed_events, house.heard.count()), (2, 1));
    for (allowed, message) in [
        (vec![], "allow_events `none`: allows no event"),
        (vec![format!("{SSF}verification")], "allow_events `https://schemas"),
        (vec![revoked, "session-revoked".to_owned()], "allow_events `session-revoked`"),
    ] {
        let error = house.push_builder().allow_events(allowed).build().map(drop).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[tokio::test]
async fn case_69_a_session_revoked_event_ends_the_cached_verdicts_of_its_session() {
    let house = House::new();
    let push = house.push();
    let (mine, other) = (house.token("alice", "s-1"), house.token("alice", "s-2"));
    for token in [&mine, &other] {
        assert!(house.accepts(token).await && house.accepts(token).await, "it is remembered now");
        assert_eq!(house.grpc_status(token).await, None);
    }
    let sub_id = json!({
        "format": "complex",
        "user": { "format": "iss_sub", "iss": house.issuer.issuer(), "sub": "alice" },
        "session": { "format": "opaque", "id": "s-1" },
    });
    let told = set(&house, json!({ "sub_id": sub_id }));
    for _ in 0..3 {
        assert_eq!(post(&push, SET, told.clone()).await.status, 202);
    }
    assert_eq!((push.counts().replayed, push.counts().revocations), (2, 2));
    assert!(!house.accepts(&mine).await && house.accepts(&other).await);
    // A gRPC client reads it as UNAUTHENTICATED.
    assert_eq!(house.grpc_status(&mine).await.as_deref(), Some("16"));
    assert_eq!(house.grpc_status(&other).await, None);
}

#[tokio::test]
async fn several_events_of_one_set_all_count() {
    let house = House::new();
    let push = house.push();
    let now = house.now();
    let told = set(
        &house,
        json!({ "events": {
        format!("{RISC}account-disabled"): { "event_timestamp": now - 10 },
        format!("{CAEP}session-revoked"): { "event_timestamp": now - 20 },
        "https://example.com/made-up": {},
    } }),
    );
    assert_eq!(post(&push, SET, told).await.status, 202);
    let mut moments: Vec<_> = house.heard.all().iter().map(Revocation::moment).collect();
    moments.sort_unstable();
    assert_eq!(moments, [Some(now - 20), Some(now - 10)]);
    assert_eq!(push.counts().unknown_events, 1);
}

#[tokio::test]
async fn e07_each_form_of_a_subject_means_what_it_should_and_only_ones_of_our_issuer() {
    let house = House::new();
    let push = house.push();
    let (iss, now) = (house.issuer.issuer(), house.now());
    let subject = |sub: &str| Revocation::subject(&iss, sub);
    let user = json!({ "format": "iss_sub", "iss": iss, "sub": "alice" });
    let foreign = json!({ "format": "iss_sub", "iss": "https://other.test", "sub": "alice" });
    let session = json!({ "format": "opaque", "id": "s-1" });
    let device = json!({ "format": "opaque", "id": "d-1" });
    let none = Vec::new;
    for (sub_id, ended) in [
        (user.clone(), vec![subject("alice")]),
        (foreign.clone(), none()),
        (json!({ "format": "iss_sub", "iss": format!("{iss}/"), "sub": "alice" }), none()),
        (json!({ "format": "iss_sub", "iss": iss, "sub": "*" }), vec![subject("*")]),
        (json!({ "format": "opaque", "id": "alice" }), vec![subject("alice")]),
        (json!({ "format": "email", "email": "a@example.com" }), vec![subject("a@example.com")]),
        (json!({ "format": "phone_number", "phone_number": "+12065550100" }), none()),
        (json!({ "format": "account", "uri": "acct:alice@example.com" }), none()),
        (json!({ "format": "did", "url": "did:example:123" }), none()),
        (json!({ "format": "uri", "uri": "https://user.test/alice" }), none()),
        (
            json!({ "format": "jwt_id", "iss": iss, "jti": "t-1" }),
            vec![Revocation::token_id(&iss, "t-1")],
        ),
        (json!({ "format": "jwt_id", "iss": "https://other.test", "jti": "t-1" }), none()),
        (json!({ "format": "saml_assertion_id", "issuer": iss, "assertion_id": "_1" }), none()),
        (json!({ "format": "made-up", "sub": "alice" }), none()),
        (
            json!({ "format": "aliases", "identifiers": [foreign, { "format": "opaque", "id": "bob" }, user] }),
            vec![subject("bob"), subject("alice")],
        ),
        (json!({ "format": "complex", "user": user }), vec![subject("alice")]),
        (json!({ "format": "complex", "user": foreign }), none()),
        (
            json!({ "format": "complex", "session": session }),
            vec![Revocation::session(&iss, "s-1")],
        ),
        (
            json!({ "format": "complex", "session": session, "user": user }),
            vec![Revocation::session(&iss, "s-1"), Revocation::sessionless(&iss, "alice")],
        ),
        (json!({ "format": "complex", "session": session, "user": foreign }), none()),
        (json!({ "format": "complex", "session": user, "user": user }), vec![subject("alice")]),
        (json!({ "format": "complex", "device": device, "user": user }), vec![subject("alice")]),
        (json!({ "format": "complex", "device": device }), none()),
        (json!({ "format": "complex", "tenant": device }), none()),
        (
            json!({ "format": "complex", "application": { "format": "opaque", "id": "shop" } }),
            vec![Revocation::client(&iss, "shop")],
        ),
        (
            json!({ "format": "complex", "device": device, "application": { "format": "opaque", "id": "shop" } }),
            none(),
        ),
        (json!({ "format": "complex" }), none()),
    ] {
        let (before, heard) = (push.counts(), house.heard.count());
        let told = set(&house, json!({ "sub_id": sub_id }));
        assert_eq!(post(&push, SET, told).await.status, 202, "{sub_id}");
        let dated: Vec<_> = ended.into_iter().map(|what| what.issued_at_or_before(now)).collect();
        assert_eq!(house.heard.all()[heard..], dated, "{sub_id}");
        let unknown = push.counts().unknown_subjects - before.unknown_subjects;
        assert_eq!(unknown, u64::from(dated.is_empty()), "{sub_id}");
    }
}

#[tokio::test]
async fn a_subject_can_be_resolved_by_the_application() {
    let house = House::new();
    let push = house.push_builder().resolve_subject(|name| {
        (name.format() == "email" && name.value() == "a@example.com").then(|| "alice".to_owned())
    });
    let push = push.build().unwrap();
    for (email, dies) in [("b@example.com", false), ("a@example.com", true)] {
        let token = house.token("alice", "s-1");
        let told = set(&house, json!({ "sub_id": { "format": "email", "email": email } }));
        assert_eq!(post(&push, SET, told).await.status, 202);
        assert_eq!(house.accepts(&token).await, !dies, "{email}");
    }
    assert_eq!(push.counts().unknown_subjects, 1);
}

#[tokio::test]
async fn e06_the_time_of_the_event_decides_which_tokens_end() {
    let now = House::new().now();
    let event = |event: Value| json!({ format!("{CAEP}session-revoked"): event });
    for (name, claims, moment) in [
        (
            "the event's own",
            json!({ "events": event(json!({ "event_timestamp": now - 60 })), "toe": now - 40 }),
            now - 60,
        ),
        ("with a fraction", json!({ "events": event(json!({ "event_timestamp": 100.9 })) }), 100),
        ("that of the SET", json!({ "events": event(json!({})), "toe": now - 40 }), now - 40),
        ("when it was made", json!({ "events": event(json!({})), "iat": now - 20 }), now - 20),
        (
            "e05 a year old",
            json!({ "events": event(json!({})), "iat": now - 365 * 24 * 3600 }),
            now - 365 * 24 * 3600,
        ),
    ] {
        let house = House::new();
        let old = TokenSpec::new().subject("alice").claim("iat", moment.max(now - 3000));
        let (dies, lives) = (old.clone(), old.claim("iat", moment.max(now - 3000) + 1));
        let [dies, lives] = [dies, lives].map(|spec| house.issuer.mint(spec));
        let told = set(&house, claims);
        assert_eq!(post(&house.push(), SET, told).await.status, 202, "{name}");
        assert_eq!(house.heard.all()[0].moment(), Some(moment), "{name}");
        let is_recent = moment > now - 3000;
        assert_eq!(house.accepts(&dies).await, !is_recent, "{name}");
        assert!(house.accepts(&lives).await, "{name}");
    }
}

#[tokio::test]
async fn e04_a_replayed_event_is_acknowledged_and_has_no_second_effect() {
    let house = House::new();
    let push = house.push();
    let told = set(&house, json!({}));
    for _ in 0..4 {
        assert_eq!(post(&push, SET, told.clone()).await.status, 202);
    }
    assert_eq!(house.heard.count(), 1);
    let counts = push.counts();
    assert_eq!((counts.acknowledged, counts.replayed, counts.revocations), (4, 3, 1));
    // Days later, on another node, after a restart: the effect that it has had, and no more.
    let after = house.now() + 1;
    house.pass(3 * 24 * 3600);
    for receiver in [&push, &house.push()] {
        assert_eq!(post(receiver, SET, told.clone()).await.status, 202);
    }
    assert!(house.heard.all().iter().all(|what| what.moment() < Some(after)));
    assert!(house.accepts(&house.token("alice", "s-9")).await);
}

#[tokio::test]
async fn a_transmitter_that_is_not_the_issuer_of_the_tokens_tells_of_one_issuer() {
    let house = House::new();
    let iss = house.issuer.issuer();
    let push = SetPush::transmitter(iss.clone())
        .audience(RECEIVER)
        .token_issuer("https://tokens.test")
        .sink(house.heard.clone())
        .http_client(tower_oauth_server::HttpClient::new(house.issuer.service()))
        .clock(house.clock.clone())
        .build()
        .unwrap();
    for (issuer, count) in [(iss.as_str(), 0), ("https://tokens.test", 1)] {
        let sub_id = json!({ "format": "iss_sub", "iss": issuer, "sub": "alice" });
        let told = set(&house, json!({ "sub_id": sub_id }));
        assert_eq!(post(&push, SET, told).await.status, 202);
        assert_eq!(house.heard.count(), count);
    }
    assert_eq!(house.heard.all()[0].issuer(), Some("https://tokens.test"));
}

#[tokio::test]
async fn it_serves_on_a_socket_with_plain_hyper() {
    let house = House::new();
    let address = serve(hyper_util::service::TowerToHyperService::new(house.push())).await;
    let token = house.token("alice", "s-1");
    assert!(house.accepts(&token).await);
    let refused = call(address, "POST", SET, "no token").await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.headers()["content-type"], "application/json");
    assert_eq!(refused.headers()["content-language"], "en");
    let wrong = call(address, "GET", SET, "").await;
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert!(house.accepts(&token).await);
    assert_eq!(call(address, "POST", SET, &set(&house, json!({}))).await.status(), 202);
    assert!(!house.accepts(&token).await);
}
