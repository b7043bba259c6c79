//! The making of a policy on `guide`.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::data_actions::read;
use crate::faults::under_fault;
use crate::oauth::authorized;
use crate::retention::course::Reply;
use crate::retention::{Order, Overlaps, Retention};
use crate::surface::{Operation, Surface};
use crate::world::World;

/// `POST …/datamanagement/retention/policies`.
pub(crate) async fn create(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let body: Value = read(&headers, &body)?;
    BODY.validate(&body).map_err(|e| {
        let at = e.instance_path().as_str();
        Refusal::breach(StatusCode::BAD_REQUEST, format!("the body is no policy at {at:?}: {e}"))
    })?;
    let request_id = request_id(&headers).filter(|id| !id.is_empty());
    if request_id.is_none() {
        return Err(Refusal::breach(StatusCode::BAD_REQUEST, "a new policy needs an X-Request-Id"));
    }
    let token = authorized(&world, &headers, Operation::CreatePolicy)?;
    let order = Order { body, request_id };
    let work = async { register(&world, &mut world.state().retention, order).into_response() };
    Ok(under_fault(&world, Operation::CreatePolicy, Some(&token), work).await)
}

/// The `X-Request-Id` of a request, if it is text.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}

fn register(world: &World, retention: &mut Retention, order: Order) -> Result<Response, Refusal> {
    let course = retention.courses.of(order.name());
    course.take_refusal()?;
    let course = course.clone();
    if let (Overlaps::Refused, Some(other)) = (retention.overlaps, retention.overlapping(&order)) {
        let message = format!("the policy overlaps with {other}");
        return Err(Refusal::new(StatusCode::CONFLICT, "conflict", message));
    }
    let (job, policy, now) = (world.uuid(), world.uuid(), world.now());
    let answer = match course.reply {
        Reply::Policy => {
            let stored = retention.create(&policy, &order, course.days, Surface::Guide, now);
            return Ok((StatusCode::CREATED, Json(stored)).into_response());
        }
        Reply::JobInHeader => {
            let id = HeaderValue::from_str(&job).expect("it is hexadecimal and hyphens");
            (StatusCode::ACCEPTED, [("x-job-id", id)]).into_response()
        }
        Reply::NamelessJob => StatusCode::ACCEPTED.into_response(),
        Reply::JobInBody => (StatusCode::ACCEPTED, Json(json!({ "jobId": job }))).into_response(),
    };
    retention.begin(&job, &policy, order, course, now);
    Ok(answer)
}

/// The body, to the letter. A day is null where the frequency has no need of it.
static BODY: LazyLock<Validator> = LazyLock::new(|| {
    let text = json!({ "type": "string", "minLength": 1 });
    let days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    let schedule = exactly(&json!({
        "frequency": { "enum": ["DAILY", "WEEKLY", "MONTHLY"] },
        "dayOfWeek": { "anyOf": [
            { "type": "null" },
            { "type": "integer", "minimum": 0, "maximum": 6 },
            { "enum": days },
        ] },
        "dayOfMonth": { "anyOf": [
            { "type": "null" },
            { "type": "integer", "minimum": 1, "maximum": 31 },
        ] },
        "timezone": text,
    }));
    let given = json!({ "not": { "type": "null" } });
    let has_its_day = json!({ "anyOf": [
        { "properties": { "frequency": { "enum": ["DAILY"] } } },
        { "properties": { "frequency": { "enum": ["WEEKLY"] }, "dayOfWeek": given } },
        { "properties": { "frequency": { "enum": ["MONTHLY"] }, "dayOfMonth": given } },
    ] });
    let schema = exactly(&json!({
        "name": text,
        "description": { "type": "string" },
        "enabled": { "type": "boolean" },
        "objectType": { "enum": ["call", "chat", "email", "task", "interaction", "sms"] },
        "retentionPeriod": { "type": "integer", "minimum": 1 },
        "schedule": { "allOf": [schedule, has_its_day] },
        "filters": {
            "type": "array",
            "items": exactly(&json!({ "attribute": text, "operator": text, "value": {} })),
        },
        "metadata": exactly(&json!({
            "createdBy": text,
            "version": text,
            "tags": { "type": "array", "items": { "type": "string" } },
        })),
    }));
    jsonschema::options().with_draft(Draft::Draft4).build(&schema).expect("the schema is one: tests use it")
});

/// An object with all of these members and no others.
fn exactly(members: &Value) -> Value {
    let names: Vec<_> = members.as_object().into_iter().flat_map(|members| members.keys()).collect();
    json!({ "type": "object", "required": names, "properties": members, "additionalProperties": false })
}

#[cfg(test)]
mod tests;
