//! Ids that Genesys Cloud gave out: opaque, each of its own kind, and safe to put into a path.

use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An id of a `Noun`: 1–128 of `A–Z a–z 0–9 . _ ~ -`, never `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id<Noun>(String, PhantomData<Noun>);

/// A data action's id, such as `custom_-_` and a UUID.
pub type DataActionId = Id<DataAction>;

/// A conversation's id.
pub type ConversationId = Id<Conversation>;

/// The id of one leg of a conversation.
pub type ParticipantId = Id<Participant>;

/// A queue's id.
pub type QueueId = Id<Queue>;

/// A user's id.
pub type UserId = Id<User>;

/// A retention policy's id.
pub type PolicyId = Id<Policy>;

/// The id of a job that makes a policy.
pub type JobId = Id<Job>;

/// Marks an id of a data action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAction {}

/// Marks an id of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {}

/// Marks an id of a leg of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Participant {}

/// Marks an id of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {}

/// Marks an id of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {}

/// Marks an id of a retention policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {}

/// Marks an id of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {}

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 letters, digits, dots, underscores, tildes or hyphens")]
pub struct BadId;

impl<Noun> Id<Noun> {
    /// Parses an id, so that it can reach a path.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if is_opaque_id(text) { Ok(Self(text.to_owned(), PhantomData)) } else { Err(BadId) }
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<Noun> Serialize for Id<Noun> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An id that was kept is parsed like any other.
impl<'de, Noun> Deserialize<'de> for Id<Noun> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn is_opaque_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed) && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_opaque_but_never_a_way_up() {
        for good in ["custom_-_f3a1", "0", "a.b~c", &"x".repeat(128)] {
            assert!(is_opaque_id(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a%2Fb", "a b", "é", "a?b", &"x".repeat(129)] {
            assert!(!is_opaque_id(bad), "{bad}");
        }
    }
}
