//! The outbox: what others must hear is written in the transaction with what it announces, and sent afterwards.
//!
//! A notice that were sent before its cause is on record could announce what never happened; one that were sent
//! after it could be lost with the instance that meant to send it. So a notice is an item, put together with its
//! cause, and on the list of what is [due] until somebody (the `relay`) has delivered it or given it up.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::due;
use crate::dynamo::{Item, Table, TransactWriteItem, number, string};
use crate::random;
use crate::trace::{self, TRACEPARENT, Trace};

/// The version of the layout of a notice.
pub const VERSION: u32 = 1;

/// The sort key of every notice.
pub const SORT_KEY: &str = "notice";

/// Something a subscriber shall hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its name, the same however often it is sent: the receiver's `webhook-id`.
    pub id: String,
    /// The subscriber: a URL.
    pub subscriber: String,
    /// Headers of its own, by name.
    pub headers: Vec<(String, String)>,
    /// The body: JSON, as it is sent.
    pub body: String,
}

impl Notice {
    /// A new notice to `subscriber`. The trace that it is made in becomes one of its headers.
    #[must_use]
    pub fn new(subscriber: &str, headers: &[(&str, &str)], body: &Value) -> Self {
        let own = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let trace = trace::current().map(|trace| (TRACEPARENT.to_owned(), trace.to_string()));
        Self {
            id: format!("msg_{}", random::token()),
            subscriber: subscriber.to_owned(),
            headers: own.chain(trace).collect(),
            body: body.to_string(),
        }
    }

    /// The trace of what it tells of.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        let header = self.headers.iter().find(|(name, _)| name == TRACEPARENT);
        header.and_then(|(_, value)| Trace::from_w3c(value))
    }

    /// The write that puts it into the outbox, due at once.
    #[must_use]
    pub fn putting(&self, table: &Table, now: Timestamp) -> TransactWriteItem {
        table.putting(self.item(now), |put| put.condition_expression("attribute_not_exists(pk)"))
    }

    /// The partition key of its item.
    #[must_use]
    pub fn partition_key(&self) -> String {
        format!("notice#{}", self.id)
    }

    fn item(&self, now: Timestamp) -> Item {
        let pk = self.partition_key();
        let headers = serde_json::to_string(&self.headers).expect("pairs of strings always serialise");
        let attributes = [
            ("pk", string(&pk)),
            ("sk", string(SORT_KEY)),
            ("v", number(VERSION)),
            ("state", string("PENDING")),
            ("attempts", number(0)),
            ("notice_id", string(&self.id)),
            ("subscriber", string(&self.subscriber)),
            ("headers", string(&headers)),
            ("body", string(&self.body)),
            ("created_at", number(now.as_millisecond())),
        ];
        let due = due::attributes(&pk, now.as_millisecond());
        attributes.into_iter().chain(due).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The notice that an item is. `None` if it cannot be read as one.
    #[must_use]
    pub fn read(item: &Item) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        (item.get("v") == Some(&number(VERSION))).then_some(())?;
        Some(Self {
            id: text("notice_id")?,
            subscriber: text("subscriber")?,
            headers: serde_json::from_str(&text("headers")?).ok()?,
            body: text("body")?,
        })
    }
}
