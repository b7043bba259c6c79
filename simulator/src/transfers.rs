//! Transfers: what a client can order, the rules it is held to, and what comes of it.
//!
//! A transfer that is accepted has taken effect: it is recorded for good, shows in the conversation's
//! `recentTransfers`, and goes on as the conversation's [`Course`] says. Until it is complete the participants stay
//! as they were; one that ends in any other way leaves them so. A blind transfer that is complete has disconnected the
//! leg it replaced and added one for its destination; a consult that is complete has added that one only, and the
//! leg of who consults names it. A refused transfer is no effect and leaves nothing.
//!
//! The steps of a consult after its beginning, alerting and unanswered legs, conferences and voicemail are not
//! simulated. On `platform` a queue is never full or closed and a user never absent: such a transfer is accepted.

mod platform;
mod guide;
mod order;

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use crate::transfers::guide::post as post_on_guide;
pub(crate) use crate::transfers::order::Order;
pub(crate) use crate::transfers::platform::{Party, routed};

use crate::api::Refusal;
use crate::behaviour::{Answer, keep_back};
use crate::data_actions::bound_to_a_failure;
use crate::faults::{Late, under_fault};
use crate::oauth::authorized;
use crate::surface::{Operation, Surface};
use crate::transfers::order::Plan;
use crate::world::{State, World};

/// A transfer that took effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// Its id in `recentTransfers`.
    pub id: String,
    /// Of which conversation.
    pub conversation: String,
    /// How. With the kind of the destination it says which of the six operations of `platform` it was.
    pub kind: TransferKind,
    /// Where to.
    pub destination: Destination,
    /// The participant that was replaced, or moved to a consult. On `guide`, where the request names none, the one
    /// that fitted.
    pub participant: String,
    /// The leg that the destination gets once the transfer is complete: a consult's `destinationParticipantId`.
    pub destination_participant: String,
    /// `transferType` of a blind transfer on `platform`, as it was sent.
    pub transfer_type: Option<String>,
    /// `speakTo` of a consult on `platform`, as it was sent.
    pub speak_to: Option<String>,
    /// `consultingUserId`, as it was sent.
    pub consulting_user: Option<String>,
    /// `preserveCallerId`, which only `guide` knows.
    pub preserve_caller_id: Option<bool>,
    /// The `Idempotency-Key` that came with it, if it was text.
    pub idempotency_key: Option<String>,
    /// How it stands.
    pub state: TransferState,
    /// When it was accepted, in milliseconds since the simulator started.
    pub when: u64,
}

/// The two ways to transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TransferKind {
    /// The destination takes the place of who transfers.
    Blind,
    /// The destination is asked first.
    Consult,
}

/// Where a transfer goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Destination {
    /// The user of this id.
    User(String),
    /// The queue of this id.
    Queue(String),
    /// A telephone number or a SIP address.
    Address(String),
}

/// How a transfer stands, in the published words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TransferState {
    /// Accepted, and nothing seen of it yet.
    Pending,
    /// Accepted and under way: a consult.
    Active,
    /// Done.
    Complete,
    /// Withdrawn.
    Canceled,
    /// Impossible, as it turned out.
    Failed,
    /// Not done in time.
    Timeout,
    /// Nobody can say.
    Unknown,
}

impl TransferState {
    /// Whether a second transfer of the same conversation is in its way.
    pub(crate) fn is_under_way(self) -> bool {
        match self {
            Self::Pending | Self::Active => true,
            Self::Complete | Self::Canceled | Self::Failed | Self::Timeout | Self::Unknown => false,
        }
    }
}

/// How the transfers of a conversation go on once they are accepted, and when it shows.
///
/// Both [`Course::after_reads`] and [`Course::hidden_for_reads`] count the looks at the conversation from the transfer
/// on: with `n`, the first `n` looks see the state before, and the next one sees the state after.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub(crate) ending: Option<TransferState>,
    pub(crate) reads: u32,
    pub(crate) hidden_reads: u32,
}

impl Course {
    /// They are done.
    #[must_use]
    pub fn completes() -> Self {
        Self { ending: Some(TransferState::Complete), reads: 0, hidden_reads: 0 }
    }

    /// They never end: a blind transfer stays `Pending`, a consult `Active`.
    #[must_use]
    pub fn stays_pending() -> Self {
        Self { ending: None, ..Self::completes() }
    }

    /// They fail.
    #[must_use]
    pub fn fails() -> Self {
        Self { ending: Some(TransferState::Failed), ..Self::completes() }
    }

    /// They are canceled.
    #[must_use]
    pub fn cancels() -> Self {
        Self { ending: Some(TransferState::Canceled), ..Self::completes() }
    }

    /// They are not done in time.
    #[must_use]
    pub fn times_out() -> Self {
        Self { ending: Some(TransferState::Timeout), ..Self::completes() }
    }

    /// Their end comes when the conversation has been looked at so often, and not at once.
    #[must_use]
    pub fn after_reads(self, reads: u32) -> Self {
        Self { reads, ..self }
    }

    /// Nothing of them shows until the conversation has been looked at so often.
    #[must_use]
    pub fn hidden_for_reads(self, reads: u32) -> Self {
        Self { hidden_reads: reads, ..self }
    }
}

/// What a consult on `platform` asks of a client without a user of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserContext {
    /// Nothing: the connected agent consults.
    #[default]
    NotNeeded,
    /// A `consultingUserId`; without it the answer is `not.a.user`.
    Named,
    /// A token of a user, which no client credentials give: the answer is always `not.a.user`.
    OfToken,
}

/// Lets an order take effect under the next fault, or later if that fault says so.
async fn obey(world: &World, headers: &HeaderMap, order: Order) -> Result<Response, Refusal> {
    let token = authorized(world, headers, Operation::Transfer)?;
    let work = async {
        let outcome = take_effect(world, &mut world.state(), &order);
        match outcome {
            Ok((answer, delay)) => {
                keep_back(delay).await;
                answer.into_response()
            }
            Err(refusal) => refusal.into_response(),
        }
    };
    let response = under_fault(world, Operation::Transfer, Some(&token), work).await;
    if let Some(Late { reads }) = response.extensions().get() {
        let conversation = order.conversation.clone();
        let mut state = world.state();
        state.conversations.postpone(order, *reads);
        take_overdue(world, &mut state, &conversation);
    }
    Ok(response)
}

/// Counts a look at the conversation, after its answer was made, and lets happen what waited for it.
pub(crate) fn was_read(world: &World, state: &mut State, conversation: &str) {
    state.conversations.count_read(conversation);
    take_overdue(world, state, conversation);
}

fn take_overdue(world: &World, state: &mut State, conversation: &str) {
    for order in state.conversations.overdue(conversation) {
        // Its client was cut off long ago: a refusal is told to nobody.
        let _ = take_effect(world, state, &order);
    }
}

/// What an order leads to now. On `guide` a key binds the first order that was not refused.
fn take_effect(world: &World, state: &mut State, order: &Order) -> Result<(Answer, Duration), Refusal> {
    let bound = order.key.as_ref().filter(|_| world.surface == Surface::Guide);
    let Some(key) = bound else { return accept(world, state, order) };
    if let Some((first, answer)) = state.conversations.bound.get(key) {
        return if *first != order.body {
            Err(Refusal::breach(StatusCode::CONFLICT, "the Idempotency-Key came with another body before"))
        } else if answer.is_failure() {
            Err(bound_to_a_failure())
        } else {
            Ok((answer.clone(), Duration::ZERO))
        };
    }
    let (answer, delay) = accept(world, state, order)?;
    state.conversations.bound.insert(key.clone(), (order.body.clone(), answer.clone()));
    Ok((answer, delay))
}

fn accept(world: &World, state: &mut State, order: &Order) -> Result<(Answer, Duration), Refusal> {
    let plan = order.plan(world.surface, state)?;
    let id = world.uuid();
    let destination_participant = world.uuid();
    let usual = usual_answer(world.surface, order, &destination_participant);
    let earlier = state.conversations.transfers(&order.conversation).count();
    let declared = state.conversations.answer(&order.conversation);
    let (answer, delay) = match &declared {
        Some(behaviour) => (behaviour.answer(&order.body.to_string(), earlier + 1), behaviour.delay()),
        None => (usual, Duration::ZERO),
    };
    if declared.is_some_and(|behaviour| !behaviour.performs()) {
        return Ok((answer, delay));
    }
    let Plan { participant, initiator, destination } = plan;
    let transfer = Transfer {
        id,
        conversation: order.conversation.clone(),
        kind: order.kind,
        destination,
        participant,
        destination_participant,
        transfer_type: order.text("transferType"),
        speak_to: order.text("speakTo"),
        consulting_user: order.text("consultingUserId"),
        preserve_caller_id: order.preserve_caller_id,
        idempotency_key: order.key.clone(),
        state: match order.kind {
            TransferKind::Blind => TransferState::Pending,
            TransferKind::Consult => TransferState::Active,
        },
        when: world.now(),
    };
    state.conversations.begin(transfer, initiator);
    Ok((answer, delay))
}

fn usual_answer(surface: Surface, order: &Order, destination_participant: &str) -> Answer {
    let body: Value = match (surface, order.kind) {
        (Surface::Platform, TransferKind::Blind) => return Answer::empty(StatusCode::ACCEPTED),
        (Surface::Platform, TransferKind::Consult) => {
            json!({ "destinationParticipantId": destination_participant })
        }
        (Surface::Guide, TransferKind::Blind | TransferKind::Consult) => {
            let body = json!({ "conversationId": order.conversation, "status": "accepted" });
            return Answer::json(StatusCode::CREATED, &body);
        }
    };
    Answer::json(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests;
