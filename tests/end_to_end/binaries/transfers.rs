//! The compiled transfers function: HTTP in every envelope, direct invocations, batches, its log, and its settings.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use harness::events;
use harness::runtime_api::{Answer, Deadline, Invocation, Lambda, binary, fleet};
use harness::secrets_manager::SecretsManager;
use harness::world::World;
use serde_json::{Value, json};
use simulator::{Conversation, Fault, Operation, Queue, Surface, User};

use super::last_words;

const PATH: &str = "/transfers";
const NUMBER: &str = "+4930987654";

pub(super) async fn transfers(world: &World, variables: &[(&str, &str)]) -> Lambda {
    let crm = [("CRM_WEBHOOK_URL", "https://crm.example/transfers")];
    Lambda::start(&binary("transfers"), &world.variables(&[&crm, variables].concat())).await
}

/// A world in which the conversations `c` and `d` are with an agent, and the queue `support` can answer.
pub(super) async fn world(surface: Surface) -> World {
    let world = World::start(surface).await;
    world.genesys.queue("support", Queue::open());
    world.genesys.user("bob", User::available());
    for conversation in ["c", "d"] {
        world.genesys.conversation(conversation, Conversation::with_agent("alice"));
    }
    world
}

/// A direct invocation: a blind transfer of `c` to the queue `support`.
pub(super) fn to_support(key: &str) -> String {
    request("c", "queue", "support", key)
}

fn request(conversation: &str, kind: &str, id: &str, key: &str) -> String {
    json!({"conversationId": conversation, "transferType": "blind", "destination": {"type": kind, "id": id},
        "idempotencyKey": key})
    .to_string()
}

/// What the trail of `c` says happened.
pub(super) fn actions(world: &World) -> Vec<String> {
    let trail = world.trail("conversation:c");
    trail.iter().map(|entry| entry["action"].as_str().expect("an action").to_owned()).collect()
}

#[tokio::test]
async fn a_transfer_is_the_same_through_every_gateway() {
    for surface in [Surface::Platform, Surface::Guide] {
        let world = world(surface).await;
        let lambda = transfers(&world, &[]).await;
        let headers = [("Idempotency-Key", "k"), ("Content-Type", "application/json")];
        let body = to_support("k");
        let mut staged = events::http_v2("POST", "/live/transfers", &headers, body.as_bytes());
        staged["requestContext"]["stage"] = json!("live");

        let mut bodies = BTreeSet::new();
        for (nth, event) in [
            events::http_v2("POST", PATH, &headers, body.as_bytes()),
            events::http_v2_base64("POST", PATH, &headers, body.as_bytes()),
            staged,
            events::http_v1("POST", PATH, PATH, &headers, body.as_bytes()),
            events::function_url("POST", PATH, &headers, body.as_bytes()),
        ]
        .iter()
        .enumerate()
        {
            let answer = lambda.invoke_with(event.into()).await.http();
            assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("completed")), "{event}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("idempotency-key"), Some("k"));
            assert_eq!(answer.header("idempotent-replayed"), (nth > 0).then_some("true"), "{event}");
            bodies.insert(answer.text().to_owned());
        }
        assert_eq!((bodies.len(), world.genesys.transfer_count()), (1, 1));
    }
}

#[tokio::test]
async fn a_bad_request_is_a_problem_through_every_gateway() {
    let world = world(Surface::Platform).await;
    let lambda = transfers(&world, &[]).await;
    for event in [
        events::http_v2("POST", PATH, &[], b"{"),
        events::http_v1("POST", PATH, PATH, &[], b"[]"),
        events::function_url("POST", PATH, &[("idempotency-key", "a b")], b"\xff"),
        events::http_v2("POST", PATH, &[("x-odd", "one\u{1}two")], to_support("k").as_bytes()),
    ] {
        let answer = lambda.invoke_with((&event).into()).await.http();
        assert_eq!(answer.status, 400, "{event}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!((world.genesys.requests().len(), world.items("").len()), (0, 0));
}

#[tokio::test]
async fn callers_never_see_each_others_answers() {
    let world = world(Surface::Platform).await;
    let lambda = transfers(&world, &[]).await;
    let body = to_support("k");
    let v1 = || events::http_v1("POST", PATH, PATH, &[], body.as_bytes());
    let v2 = || events::http_v2("POST", PATH, &[], body.as_bytes());
    let arn = "arn:aws:iam::123456789012:user/crm";
    let callers = [
        vec![v2(), v1()],
        vec![events::with_caller_jwt(v2(), "alice"), events::with_caller_jwt(v1(), "alice")],
        vec![events::with_caller_jwt(v2(), "bob")],
        vec![events::with_caller_iam(v2(), arn), events::with_caller_iam(v1(), arn)],
        vec![events::with_api_key(v1(), "alice")],
    ];

    for caller in &callers {
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        for (nth, event) in caller.iter().enumerate() {
            let answer = lambda.invoke_with(event.into()).await.http();
            assert_eq!(answer.header("idempotent-replayed").is_some(), nth > 0, "{answer:?}");
        }
    }

    assert_eq!(world.genesys.transfer_count(), callers.len());
    let actors: BTreeSet<String> =
        world.trail("conversation:c").iter().map(|entry| entry["actor"].to_string()).collect();
    assert_eq!(actors.len(), callers.len(), "{actors:?}");
}

#[tokio::test]
async fn a_direct_invocation_is_answered_with_one_object() {
    for surface in [Surface::Platform, Surface::Guide] {
        let world = world(surface).await;
        let lambda = transfers(&world, &[]).await;

        let first = lambda.invoke(to_support("k")).await.json();
        let again = lambda.invoke(to_support("k")).await.json();

        let mut expected = json!({"conversationId": "c", "transferType": "blind", "status": "completed",
            "destination": {"type": "queue", "id": "support"}, "idempotencyKey": "k", "replayed": false,
            "transferId": world.genesys.transfers("c")[0].id});
        for name in ["latencyMs", "timestamp", "destinationParticipantId"] {
            assert!(!first[name].is_null(), "{name}: {first}");
            expected[name] = first[name].clone();
        }
        assert_eq!(first, expected);
        expected["replayed"] = json!(true);
        assert_eq!(again, expected);
    }
}

#[tokio::test]
async fn a_problem_is_a_function_error_by_its_name() {
    let world = world(Surface::Platform).await;
    let lambda = transfers(&world, &[]).await;
    let transfer = Operation::Transfer;
    let busy = Conversation::with_agent("alice").recent_transfer(
        "t",
        simulator::TransferState::Pending,
        simulator::Destination::User("erin".to_owned()),
    );
    world.genesys.conversation("busy", busy);
    world.genesys.conversation("acd", Conversation::with_agent("alice").refuses_unattended());
    world.genesys.queue("empty", Queue::open().joined(0));
    assert_eq!(lambda.invoke(to_support("used")).await.json()["replayed"], false);
    let preserving = json!({"conversationId": "d", "transferType": "blind", "preserveCallerId": true,
        "destination": {"type": "external", "id": NUMBER}});

    for (payload, fault, name) in [
        ("{".to_owned(), None, "InvalidRequest"),
        (request("../d", "queue", "support", "k"), None, "InvalidRequest"),
        (request("d", "queue", "support", ""), None, "InvalidRequest"),
        (request("d", "queue", "support", "used"), None, "KeyReused"),
        (request("d", "queue", "nowhere", "k"), None, "DestinationNotFound"),
        (request("nowhere", "queue", "support", "k"), None, "ConversationNotFound"),
        (request("busy", "queue", "support", "k"), None, "ConversationConflict"),
        (request("d", "queue", "empty", "k"), None, "DestinationUnavailable"),
        (request("acd", "queue", "support", "k"), None, "TransferRefused"),
        (preserving.to_string(), None, "Unsupported"),
        (request("d", "queue", "support", "k"), Some(Fault::status(403)), "UpstreamRejected"),
        (request("d", "queue", "support", "k"), Some(Fault::status(429).times(4)), "UpstreamRateLimited"),
    ] {
        if let Some(fault) = fault {
            world.genesys.fault(transfer, fault);
        }
        let answer = lambda.invoke(payload.clone()).await;
        let Answer::Error { error_type_header, .. } = &answer else { panic!("{payload}: {answer:?}") };
        assert_eq!(
            (answer.error_type().as_str(), error_type_header.as_deref()),
            (name, Some(name)),
            "{payload}"
        );
        assert!(!answer.error_message().is_empty());
    }
    world.genesys.fault(transfer, Fault::drop_before_effect());
    let brief = Invocation::new(request("d", "queue", "support", "cut"))
        .deadline(Deadline::In(Duration::from_secs(3)));
    assert_eq!(lambda.invoke_with(brief).await.error_type(), "OutcomeUnknown");
    assert_eq!(lambda.invoke(request("d", "queue", "support", "cut")).await.error_type(), "OutcomeUnknown");
    world.store.down();
    assert_eq!(lambda.invoke(request("d", "queue", "support", "k")).await.error_type(), "StoreUnavailable");
    assert_eq!(world.genesys.transfer_count(), 1);
}

#[tokio::test]
async fn who_repeats_a_running_transfer_is_told_so_or_waits_for_its_answer() {
    let world = world(Surface::Platform).await;
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    let (first, second) = (transfers(&world, &[]).await, transfers(&world, &[]).await);
    let running = first.begin(Invocation::new(to_support("k")));
    world.genesys.wait_for_stalled(1).await;

    assert_eq!(second.invoke(to_support("k")).await.error_type(), "InProgress");
    let mut patient: Value = serde_json::from_str(&to_support("k")).unwrap();
    patient["waitSeconds"] = json!(20);
    let waiting = second.begin((&patient).into());
    world.store.wait_for("GetItem", 1).await;
    world.genesys.release_stalled();

    let (performed, mut replayed) = (running.await.json(), waiting.await.json());
    assert_eq!((&performed["replayed"], &replayed["replayed"]), (&json!(false), &json!(true)));
    replayed["replayed"] = json!(false);
    assert_eq!((replayed, world.genesys.transfer_count()), (performed, 1));
}

#[tokio::test]
async fn of_fifty_identical_invocations_on_five_instances_one_transfers() {
    let world = world(Surface::Platform).await;
    let fleet = fleet(&binary("transfers"), &world.variables(&[]), 5).await;

    let answers = join_all((0..50).map(|n| fleet[n % 5].begin(Invocation::new(to_support("k"))))).await;

    let is_answer = |answer: &&Answer| matches!(answer, Answer::Success(_));
    let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(is_answer);
    assert!(refused.iter().all(|answer| answer.error_type() == "InProgress"));
    assert_eq!(given.iter().filter(|answer| answer.json()["replayed"] == false).count(), 1);
    assert_eq!((world.genesys.transfer_count(), world.items("claim").len()), (1, 1));
}

fn failures(answer: &Answer) -> BTreeSet<String> {
    let answer = answer.json();
    let failures = answer["batchItemFailures"].as_array().expect("a partial-batch response");
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn of_ten_messages_the_two_that_failed_are_named_and_the_good_are_not_repeated() {
    let world = world(Surface::Platform).await;
    for n in 0..8 {
        world.genesys.conversation(&format!("c-{n}"), Conversation::with_agent("alice"));
    }
    world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());
    let elsewhere = transfers(&world, &[]).await;
    let busy = elsewhere.begin(Invocation::new(to_support("busy")));
    world.genesys.wait_for_stalled(1).await;
    let good: Vec<_> = (0..8)
        .map(|n| (format!("good-{n}"), request(&format!("c-{n}"), "queue", "support", &format!("k-{n}"))))
        .collect();
    let again = to_support("busy");
    let mut messages = vec![("busy", again.as_str()), ("poison", "{\"conversationId\":")];
    messages.extend(good.iter().map(|(id, body)| (id.as_str(), body.as_str())));
    let batch = events::sqs_batch(&messages);

    // The second time is a redelivery, to another process.
    for _ in 0..2 {
        let answer = transfers(&world, &[]).await.invoke_with((&batch).into()).await;
        assert_eq!(failures(&answer), BTreeSet::from(["busy".to_owned(), "poison".to_owned()]));
        assert_eq!(world.genesys.transfer_count(), 8);
    }
    world.genesys.release_stalled();
    assert_eq!(busy.await.json()["replayed"], false);
    let answer = elsewhere.invoke_with((&batch).into()).await;
    assert_eq!(failures(&answer), BTreeSet::from(["poison".to_owned()]));
    assert_eq!(world.genesys.transfer_count(), 9);
}

#[tokio::test]
async fn no_number_no_secret_and_no_token_is_said_at_any_level() {
    for level in ["info", "trace"] {
        let world = world(Surface::Platform).await;
        let pii = ("AUDIT_PII_KEY", "a-key-that-commits");
        let lambda = transfers(&world, &[("LOG_LEVEL", level), pii]).await;
        let brief = |payload: String| Invocation::new(payload).deadline(Deadline::In(Duration::from_secs(3)));
        let to_number = |conversation: &str, key: &str| request(conversation, "external", NUMBER, key);
        assert_eq!(lambda.invoke(to_number("c", "k-1")).await.json()["status"], "completed");
        assert_eq!(lambda.invoke(to_number("gone", "k-2")).await.error_type(), "ConversationNotFound");
        world.genesys.fault(Operation::Transfer, Fault::drop_before_effect());
        assert_eq!(lambda.invoke_with(brief(to_number("d", "k-3"))).await.error_type(), "OutcomeUnknown");
        let malformed = request("c", "external", "+49 30 987654", "k-4");
        assert_eq!(lambda.invoke(malformed).await.error_type(), "InvalidRequest");
        world.store.down();
        assert_eq!(lambda.invoke(to_number("d", "k-5")).await.error_type(), "StoreUnavailable");
        world.store.up();

        let said = last_words(&lambda).await;

        let (_, client_secret) = world.genesys.credentials();
        let seen = world.genesys.requests();
        let tokens = seen.iter().filter_map(|request| request.header("authorization")?.split_once(' '));
        let mut secrets: Vec<&str> = tokens.map(|(_, token)| token).collect();
        assert!(secrets.len() > 3);
        secrets.extend([&client_secret, pii.1, &NUMBER[1..], "49 30 987654", "no-secret-at-all"]);
        for line in said.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line}");
            let found = secrets.iter().find(|secret| line.contains(**secret));
            assert!(found.is_none(), "at {level}: {line}");
        }
        for metric in ["RunsPerformed", "RunsRefused", "OutcomeUnknown", "StoreUnavailable"] {
            assert!(said.contains(metric), "{metric}");
        }
    }
}

#[tokio::test]
async fn the_key_of_the_commitments_is_read_at_start_or_there_is_none() {
    let world = world(Surface::Platform).await;
    let vault = SecretsManager::in_front_of(&world.store.url()).await;
    vault.set("pii", "a-key-from-the-vault");
    let url = vault.url();
    let variables = |id: &'static str| {
        [("AUDIT_PII_KEY_SECRET_ID", id), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", url.as_str())]
    };

    let lambda = transfers(&world, &variables("pii")).await;
    assert_eq!(lambda.invoke(request("c", "external", NUMBER, "k")).await.json()["status"], "completed");
    let entry = world.trail("conversation:c").remove(0);
    // HMAC-SHA-256 of the number under that key, by another program.
    let commitment = "hmac-sha256:2e5cde7682c24e260e45e9c2e79f7061da1938d10d8157c0cf5f3fe7b748e73c";
    assert_eq!(entry["destination"]["commitment"], commitment);
    let lost = transfers(&world, &variables("absent")).await;
    assert!(!lost.exit().await.success());
    assert!(lost.output().contains("absent"), "{}", lost.output());
}

#[tokio::test]
async fn transfers_names_every_bad_setting_in_one_line() {
    let world = world(Surface::Platform).await;
    let bad = [
        ("TABLE_NAME", ""),
        ("GENESYS_API", "both"),
        ("GENESYS_API_URL", "nowhere"),
        ("GENESYS_REGION", "example.com"),
        ("GENESYS_CLIENT_ID", ""),
        ("IDEMPOTENCY_TTL_SECONDS", "-1"),
        ("LEASE_SECONDS", "0"),
        ("RETRY_ATTEMPTS", "many"),
        ("RETRY_BASE_MS", "1.5"),
        ("MAX_BODY_BYTES", "1e9"),
        ("HTTP_TIMEOUT_SECONDS", "0"),
        ("CRM_WEBHOOK_URL", "crm"),
        ("LOG_LEVEL", "loud"),
    ];

    let lambda = transfers(&world, &bad).await;

    let status = lambda.exit().await;
    let output = lambda.output();
    assert!(!status.success() && output.lines().count() == 1, "{output}");
    let report = lambda.init_error().expect("Lambda was told")["errorMessage"].to_string();
    for (name, _) in bad {
        assert!(output.contains(name) && report.contains(name), "{name}: {output}");
    }
    assert!(!output.contains(&world.genesys.credentials().1));
    assert_eq!(lambda.first_poll_after(), None);
}
