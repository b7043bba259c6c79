//! `patchbay serve`: the stack stays up until it is told to stop.

use shared::config::Variables;
use shared::telemetry;

use crate::retention::LOCAL_STACK;
use crate::stack::{ECHO_ACTION, WRAP_UP_ACTION};
use crate::{Clock, Error, Options, Stack, TABLE_NAME, WEBHOOK_SECRET, hub_signature};

/// Starts a stack, prints every address, and serves until Ctrl-C.
pub async fn run(options: &Options) -> Result<(), Error> {
    // Quiet unless asked: the functions log a line per decision, and one per metric.
    if let Some(level) =
        Variables::of_this_process().text("LOG_LEVEL").and_then(|name| telemetry::level(name).ok())
    {
        telemetry::init("patchbay", level, Clock::system());
    }
    let stack = Stack::start(options).await?;
    say(&banner(&stack, options));
    tokio::signal::ctrl_c().await?;
    say("stopping: requests under way may end");
    stack.stop().await;
    Ok(())
}

fn banner(stack: &Stack, options: &Options) -> String {
    let gateway = stack.gateway.url();
    let event = r#"{"id":"event-1","type":"conversation.ended","createdTime":1763800000000,"data":{}}"#;
    let transfer =
        r#"{"conversationId":"call-1","transferType":"blind","destination":{"type":"queue","id":"support"}}"#;
    let signature = hub_signature(WEBHOOK_SECRET, event.as_bytes());
    let elsewhere = if gateway == LOCAL_STACK { String::new() } else { format!(" --url {gateway}") };
    let kept = options.data.as_ref().map_or("in memory".to_owned(), |file| format!("in {}", file.display()));
    format!(
        "\
patchbay is up

  gateway     {gateway}
              POST /webhooks/genesys
              POST /data-actions/{{dataActionId}}/invocations
              POST /transfers
              POST /retention
  simulator   {simulator}  (surface: {surface}; look and meddle at /_simulator)
              the call call-1 is with alice; the queue support and the user bob can answer, night-shift and carol cannot;
              the policy \"Emails of others\" keeps emails for 100 days
  inbox       {inbox}  (takes and verifies the notices of transfers and retention; a look at it shows them)
  bus         {bus}  (a rule runs the data action {WRAP_UP_ACTION} for each conversation.{{id}}.customer.end)
  database    {engine}  (table {TABLE_NAME}, {kept}; any AWS SDK or CLI reaches it)

try: curl -isS {gateway}/data-actions/{ECHO_ACTION}/invocations -H 'Idempotency-Key: my-first' -d '{{\"customer\":42}}'
and: curl -isS {gateway}/webhooks/genesys -H 'X-Hub-Signature-256: {signature}' -d '{event}'
or:  curl -isS {gateway}/transfers -H 'Idempotency-Key: my-transfer' -d '{transfer}'
or:  cargo run -- retention plan examples/retention.yaml{elsewhere}

Each of them twice: the second time nothing happens again. Ctrl-C stops everything.",
        simulator = stack.simulator.url(),
        surface = stack.simulator.surface(),
        engine = stack.engine.url(),
        inbox = stack.inbox.url(),
        bus = stack.bus.url(),
    )
}

/// Says a line to whoever runs this.
#[expect(clippy::print_stdout, reason = "this is what the command prints")]
pub fn say(text: &str) {
    println!("{text}");
}
