//! Transfers a call, once per idempotency key.
//!
//! A request comes over HTTP, by direct invocation or in an SQS batch. It is parsed at the door (`request`), run
//! once (`run`: claim, look, act, record), and shown the way it came (`answer`). What is told of it, on the
//! conversation's trail and to the CRM, is in `account`.

mod settings;
mod request;
mod run;
mod upstream;
mod account;
mod answer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use shared::audit::Trails;
use shared::clock::Clock;
use shared::config::Variables;
use shared::dynamo::Table;
use shared::genesys::conversations::Conversations;
use shared::idempotency::Claims;
use shared::lambda::{self, Deadline, Event, Failure, Invocation, Settled};
use shared::problem::{Kind, Problem};

use crate::account::Confidant;
use crate::request::{Refused, Request};
use crate::run::run;
use crate::settings::Settings;

pub use crate::settings::StartError;

/// What this function may touch: the table and Genesys Cloud's conversations.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    confidant: Confidant,
    claims: Claims,
    trails: Trails,
    conversations: Conversations,
    clock: Clock,
}

impl App {
    /// Makes the app from the environment. The key of the commitments is read now, if it is in Secrets Manager.
    pub async fn start(
        variables: &Variables,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, StartError> {
        let settings = Settings::read(variables)?;
        let confidant = Confidant::read(&settings.pii_key, aws).await?;
        let table = Table::connect(aws, settings.table_name.clone());
        let claims = Claims::new(table.clone(), clock.clone());
        let conversations = Conversations::new(&settings.genesys, aws, clock.clone())?;
        Ok(Arc::new(Self { settings, confidant, claims, trails: Trails::new(table), conversations, clock }))
    }
}

/// The HTTP route.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/transfers", post(transfer)).with_state(app)
}

/// Answers one event.
pub async fn handle(app: &Arc<App>, event: Event, invocation: Invocation) -> Result<Vec<u8>, Failure> {
    match event {
        Event::Http(event) => Ok(lambda::answer(router(Arc::clone(app)), *event, invocation).await),
        Event::Sqs(batch) => batch.settle(|message| transfer_message(app, message, &invocation)).await,
        Event::Direct(payload) => {
            let deadline = direct_deadline(&invocation);
            let request = app.read_direct(&payload, &invocation, deadline).await?;
            let run = run(app, &request, &invocation, deadline).await;
            Ok(answer::direct(&request, run)?)
        }
    }
}

async fn transfer(State(app): State<Arc<App>>, http: HttpRequest) -> Response {
    let invocation = http.extensions().get::<Invocation>().cloned().unwrap_or_else(Invocation::local);
    let deadline = invocation.deadline(app.settings.http_timeout);
    let (parts, body) = http.into_parts();
    let request = match lambda::read_body(body, app.settings.max_body_bytes).await {
        Ok(body) => Request::from_http(&parts.headers, &body, app.settings.genesys.surface),
        Err(problem) => Err(Box::new(Refused::unread(problem))),
    };
    let request = match request {
        Ok(request) => request,
        Err(refused) => return app.refuse(refused, &invocation, deadline).await.into_response(),
    };
    let run = run(&app, &request, &invocation, deadline).await;
    answer::http(&request, run)
}

async fn transfer_message(app: &App, message: lambda::Message, invocation: &Invocation) -> Settled {
    let deadline = direct_deadline(invocation);
    let request = match app.read_direct(message.body.as_bytes(), invocation, deadline).await {
        Ok(request) => request,
        Err(problem) => {
            tracing::warn!(
                message = "a message is not valid",
                sqs.message_id = message.id,
                reason = problem.detail()
            );
            return Settled::Failed;
        }
    };
    run(app, &request, invocation, deadline).await.settled()
}

impl App {
    async fn read_direct(
        &self,
        payload: &[u8],
        invocation: &Invocation,
        deadline: Deadline,
    ) -> Result<Request, Problem> {
        let limit = self.settings.max_body_bytes;
        if payload.len() > limit {
            let detail = format!("The payload is larger than {limit} bytes.");
            return Err(Problem::new(Kind::PayloadTooLarge, detail));
        }
        match Request::from_direct(payload, self.settings.genesys.surface) {
            Ok(request) => Ok(request),
            Err(refused) => Err(self.refuse(refused, invocation, deadline).await),
        }
    }

    /// A request refused at the door leaves its mark on the trail too, if it says whose.
    async fn refuse(&self, refused: Box<Refused>, invocation: &Invocation, deadline: Deadline) -> Problem {
        if let Some(conversation) = &refused.conversation {
            account::refused_at_the_door(self, conversation, &refused, invocation, deadline).await;
        }
        refused.problem
    }
}

/// Without a gateway that gives up, a request has all the time that Lambda gives the function.
fn direct_deadline(invocation: &Invocation) -> Deadline {
    invocation.deadline(invocation.time_left().unwrap_or(DIRECT_LIMIT))
}

/// How long a direct invocation may take if Lambda does not say.
const DIRECT_LIMIT: Duration = Duration::from_mins(1);
