//! What became of everything that was due.

use serde_json::{Value, json};

/// What became of one thing that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The subscriber has the notice.
    Delivered,
    /// It did not work this time; it is tried again.
    Failed,
    /// It is not tried again.
    Dead,
    /// Its subscriber is left alone for a while.
    Deferred,
    /// The bus has the event.
    Published,
    /// There is no bus.
    Unpublished,
    /// The claim's holder was never heard of again.
    Unknown,
    /// The claim's holder was never heard of again, and had not begun to act.
    Freed,
    /// Somebody else has it in hand, or it is dealt with.
    NotOurs,
    /// Its record cannot be read.
    Unreadable,
    /// There was no time for it. It stays due.
    LeftOver,
    /// The store could not be used before anything was done. It stays due.
    StoreDown,
}

/// How many there were of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    delivered: u32,
    failed: u32,
    dead: u32,
    deferred: u32,
    published: u32,
    unpublished: u32,
    unknown: u32,
    freed: u32,
    is_left_over: bool,
    is_store_down: bool,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Dead => self.dead += 1,
            Outcome::Deferred => self.deferred += 1,
            Outcome::Published => self.published += 1,
            Outcome::Unpublished => self.unpublished += 1,
            Outcome::Unknown => self.unknown += 1,
            Outcome::Freed => self.freed += 1,
            Outcome::NotOurs | Outcome::Unreadable => {}
            Outcome::LeftOver => self.is_left_over = true,
            Outcome::StoreDown => self.is_store_down = true,
        }
    }

    pub(crate) fn is_store_down(&self) -> bool {
        self.is_store_down
    }

    /// What the schedule is told.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "delivered": self.delivered,
            "failed": self.failed,
            "dead": self.dead,
            "deferred": self.deferred,
            "published": self.published,
            "unpublished": self.unpublished,
            "unknown": self.unknown,
            "freed": self.freed,
            "leftOver": self.is_left_over,
        })
    }
}
