//! One run of a data action: claim → act → record.

use std::time::Duration;

use shared::genesys::auth;
use shared::genesys::data_actions::{Attempt, NotPerformed};
use shared::idempotency::{self, Answer, Claim, Claimed, Finish, Finished, Outcome, Remembered, Scope, Work};
use shared::lambda::{Deadline, Invocation};
use shared::telemetry::{Metric, chain, count};
use tokio::time::Instant;

use crate::App;
use crate::request::Request;

/// How the call ended.
#[derive(Debug)]
pub(crate) enum Run {
    /// The action ran, and this is its answer.
    Performed { answer: Answer, stored: Stored },
    /// It had run before, and this is its answer.
    Replayed(Answer),
    /// It ran, now or before, and its answer is too large to be given.
    TooLarge,
    /// The same request is being worked on, for at most this long.
    InFlight(Duration),
    /// The key belongs to another request.
    KeyReused,
    /// It may have run, just now.
    OutcomeUnknown,
    /// It may have run, earlier.
    OutcomeStillUnknown,
    /// It did not run, and the key is free.
    NotPerformed(NotPerformed),
    /// The store could not be used, and nothing was done.
    StoreUnavailable,
    /// What is on record cannot be read, and nothing was done.
    Unreadable,
}

/// Whether an answer is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    /// It could not be recorded. The key stays taken, and the answer cannot be replayed.
    No,
}

/// Runs a data action, unless it has run.
pub(crate) async fn run(app: &App, request: &Request, invocation: &Invocation, deadline: Deadline) -> Run {
    let started = Instant::now();
    let work = Work {
        scope: Scope {
            operation: format!("data-action:{}", request.id.as_str()),
            caller: invocation.caller.clone(),
        },
        key: request.key.clone(),
        fingerprint: request.fingerprint.clone(),
        repetition: app.settings.repetition(&request.id),
        lease: invocation.lease(app.settings.lease),
    };
    let run = once(app, request, &work, deadline).await;
    report(request, &work, &run, started);
    run
}

async fn once(app: &App, request: &Request, work: &Work, deadline: Deadline) -> Run {
    match app.claims.recall(work) {
        Some(Remembered::Finished(finished)) => return replayed(finished),
        Some(Remembered::KeyReused) => return Run::KeyReused,
        None => {}
    }
    // The token comes before the claim: from the claim on, a crash leaves the outcome unknown.
    let token = match app.data_actions.token(deadline.act_by()).await {
        Ok(token) => token,
        Err(error) => return without_token(app, work, &error, deadline).await,
    };
    let claim = match app.claims.claim_or_wait(work, request.wait, deadline.act_by()).await {
        Ok(Claimed::Won(claim)) => claim,
        Ok(lost) => return told(lost),
        Err(error) => return store_failed(&error),
    };
    let attempt = app
        .data_actions
        .execute(token, &request.id, &request.input, &work.key, work.repetition, deadline.act_by())
        .await;
    record(app, &claim, attempt, deadline).await
}

/// What has run needs no token to be answered.
async fn without_token(app: &App, work: &Work, error: &auth::Error, deadline: Deadline) -> Run {
    tracing::warn!(message = "no token could be had", error = chain(error));
    match app.claims.look(work, deadline.answer_by()).await {
        Ok(Some(known)) => told(known),
        Ok(None) => Run::NotPerformed(NotPerformed::from(error)),
        Err(error) => store_failed(&error),
    }
}

/// Records how the attempt went. The answer is the truth even where it cannot be recorded.
async fn record(app: &App, claim: &Claim, attempt: Attempt, deadline: Deadline) -> Run {
    let until = deadline.answer_by();
    match attempt {
        Attempt::Answered(answer) => {
            let finished = Finished::Answered(answer.clone());
            match app.claims.finish(claim, Outcome::Done(&finished), until).await {
                Ok(Finish::Recorded) => Run::Performed { answer, stored: Stored::Yes },
                Ok(Finish::Fenced(winner)) => {
                    count(Metric::RunsFenced);
                    winner.map_or(Run::Performed { answer, stored: Stored::No }, replayed)
                }
                Err(error) => {
                    count(Metric::AnswersNotStored);
                    tracing::error!(message = "an answer could not be recorded", error = chain(&error));
                    Run::Performed { answer, stored: Stored::No }
                }
            }
        }
        Attempt::TooLarge => {
            note(app.claims.finish(claim, Outcome::Done(&Finished::TooLarge), until).await);
            Run::TooLarge
        }
        Attempt::NotPerformed(reason) => {
            note(app.claims.finish(claim, Outcome::NotDone(because(reason)), until).await);
            Run::NotPerformed(reason)
        }
        Attempt::Unclear(why) => {
            note(app.claims.finish(claim, Outcome::Unknown(why), until).await);
            Run::OutcomeUnknown
        }
    }
}

/// A record that could not be written leaves the key acting, so nobody repeats what may have happened.
fn note(finish: Result<Finish, idempotency::Error>) {
    match finish {
        Ok(Finish::Recorded) => {}
        Ok(Finish::Fenced(_)) => count(Metric::RunsFenced),
        Err(error) => {
            tracing::error!(message = "the end of a run could not be recorded", error = chain(&error));
        }
    }
}

fn told(claimed: Claimed) -> Run {
    match claimed {
        Claimed::Won(_) => Run::InFlight(Duration::ZERO),
        Claimed::Finished(finished) => replayed(finished),
        Claimed::InFlight(lease_left) => Run::InFlight(lease_left),
        Claimed::KeyReused => Run::KeyReused,
        Claimed::Unknown => Run::OutcomeStillUnknown,
    }
}

fn replayed(finished: Finished) -> Run {
    match finished {
        Finished::Answered(answer) => Run::Replayed(answer),
        Finished::TooLarge => Run::TooLarge,
    }
}

fn store_failed(error: &idempotency::Error) -> Run {
    tracing::error!(message = "the store could not be used", error = chain(error));
    match error {
        idempotency::Error::Store(_) => Run::StoreUnavailable,
        idempotency::Error::Unreadable(_) => Run::Unreadable,
    }
}

fn because(reason: NotPerformed) -> &'static str {
    match reason {
        NotPerformed::Unavailable => "the upstream could not be reached",
        NotPerformed::Rejected => "the upstream refused us",
        NotPerformed::Redirected => "the upstream redirected us",
        NotPerformed::RateLimited { .. } => "the upstream asked for patience",
    }
}

/// One line per decision.
fn report(request: &Request, work: &Work, run: &Run, started: Instant) {
    let (ended, metric) = match run {
        Run::Performed { stored: Stored::Yes, .. } => ("performed", Metric::RunsPerformed),
        Run::Performed { stored: Stored::No, .. } => ("performed, not recorded", Metric::RunsPerformed),
        Run::Replayed(_) => ("replayed", Metric::RunsReplayed),
        Run::TooLarge => ("answer too large", Metric::RunsPerformed),
        Run::InFlight(_) => ("in progress", Metric::RunsInProgress),
        Run::KeyReused => ("key reused", Metric::KeysReused),
        Run::OutcomeUnknown => ("outcome unknown", Metric::OutcomeUnknown),
        Run::OutcomeStillUnknown => ("outcome still unknown", Metric::OutcomeStillUnknown),
        Run::NotPerformed(reason) => (because(*reason), Metric::RunsNotPerformed),
        Run::StoreUnavailable => ("store unavailable", Metric::StoreUnavailable),
        Run::Unreadable => ("record unreadable", Metric::RecordsUnreadable),
    };
    count(metric);
    tracing::info!(
        message = "data action",
        run = ended,
        data_action.id = request.id.as_str(),
        idempotency.key_hash = work.scope.hash(&work.key),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
}
