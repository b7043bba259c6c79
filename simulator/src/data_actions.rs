//! Data actions: what a declared action does, and what executing it leaves behind.
//!
//! An action's effect happens the moment its execution begins and is never undone; its delay, and whatever a fault
//! adds, only keep the answer back. On `guide` an `Idempotency-Key` binds the first run of an action: the same key
//! gets the same answer without a second effect, waiting for it if need be, and 409 if that run ended with a status
//! of 500 or more. On `platform` the header is recorded and otherwise ignored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::api::Refusal;
use crate::faults::under_fault;
use crate::oauth::{bearer, has_content_type};
use crate::surface::{Operation, Surface};
use crate::world::World;

/// What an action answers when it is executed, and after how long.
#[derive(Debug, Clone)]
pub struct Behaviour {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    output: Output,
    delay: Duration,
}

#[derive(Debug, Clone)]
enum Output {
    Fixed(Bytes),
    Echo,
}

impl Behaviour {
    /// 200 with this JSON.
    #[must_use]
    pub fn json(value: impl Into<Value>) -> Self {
        Self::status(200, "application/json", value.into().to_string())
    }

    /// 200 with `{"echo": <the input, as it was written>, "execution": <which run of the action this was, from 1>}`.
    #[must_use]
    pub fn echo() -> Self {
        Self { output: Output::Echo, ..Self::status(200, "application/json", "") }
    }

    /// This status, content type (`None` for no such header) and body. A run that ends with 400 or more performs
    /// nothing.
    #[must_use]
    pub fn status<'a>(status: u16, content_type: impl Into<Option<&'a str>>, body: impl AsRef<[u8]>) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| !status.is_informational())
            .expect("the status of an answer is one of 200 to 999: the caller wrote it down");
        let content_type = content_type.into().map(|content_type| {
            HeaderValue::from_str(content_type)
                .expect("a content type is visible ASCII: the caller wrote it down")
        });
        let output = Output::Fixed(Bytes::copy_from_slice(body.as_ref()));
        Self { status, content_type, output, delay: Duration::ZERO }
    }

    /// The same, but the answer takes this long. Its effect does not.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    fn answer(&self, input: &RawValue, execution: usize) -> Answer {
        let body = match &self.output {
            Output::Fixed(body) => body.clone(),
            Output::Echo => format!(r#"{{"echo":{input},"execution":{execution}}}"#).into(),
        };
        Answer { status: self.status, content_type: self.content_type.clone(), body }
    }
}

/// One run of an action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Which run of this action it was, from 1.
    pub execution: usize,
    /// What the action was given.
    pub input: Value,
    /// The `Idempotency-Key` that came with it, if it was text.
    pub idempotency_key: Option<String>,
    /// Whether something happened: the action's status was below 400.
    pub performed: bool,
    /// When, in milliseconds since the simulator started.
    pub when: u64,
}

/// `POST …/execute`: the body is the input.
pub(crate) async fn execute(
    State(world): State<Arc<World>>,
    Path(action): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let written = read(&headers, &body)?;
    run(&world, &headers, action, written).await
}

/// `POST …/invoke`: the body wraps the input.
pub(crate) async fn invoke(
    State(world): State<Arc<World>>,
    Path(action): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Invocation {
        input: Box<RawValue>,
    }

    let Invocation { input } = read(&headers, &body)?;
    run(&world, &headers, action, input).await
}

fn read<T: for<'de> Deserialize<'de>>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    let breach = |what: String| Refusal::breach(StatusCode::BAD_REQUEST, what);
    if !has_content_type(headers, "application/json") {
        return Err(breach("the content type must be application/json".to_owned()));
    }
    serde_json::from_slice(body).map_err(|e| breach(format!("not the body of this operation: {e}")))
}

async fn run(
    world: &World,
    headers: &HeaderMap,
    action: String,
    written: Box<RawValue>,
) -> Result<Response, Refusal> {
    let input = serde_json::from_str(written.get()).map_err(|e| {
        Refusal::breach(StatusCode::BAD_REQUEST, format!("the input cannot be read: {e}"))
            .code("invalid.schema")
    })?;
    let token = bearer(world, headers)?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let call = Call { action, input, written, key };

    let work = async {
        let answer = match (world.surface, &call.key) {
            (Surface::Guide, Some(key)) => perform_once(world, key, &call).await,
            (Surface::Guide, None) | (Surface::Platform, _) => perform(world, &call).await,
        };
        answer.into_response()
    };
    Ok(under_fault(world, Operation::ExecuteDataAction, Some(&token), work).await)
}

async fn perform(world: &World, call: &Call) -> Result<Answer, Refusal> {
    let (answer, delay) = world.state().actions.execute(call, world.now())?;
    keep_back(delay).await;
    Ok(answer)
}

async fn perform_once(world: &World, key: &str, call: &Call) -> Result<Answer, Refusal> {
    let binding = world.state().actions.binding(&call.action, key);
    let mut bound = binding.lock().await;
    if let Some(answer) = &*bound {
        return if answer.status.is_server_error() { Err(bound_to_a_failure()) } else { Ok(answer.clone()) };
    }
    let (answer, delay) = world.state().actions.execute(call, world.now())?;
    // Bound before the delay: a client that does not wait for the answer has had the effect all the same.
    *bound = Some(answer.clone());
    keep_back(delay).await;
    Ok(answer)
}

/// The time that the behaviour was declared to take. No delay is none at all: a timer would round it up to a millisecond.
async fn keep_back(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn bound_to_a_failure() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "conflict", "the Idempotency-Key is bound to a run that failed")
}

/// What a client asks for.
struct Call {
    action: String,
    input: Value,
    /// The input with its digits and white space as they came.
    written: Box<RawValue>,
    key: Option<String>,
}

#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        if let Some(content_type) = self.content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }
}

/// The declared actions and all that came of them.
#[derive(Default)]
pub(crate) struct Actions {
    declared: BTreeMap<String, Declared>,
    /// The answer of the run each key of an action is bound to, once there is one. Whoever runs holds the lock.
    bindings: HashMap<(String, String), Binding>,
}

type Binding = Arc<Mutex<Option<Answer>>>;

struct Declared {
    behaviour: Behaviour,
    executions: Vec<Effect>,
}

impl Actions {
    /// What the action has already done stays.
    pub(crate) fn declare(&mut self, id: &str, behaviour: Behaviour) {
        if let Some(declared) = self.declared.get_mut(id) {
            declared.behaviour = behaviour;
        } else {
            self.declared.insert(id.to_owned(), Declared { behaviour, executions: Vec::new() });
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.declared.keys().map(String::as_str)
    }

    pub(crate) fn executions(&self, id: &str) -> Vec<Effect> {
        self.declared.get(id).map(|declared| declared.executions.clone()).unwrap_or_default()
    }

    pub(crate) fn effect_count(&self) -> usize {
        let executions = self.declared.values().flat_map(|declared| &declared.executions);
        executions.filter(|effect| effect.performed).count()
    }

    fn binding(&mut self, action: &str, key: &str) -> Binding {
        Arc::clone(self.bindings.entry((action.to_owned(), key.to_owned())).or_default())
    }

    fn execute(&mut self, call: &Call, now: u64) -> Result<(Answer, Duration), Refusal> {
        let Some(Declared { behaviour, executions }) = self.declared.get_mut(&call.action) else {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "not.found", "no such action"));
        };
        let execution = executions.len() + 1;
        executions.push(Effect {
            execution,
            input: call.input.clone(),
            idempotency_key: call.key.clone(),
            performed: behaviour.status.as_u16() < 400,
            when: now,
        });
        Ok((behaviour.answer(&call.written, execution), behaviour.delay))
    }
}

#[cfg(test)]
mod tests;
