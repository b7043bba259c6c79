//! Runs a Genesys Cloud data action once per idempotency key.
//!
//! A request comes over HTTP, by direct invocation or in an SQS batch. It is parsed at the door
//! (`request`), run once (`run`: claim, act, record) and shown the way it came (`answer`).

mod settings;
mod request;
mod run;
mod account;
mod answer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request as HttpRequest, State, rejection::PathRejection};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use shared::clock::Clock;
use shared::config::Variables;
use shared::dynamo::Table;
use shared::genesys::data_actions::DataActions;
use shared::idempotency::Claims;
use shared::lambda::{self, Deadline, Event, Failure, Invocation, Settled};
use shared::problem::{Kind, Problem};

use crate::request::Request;
use crate::run::run;
use crate::settings::Settings;

pub use crate::settings::StartError;

/// What this function may touch: the table and Genesys Cloud's data actions.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    claims: Claims,
    data_actions: DataActions,
}

impl App {
    /// Makes the app from the environment. Connects to nothing yet.
    #[expect(clippy::unused_async, reason = "every function starts the same way; others read secrets first")]
    pub async fn start(
        variables: &Variables,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, StartError> {
        let settings = Settings::read(variables)?;
        let table = Table::connect(aws, settings.table_name.clone());
        let claims = Claims::new(table, clock.clone());
        let data_actions = DataActions::new(&settings.genesys, settings.route, aws, clock)?;
        Ok(Arc::new(Self { settings, claims, data_actions }))
    }
}

/// The HTTP route.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/data-actions/{data_action_id}/invocations", post(invoke)).with_state(app)
}

/// Answers one event.
pub async fn handle(app: &Arc<App>, event: Event, invocation: Invocation) -> Result<Vec<u8>, Failure> {
    match event {
        Event::Http(event) => Ok(lambda::answer(router(Arc::clone(app)), *event, invocation).await),
        Event::Sqs(batch) => batch.settle(|message| invoke_message(app, message, &invocation)).await,
        Event::Direct(payload) => {
            let request = app.read_direct(&payload)?;
            let deadline = direct_deadline(&invocation);
            let run = run(app, &request, &invocation, deadline).await;
            Ok(answer::direct(&request, run)?)
        }
    }
}

async fn invoke(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    http: HttpRequest,
) -> Response {
    let invocation = http.extensions().get::<Invocation>().cloned().unwrap_or_else(Invocation::local);
    let deadline = invocation.deadline(app.settings.http_timeout);
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let request = match read(&app, &id, http).await {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };
    let run = run(&app, &request, &invocation, deadline).await;
    answer::http(&request, run)
}

async fn read(app: &App, id: &str, http: HttpRequest) -> Result<Request, Problem> {
    let (parts, body) = http.into_parts();
    let body = lambda::read_body(body, app.settings.max_body_bytes).await?;
    Request::from_http(id, &parts.headers, &body, app.settings.route)
}

async fn invoke_message(app: &App, message: lambda::Message, invocation: &Invocation) -> Settled {
    let request = match app.read_direct(message.body.as_bytes()) {
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
    let run = run(app, &request, invocation, direct_deadline(invocation)).await;
    run.settled()
}

impl App {
    fn read_direct(&self, payload: &[u8]) -> Result<Request, Problem> {
        let limit = self.settings.max_body_bytes;
        if payload.len() > limit {
            return Err(Problem::new(
                Kind::PayloadTooLarge,
                format!("The payload is larger than {limit} bytes."),
            ));
        }
        Request::from_direct(payload, self.settings.route)
    }
}

/// Without a gateway that gives up, a request has all the time that Lambda gives the function.
fn direct_deadline(invocation: &Invocation) -> Deadline {
    invocation.deadline(invocation.time_left().unwrap_or(DIRECT_LIMIT))
}

/// How long a direct invocation may take if Lambda does not say: as long as a data action may.
const DIRECT_LIMIT: Duration = Duration::from_mins(1);
