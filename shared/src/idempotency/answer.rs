//! Answers that are kept: byte for byte, of any kind, empty ones too.

use bytes::Bytes;
use tokio::time::Instant;

use super::Error;
use super::record::Unreadable;
use crate::dynamo::{Item, PART_BYTES, Table, binary, number, string};

/// The longest text that fits a Lambda response (6 MB) with room for its envelope.
pub const MAX_TEXT_BYTES: usize = 5 * 1024 * 1024;

/// The longest body that fits one as base64.
pub const MAX_OTHER_BYTES: usize = 4 * 1024 * 1024;

/// Up to this length an answer lies in the claim itself, and a repeat costs one request.
pub(super) const INLINE_BYTES: usize = 4096;

/// What the upstream answered, as far as it is given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`, if it had one. No other header is kept: dates and cookies are not for repeating.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Whether a Lambda response can carry it.
    #[must_use]
    pub fn fits(&self) -> bool {
        let limit = if std::str::from_utf8(&self.body).is_ok() { MAX_TEXT_BYTES } else { MAX_OTHER_BYTES };
        self.body.len() <= limit
    }

    pub(super) fn is_large(&self) -> bool {
        self.body.len() > INLINE_BYTES
    }
}

/// How finished work is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// With the answer.
    Answered(Answer),
    /// It was done, and its answer was too large to keep or to give.
    TooLarge,
}

/// The key of one part of a large answer: a partition of its own, because one takes a megabyte of writes a second,
/// and the owner in it, so that parts of two runs never mix.
fn part_key(pk: &str, owner: &str, index: usize) -> (String, String) {
    (format!("{pk}#{index:04}"), format!("answer#{owner}"))
}

/// Writes a large answer's body beside its claim, before the claim says it is there.
pub(super) async fn write_parts(
    table: &Table,
    pk: &str,
    owner: &str,
    body: &[u8],
    expires_at: i64,
    until: Instant,
) -> Result<(), Error> {
    let part = |(index, chunk): (usize, &[u8])| {
        let (pk, sk) = part_key(pk, owner, index);
        Item::from([
            ("pk".to_owned(), string(&pk)),
            ("sk".to_owned(), string(&sk)),
            ("body".to_owned(), binary(chunk)),
            ("expires_at".to_owned(), number(expires_at)),
        ])
    };
    Ok(table.put_all(body.chunks(PART_BYTES).enumerate().map(part).collect(), until).await?)
}

/// Reads a large answer's body: whole, or not at all.
pub(super) async fn read_parts(
    table: &Table,
    pk: &str,
    owner: &str,
    length: usize,
    until: Instant,
) -> Result<Bytes, Error> {
    let keys = (0..length.div_ceil(PART_BYTES)).map(|index| part_key(pk, owner, index));
    let mut parts = table.get_all(keys.collect(), until).await?;
    parts.sort_by(|a, b| partition_key(a).cmp(&partition_key(b)));
    let body: Vec<u8> = parts
        .iter()
        .filter_map(|part| part.get("body")?.as_b().ok())
        .flat_map(|blob| blob.as_ref().iter().copied())
        .collect();
    if body.len() == length {
        Ok(Bytes::from(body))
    } else {
        Err(Unreadable::new("a part of the answer").into())
    }
}

fn partition_key(part: &Item) -> Option<&String> {
    part.get("pk").and_then(|value| value.as_s().ok())
}
