//! One answer for a run, however often it is asked for.

use bytes::Bytes;
use serde_json::{Value, json};
use shared::audit::{Entry, Trail};
use shared::canonical::digest;
use shared::idempotency::{
    self, Account, Answer, Begin, Claimed, Finish, Finished, Key, Lost, Outcome, Remembered, Repetition,
    Scope, Work,
};
use shared::lambda::{Deadline, Invocation};
use shared::problem::{Kind, Problem};
use shared::telemetry::{Metric, chain, count};

use std::time::Duration;

use crate::order::Deployment;
use crate::{App, state};

/// How long a run's report is given again: for as long as dead-letter queues keep what may repeat it.
const REPORT_LIFETIME: Duration = Duration::from_hours(14 * 24);

/// Carries out a run that has a name, unless it was carried out: then its report is given again.
///
/// A run that was cut off may be carried out again: what it has done is found there.
pub(crate) async fn once(
    app: &App,
    deployment: &Deployment,
    id: &Key,
    invocation: &Invocation,
    deadline: Deadline,
) -> Result<Value, Problem> {
    let scope = Scope { operation: format!("retention:{}", app.state.place()), caller: None };
    let key_hash = scope.hash(id);
    let account = |action: &str| Account {
        trail: Trail::of_key(&key_hash),
        entry: Entry::new(action).by(invocation).with("function", "retention").with("run", id.as_str()),
        notice: None,
    };
    let mut cut_off = account("retention-run-cut-off");
    cut_off.entry = cut_off.entry.with("reason", "the invocation was cut off; resume carries it on");
    let work = Work {
        scope,
        key: id.clone(),
        fingerprint: digest(deployment.text.as_bytes()),
        repetition: Repetition::Safe,
        recognised_by: None,
        lease: invocation.lease(app.settings.lease),
        begin: Begin::Acting,
        if_lapsed: cut_off,
        answer_lifetime: REPORT_LIFETIME,
    };
    match app.claims.recall(&work) {
        Some(Remembered::Finished(finished)) => return replayed(finished),
        Some(Remembered::KeyReused) => return Err(reused()),
        None => {}
    }
    let claim = match app.claims.claim(&work, deadline).await {
        Ok(Claimed::Won(claim)) => claim,
        Ok(Claimed::Lost(Lost::Finished(finished))) => return replayed(finished),
        Ok(Claimed::Lost(Lost::InFlight(left))) => return Err(in_progress(left)),
        Ok(Claimed::Lost(Lost::KeyReused)) => return Err(reused()),
        Ok(Claimed::Lost(Lost::Unknown(_))) => return Err(in_progress(Duration::ZERO)),
        Err(error) => return Err(claims_failed(&error)),
    };
    let report = match crate::deploy(app, deployment, id.as_str(), invocation, deadline).await {
        // A schedule does not order again what met another run: it is left to the next resume.
        Err(problem) if problem.kind() == Kind::InProgress => {
            crate::leave_to_resume(app, deployment, id.as_str(), deadline).await
        }
        report => report,
    };
    let report = report.map(|report| named(report, id.as_str()));
    let finished = report.as_ref().ok().map(|report| {
        let content_type = Some("application/json".to_owned());
        Finished::Answered(Answer { status: 200, content_type, body: Bytes::from(report.to_string()) })
    });
    let (outcome, mut account) = match (&finished, &report) {
        (Some(finished), _) => (Outcome::Done(finished), account("retention-run-ended")),
        (None, Err(problem)) => {
            (Outcome::NotDone(problem.kind().slug()), account("retention-run-not-performed"))
        }
        (None, Ok(_)) => (Outcome::NotDone("there is no report"), account("retention-run-not-performed")),
    };
    let summary = report.as_ref().ok().map(|report| &report["summary"]);
    account.entry =
        account.entry.with("summary", summary).with("reason", report.as_ref().err().map(Problem::detail));
    match app.claims.finish(&claim, outcome, &account, deadline.answer_by()).await {
        Ok(Finish::Recorded) => report,
        // We outlived our claim, and somebody else has carried the run out.
        Ok(Finish::Fenced(winner)) => {
            count(Metric::RunsFenced);
            winner.map_or(report, replayed)
        }
        Err(error) => {
            count(Metric::OutcomesNotStored);
            let error = chain(&error);
            tracing::error!(message = "the report of a retention run could not be recorded", error);
            report
        }
    }
}

fn replayed(finished: Finished) -> Result<Value, Problem> {
    let unreadable = || Problem::new(Kind::InternalError, "The report of this run cannot be read.");
    let Finished::Answered(answer) = finished else { return Err(unreadable()) };
    count(Metric::RunsReplayed);
    serde_json::from_slice(&answer.body).map_err(|_| unreadable())
}

fn reused() -> Problem {
    count(Metric::KeysReused);
    Problem::new(Kind::KeyReused, "This runId was used for another order.")
}

/// Somebody is at it.
pub(crate) fn in_progress(left: Duration) -> Problem {
    count(Metric::RunsInProgress);
    Problem::new(Kind::InProgress, "A retention run is under way.").retry_after_at_most(left)
}

/// What is known could not be read, or the lease not be taken.
pub(crate) fn store_failed(error: &state::Error) -> Problem {
    tracing::error!(message = "the store could not be used", error = chain(error));
    match error {
        state::Error::Store(_) => store_unavailable(),
        state::Error::Trail(_) | state::Error::Unreadable(_) | state::Error::Fenced => unreadable(),
    }
}

fn claims_failed(error: &idempotency::Error) -> Problem {
    tracing::error!(message = "the store could not be used", error = chain(error));
    match error {
        idempotency::Error::Store(_) => store_unavailable(),
        idempotency::Error::Unreadable(_) | idempotency::Error::Trail(_) => unreadable(),
    }
}

fn store_unavailable() -> Problem {
    count(Metric::StoreUnavailable);
    Problem::new(Kind::StoreUnavailable, "The store could not be used. Nothing was asked for; try again.")
}

fn unreadable() -> Problem {
    count(Metric::RecordsUnreadable);
    Problem::new(
        Kind::InternalError,
        "What is on record for these policies cannot be read. Nothing was done.",
    )
}

/// The report of a run, with its name.
fn named(mut report: Value, run: &str) -> Value {
    report["runId"] = json!(run);
    report
}
