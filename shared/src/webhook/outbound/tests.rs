//! What is sent, and what comes of it, against small servers on loopback.

use std::net::{SocketAddr, TcpListener as Trap};

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::secret::SecretString;

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "an-older-secret-of-ours"];
const BODY: &[u8] = br#"{"status":"completed"}"#;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn outbound(reach: Reach, secrets: &[&str]) -> Outbound {
    let signing_secrets = secrets.iter().map(|secret| SigningSecret::read(secret).unwrap()).collect();
    Outbound::new(Settings { signing_secrets, allow_private: reach == Reach::Everything }).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_760_000_000).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(100)
}

async fn send(outbound: &Outbound, url: &str, limit: Instant) -> Sent {
    outbound.send(Delivery { id: "notice_1", url, headers: &[], body: BODY }, now(), limit).await
}

/// Sends a notice to a subscriber that answers with these bytes.
async fn sent_to(answer: &[u8]) -> Sent {
    let (listener, url) = listen().await;
    let outbound = outbound(Reach::Everything, &[]);
    let (sent, _) = tokio::join!(send(&outbound, &url, later()), answered(&listener, answer));
    sent
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=hush", listener.local_addr().unwrap());
    (listener, url)
}

/// Takes one request, answers it and hangs up: the request's head and body.
async fn answered(listener: &TcpListener, answer: &[u8]) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = request(&mut stream).await;
    stream.write_all(answer).await.unwrap();
    request
}

async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut received = Vec::new();
    loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "the request ended early");
        received.extend_from_slice(&part[..length]);
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        let body = &received[end + 4..];
        let length: usize = headers(&head)["content-length"].to_str().unwrap().parse().unwrap();
        if body.len() == length {
            return (head, body.to_vec());
        }
    }
}

fn headers(head: &str) -> HeaderMap {
    head.lines()
        .skip(1)
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()))
        .collect()
}

/// A port that nobody may connect to. Connections wait in its queue without anybody accepting them, so asking
/// once, afterwards, tells.
struct Untouched(Trap);

impl Untouched {
    fn on(address: &str) -> Self {
        let trap = Trap::bind((address, 0)).unwrap();
        trap.set_nonblocking(true).unwrap();
        Self(trap)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn verify(&self, what: &str) {
        let error = self.0.accept().expect_err(what);
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{what}");
    }
}

#[tokio::test]
async fn a_notice_arrives_signed_with_every_secret() {
    let (listener, url) = listen().await;
    let outbound = outbound(Reach::Everything, &SECRETS);
    let own = [("X-Transfer-Event", "true"), ("x-many", "1"), ("x-many", "2")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let delivery = Delivery { id: "notice_1", url: &url, headers: &own, body: BODY };
    let (sent, (head, body)) = tokio::join!(outbound.send(delivery, now(), later()), answered(&listener, OK));
    assert_eq!(sent, Sent::Delivered { status: 200 });
    assert_eq!(body, BODY);
    assert!(head.starts_with("POST /hook?token=hush HTTP/1.1\r\n"), "{head}");
    let headers = headers(&head);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["user-agent"], concat!("patchbay/", env!("CARGO_PKG_VERSION")));
    assert_eq!(headers["webhook-id"], "notice_1");
    assert_eq!(headers["webhook-timestamp"], "1760000000");
    assert_eq!(headers["x-transfer-event"], "true");
    assert_eq!(headers.get_all("x-many").iter().count(), 2);
    for secret in SECRETS {
        assert!(signature::is_signed(&headers, &body, &[SecretString::from(secret)], now()), "{secret}");
    }
    let stranger = [SecretString::from("whsec_c29tZWJvZHkgZWxzZQ==")];
    assert!(!signature::is_signed(&headers, &body, &stranger, now()));
}

#[tokio::test]
async fn a_notice_cannot_bring_headers_that_are_ours() {
    let (listener, url) = listen().await;
    let outbound = outbound(Reach::Everything, &[]);
    let own = [
        "Host",
        "Content-Length",
        "Content-Type",
        "Transfer-Encoding",
        "Connection",
        "User-Agent",
        "Webhook-Id",
        "Webhook-Timestamp",
        "Webhook-Signature",
    ]
    .map(|name| (name.to_owned(), "7".to_owned()));
    let delivery = Delivery { id: "notice_1", url: &url, headers: &own, body: BODY };
    let (sent, (head, body)) = tokio::join!(outbound.send(delivery, now(), later()), answered(&listener, OK));
    assert_eq!((sent, body.as_slice()), (Sent::Delivered { status: 200 }, BODY));
    let headers = headers(&head);
    assert!(!headers.values().any(|value| value == "7"), "{head}");
    assert!(!headers.contains_key("webhook-signature"), "there is no secret to sign with");
}

#[tokio::test]
async fn what_http_cannot_say_is_refused() {
    let outbound = outbound(Reach::Everything, &[]);
    for (id, name, value, bad) in [
        ("notice_1", "x y", "1", "x y"),
        ("notice_1", "x-split", "1\r\nx-evil: 2", "x-split"),
        ("notice\n1", "x-fine", "1", "webhook-id"),
    ] {
        let own = [(name.to_owned(), value.to_owned())];
        let delivery = Delivery { id, url: "http://127.0.0.1:9/", headers: &own, body: BODY };
        let sent = outbound.send(delivery, now(), later()).await;
        assert_eq!(sent, Sent::Refused(Refusal::Header(bad.to_owned())));
    }
}

#[tokio::test]
async fn the_status_says_how_it_went() {
    assert_eq!(sent_to(b"HTTP/1.1 204 No Content\r\n\r\n").await, Sent::Delivered { status: 204 });
    assert_eq!(sent_to(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await, Sent::Gone);
    for (line, headers, status, wait) in [
        ("500 Oh", "", 500, None),
        ("404 Not Found", "", 404, None),
        ("429 Slow", "retry-after: 7\r\n", 429, Some(Duration::from_secs(7))),
        ("503 Busy", "retry-after: 0.25\r\n", 503, Some(Duration::from_millis(250))),
        // Five seconds after `now`.
        ("502 Away", "retry-after: Thu, 09 Oct 2025 08:53:25 GMT\r\n", 502, Some(Duration::from_secs(5))),
        ("429 Slow", "retry-after: whenever\r\n", 429, None),
    ] {
        let answer = format!("HTTP/1.1 {line}\r\n{headers}content-length: 0\r\n\r\n");
        let Sent::Failed(failure) = sent_to(answer.as_bytes()).await else { panic!("{line}") };
        assert_eq!((failure.status(), failure.retry_after()), (Some(status), wait), "{line}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Untouched::on("127.0.0.1");
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.address();
        let answer =
            format!("HTTP/1.1 {status} x\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
        let expected = Failure::Answered { status, retry_after: None };
        assert_eq!(sent_to(answer.as_bytes()).await, Sent::Failed(expected));
        elsewhere.verify("a redirect was followed");
    }
}

#[tokio::test]
async fn a_broken_connection_is_told_from_none_and_neither_text_names_the_url() {
    let Sent::Failed(broken) = sent_to(b"").await else { panic!("that is no answer") };
    assert!(matches!(broken, Failure::Broken(_)), "{broken}");
    let Sent::Failed(garbled) = sent_to(b"SSH-2.0-hello\r\n\r\n").await else { panic!("that is no HTTP") };
    assert!(matches!(garbled, Failure::Broken(_)), "{garbled}");
    let (listener, url) = listen().await;
    drop(listener);
    let sent = send(&outbound(Reach::Everything, &[]), &url, later()).await;
    let Sent::Failed(refused) = sent else { panic!("nobody listens there") };
    assert!(matches!(refused, Failure::Unreachable(_)), "{refused}");
    for failure in [broken, garbled, refused] {
        assert!(!failure.to_string().contains("hush"), "{failure}");
        assert_eq!((failure.status(), failure.retry_after()), (None, None));
    }
}

#[tokio::test]
async fn silence_is_cut_at_the_limit_wherever_it_sets_in() {
    let outbound = outbound(Reach::Everything, &[]);
    let (listener, url) = listen().await;
    // Connected by the kernel, and answered by nobody: before TLS, and after the request.
    for url in [url.replace("http:", "https:"), url.clone()] {
        assert_eq!(send(&outbound, &url, soon()).await, Sent::Failed(Failure::TimedOut));
    }
    drop(listener);
    let (listener, url) = listen().await;
    let mute_body = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
        // Until the other side hangs up.
        assert!(!matches!(stream.read(&mut [0; 1]).await, Ok(1..)));
    };
    let started = Instant::now();
    let (sent, ()) = tokio::join!(send(&outbound, &url, soon()), mute_body);
    assert_eq!(sent, Sent::Delivered { status: 200 });
    assert!(started.elapsed() < LONGEST_ATTEMPT);
}

#[tokio::test]
async fn nothing_is_begun_after_the_limit() {
    let trap = Untouched::on("127.0.0.1");
    let url = format!("http://{}/", trap.address());
    let sent = send(&outbound(Reach::Everything, &[]), &url, Instant::now()).await;
    assert_eq!(sent, Sent::Failed(Failure::TimedOut));
    trap.verify("a connection was made");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (listener, url) = listen().await;
    let outbound = outbound(Reach::Everything, &[]);
    let endless = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    };
    let started = Instant::now();
    let (sent, ()) = tokio::join!(send(&outbound, &url, later()), endless);
    assert_eq!(sent, Sent::Delivered { status: 200 });
    assert!(started.elapsed() < LONGEST_ATTEMPT, "it was the time that ended it");
}

#[tokio::test]
async fn an_address_that_may_not_be_called_is_not_connected() {
    let trap = Untouched::on("127.0.0.1");
    let port = trap.address().port();
    let outbound = outbound(Reach::Public, &[]);
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]"] {
        let sent = send(&outbound, &format!("https://{host}:{port}/"), later()).await;
        assert!(matches!(sent, Sent::Refused(Refusal::Address { .. })), "{host}: {sent:?}");
    }
    let sent = send(&outbound, &format!("http://127.0.0.1:{port}/"), later()).await;
    assert_eq!(sent, Sent::Refused(Refusal::Scheme("http".to_owned())));
    trap.verify("an address was connected");
}

#[tokio::test]
async fn a_name_that_leads_to_loopback_is_not_connected() {
    let trap = Untouched::on("127.0.0.1");
    let port = trap.address().port();
    let outbound = outbound(Reach::Public, &[]);
    for host in ["localhost", "LOCALHOST"] {
        let sent = send(&outbound, &format!("https://{host}:{port}/"), later()).await;
        let Sent::Failed(Failure::Forbidden { address, purpose }) = sent else { panic!("{sent:?}") };
        assert!(address.is_loopback());
        assert_eq!(purpose, "a loopback address");
    }
    // Not every system knows the name with its dot, and no system may be led by it.
    let sent = send(&outbound, &format!("https://localhost.:{port}/"), later()).await;
    assert!(matches!(sent, Sent::Failed(Failure::Forbidden { .. } | Failure::Unreachable(_))), "{sent:?}");
    trap.verify("a name was connected");
}

#[tokio::test]
async fn where_everything_may_be_called_names_are_connected() {
    let (listener, url) = listen().await;
    let url = url.replace("127.0.0.1", "localhost");
    let outbound = outbound(Reach::Everything, &[]);
    let (sent, _) = tokio::join!(send(&outbound, &url, later()), answered(&listener, OK));
    assert_eq!(sent, Sent::Delivered { status: 200 });
}
