//! What a person declares: data actions, conversations, queues and users.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::behaviour::Behaviour;
use crate::control::fields::{BadInput, Fields};
use crate::conversations::Conversation;
use crate::directory::{Queue, User};
use crate::transfers::Course;
use crate::world::World;

pub(super) async fn data_action(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, BadInput> {
    let behaviour = read_behaviour(Fields::read(&body)?)?;
    world.state().actions.declare(&id, behaviour);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn conversation(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, BadInput> {
    let conversation = read_conversation(Fields::read(&body)?)?;
    let now = world.now();
    world.state().conversations.declare(&id, conversation, now);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn queue(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, BadInput> {
    let queue = read_queue(Fields::read(&body)?)?;
    world.state().directory.declare_queue(&id, queue);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn user(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, BadInput> {
    let user = read_user(Fields::read(&body)?)?;
    world.state().directory.declare_user(&id, user);
    Ok(StatusCode::NO_CONTENT)
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

/// With an agent, waiting in a queue, or ended.
fn read_conversation(mut fields: Fields) -> Result<Conversation, BadInput> {
    let conversation = match (fields.text("agent")?, fields.text("waitingIn")?, fields.switch("ended")?) {
        (Some(user), None, false) => Conversation::with_agent(&user),
        (None, Some(queue), false) => Conversation::waiting_in(&queue),
        (None, None, true) => Conversation::ended(),
        _ => return Err(BadInput("give one of agent, waitingIn and ended".to_owned())),
    };
    let course = match fields.text("transfers")?.as_deref() {
        None | Some("complete") => Course::completes(),
        Some("stay-pending") => Course::stays_pending(),
        Some("fail") => Course::fails(),
        Some("cancel") => Course::cancels(),
        Some("time-out") => Course::times_out(),
        Some(_) => {
            let what = "must be complete, stay-pending, fail, cancel or time-out";
            return Err(BadInput::field("transfers", what));
        }
    };
    let reads = fields.number("afterReads", 0, 0..=u64::from(u32::MAX))?;
    let hidden = fields.number("hiddenForReads", 0, 0..=u64::from(u32::MAX))?;
    let refuses_unattended = fields.switch("refusesUnattended")?;
    fields.end()?;
    let conversation = conversation.transfers_go(course.after_reads(reads).hidden_for_reads(hidden));
    Ok(if refuses_unattended { conversation.refuses_unattended() } else { conversation })
}

fn read_queue(mut fields: Fields) -> Result<Queue, BadInput> {
    let mut queue = match fields.text("status")?.as_deref() {
        None | Some("open") => Queue::open(),
        Some("closed") => Queue::closed(),
        Some(_) => return Err(BadInput::field("status", "must be open or closed")),
    };
    if fields.0.contains_key("joined") {
        queue = queue.joined(fields.number("joined", 0, 0..=u64::from(u32::MAX))?);
    }
    if let Some(name) = fields.text("name")? {
        queue = queue.name(&name);
    }
    fields.end()?;
    Ok(queue)
}

fn read_user(mut fields: Fields) -> Result<User, BadInput> {
    let mut user = match fields.text("presence")? {
        None => User::available(),
        Some(presence) => User::with_presence(&presence),
    };
    if let Some(name) = fields.text("name")? {
        user = user.name(&name);
    }
    fields.end()?;
    Ok(user)
}
