//! The FIFO queue: its messages, in the batches that Lambda makes of them.

use harness::events;
use harness::runtime_api::Lambda;
use serde_json::{Value, json};
use simulator::Behaviour;

use super::{elements, function, json_file, members, template_file, text, world};

/// The messages that the README sends.
fn messages() -> Vec<Value> {
    elements(&json_file("examples/fifo/messages.json")).to_vec()
}

/// A batch of these, with their names for ids.
fn batch(messages: &[Value]) -> Value {
    let pairs: Vec<_> = messages.iter().map(|it| (text(&it["Id"]), text(&it["MessageBody"]))).collect();
    let mut batch = events::sqs_batch(&pairs);
    for (record, message) in batch["Records"].as_array_mut().expect("records").iter_mut().zip(messages) {
        for name in ["MessageGroupId", "MessageDeduplicationId"] {
            record["attributes"][name] = message[name].clone();
        }
    }
    batch
}

/// Hands the messages over, and says which of them come back.
async fn hand_over(lambda: &Lambda, messages: &[Value]) -> Vec<Value> {
    let answer = lambda.invoke_with((&batch(messages)).into()).await.json();
    let failed: Vec<_> =
        elements(&answer["batchItemFailures"]).iter().map(|it| it["itemIdentifier"].clone()).collect();
    messages.iter().filter(|message| failed.contains(&message["Id"])).cloned().collect()
}

#[test]
fn each_message_bears_its_conversation_and_its_key() {
    for message in messages() {
        let body: Value = serde_json::from_str(text(&message["MessageBody"])).expect("a body is JSON");
        assert_eq!(message["MessageGroupId"], body["input"]["conversationId"]);
        assert_eq!(message["MessageDeduplicationId"], body["idempotencyKey"]);
        assert!(text(&message["MessageDeduplicationId"]).len() <= 128, "as long as SQS allows");
    }
}

#[tokio::test]
async fn behind_a_failed_message_its_conversation_waits_and_no_other() {
    let world = world().await;
    for action in ["open-ticket", "close-ticket"] {
        world.genesys.data_action(action, Behaviour::echo());
    }
    world.genesys.data_action("add-note", Behaviour::status(429, "application/json", "{}"));
    let lambda = function(&world, "data-actions").await;
    let messages = messages();

    let back = hand_over(&lambda, &messages).await;
    assert_eq!(back, messages[1..3], "the closing waits behind the note");
    assert_eq!(
        world.genesys.effects("open-ticket").len(),
        2,
        "the other conversation is none of its business"
    );
    world.genesys.data_action("add-note", Behaviour::echo());
    let back = hand_over(&lambda, &back).await;

    assert_eq!(back, [] as [Value; 0]);
    let done = |action| world.genesys.effects(action).first().expect("it was done").when;
    assert!(done("open-ticket") <= done("add-note") && done("add-note") <= done("close-ticket"));
    assert_eq!(hand_over(&lambda, &messages).await, [] as [Value; 0]);
    assert_eq!(world.genesys.effect_count(), 4, "a message that comes again is not done again");
}

#[test]
fn the_queue_suits_the_function_that_reads_it() {
    let template = template_file("examples/fifo/template.yaml");
    let queue = &template["Resources"]["Requests"]["Properties"];
    let mapping = &template["Resources"]["Mapping"]["Properties"];
    assert_eq!((&queue["FifoQueue"], &queue["ContentBasedDeduplication"]), (&json!(true), &json!(false)));
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(template["Resources"]["DeadLetters"]["Properties"]["FifoQueue"], true);

    let timeout =
        |function: &str| local::template::read()["Resources"][function]["Properties"]["Timeout"].take();
    let functions = [timeout("TransfersFunction"), timeout("DataActionsFunction")];
    assert_eq!(template["Parameters"]["FunctionTimeoutSeconds"]["AllowedValues"], json!(functions));
    for (timeout, visibility) in members(&template["Mappings"]["VisibilityTimeout"]) {
        let timeout: u64 = timeout.parse().expect("seconds");
        assert!(visibility["Seconds"].as_u64().expect("seconds") >= timeout, "Lambda refuses such a queue");
    }
}
