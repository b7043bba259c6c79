//! Answers come back byte for byte, of any kind and of any size that can be returned.

use harness::world::{Response, World};
use simulator::{Behaviour, Surface};

use super::{SURFACES, calls, keyed, state};

const MEBIBYTE: usize = 1024 * 1024;

/// Runs an action that answers so, and repeats it in a warm and in a cold instance.
async fn given(world: &World, key: &str, answer: (u16, Option<&str>, &[u8])) -> [Response; 3] {
    let (status, content_type, body) = answer;
    world.genesys.data_action("a", Behaviour::status(status, content_type, body));
    let first = world.invoke("a", &keyed(key), "{}").await;
    let warm = world.invoke("a", &keyed(key), "{}").await;
    let cold = world.another_instance(&[]).await;
    let cold = world.invoke_at(&cold, "a", &keyed(key), "{}").await;
    [first, warm, cold]
}

/// All three are this answer, and the last two say that they are replays.
fn assert_exact(responses: &[Response; 3], answer: (u16, Option<&str>, &[u8])) {
    let (status, content_type, body) = answer;
    for (n, response) in responses.iter().enumerate() {
        let what = format!("{n}: {content_type:?}, {} bytes", body.len());
        assert_eq!((response.status, response.is_replay()), (status, n > 0), "{what}");
        assert_eq!(response.header("content-type"), content_type, "{what}");
        assert!(response.body == body, "{what}: {} bytes came", response.body.len());
        assert_eq!(response.header("idempotency-stored"), None, "{what}");
    }
}

#[tokio::test]
async fn answers_of_any_kind_are_replayed_byte_for_byte() {
    let json = Some("application/json");
    let answers: [(u16, Option<&str>, &[u8]); 20] = [
        (204, None, b""),
        (200, None, b""),
        (200, json, b""),
        (202, Some("text/html; charset=utf-8"), b"<!doctype html><p>Gr\xc3\xbc\xc3\x9fe</p>"),
        (200, Some("application/octet-stream"), b"\x00\xff\xfe\x80\x00"),
        (200, json, b"{}"),
        (200, json, b"[]"),
        (200, json, b"0"),
        (200, json, b"false"),
        (200, json, b"\"\""),
        (200, json, b"null"),
        (200, json, b" {\"n\" : 1.0, \"n\": 9007199254740993}\r\n"),
        (201, Some("application/json;charset=UTF-8"), b"{\"id\":1}"),
        (200, json, b"this is no JSON"),
        (200, Some("text/plain; charset=iso-8859-1"), b"Gr\xfc\xdfe"),
        (200, None, b"of no type"),
        (200, Some(""), b"of an empty type"),
        (299, Some("application/problem+json"), b"{\"status\":299}"),
        (200, Some("text/plain"), b"\xef\xbb\xbfwith a mark"),
        (200, Some("text/plain"), b"0\r\n\r\n"),
    ];
    for surface in SURFACES {
        let world = World::start(surface).await;
        for (n, answer) in answers.into_iter().enumerate() {
            let responses = given(&world, &n.to_string(), answer).await;
            assert_exact(&responses, answer);
        }
        assert_eq!(calls(&world), answers.len());
    }
}

#[tokio::test]
async fn answers_of_any_size_are_replayed_byte_for_byte() {
    let sizes =
        [4095, 4096, 4097, 349_999, 350_000, 350_001, 399 * 1024, 400 * 1024, 401 * 1024, 700_000, 700_001];
    for surface in SURFACES {
        for size in sizes {
            let world = World::start(surface).await;
            let body: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
            let answer = (200, Some("text/plain"), &body[..]);

            let responses = given(&world, "k", answer).await;

            assert_exact(&responses, answer);
            assert_eq!((calls(&world), state(&world).as_str()), (1, "DONE"));
            let parts = if size > 4096 { size.div_ceil(350_000) } else { 0 };
            assert_eq!(world.items("answer#").len(), parts, "{size}");
        }
    }
}

#[tokio::test]
async fn a_text_of_five_megabytes_is_replayed_byte_for_byte() {
    let world = World::start(Surface::Platform).await;
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(5 * MEBIBYTE).collect();
    let answer = (200, Some("text/plain"), &body[..]);

    let responses = given(&world, "k", answer).await;

    assert_exact(&responses, answer);
    assert_eq!(calls(&world), 1);
}

#[tokio::test]
async fn large_answers_that_are_no_text_are_replayed_byte_for_byte() {
    for surface in SURFACES {
        for size in [4097, 401 * 1024] {
            let world = World::start(surface).await;
            let body: Vec<u8> = (0..=255).rev().cycle().take(size).collect();
            let answer = (200, Some("image/png"), &body[..]);

            let responses = given(&world, "k", answer).await;

            assert_exact(&responses, answer);
            assert_eq!(calls(&world), 1);
        }
    }
}

#[tokio::test]
async fn four_megabytes_that_are_no_text_are_replayed_byte_for_byte() {
    let world = World::start(Surface::Platform).await;
    let body: Vec<u8> = (0..=255).rev().cycle().take(4 * MEBIBYTE).collect();
    let answer = (200, Some("image/png"), &body[..]);

    let responses = given(&world, "k", answer).await;

    assert_exact(&responses, answer);
    assert_eq!(calls(&world), 1);
}

#[tokio::test]
async fn an_answer_too_large_to_return_is_recorded_as_done_and_never_repeated() {
    let text = vec![b'x'; 5 * MEBIBYTE + 1];
    let binary = vec![0xff; 4 * MEBIBYTE + 1];
    for surface in SURFACES {
        for (content_type, body) in [("text/plain", &text), ("image/png", &binary), ("text/plain", &binary)] {
            let world = World::start(surface).await;

            let responses = given(&world, "k", (200, Some(content_type), body)).await;

            for response in responses {
                assert_eq!((response.status, response.problem().as_str()), (502, "answer-too-large"));
                assert_eq!(response.json()["idempotencyKey"], "k");
            }
            assert_eq!((calls(&world), world.genesys.effects("a").len()), (1, 1));
            assert_eq!((state(&world).as_str(), world.items("answer#").len()), ("DONE", 0));
        }
    }
}

#[tokio::test]
async fn a_text_of_two_bytes_to_a_letter_is_text_when_it_is_over_four_megabytes() {
    let world = World::start(Surface::Platform).await;
    let body = "ü".repeat(2 * MEBIBYTE + 1);
    let answer = (200, Some("text/plain"), body.as_bytes());

    let responses = given(&world, "k", answer).await;

    assert_exact(&responses, answer);
}

#[tokio::test]
async fn a_large_refusal_is_stored_like_any_other() {
    let world = World::start(Surface::Platform).await;
    let body = "no".repeat(300_000);
    let answer = (422, Some("text/plain"), body.as_bytes());

    let responses = given(&world, "k", answer).await;

    assert_exact(&responses, answer);
    assert_eq!(calls(&world), 1);
}

#[tokio::test]
async fn only_status_body_and_content_type_are_passed_on() {
    for surface in SURFACES {
        let world = World::start(surface).await;

        let [first, warm, cold] = given(&world, "k", (200, Some("text/plain"), b"hello")).await;

        let names = |response: &Response| {
            let mut names: Vec<_> = response.headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        let plain = ["content-length", "content-type", "date", "idempotency-key"];
        assert_eq!(names(&first), plain);
        let replayed = ["content-length", "content-type", "date", "idempotency-key", "idempotent-replayed"];
        assert_eq!(
            (names(&warm), names(&cold)),
            (replayed.map(String::from).into(), replayed.map(String::from).into())
        );
    }
}
