//! Audit trails: what was decided, in order, so that a later change to the record shows.
//!
//! There is one trail for each conversation, one for each key of a data action or a retention run, and one for each
//! retention policy. Entry *n* is canonical JSON
//! (RFC 8785) that carries the SHA-256 of entry *n* − 1, over the bytes that are stored. The trail's head says how
//! many entries there are, and the hash of the last; it moves in the transaction that puts the entry, under the
//! condition that it still stands where the entry's author saw it. So a trail cannot fork, and an entry is on it
//! exactly if what it tells of has happened: it is written together with that.
//!
//! [`verify`] tells whether a trail is as it was written. It finds an entry that was changed, removed, inserted,
//! moved or cut off at the end. It cannot find a trail rewritten as a whole, head included, by somebody who may
//! write to the table: every append is logged with its hash, so that the log can testify against the table.
//!
//! An entry names ids and outcomes, never contents: no bodies, and no phone number. Entries do not expire.

mod append;
mod verify;

pub use append::Appended;
pub use verify::{Fault, Verified, verify};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::canonical::digest;
use crate::dynamo::{self, Item, Table, TransactWriteItem};
use crate::lambda::Invocation;

/// The version of the layout of entries and heads.
const VERSION: u32 = 1;

/// The sort key of a trail's head.
const HEAD: &str = "head";

/// How often a trail is read that grows while it is read.
const READS: u32 = 5;

/// The trails of the table.
#[derive(Clone, Debug)]
pub struct Trails {
    table: Table,
}

/// The name of a trail: whose decisions are on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Trail(String);

/// What is to be told on a trail, before it has its place there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What happened, such as `transfer-completed`.
    pub action: String,
    /// What there is to know about it.
    pub facts: Map<String, Value>,
}

/// Where a trail ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    sequence: u64,
    hash: String,
}

/// Why a trail could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be used. Whether the entry was appended is not known.
    #[error(transparent)]
    Store(#[from] dynamo::Error),
    /// The trail's head is not one of ours, or of a later version.
    #[error("the head of the audit trail {0} cannot be read")]
    Unreadable(String),
}

impl Trails {
    /// The trails kept in `table`.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Appends what happened at `at` in one transaction with `others`: all of it or nothing.
    ///
    /// `known` is where the trail ended when we last saw it, or nothing for a trail of which we know nothing. One
    /// request if that is still so; otherwise the failed condition says where it ends now, and it is tried again.
    pub async fn append(
        &self,
        trail: &Trail,
        entry: &Entry,
        at: Timestamp,
        known: Option<&Head>,
        others: Vec<TransactWriteItem>,
        until: Instant,
    ) -> Result<Appended, Error> {
        let tellable = append::Tellable::new(trail, entry, at);
        append::append(&self.table, &tellable, known, others, until).await
    }

    /// Everything on a trail, and its head, as they lie in the table.
    pub async fn read(&self, trail: &Trail, until: Instant) -> Result<(Vec<Item>, Option<Item>), Error> {
        let mut left = READS;
        loop {
            let head = self.table.get(&trail.head_key(), HEAD, until).await?;
            let entries = self.table.partition(&trail.partition_key(), until).await?;
            left -= 1;
            let told = head.as_ref().and_then(Head::read).map_or(0, |head| head.sequence);
            // Unless both say the same, somebody may have appended in between; or the trail is not as it was written.
            if told == entries.len() as u64 || left == 0 {
                return Ok((entries, head));
            }
        }
    }
}

impl Trail {
    /// The trail of a conversation.
    #[must_use]
    pub fn of_conversation(id: &str) -> Self {
        Self(format!("conversation:{id}"))
    }

    /// The trail of an idempotency key, by the [hash](crate::idempotency::Scope::hash) that stands for it.
    #[must_use]
    pub fn of_key(hash: &str) -> Self {
        Self(format!("key:{hash}"))
    }

    /// The trail of a retention policy at one place: an API surface and its address.
    #[must_use]
    pub fn of_policy(place: &str, name: &str) -> Self {
        Self(format!("policy:{place}:{name}"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Entries and head lie in different partitions, so that a policy can allow the head to be moved without
    /// allowing an entry to be changed.
    fn partition_key(&self) -> String {
        format!("trail#{}", digest(self.0.as_bytes()))
    }

    fn head_key(&self) -> String {
        format!("head#{}", digest(self.0.as_bytes()))
    }
}

impl Entry {
    /// That `action` happened.
    #[must_use]
    pub fn new(action: &str) -> Self {
        Self { action: action.to_owned(), facts: Map::new() }
    }

    /// With what is known about the call that led to it.
    #[must_use]
    pub fn by(self, invocation: &Invocation) -> Self {
        self.with("requestId", &invocation.request_id)
            .with("actor", &invocation.caller)
            .with("correlationId", &invocation.correlation_id)
    }

    /// With this fact, if there is a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("a fact is a string, a number or plain data");
        if !value.is_null() {
            self.facts.insert(name.to_owned(), value);
        }
        self
    }
}

/// The sort key of the entry with this number; numbers sort as they count.
fn sort_key(sequence: u64) -> String {
    format!("entry#{sequence:012}")
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
