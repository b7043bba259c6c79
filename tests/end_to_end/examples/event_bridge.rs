//! The rules, held against events as the relay publishes them, and their inputs given to the functions.

use std::collections::BTreeSet;

use harness::world::World;
use local::{Bus, Published};
use serde_json::{Map, Value, json};
use simulator::Behaviour;

use super::{CONVERSATION, QUEUE, elements, file, function, members, template_file, text, world};

/// Genesys Cloud's own event, as EventBridge hands it over.
const CUSTOMER_END: &str = include_str!("../fixtures/eventbridge-customer-end.json");

fn resources() -> Value {
    template_file("examples/eventbridge/template.yaml")["Resources"].take()
}

/// The rules, by name.
fn rules() -> Vec<(String, Value)> {
    let resources = resources();
    let rules = members(&resources).filter(|(_, resource)| resource["Type"] == "AWS::Events::Rule");
    rules.map(|(name, rule)| (name.clone(), rule["Properties"].clone())).collect()
}

/// Whether a pattern takes an event, by those of EventBridge's rules that are used: equality, `prefix` and `exists`.
fn takes(pattern: &Value, event: Option<&Value>) -> bool {
    match pattern {
        Value::Object(pattern) => {
            pattern.iter().all(|(name, pattern)| takes(pattern, event.and_then(|event| event.get(name))))
        }
        Value::Array(allowed) => allowed.iter().any(|allowed| match allowed {
            Value::Object(test) => meets(test, event),
            literal => event == Some(literal),
        }),
        other => panic!("no pattern: {other}"),
    }
}

fn meets(test: &Map<String, Value>, value: Option<&Value>) -> bool {
    assert_eq!(test.len(), 1, "{test:?}");
    if let Some(prefix) = test.get("prefix") {
        return value.and_then(Value::as_str).is_some_and(|value| value.starts_with(text(prefix)));
    }
    // For EventBridge, an object does not exist; its members do.
    let exists = test.get("exists").unwrap_or_else(|| panic!("{test:?} is not known here"));
    assert_eq!(exists, true);
    value.is_some_and(|value| !value.is_object())
}

/// What an input transformer makes of an event. A placeholder is replaced by the JSON of what its path leads to.
fn transformed(transformer: &Value, event: &Value) -> String {
    let template = transformer["InputTemplate"].as_str();
    let template = template.unwrap_or_else(|| text(&transformer["InputTemplate"]["Fn::Sub"]));
    let mut input = template.replace("${SurveyDataActionId}", "survey");
    for (name, path) in members(&transformer["InputPathsMap"]) {
        let pointer = text(path).trim_start_matches('$').replace('.', "/");
        let value = event.pointer(&pointer).unwrap_or_else(|| panic!("{path} leads nowhere: {event}"));
        let placeholder = format!("<{name}>");
        assert!(input.contains(&placeholder), "{placeholder} is not used");
        input = input.replace(&placeholder, &value.to_string());
    }
    input
}

/// What the relay publishes when these are delivered, as rules see it.
async fn published(world: &World, deliveries: &[&str]) -> Vec<Value> {
    let bus = Bus::start().await.expect("loopback has a free port");
    let relay = world.relay_with_bus(&bus, &[]).await;
    for delivery in deliveries {
        assert_eq!(world.deliver((*delivery).to_owned()).await.json()["status"], "ACKNOWLEDGED");
    }
    relay.feed_stream().await.expect("the relay takes its stream");
    let event = |it: Published| {
        let detail: Value = serde_json::from_str(&it.detail).expect("a detail is JSON");
        json!({"source": it.source, "detail-type": it.detail_type, "detail": detail})
    };
    bus.published().into_iter().map(event).collect()
}

/// The names of the rules that take an event.
fn takers(event: &Value) -> BTreeSet<String> {
    let takers = rules().into_iter().filter(|(_, rule)| takes(&rule["EventPattern"], Some(event)));
    takers.map(|(name, _)| name).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn each_rule_takes_the_events_it_is_for_and_no_others() {
    let world = world().await;
    let request = file("examples/eventbridge/transfer-requested.json");
    let chat = CUSTOMER_END.replace("VOICE", "CHAT").replace(CONVERSATION, "another");
    let incomplete = r#"{"id":"e-1","type":"transfer.requested","data":{"conversationId":"c"}}"#;
    let foreign = r#"{"id":"e-2","type":"order.placed","data":{}}"#;

    let events = published(&world, &[CUSTOMER_END, &chat, &request, incomplete, foreign]).await;

    assert_eq!(events.len(), 5);
    for event in &events {
        let detail = &event["detail"];
        let conversation = detail["detail"]["eventBody"]["conversationId"].as_str();
        let expected: &[&str] = match (conversation, text(&detail["event_id"])) {
            (Some(CONVERSATION), _) => &["ConversationsRule", "SurveyRule", "ToOtherBusRule"],
            (Some(_), _) => &["ConversationsRule", "ToOtherBusRule"],
            (None, "case-4711-transfer") => &["ToOtherBusRule", "TransferRequestedRule"],
            (None, _) => &["ToOtherBusRule"],
        };
        assert_eq!(takers(event), names(expected), "{event}");
        let mut of_another = event.clone();
        of_another["source"] = json!("somebody.else");
        assert_eq!(takers(&of_another), names(&[]));
    }
}

#[tokio::test]
async fn an_event_that_comes_twice_sends_one_survey_and_makes_one_transfer() {
    let world = world().await;
    world.genesys.data_action("survey", Behaviour::json(json!({"sent": true})));
    let request = file("examples/eventbridge/transfer-requested.json");
    let events = published(&world, &[CUSTOMER_END, &request]).await;
    let (data_actions, transfers) =
        (function(&world, "data-actions").await, function(&world, "transfers").await);

    let mut invoked = 0;
    for (name, rule) in rules() {
        for event in events.iter().filter(|event| takes(&rule["EventPattern"], Some(event))) {
            for target in
                elements(&rule["Targets"]).iter().filter(|target| target["InputTransformer"].is_object())
            {
                let function = match text(&target["Arn"]["Ref"]) {
                    "DataActionsFunctionArn" => &data_actions,
                    "TransfersFunctionArn" => &transfers,
                    other => panic!("{name}: nothing is known of {other}"),
                };
                let input = transformed(&target["InputTransformer"], event);
                let first = function.invoke(input.clone()).await.json();
                let again = function.invoke(input).await.json();
                for answer in [&first, &again] {
                    assert_eq!(answer["idempotencyKey"], event["detail"]["event_id"], "{name}");
                }
                assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)), "{name}");
                invoked += 1;
            }
        }
    }

    assert_eq!(invoked, 2);
    let surveys = world.genesys.effects("survey");
    assert_eq!(surveys.len(), 1);
    assert_eq!(surveys[0].input, json!({"conversationId": CONVERSATION}));
    let transfers = world.genesys.transfers(CONVERSATION);
    assert_eq!(transfers.len(), 1);
    assert_eq!(transfers[0].destination, simulator::Destination::Queue(QUEUE.to_owned()));
}

#[test]
fn every_rule_keeps_what_it_cannot_deliver_and_may_do_so() {
    let resources = resources();
    let allowed =
        &resources["UndeliveredPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]["Condition"];
    let allowed = allowed["ArnEquals"]["aws:SourceArn"].to_string();
    for (name, rule) in rules() {
        assert!(allowed.contains(&format!("{name}.Arn")), "{name} may not send to Undelivered");
        for target in elements(&rule["Targets"]) {
            assert_eq!(target["DeadLetterConfig"]["Arn"], json!({"Fn::GetAtt": "Undelivered.Arn"}), "{name}");
            assert!(target["RetryPolicy"]["MaximumEventAgeInSeconds"].is_u64(), "{name}");
            let function = target["Arn"]["Ref"].as_str().filter(|it| it.ends_with("FunctionArn"));
            if let Some(function) = function {
                let is_permission = |(_, resource): &(&String, &Value)| {
                    resource["Type"] == "AWS::Lambda::Permission"
                        && resource["Properties"]["FunctionName"]["Ref"] == function
                        && resource["Properties"]["SourceArn"]["Fn::GetAtt"] == format!("{name}.Arn")
                };
                assert_eq!(
                    members(&resources).filter(is_permission).count(),
                    1,
                    "{name} may not invoke {function}"
                );
            }
        }
    }
}
