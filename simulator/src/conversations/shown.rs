//! A look at a conversation, in the published shape.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::api::Refusal;
use crate::conversations::Participant;
use crate::conversations::live::{Recent, View};
use crate::faults::under_fault;
use crate::oauth::authorized;
use crate::surface::{Operation, Surface};
use crate::transfers::{Destination, TransferKind, was_read};
use crate::world::{World, date};

/// As many conversations as a page of `guide` has.
const PAGE: usize = 25;

/// `GET …/conversations/calls/{id}`.
pub(crate) async fn one(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let token = authorized(&world, &headers, Operation::GetConversation)?;
    let work = async {
        let mut state = world.state();
        let Some(shown) = state.conversations.shown(&id, world.surface) else {
            let code = "conversation.error.conversation.not.found";
            return Refusal::new(StatusCode::NOT_FOUND, code, "no such conversation").into_response();
        };
        was_read(&world, &mut state, &id);
        Json(shown).into_response()
    };
    Ok(under_fault(&world, Operation::GetConversation, Some(&token), work).await)
}

/// `GET …/conversations`: a page of all.
pub(crate) async fn all(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = page_number(query.as_deref())?;
    let token = authorized(&world, &headers, Operation::GetConversation)?;
    let work = async {
        let mut state = world.state();
        let total = state.conversations.ids().count();
        let ids = state.conversations.ids().skip((number - 1).saturating_mul(PAGE)).take(PAGE);
        let ids: Vec<_> = ids.map(str::to_owned).collect();
        let entities = ids.iter().filter_map(|id| state.conversations.shown(id, world.surface));
        let mut page = json!({
            "entities": entities.collect::<Vec<_>>(),
            "pageNumber": number,
            "pageSize": PAGE,
            "total": total,
        });
        if number.saturating_mul(PAGE) < total {
            page["nextUri"] = format!("/api/v2/conversations?pageNumber={}", number + 1).into();
        }
        for id in &ids {
            was_read(&world, &mut state, id);
        }
        Json(page).into_response()
    };
    Ok(under_fault(&world, Operation::GetConversation, Some(&token), work).await)
}

/// From 1, which it is if the query does not say.
fn page_number(query: Option<&str>) -> Result<usize, Refusal> {
    let breach = || {
        let what = "the query of a page is pageNumber, from 1, and nothing else";
        Refusal::breach(StatusCode::BAD_REQUEST, what)
    };
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(1) };
    let number = query.strip_prefix("pageNumber=").and_then(|number| number.parse().ok());
    number.filter(|number| *number > 0).ok_or_else(breach)
}

pub(crate) fn conversation(id: &str, view: &View, surface: Surface) -> Value {
    let participants: Vec<_> = view.participants.iter().map(participant).collect();
    let recent: Vec<_> = view.recent.iter().map(|it| recent(it, surface)).collect();
    json!({
        "id": id,
        "participants": participants,
        "recentTransfers": recent,
        "otherMediaUris": [],
        "recordingState": "none",
        "selfUri": format!("/api/v2/conversations/calls/{id}"),
    })
}

fn participant(participant: &Participant) -> Value {
    let Participant { id, purpose, state, user, queue, address, consult_participant, held } = participant;
    let mut shown = Map::from_iter([
        ("id".to_owned(), json!(id)),
        ("purpose".to_owned(), json!(purpose)),
        ("state".to_owned(), json!(state)),
        ("direction".to_owned(), json!("inbound")),
        ("held".to_owned(), json!(held)),
        ("muted".to_owned(), json!(false)),
    ]);
    let optional = [
        ("user", user.as_ref().map(|user| json!({ "id": user }))),
        ("queue", queue.as_ref().map(|queue| json!({ "id": queue }))),
        ("address", address.as_ref().map(|address| json!(address))),
        ("consultParticipantId", consult_participant.as_ref().map(|id| json!(id))),
    ];
    let present = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    shown.extend(present);
    Value::Object(shown)
}

fn recent(transfer: &Recent, surface: Surface) -> Value {
    let is_attended = transfer.is_attended || transfer.kind == TransferKind::Consult;
    let mut destination = match &transfer.destination {
        Destination::User(user) => json!({ "userId": user }),
        Destination::Address(address) => json!({ "address": address }),
        // The published shape has no place for it.
        Destination::Queue(_) => json!({}),
    };
    if surface == Surface::Guide {
        let (Destination::User(id) | Destination::Queue(id) | Destination::Address(id)) =
            &transfer.destination;
        destination["id"] = json!(id);
    }
    json!({
        "id": transfer.id,
        "state": transfer.state,
        "dateIssued": date(transfer.when),
        "initiator": transfer.initiator.as_ref().map_or_else(|| json!({}), |user| json!({ "userId": user })),
        "destination": destination,
        "transferType": if is_attended { "Attended" } else { "Unattended" },
    })
}
