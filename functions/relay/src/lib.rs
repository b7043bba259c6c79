//! Delivers what is due: notices to their subscribers, events to the bus, lapsed claims to their trails.
//!
//! What is written is due at once, and its record on the table's stream is its first attempt (`stream`). Whatever
//! that misses, and whatever has to be tried again, the schedule finds on the list of what is due (`sweep`). Both
//! claim an attempt before they make it (`attempt`), so that they never make it twice; and an attempt that nobody
//! hears of again is made once more when its lease lapses. Delivered at least once, never lost.

mod settings;
mod schedule;
mod stream;
mod sweep;
mod tally;
mod attempt;
mod notices;
mod breaker;
mod events;
mod bus;
mod claims;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shared::clock::Clock;
use shared::config::Variables;
use shared::dynamo::Table;
use shared::idempotency::Claims;
use shared::lambda::{Deadline, Event, Failure, Invocation};
use shared::problem::Kind;
use shared::telemetry::{Metric, chain, count};
use shared::webhook::outbound::Outbound;

use crate::bus::Bus;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::stream::Batch;

pub use crate::settings::StartError;

/// How long an invocation may take if Lambda does not say.
const LIMIT: Duration = Duration::from_secs(50);

/// What this function may touch: the table, every subscriber of a notice, and one event bus.
#[derive(Debug)]
pub struct App {
    table: Table,
    claims: Claims,
    outbound: Outbound,
    /// Where events are published, if anywhere.
    bus: Option<Bus>,
    schedule: Schedule,
    clock: Clock,
}

impl App {
    /// Makes the app from the environment. Nothing is connected yet.
    #[expect(clippy::unused_async, reason = "every function starts alike")]
    pub async fn start(
        variables: &Variables,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, StartError> {
        let settings = Settings::read(variables)?;
        if settings.outbound.allow_private {
            tracing::warn!(
                message =
                    "NOTICE_ALLOW_PRIVATE is true: a notice may go to any address. For one machine only."
            );
        }
        let table = Table::connect(aws, settings.table_name);
        Ok(Arc::new(Self {
            claims: Claims::new(table.clone(), clock.clone()),
            table,
            outbound: Outbound::new(settings.outbound)?,
            bus: settings.event_bus_name.map(|name| Bus::connect(aws, name)),
            schedule: settings.schedule,
            clock,
        }))
    }
}

/// Answers one event of Lambda's: a batch of the table's stream, or anything else, which is the schedule.
pub async fn handle(app: &Arc<App>, event: Event, invocation: Invocation) -> Result<Vec<u8>, Failure> {
    let deadline = invocation.deadline(invocation.time_left().unwrap_or(LIMIT));
    let batch = match &event {
        Event::Http(_) => return Err(Failure::new(Kind::NotFound, "This function has no routes.")),
        Event::Direct(payload) => Batch::read(payload),
        Event::Sqs(_) => None,
    };
    match batch {
        Some(batch) => Box::pin(first_attempts(app, batch, deadline)).await,
        None => Box::pin(swept(app, deadline)).await,
    }
}

/// Makes the first attempts at what a batch of the stream tells of. Its answer names the records to be handed over
/// once more: those that the store kept us from claiming, and no others.
async fn first_attempts(app: &App, batch: Batch, deadline: Deadline) -> Result<Vec<u8>, Failure> {
    let failed = stream::make_first_attempts(app, batch, deadline).await;
    if failed.iter().any(String::is_empty) {
        // An empty name would mean something else to Lambda: then the whole batch comes again.
        return Err(store_unavailable());
    }
    let failed: Vec<_> = failed.iter().map(|sequence| json!({"itemIdentifier": sequence})).collect();
    Ok(json!({"batchItemFailures": failed}).to_string().into_bytes())
}

/// Deals with all that is due, and says what became of it.
async fn swept(app: &App, deadline: Deadline) -> Result<Vec<u8>, Failure> {
    let tally = sweep::sweep(app, deadline).await;
    tracing::info!(message = "swept", summary = %tally.summary());
    if tally.is_store_down() {
        return Err(store_unavailable());
    }
    Ok(tally.summary().to_string().into_bytes())
}

fn store_unavailable() -> Failure {
    Failure::new(Kind::StoreUnavailable, "DynamoDB could not be used for all that is due; it stays due.")
}

/// Logs and counts that the store could not be used.
fn store_failed(error: &(dyn std::error::Error + 'static)) {
    count(Metric::StoreUnavailable);
    tracing::error!(message = "the store could not be used", error = chain(error));
}
