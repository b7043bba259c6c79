//! Real answers: every one that the document promises is provoked, and each is as it says.

use std::collections::BTreeSet;

use harness::store::StoreFault;
use harness::world::{Response, World};
use serde_json::{Value, json};
use simulator::{Behaviour, Conversation, Course, Fault, Operation, Queue, Surface, User};

use super::document::{Document, Told};

const WEBHOOKS: &str = "/webhooks/genesys";
const DATA_ACTIONS: &str = "/data-actions/{dataActionId}/invocations";
const TRANSFERS: &str = "/transfers";

const EVENT: &str = r#"{"id":"evt-1","type":"conversation.ended","createdTime":1763800000000,"data":{}}"#;

/// More than every attempt of the SDK's at one request to the store.
const ATTEMPTS: usize = 4;

/// Holds answers against the document, and remembers which there were.
struct Judge {
    document: Document,
    path: &'static str,
    met: BTreeSet<Told>,
}

impl Judge {
    fn of(path: &'static str) -> Self {
        Self { document: Document::read(), path, met: BTreeSet::new() }
    }

    /// Looks at an answer that must be this one.
    fn expect(&mut self, status: u16, what: &str, response: &Response) {
        let told = self.document.judge(self.path, response);
        let told = told.unwrap_or_else(|fault| panic!("{}: {fault}: {response:?}", self.path));
        assert_eq!((response.status, told.what.as_str()), (status, what), "{response:?}");
        self.met.insert(told);
    }

    /// Every answer that the document has for the route was met. A document that promises more promises too much, or this
    /// test asks for too little.
    fn expect_nothing_more(self) {
        let mut promised = self.document.answers();
        promised.retain(|told| told.path == self.path);
        assert_eq!(self.met, promised);
    }
}

/// The URL of a port of the loopback address at which nobody listens.
async fn nobodys_url() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
    format!("http://{}", listener.local_addr().expect("a listener has an address"))
}

#[tokio::test]
async fn every_answer_to_a_webhook_is_documented_and_every_documented_one_is_given() {
    let mut judge = Judge::of(WEBHOOKS);
    let world = World::with(Surface::Platform, &[("MAX_BODY_BYTES", "400")]).await;
    let notification = json!({"topicName": "t", "version": "2", "eventBody": {"id": "c"}, "metadata": {}});
    let envelope = json!({"id": "e", "detail-type": "t", "source": "s", "time": "2026-11-22T12:00:00Z",
        "detail": {"id": "order-1"}});

    for event in [EVENT.to_owned(), notification.to_string(), envelope.to_string()] {
        let shape = json!({"$ref": "#/components/schemas/Event"});
        judge.document.judge_value(&shape, &serde_json::from_str(&event).unwrap()).unwrap();
        let first = world.deliver(event.clone()).await;
        judge.expect(200, "application/json", &first);
        assert_eq!(first.json()["status"], "ACKNOWLEDGED");
        let again = world.deliver(event).await;
        judge.expect(200, "application/json", &again);
        assert_eq!(again.json()["status"], "DUPLICATE");
    }
    for nothing in ["", "[]", "{}", "{\"id\":1}", "{\"topicName\":\"t\"}", "\u{0}"] {
        judge.expect(400, "invalid-request", &world.deliver(nothing).await);
    }
    judge.expect(401, "unauthenticated", &world.deliver_with(&[], EVENT).await);
    judge.expect(413, "payload-too-large", &world.deliver("x".repeat(401)).await);

    world.store.fault_times("PutItem", StoreFault::Throttle, ATTEMPTS);
    let other = r#"{"id":"evt-2","type":"t","data":{}}"#;
    judge.expect(503, "store-unavailable", &world.deliver(other).await);

    let world = World::start(Surface::Platform).await;
    world.deliver(EVENT).await;
    world.meddle("event", |item| item["v"] = json!({"N": "2"}));
    judge.expect(500, "internal-error", &world.deliver(EVENT).await);
    judge.expect_nothing_more();
}

#[tokio::test]
async fn every_answer_to_an_invocation_is_documented_and_every_documented_one_is_given() {
    let mut judge = Judge::of(DATA_ACTIONS);
    for surface in [Surface::Platform, Surface::Guide] {
        answers_of_the_action(&mut judge, surface).await;
        refusals_at_the_door(&mut judge, surface).await;
        trouble_with_an_action(&mut judge, surface).await;
    }
    unclear_ends_of_an_action(&mut judge).await;
    judge.expect_nothing_more();
}

async fn answers_of_the_action(judge: &mut Judge, surface: Surface) {
    let world = World::with(surface, &[]).await;
    let problem = r#"{"type":"https://example.com/of-the-action"}"#;
    for (status, content_type, body) in [
        (200, Some("application/json"), r#"{"ok":true}"#),
        (201, Some("text/html"), "<p>"),
        (204, None, ""),
        (400, Some("text/plain"), "no"),
        (404, Some("application/json"), "{}"),
        (409, Some("application/json"), "{}"),
        (413, None, ""),
        (418, Some("application/problem+json"), problem),
        (422, Some("application/json"), "{}"),
    ] {
        world.genesys.data_action("a", Behaviour::status(status, content_type, body));
        let key = format!("k-{status}");
        for is_replay in [false, true] {
            let response = world.invoke("a", &[("idempotency-key", &key)], "{}").await;
            assert_eq!((response.is_replay(), &response.body[..]), (is_replay, body.as_bytes()));
            judge.expect(status, "*/*", &response);
        }
    }
}

async fn refusals_at_the_door(judge: &mut Judge, surface: Surface) {
    let world = World::with(surface, &[("MAX_BODY_BYTES", "64")]).await;
    world.genesys.data_action("a", Behaviour::echo());
    for (action, key, body) in
        [("a", "k", "{"), ("a", "k", "{\"x\":1,\"x\":2}"), ("a%2Fb", "k", "{}"), ("a", "\"", "{}")]
    {
        let response = world.invoke(action, &[("idempotency-key", key)], body).await;
        judge.expect(400, "invalid-request", &response);
    }
    judge.expect(413, "payload-too-large", &world.invoke("a", &[], "x".repeat(65)).await);
    judge.expect(200, "*/*", &world.invoke("a", &[("idempotency-key", "k")], "{}").await);
    let reused = world.invoke("a", &[("idempotency-key", "k")], r#"{"other":1}"#).await;
    judge.expect(422, "key-reused", &reused);
}

async fn trouble_with_an_action(judge: &mut Judge, surface: Surface) {
    let world = World::with(surface, &[]).await;
    let operation = Operation::ExecuteDataAction;
    world.genesys.data_action("a", Behaviour::echo());
    let key = [("idempotency-key", "k")];

    world.genesys.fault(operation, Fault::status(403));
    judge.expect(502, "upstream-rejected", &world.invoke("a", &key, "{}").await);
    world.genesys.fault(operation, Fault::status(429).retry_after("60"));
    judge.expect(429, "upstream-rate-limited", &world.invoke("a", &key, "{}").await);
    let cut_off = world.another_instance(&[("GENESYS_API_URL", &nobodys_url().await)]).await;
    judge.expect(502, "upstream-unavailable", &world.invoke_at(&cut_off, "a", &key, "{}").await);
    world.store.down();
    judge.expect(503, "store-unavailable", &world.invoke("a", &key, "{}").await);
    world.store.up();

    world.genesys.fault(operation, Fault::stall_before_effect());
    let (first, meanwhile) =
        world.while_stalled(world.invoke("a", &key, "{}"), world.invoke("a", &key, "{}")).await;
    judge.expect(409, "in-progress", &meanwhile);
    judge.expect(200, "*/*", &first);

    world.meddle("claim", |claim| claim["v"] = json!({"N": "2"}));
    let cold = world.another_instance(&[]).await;
    judge.expect(500, "internal-error", &world.invoke_at(&cold, "a", &key, "{}").await);
}

async fn unclear_ends_of_an_action(judge: &mut Judge) {
    let world = World::with(Surface::Platform, &[]).await;
    let key = [("idempotency-key", "k")];
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::effect_then_drop());
    judge.expect(504, "outcome-unknown", &world.invoke("a", &key, "{}").await);
    judge.expect(409, "outcome-unknown", &world.invoke("a", &key, "{}").await);

    let huge = vec![b'x'; 5 * 1024 * 1024 + 1];
    world.genesys.data_action("huge", Behaviour::status(200, "text/plain", huge));
    judge.expect(502, "answer-too-large", &world.invoke("huge", &key, "{}").await);

    // It ran, and nothing could be recorded from then on.
    let world = World::with(Surface::Platform, &[]).await;
    world.genesys.data_action("a", Behaviour::echo());
    world.genesys.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let call = world.invoke("a", &key, "{}");
    let meanwhile = async {
        world.store.down();
        world.deliver(EVENT).await
    };
    let (unrecorded, _) = world.while_stalled(call, meanwhile).await;
    assert_eq!(unrecorded.header("idempotency-stored"), Some("false"), "{unrecorded:?}");
    judge.expect(200, "*/*", &unrecorded);
}

#[tokio::test]
async fn every_answer_to_an_order_of_a_transfer_is_documented_and_every_documented_one_is_given() {
    let mut judge = Judge::of(TRANSFERS);
    for surface in [Surface::Platform, Surface::Guide] {
        transfers_that_are_made(&mut judge, surface).await;
        transfers_that_are_refused(&mut judge, surface).await;
        trouble_with_a_transfer(&mut judge, surface).await;
    }
    unclear_end_of_a_transfer(&mut judge).await;
    judge.expect_nothing_more();
}

/// A world in which the conversation `c` is with the agent `alice`, and `bob` and the queue `support` can answer.
async fn calls(surface: Surface, variables: &[(&str, &str)]) -> World {
    let world = World::with(surface, variables).await;
    world.genesys.conversation("c", Conversation::with_agent("alice"));
    world.genesys.queue("support", Queue::open().joined(3));
    world.genesys.queue("closed", Queue::closed());
    world.genesys.user("alice", User::available());
    world.genesys.user("bob", User::available());
    world
}

fn blind(kind: &str, id: &str) -> Value {
    json!({"conversationId": "c", "transferType": "blind", "destination": {"type": kind, "id": id}})
}

async fn transfers_that_are_made(judge: &mut Judge, surface: Surface) {
    let key = [("idempotency-key", "k")];
    let consult = json!({"conversationId": "c", "transferType": "consult", "participantId": null,
        "destination": {"type": "user", "id": "bob"}, "consult": {"consultingUserId": "alice"}});
    for order in [blind("queue", "support"), blind("user", "bob"), blind("external", "+4930123456"), consult]
    {
        let shape = json!({"$ref": "#/components/schemas/TransferOrder"});
        judge.document.judge_value(&shape, &order).expect("the document takes what the function takes");
        let world = calls(surface, &[]).await;
        judge.expect(200, "application/json", &world.transfer(&key, &order).await);
        let again = world.transfer(&key, &order).await;
        assert!(again.is_replay());
        judge.expect(200, "application/json", &again);
    }
    let world = calls(surface, &[]).await;
    world.genesys.transfers_go("c", Course::stays_pending());
    judge.expect(202, "application/json", &world.transfer(&key, &blind("user", "bob")).await);
}

async fn transfers_that_are_refused(judge: &mut Judge, surface: Surface) {
    let world = calls(surface, &[("MAX_BODY_BYTES", "400")]).await;
    world.genesys.conversation("gone", Conversation::ended());
    let of = |conversation: &str| {
        let mut order = blind("queue", "support");
        order["conversationId"] = json!(conversation);
        order
    };
    let mut beyond_the_surface = blind("external", "+4930123456");
    beyond_the_surface["preserveCallerId"] = json!(true);
    beyond_the_surface["participantId"] = json!("p");
    let mut no_key = of("c");
    no_key["idempotencyKey"] = json!("two words");
    let mut too_large = of("c");
    too_large["padding"] = json!("x".repeat(400));
    for (status, slug, order) in [
        (400, "invalid-request", json!({})),
        (400, "invalid-request", of("")),
        (400, "invalid-request", no_key),
        (404, "conversation-not-found", of("nobody")),
        (404, "destination-not-found", blind("queue", "nowhere")),
        (409, "conversation-conflict", of("gone")),
        (409, "destination-unavailable", blind("queue", "closed")),
        (413, "payload-too-large", too_large),
        (422, "unsupported", beyond_the_surface),
        (422, "transfer-refused", blind("user", "alice")),
        (200, "application/json", of("c")),
        (422, "key-reused", blind("user", "bob")),
    ] {
        judge.expect(status, slug, &world.transfer(&[("idempotency-key", "k")], &order).await);
    }
}

async fn trouble_with_a_transfer(judge: &mut Judge, surface: Surface) {
    let world = calls(surface, &[]).await;
    let (key, order) = ([("idempotency-key", "k")], blind("user", "bob"));

    world.genesys.fault(Operation::Transfer, Fault::status(403));
    judge.expect(502, "upstream-rejected", &world.transfer(&key, &order).await);
    world.genesys.fault(Operation::Transfer, Fault::status(429).retry_after("60"));
    judge.expect(429, "upstream-rate-limited", &world.transfer(&key, &order).await);
    let cut_off = world.another_instance(&[("GENESYS_API_URL", &nobodys_url().await)]).await;
    judge.expect(502, "upstream-unavailable", &world.transfer_at(&cut_off, &key, &order).await);
    world.store.down();
    judge.expect(503, "store-unavailable", &world.transfer(&key, &order).await);
    world.store.up();

    world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());
    let (first, meanwhile) =
        world.while_stalled(world.transfer(&key, &order), world.transfer(&key, &order)).await;
    judge.expect(409, "in-progress", &meanwhile);
    judge.expect(200, "application/json", &first);

    world.meddle("claim", |claim| claim["v"] = json!({"N": "2"}));
    let cold = world.another_instance(&[]).await;
    judge.expect(500, "internal-error", &world.transfer_at(&cold, &key, &order).await);
}

async fn unclear_end_of_a_transfer(judge: &mut Judge) {
    // The search for it ends with the time there is.
    let world = calls(Surface::Platform, &[("HTTP_TIMEOUT_SECONDS", "2")]).await;
    let (key, order) = ([("idempotency-key", "k")], blind("user", "bob"));
    world.genesys.fault(Operation::Transfer, Fault::drop_before_effect());
    judge.expect(504, "outcome-unknown", &world.transfer(&key, &order).await);
    judge.expect(409, "outcome-unknown", &world.transfer(&key, &order).await);
}
