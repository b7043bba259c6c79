//! Queues and users: where a conversation may be transferred to, and what is told about them.
//!
//! `platform` says how many members have joined a queue, and nothing of open or closed; `guide` says open or closed,
//! and knows no endpoint for users. The routing status of a user nobody declared is `OFF_QUEUE`, as with the real
//! one: it proves nothing. Skills, members, divisions and opening hours are not simulated.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::faults::under_fault;
use crate::oauth::{authorized, bearer};
use crate::surface::{Operation, Surface};
use crate::world::World;

/// A queue, as [`crate::Simulator::queue`] declares it.
#[derive(Debug, Clone)]
pub struct Queue {
    is_open: bool,
    joined: u32,
    name: Option<String>,
}

impl Queue {
    /// Takes conversations; one member has joined it.
    #[must_use]
    pub fn open() -> Self {
        Self { is_open: true, joined: 1, name: None }
    }

    /// Takes none: closed on `guide`, and, as `platform` cannot say that, nobody has joined it.
    #[must_use]
    pub fn closed() -> Self {
        Self { is_open: false, joined: 0, name: None }
    }

    /// So many members have joined it. Only `platform` tells.
    #[must_use]
    pub fn joined(self, members: u32) -> Self {
        Self { joined: members, ..self }
    }

    /// Has this name, and not its id, as its name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    fn shown(&self, id: &str, surface: Surface) -> Value {
        let name = self.name.as_deref().unwrap_or(id);
        match surface {
            Surface::Guide => {
                let status = if self.is_open { "open" } else { "closed" };
                json!({ "id": id, "name": name, "status": status, "maxConcurrentTransfers": 10 })
            }
            Surface::Platform => json!({
                "id": id,
                "name": name,
                "memberCount": self.joined,
                "userMemberCount": self.joined,
                "joinedMemberCount": self.joined,
                "mediaSettings": {},
                "selfUri": format!("/api/v2/routing/queues/{id}"),
            }),
        }
    }
}

/// A user, as [`crate::Simulator::user`] declares it.
#[derive(Debug, Clone)]
pub struct User {
    presence: String,
    state: &'static str,
    name: Option<String>,
}

impl User {
    /// Is there and free.
    #[must_use]
    pub fn available() -> Self {
        Self::with_presence("Available")
    }

    /// Is not there.
    #[must_use]
    pub fn offline() -> Self {
        Self::with_presence("Offline")
    }

    /// Has any system presence, such as `Busy` or `On Queue`.
    #[must_use]
    pub fn with_presence(system_presence: &str) -> Self {
        Self { presence: system_presence.to_owned(), state: "active", name: None }
    }

    /// Is still found by its id, with the state `deleted`.
    #[must_use]
    pub fn deleted() -> Self {
        Self { state: "deleted", ..Self::offline() }
    }

    /// Has this name, and not its id, as its name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    fn shown(&self, id: &str) -> Value {
        json!({ "id": id, "name": self.name.as_deref().unwrap_or(id), "state": self.state })
    }
}

/// `GET …/routing/queues/{id}`.
pub(crate) async fn queue(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    look(&world, &headers, Operation::GetQueue, |directory| {
        directory.queues.get(&id).map(|queue| queue.shown(&id, world.surface))
    })
    .await
}

/// `GET …/users/{id}`.
pub(crate) async fn user(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    look(&world, &headers, Operation::GetUser, |directory| directory.users.get(&id).map(|it| it.shown(&id)))
        .await
}

/// `GET …/users/{id}/presences/purecloud`.
pub(crate) async fn presence(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    look(&world, &headers, Operation::GetPresence, |directory| {
        let presence = &directory.users.get(&id)?.presence;
        Some(json!({
            "id": id,
            "source": "PURECLOUD",
            "primary": true,
            "presenceDefinition": { "systemPresence": presence },
        }))
    })
    .await
}

/// `GET …/users/{id}/routingstatus`: no fault befalls it, because no client should ask.
pub(crate) async fn routing_status(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    bearer(&world, &headers)?;
    let is_idle = world.state().directory.users.get(&id).is_some_and(|user| user.presence == "On Queue");
    Ok(Json(json!({ "userId": id, "status": if is_idle { "IDLE" } else { "OFF_QUEUE" } })))
}

async fn look(
    world: &World,
    headers: &HeaderMap,
    operation: Operation,
    find: impl FnOnce(&Directory) -> Option<Value>,
) -> Result<Response, Refusal> {
    let token = authorized(world, headers, operation)?;
    let work = async {
        let found = find(&world.state().directory);
        found.map_or_else(|| not_found("nothing has this id").into_response(), |it| Json(it).into_response())
    };
    Ok(under_fault(world, operation, Some(&token), work).await)
}

pub(crate) fn not_found(what: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not.found", what)
}

/// Everybody and everything a conversation can be sent to by its id.
#[derive(Default)]
pub(crate) struct Directory {
    queues: BTreeMap<String, Queue>,
    users: BTreeMap<String, User>,
}

impl Directory {
    pub(crate) fn declare_queue(&mut self, id: &str, queue: Queue) {
        self.queues.insert(id.to_owned(), queue);
    }

    pub(crate) fn declare_user(&mut self, id: &str, user: User) {
        self.users.insert(id.to_owned(), user);
    }

    /// Whether the queue takes conversations; none if there is no such queue.
    pub(crate) fn is_queue_open(&self, id: &str) -> Option<bool> {
        self.queues.get(id).map(|queue| queue.is_open)
    }

    /// Whether the user is there; none if there is no such user.
    pub(crate) fn is_user_there(&self, id: &str) -> Option<bool> {
        self.users.get(id).map(|user| user.presence != "Offline")
    }

    pub(crate) fn shown(&self, surface: Surface) -> Value {
        let queues: Vec<_> = self.queues.iter().map(|(id, queue)| queue.shown(id, surface)).collect();
        let users = self.users.iter().map(|(id, user)| {
            let presence = &user.presence;
            json!({ "id": id, "presence": presence })
        });
        json!({ "queues": queues, "users": users.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests;
