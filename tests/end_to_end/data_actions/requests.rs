//! What is refused at the door: it leaves nothing behind, and nobody upstream hears of it.

use bytes::Bytes;
use harness::world::{Response, World};
use http::{HeaderMap, HeaderName, HeaderValue};
use simulator::{Behaviour, Surface};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::SURFACES;

/// Sends a request as it is written, where a client would tidy it up first.
async fn raw(world: &World, method: &str, path: &str, body: &[u8]) -> Response {
    let address = world.gateway.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.expect("the gateway listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("the gateway reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the gateway answers");
    parsed(&answer).expect("the gateway's answers are HTTP")
}

fn parsed(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let mut lines = str::from_utf8(&answer[..end]).ok()?.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    let headers = lines.map(header).collect::<Option<HeaderMap>>()?;
    Some(Response { status, headers, body: Bytes::copy_from_slice(&answer[end + 4..]) })
}

/// A world with the action `a`, and nothing done in it yet.
async fn world(surface: Surface, variables: &[(&str, &str)]) -> World {
    let world = World::with(surface, variables).await;
    world.genesys.data_action("a", Behaviour::echo());
    world
}

fn assert_untouched(world: &World) {
    assert!(world.items("").is_empty());
    assert_eq!((world.store.total(), world.genesys.requests().len()), (0, 0));
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let bodies: [&[u8]; 12] = [
        b"",
        b"  ",
        b"{",
        b"{'a':1}",
        b"{\"a\":1,}",
        b"nul",
        b"{} {}",
        b"NaN",
        b"{\"a\":01}",
        b"\xef\xbb\xbf{}",
        br#"{"a":"\ud800"}"#,
        b"{\"a\":1e400}",
    ];
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        for body in bodies {
            let response = world.invoke("a", &[], body).await;
            assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{body:?}");
        }
        assert_untouched(&world);
    }
}

#[tokio::test]
async fn duplicate_object_keys_are_refused_at_every_depth_and_named() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        for body in [
            r#"{"twin":1,"twin":1}"#,
            r#"{"x":[{"y":{"twin":1,"b":2,"twin":3}}]}"#,
            r#"{"twin":1,"\u0074win":2}"#,
        ] {
            let response = world.invoke("a", &[("idempotency-key", "k")], body).await;
            assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{body}");
            assert!(response.json()["detail"].as_str().unwrap().contains("\"twin\""), "{response:?}");
        }
        assert_untouched(&world);
    }
}

#[tokio::test]
async fn a_body_that_is_not_text_is_refused() {
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        for body in [&b"{\"a\":\"\xff\"}"[..], b"\x00\x01", b"{\"a\":\"\xed\xa0\x80\"}"] {
            let response = world.invoke("a", &[], body).await;
            assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{body:?}");
        }
        assert_untouched(&world);
    }
}

#[tokio::test]
async fn deep_nesting_is_refused_without_harm() {
    let arrays = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        for body in [arrays(200), objects(200), arrays(20_000), objects(5000), "[".repeat(200_000)] {
            let response = world.invoke("a", &[], body).await;
            assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"));
        }
        assert_untouched(&world);
    }
}

#[tokio::test]
async fn the_published_surface_takes_objects_only() {
    let world = world(Surface::Platform, &[]).await;
    for body in ["[]", "[{}]", "0", "false", "\"\"", "null"] {
        let response = world.invoke("a", &[], body).await;
        assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{body}");
        assert!(response.json()["detail"].as_str().unwrap().contains("object"), "{response:?}");
    }
    assert_untouched(&world);
}

#[tokio::test]
async fn the_guides_surface_takes_any_json() {
    let world = world(Surface::Guide, &[]).await;
    let bodies = ["[]", "[{}]", "0", "false", "\"\"", "null", "{}"];
    for body in bodies {
        let response = world.invoke("a", &[], body).await;
        assert_eq!((response.status, response.is_replay()), (200, false), "{body}");
        assert_eq!(response.json()["echo"].to_string(), body);
    }
    assert_eq!(world.genesys.effects("a").len(), bodies.len());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_runs() {
    let body = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    for (variables, limit) in [(&[][..], 262_144), (&[("MAX_BODY_BYTES", "100")][..], 100)] {
        let world = world(Surface::Platform, variables).await;

        let over = world.invoke("a", &[], body(limit + 1)).await;
        assert_eq!((over.status, over.problem().as_str()), (413, "payload-too-large"));
        assert_untouched(&world);

        let at = world.invoke("a", &[], body(limit)).await;
        assert_eq!((at.status, world.genesys.effects("a").len()), (200, 1));
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_refused() {
    let long = "x".repeat(129);
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        for id in [".", "..", "%2e%2e", &long, "a%2Fb", "a%20b", "a%3Fb", "%C3%BC", "%ff", "a%00", "a,b"] {
            let path = format!("/data-actions/{id}/invocations");
            let response = raw(&world, "POST", &path, b"{}").await;
            assert_eq!((response.status, response.problem().as_str()), (400, "invalid-request"), "{id}");
            assert!(response.json()["detail"].as_str().unwrap().contains("dataActionId"), "{response:?}");
        }
        assert_untouched(&world);
    }
}

#[tokio::test]
async fn an_odd_id_that_is_one_reaches_the_upstream_as_it_is() {
    let longest = "x".repeat(128);
    for surface in SURFACES {
        let world = world(surface, &[]).await;
        for id in ["...", "-", "a.b_c~d-e", "custom_-_0", &longest] {
            world.genesys.data_action(id, Behaviour::echo());
            let response = world.invoke(id, &[], "{}").await;
            assert_eq!((response.status, world.genesys.effects(id).len()), (200, 1), "{id}");
        }
    }
}

#[tokio::test]
async fn other_routes_are_not_found() {
    let world = world(Surface::Platform, &[]).await;
    for path in [
        "/",
        "/data-actions",
        "/data-actions/a",
        "/data-actions/a/invocations/1",
        "/data-actions/a/b/invocations",
    ] {
        let response = raw(&world, "POST", path, b"{}").await;
        assert_eq!((response.status, response.problem().as_str()), (404, "not-found"), "{path}");
    }
    assert_untouched(&world);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let world = world(Surface::Platform, &[]).await;
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let response = raw(&world, method, "/data-actions/a/invocations", b"{}").await;
        assert_eq!((response.status, response.problem().as_str()), (405, "method-not-allowed"), "{method}");
        assert_eq!(response.header("allow"), Some("POST"), "{method}");
    }
    assert_untouched(&world);
}
