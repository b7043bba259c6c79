//! The one table, and how its writes fail.
//!
//! Every write that decides something is conditional and asks for the item that stood in its way, so losing
//! costs no read. A write ends in one of three ways: it was applied, its condition did not hold, or the store
//! could not be used. After the last, it is not known whether it was applied: the SDK may have lost the
//! response to a write that was, and a repeat of it then fails on its own earlier success. Whoever writes
//! conditionally must recognise itself in the item that stood in its way.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsError, TransactWriteItemsOutput};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
pub use aws_sdk_dynamodb::types::AttributeValue;
pub use aws_sdk_dynamodb::types::TransactWriteItem;
pub use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    CancellationReason, KeysAndAttributes, Put, PutRequest, ReturnValuesOnConditionCheckFailure, Update,
    WriteRequest,
};
use tokio::time::Instant;

use crate::random;
use crate::telemetry::{Metric, count};

/// An item: attribute values by name.
pub type Item = HashMap<String, AttributeValue>;

/// The most bytes of a body that one item holds. DynamoDB allows an item 400 KB; the rest is for the other
/// attributes.
pub const PART_BYTES: usize = 350_000;

/// How DynamoDB names its throttling.
const THROTTLED: [&str; 3] =
    ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"];

/// The table named by `TABLE_NAME`.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: String,
}

/// A page of an index.
#[derive(Debug)]
pub struct Page {
    /// The keys on it.
    pub keys: Vec<Item>,
    /// Where the next one starts, if there is one.
    pub next: Option<Item>,
}

/// How a conditional write ended.
#[derive(Debug)]
pub enum Written {
    /// It was applied; the attributes it returned.
    Applied(Item),
    /// Its condition did not hold; the item that stood in its way.
    Refused(Item),
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Transacted {
    /// All of it was applied.
    Applied,
    /// Nothing was: for each write, in order, the item that stood in its way, if its condition did not hold.
    Refused(Vec<Option<Item>>),
}

/// The store could not be used. Whether a write was applied is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DynamoDB was out of reach, throttled or refused; the SDK had tried several times where that helps.
    #[error("DynamoDB could not be used for {operation}")]
    Unavailable {
        /// The operation's name in DynamoDB's API.
        operation: &'static str,
        /// What the SDK said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The time for it ran out.
    #[error("DynamoDB did not answer {operation} in time")]
    TimedOut {
        /// The operation's name in DynamoDB's API.
        operation: &'static str,
    },
}

impl Table {
    /// A client for the table; connects when first used.
    ///
    /// DynamoDB answers within tens of milliseconds or is in trouble: an attempt gets 2 s, and there are four
    /// of them, short apart.
    #[must_use]
    pub fn connect(aws: &aws_config::SdkConfig, name: String) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(4)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_millis(500));
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(8))
            .build();
        let config = aws_sdk_dynamodb::config::Builder::from(aws)
            .retry_config(retries)
            // The SDK's quota of repeats is the process's own; where several functions share one, they share no trouble.
            .retry_partition(RetryPartition::new(random::token()))
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(config), name }
    }

    /// Sends a conditional `UpdateItem` on the item `pk`/`sk`.
    pub async fn update(
        &self,
        pk: &str,
        sk: &str,
        until: Instant,
        describe: impl Fn(UpdateItemFluentBuilder) -> UpdateItemFluentBuilder,
    ) -> Result<Written, Error> {
        let request = describe(self.client.update_item().table_name(&self.name))
            .key("pk", string(pk))
            .key("sk", string(sk))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match send("UpdateItem", until, || request.clone().send()).await? {
            Ok(output) => Ok(Written::Applied(output.attributes.unwrap_or_default())),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                UpdateItemError::ConditionalCheckFailedException(failed) => {
                    Ok(Written::Refused(failed.item.unwrap_or_default()))
                }
                other => Err(unavailable("UpdateItem", other)),
            },
            Err(other) => Err(unavailable("UpdateItem", other)),
        }
    }

    /// Sends a `PutItem`, conditional if `describe` says so.
    pub async fn put(
        &self,
        item: Item,
        until: Instant,
        describe: impl Fn(PutItemFluentBuilder) -> PutItemFluentBuilder,
    ) -> Result<Written, Error> {
        let request = describe(self.client.put_item().table_name(&self.name).set_item(Some(item)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match send("PutItem", until, || request.clone().send()).await? {
            Ok(_) => Ok(Written::Applied(Item::new())),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                PutItemError::ConditionalCheckFailedException(failed) => {
                    Ok(Written::Refused(failed.item.unwrap_or_default()))
                }
                other => Err(unavailable("PutItem", other)),
            },
            Err(other) => Err(unavailable("PutItem", other)),
        }
    }

    /// Puts several items in one transaction, under a condition on the first. They may be megabytes.
    pub async fn put_together<const N: usize>(
        &self,
        first: Item,
        condition: &str,
        values: [(&str, AttributeValue); N],
        others: Vec<Item>,
        until: Instant,
    ) -> Result<Written, Error> {
        let mut first = self.putting(first, |put| put.condition_expression(condition));
        if let Some(put) = first.put.as_mut() {
            put.expression_attribute_values =
                Some(values.map(|(name, value)| (name.to_owned(), value)).into());
        }
        let others = others.into_iter().map(|item| self.putting(item, |put| put));
        let items = std::iter::once(first).chain(others).collect();
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        let megabytes = || request.clone().customize().config_override(for_megabytes()).send();
        let sent = send_again("TransactWriteItems", until, is_crowded, megabytes).await?;
        match transacted(sent)? {
            Transacted::Applied => Ok(Written::Applied(Item::new())),
            Transacted::Refused(standing) => {
                Ok(Written::Refused(standing.into_iter().flatten().next().unwrap_or_default()))
            }
        }
    }

    /// Writes all of them or none. At most one write an item.
    pub async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
        until: Instant,
    ) -> Result<Transacted, Error> {
        let request = self.client.transact_write_items().set_transact_items(Some(writes));
        transacted(send_again("TransactWriteItems", until, is_crowded, || request.clone().send()).await?)
    }

    /// A put that is part of a transaction, conditional if `describe` says so.
    pub fn putting(&self, item: Item, describe: impl FnOnce(PutBuilder) -> PutBuilder) -> TransactWriteItem {
        let put = describe(Put::builder().table_name(&self.name).set_item(Some(item)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("a put with table and item is complete");
        TransactWriteItem::builder().put(put).build()
    }

    /// An update that is part of a transaction. `describe` gives it its expression.
    pub fn updating(
        &self,
        pk: &str,
        sk: &str,
        describe: impl FnOnce(UpdateBuilder) -> UpdateBuilder,
    ) -> TransactWriteItem {
        let update = describe(Update::builder().table_name(&self.name))
            .key("pk", string(pk))
            .key("sk", string(sk))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("an update with table, key and expression is complete");
        TransactWriteItem::builder().update(update).build()
    }

    /// Reads the items of a partition in the order of their sort keys, as they are now, page by page.
    pub async fn partition(&self, pk: &str, until: Instant) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", string(pk))
                .consistent_read(true)
                .set_exclusive_start_key(start);
            let output = match send("Query", until, || request.clone().send()).await? {
                Ok(output) => output,
                Err(error) => return Err(unavailable("Query", error)),
            };
            items.extend(output.items.unwrap_or_default());
            match output.last_evaluated_key {
                Some(last) if !last.is_empty() => start = Some(last),
                _ => return Ok(items),
            }
        }
    }

    /// The keys of up to `limit` items on one shard of the index of what is [due](crate::due), the longest due
    /// first, from where the page before this one ended. An index lags behind its table by a moment.
    pub async fn due(
        &self,
        shard: &str,
        now_ms: i64,
        limit: i32,
        start: Option<Item>,
        until: Instant,
    ) -> Result<Page, Error> {
        let request = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(crate::due::INDEX)
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", string(shard))
            .expression_attribute_values(":now", number(now_ms))
            .set_exclusive_start_key(start)
            .limit(limit);
        match send("Query", until, || request.clone().send()).await? {
            Ok(output) => Ok(Page {
                keys: output.items.unwrap_or_default(),
                next: output.last_evaluated_key.filter(|last| !last.is_empty()),
            }),
            Err(error) => Err(unavailable("Query", error)),
        }
    }

    /// Reads one item as it is now.
    pub async fn get(&self, pk: &str, sk: &str, until: Instant) -> Result<Option<Item>, Error> {
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", string(pk))
            .key("sk", string(sk))
            .consistent_read(true);
        match send("GetItem", until, || request.clone().send()).await? {
            Ok(output) => Ok(output.item),
            Err(error) => Err(unavailable("GetItem", error)),
        }
    }

    /// Writes up to 25 items (16 MB) without a condition, in one request unless DynamoDB asks for more.
    pub async fn put_all(&self, items: Vec<Item>, until: Instant) -> Result<(), Error> {
        let put = |item| {
            PutRequest::builder().set_item(Some(item)).build().expect("a put with an item is complete")
        };
        let mut requests: Vec<WriteRequest> =
            items.into_iter().map(|item| WriteRequest::builder().put_request(put(item)).build()).collect();
        for attempt in 0.. {
            let request =
                self.client.batch_write_item().request_items(&self.name, std::mem::take(&mut requests));
            let megabytes = || request.clone().customize().config_override(for_megabytes()).send();
            let output = match send("BatchWriteItem", until, megabytes).await? {
                Ok(output) => output,
                Err(error) => return Err(unavailable("BatchWriteItem", error)),
            };
            requests = output.unprocessed_items.unwrap_or_default().remove(&self.name).unwrap_or_default();
            if requests.is_empty() {
                break;
            }
            pause(attempt, until, "BatchWriteItem").await?;
        }
        Ok(())
    }

    /// Reads up to 100 items as they are now, in any order, in one request unless DynamoDB asks for more.
    pub async fn get_all(&self, keys: Vec<(String, String)>, until: Instant) -> Result<Vec<Item>, Error> {
        let key =
            |(pk, sk): (String, String)| Item::from([("pk".into(), string(&pk)), ("sk".into(), string(&sk))]);
        let mut wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.into_iter().map(key).collect()))
            .consistent_read(true)
            .build()
            .expect("a read with keys is complete");
        let mut found = Vec::new();
        for attempt in 0.. {
            let request = self.client.batch_get_item().request_items(&self.name, wanted.clone());
            let megabytes = || request.clone().customize().config_override(for_megabytes()).send();
            let output = match send("BatchGetItem", until, megabytes).await? {
                Ok(output) => output,
                Err(error) => return Err(unavailable("BatchGetItem", error)),
            };
            found.extend(output.responses.unwrap_or_default().remove(&self.name).unwrap_or_default());
            let Some(rest) = output.unprocessed_keys.unwrap_or_default().remove(&self.name) else { break };
            wanted = rest;
            pause(attempt, until, "BatchGetItem").await?;
        }
        Ok(found)
    }
}

/// A transaction is refused by its conditions, and cancelled for other reasons besides.
fn transacted(
    sent: Result<TransactWriteItemsOutput, SdkError<TransactWriteItemsError>>,
) -> Result<Transacted, Error> {
    let unavailable = |error| unavailable("TransactWriteItems", error);
    let Err(error) = sent else { return Ok(Transacted::Applied) };
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return Err(unavailable(error));
    };
    let is_refused = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
    let reasons = cancelled.cancellation_reasons();
    if !reasons.iter().any(is_refused) {
        return Err(unavailable(error));
    }
    let standing = |reason| is_refused(reason).then(|| reason.item().cloned().unwrap_or_default());
    Ok(Transacted::Refused(reasons.iter().map(standing).collect()))
}

/// Moving megabytes takes longer than moving a record.
fn for_megabytes() -> aws_sdk_dynamodb::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(20))
        .build();
    aws_sdk_dynamodb::Config::builder().timeout_config(timeouts)
}

/// A string attribute.
#[must_use]
pub fn string(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A number attribute.
#[must_use]
pub fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// A binary attribute.
#[must_use]
pub fn binary(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// Sends within `until`, and again when the item was part of a transaction under way.
async fn send<T, E, F>(
    operation: &'static str,
    until: Instant,
    request: impl Fn() -> F,
) -> Result<Result<T, SdkError<E>>, Error>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    send_again(operation, until, is_conflict, request).await
}

/// Sends within `until`, for as long as the error is one after which it may be sent again.
async fn send_again<T, E, F>(
    operation: &'static str,
    until: Instant,
    is_transient: fn(&SdkError<E>) -> bool,
    request: impl Fn() -> F,
) -> Result<Result<T, SdkError<E>>, Error>
where
    F: Future<Output = Result<T, SdkError<E>>>,
{
    let mut attempt = 0;
    loop {
        let outcome =
            tokio::time::timeout_at(until, request()).await.map_err(|_| Error::TimedOut { operation })?;
        if !outcome.as_ref().is_err_and(is_transient) {
            return Ok(outcome);
        }
        pause(attempt, until, operation).await?;
        attempt += 1;
    }
}

/// Whether a write met a transaction on the same item: nothing was applied, and it may be sent again.
fn is_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    matches!(error.code(), Some("TransactionConflictException" | "TransactionInProgressException"))
}

/// Whether a transaction met another one, or was throttled, and nothing else stood in its way: nothing was applied,
/// and it may be sent again. The SDK repeats neither.
fn is_crowded(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return is_conflict(error);
    };
    let codes: Vec<&str> =
        cancelled.cancellation_reasons().iter().filter_map(CancellationReason::code).collect();
    let crowded = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    !codes.contains(&"ConditionalCheckFailed") && codes.iter().any(|code| crowded.contains(code))
}

/// Waits 0–20 ms, doubling with each attempt up to half a second; fails when that would be too late.
pub(crate) async fn pause(attempt: u32, until: Instant, operation: &'static str) -> Result<(), Error> {
    let ceiling = Duration::from_millis(20 << attempt.min(5)).min(Duration::from_millis(500));
    let wake = Instant::now() + ceiling.mul_f64(random::fraction());
    if wake >= until {
        return Err(Error::TimedOut { operation });
    }
    tokio::time::sleep_until(wake).await;
    Ok(())
}

fn unavailable(
    operation: &'static str,
    source: impl ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
) -> Error {
    // Counted apart: more capacity ends this, and waiting ends an outage.
    if source.code().is_some_and(|code| THROTTLED.contains(&code)) {
        count(Metric::StoreThrottled);
    }
    Error::Unavailable { operation, source: Box::new(source) }
}
