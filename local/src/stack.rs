//! The stack: all of it, running here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Clock;
use simulator::{Behaviour, Conversation, Policy, Queue, Simulator, Surface, User};
use tokio::task::JoinSet;

use crate::{Bus, Engine, Error, Gateway, Inbox, Relay, Rule, TABLE_NAME};

/// What deliveries are signed with on this machine.
pub const WEBHOOK_SECRET: &str = "a-secret-for-this-machine-only";

/// What notices are signed with on this machine.
pub(crate) const NOTICE_SECRET: &str = "another-secret-for-this-machine-only";

/// How often the bus is looked at for what its rules take.
const POLL: Duration = Duration::from_millis(100);

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the gateway listens; 0 takes any free port.
    pub port: u16,
    /// Where the database is kept; in memory if nowhere.
    pub data: Option<PathBuf>,
    /// Which API surface is spoken and simulated.
    pub surface: Surface,
    /// The wait after a first failed attempt, in milliseconds.
    pub retry_base_ms: u64,
    /// The wait before the first look at a retention job, in milliseconds, as `RETENTION_POLL_BASE_MS` has it.
    pub retention_poll_base_ms: u64,
    /// The waits between attempts to deliver a notice, as `NOTICE_RETRY_SECONDS` has them.
    pub notice_retry_seconds: &'static str,
    /// How often the relay sweeps.
    pub sweep_every: Duration,
    /// How often retention carries on what was begun.
    pub resume_every: Duration,
    /// Is told, a line at a time, what reaches the bus and the inbox, and what retention has carried on.
    pub tell: fn(&str),
}

/// A running stack. It stops when this is dropped.
pub struct Stack {
    /// The database.
    pub engine: Engine,
    /// In the place of Genesys Cloud.
    pub simulator: Simulator,
    /// The functions' routes.
    pub gateway: Arc<Gateway>,
    /// In the place of the CRM.
    pub inbox: Arc<Inbox>,
    /// In the place of `EventBridge`.
    pub bus: Arc<Bus>,
    /// The relay, what watches the bus, and retention's schedule.
    running: JoinSet<()>,
}

/// The data action that every simulated organisation has: it answers with what it was given.
pub(crate) const ECHO_ACTION: &str = "echo";

/// The data action that the example rule runs for each conversation that a customer ended.
pub(crate) const WRAP_UP_ACTION: &str = "wrap-up";

impl Stack {
    /// Starts everything.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let engine = Engine::start(options.data.as_deref()).await?;
        let simulator = Simulator::start(options.surface).await?;
        populate(&simulator);
        let inbox = Arc::new(Inbox::start(NOTICE_SECRET, Clock::system()).await?);
        let bus = Arc::new(Bus::start().await?);
        let variables = variables(&simulator, &inbox, options);
        let gateway = Gateway::start(&variables, &engine.url(), Clock::system(), options.port).await?;
        let gateway = Arc::new(gateway);
        let relay =
            Relay::start(&variables, &engine, &engine.url(), Some(&bus.url()), Clock::system()).await?;
        let mut running = relay.run(options.sweep_every);
        running.spawn(watch(Arc::clone(&bus), Arc::clone(&inbox), Arc::clone(&gateway), options.tell));
        running.spawn(carry_on(Arc::clone(&gateway), options.resume_every, options.tell));
        Ok(Self { engine, simulator, gateway, inbox, bus, running })
    }

    /// Stops everything: requests under way end first.
    pub async fn stop(mut self) {
        self.running.shutdown().await;
        if let Some(gateway) = Arc::into_inner(self.gateway) {
            gateway.stop().await;
        }
        self.simulator.stop().await;
    }
}

/// An organisation to play with.
fn populate(simulator: &Simulator) {
    simulator.data_action(ECHO_ACTION, Behaviour::echo());
    simulator.data_action(WRAP_UP_ACTION, Behaviour::json(json!({"ticket": "closed"})));
    simulator.conversation("call-1", Conversation::with_agent("alice"));
    simulator.queue("support", Queue::open().joined(3));
    simulator.queue("night-shift", Queue::closed());
    simulator.user("alice", User::available());
    simulator.user("bob", User::available());
    simulator.user("carol", User::offline());
    simulator.policy("policy-of-others", Policy::new("Emails of others", "email", 100));
}

/// Hands what is published to the example rule, and tells of it and of what the inbox receives.
async fn watch(bus: Arc<Bus>, inbox: Arc<Inbox>, gateway: Arc<Gateway>, tell: fn(&str)) {
    let rule = Rule::of_template(WRAP_UP_ACTION);
    let (mut published, mut received) = (0, 0);
    loop {
        for event in bus.published().into_iter().skip(published) {
            published += 1;
            let detail: Value = serde_json::from_str(&event.detail).unwrap_or_default();
            tell(&format!("bus: {} {}", event.detail_type, detail["event_id"]));
            let event = json!({"source": event.source, "detail-type": event.detail_type, "detail": detail});
            if let Some(input) = rule.input(&event) {
                let ran = gateway.invoke_data_action(&input).await;
                tell(&format!("rule: {input} -> {}", ran.unwrap_or_else(|failure| failure)));
            }
        }
        for notice in inbox.received().into_iter().skip(received) {
            received += 1;
            let signed = if notice.is_verified { "signed" } else { "NOT SIGNED" };
            tell(&format!("inbox: {} ({signed}) {}", notice.id.unwrap_or_default(), notice.body));
        }
        // Bus and inbox tell nobody of what they take: they are looked at.
        tokio::time::sleep(POLL).await;
    }
}

/// Carries on what retention has begun, as the template's schedule does, and tells what came of it.
async fn carry_on(gateway: Arc<Gateway>, every: Duration, tell: fn(&str)) {
    let mut last = String::new();
    loop {
        // In the place of the schedule.
        tokio::time::sleep(every).await;
        // What fails is logged by the function, and is tried again.
        let Ok(report) = gateway.order_retention(r#"{"run":"resume"}"#).await else { continue };
        let report: Value = serde_json::from_str(&report).unwrap_or_default();
        let policies = report["policies"].as_array().into_iter().flatten();
        let told = policies.map(|policy| format!("{} is {}", policy["name"], policy["status"]));
        let told = told.collect::<Vec<_>>().join(", ").replace('"', "");
        // What is as pending as it was is no news.
        if !told.is_empty() && told != last {
            tell(&format!("retention: {told}"));
        }
        last = told;
    }
}

/// The functions' environment on this machine.
fn variables(simulator: &Simulator, inbox: &Inbox, options: &Options) -> Vec<(String, String)> {
    let (client_id, client_secret) = simulator.credentials();
    [
        ("TABLE_NAME", TABLE_NAME.to_owned()),
        ("WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("GENESYS_API", simulator.surface().to_string()),
        ("GENESYS_API_URL", simulator.url()),
        ("GENESYS_LOGIN_URL", simulator.url()),
        ("GENESYS_CLIENT_ID", client_id),
        ("GENESYS_CLIENT_SECRET", client_secret),
        ("RETRY_BASE_MS", options.retry_base_ms.to_string()),
        ("RETENTION_POLL_BASE_MS", options.retention_poll_base_ms.to_string()),
        ("AUDIT_PII_KEY", "a-key-for-this-machine-only".to_owned()),
        ("CRM_WEBHOOK_URL", inbox.url()),
        ("AUDIT_WEBHOOK_URL", inbox.url()),
        ("NOTICE_SIGNING_SECRETS", NOTICE_SECRET.to_owned()),
        ("NOTICE_RETRY_SECONDS", options.notice_retry_seconds.to_owned()),
        ("NOTICE_ALLOW_PRIVATE", "true".to_owned()),
        ("EVENT_BUS_NAME", "patchbay-events".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
