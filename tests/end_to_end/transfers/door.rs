//! The door: what is no request is refused by name, told on the trail if it says whose it is, and asked of nobody.

use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::Surface;

use super::{
    KEY, SURFACES, actions, blind, completed, consult, keyed, notices, refused, to_support, told, world,
    world_with,
};

/// Sends a body as it is written.
async fn send(world: &World, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
    world.post(&format!("{}/transfers", world.gateway.url()), headers, body.into()).await
}

/// A blind transfer of `c` to the queue `support`, but with this member.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut request = to_support();
    request[name] = value.into();
    request
}

fn without(name: &str) -> Value {
    let mut request = to_support();
    request.as_object_mut().expect("a request is an object").remove(name);
    request
}

/// Requests that are wrong in one member, and what the caller is told of it.
fn wrong() -> Vec<(Value, &'static str)> {
    let long = "x".repeat(129);
    let destination = |it: Value| with("destination", it);
    let consult = |it: Value| {
        let mut request = consult("user", "bob");
        request["consult"] = it;
        request
    };
    vec![
        (without("transferType"), "transferType"),
        (with("transferType", Value::Null), "transferType"),
        (with("transferType", "attended"), "transferType"),
        (with("transferType", 7), "transferType"),
        (without("destination"), "destination"),
        (destination(json!("support")), "destination"),
        (destination(json!([])), "destination"),
        (destination(json!({"id": "support"})), "destination.type"),
        (destination(json!({"type": "team", "id": "support"})), "destination.type"),
        (destination(json!({"type": "queue"})), "destination.id"),
        (destination(json!({"type": "queue", "id": null})), "destination.id"),
        (destination(json!({"type": "queue", "id": ""})), "destination.id"),
        (destination(json!({"type": "queue", "id": "a/b"})), "destination.id"),
        (destination(json!({"type": "queue", "id": ".."})), "destination.id"),
        (destination(json!({"type": "user", "id": "../x"})), "destination.id"),
        (destination(json!({"type": "user", "id": long})), "destination.id"),
        (destination(json!({"type": "external", "id": ""})), "destination.id"),
        (with("participantId", "../p"), "participantId"),
        (with("participantId", 7), "participantId"),
        (with("preserveCallerId", "yes"), "preserveCallerId"),
        (with("preserveCallerId", 1), "preserveCallerId"),
        (with("allowUnstaffed", "true"), "allowUnstaffed"),
        (with("idempotencyKey", ""), "idempotencyKey"),
        (with("idempotencyKey", "a b"), "idempotencyKey"),
        (with("idempotencyKey", 7), "idempotencyKey"),
        (with("consult", "both"), "consult"),
        (consult(json!({"speakTo": "nobody"})), "consult.speakTo"),
        (consult(json!({"consultingUserId": "a/b"})), "consult.consultingUserId"),
        (consult(json!({"consultingUserId": "."})), "consult.consultingUserId"),
    ]
}

/// Nothing but what is on trails has come of it, and nobody was asked.
fn assert_nothing_but_told(world: &World) {
    assert_eq!((world.items("claim").len(), world.items("notice").len()), (0, 0));
    assert_eq!(world.genesys.requests().len(), 0);
}

#[tokio::test]
async fn every_missing_or_wrong_member_is_named_and_the_refusal_is_on_the_trail() {
    for surface in SURFACES {
        let world = world(surface).await;

        for (told_before, (request, name)) in wrong().into_iter().enumerate() {
            let response = world.transfer(&[], &request).await;

            assert_eq!(told(&response), refused(400, "invalid-request"), "{request}");
            let detail = response.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(name), "{name}: {detail}");
            let trail = world.trail("conversation:c");
            assert_eq!(trail.len(), told_before + 1, "one entry each: {request}");
            assert_eq!(trail[told_before]["action"], "transfer-refused");
            let reason = trail[told_before]["reason"].as_str().unwrap();
            assert!(reason.starts_with("invalid-request: ") && reason.contains(name), "{reason}");
        }
        assert_nothing_but_told(&world);
        assert_eq!(world.trails(), ["conversation:c"]);
    }
}

#[tokio::test]
async fn a_request_that_does_not_say_whose_it_is_leaves_nothing() {
    let long = "x".repeat(129);
    let mut bodies: Vec<Vec<u8>> = [
        without("conversationId"),
        with("conversationId", Value::Null),
        with("conversationId", 7),
        with("conversationId", ""),
        with("conversationId", "."),
        with("conversationId", ".."),
        with("conversationId", "../users/x"),
        with("conversationId", "c/d"),
        with("conversationId", "c%2Fd"),
        with("conversationId", "c d"),
        with("conversationId", "c?x=1"),
        with("conversationId", "c#x"),
        with("conversationId", "ç"),
        with("conversationId", long),
    ]
    .iter()
    .map(|request| request.to_string().into_bytes())
    .collect();
    let named = bodies.len();
    bodies.extend([&b""[..], b" ", b"{", b"null", b"[]", b"\"c\"", b"{'a':1}", b"{} {}"].map(<[u8]>::to_vec));
    bodies.push(b"{\"conversationId\":\"c\",\"x\":\"\xff\"}".to_vec());
    for surface in SURFACES {
        let world = world(surface).await;

        for (nth, body) in bodies.iter().enumerate() {
            let shown = String::from_utf8_lossy(body);
            let response = send(&world, &KEY, body.clone()).await;
            assert_eq!(told(&response), refused(400, "invalid-request"), "{shown}");
            let detail = response.json()["detail"].as_str().unwrap().to_owned();
            assert_eq!(detail.starts_with("conversationId"), nth < named, "{shown}: {detail}");
        }

        assert!(world.items("").is_empty());
        assert_eq!((world.store.total(), world.genesys.requests().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_member_given_twice_is_refused_wherever_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        let destination = r#""destination":{"type":"queue","id":"support"}"#;

        for body in [
            format!(r#"{{"conversationId":"c","transferType":"blind","transferType":"blind",{destination}}}"#),
            format!(r#"{{"conversationId":"c","transferType":"blind",{destination},{destination}}}"#),
            r#"{"conversationId":"c","transferType":"blind","destination":{"type":"queue","id":"a","id":"b"}}"#
                .to_owned(),
            format!(r#"{{"conversationId":"c","transferType":"blind","x":[{{"y":1,"y":1}}],{destination}}}"#),
        ] {
            let response = send(&world, &[], body.clone()).await;
            assert_eq!(told(&response), refused(400, "invalid-request"), "{body}");
        }

        assert_eq!(actions(&world), ["transfer-refused"; 4]);
        assert_nothing_but_told(&world);
    }
}

#[tokio::test]
async fn what_is_no_address_is_refused_and_never_repeated_to_anybody() {
    let long = format!("sip:{}@example.com", "5550123".repeat(40));
    let bad = [
        "4930123456",
        "0301234567",
        "+49 30 5550123",
        "+49-30-5550123",
        "+0305550123",
        "+1",
        "+1234567890123456",
        "tel:+49305550123",
        "5550123@",
        "sip:@5550123",
        "sip:5550123",
        "sip:5550123@host/../x",
        "sip:5550123@host?x=y",
        "sip:5550123@host\r\nx: y",
        "https://5550123.example",
        &long,
    ];
    for surface in SURFACES {
        let world = world(surface).await;

        for address in bad {
            let response = world.transfer(&[], &blind("external", address)).await;
            assert_eq!(told(&response), refused(400, "invalid-request"), "{address}");
            assert!(response.json()["detail"].as_str().unwrap().starts_with("destination.id"));
            assert!(!String::from_utf8_lossy(&response.body).contains("5550123"), "{response:?}");
        }

        assert_nothing_but_told(&world);
        assert_eq!(actions(&world), ["transfer-refused"; 16]);
        assert!(!world.items("").iter().any(|item| item.to_string().contains("5550123")));
    }
}

#[tokio::test]
async fn numbers_and_sip_addresses_reach_genesys_as_they_were_written() {
    let good = ["+4930123456", "+12", "sip:agent@example.com", "sips:a.b@10.0.0.1:5061;transport=tls"];
    for surface in SURFACES {
        for address in good {
            let world = world(surface).await;
            let response = world.transfer(&KEY, &blind("external", address)).await;

            assert_eq!(told(&response), completed(), "{surface} {address}: {response:?}");
            assert_eq!(response.json()["destination"], json!({"type": "external", "id": address}));
            let transfers = world.genesys.transfers("c");
            let destination = simulator::Destination::Address(address.to_owned());
            assert_eq!((transfers.len(), &transfers[0].destination), (1, &destination));
        }
    }
}

#[tokio::test]
async fn a_bad_key_is_refused_by_name_before_anything_is_claimed() {
    let long = "k".repeat(256);
    let bad = ["", "  ", &long, "a b", "a\tb", "ü", "\"\"", "\"a", "\"a\"b\"", r#""a\x""#, "\"a\";p=1"];
    for surface in SURFACES {
        let world = world(surface).await;

        for (told_before, key) in bad.into_iter().enumerate() {
            let response = world.transfer(&keyed(key), &to_support()).await;
            assert_eq!(told(&response), refused(400, "invalid-request"), "{key:?}");
            assert!(response.json()["detail"].as_str().unwrap().starts_with("Idempotency-Key"));
            assert_eq!(world.trail("conversation:c").len(), told_before + 1);
        }
        let two = [("idempotency-key", "k"), ("idempotency-key", "k")];
        assert_eq!(told(&world.transfer(&two, &to_support()).await), refused(400, "invalid-request"));

        assert_nothing_but_told(&world);
    }
}

#[tokio::test]
async fn zero_and_false_are_keys_and_so_is_the_longest() {
    let longest = "~".repeat(255);
    for surface in SURFACES {
        for key in ["0", "false", "null", &longest] {
            let world = world(surface).await;
            let first = world.transfer(&keyed(key), &to_support()).await;
            let again = world.transfer(&keyed(key), &to_support()).await;

            assert_eq!((told(&first), first.header("idempotency-key")), (completed(), Some(key)));
            assert_eq!((again.is_replay(), &again.body), (true, &first.body));
            let sent = world.genesys.transfers("c")[0].idempotency_key.clone();
            assert_eq!(sent.as_deref(), Some(key));
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let exact = to_support().to_string();
    let limit = exact.len().to_string();
    for surface in SURFACES {
        let world = world_with(surface, &[("MAX_BODY_BYTES", &limit)]).await;

        let response = send(&world, &KEY, format!("{exact} ")).await;
        assert_eq!(told(&response), refused(413, "payload-too-large"));
        assert!(world.items("").is_empty());
        assert_eq!((world.store.total(), world.genesys.requests().len()), (0, 0));

        assert_eq!(told(&send(&world, &KEY, exact.clone()).await), completed());
    }
}

#[tokio::test]
async fn what_a_surface_cannot_do_is_said_and_not_done() {
    let preserving = |preserve: bool| {
        let mut request = blind("external", "+4930123456");
        request["preserveCallerId"] = json!(preserve);
        request
    };
    let speaking_to = |whom: &str| {
        let mut request = consult("queue", "support");
        request["consult"] = json!({"speakTo": whom});
        request
    };
    let cannot = [
        (Surface::Platform, preserving(true), "preserveCallerId"),
        (Surface::Guide, with("participantId", "c-agent"), "participantId"),
        (Surface::Guide, speaking_to("object"), "consult.speakTo"),
        (Surface::Guide, speaking_to("both"), "consult.speakTo"),
        (Surface::Guide, speaking_to("Conference"), "consult.speakTo"),
    ];
    for (surface, request, name) in cannot {
        let world = world(surface).await;
        let response = world.transfer(&KEY, &request).await;

        assert_eq!(told(&response), refused(422, "unsupported"), "{request}");
        assert!(response.json()["detail"].as_str().unwrap().starts_with(name), "{response:?}");
        assert_eq!(actions(&world), ["transfer-refused"]);
        assert_nothing_but_told(&world);
    }
    for (surface, request) in [
        (Surface::Platform, preserving(false)),
        (Surface::Guide, preserving(true)),
        (Surface::Guide, preserving(false)),
        (Surface::Guide, speaking_to("Destination")),
    ] {
        let world = world(surface).await;
        let response = world.transfer(&KEY, &request).await;
        assert_eq!(response.json()["status"], "completed", "{surface} {request}: {response:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_told_on_the_trail_is_still_a_refusal() {
    let world = world(Surface::Platform).await;
    world.store.down();

    let response = world.transfer(&KEY, &without("destination")).await;

    assert_eq!(told(&response), refused(400, "invalid-request"));
    world.store.up();
    assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
}

#[tokio::test]
async fn only_a_post_is_a_transfer() {
    let world = world(Surface::Platform).await;
    let url = format!("{}/transfers", world.gateway.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    for method in [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let response = client.request(method, &url).body(to_support().to_string()).send().await.unwrap();
        assert_eq!(response.status(), 405);
    }

    assert!(world.items("").is_empty() && notices(&world).is_empty());
    assert_eq!(world.genesys.requests().len(), 0);
}

#[tokio::test]
async fn a_member_of_a_member_is_named_in_full() {
    let world = world(Surface::Platform).await;
    let mut by_id = to_support();
    by_id["destination"]["id"] = json!(7);
    let mut by_consult = to_support();
    by_consult["consult"] = json!({"consultingUserId": 7});
    for (request, name) in [(by_id, "destination.id"), (by_consult, "consult.consultingUserId")] {
        let response = world.transfer(&KEY, &request).await;
        let detail: Value = response.json()["detail"].clone();
        assert!(detail.as_str().unwrap().starts_with(name), "{name}: {detail}");
    }
}
