//! The control panel at `/_simulator`: for people what the handle is for tests.
//!
//! Nothing here is recorded or held against a published shape. Input that cannot be used is answered with 400 and
//! a message that names the field.

mod declarations;
mod retention;
mod fields;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::control::fields::{BadInput, Fields};
use crate::faults::Fault;
use crate::surface::Operation;
use crate::world::World;

/// The panel, to be hung under its prefix.
pub(crate) fn panel() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(overview))
        .route("/data-actions/{id}", put(declarations::data_action))
        .route("/conversations/{id}", put(declarations::conversation))
        .route("/queues/{id}", put(declarations::queue))
        .route("/users/{id}", put(declarations::user))
        .route("/policies/{id}", put(retention::declare).delete(retention::remove))
        .route("/policy-course", put(retention::course))
        .route("/finish-jobs", post(retention::finish_jobs))
        .route("/retention", put(retention::settings))
        .route("/forbidden/{operation}", put(forbid).delete(permit))
        .route("/faults", post(add_fault).delete(clear))
        .route("/release", post(release))
        .fallback(nothing)
}

async fn overview(State(world): State<Arc<World>>) -> Json<Value> {
    let state = world.state();
    let effects = state.actions.ids().map(|id| {
        let executions = state.actions.executions(id);
        let count = executions.iter().filter(|effect| effect.performed).count();
        (id.to_owned(), json!({ "count": count, "executions": executions }))
    });
    let requests = Operation::ALL.map(|it| (it.to_string(), Value::from(state.request_count(it))));
    let faults = state.faults.pending().map(|(operation, fault, times)| {
        let (operation, fault) = (operation.to_string(), fault.to_string());
        json!({ "operation": operation, "fault": fault, "times": times })
    });
    let conversations = state
        .conversations
        .ids()
        .filter_map(|id| state.conversations.shown(id, world.surface).map(|shown| (id.to_owned(), shown)));
    let anomalies = state.anomalies.iter();
    let anomalies = anomalies.map(|it| json!({ "what": it.what, "method": it.method, "path": it.path }));
    Json(json!({
        "surface": world.surface.to_string(),
        "effects": effects.collect::<Map<_, _>>(),
        "transfers": state.conversations.log(),
        "conversations": conversations.collect::<Map<_, _>>(),
        "directory": state.directory.shown(world.surface),
        "retention": {
            "policies": state.retention.policies(world.surface),
            "jobs": state.retention.jobs().collect::<Vec<_>>(),
            "writes": state.retention.writes(),
        },
        "requests": Map::from_iter(requests),
        "anomalies": anomalies.collect::<Vec<_>>(),
        "pendingFaults": faults.collect::<Vec<_>>(),
        "stalled": state.stalled,
    }))
}

async fn add_fault(State(world): State<Arc<World>>, body: Bytes) -> Result<StatusCode, BadInput> {
    let mut fields = Fields::read(&body)?;
    let every = if fields.0.contains_key("every") {
        Some(fields.number("every", 1, 1..=u64::from(u32::MAX))?)
    } else {
        None
    };
    let (operation, fault) = read_fault(fields)?;
    let faults = &mut world.state().faults;
    match every {
        Some(every) => faults.share(operation, every, fault),
        None => faults.push(operation, fault),
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn clear(State(world): State<Arc<World>>) -> StatusCode {
    world.state().faults.clear();
    StatusCode::NO_CONTENT
}

async fn release(State(world): State<Arc<World>>) -> StatusCode {
    world.release_stalled();
    StatusCode::NO_CONTENT
}

async fn forbid(
    State(world): State<Arc<World>>,
    Path(operation): Path<String>,
) -> Result<StatusCode, BadInput> {
    world.state().oauth.forbid(read_operation(&operation)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn permit(
    State(world): State<Arc<World>>,
    Path(operation): Path<String>,
) -> Result<StatusCode, BadInput> {
    world.state().oauth.permit(read_operation(&operation)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn nothing() -> (StatusCode, Json<Value>) {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "the control panel has no such page" })))
}

fn read_operation(name: &str) -> Result<Operation, BadInput> {
    let must_be = || {
        let names = Operation::ALL.map(|it| it.to_string()).join(", ");
        BadInput::field("operation", &format!("must be one of {names}"))
    };
    name.parse().map_err(|_| must_be())
}

fn read_fault(mut fields: Fields) -> Result<(Operation, Fault), BadInput> {
    let operation = read_operation(&fields.text("operation")?.unwrap_or_default())?;
    let name = fields.text("fault")?.unwrap_or_default();
    let mut fault = match name.as_str() {
        "status" => Fault::status(fields.number("status", 503, 300..=599)?),
        "stall-before-effect" => Fault::stall_before_effect(),
        "stall-after-effect" => Fault::stall_after_effect(),
        "drop-before-effect" => Fault::drop_before_effect(),
        "effect-then-drop" => Fault::effect_then_drop(),
        "drop-then-effect" => Fault::drop_then_effect(fields.number("reads", 1, 0..=u64::from(u32::MAX))?),
        "effect-then-status" => Fault::effect_then_status(fields.number("status", 504, 300..=599)?),
        "cut-body" => Fault::cut_body(),
        "slow-body" => {
            Fault::slow_body(Duration::from_millis(fields.number("chunkDelayMs", 500, 0..=u64::MAX)?))
        }
        "redirect" => {
            let location = fields.header("location")?;
            Fault::redirect(&location.ok_or(BadInput::field("location", "is needed for a redirect"))?)
        }
        "expired-token" => Fault::expired_token(),
        _ => return Err(BadInput::field("fault", "must name a fault, such as status or effect-then-drop")),
    };
    if let Some(when) = fields.header("retryAfter")? {
        fault = fault.retry_after(&when);
    }
    let times = fields.number("times", 1, 1..=u64::from(u32::MAX))?;
    fields.end()?;
    Ok((operation, fault.times(times)))
}

#[cfg(test)]
mod tests;
