//! Appending: an entry gets its place, its hash and its head in one transaction.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Entry, Error, HEAD, Head, Trail, VERSION, sort_key, text};
use crate::canonical::{canonical, digest};
use crate::dynamo::{Item, PutBuilder, Table, TransactWriteItem, Transacted, number, pause, string};
use crate::random;

/// How often a rival is waited for whose entry shows before its head.
const MAX_RIVALS: u32 = 8;

/// What came of appending.
#[derive(Debug)]
pub enum Appended {
    /// The entry is on the trail, which ends with it; and the other writes are applied.
    Applied(Head),
    /// Nothing is written, because of the other writes: for each of them the item that stood in its way, if its
    /// condition did not hold.
    Refused(Vec<Option<Item>>),
}

/// An entry that lacks nothing but its place.
pub(super) struct Tellable<'a> {
    trail: &'a Trail,
    members: Map<String, Value>,
}

pub(super) async fn append(
    table: &Table,
    tellable: &Tellable<'_>,
    known: Option<&Head>,
    others: Vec<TransactWriteItem>,
    until: Instant,
) -> Result<Appended, Error> {
    let trail = tellable.trail;
    let mut head = known.cloned();
    let mut rivals = 0;
    for attempt in 0.. {
        let (item, next) = tellable.at_its_place(head.as_ref());
        let mut writes = vec![
            table.putting(item, |put| put.condition_expression("attribute_not_exists(pk)")),
            table.putting(next.item(trail), |put| still_at(head.as_ref(), put)),
        ];
        writes.extend(others.iter().cloned());
        let mut standing = match table.transact(writes, until).await? {
            Transacted::Applied => return Ok(applied(trail, next)),
            Transacted::Refused(standing) => standing.into_iter(),
        };
        let (entry_there, head_there) = (standing.next().flatten(), standing.next().flatten());
        // Our own entry is there: a try of the SDK's was applied, and its response lost.
        if entry_there.as_ref().and_then(|there| text(there, "hash")) == Some(&next.hash) {
            return Ok(applied(trail, next));
        }
        let others: Vec<_> = standing.collect();
        if others.iter().any(Option::is_some) {
            return Ok(Appended::Refused(others));
        }
        let there = match head_there {
            Some(there) => Some(there),
            None => table.get(&trail.head_key(), HEAD, until).await?,
        };
        match there.as_ref().map(Head::read) {
            Some(Some(moved)) if head.as_ref() != Some(&moved) => {
                head = Some(moved);
                rivals = 0;
            }
            // A rival's transaction shows in part: its entry, and not yet its head.
            None | Some(Some(_)) if rivals < MAX_RIVALS => rivals += 1,
            None | Some(_) => return Err(Error::Unreadable(trail.name().to_owned())),
        }
        // The first surprise is that the trail exists; every further one is a rival, who comes again as well.
        if attempt > 0 || rivals > 0 {
            pause(attempt, until, "TransactWriteItems").await?;
        }
    }
    unreachable!("attempts are limited by time alone")
}

fn applied(trail: &Trail, head: Head) -> Appended {
    tracing::info!(
        message = "audit entry appended",
        audit.trail = trail.name(),
        audit.sequence = head.sequence,
        audit.hash = head.hash,
    );
    Appended::Applied(head)
}

impl<'a> Tellable<'a> {
    pub(super) fn new(trail: &'a Trail, entry: &Entry, at: Timestamp) -> Self {
        let mut members: Map<String, Value> = entry.facts.clone();
        // A name of its own, so that its author knows it again wherever it meets it.
        members.insert("id".to_owned(), json!(random::token()));
        members.insert("v".to_owned(), json!(VERSION));
        members.insert("trail".to_owned(), json!(trail.name()));
        members.insert("at".to_owned(), json!(at.to_string()));
        members.insert("action".to_owned(), json!(entry.action));
        Self { trail, members }
    }

    /// The entry's item and the head it makes, if the trail ends at `head`.
    pub(super) fn at_its_place(&self, head: Option<&Head>) -> (Item, Head) {
        let sequence = head.map_or(1, |head| head.sequence + 1);
        let mut members = self.members.clone();
        members.insert("sequence".to_owned(), json!(sequence));
        members.insert("previous".to_owned(), json!(head.map(|head| &head.hash)));
        let body = Value::Object(members).to_string();
        let body = canonical(&body).expect("what serde_json writes has one spelling");
        let hash = digest(body.as_bytes());
        let item = [
            ("pk", string(&self.trail.partition_key())),
            ("sk", string(&sort_key(sequence))),
            ("v", number(VERSION)),
            ("trail", string(self.trail.name())),
            ("entry", string(&body)),
            ("hash", string(&hash)),
        ];
        (item.map(|(name, value)| (name.to_owned(), value)).into(), Head { sequence, hash })
    }
}

fn still_at(head: Option<&Head>, put: PutBuilder) -> PutBuilder {
    let Some(head) = head else { return put.condition_expression("attribute_not_exists(pk)") };
    put.condition_expression("#sequence = :sequence AND #hash = :hash")
        .expression_attribute_names("#sequence", "sequence")
        .expression_attribute_names("#hash", "hash")
        .expression_attribute_values(":sequence", number(head.sequence))
        .expression_attribute_values(":hash", string(&head.hash))
}

impl Head {
    pub(super) fn item(&self, trail: &Trail) -> Item {
        [
            ("pk", string(&trail.head_key())),
            ("sk", string(HEAD)),
            ("v", number(VERSION)),
            ("trail", string(trail.name())),
            ("sequence", number(self.sequence)),
            ("hash", string(&self.hash)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub(super) fn read(item: &Item) -> Option<Self> {
        let is_ours = item.get("v") == Some(&number(VERSION));
        let sequence = item.get("sequence")?.as_n().ok()?.parse().ok()?;
        let hash = text(item, "hash")?.to_owned();
        is_ours.then_some(Self { sequence, hash })
    }
}
