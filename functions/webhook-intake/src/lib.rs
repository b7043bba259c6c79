//! Takes in Genesys Cloud's events: each is stored once, and acknowledged only when it is stored.
//!
//! A delivery comes over HTTP, signed, or from EventBridge, which vouches for itself. What it says is read
//! (`event`: three shapes, one identity) and kept (`store`); a body nobody understands is kept too, in
//! quarantine, with the reason. Nothing that was authenticated is ever lost.

mod settings;
mod secrets;
mod event;
mod store;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Variables;
use shared::dynamo::Table;
use shared::lambda::{self, Deadline, Failure, Invocation, Settled};
use shared::problem::{Kind, Problem};
use shared::telemetry::{Metric, chain, count, millis};
use shared::webhook::signature;
use tokio::time::Instant;

use crate::event::Event;
use crate::secrets::Secrets;
use crate::settings::{Auth, LARGEST_BODY, Settings};
use crate::store::{Kept, Origin, Store};

pub use crate::settings::StartError;

/// How long a delivery over HTTP may take: Genesys Cloud gives up after 10 s.
const HTTP_LIMIT: Duration = Duration::from_secs(9);

/// How long any other delivery may take; storing one takes milliseconds.
const OTHER_LIMIT: Duration = Duration::from_secs(28);

/// What this function may touch: the table, and the secrets that deliveries are signed with.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    secrets: Secrets,
    store: Store,
    clock: Clock,
}

impl App {
    /// Makes the app from the environment. Secrets are read now: without them no delivery could be trusted.
    pub async fn start(
        variables: &Variables,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, StartError> {
        let settings = Settings::read(variables)?;
        if matches!(settings.auth, Auth::None) {
            tracing::warn!(
                message = "WEBHOOK_AUTH is none: anybody may deliver anything. For one machine only."
            );
        }
        let secrets = Secrets::read(&settings.auth, aws, clock.clone()).await?;
        let table = Table::connect(aws, settings.table_name.clone());
        let store = Store::new(table, clock.clone(), settings.event_lifetime);
        Ok(Arc::new(Self { settings, secrets, store, clock }))
    }
}

/// The HTTP route.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/webhooks/genesys", post(deliver)).with_state(app)
}

/// Answers one event of Lambda's.
pub async fn handle(
    app: &Arc<App>,
    event: lambda::Event,
    invocation: Invocation,
) -> Result<Vec<u8>, Failure> {
    let deadline = invocation.deadline(OTHER_LIMIT);
    match event {
        lambda::Event::Http(event) => Ok(lambda::answer(router(Arc::clone(app)), *event, invocation).await),
        // EventBridge may be given a queue as its target, and the queue this function as its reader.
        lambda::Event::Sqs(batch) => {
            let invocation = &invocation;
            let take_in = |message: lambda::Message| async move {
                let body = message.body.as_bytes();
                let taken = app.take_in(body, Origin::EventBridge, invocation, deadline).await;
                if taken.is_ok() { Settled::Done } else { Settled::Failed }
            };
            batch.settle(take_in).await
        }
        lambda::Event::Direct(payload) => {
            let taken = app.take_in(&payload, Origin::EventBridge, &invocation, deadline).await?;
            Ok(taken.told().to_string().into_bytes())
        }
    }
}

async fn deliver(State(app): State<Arc<App>>, request: Request) -> Response {
    let invocation = request.extensions().get::<Invocation>().cloned().unwrap_or_else(Invocation::local);
    let deadline = invocation.deadline(HTTP_LIMIT);
    let (parts, body) = request.into_parts();
    let body = match lambda::read_body(body, app.settings.max_body_bytes).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    if !app.is_authentic(&parts.headers, &body, deadline.answer_by()).await {
        count(Metric::DeliveriesUnauthenticated);
        tracing::warn!(message = "a delivery was not signed with a secret of ours", bytes = body.len());
        return Problem::new(Kind::Unauthenticated, "The signature or token is missing or wrong.")
            .into_response();
    }
    match app.take_in(&body, Origin::Http, &invocation, deadline).await {
        Ok(Taken::Quarantined(reason)) => {
            Problem::new(Kind::InvalidRequest, format!("The body {reason}.")).into_response()
        }
        Ok(taken @ (Taken::New(_) | Taken::Duplicate(_))) => Json(taken.told()).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// What became of a delivery. Each of these is durable.
#[derive(Debug)]
enum Taken {
    /// The event is stored.
    New(Event),
    /// The event had been stored before.
    Duplicate(Event),
    /// The body says nothing we understand, and is kept with the reason.
    Quarantined(String),
}

impl Taken {
    fn told(&self) -> Value {
        match self {
            Self::New(event) => json!({"status": "ACKNOWLEDGED", "event_id": event.id}),
            Self::Duplicate(event) => json!({"status": "DUPLICATE", "processed_event_id": event.id}),
            Self::Quarantined(reason) => json!({"status": "QUARANTINED", "reason": reason}),
        }
    }

    /// One line per decision.
    fn report(&self, started: Instant) {
        let (taken, metric, event, reason) = match self {
            Self::New(event) => ("new", Metric::EventsNew, Some(event), None),
            Self::Duplicate(event) => ("duplicate", Metric::EventsDuplicate, Some(event), None),
            Self::Quarantined(reason) => ("quarantined", Metric::EventsQuarantined, None, Some(reason)),
        };
        count(metric);
        tracing::info!(
            message = "delivery taken in",
            taken,
            event.id = event.map(|event| &event.id),
            event.r#type = event.map(|event| &event.kind),
            conversation.id = event.and_then(|event| event.conversation_id.as_ref()),
            reason,
            duration_ms = millis(started.elapsed()),
        );
    }
}

impl App {
    /// Whether the sender knows one of our secrets. One that was just rotated in is looked for.
    async fn is_authentic(&self, headers: &http::HeaderMap, body: &[u8], until: Instant) -> bool {
        let verify = |secrets: &[shared::secret::SecretString]| match self.settings.auth {
            Auth::Signature(_) => signature::is_signed(headers, body, secrets, self.clock.now()),
            Auth::Token(_) => signature::bears_token(headers, secrets),
            Auth::None => true,
        };
        let secrets = self.secrets.current(until).await;
        if verify(&secrets) {
            return true;
        }
        self.secrets.other_than(&secrets, until).await.is_some_and(|others| verify(&others))
    }

    /// Reads a body and keeps it, as an event or in quarantine.
    async fn take_in(
        &self,
        body: &[u8],
        origin: Origin,
        invocation: &Invocation,
        deadline: Deadline,
    ) -> Result<Taken, Problem> {
        let started = Instant::now();
        if body.len() > LARGEST_BODY {
            let detail = format!("The payload is larger than {LARGEST_BODY} bytes.");
            return Err(Problem::new(Kind::PayloadTooLarge, detail));
        }
        let taken = match event::read(body) {
            Ok(event) => self.keep(event, body, origin, invocation, deadline.answer_by()).await,
            Err(reason) => {
                let kept = self.store.quarantine(body, &reason, origin, deadline.answer_by()).await;
                kept.map(|()| Taken::Quarantined(reason))
            }
        };
        let taken = taken.map_err(|error| refused(&error))?;
        taken.report(started);
        Ok(taken)
    }

    async fn keep(
        &self,
        event: Event,
        body: &[u8],
        origin: Origin,
        invocation: &Invocation,
        until: Instant,
    ) -> Result<Taken, store::Error> {
        match self.store.keep(&event, body, origin, invocation, until).await? {
            Kept::New => Ok(Taken::New(event)),
            Kept::Before => Ok(Taken::Duplicate(event)),
            Kept::BeforeWithAnotherBody => {
                count(Metric::EventBodiesDiffering);
                tracing::warn!(message = "a repeat's body differs from the one that is kept", event.id);
                Ok(Taken::Duplicate(event))
            }
        }
    }
}

fn refused(error: &store::Error) -> Problem {
    tracing::error!(message = "a delivery could not be kept", error = chain(error));
    match error {
        store::Error::Store(_) => {
            count(Metric::StoreUnavailable);
            Problem::new(
                Kind::StoreUnavailable,
                "The delivery could not be stored. Nothing was done; send it again.",
            )
        }
        store::Error::Unreadable => {
            count(Metric::RecordsUnreadable);
            Problem::new(
                Kind::InternalError,
                "What is on record for this event cannot be read. Nothing was done.",
            )
        }
    }
}
