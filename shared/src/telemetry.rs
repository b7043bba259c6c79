//! Logs and metrics: JSON lines on standard output, where Lambda collects them.
//!
//! A log line carries its own fields and those of the spans around it, side by side, so that
//! `filter idempotency.key_hash = "…"` finds every line of a request. A metric is a line in CloudWatch's
//! [embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html),
//! with the function as its only dimension. Nobody logs a secret, a token, a body or a phone number.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Clock;
use crate::config::{Reader, Variables};

/// The CloudWatch namespace of every metric.
const NAMESPACE: &str = "Patchbay";

/// The tracing target that marks a metric.
const METRICS: &str = "patchbay::metrics";

/// What our own crates' targets begin with.
const OURS: [&str; 7] =
    ["patchbay", "shared", "webhook_intake", "data_actions", "transfers", "relay", "retention"];

/// Sends logs of at least `level`, and every metric, to standard output.
///
/// Call it once, at start. Without it nothing is printed: that is how tests run, and the local gateway unless asked.
pub fn init(function: &'static str, level: LevelFilter, clock: Clock) {
    // What a panic says may hold anything; where it was is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(message = "a panic: this is a bug", place);
    }));
    let lines = Lines { function, level, clock };
    // A second call finds the first one's subscriber in place, which is the one wanted.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// A level as `LOG_LEVEL` names it.
pub fn level(name: &str) -> Result<LevelFilter, String> {
    match name.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(format!("must be one of off, error, warn, info, debug, trace, not {name:?}")),
    }
}

/// `LOG_LEVEL`, as far as it can be understood before settings are checked.
#[must_use]
pub fn level_of(variables: &Variables) -> LevelFilter {
    variables.text("LOG_LEVEL").and_then(|name| level(name).ok()).unwrap_or(LevelFilter::INFO)
}

/// Checks the setting that every function has.
pub fn check_settings(reader: &mut Reader<'_>) {
    reader.optional("LOG_LEVEL", level);
}

/// A duration as logs give it: in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is counted. One word per thing, the same as in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// An event was stored.
    EventsNew,
    /// An event was seen before.
    EventsDuplicate,
    /// A body nobody understood was put aside.
    EventsQuarantined,
    /// A repeat's body differed from the one that is kept.
    EventBodiesDiffering,
    /// A delivery was refused for its signature.
    DeliveriesUnauthenticated,
    /// A run had its effect.
    RunsPerformed,
    /// A finished answer was given again.
    RunsReplayed,
    /// A repeat met a run still under way.
    RunsInProgress,
    /// A key came back with another request.
    KeysReused,
    /// A holder came back late and found its claim taken.
    RunsFenced,
    /// A call may or may not have happened.
    OutcomeUnknown,
    /// A key came back whose call may or may not have happened.
    OutcomeStillUnknown,
    /// A record could not be read.
    RecordsUnreadable,
    /// A run ended with its key free again: nothing happened, or what may have happened may be repeated.
    RunsNotPerformed,
    /// What was asked for cannot be done, and its key is free.
    RunsRefused,
    /// A run's end could not be recorded; its key stays taken.
    OutcomesNotStored,
    /// Genesys Cloud answered 429.
    UpstreamRateLimited,
    /// The store refused, throttled or was out of reach.
    StoreUnavailable,
    /// The store was asked for more than it gives, and went on refusing until we gave up.
    StoreThrottled,
    /// A subscriber took a notice.
    NoticesDelivered,
    /// An attempt to deliver a notice failed.
    NoticesFailed,
    /// A notice is not tried again.
    NoticesDead,
    /// A notice was put off, because its subscriber is left alone.
    NoticesDeferred,
    /// A notice must not be sent where it was to go.
    NoticesRefused,
    /// The bus took an event.
    EventsPublished,
    /// An attempt to publish an event failed.
    EventsFailed,
    /// An event is not tried again.
    EventsDead,
    /// There is no bus to publish an event to.
    EventsUnpublished,
    /// A subscriber failed too often, and is left alone for a while.
    BreakersOpened,
    /// A subscriber is well again.
    BreakersClosed,
    /// How an attempt ended could not be recorded; it is made once more.
    AttemptsNotRecorded,
    /// A retention policy was registered, and read back.
    PoliciesCreated,
    /// A retention policy was changed, and read back.
    PoliciesUpdated,
    /// A retention policy was merged with one that it overlaps with.
    PoliciesMerged,
    /// A retention policy is deployed as it was.
    PoliciesUnchanged,
    /// A retention policy is not at its end, and is carried on later.
    PoliciesPending,
    /// A retention policy has been pending for over an hour.
    PoliciesStuck,
    /// A retention policy could not be deployed.
    PoliciesFailed,
    /// A retention policy is not written as it must be.
    PoliciesInvalid,
    /// A retention policy was changed by somebody else.
    PoliciesDrifted,
    /// A retention policy overlaps with another, and somebody must decide.
    PoliciesForReview,
    /// Genesys Cloud is in trouble, and retention leaves it alone for a while.
    RetentionBreakersOpened,
}

/// Counts one.
pub fn count(metric: Metric) {
    emit(&format!("{metric:?}"), 1.0, "Count");
}

/// Records how long the upstream took to answer.
pub fn upstream_latency(latency: Duration) {
    emit("UpstreamLatency", latency.as_secs_f64() * 1000.0, "Milliseconds");
}

/// Records how long a transfer took, from the request to its outcome.
pub fn transfer_latency(latency: Duration) {
    emit("TransferLatency", latency.as_secs_f64() * 1000.0, "Milliseconds");
}

/// Records how a retention run went: the average latency of its events, and which parts of them, in percent, told of
/// overlaps and of no failure.
pub fn retention_run(average_latency_ms: f64, conflicts_percent: f64, success_percent: f64) {
    emit("RetentionLatency", average_latency_ms, "Milliseconds");
    emit("RetentionConflictRate", conflicts_percent, "Percent");
    emit("RetentionSuccessRate", success_percent, "Percent");
}

/// Records how long it took until a subscriber had a notice, from its cause on.
pub fn notice_latency(latency: Duration) {
    emit("NoticeLatency", latency.as_secs_f64() * 1000.0, "Milliseconds");
}

/// Records what a sweep of the list found due: how many notices, and since when the item that has been due for longest is.
pub fn found_due(notices: u32, longest: Duration) {
    emit("NoticesPending", f64::from(notices), "Count");
    emit("OldestDueAge", longest.as_secs_f64(), "Seconds");
}

/// An error and everything beneath it, in one line: errors are logged once, where they are handled.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn emit(name: &str, value: f64, unit: &str) {
    tracing::info!(target: METRICS, name, value, unit);
}

/// Turns tracing's events into lines.
struct Lines {
    function: &'static str,
    level: LevelFilter,
    clock: Clock,
}

impl Lines {
    fn log_line(&self, event: &Event<'_>, fields: Map<String, Value>) -> Value {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), json!(self.clock.now().to_string()));
        line.insert("level".to_owned(), json!(event.metadata().level().as_str()));
        line.insert("function".to_owned(), json!(self.function));
        line.extend(fields);
        Value::Object(line)
    }

    fn metric_line(&self, fields: &Map<String, Value>) -> Value {
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        json!({
            "_aws": {
                "Timestamp": self.clock.now().as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [["function"]],
                    "Metrics": [{"Name": name, "Unit": fields.get("unit")}],
                }],
            },
            "function": self.function,
            name: fields.get("value"),
        })
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    /// Of what the libraries say, only their errors: further down the SDK shows whole requests.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let is_ours = OURS.iter().any(|ours| metadata.target().starts_with(ours));
        is_ours || *metadata.level() <= Level::ERROR
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let is_metric = event.metadata().target() == METRICS;
        if !is_metric && *event.metadata().level() > self.level {
            return;
        }
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let line = if is_metric { self.metric_line(&fields.0) } else { self.log_line(event, fields.0) };
        // A closed standard output leaves nowhere to complain.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

#[derive(Clone, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, json!(value));
    }
}
