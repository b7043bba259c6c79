//! The layout of a kept event, which one function writes and another reads.
//!
//! The item of an event holds its body as it was received, as text where it is text. A body too large for an item
//! lies beside it in parts, each on a partition of its own, because one takes a megabyte of writes a second.

use tokio::time::Instant;

use crate::dynamo::{self, AttributeValue, Item, Table, number};

/// The version of the layout.
pub const VERSION: u32 = 1;

/// The sort key of every event.
pub const SORT_KEY: &str = "event";

/// What the partition key of every event begins with.
pub const PREFIX: &str = "event#";

/// Why an event's body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] dynamo::Error),
    /// The item or a part of it is missing, or not what it should be.
    #[error("what is on record for the event cannot be read")]
    Unreadable,
}

/// The key of one part of the body of the item `pk`/`sk`.
#[must_use]
pub fn part_key(pk: &str, sk: &str, index: usize) -> (String, String) {
    (format!("{pk}#{index:04}"), format!("{sk}#{index:04}"))
}

/// The body of an event as it was received: from its item, or from its parts.
pub async fn read_body(table: &Table, item: &Item, until: Instant) -> Result<Vec<u8>, Error> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).ok_or(Error::Unreadable);
    if item.get("v") != Some(&number(VERSION)) {
        return Err(Error::Unreadable);
    }
    let Some(count) = item.get("body_parts") else { return bytes(item) };
    let count: usize = count.as_n().ok().and_then(|count| count.parse().ok()).ok_or(Error::Unreadable)?;
    let (pk, sk) = (text("pk")?, text("sk")?);
    let keys: Vec<_> = (0..count.min(100)).map(|index| part_key(pk, sk, index)).collect();
    let mut parts = table.get_all(keys, until).await?;
    if parts.len() != count {
        return Err(Error::Unreadable);
    }
    parts.sort_by_key(|part| part.get("sk").and_then(|sk| sk.as_s().ok()).cloned());
    let parts = parts.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(parts.concat())
}

fn bytes(item: &Item) -> Result<Vec<u8>, Error> {
    match item.get("body") {
        Some(AttributeValue::S(text)) => Ok(text.clone().into_bytes()),
        Some(AttributeValue::B(bytes)) => Ok(bytes.as_ref().to_vec()),
        _ => Err(Error::Unreadable),
    }
}
