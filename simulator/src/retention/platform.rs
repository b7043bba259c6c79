//! The operations on policies on `platform`. Their shape has been checked before they are reached.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::data_actions::read;
use crate::faults::under_fault;
use crate::oauth::authorized;
use crate::retention::guide::request_id;
use crate::retention::{Change, Order, Retention, shape};
use crate::surface::{Operation, Surface};
use crate::world::{World, date};

/// `POST …/mediaretentionpolicies`.
pub(crate) async fn create(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let order = order(&headers, &body)?;
    under(&world, &headers, Operation::CreatePolicy, |retention, now| {
        let course = retention.courses.of(order.name());
        course.take_refusal()?;
        let days = course.days;
        retention.keeps_to_the_cap(&order)?;
        let stored = retention.create(&world.uuid(), &order, days, Surface::Platform, now);
        Ok(Json(stored).into_response())
    })
    .await
}

/// What can be done to one policy.
pub(crate) fn one() -> MethodRouter<Arc<World>> {
    get(read_one).put(replace).patch(switch).delete(delete)
}

/// `GET …/analytics/dataretention/settings`.
pub(crate) async fn settings(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    under(&world, &headers, Operation::ReadRetentionSettings, |retention, _| {
        Ok(Json(json!({ "retentionDays": retention.cap.0 })).into_response())
    })
    .await
}

async fn read_one(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    under(&world, &headers, Operation::ReadPolicy, |retention, _| {
        Ok(Json(retention.stored(&id)?).into_response())
    })
    .await
}

async fn replace(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let order = order(&headers, &body)?;
    if order.body.get("id").is_some_and(|given| *given != json!(id)) {
        return Err(Refusal::breach(StatusCode::BAD_REQUEST, "the policy has another id than its path"));
    }
    under(&world, &headers, Operation::UpdatePolicy, |retention, now| {
        let days = retention.courses.of(order.name()).days;
        retention.stored(&id)?;
        retention.keeps_to_the_cap(&order)?;
        let stored = retention.stored_mut(&id)?;
        let created = stored["createdDate"].take();
        *stored = shape::completed(order.body.clone(), &id, Surface::Platform, &date(now));
        stored["createdDate"] = created;
        if let Some(days) = days {
            shape::set_days(stored, Surface::Platform, days);
        }
        retention.record(Change::Replaced, &id, &order, now);
        Ok(Json(retention.stored(&id)?).into_response())
    })
    .await
}

async fn switch(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let order = Order { body: read(&headers, &body)?, request_id: request_id(&headers) };
    let Some(is_enabled) = order.body["enabled"].as_bool() else {
        return Err(Refusal::breach(StatusCode::BAD_REQUEST, "the only thing to switch is enabled"));
    };
    under(&world, &headers, Operation::UpdatePolicy, |retention, now| {
        let stored = retention.stored_mut(&id)?;
        stored["enabled"] = is_enabled.into();
        stored["modifiedDate"] = date(now).into();
        retention.record(Change::Switched, &id, &order, now);
        Ok(Json(retention.stored(&id)?).into_response())
    })
    .await
}

async fn delete(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let order = Order { body: Value::Null, request_id: request_id(&headers) };
    under(&world, &headers, Operation::DeletePolicy, |retention, now| {
        retention.stored(&id)?;
        retention.record(Change::Deleted, &id, &order, now);
        retention.remove(&id);
        Ok(StatusCode::OK.into_response())
    })
    .await
}

async fn under(
    world: &World,
    headers: &HeaderMap,
    operation: Operation,
    act: impl FnOnce(&mut Retention, u64) -> Result<Response, Refusal>,
) -> Result<Response, Refusal> {
    let token = authorized(world, headers, operation)?;
    let work = async {
        let now = world.now();
        act(&mut world.state().retention, now).into_response()
    };
    Ok(under_fault(world, operation, Some(&token), work).await)
}

/// A whole policy. The published shape lets a name be empty and a period be nothing or less.
fn order(headers: &HeaderMap, body: &[u8]) -> Result<Order, Refusal> {
    let order = Order { body: read(headers, body)?, request_id: request_id(headers) };
    if order.name().is_empty() {
        return Err(Refusal::breach(StatusCode::BAD_REQUEST, "a policy needs a name"));
    }
    if shape::days(&order.body, Surface::Platform).contains(&0) {
        return Err(Refusal::breach(StatusCode::BAD_REQUEST, "a period is of one day or more"));
    }
    Ok(order)
}

impl Retention {
    fn keeps_to_the_cap(&self, order: &Order) -> Result<(), Refusal> {
        let cap = self.cap.0;
        if shape::days(&order.body, Surface::Platform).into_iter().all(|days| days <= cap) {
            return Ok(());
        }
        let message = format!("the organisation keeps nothing for longer than {cap} days");
        Err(Refusal::new(StatusCode::BAD_REQUEST, "bad.request", message))
    }
}

#[cfg(test)]
mod tests;
