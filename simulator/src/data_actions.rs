//! Data actions: what a declared action does, and what executing it leaves behind.
//!
//! An action's effect happens the moment its execution begins and is never undone; its delay, and whatever a fault
//! adds, only keep the answer back. On `guide` an `Idempotency-Key` binds the first run of an action: the same key
//! gets the same answer without a second effect, waiting for it if need be, and 409 if that run ended with a status
//! of 500 or more. On `platform` the header is recorded and otherwise ignored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::api::Refusal;
use crate::behaviour::{Answer, Behaviour, keep_back};
use crate::faults::under_fault;
use crate::oauth::{authorized, has_content_type};
use crate::surface::{Operation, Surface};
use crate::world::World;

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

pub(crate) fn read<T: for<'de> Deserialize<'de>>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
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
    let token = authorized(world, headers, Operation::ExecuteDataAction)?;
    let key = key(headers);
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
        return if answer.is_failure() { Err(bound_to_a_failure()) } else { Ok(answer.clone()) };
    }
    let (answer, delay) = world.state().actions.execute(call, world.now())?;
    // Bound before the delay: a client that does not wait for the answer has had the effect all the same.
    *bound = Some(answer.clone());
    keep_back(delay).await;
    Ok(answer)
}

pub(crate) fn bound_to_a_failure() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "conflict", "the Idempotency-Key is bound to a run that failed")
}

/// The `Idempotency-Key` of a request, if it is text.
pub(crate) fn key(headers: &HeaderMap) -> Option<String> {
    headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned)
}

/// What a client asks for.
struct Call {
    action: String,
    input: Value,
    /// The input with its digits and white space as they came.
    written: Box<RawValue>,
    key: Option<String>,
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
            performed: behaviour.performs(),
            when: now,
        });
        Ok((behaviour.answer(call.written.get(), execution), behaviour.delay()))
    }
}

#[cfg(test)]
mod tests;
