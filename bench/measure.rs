//! Measures the release binaries: `cargo bench --bench measure`. The README's figures come from here.
//!
//! Times are of this machine, against an engine and a simulator on loopback: they show what the binaries add,
//! not what AWS's network does.
//!
//! `.ci/package` has built what is deployed: `cargo bench --bench measure --profile dev -- target/lambda` measures that, and
//! builds nothing in the release profile.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::events;
use harness::runtime_api::{Lambda, binary};
use harness::world::{WEBHOOK_SECRET, World};
use serde_json::{Value, json};
use simulator::{Behaviour, Conversation, Queue, Simulator, Surface};

/// How often a start is measured.
const STARTS: usize = 21;

#[tokio::main]
async fn main() {
    say("binary           stripped    start to first poll   start to first answer");
    for name in ["webhook-intake", "data-actions", "transfers", "retention", "relay"] {
        let size = std::fs::metadata(program(name)).expect("it was just built").len();
        let (poll, answer) = starts(name).await;
        say(&format!(
            "{name:16} {:>5.2} MB    {:>16.1} ms   {:>18.1} ms",
            megabytes(size),
            millis(poll),
            millis(answer)
        ));
    }
    say(&format!("(medians of {STARTS} starts, in milliseconds of wall time)\n"));
    requests().await;
}

/// A function's program: from the directory that is named on the command line, as cargo-lambda lays it out, or built now.
fn program(name: &str) -> PathBuf {
    // Cargo adds an option of its own.
    let built = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    built.map_or_else(|| binary(name), |built| workspace().join(built).join(name).join("bootstrap"))
}

/// Where a path on the command line begins: cargo runs this in its package's own directory.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

/// The median times from starting a process to its first poll, and to its first answer.
async fn starts(name: &str) -> (Duration, Duration) {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::json(json!({})));
    world.genesys.queue("q", Queue::open().joined(1));
    let (mut polls, mut answers) = (Vec::new(), Vec::new());
    for index in 0..STARTS {
        let event = match name {
            "webhook-intake" => delivery(&format!("event-{index}")),
            "transfers" => transfer(&world.genesys, &format!("c-{index}"), &format!("key-{index}")),
            "retention" => retention("plan", 90, 1),
            "relay" => json!({"source": "aws.scheduler"}),
            _ => invocation(&format!("key-{index}"), "{}"),
        };
        let started = Instant::now();
        let lambda = Lambda::start(&program(name), &world.variables(&[])).await;
        let answer = lambda.invoke(event.to_string()).await;
        answers.push(started.elapsed());
        match name {
            "relay" => assert_eq!(answer.json()["leftOver"], false, "{}", lambda.output()),
            _ => assert_eq!(answer.http().status, 200, "{}", lambda.output()),
        }
        polls.push(lambda.first_poll_after().expect("it has answered, so it has polled"));
    }
    (median(polls), median(answers))
}

/// Counts what each operation asks of DynamoDB.
async fn requests() {
    let world = World::start(Surface::Platform).await;
    world.genesys.data_action("a", Behaviour::json(json!({"ticket": 1})));
    world.genesys.data_action("large", Behaviour::status(200, "text/plain", vec![b'x'; 1_000_000]));
    let intake = Lambda::start(&program("webhook-intake"), &world.variables(&[])).await;
    let actions = Lambda::start(&program("data-actions"), &world.variables(&[])).await;
    let cold = Lambda::start(&program("data-actions"), &world.variables(&[])).await;
    let transfers = Lambda::start(&program("transfers"), &world.variables(&[])).await;
    let cold_transfers = Lambda::start(&program("transfers"), &world.variables(&[])).await;
    world.genesys.queue("q", Queue::open().joined(1));
    let scheduled = Lambda::start(&program("retention"), &world.variables(&[])).await;
    let asked = |key| transfer(&world.genesys, "c", key);
    let large =
        |key| events::http_v2("POST", "/data-actions/large/invocations", &[("idempotency-key", key)], b"{}");

    say("operation                                    DynamoDB requests");
    count(&world, "event, new", &intake, &delivery("e"), 200).await;
    count(&world, "event, repeated", &intake, &delivery("e"), 200).await;
    count(&world, "data action, first run", &actions, &invocation("k", "{}"), 200).await;
    count(&world, "data action, repeated in a warm instance", &actions, &invocation("k", "{}"), 200).await;
    count(&world, "data action, repeated in a cold instance", &cold, &invocation("k", "{}"), 200).await;
    count(&world, "data action, same key, another payload", &cold, &invocation("k", r#"{"x":1}"#), 422).await;
    count(&world, "data action, first run, 1 MB answer", &actions, &large("l"), 200).await;
    count(&world, "data action, repeated cold, 1 MB answer", &cold, &large("l"), 200).await;
    count(&world, "transfer, a conversation's first", &transfers, &asked("1"), 200).await;
    count(&world, "transfer, a later one", &transfers, &asked("2"), 200).await;
    count(&world, "transfer, repeated in a warm instance", &transfers, &asked("2"), 200).await;
    count(&world, "transfer, repeated in a cold instance", &cold_transfers, &asked("2"), 200).await;
    count(&world, "retention, a run of one policy, created", &scheduled, &retention("run", 90, 1), 200).await;
    count(&world, "retention, the same, unchanged", &scheduled, &retention("run", 90, 1), 200).await;
    count(&world, "retention, five more policies, created", &scheduled, &retention("run", 90, 6), 200).await;
    count(&world, "retention, six policies, updated", &scheduled, &retention("run", 400, 6), 200).await;
    count(&world, "retention, a plan", &scheduled, &retention("plan", 90, 6), 200).await;
    count(&world, "retention, a resume with nothing to do", &scheduled, &retention("resume", 90, 1), 200)
        .await;
}

async fn count(world: &World, what: &str, lambda: &Lambda, event: &Value, status: u16) {
    world.store.reset_counts();
    let answer = lambda.invoke(event.to_string()).await.http();
    assert_eq!(answer.status, status, "{what}");
    let by_operation: Vec<String> =
        world.store.counts().iter().map(|(operation, count)| format!("{count} {operation}")).collect();
    say(&format!("{what:44} {}  {}", world.store.total(), by_operation.join(", ")));
}

fn delivery(id: &str) -> Value {
    let body = json!({"id": id, "type": "conversation.ended"}).to_string();
    let signature = harness::world::hub_signature(WEBHOOK_SECRET, body.as_bytes());
    events::http_v2("POST", "/webhooks/genesys", &[("x-hub-signature-256", &signature)], body.as_bytes())
}

fn invocation(key: &str, input: &str) -> Value {
    events::http_v2("POST", "/data-actions/a/invocations", &[("idempotency-key", key)], input.as_bytes())
}

/// A transfer of a conversation that can be transferred.
fn transfer(genesys: &Simulator, conversation: &str, key: &str) -> Value {
    genesys.conversation(conversation, Conversation::with_agent("alice"));
    let body = json!({"conversationId": conversation, "transferType": "blind",
        "destination": {"type": "queue", "id": "q"}});
    let body = body.to_string();
    events::http_v2("POST", "/transfers", &[("idempotency-key", key)], body.as_bytes())
}

/// An order of so many policies that do not overlap.
fn retention(run: &str, days: u64, policies: u64) -> Value {
    let policy = |number: u64| {
        json!({"name": format!("Calls {number}"), "objectType": "call", "retentionPeriod": days + number * 20,
            "schedule": {"frequency": "DAILY"}})
    };
    let policies: Vec<Value> = (0..policies).map(policy).collect();
    let order = json!({"run": run, "licenseTier": "STANDARD", "policies": policies}).to_string();
    events::http_v2("POST", "/retention", &[], order.as_bytes())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a binary is not petabytes large")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::print_stdout, reason = "this is what the command prints")]
fn say(text: &str) {
    println!("{text}");
}
