//! The alarms: each watches something that is counted, says what it means, and reaches somebody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{TEMPLATE, as_text, defaults, functions, holds, resolved, resources, source, with};

/// The names of the metrics that the code emits.
pub(super) fn counted() -> BTreeSet<String> {
    let telemetry = source("shared/src/telemetry.rs");
    let (_, counts) = telemetry.split_once("pub enum Metric {").expect("the enum of counts");
    let (counts, _) = counts.split_once("\n}").expect("its end");
    let counts = counts.lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
    let measures = telemetry.split("emit(\"").skip(1).filter_map(|rest| rest.split('"').next());
    counts.chain(measures).map(str::to_owned).collect()
}

/// One metric: its namespace, its name, and its dimensions.
pub(super) type Watched = (String, String, BTreeMap<String, Value>);

/// The metrics that an alarm watches.
fn watched(alarm: &Value) -> Vec<Watched> {
    let read = |metric: &Value| {
        let dimensions = metric["Dimensions"].as_array().into_iter().flatten();
        let dimensions = dimensions.map(|it| (as_text(&it["Name"]), it["Value"].clone()));
        (as_text(&metric["Namespace"]), as_text(&metric["MetricName"]), dimensions.collect())
    };
    match alarm["Metrics"].as_array() {
        None => vec![read(alarm)],
        Some(metrics) => {
            let stats = metrics.iter().map(|it| &it["MetricStat"]["Metric"]);
            stats.filter(|metric| !metric.is_null()).map(read).collect()
        }
    }
}

/// Panics unless somebody fills the metric: the code, or AWS for a resource of this template.
pub(super) fn assert_filled((namespace, name, dimensions): &Watched) {
    let value = |dimension: &str| &dimensions[dimension];
    let is = |reference: &Value, form: &str, suffix: &str, kind: &str| {
        let id =
            reference[form].as_str().and_then(|it| it.strip_suffix(suffix)).unwrap_or_default().to_owned();
        assert!(resources(kind).contains_key(&id), "{name} of {reference}");
    };
    match namespace.as_str() {
        "Patchbay" => {
            assert!(counted().contains(name), "{name} is not emitted");
            let function = as_text(value("function"));
            assert!(functions().contains_key(&function), "{name} of {function}");
            assert_eq!(dimensions.len(), 1, "{name} has one dimension");
        }
        "AWS/SQS" => is(value("QueueName"), "Fn::GetAtt", ".QueueName", "AWS::SQS::Queue"),
        "AWS/Lambda" => is(value("FunctionName"), "Ref", "", "AWS::Serverless::Function"),
        "AWS/DynamoDB" => is(value("TableName"), "Ref", "", "AWS::DynamoDB::Table"),
        "AWS/ApiGateway" => is(value("ApiId"), "Ref", "", "AWS::ApiGatewayV2::Api"),
        other => panic!("{name} is in {other}"),
    }
}

fn alarms() -> BTreeMap<String, Value> {
    let alarms = resources("AWS::CloudWatch::Alarm").into_iter();
    alarms.map(|(name, alarm)| (name, alarm["Properties"].clone())).collect()
}

#[test]
fn every_alarm_watches_something_that_is_counted() {
    let all: Vec<_> = alarms().values().flat_map(watched).collect();
    assert!(all.len() > 40, "{all:?}");
    all.iter().for_each(assert_filled);
}

#[test]
fn what_somebody_must_hear_of_has_an_alarm() {
    let watched: BTreeSet<_> = alarms()
        .values()
        .flat_map(watched)
        .map(|(_, name, dimensions)| {
            let of = dimensions
                .values()
                .map(|it| as_text(it.as_object().map_or(it, |it| &it[it.keys().next().unwrap()])));
            (name, of.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let mut needed: Vec<(&str, String)> = [
        ("OutcomeUnknown", "data-actions"),
        ("OutcomeUnknown", "transfers"),
        ("OutcomeUnknown", "relay"),
        ("EventsQuarantined", "webhook-intake"),
        ("DeliveriesUnauthenticated", "webhook-intake"),
        ("NoticesDead", "relay"),
        ("EventsDead", "relay"),
        ("OldestDueAge", "relay"),
        ("PoliciesFailed", "retention"),
        ("PoliciesInvalid", "retention"),
        ("PoliciesStuck", "retention"),
        ("IteratorAge", "RelayFunction"),
        ("5xx", "HttpApi"),
    ]
    .map(|(metric, of)| (metric, of.to_owned()))
    .into();
    for (_, name) in super::FUNCTIONS {
        needed.extend(["Errors", "Throttles"].map(|metric| (metric, format!("{name}Function"))));
    }
    for queue in resources("AWS::SQS::Queue").into_keys().filter(|name| !name.ends_with("Queue")) {
        needed.push(("ApproximateNumberOfMessagesVisible", format!("{queue}.QueueName")));
    }
    for (metric, of) in needed {
        assert!(watched.contains(&(metric.to_owned(), of.clone())), "nobody watches {metric} of {of}");
    }
    for operation in
        ["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem", "BatchWriteItem", "TransactWriteItems"]
    {
        let errors = ("SystemErrors".to_owned(), format!("{operation} Table"));
        assert!(watched.contains(&errors), "nobody watches the errors of {operation}: {watched:?}");
    }
}

#[test]
fn every_alarm_reaches_a_topic_of_the_stack_or_the_one_that_is_given() {
    let topic = "arn:aws:sns:eu-west-1:123456789012:alarms";
    let given = with(&[("AlarmTopicArn", topic), ("AlarmEmail", "a@example.org")]);
    for (name, alarm) in alarms() {
        assert_eq!(resolved(&alarm["AlarmActions"], &given), Some(json!([topic])), "{name}");
        let own = resolved(&alarm["AlarmActions"], &defaults());
        assert_eq!(own, Some(json!([{"Ref": "AlarmTopic"}])), "{name}");
    }
    let subscription = TEMPLATE["Resources"]["AlarmSubscription"]["Condition"].clone();
    let subscription = subscription.as_str().expect("a condition");
    assert!(holds("MakesAlarmTopic", &defaults()) && !holds(subscription, &defaults()));
    assert!(holds(subscription, &with(&[("AlarmEmail", "a@example.org")])));
    assert!(!holds("MakesAlarmTopic", &given) && !holds(subscription, &given));
}

#[test]
fn every_alarm_says_what_it_means_and_where_to_read_on() {
    let alarms = alarms();
    let named = |name: &str| {
        let alarm = &alarms[name];
        let text = alarm["AlarmDescription"].as_str().unwrap_or_else(|| panic!("{name} says nothing"));
        let (meaning, where_to) = text.rsplit_once(" See ").unwrap_or_else(|| panic!("{name}: {text}"));
        assert_eq!(where_to, format!("{name} in docs/operate.md."));
        // CloudWatch takes 1,024.
        assert!((60..1_000).contains(&meaning.len()), "{name}: {meaning}");
        meaning.to_owned()
    };
    let meanings: BTreeSet<_> = alarms.keys().map(|name| named(name)).collect();
    assert_eq!(meanings.len(), alarms.len(), "two alarms say the same");
}

#[test]
fn only_the_relays_silence_is_an_alarm() {
    for (name, alarm) in alarms() {
        let expected = if name == "RelaySilent" { "breaching" } else { "notBreaching" };
        assert_eq!(alarm["TreatMissingData"], expected, "{name}");
    }
}
