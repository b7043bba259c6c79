//! What is written beside a key's record when its state changes.

use serde::{Deserialize, Serialize};

use crate::audit::{Entry, Trail};
use crate::outbox::Notice;

/// An account of how it went: an entry on a trail, and a notice where somebody must hear of it. It is written in
/// the transaction with what it tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The trail it belongs to.
    pub trail: Trail,
    /// What is told there.
    pub entry: Entry,
    /// What a subscriber is told.
    pub notice: Option<Notice>,
}
