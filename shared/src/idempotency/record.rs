//! The record of a key, as it lies in the table: read strictly, because guessing here repeats an effect.

use std::str::FromStr;

use bytes::Bytes;

use super::answer::{Answer, MAX_TEXT_BYTES};
use crate::dynamo::Item;

/// The sort key of every claim; answers lie beside it.
pub const SORT_KEY: &str = "claim";

/// The version of the record's layout. A record of another version is not ours to judge.
pub(super) const VERSION: u32 = 1;

/// The partition key of a key's record.
pub(super) fn partition_key(key_hash: &str) -> String {
    format!("claim#{key_hash}")
}

/// A key's record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) state: State,
    pub(super) owner: String,
    pub(super) epoch: u64,
    pub(super) fingerprint: String,
    /// Unix milliseconds.
    pub(super) lease_until: i64,
    /// Unix seconds.
    pub(super) expires_at: i64,
    /// What was seen before the act, where there was a look.
    pub(super) looked: Option<String>,
    /// Who recognises a repeat, where that was why it would do no harm.
    pub(super) recognised_by: Option<String>,
}

/// Where the work stands.
#[derive(Debug)]
pub(super) enum State {
    Claimed,
    Acting,
    Free,
    Unknown,
    Done(Kept),
}

/// How a finished answer is kept.
#[derive(Debug)]
pub(super) enum Kept {
    Inline(Answer),
    /// The body lies in sibling items, `length` bytes in all.
    InParts {
        status: u16,
        content_type: Option<String>,
        length: usize,
    },
    TooLarge,
}

/// A record is not one of ours, or of a later version.
#[derive(Debug, thiserror::Error)]
#[error("the record cannot be read: {what} is missing or not what it should be")]
pub struct Unreadable {
    what: &'static str,
}

impl Unreadable {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what }
    }
}

impl Record {
    pub(super) fn read(item: &Item) -> Result<Self, Unreadable> {
        if number::<u32>(item, "v")? != VERSION {
            return Err(Unreadable::new("v"));
        }
        let state = match text(item, "state")? {
            "CLAIMED" => State::Claimed,
            "ACTING" => State::Acting,
            "FREE" => State::Free,
            "UNKNOWN" => State::Unknown,
            "DONE" => State::Done(kept(item)?),
            _ => return Err(Unreadable::new("state")),
        };
        let optional = |name| item.get(name).map(|_| text(item, name).map(str::to_owned)).transpose();
        Ok(Self {
            state,
            owner: text(item, "owner")?.to_owned(),
            epoch: number(item, "epoch")?,
            fingerprint: text(item, "fingerprint")?.to_owned(),
            lease_until: number(item, "lease_until")?,
            expires_at: number(item, "expires_at")?,
            looked: optional("looked")?,
            recognised_by: optional("recognised_by")?,
        })
    }
}

fn kept(item: &Item) -> Result<Kept, Unreadable> {
    let content_type =
        item.get("answer_type").map(|_| text(item, "answer_type").map(str::to_owned)).transpose()?;
    match text(item, "answer")? {
        "inline" => {
            let body = item.get("answer_body").and_then(|value| value.as_b().ok());
            let body = body.ok_or_else(|| Unreadable::new("answer_body"))?;
            let body = Bytes::copy_from_slice(body.as_ref());
            Ok(Kept::Inline(Answer { status: status(item)?, content_type, body }))
        }
        "parts" => {
            let length = number(item, "answer_bytes")?;
            if length > MAX_TEXT_BYTES {
                return Err(Unreadable::new("answer_bytes"));
            }
            Ok(Kept::InParts { status: status(item)?, content_type, length })
        }
        "too-large" => Ok(Kept::TooLarge),
        _ => Err(Unreadable::new("answer")),
    }
}

fn status(item: &Item) -> Result<u16, Unreadable> {
    let status = number(item, "answer_status")?;
    (200..=499).contains(&status).then_some(status).ok_or_else(|| Unreadable::new("answer_status"))
}

pub(super) fn text<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, Unreadable> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
        .ok_or_else(|| Unreadable::new(name))
}

fn number<T: FromStr>(item: &Item, name: &'static str) -> Result<T, Unreadable> {
    let numeral = item.get(name).and_then(|value| value.as_n().ok());
    numeral.and_then(|numeral| numeral.parse().ok()).ok_or_else(|| Unreadable::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::{AttributeValue, binary, number, string};

    fn done() -> Item {
        [
            ("v", number(1)),
            ("state", string("DONE")),
            ("owner", string("o")),
            ("epoch", number(3)),
            ("fingerprint", string("f")),
            ("lease_until", number(1)),
            ("expires_at", number(2)),
            ("answer", string("inline")),
            ("answer_status", number(204)),
            ("answer_body", binary(b"")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record::read(&done()).unwrap();
        let empty = Answer { status: 204, content_type: None, body: Bytes::new() };
        assert!(matches!(record.state, State::Done(Kept::Inline(answer)) if answer == empty));
        assert_eq!((record.epoch, record.lease_until, record.expires_at), (3, 1, 2));
    }

    #[test]
    fn whatever_is_missing_or_of_another_kind_makes_a_record_unreadable() {
        for name in done().keys() {
            let mut item = done();
            item.remove(name);
            assert!(Record::read(&item).is_err(), "without {name}");
            item.insert(name.clone(), AttributeValue::Bool(true));
            assert!(Record::read(&item).is_err(), "with an odd {name}");
        }
        for (name, odd) in [
            ("v", number(2)),
            ("state", string("PAUSED")),
            ("epoch", number(-1)),
            ("answer", string("elsewhere")),
            ("answer_status", number(7)),
        ] {
            let mut item = done();
            item.insert(name.to_owned(), odd);
            assert!(Record::read(&item).is_err(), "with an odd {name}");
        }
    }
}
