//! The six operations that transfer on `platform`. Their shape has been checked before they are reached.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::data_actions::{key, read};
use crate::transfers::order::{Leg, Order, To};
use crate::transfers::{TransferKind, obey};
use crate::world::World;

/// What an operation transfers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    User,
    Queue,
    Address,
}

/// The operation that transfers in this way to such a party.
pub(crate) fn routed(kind: TransferKind, party: Party) -> MethodRouter<Arc<World>> {
    let operation = move |State(world): State<Arc<World>>,
                          Path((conversation, participant)): Path<(String, String)>,
                          headers: HeaderMap,
                          body: Bytes| async move {
        let body: Value = read(&headers, &body)?;
        let named = |field: &str| {
            body.get(field).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned)
        };
        let to = match party {
            Party::User => To::User(named("userId")),
            Party::Queue => To::Queue(named("queueId")),
            Party::Address => To::Address(named("address")),
        };
        let order = Order {
            conversation,
            leg: Leg::Named(participant),
            kind,
            to,
            preserve_caller_id: None,
            key: key(&headers),
            body,
        };
        obey(&world, &headers, order).await
    };
    post(operation)
}

#[cfg(test)]
mod tests;
