//! Deploys retention policies as they are written, on either surface, and reports on them.
//!
//! An order comes by schedule or direct invocation and is parsed at the door (`order`). Each of its policies is decided
//! upon (`decide`) and taken through a state machine (`machine`) by a driver (`run`, `task`, `upstream`) that keeps how far
//! it is (`state`), so that what is cut off is carried on by a later invocation. What is told of it is in `report`, and what it means for
//! storage in `storage`.

mod settings;
mod order;
mod decide;
mod machine;
mod run;
mod task;
mod upstream;
mod state;
mod report;
mod storage;
mod answer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request as HttpRequest, State as AppState};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use serde_json::Value;
use shared::clock::Clock;
use shared::config::Variables;
use shared::dynamo::Table;
use shared::genesys::retention::Retention;
use shared::idempotency::Claims;
use shared::lambda::{self, Deadline, Event, Failure, Invocation};
use shared::problem::{Kind, Problem};
use shared::random;
use shared::telemetry::{Metric, chain, count};
use tokio::time::Instant;

use crate::answer::{in_progress, store_failed};
use crate::decide::Mark;
use crate::machine::{End, Status};
use crate::order::{Deployment, Entry, Order};
use crate::report::Told;
use crate::run::{Circuit, Driver, LEFT_ALONE};
use crate::settings::Settings;
use crate::state::{Begun, Closing, Kept, KeptOrder, Lease, Standing, State};
use crate::task::Task;

pub use crate::settings::StartError;

/// What this function may touch: the table and Genesys Cloud's retention policies.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    claims: Claims,
    state: State,
    retention: Retention,
    clock: Clock,
}

impl App {
    /// Makes the app from the environment.
    #[expect(clippy::unused_async, reason = "every function starts alike")]
    pub async fn start(
        variables: &Variables,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, StartError> {
        let settings = Settings::read(variables)?;
        let table = Table::connect(aws, settings.table_name.clone());
        let claims = Claims::new(table.clone(), clock.clone());
        let retention = Retention::new(&settings.genesys, aws, clock.clone())?;
        let state = State::new(table, retention.place());
        Ok(Arc::new(Self { settings, claims, state, retention, clock }))
    }
}

/// The HTTP route of one machine: the template has none.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/retention", post(order)).with_state(app)
}

/// Answers one event.
pub async fn handle(app: &Arc<App>, event: Event, invocation: Invocation) -> Result<Vec<u8>, Failure> {
    match event {
        Event::Http(event) => Ok(lambda::answer(router(Arc::clone(app)), *event, invocation).await),
        Event::Sqs(_) => Err(Failure::new(Kind::InvalidRequest, "An order does not come from a queue.")),
        Event::Direct(payload) => {
            let report = carry_out(app, &payload, &invocation).await?;
            Ok(report.to_string().into_bytes())
        }
    }
}

async fn order(AppState(app): AppState<Arc<App>>, http: HttpRequest) -> Response {
    let invocation = http.extensions().get::<Invocation>().cloned().unwrap_or_else(Invocation::local);
    let body = match lambda::read_body(http.into_body(), LARGEST_PAYLOAD).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    match carry_out(&app, &body, &invocation).await {
        Ok(report) => axum::Json(report).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Without a gateway that gives up, an order has all the time that Lambda gives the function.
async fn carry_out(app: &App, payload: &[u8], invocation: &Invocation) -> Result<Value, Problem> {
    let deadline = invocation.deadline(invocation.time_left().unwrap_or(DIRECT_LIMIT));
    match Order::parse(payload)? {
        Order::Plan(deployment) => plan(app, &deployment, invocation, deadline).await,
        Order::Run(deployment) => match deployment.run_id.clone() {
            Some(id) => answer::once(app, &deployment, &id, invocation, deadline).await,
            None => deploy(app, &deployment, &random::token(), invocation, deadline).await,
        },
        Order::Resume => resume(app, invocation, deadline).await,
    }
}

/// Says what a run would do, and does nothing.
async fn plan(
    app: &App,
    deployment: &Deployment,
    invocation: &Invocation,
    deadline: Deadline,
) -> Result<Value, Problem> {
    let loaded = app.state.load(deadline.act_by()).await;
    let (_, known) = loaded.map_err(|error| store_failed(&error))?;
    let tasks = Tasks::new(app, known).of_order(deployment, "", &BTreeSet::new()).and_marks();
    let planned = Driver::new(app, invocation, deadline, tasks).plan().await;
    Ok(report::report("plan", &planned, app.clock.now()))
}

/// Carries out an order, as far as there is time.
async fn deploy(
    app: &App,
    deployment: &Deployment,
    run: &str,
    invocation: &Invocation,
    deadline: Deadline,
) -> Result<Value, Problem> {
    let order = Some((run, deployment.text.as_str()));
    let (lease, standing, known) = begin(app, order, invocation, deadline).await?;
    let (own, others): (Vec<_>, Vec<_>) = standing.orders.into_iter().partition(|order| order.run == run);
    let mut orders = Orders { run: Some(run.to_owned()), ..Orders::default() };
    let mut tasks = Tasks::new(app, known);
    for order in own {
        tasks = tasks.of_order(deployment, run, &order.superseded);
        orders.carried_on.push(order);
    }
    // What it names is its own from now on, whatever an order says that came before it and is not carried out.
    for order in others {
        orders.supersede(order, &tasks.named);
    }
    let tasks = tasks.with_whatever_was_begun().and_marks();
    let driver = Driver::new(app, invocation, deadline, tasks);
    Ok(drive(driver, "run", &orders, standing.left_alone_until, &lease).await)
}

/// Keeps an order for the next resume, because another run is at work, and reports that all of it is pending.
async fn leave_to_resume(
    app: &App,
    deployment: &Deployment,
    run: &str,
    deadline: Deadline,
) -> Result<Value, Problem> {
    let now = app.clock.now();
    let kept = app.state.keep_order(run, &deployment.text, now, deadline.act_by()).await;
    kept.map_err(|error| store_failed(&error))?;
    tracing::info!(message = "another retention run is at work: the order is left to the next resume", run);
    let tasks = Tasks::new(app, BTreeMap::new()).of_order(deployment, run, &BTreeSet::new());
    Ok(report::report("run", &tasks.left_to_another_run(now), now))
}

/// Carries on what was begun, whoever ordered it.
async fn resume(app: &App, invocation: &Invocation, deadline: Deadline) -> Result<Value, Problem> {
    let loaded = app.state.load(deadline.act_by()).await;
    let (standing, known) = loaded.map_err(|error| store_failed(&error))?;
    let is_idle = standing.orders.is_empty() && known.values().all(|kept| !kept.known.is_under_way());
    if is_idle {
        return Ok(report::report("resume", &[], app.clock.now()));
    }
    let (lease, standing, known) = match begin(app, None, invocation, deadline).await {
        Ok(begun) => begun,
        // Whoever is at work carries it on, or the next resume does.
        Err(problem) if problem.kind() == Kind::InProgress => {
            let (tasks, _) = whatever_is_left(app, standing, known);
            let now = app.clock.now();
            return Ok(report::report("resume", &tasks.left_to_another_run(now), now));
        }
        Err(problem) => return Err(problem),
    };
    let left_alone_until = standing.left_alone_until;
    let (tasks, orders) = whatever_is_left(app, standing, known);
    let driver = Driver::new(app, invocation, deadline, tasks.and_marks());
    Ok(drive(driver, "resume", &orders, left_alone_until, &lease).await)
}

/// What was ordered and is not carried out, and what was begun and not ended.
fn whatever_is_left(app: &App, standing: Standing, known: BTreeMap<String, Kept>) -> (Tasks<'_>, Orders) {
    let mut orders = Orders::default();
    let mut tasks = Tasks::new(app, known);
    // Where two orders name a policy, the later one counts.
    for order in standing.orders.into_iter().rev() {
        match Deployment::kept(&order.text) {
            Ok(deployment) => {
                let named = tasks.named.clone();
                tasks = tasks.of_order(&deployment, &order.run, &order.superseded);
                orders.superseded.push((order.run.clone(), deployment.names_in(&named)));
            }
            Err(problem) => {
                count(Metric::RecordsUnreadable);
                tracing::error!(
                    message = "an order that was kept cannot be read any more, and is given up",
                    run = order.run,
                    reason = problem.detail(),
                );
            }
        }
        orders.carried_on.push(order);
    }
    (tasks.with_whatever_was_begun(), orders)
}

/// The orders that an invocation has to do with.
#[derive(Debug, Default)]
struct Orders {
    /// The run that is reported on; all of them, if there is none.
    run: Option<String>,
    carried_on: Vec<KeptOrder>,
    /// By run, the policies that a later order names.
    superseded: Vec<(String, BTreeSet<String>)>,
}

impl Orders {
    /// An order that is not carried on, while a later one that names these policies is carried out.
    fn supersede(&mut self, order: KeptOrder, named: &BTreeSet<String>) {
        if let Ok(deployment) = Deployment::kept(&order.text) {
            let superseded = deployment.names_in(named);
            let is_left = deployment
                .policies
                .iter()
                .any(|entry| !superseded.contains(&entry.name) && !order.superseded.contains(&entry.name));
            self.superseded.push((order.run.clone(), superseded));
            if !is_left {
                self.carried_on.push(order);
            }
        }
    }
}

/// Takes the lease, and reads what is known.
async fn begin(
    app: &App,
    order: Option<(&str, &str)>,
    invocation: &Invocation,
    deadline: Deadline,
) -> Result<(Lease, Standing, BTreeMap<String, Kept>), Problem> {
    let until = deadline.act_by();
    let lasting = invocation.lease(app.settings.lease).from_now();
    let begun = app.state.begin(order, app.clock.now(), lasting, until).await;
    let lease = match begun.map_err(|error| store_failed(&error))? {
        Begun::Ours(lease) => lease,
        Begun::Held(left) => return Err(in_progress(left)),
    };
    match app.state.load(until).await {
        Ok((standing, known)) => Ok((lease, standing, known)),
        Err(error) => {
            // Who ordered it hears that nothing was done.
            let given_up: Vec<&str> = order.into_iter().map(|(run, _)| run).collect();
            give_back(app, &lease, &given_up, &[], None, deadline).await;
            Err(store_failed(&error))
        }
    }
}

/// Takes each policy as far as it goes, gives the lease back, and reports.
async fn drive(
    mut driver: Driver<'_>,
    kind: &str,
    orders: &Orders,
    left_alone_until: Option<i64>,
    lease: &Lease,
) -> Value {
    let (app, deadline) = (driver.app, driver.deadline);
    let now = app.clock.now().as_millisecond();
    let left_alone = left_alone_until.filter(|until| *until > now);
    let circuit = if left_alone.is_some() { Circuit::Open } else { Circuit::Closed };
    let finished = driver.drive(circuit).await;
    let is_pending = |run: &str| {
        finished.iter().any(|told| told.status == Status::Pending && told.run.as_deref() == Some(run))
    };
    let runs = orders.carried_on.iter().map(|order| order.run.as_str());
    let carried_out: Vec<&str> = runs.filter(|run| !is_pending(run)).collect();
    let left_alone = if circuit == Circuit::Closed && driver.now(circuit) == Circuit::Open {
        count(Metric::RetentionBreakersOpened);
        tracing::warn!(message = "Genesys Cloud is in trouble, and retention leaves it alone for a while");
        Some(after(app.clock.now(), LEFT_ALONE))
    } else {
        left_alone
    };
    give_back(app, lease, &carried_out, &orders.superseded, left_alone, deadline).await;
    report::measure(&finished);
    // What others ordered, and was carried on by the way, is not what this run was asked for.
    let told: Vec<Told> = match orders.run {
        Some(ref run) => finished.into_iter().filter(|told| told.run.as_ref() == Some(run)).collect(),
        None => finished,
    };
    report::report(kind, &told, app.clock.now())
}

async fn give_back(
    app: &App,
    lease: &Lease,
    carried_out: &[&str],
    superseded: &[(String, BTreeSet<String>)],
    left_alone_until: Option<i64>,
    deadline: Deadline,
) {
    let (now, until) = (app.clock.now(), deadline.answer_by());
    let closing = Closing { carried_out, superseded, left_alone_until };
    if let Err(error) = app.state.end(lease, &closing, now, until).await {
        // It lapses by itself; and an order that is carried out is carried out again to no effect.
        tracing::error!(
            message = "the lease of a retention run could not be given back",
            error = chain(&error)
        );
    }
}

fn after(now: Timestamp, time: Duration) -> i64 {
    now.as_millisecond().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// The tasks of one invocation: each policy once.
struct Tasks<'a> {
    app: &'a App,
    started: Instant,
    known: BTreeMap<String, Kept>,
    named: BTreeSet<String>,
    all: Vec<Task>,
}

impl<'a> Tasks<'a> {
    fn new(app: &'a App, known: BTreeMap<String, Kept>) -> Self {
        Self { app, started: Instant::now(), known, named: BTreeSet::new(), all: Vec::new() }
    }

    /// With those of an order, but for policies that a later order names.
    fn of_order(mut self, deployment: &Deployment, run: &str, superseded: &BTreeSet<String>) -> Self {
        let later = self.named.clone();
        let now = self.app.clock.now();
        let is_named_later = |entry: &&Entry| later.contains(&entry.name) || superseded.contains(&entry.name);
        for entry in deployment.policies.iter().filter(|entry| !is_named_later(entry)) {
            let is_first = self.named.insert(entry.name.clone());
            let kept = self.known.remove(&entry.name).unwrap_or_else(|| Kept::new(&entry.name));
            let task = Task::ordered(entry, deployment.rules, kept, run, self.started, now);
            // Of two that bear one name, and are both refused for it, the trail hears once.
            self.all.push(if is_first { task } else { task.silent() });
        }
        self
    }

    /// With what was begun and not ended, and no order names: it is nobody else's now.
    fn with_whatever_was_begun(mut self) -> Self {
        let (begun, rest) = self.known.into_iter().partition(|(_, kept)| kept.known.is_under_way());
        self.known = rest;
        let begun: BTreeMap<String, Kept> = begun;
        self.all.extend(begun.into_values().filter_map(|kept| Task::begun(kept, self.started)));
        self
    }

    /// All of it is pending, because somebody else is at work.
    fn left_to_another_run(self, now: Timestamp) -> Vec<Told> {
        let left = |mut task: Task| {
            let end = match &task.work {
                Ok(_) => End { error: Some(OTHER_RUN.to_owned()), ..End::new(Status::Pending) },
                Err(faults) => task::invalid(faults),
            };
            task.ended.clone().unwrap_or_else(|| task.end(&end, now).clone())
        };
        self.all.into_iter().map(left).collect()
    }

    /// And what is remembered of all other policies.
    fn and_marks(self) -> (Vec<Task>, Vec<Mark>) {
        (self.all, self.known.into_values().filter_map(|kept| kept.known.mark).collect())
    }
}

/// Why all of it is pending while somebody else holds the lease.
const OTHER_RUN: &str = "another run is at work";

/// How long an invocation may take if Lambda does not say.
const DIRECT_LIMIT: Duration = Duration::from_mins(1);

/// The largest request that Lambda passes to a function.
const LARGEST_PAYLOAD: usize = 6 * 1024 * 1024;
