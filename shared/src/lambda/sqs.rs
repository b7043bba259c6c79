//! SQS batches: every message on its own, and a partial-batch response that names only those that failed.
//!
//! Messages of one group (a FIFO queue's `MessageGroupId`) run one after the other, and once one of them
//! failed the rest of its group waits for the redelivery too, in its order. All others run side by side.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::runtime::Failure;
use crate::problem::Kind;
use crate::trace::{self, TRACEPARENT, Trace};

/// How many groups run side by side.
const CONCURRENCY: usize = 10;

/// The messages of one delivery, by group.
#[derive(Debug)]
pub struct Batch {
    groups: Vec<Vec<Message>>,
}

/// One message: its body is a direct invocation's.
#[derive(Debug)]
pub struct Message {
    /// SQS's name for the message; what a partial-batch response names.
    pub id: String,
    /// The body.
    pub body: String,
    /// The trace that its sender names.
    trace: Option<Trace>,
}

/// How one message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It may be deleted.
    Done,
    /// It must come again, or go to the dead-letter queue.
    Failed,
}

impl Batch {
    pub(super) fn read(records: &Value) -> Option<Self> {
        let records = Vec::<Record>::deserialize(records).ok()?;
        let mut batch = Self { groups: Vec::new() };
        let mut names: Vec<Option<String>> = Vec::new();
        for record in records {
            let trace = record.trace();
            let id = record.message_id.unwrap_or_default();
            let message = Message { id, body: record.body.unwrap_or_default(), trace };
            let group = record.attributes.and_then(|attributes| attributes.group);
            let place = names.iter().position(|name| name.is_some() && *name == group);
            if let Some(place) = place {
                batch.groups[place].push(message);
            } else {
                names.push(group);
                batch.groups.push(vec![message]);
            }
        }
        Some(batch)
    }

    /// Lets `handle` settle every message and answers with those that failed.
    ///
    /// A failed message without an id cannot be named, and an empty id would mean something else to Lambda:
    /// then the invocation fails, and the whole batch comes again.
    pub async fn settle<F: Future<Output = Settled>>(
        self,
        handle: impl Fn(Message) -> F,
    ) -> Result<Vec<u8>, Failure> {
        let handle = &handle;
        let failed: Vec<String> = stream::iter(self.groups)
            .map(|group| async move { settle_group(group, handle).await })
            .buffer_unordered(CONCURRENCY)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .flatten()
            .collect();
        if failed.iter().any(String::is_empty) {
            return Err(Failure::new(
                Kind::InternalError,
                "A message that failed has no messageId to name it by.",
            ));
        }
        let failures: Vec<_> = failed.iter().map(|id| json!({"itemIdentifier": id})).collect();
        Ok(json!({"batchItemFailures": failures}).to_string().into_bytes())
    }
}

/// The ids of those that failed, and of those behind them.
async fn settle_group<F: Future<Output = Settled>>(
    group: Vec<Message>,
    handle: &impl Fn(Message) -> F,
) -> Vec<String> {
    let mut messages = group.into_iter();
    while let Some(message) = messages.next() {
        let id = message.id.clone();
        let trace = message.trace.or_else(trace::current);
        let work = trace::within(trace, async { handle(message).await });
        // A panic over one message must not take the others with it.
        let settled = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(message = "a message was left in the middle by a panic", sqs.message_id = id);
            Settled::Failed
        });
        if settled == Settled::Failed {
            return std::iter::once(id).chain(messages.map(|message| message.id)).collect();
        }
    }
    Vec::new()
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventSource")]
    _source: Sqs,
    #[serde(rename = "messageId")]
    message_id: Option<String>,
    body: Option<String>,
    attributes: Option<Attributes>,
    /// The sender's own attributes, in which OpenTelemetry carries its headers.
    #[serde(default, rename = "messageAttributes")]
    named: Value,
}

impl Record {
    /// The trace that the sender names, itself or by way of AWS.
    fn trace(&self) -> Option<Trace> {
        let w3c = self.named[TRACEPARENT]["stringValue"].as_str().and_then(Trace::from_w3c);
        w3c.or_else(|| Trace::from_x_ray(self.attributes.as_ref()?.trace.as_deref()?))
    }
}

#[derive(Deserialize)]
enum Sqs {
    #[serde(rename = "aws:sqs")]
    Sqs,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(rename = "MessageGroupId")]
    group: Option<String>,
    #[serde(rename = "AWSTraceHeader")]
    trace: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: &Value) -> Batch {
        Batch::read(records).unwrap()
    }

    fn fifo(id: &str, group: &str) -> Value {
        json!({"eventSource": "aws:sqs", "messageId": id, "body": id, "attributes": {"MessageGroupId": group}})
    }

    async fn failures(batch: Batch, failing: &[&str]) -> Value {
        let answer = batch
            .settle(
                async |message: Message| {
                    if failing.contains(&&*message.body) { Settled::Failed } else { Settled::Done }
                },
            )
            .await
            .unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    #[tokio::test]
    async fn behind_a_failed_message_its_group_waits_and_no_other() {
        let records =
            json!([fifo("a1", "a"), fifo("b1", "b"), fifo("a2", "a"), fifo("b2", "b"), fifo("a3", "a")]);
        assert_eq!(
            failures(batch(&records), &["a2"]).await,
            json!({"batchItemFailures": [{"itemIdentifier": "a2"}, {"itemIdentifier": "a3"}]})
        );
    }

    #[tokio::test]
    async fn a_panic_over_one_message_leaves_the_others_alone() {
        let records = json!([fifo("a1", "a"), fifo("b1", "b")]);
        let answer = batch(&records).settle(async |message: Message| {
            assert_eq!(message.body, "b1", "this one is meant to panic");
            Settled::Done
        });
        let answer: Value = serde_json::from_slice(&answer.await.unwrap()).unwrap();
        assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "a1"}]}));
    }

    #[tokio::test]
    async fn a_failed_message_without_an_id_fails_the_batch() {
        let records = json!([{"eventSource": "aws:sqs", "body": "x"}]);
        let failure = batch(&records).settle(async |_| Settled::Failed).await;
        assert!(failure.is_err());
    }

    #[test]
    fn records_of_another_source_are_no_batch() {
        assert!(Batch::read(&json!([{"eventSource": "aws:dynamodb", "messageId": "1"}])).is_none());
    }
}
