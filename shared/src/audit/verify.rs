//! Verifying: is a trail as it was written?

use serde_json::Value;

use super::{Head, Trail, VERSION, sort_key, text};
use crate::canonical::{canonical, digest};
use crate::dynamo::{Item, number};

/// A trail that is as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Its entries, in order.
    pub entries: Vec<Value>,
    /// The hash of the last; nothing if there are none.
    pub hash: Option<String>,
}

/// The first thing about a trail that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Where this entry should be, there is another or none.
    #[error("entry {0} is missing, or entries were inserted or moved")]
    OutOfOrder(u64),
    /// The entry's text is not what was hashed, or no entry at all.
    #[error("entry {0} was changed")]
    Changed(u64),
    /// The entry does not follow from the one before it.
    #[error("entry {0} does not follow from the one before it")]
    Unlinked(u64),
    /// The head says that there are more entries, or others.
    #[error("the trail ends after {entries} entries, and its head says otherwise")]
    CutOff {
        /// How many there are.
        entries: u64,
    },
    /// There is no head, or it cannot be read.
    #[error("the trail's head is missing or cannot be read")]
    Headless,
}

/// Verifies a trail from its items: the entries in the order of their sort keys, and the head.
pub fn verify(trail: &Trail, entries: &[Item], head: Option<&Item>) -> Result<Verified, Fault> {
    let mut verified = Verified { entries: Vec::with_capacity(entries.len()), hash: None };
    for (sequence, item) in (1..).zip(entries) {
        if text(item, "sk") != Some(&sort_key(sequence)) || text(item, "pk") != Some(&trail.partition_key()) {
            return Err(Fault::OutOfOrder(sequence));
        }
        let body = text(item, "entry").ok_or(Fault::Changed(sequence))?;
        let hash = digest(body.as_bytes());
        let entry: Value = serde_json::from_str(body).map_err(|_| Fault::Changed(sequence))?;
        let is_as_hashed = text(item, "hash") == Some(&hash)
            && item.get("v") == Some(&number(VERSION))
            && canonical(body).is_ok_and(|canonical| canonical == body)
            && entry["trail"] == trail.name();
        if !is_as_hashed {
            return Err(Fault::Changed(sequence));
        }
        if entry["sequence"] != sequence {
            return Err(Fault::OutOfOrder(sequence));
        }
        if entry["previous"].as_str() != verified.hash.as_deref() {
            return Err(Fault::Unlinked(sequence));
        }
        verified.entries.push(entry);
        verified.hash = Some(hash);
    }
    let ended = Fault::CutOff { entries: entries.len() as u64 };
    match (head, &verified.hash) {
        (None, None) => Ok(verified),
        (None, Some(_)) => Err(Fault::Headless),
        (Some(head), hash) => {
            let head = Head::read(head).ok_or(Fault::Headless)?;
            let is_last = head.sequence == entries.len() as u64 && Some(&head.hash) == hash.as_ref();
            if is_last { Ok(verified) } else { Err(ended) }
        }
    }
}

#[cfg(test)]
mod tests;
