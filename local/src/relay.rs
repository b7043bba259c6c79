//! The relay on this machine: its function is handed what the engine's stream says, as Lambda would, and swept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Variables;
use shared::lambda::{Event, Failure, Invocation};
use tokio::task::JoinSet;

use crate::{Engine, Error, engine};

/// How many records Lambda hands over together.
const BATCH: usize = 100;

/// How often the stream is looked at while the relay runs by itself.
const POLL: Duration = Duration::from_millis(200);

/// The relay's function, and where it has got to on the stream. Nothing happens by itself until it is [run](Self::run).
pub struct Relay {
    app: Arc<relay::App>,
    engine: Engine,
    place: Mutex<Place>,
}

/// How far the stream is dealt with.
#[derive(Debug, Default)]
struct Place {
    iterator: Option<String>,
    /// Records that are to be handed over, the oldest first.
    waiting: Vec<Value>,
}

impl Relay {
    /// Starts the function with these environment variables, against the stream of `engine`, the store at
    /// `store_url`, and the bus at `bus_url` if there is one.
    pub async fn start(
        variables: &[(String, String)],
        engine: &Engine,
        store_url: &str,
        bus_url: Option<&str>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let variables: Variables = variables.iter().cloned().collect();
        let aws = engine::sdk_config_with_bus(store_url, bus_url).await;
        let app = relay::App::start(&variables, &aws, clock).await;
        let app = app.map_err(|error| Error::Function(Box::new(error)))?;
        Ok(Self { app, engine: engine.clone(), place: Mutex::default() })
    }

    /// Hands over all that is new on the stream. The answers, one for each batch; or the function error. What failed
    /// comes again the next time, with all that follows it.
    pub async fn feed_stream(&self) -> Result<Vec<Value>, String> {
        let mut answers = Vec::new();
        {
            let mut place = self.place();
            let mut iterator = place.iterator.take();
            let new = self.engine.stream(&mut iterator).map_err(|error| error.to_string())?;
            place.iterator = iterator;
            place.waiting.extend(new);
        }
        loop {
            let batch: Vec<Value> = self.place().waiting.iter().take(BATCH).cloned().collect();
            if batch.is_empty() {
                return Ok(answers);
            }
            let answer = self.hand_over(&json!({"Records": batch})).await?;
            let failed = first_failed(&batch, &answer);
            self.place().waiting.drain(..failed.unwrap_or(batch.len()));
            answers.push(answer);
            if failed.is_some() {
                return Ok(answers);
            }
        }
    }

    /// Lets the function sweep, as the schedule does: its summary, or its function error.
    pub async fn sweep(&self) -> Result<Value, String> {
        self.hand_over(&json!({"source": "aws.scheduler"})).await
    }

    /// Hands any event to the function: its answer, or its function error.
    pub async fn hand_over(&self, event: &Value) -> Result<Value, String> {
        let event = Event::read(event.to_string().into());
        let answer = relay::handle(&self.app, event, Invocation::local()).await;
        let answer = answer.map_err(|failure: Failure| format!("{failure:?}"))?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }

    /// Lets it run by itself until what this returns is dropped: the stream at once, the schedule every so often.
    #[must_use]
    pub fn run(self, every: Duration) -> JoinSet<()> {
        let relay = Arc::new(self);
        let mut running = JoinSet::new();
        let stream = Arc::clone(&relay);
        running.spawn(async move {
            loop {
                // What fails is logged by the function, and comes again.
                let _ = stream.feed_stream().await;
                // Lambda's poller waits between two looks at a stream, too.
                tokio::time::sleep(POLL).await;
            }
        });
        running.spawn(async move {
            loop {
                // In the place of the schedule.
                tokio::time::sleep(every).await;
                let _ = relay.sweep().await;
            }
        });
        running
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the batch goes on the next time: at the first record that failed.
fn first_failed(batch: &[Value], answer: &Value) -> Option<usize> {
    let failed = answer["batchItemFailures"].as_array()?;
    let is_failed = |record: &Value| {
        failed.iter().any(|item| item["itemIdentifier"] == record["dynamodb"]["SequenceNumber"])
    };
    batch.iter().position(is_failed)
}
