//! The one operation that transfers on `guide`: an event about a conversation, under an `Idempotency-Key`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::api::Refusal;
use crate::data_actions::{key, read};
use crate::transfers::order::{Leg, Order, To};
use crate::transfers::{TransferKind, obey};
use crate::world::World;

/// The body, to the letter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    r#type: Type,
    from: Reference,
    to: Reference,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Transfer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attributes {
    transfer: Wish,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wish {
    r#type: Kind,
    preserve_caller_id: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Blind,
    Consult,
}

/// `POST …/interactions/events/conversations`.
pub(crate) async fn post(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Event { r#type: Type::Transfer, from, to, attributes: Attributes { transfer } } =
        read(&headers, &body)?;
    let Some(key) = key(&headers).filter(|key| !key.is_empty()) else {
        return Err(Refusal::breach(StatusCode::BAD_REQUEST, "a transfer needs an Idempotency-Key"));
    };
    let body: Value = read(&headers, &body)?;
    let order = Order {
        conversation: from.id,
        leg: Leg::Fitting,
        kind: match transfer.r#type {
            Kind::Blind => TransferKind::Blind,
            Kind::Consult => TransferKind::Consult,
        },
        to: To::Id(to.id),
        preserve_caller_id: Some(transfer.preserve_caller_id),
        key: Some(key),
        body,
    };
    obey(&world, &headers, order).await
}

#[cfg(test)]
mod tests;
