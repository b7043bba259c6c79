//! What is told of a run: its report, the notices, and the entries on the policies' trails.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::audit::Entry as TrailEntry;
use shared::genesys::PolicyId;
use shared::lambda::Invocation;
use shared::outbox::Notice;
use shared::telemetry::{self, Metric, count, millis};

use crate::decide::{Decision, Kind, Raised};
use crate::machine::{End, Note, Status};
use crate::order::{Fault, Written};
use crate::state::Last;
use crate::storage::{Impact, Projected, gigabytes, rounded};

/// The layout of the report: the guides' number.
const VERSION: &str = "1.0.0";

/// What is told of one policy.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: Status,
    /// The run it belongs to.
    pub(crate) run: Option<String>,
    /// As the report has it.
    pub(crate) policy: Value,
    /// What happened, in order.
    pub(crate) events: Vec<Value>,
    tags: Vec<String>,
    /// GB that will be stored, and that would be as things are now.
    storage: Option<(f64, f64)>,
    standing: Standing,
}

/// What a policy means for the report as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It was read, and is as it was asked for.
    Verified,
    /// Nobody can say yet.
    Pending,
    /// It is not as it was asked for.
    Violated,
}

impl Told {
    /// Of a policy that came to an end, or was left for later.
    pub(crate) fn ended(
        name: &str,
        written: Option<&Written>,
        faults: &[Fault],
        end: &End,
        before: Option<u64>,
        now: Timestamp,
    ) -> Self {
        let days = written.map(|written| kept_for(written, end));
        let mut policy = json!({"name": name, "status": end.status.name()});
        set(&mut policy, "policyId", end.policy_id.as_ref());
        set(&mut policy, "jobId", end.job.as_ref());
        set(&mut policy, "error", end.error.as_ref());
        if !faults.is_empty() {
            policy["faults"] = json!(faults);
        }
        let mut storage = None;
        if let (Some(written), Some(days)) = (written, days) {
            let asked = written.policy.days;
            policy["objectType"] = json!(written.policy.object_type);
            policy["retentionPeriod"] = json!(asked);
            set(&mut policy, "retentionDaysInForce", end.in_force);
            if end.status == Status::Merged || (end.status == Status::Unchanged && days != asked) {
                policy["merge"] = merge(asked, days, end.raised.as_ref());
            }
            let next = written.policy.schedule.next_after(now);
            set(&mut policy, "nextScheduled", next.map(|next| next.to_string()));
            if let Some(volume) = written.daily_volume_gb {
                let object_type = written.policy.object_type;
                policy["storageImpact"] = json!(Impact::of(object_type, days, volume));
                let before = before.map_or(0.0, |before| gigabytes(object_type, before, volume));
                // What is not deployed changes nothing.
                let is_deployed = standing(end.status) != Standing::Violated;
                let after = if is_deployed { gigabytes(object_type, days, volume) } else { before };
                storage = Some((after, before));
            }
        }
        Self {
            status: end.status,
            run: None,
            policy,
            events: Vec::new(),
            tags: written.map(|written| written.policy.tags.clone()).unwrap_or_default(),
            storage,
            standing: standing(end.status),
        }
    }

    /// Of a policy whose end an earlier invocation of the same run has told of.
    pub(crate) fn again(last: &Last, written: Option<&Written>) -> Option<Self> {
        let status: Status = serde_json::from_value(last.told["status"].clone()).ok()?;
        let storage = written.and_then(|written| {
            let days = last.told["storageImpact"]["retentionDays"].as_u64().unwrap_or(written.policy.days);
            let gb = gigabytes(written.policy.object_type, days, written.daily_volume_gb?);
            let is_deployed = standing(status) != Standing::Violated;
            Some(if is_deployed { (gb, gb) } else { (0.0, 0.0) })
        });
        Some(Self {
            status,
            run: Some(last.run.clone()),
            policy: last.told.clone(),
            events: last.events.clone(),
            tags: written.map(|written| written.policy.tags.clone()).unwrap_or_default(),
            storage,
            standing: standing(status),
        })
    }

    /// With what a run would do, and has not done.
    pub(crate) fn planned(mut self, action: &str) -> Self {
        self.policy["action"] = json!(action);
        if let Some((_, before)) = self.storage {
            self.policy["currentStorageGB"] = json!(rounded(before));
        }
        if self.standing == Standing::Verified && self.status != Status::Unchanged {
            self.standing = Standing::Pending;
        }
        self
    }

    /// With the run it belongs to, and what happened.
    pub(crate) fn with(self, run: &str, events: Vec<Value>) -> Self {
        Self { run: Some(run.to_owned()), events, ..self }
    }
}

/// From what to what a merge has raised: ours, and a policy of another name that ours was merged into.
pub(crate) fn merge(asked: u64, days: u64, raised: Option<&Raised>) -> Value {
    let mut merge = json!({"from": asked, "to": days});
    set(&mut merge, "raised", raised);
    merge
}

/// For how many days the objects are kept in the end: as asked, unless policies were merged.
fn kept_for(written: &Written, end: &End) -> u64 {
    match end.status {
        Status::Merged | Status::Unchanged => end.in_force.unwrap_or(written.policy.days),
        Status::Created
        | Status::Updated
        | Status::Drift
        | Status::ReviewRequired
        | Status::Pending
        | Status::Invalid
        | Status::Failed => written.policy.days,
    }
}

fn standing(status: Status) -> Standing {
    match status {
        Status::Created | Status::Updated | Status::Unchanged | Status::Merged => Standing::Verified,
        Status::Pending => Standing::Pending,
        Status::Drift | Status::ReviewRequired | Status::Invalid | Status::Failed => Standing::Violated,
    }
}

/// The report on these policies.
pub(crate) fn report(run: &str, told: &[Told], now: Timestamp) -> Value {
    let events: Vec<&Value> = told.iter().flat_map(|told| &told.events).collect();
    let summary = Summary::of(&events);
    let worst = told.iter().map(|told| told.standing).max().unwrap_or(Standing::Pending);
    let compliance = match worst {
        Standing::Verified => "VERIFIED",
        Standing::Pending => "PENDING",
        Standing::Violated => "VIOLATED",
    };
    let tags: BTreeSet<&String> = told.iter().flat_map(|told| &told.tags).collect();
    let mut report = json!({
        "run": run,
        "generatedAt": now.to_string(),
        "summary": {
            "totalEvents": summary.events,
            "successRate": rounded(summary.success_percent),
            "conflictRate": rounded(summary.conflict_rate),
            "averageLatencyMs": summary.average_latency_ms.round(),
            "policyCompliance": compliance,
        },
        "policies": told.iter().map(|told| &told.policy).collect::<Vec<_>>(),
        "events": events,
        "regulatoryTags": tags,
        "version": VERSION,
    });
    let storage: Vec<(f64, f64)> = told.iter().filter_map(|told| told.storage).collect();
    if !storage.is_empty() {
        report["storageImpact"] = json!(Projected::of(storage.iter().map(|(after, _)| after).sum()));
        if run == "plan" {
            report["currentStorageImpact"] =
                json!(Projected::of(storage.iter().map(|(_, before)| before).sum()));
        }
    }
    report
}

/// The figures of a report.
struct Summary {
    events: usize,
    success_percent: f64,
    /// A part of one.
    conflict_rate: f64,
    average_latency_ms: f64,
}

impl Summary {
    fn of(events: &[&Value]) -> Self {
        let named = |name: &str| {
            let has = |event: &&&Value| event["event"].as_str().is_some_and(|event| event.contains(name));
            events.iter().filter(has).count()
        };
        let latencies: Vec<f64> = events.iter().filter_map(|event| event["latencyMs"].as_f64()).collect();
        let total = events.len();
        Self {
            events: total,
            success_percent: ratio(total - named("FAILED"), total) * 100.0,
            conflict_rate: ratio(named("OVERLAP_DETECTED"), total),
            // The sum of nothing is -0.
            average_latency_ms: latencies.iter().fold(0.0, |sum, it| sum + it)
                / as_number(latencies.len().max(1)),
        }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { as_number(part) / as_number(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "no report has so many events")]
fn as_number(count: usize) -> f64 {
    count as f64
}

/// Sends the figures of a run to where they are watched.
pub(crate) fn measure(told: &[Told]) {
    let events: Vec<&Value> = told.iter().flat_map(|told| &told.events).collect();
    let summary = Summary::of(&events);
    if summary.events > 0 {
        let conflicts = summary.conflict_rate * 100.0;
        telemetry::retention_run(summary.average_latency_ms, conflicts, summary.success_percent);
    }
}

/// Counts what became of a policy.
pub(crate) fn tally(status: Status) {
    count(match status {
        Status::Created => Metric::PoliciesCreated,
        Status::Updated => Metric::PoliciesUpdated,
        Status::Unchanged => Metric::PoliciesUnchanged,
        Status::Merged => Metric::PoliciesMerged,
        Status::Drift => Metric::PoliciesDrifted,
        Status::ReviewRequired => Metric::PoliciesForReview,
        Status::Pending => Metric::PoliciesPending,
        Status::Invalid => Metric::PoliciesInvalid,
        Status::Failed => Metric::PoliciesFailed,
    });
}

/// The event that tells of a note.
pub(crate) fn noted(name: &str, note: &Note, latency: Duration, now: Timestamp) -> Value {
    match note {
        Note::Overlap { overlapping, merges } => {
            let action = if *merges { "MERGE_RETENTION_WINDOW" } else { "REVIEW" };
            let mut event = happened("OVERLAP_DETECTED", name, latency, now);
            event["conflictCount"] = json!(overlapping);
            event["action"] = json!(action);
            event
        }
        Note::Registered { job } => of_job("POLICY_REGISTRATION_INITIATED", name, job.as_str(), latency, now),
        Note::JobCompleted { job } => of_job("JOB_COMPLETED", name, job.as_str(), latency, now),
        Note::JobFailed { job } => of_job("JOB_FAILED", name, job.as_str(), latency, now),
        Note::Unclear { because } => {
            let mut event = happened("OUTCOME_UNCLEAR", name, latency, now);
            event["reason"] = json!(because);
            event
        }
    }
}

fn of_job(event: &str, name: &str, job: &str, latency: Duration, now: Timestamp) -> Value {
    let mut event = happened(event, name, latency, now);
    event["jobId"] = json!(job);
    event
}

/// The event that tells how a policy ended. Every end is one.
pub(crate) fn outcome(name: &str, told: &Value, status: Status, latency: Duration, now: Timestamp) -> Value {
    let event = match status {
        Status::Created => "POLICY_CREATED",
        Status::Updated => "POLICY_UPDATED",
        Status::Unchanged => "POLICY_UNCHANGED",
        Status::Merged => "MERGE_RETENTION_WINDOW",
        Status::Drift => "POLICY_DRIFT_DETECTED",
        Status::ReviewRequired => "POLICY_REVIEW_REQUIRED",
        Status::Pending => "POLICY_PENDING",
        Status::Invalid => "POLICY_VALIDATION_FAILED",
        Status::Failed => "POLICY_DEPLOYMENT_FAILED",
    };
    let mut event = happened(event, name, latency, now);
    for member in ["policyId", "jobId", "error", "merge"] {
        set(&mut event, member, Some(&told[member]));
    }
    event
}

fn happened(event: &str, name: &str, latency: Duration, now: Timestamp) -> Value {
    json!({"timestamp": now.to_string(), "event": event, "policyName": name, "latencyMs": millis(latency)})
}

/// What a trail is told.
pub(crate) fn entry(
    action: &str,
    invocation: &Invocation,
    place: &str,
    run: &str,
    told: &Value,
    events: &[Value],
) -> TrailEntry {
    let names: Vec<&Value> = events.iter().map(|event| &event["event"]).collect();
    TrailEntry::new(action)
        .by(invocation)
        .with("function", "retention")
        .with("place", place)
        .with("policyName", &told["name"])
        .with("run", run)
        .with("policyId", &told["policyId"])
        .with("jobId", &told["jobId"])
        .with("retentionPeriod", &told["retentionPeriod"])
        .with("retentionDaysInForce", &told["retentionDaysInForce"])
        .with("merge", &told["merge"])
        .with("reason", &told["error"])
        .with("events", (!names.is_empty()).then_some(names))
}

/// The name of the entry that tells of an end.
pub(crate) fn action(status: Status) -> &'static str {
    match status {
        Status::Created => "policy-created",
        Status::Updated => "policy-updated",
        Status::Unchanged => "policy-adopted",
        Status::Merged => "policy-merged",
        Status::Drift => "policy-drifted",
        Status::ReviewRequired => "policy-review-required",
        Status::Pending => "policy-pending",
        Status::Invalid => "policy-invalid",
        Status::Failed => "policy-failed",
    }
}

/// What others hear of a policy: its part of the report, and the report on it. Of what stands as it stood, nothing.
pub(crate) fn notice(subscriber: Option<&String>, told: &Told, now: Timestamp) -> Option<Notice> {
    let event = match told.status {
        Status::Created | Status::Updated | Status::Merged => "RETENTION_POLICY_DEPLOYED",
        Status::Pending => "RETENTION_POLICY_PENDING",
        Status::Drift | Status::ReviewRequired | Status::Invalid | Status::Failed => {
            "POLICY_DEPLOYMENT_FAILED"
        }
        Status::Unchanged => return None,
    };
    let report = report("run", std::slice::from_ref(told), now);
    let body = json!({"eventType": event, "payload": told.policy, "auditReport": report});
    Some(Notice::new(subscriber?, &[], &body))
}

/// What a run would do about a decision: the word for it, and how it would end.
pub(crate) fn planned(decision: &Decision) -> (&'static str, End) {
    match decision {
        Decision::Unchanged(mark) => {
            ("unchanged", end_of(Status::Unchanged, mark.policy_id.clone(), Some(mark.days)))
        }
        Decision::Write { write, .. } => {
            let (action, status) = match write.kind {
                Kind::Create => ("create", Status::Created),
                Kind::Update => ("update", Status::Updated),
                Kind::Merge => ("merge", Status::Merged),
            };
            let end = end_of(status, write.target.clone(), Some(write.days));
            (action, End { raised: write.raised.clone(), ..end })
        }
        Decision::Covered { mark, .. } => {
            ("merge", end_of(Status::Merged, mark.policy_id.clone(), Some(mark.days)))
        }
        Decision::Review { overlapping } => {
            let error = format!("it overlaps with {}", overlapping.join(", "));
            ("review", End { error: Some(error), ..End::new(Status::ReviewRequired) })
        }
        Decision::Drift { policy_id, because } => {
            let error = Some((*because).to_owned());
            ("drift", End { policy_id: policy_id.clone(), error, ..End::new(Status::Drift) })
        }
        Decision::Impossible(why) => ("fail", End::failed(why)),
    }
}

fn end_of(status: Status, policy_id: Option<PolicyId>, in_force: Option<u64>) -> End {
    End { policy_id, in_force, ..End::new(status) }
}

/// Sets a member, if there is a value for it.
fn set(object: &mut Value, name: &str, value: Option<impl serde::Serialize>) {
    let value = serde_json::to_value(value).expect("ids, numbers and texts always serialise");
    if !value.is_null() {
        object[name] = value;
    }
}
