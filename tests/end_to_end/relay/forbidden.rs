//! Where notices do not go.

use axum::Router;
use axum::http::{StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{feed, ids, is_due, number, text, world};

const STRICT: [(&str, &str); 1] = [("NOTICE_ALLOW_PRIVATE", "false")];

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_and_the_notice_dead_at_once() {
    let world = world().await;
    let relay = world.relay(&STRICT).await;
    for (nth, (url, reason)) in [
        ("http://169.254.169.254/latest/meta-data/", "http:"),
        ("https://169.254.169.254/latest/meta-data/", "169.254.169.254, a link-local address"),
        ("https://[::ffff:10.0.0.1]/", "a private address"),
        ("https://0x7f000001/", "127.0.0.1, a loopback address"),
        ("https://user:hush@crm.example/", "credentials"),
        ("gopher://crm.example/", "gopher:"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("msg_{nth}");
        world.put_notice(&id, url);
        feed(&relay).await;

        let notice = world.notice(&id);
        assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("DEAD", 1), "{url}");
        assert!(text(&notice, "reason").contains(reason), "{url}: {notice}");
        assert!(!text(&notice, "reason").contains("hush") && !is_due(&notice));
    }
    // None of that was the subscriber's fault.
    assert!(world.items("breaker").is_empty());
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_never_connected_to() {
    let world = world().await;
    let relay = world.relay(&STRICT).await;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    world.put_notice("msg_1", &format!("https://localhost:{}/", listener.local_addr().unwrap().port()));

    feed(&relay).await;

    let notice = world.notice("msg_1");
    // The name may lead elsewhere tomorrow.
    assert_eq!((text(&notice, "state"), number(&notice, "attempts")), ("PENDING", 1));
    assert!(text(&notice, "last_error").contains("a loopback address"), "{notice}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let world = world().await;
    let (inbox, relay) = (world.inbox().await, world.relay(&[]).await);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let target = inbox.url();
    let elsewhere =
        Router::new().fallback(|| async { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]) });
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, elsewhere).await.unwrap() });
    world.put_notice("msg_1", &url);

    feed(&relay).await;

    let notice = world.notice("msg_1");
    assert_eq!((text(&notice, "state"), number(&notice, "last_status")), ("PENDING", 307));
    assert!(ids(&inbox).is_empty());
    assert_eq!(notice["delivered_at"], json!(null));
}
