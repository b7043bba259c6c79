//! What holds for every function, queue, log and schedule.

use std::collections::BTreeSet;
use std::path::Path;

use harness::events::sqs_batch;
use harness::runtime_api::{Lambda, binary};
use harness::world::World;
use serde_json::{Value, json};
use simulator::Surface;

use super::{FUNCTIONS, TEMPLATE, as_list, defaults, events, functions, resolved, resources, with};

#[test]
fn directories_crates_and_binaries_have_one_name() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let directories = std::fs::read_dir(workspace.join("functions")).unwrap();
    let directories: BTreeSet<String> =
        directories.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let functions = functions();

    assert_eq!(directories, functions.keys().cloned().collect());
    assert_eq!(directories, FUNCTIONS.map(|(name, _)| name.to_owned()).into());
    for (name, function) in functions {
        assert_eq!(function["CodeUri"], format!("functions/{name}"));
        let manifest =
            std::fs::read_to_string(workspace.join(format!("functions/{name}/Cargo.toml"))).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{manifest}");
        assert!(binary(&name).is_file());
    }
}

#[test]
fn the_schedules_say_what_the_function_understands() {
    let retention = functions()["retention"]["Events"].clone();
    let parameters = defaults();
    let input = retention["Daily"]["Properties"]["Input"]["Fn::Sub"].as_str().expect("a text").to_owned();
    let input =
        parameters.iter().fold(input, |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
    let order: Value = serde_json::from_str(&input).expect("the daily order is JSON");
    assert_eq!(order["runId"], "<aws.scheduler.execution-id>");
    assert_eq!((&order["run"], &order["policies"]), (&json!("run"), &json!([])));
    let resume = retention["Resume"]["Properties"]["Input"].as_str().expect("a text");
    assert_eq!(serde_json::from_str::<Value>(resume).expect("JSON"), json!({"run": "resume"}));
}

#[test]
fn each_schedule_says_how_often_it_tries_and_where_it_keeps_what_it_could_not_hand_over() {
    let schedules = events("ScheduleV2");
    assert_eq!(schedules.len(), 3);
    for (function, schedule) in schedules {
        let retries = &schedule["RetryPolicy"];
        for limit in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
            assert!(retries[limit].is_u64(), "{function}: {schedule}");
        }
        assert_eq!(schedule["DeadLetterConfig"], json!({"Arn": {"Fn::GetAtt": "ScheduleFailures.Arn"}}));
        assert_eq!(schedule["RoleArn"], json!({"Fn::GetAtt": "SchedulerRole.Arn"}));
        assert_eq!(schedule["GroupName"], json!({"Ref": "Schedules"}));
        // With a name of SAM's making, one account could hold one stack.
        assert_eq!(schedule["OmitName"], true);
    }
}

#[test]
fn whatever_invokes_without_waiting_keeps_what_failed() {
    for (name, function) in functions() {
        let invoked = &function["EventInvokeConfig"];
        assert!(invoked["MaximumRetryAttempts"].is_u64(), "{name}");
        assert!(invoked["MaximumEventAgeInSeconds"].is_u64(), "{name}");
        let keeps = invoked["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"].is_string();
        // The relay's next sweep finds what a failed one left.
        assert_eq!(keeps, name != "relay", "{name}");
    }
    for rule in resources("AWS::Events::Rule").into_values() {
        for target in as_list(&rule["Properties"]["Targets"]) {
            assert!(target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"].is_string(), "{target}");
            assert!(target["RetryPolicy"]["MaximumRetryAttempts"].is_u64(), "{target}");
        }
    }
}

#[test]
fn a_queued_request_stays_hidden_for_six_times_as_long_as_it_may_take() {
    for (name, event) in events("SQS") {
        let queue =
            event["Queue"]["Fn::GetAtt"].as_str().expect("a queue").trim_end_matches(".Arn").to_owned();
        let queue = resources("AWS::SQS::Queue")[&queue]["Properties"].clone();
        let timeout = functions()[&name]["Timeout"].as_u64().expect("seconds");
        assert_eq!(queue["VisibilityTimeout"], timeout * 6, "{name}");
        let dead_letters =
            queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"].as_str().expect("a queue");
        let dead_letters = resources("AWS::SQS::Queue")[dead_letters.trim_end_matches(".Arn")].clone();
        let kept = |queue: &Value| queue["MessageRetentionPeriod"].as_u64().expect("seconds");
        assert!(kept(&dead_letters["Properties"]) > kept(&queue), "{name}");
    }
}

#[test]
fn queues_and_logs_are_encrypted_outlive_mistakes_and_end() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    let own = with(&[("KmsKeyArn", key)]);
    for (name, queue) in resources("AWS::SQS::Queue") {
        let properties = &queue["Properties"];
        let plain = resolved(properties, &defaults()).unwrap();
        assert_eq!(
            (&plain["SqsManagedSseEnabled"], &plain["KmsMasterKeyId"]),
            (&json!(true), &Value::Null),
            "{name}"
        );
        let owned = resolved(properties, &own).unwrap();
        assert_eq!(
            (&owned["SqsManagedSseEnabled"], &owned["KmsMasterKeyId"]),
            (&json!(false), &json!(key)),
            "{name}"
        );
        assert_eq!(queue["DeletionPolicy"], "RetainExceptOnCreate", "{name}");
        assert_eq!(queue["UpdateReplacePolicy"], "Retain", "{name}");
    }
    for (name, group) in resources("AWS::Logs::LogGroup") {
        let properties = &group["Properties"];
        assert_eq!(properties["RetentionInDays"], json!({"Ref": "LogRetentionDays"}), "{name}");
        assert!(resolved(properties, &defaults()).unwrap()["KmsKeyId"].is_null(), "{name}");
        assert_eq!(resolved(properties, &own).unwrap()["KmsKeyId"], key, "{name}");
    }
}

#[test]
fn instances_are_set_aside_for_a_function_where_a_number_says_so() {
    for (binary, name) in FUNCTIONS {
        let reserved = &functions()[binary]["ReservedConcurrentExecutions"];
        assert_eq!(resolved(reserved, &defaults()), None, "{binary}");
        let parameters = with(&[(&format!("{name}Concurrency"), "7")]);
        assert_eq!(resolved(reserved, &parameters), Some(json!("7")), "{binary}");
    }
}

#[test]
fn everything_says_whose_it_is() {
    let owner = |value: &Value| match value {
        Value::Array(tags) => tags.iter().find(|tag| tag["Key"] == "Owner").map(|tag| tag["Value"].clone()),
        tags => tags.get("Owner").cloned(),
    };
    let template = &*TEMPLATE;
    let globals = &template["Globals"]["Function"]["Tags"];
    assert_eq!(owner(globals), Some(json!({"Ref": "Owner"})));
    for kind in [
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Stage",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::DynamoDB::Table",
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::Logs::LogGroup",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::Scheduler::ScheduleGroup",
    ] {
        let all = resources(kind);
        assert!(!all.is_empty(), "{kind}");
        for (name, resource) in all {
            assert_eq!(owner(&resource["Properties"]["Tags"]), Some(json!({"Ref": "Owner"})), "{name}");
        }
    }
}

#[tokio::test]
async fn the_templates_batches_are_answered_as_the_template_announces() {
    let queue = functions()["data-actions"]["Events"]["Queue"]["Properties"].clone();
    assert_eq!(queue["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let world = World::start(Surface::Platform).await;
    let lambda = Lambda::start(&binary("data-actions"), &world.variables(&[])).await;

    let answer = lambda.invoke_with((&sqs_batch(&[("m-1", "poison")])).into()).await.json();

    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m-1"}]}));
}

#[test]
fn every_parameter_is_in_a_group_with_its_name_and_what_it_means() {
    let template = &*TEMPLATE;
    let groups = &template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let groups = groups.as_array().expect("groups");
    let grouped: Vec<_> = groups.iter().flat_map(|group| as_list(&group["Parameters"])).collect();
    let distinct: BTreeSet<_> = grouped.iter().map(|it| it.as_str().expect("a name")).collect();
    assert_eq!(distinct.len(), grouped.len(), "a parameter is in two groups");
    let parameters = template["Parameters"].as_object().expect("parameters");
    assert_eq!(distinct, parameters.keys().map(String::as_str).collect());
    for (name, parameter) in parameters {
        assert!(parameter["Description"].is_string(), "{name}");
    }
}
