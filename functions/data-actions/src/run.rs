//! One run of a data action: claim → act → record.

use std::time::Duration;

use shared::genesys::{Attempt, Called, NotPerformed, auth};
use shared::idempotency::{
    self, Answer, Begin, Claim, Claimed, Finish, Finished, Lost, Outcome, Remembered, Scope, Work,
};
use shared::lambda::{Deadline, Invocation, Settled};
use shared::telemetry::{Metric, chain, count, millis};
use tokio::time::Instant;

use crate::App;
use crate::account::Witness;
use crate::request::Request;

/// How the call ended.
#[derive(Debug)]
pub(crate) enum Run {
    /// The action ran, and this is its answer.
    Performed { answer: Answer, stored: Stored },
    /// It had run before, and this is its answer.
    Replayed(Answer),
    /// It ran, and its answer is too large to be given.
    TooLarge,
    /// It had run before, with an answer too large to be given.
    StillTooLarge,
    /// The same request is being worked on, for at most this long.
    InFlight(Duration),
    /// The key belongs to another request.
    KeyReused,
    /// It may have run, just now.
    OutcomeUnknown,
    /// It may have run, earlier.
    OutcomeStillUnknown,
    /// It did not run, or may run again; and the key is free.
    NotPerformed(NotPerformed),
    /// The store could not be used, and nothing was done.
    StoreUnavailable,
    /// What is on record cannot be read, and nothing was done.
    Unreadable,
}

impl Run {
    /// What becomes of the message that asked for it. What ran is done, though nobody reads its answer here.
    pub(crate) fn settled(&self) -> Settled {
        match self {
            Self::Performed { .. } | Self::Replayed(_) | Self::TooLarge | Self::StillTooLarge => {
                Settled::Done
            }
            Self::InFlight(_)
            | Self::KeyReused
            | Self::OutcomeUnknown
            | Self::OutcomeStillUnknown
            | Self::NotPerformed(_)
            | Self::StoreUnavailable
            | Self::Unreadable => Settled::Failed,
        }
    }
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
    let scope = Scope {
        operation: format!("data-action:{}", request.id.as_str()),
        caller: invocation.caller.clone(),
    };
    let witness = Witness {
        request,
        invocation,
        surface: app.settings.route.surface(),
        key_hash: scope.hash(&request.key),
        started: Instant::now(),
    };
    let work = Work {
        key: request.key.clone(),
        fingerprint: request.fingerprint.clone(),
        repetition: app.settings.repetition(&request.id),
        recognised_by: app.settings.recognised_by(&request.id),
        lease: invocation.lease(app.settings.lease),
        begin: Begin::Acting,
        if_lapsed: witness.lapsed(),
        answer_lifetime: app.settings.answer_lifetime,
        scope,
    };
    let run = once(app, &witness, &work, deadline).await;
    report(&witness, &run);
    run
}

async fn once(app: &App, witness: &Witness<'_>, work: &Work, deadline: Deadline) -> Run {
    let request = witness.request;
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
    let claim = match app.claims.claim_or_wait(work, request.wait, deadline).await {
        Ok(Claimed::Won(claim)) => claim,
        Ok(Claimed::Lost(lost)) => return told(lost),
        Err(error) => return store_failed(&error),
    };
    let called = app
        .data_actions
        .execute(token, &request.id, &request.input, &work.key, work.repetition, deadline.act_by())
        .await;
    record(app, witness, &claim, called, deadline).await
}

/// What has run needs no token to be answered.
async fn without_token(app: &App, work: &Work, error: &auth::Error, deadline: Deadline) -> Run {
    tracing::warn!(message = "no token could be had", error = chain(error));
    match app.claims.look(work, deadline.answer_by()).await {
        Ok(Some(lost)) => told(lost),
        Ok(None) => Run::NotPerformed(NotPerformed::from(error)),
        Err(error) => store_failed(&error),
    }
}

/// Records how the attempt went. What is told is the truth even where it cannot be recorded; and where somebody
/// else has finished the work in the meantime, it is what they finished with.
async fn record(app: &App, witness: &Witness<'_>, claim: &Claim, called: Called, deadline: Deadline) -> Run {
    let account = witness.ended(&called);
    let attempt = called.attempt;
    let finished;
    let outcome = match &attempt {
        Attempt::Answered(answer) => {
            finished = Finished::Answered(answer.clone());
            Outcome::Done(&finished)
        }
        Attempt::TooLarge => {
            finished = Finished::TooLarge;
            Outcome::Done(&finished)
        }
        Attempt::NotPerformed(reason) => Outcome::NotDone(reason.because()),
        Attempt::Unclear(why) => Outcome::Unknown(why),
    };
    let stored = match app.claims.finish(claim, outcome, &account, deadline.answer_by()).await {
        Ok(Finish::Recorded) => Stored::Yes,
        Ok(Finish::Fenced(winner)) => {
            count(Metric::RunsFenced);
            if let Some(winner) = winner {
                return replayed(winner);
            }
            Stored::No
        }
        // The key stays acting, so nobody repeats what may have happened.
        Err(error) => {
            count(Metric::OutcomesNotStored);
            tracing::error!(message = "the end of a run could not be recorded", error = chain(&error));
            Stored::No
        }
    };
    match attempt {
        Attempt::Answered(answer) => Run::Performed { answer, stored },
        Attempt::TooLarge => Run::TooLarge,
        Attempt::NotPerformed(reason) => Run::NotPerformed(reason),
        Attempt::Unclear(_) => Run::OutcomeUnknown,
    }
}

fn told(lost: Lost) -> Run {
    match lost {
        Lost::Finished(finished) => replayed(finished),
        Lost::InFlight(lease_left) => Run::InFlight(lease_left),
        Lost::KeyReused => Run::KeyReused,
        Lost::Unknown(_) => Run::OutcomeStillUnknown,
    }
}

fn replayed(finished: Finished) -> Run {
    match finished {
        Finished::Answered(answer) => Run::Replayed(answer),
        Finished::TooLarge => Run::StillTooLarge,
    }
}

fn store_failed(error: &idempotency::Error) -> Run {
    tracing::error!(message = "the store could not be used", error = chain(error));
    match error {
        idempotency::Error::Store(_) => Run::StoreUnavailable,
        idempotency::Error::Unreadable(_) | idempotency::Error::Trail(_) => Run::Unreadable,
    }
}

/// One line per decision.
fn report(witness: &Witness<'_>, run: &Run) {
    let (ended, metric) = match run {
        Run::Performed { stored: Stored::Yes, .. } => ("performed", Metric::RunsPerformed),
        Run::Performed { stored: Stored::No, .. } => ("performed, not recorded", Metric::RunsPerformed),
        Run::Replayed(_) => ("replayed", Metric::RunsReplayed),
        Run::TooLarge => ("performed, answer too large", Metric::RunsPerformed),
        Run::StillTooLarge => ("replayed, answer too large", Metric::RunsReplayed),
        Run::InFlight(_) => ("in progress", Metric::RunsInProgress),
        Run::KeyReused => ("key reused", Metric::KeysReused),
        Run::OutcomeUnknown => ("outcome unknown", Metric::OutcomeUnknown),
        Run::OutcomeStillUnknown => ("outcome still unknown", Metric::OutcomeStillUnknown),
        Run::NotPerformed(reason) => (reason.because(), Metric::RunsNotPerformed),
        Run::StoreUnavailable => ("store unavailable", Metric::StoreUnavailable),
        Run::Unreadable => ("record unreadable", Metric::RecordsUnreadable),
    };
    count(metric);
    tracing::info!(
        message = "data action",
        run = ended,
        data_action.id = witness.request.id.as_str(),
        idempotency.key_hash = witness.key_hash,
        duration_ms = millis(witness.started.elapsed()),
    );
}
