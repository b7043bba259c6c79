//! The event bus: one request for up to ten events, and what became of each.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use shared::telemetry::chain;
use shared::trace::Trace;
use tokio::time::{Instant, timeout_at};

/// How long a request may take, with all its tries.
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_secs(8);

/// How many entries a request may have.
const MAX_ENTRIES: usize = 10;

/// How large a request may be, as
/// [EventBridge counts](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html). An entry that is
/// larger goes alone: what the limit is today is for EventBridge to say.
const MAX_BYTES: usize = 256 * 1024;

/// How long the name of an event's type may be, in characters.
const MAX_TYPE: usize = 128;

#[derive(Debug)]
pub(crate) struct Bus {
    client: Client,
    name: String,
}

/// An event as the bus takes it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The event's id.
    pub(crate) id: String,
    /// A JSON object.
    pub(crate) detail: String,
    /// Its type.
    pub(crate) kind: String,
    /// When it happened, if it says so.
    pub(crate) time: Option<Timestamp>,
    /// The trace of the delivery that brought it.
    pub(crate) trace: Option<Trace>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Published,
    /// It did not work this time; why.
    Failed(String),
    /// It was alone, and the bus takes nothing so large; what it said.
    TooLarge(String),
}

/// A request that was not taken: what that means for each of its entries.
struct Refused {
    put: Put,
    /// Whether it was refused for what it says.
    is_invalid: bool,
}

impl Bus {
    /// A client for the bus; connects when first used.
    pub(crate) fn connect(aws: &aws_config::SdkConfig, name: String) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_millis(500));
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(3))
            .operation_timeout(LONGEST_REQUEST)
            .build();
        let config = aws_sdk_eventbridge::config::Builder::from(aws)
            .retry_config(retries)
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(config), name }
    }

    /// Publishes entries that fit one request, and says of each, in order, what became of it.
    pub(crate) async fn publish(&self, entries: &[Entry], until: Instant) -> Vec<Put> {
        match self.put(entries, until).await {
            Ok(puts) => puts,
            // One of them is not valid, and takes the others with it: alone, it shows which.
            Err(Refused { is_invalid: true, .. }) if entries.len() > 1 => {
                let mut puts = Vec::new();
                for entry in entries {
                    let put = self.put(std::slice::from_ref(entry), until).await;
                    puts.extend(put.unwrap_or_else(|refused| vec![refused.put]));
                }
                puts
            }
            Err(refused) => vec![refused.put; entries.len()],
        }
    }

    /// One request.
    async fn put(&self, entries: &[Entry], until: Instant) -> Result<Vec<Put>, Refused> {
        let request = entries.iter().map(|entry| self.entry(entry)).collect();
        let sending = self.client.put_events().set_entries(Some(request)).send();
        let refused = |put, is_invalid| Err(Refused { put, is_invalid });
        let output = match timeout_at(until, sending).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if entries.len() == 1 && is_too_large(&error) => {
                return refused(Put::TooLarge(why(&error)), true);
            }
            Ok(Err(error)) => return refused(Put::Failed(why(&error)), is_invalid(&error)),
            Err(_) => return refused(Put::Failed("the bus did not answer in time".to_owned()), false),
        };
        let mut puts: Vec<Put> = output
            .entries()
            .iter()
            .map(|entry| match (entry.error_code(), entry.error_message()) {
                (None, _) => Put::Published,
                (Some(code), message) => {
                    Put::Failed(format!("the bus refused it: {code} {}", message.unwrap_or_default()))
                }
            })
            .collect();
        // Of what the answer does not speak, nothing is known.
        puts.resize(entries.len(), Put::Failed("the bus did not say what became of it".to_owned()));
        Ok(puts)
    }

    fn entry(&self, entry: &Entry) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source("patchbay")
            .detail_type(detail_type(&entry.kind))
            .detail(&entry.detail)
            .set_time(entry.time.map(|time| DateTime::from_millis(time.as_millisecond())))
            .set_trace_header(entry.trace.map(|trace| trace.x_ray()))
            .build()
    }
}

impl Entry {
    /// Its size as `EventBridge` counts it.
    fn bytes(&self) -> usize {
        14 + "patchbay".len() + detail_type(&self.kind).len() + self.detail.len()
    }
}

/// Splits what is to be published into requests: how many entries each has, in order.
pub(crate) fn requests(entries: &[Entry]) -> Vec<usize> {
    let mut requests: Vec<usize> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        match requests.last_mut() {
            Some(last) if *last < MAX_ENTRIES && bytes + entry.bytes() <= MAX_BYTES => {
                *last += 1;
                bytes += entry.bytes();
            }
            _ => {
                requests.push(1);
                bytes = entry.bytes();
            }
        }
    }
    requests
}

fn detail_type(kind: &str) -> &str {
    let end = kind.char_indices().nth(MAX_TYPE).map_or(kind.len(), |(end, _)| end);
    if end == 0 { "event" } else { &kind[..end] }
}

/// Whether the request was refused for what it says, which no repetition changes.
fn is_invalid(error: &SdkError<PutEventsError>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let is_refused = |code: &str| code.contains("Validation") || code.contains("TooLarge");
    status == Some(413) || error.code().is_some_and(is_refused)
}

/// Whether it was refused for its size.
fn is_too_large(error: &SdkError<PutEventsError>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let says_so = error.message().is_some_and(|message| message.to_ascii_lowercase().contains("size"));
    status == Some(413) || (is_invalid(error) && says_so)
}

fn why(error: &SdkError<PutEventsError>) -> String {
    match (error.code(), error.message()) {
        (Some(code), message) => {
            format!("the bus refused the request: {code} {}", message.unwrap_or_default())
        }
        (None, _) => format!("the bus could not be used: {}", chain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry { id: "e".to_owned(), detail: "x".repeat(bytes), kind: "t".to_owned(), time: None, trace: None }
    }

    #[test]
    fn a_request_has_at_most_ten_entries_and_256_kb() {
        assert_eq!(requests(&vec![entry(10); 23]), [10, 10, 3]);
        assert_eq!(requests(&vec![entry(100_000); 5]), [2, 2, 1]);
        assert_eq!(requests(&[entry(10), entry(900_000), entry(10)]), [1, 1, 1]);
        assert!(requests(&[]).is_empty());
    }

    #[test]
    fn a_type_is_cut_at_128_characters() {
        assert_eq!(detail_type("t"), "t");
        assert_eq!(detail_type(""), "event");
        assert_eq!(detail_type(&"ä".repeat(200)), "ä".repeat(128));
    }
}
