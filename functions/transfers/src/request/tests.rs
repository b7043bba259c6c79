use shared::genesys::conversations::Destination;

use super::*;

fn direct(json: &str) -> Result<Request, Box<Refused>> {
    Request::from_direct(json.as_bytes(), Surface::Platform)
}

fn detail(json: &str) -> String {
    direct(json).map(|_| ()).map_err(|refused| refused.problem.detail().to_owned()).unwrap_err()
}

/// A request to the queue `q` with these members besides.
fn with(members: &str) -> String {
    format!(
        r#"{{"conversationId":"c","transferType":"blind","destination":{{"type":"queue","id":"q"}}{members}}}"#
    )
}

#[test]
fn a_request_is_what_it_says() {
    let request = direct(&with(
        r#","preserveCallerId":false,"participantId":"p","idempotencyKey":"k","waitSeconds":2"#,
    ))
    .unwrap();
    assert_eq!(request.transfer.conversation.as_str(), "c");
    assert_eq!(request.transfer.kind, Kind::Blind);
    assert!(matches!(&request.transfer.destination, Destination::Queue(id) if id.as_str() == "q"));
    assert_eq!(request.transfer.preserve_caller_id, Some(false));
    assert_eq!(request.transfer.participant.as_ref().map(Id::as_str), Some("p"));
    assert_eq!((request.key.as_str(), request.window, request.wait), ("k", None, Duration::from_secs(2)));
}

#[test]
fn without_a_key_the_same_request_has_the_same_key_for_a_while() {
    let one = direct(&with("")).unwrap();
    let other = direct(
        r#" {"destination": {"id":"\u0071","type":"queue"},"transferType":"blind","conversationId":"c","participantId":null}"#,
    )
    .unwrap();
    assert_eq!((one.key.as_str(), one.window), (other.key.as_str(), Some(WINDOW)));
    assert_ne!(one.key, direct(&with(r#","preserveCallerId":true"#)).unwrap().key);
}

#[test]
fn what_is_wrong_is_named() {
    for (json, named) in [
        ("[]".to_owned(), "not a JSON object"),
        (r#"{"transferType":"blind","destination":{"type":"queue","id":"q"}}"#.to_owned(), "conversationId is missing"),
        (r#"{"conversationId":"../c"}"#.to_owned(), "conversationId must be"),
        (r#"{"conversationId":"c"}"#.to_owned(), "transferType is missing"),
        (r#"{"conversationId":"c","transferType":"warm"}"#.to_owned(), "transferType must be"),
        (r#"{"conversationId":"c","transferType":"blind"}"#.to_owned(), "destination is missing"),
        (r#"{"conversationId":"c","transferType":"blind","destination":7}"#.to_owned(), "destination is not"),
        (r#"{"conversationId":"c","transferType":"blind","destination":{"id":"q"}}"#.to_owned(), "destination.type"),
        (r#"{"conversationId":"c","transferType":"blind","destination":{"type":"team","id":"q"}}"#.to_owned(), "destination.type"),
        (r#"{"conversationId":"c","transferType":"blind","destination":{"type":"user"}}"#.to_owned(), "destination.id is missing"),
        (r#"{"conversationId":"c","transferType":"blind","destination":{"type":"external","id":"911"}}"#.to_owned(), "destination.id must be a telephone number"),
        (r#"{"conversationId":"c","transferType":"consult","consult":{"speakTo":"nobody"},"destination":{}}"#.to_owned(), "consult.speakTo"),
        (r#"{"conversationId":"c","transferType":"consult","consult":{"consultingUserId":"a b"},"destination":{}}"#.to_owned(), "consult.consultingUserId"),
        (with(r#","preserveCallerId":"yes""#), "preserveCallerId must be true or false"),
        (with(r#","allowUnstaffed":1"#), "allowUnstaffed must be true or false"),
        (with(r#","participantId":"a/b""#), "participantId must be"),
        (with(r#","idempotencyKey":"""#), "idempotencyKey must be"),
        (with(r#","waitSeconds":"soon""#), "waitSeconds must be"),
        (with(r#","conversationId":"d""#), "twice"),
    ] {
        let detail = detail(&json);
        assert!(detail.contains(named), "{json}: {detail}");
    }
}

#[test]
fn a_refusal_says_whose_conversation_it_was_if_that_can_be_read() {
    let of = |json: &str| direct(json).unwrap_err().conversation.map(|id| id.as_str().to_owned());
    assert_eq!(of(r#"{"conversationId":"c"}"#).as_deref(), Some("c"));
    assert_eq!(of(r#"{"conversationId":"../c"}"#), None);
    assert_eq!(of("{"), None);
}

#[test]
fn what_a_surface_cannot_say_is_unsupported() {
    let external = r#"{"conversationId":"c","transferType":"blind","destination":{"type":"external","id":"+4930123456"},"preserveCallerId":true}"#;
    let kind = |json: &str, surface| {
        Request::from_direct(json.as_bytes(), surface).map(|_| ()).map_err(|refused| refused.problem.kind())
    };
    assert_eq!(kind(external, Surface::Platform), Err(problem::Kind::Unsupported));
    assert_eq!(kind(external, Surface::Guide), Ok(()));
    let named = with(r#","participantId":"p""#);
    assert_eq!(kind(&named, Surface::Guide), Err(problem::Kind::Unsupported));
    let both = r#"{"conversationId":"c","transferType":"consult","destination":{"type":"user","id":"u"},"consult":{"speakTo":"both"}}"#;
    assert_eq!(kind(both, Surface::Guide), Err(problem::Kind::Unsupported));
    assert_eq!(kind(both, Surface::Platform), Ok(()));
}
