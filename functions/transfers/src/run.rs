//! One run of a transfer: claim → look → act → record.

use std::time::Duration;

use shared::genesys::NotPerformed;
use shared::genesys::conversations::{Moved, Seen, Sent};
use shared::idempotency::{
    self, Answer, Begin, Begun, Claim, Claimed, Finish, Finished, Intent, Lost, Outcome, Remembered,
    Repetition, Scope, Unresolved, Work,
};
use shared::lambda::{Deadline, Invocation, Settled};
use shared::problem::Problem;
use shared::telemetry::{self, Metric, chain, count, millis};
use tokio::time::Instant;
use tracing::Instrument;

use crate::App;
use crate::account::{Found, Witness};
use crate::request::Request;
use crate::upstream::{Ready, confirm, look, look_again, reconcile, refused};

/// How long giving back a key may take whose transfer was not sent because of the store.
const GIVING_BACK: Duration = Duration::from_secs(3);

/// How the call ended.
#[derive(Debug)]
pub(crate) enum Run {
    /// The call was transferred, or Genesys Cloud has taken that on; and this is the answer.
    Performed { answer: Answer, stored: Stored },
    /// It had been transferred before, and this is the answer.
    Replayed(Answer),
    /// The same transfer is being worked on, for at most this long.
    InFlight(Duration),
    /// The key belongs to another request.
    KeyReused,
    /// It may have happened, just now.
    OutcomeUnknown,
    /// It may have happened, earlier.
    OutcomeStillUnknown,
    /// It cannot be done now, and the key is free.
    Refused(Problem),
    /// It was not done, and the key is free.
    NotPerformed(NotPerformed),
    /// The store could not be used, and nothing was done.
    StoreUnavailable,
    /// What is on record cannot be read, and nothing was done.
    Unreadable,
}

impl Run {
    /// What becomes of the message that asked for it.
    pub(crate) fn settled(&self) -> Settled {
        match self {
            Self::Performed { .. } | Self::Replayed(_) => Settled::Done,
            Self::InFlight(_)
            | Self::KeyReused
            | Self::OutcomeUnknown
            | Self::OutcomeStillUnknown
            | Self::Refused(_)
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
    /// It could not be recorded. The key stays taken, and a repeat looks again.
    No,
}

/// How an attempt ended that was claimed.
#[derive(Debug)]
pub(crate) enum End {
    /// The call was transferred, or that was taken on.
    Moved(Moved),
    /// It cannot be done; nothing happened.
    Refused(Problem),
    /// It was not done; nothing happened.
    NotPerformed(NotPerformed),
    /// It was not sent, because the store failed before it could be.
    NotSent,
    /// It may have happened; why that is not known.
    Unclear(&'static str),
}

/// Transfers a call, unless it has been transferred.
pub(crate) async fn run(app: &App, request: &Request, invocation: &Invocation, deadline: Deadline) -> Run {
    let scope = Scope { operation: "transfer".to_owned(), caller: invocation.caller.clone() };
    let key_hash = scope.hash(&request.key);
    let span = tracing::info_span!(
        "transfer",
        conversation.id = request.transfer.conversation.as_str(),
        idempotency.key_hash = key_hash,
    );
    let witness = Witness { app, request, invocation, key_hash: &key_hash, started: Instant::now() };
    let work = Work {
        scope,
        key: request.key.clone(),
        fingerprint: request.fingerprint.clone(),
        repetition: Repetition::Unsafe,
        recognised_by: None,
        lease: invocation.lease(app.settings.lease),
        begin: Begin::Looking,
        if_lapsed: witness.lapsed_before_the_act(),
        answer_lifetime: request.window.unwrap_or(app.settings.answer_lifetime),
    };
    async {
        let run = once(witness, &work, deadline).await;
        report(witness, &run);
        run
    }
    .instrument(span)
    .await
}

async fn once(witness: Witness<'_>, work: &Work, deadline: Deadline) -> Run {
    let Witness { app, request, .. } = witness;
    match app.claims.recall(work) {
        Some(Remembered::Finished(finished)) => return replayed(finished),
        Some(Remembered::KeyReused) => return Run::KeyReused,
        None => {}
    }
    let claim = match app.claims.claim_or_wait(work, request.wait, deadline).await {
        Ok(Claimed::Won(claim)) => claim,
        Ok(Claimed::Lost(Lost::Unknown(unresolved))) => return resolve(witness, unresolved, deadline).await,
        Ok(Claimed::Lost(lost)) => return told(lost),
        Err(error) => return store_failed(&error),
    };
    let mut ready = match look(app, &request.transfer, deadline.act_by()).await {
        Ok(ready) => ready,
        Err(end) => return record(witness, &claim, end, Found::Told, None, deadline.answer_by()).await,
    };
    let claim = match begin(witness, work, claim, &ready, deadline).await {
        Ok(claim) => claim,
        Err(run) => return run,
    };
    act(witness, &claim, &mut ready, deadline).await
}

/// Makes the intent durable: from here on, the transfer may have happened.
async fn begin(
    witness: Witness<'_>,
    work: &Work,
    claim: Claim,
    ready: &Ready,
    deadline: Deadline,
) -> Result<Claim, Run> {
    let looked = serde_json::to_string(&ready.seen).expect("lists of strings always serialise");
    let intent = Intent {
        account: &witness.intended(ready.leg.as_ref().map(shared::genesys::Id::as_str)),
        if_lapsed: &witness.lapsed_in_the_act(),
        looked: &looked,
        lease: work.lease,
    };
    match witness.app.claims.act(claim.clone(), intent, deadline.act_by()).await {
        Ok(Begun::Acting(claim)) => Ok(claim),
        // Our look took longer than our lease, and somebody else is at it.
        Ok(Begun::Fenced) => {
            count(Metric::RunsFenced);
            Err(Run::InFlight(Duration::ZERO))
        }
        Err(error) => {
            let until = deadline.answer_by().min(Instant::now() + GIVING_BACK);
            record(witness, &claim, End::NotSent, Found::Told, None, until).await;
            Err(store_failed(&error))
        }
    }
}

async fn act(witness: Witness<'_>, claim: &Claim, ready: &mut Ready, deadline: Deadline) -> Run {
    let Witness { app, request: Request { transfer, key, .. }, .. } = witness;
    let act_by = deadline.act_by();
    let leg = ready.leg.clone();
    let key = claim.upstream_key(key);
    let (sent, correlation_id) =
        app.conversations.transfer(&mut ready.token, transfer, leg.as_ref(), &key, act_by).await;
    let (end, found) = match sent {
        Sent::Taken(moved) => (confirm(app, transfer, ready, moved, act_by).await, Found::Told),
        Sent::Refused(refusal) => (refused(&refusal, &transfer.kind), Found::Told),
        Sent::NotPerformed(reason) => (End::NotPerformed(reason), Found::Told),
        Sent::Unclear(why) => (reconcile(app, transfer, ready, why, act_by).await, Found::Reading),
    };
    record(witness, claim, end, found, correlation_id.as_ref(), deadline.answer_by()).await
}

/// An earlier attempt may have happened: it is looked for, and never sent again.
async fn resolve(witness: Witness<'_>, unresolved: Unresolved, deadline: Deadline) -> Run {
    let Unresolved { claim, looked } = unresolved;
    let seen = looked.and_then(|looked| serde_json::from_str::<Seen>(&looked).ok());
    let Some(seen) = seen else { return Run::OutcomeStillUnknown };
    let transfer = &witness.request.transfer;
    match look_again(witness.app, transfer, &seen, deadline.act_by()).await {
        Some(end) => record(witness, &claim, end, Found::Repeat, None, deadline.answer_by()).await,
        None => Run::OutcomeStillUnknown,
    }
}

/// Records how the attempt ended. What is told is the truth even where it cannot be recorded; and where somebody
/// else has finished the work in the meantime, it is what they finished with.
async fn record(
    witness: Witness<'_>,
    claim: &Claim,
    end: End,
    found: Found,
    correlation_id: Option<&String>,
    until: Instant,
) -> Run {
    let answer = match &end {
        End::Moved(moved) => Some(witness.answer(moved)),
        End::Refused(_) | End::NotPerformed(_) | End::NotSent | End::Unclear(_) => None,
    };
    let account = Witness::with_call(witness.ended(&end, found, answer.as_ref()), correlation_id);
    let finished = answer.clone().map(Finished::Answered);
    let outcome = match (&end, &finished) {
        (_, Some(finished)) => Outcome::Done(finished),
        (End::Refused(problem), None) => Outcome::NotDone(problem.kind().slug()),
        (End::NotPerformed(reason), None) => Outcome::NotDone(reason.because()),
        (End::Unclear(why), None) => Outcome::Unknown(why),
        (End::NotSent | End::Moved(_), None) => Outcome::NotDone("the store failed before the call"),
    };
    let stored = match witness.app.claims.finish(claim, outcome, &account, until).await {
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
            tracing::error!(message = "the end of a transfer could not be recorded", error = chain(&error));
            Stored::No
        }
    };
    match (end, answer) {
        (_, Some(answer)) => Run::Performed { answer, stored },
        (End::Refused(problem), None) => Run::Refused(problem),
        (End::NotPerformed(reason), None) => Run::NotPerformed(reason),
        (End::Unclear(_), None) => Run::OutcomeUnknown,
        (End::NotSent | End::Moved(_), None) => Run::StoreUnavailable,
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
        // A transfer's answer is ours, and small: a record that says otherwise is not one of a transfer.
        Finished::TooLarge => Run::Unreadable,
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
fn report(witness: Witness<'_>, run: &Run) {
    let (ended, metric) = match run {
        Run::Performed { stored: Stored::Yes, .. } => ("performed", Metric::RunsPerformed),
        Run::Performed { stored: Stored::No, .. } => ("performed, not recorded", Metric::RunsPerformed),
        Run::Replayed(_) => ("replayed", Metric::RunsReplayed),
        Run::InFlight(_) => ("in progress", Metric::RunsInProgress),
        Run::KeyReused => ("key reused", Metric::KeysReused),
        Run::OutcomeUnknown => ("outcome unknown", Metric::OutcomeUnknown),
        Run::OutcomeStillUnknown => ("outcome still unknown", Metric::OutcomeStillUnknown),
        Run::Refused(problem) => (problem.kind().slug(), Metric::RunsRefused),
        Run::NotPerformed(reason) => (reason.because(), Metric::RunsNotPerformed),
        Run::StoreUnavailable => ("store unavailable", Metric::StoreUnavailable),
        Run::Unreadable => ("record unreadable", Metric::RecordsUnreadable),
    };
    count(metric);
    if matches!(run, Run::Performed { .. }) {
        telemetry::transfer_latency(witness.started.elapsed());
    }
    tracing::info!(
        message = "transfer",
        run = ended,
        transfer.r#type = witness.request.transfer.kind.name(),
        transfer.destination_type = witness.request.transfer.destination.kind(),
        duration_ms = millis(witness.started.elapsed()),
    );
}
