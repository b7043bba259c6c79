//! The control panel at `/_simulator`: for people what the handle is for tests.
//!
//! Nothing here is recorded or held against a published shape. Input that cannot be used is answered with 400 and
//! a message that names the field.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::data_actions::Behaviour;
use crate::faults::Fault;
use crate::surface::Operation;
use crate::world::World;

/// The panel, to be hung under its prefix.
pub(crate) fn panel() -> Router<Arc<World>> {
    Router::new()
        .route("/", get(overview))
        .route("/data-actions/{id}", put(declare))
        .route("/faults", post(queue).delete(clear))
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
    let anomalies = state.anomalies.iter();
    let anomalies = anomalies.map(|it| json!({ "what": it.what, "method": it.method, "path": it.path }));
    Json(json!({
        "surface": world.surface.to_string(),
        "effects": effects.collect::<Map<_, _>>(),
        "requests": Map::from_iter(requests),
        "anomalies": anomalies.collect::<Vec<_>>(),
        "pendingFaults": faults.collect::<Vec<_>>(),
        "stalled": state.stalled,
    }))
}

async fn declare(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, BadInput> {
    let behaviour = read_behaviour(Fields::read(&body)?)?;
    world.state().actions.declare(&id, behaviour);
    Ok(StatusCode::NO_CONTENT)
}

async fn queue(State(world): State<Arc<World>>, body: Bytes) -> Result<StatusCode, BadInput> {
    let (operation, fault) = read_fault(Fields::read(&body)?)?;
    world.state().faults.push(operation, fault);
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

async fn nothing() -> (StatusCode, Json<Value>) {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "the control panel has no such page" })))
}

/// A string is the body's text as it stands; anything else is sent as JSON.
fn read_behaviour(mut fields: Fields) -> Result<Behaviour, BadInput> {
    let status = fields.number("status", 200, 200..=599)?;
    let content_type = fields.header("contentType")?.unwrap_or_else(|| "application/json".to_owned());
    let body = match fields.0.remove("body") {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
    };
    let delay = Duration::from_millis(fields.number("delayMs", 0, 0..=u64::MAX)?);
    fields.end()?;
    Ok(Behaviour::status(status, content_type.as_str(), body).delayed(delay))
}

fn read_fault(mut fields: Fields) -> Result<(Operation, Fault), BadInput> {
    let operation = fields.text("operation")?.and_then(|name| name.parse().ok());
    let operation = operation.ok_or(BadInput::field("operation", "must be token or execute-data-action"))?;
    let name = fields.text("fault")?.unwrap_or_default();
    let mut fault = match name.as_str() {
        "status" => Fault::status(fields.number("status", 503, 300..=599)?),
        "stall-before-effect" => Fault::stall_before_effect(),
        "stall-after-effect" => Fault::stall_after_effect(),
        "drop-before-effect" => Fault::drop_before_effect(),
        "effect-then-drop" => Fault::effect_then_drop(),
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

/// The members of a JSON object, taken one by one; what is left in the end is a mistake.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(body: &[u8]) -> Result<Self, BadInput> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(BadInput("the body must be a JSON object".to_owned())),
            Err(e) => Err(BadInput(format!("the body must be a JSON object: {e}"))),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, BadInput> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(BadInput::field(name, "must be a string")),
        }
    }

    fn header(&mut self, name: &str) -> Result<Option<String>, BadInput> {
        let text = self.text(name)?;
        if text.as_deref().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
            return Err(BadInput::field(name, "must be fit for a header"));
        }
        Ok(text)
    }

    fn number<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        otherwise: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<T, BadInput> {
        let given = self.0.remove(name).map_or(Some(otherwise), |value| value.as_u64());
        let number =
            given.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            BadInput::field(
                name,
                &format!("must be a whole number from {} to {}", range.start(), range.end()),
            )
        })
    }

    fn end(self) -> Result<(), BadInput> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(BadInput::field(name, "has no meaning here")),
        }
    }
}

/// What to tell the person at the panel.
struct BadInput(String);

impl BadInput {
    fn field(name: &str, what: &str) -> Self {
        Self(format!("{name} {what}"))
    }
}

impl IntoResponse for BadInput {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({ "message": self.0 }))).into_response()
    }
}

#[cfg(test)]
mod tests;
