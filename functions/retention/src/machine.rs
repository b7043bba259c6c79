//! How a policy is deployed, as a state machine: (phase, event) → (phase, what to do next).
//!
//! ```text
//!             looked            asked: a job             completed            read back
//!  deciding ─────────► sending ─────────────► in a job ─────────────► reading ──────────► ended
//!     │  ▲                │ │  asked: done                              ▲
//!     │  │ throttled      │ └───────────────────────────────────────────┤
//!     │  └────────────────┤                                             │
//!     │                   └─ unclear: looks, until it is found ─────────┘
//!     └─ nothing to be done, or nothing that could be ──────────────────────────────────► ended
//! ```
//!
//! Pure: the driver (`run`) keeps each phase before it acts or waits, and carries out what is said here. What may have
//! been registered is looked for, for as long as a job may take; after that it is taken not to have been.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::genesys::retention::{Asked, Found, JobStanding, Unread};
use shared::genesys::{JobId, NotPerformed, PolicyId};

use crate::decide::{Case, Decision, Kind, Mark, Raised, Write};
use crate::settings::Polling;

/// How often a policy is asked for at most, in one run: once more after an overlap, and once more after an unclear answer.
const MAX_SENDS: u32 = 3;

/// How far a policy is. What is kept of a run that was cut off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Nothing was asked for.
    Deciding,
    /// It was to be asked for, and may have been.
    Sending {
        write: Write,
        /// How often it was, this time included.
        sends: u32,
        /// How often it was looked for since.
        looks: u32,
    },
    /// There is an overlap to be resolved.
    Conflicted { write: Write, sends: u32 },
    /// A job sees to it.
    InJob {
        write: Write,
        job: JobId,
        sends: u32,
        /// How often that was looked at.
        polls: u32,
        /// How often in a row nobody answered.
        #[serde(default)]
        misses: u32,
    },
    /// It is done, and is to be read back.
    Reading { write: Write, id: Option<PolicyId>, reads: u32 },
}

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    /// These policies are there.
    Looked(&'a [Found]),
    /// It could not be found out which are.
    NotLooked(Unread),
    Asked(Asked),
    Job(JobStanding),
    JobUnread(Unread),
    /// The policy that was made, if it is there.
    Read(Option<&'a Found>),
    NotRead(Unread),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Ask for what the phase says, once that is kept.
    Send,
    /// Find out which policies are there, after a wait.
    Look { after: Duration },
    /// Look at the job, after a wait.
    Poll { after: Duration },
    /// Read the policy that was made, after a wait.
    Read { after: Duration },
    /// Leave it for another invocation; why.
    Leave(&'static str),
    /// That was it.
    End(Box<End>),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) status: Status,
    pub(crate) policy_id: Option<PolicyId>,
    pub(crate) job: Option<JobId>,
    /// For how many days its objects are kept now, if that is known.
    pub(crate) in_force: Option<u64>,
    /// Whose period was raised for it.
    pub(crate) raised: Option<Raised>,
    pub(crate) error: Option<String>,
    /// How it is to be remembered, if that is another way than before.
    pub(crate) mark: Option<Mark>,
    /// Whether the work is to be taken up by a later run: its job may still come to an end.
    pub(crate) is_open: bool,
}

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Created,
    Updated,
    Unchanged,
    Merged,
    Drift,
    ReviewRequired,
    Pending,
    Invalid,
    Failed,
}

/// What the report tells besides how it ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    Overlap { overlapping: usize, merges: bool },
    Registered { job: JobId },
    JobCompleted { job: JobId },
    JobFailed { job: JobId },
    Unclear { because: &'static str },
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) phase: Phase,
    pub(crate) next: Next,
    pub(crate) notes: Vec<Note>,
}

impl Step {
    fn to(phase: Phase, next: Next) -> Self {
        Self { phase, next, notes: Vec::new() }
    }

    fn end(phase: Phase, end: End) -> Self {
        Self::to(phase, Next::End(Box::new(end)))
    }

    fn noting(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }
}

impl End {
    pub(crate) fn new(status: Status) -> Self {
        Self {
            status,
            policy_id: None,
            job: None,
            in_force: None,
            raised: None,
            error: None,
            mark: None,
            is_open: false,
        }
    }

    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(Status::Failed) }
    }

    fn standing(status: Status, mark: Mark) -> Self {
        let (policy_id, in_force) = (mark.policy_id.clone(), Some(mark.days));
        Self { policy_id, in_force, mark: Some(mark), ..Self::new(status) }
    }
}

/// What to do about an event that finds a policy in this phase. An event that does not belong to the phase changes nothing:
/// the phase's own question is asked again.
pub(crate) fn step(case: &Case<'_>, polling: Polling, phase: Phase, event: Event<'_>) -> Step {
    match (phase, event) {
        (Phase::Deciding, Event::Looked(there)) => decided(case.decide(there)),
        (Phase::Deciding, Event::NotLooked(unread)) => not_looked(unread),
        (Phase::Sending { write, sends, looks }, Event::Asked(asked)) => {
            answered(polling, write, sends, looks, asked)
        }
        (Phase::Sending { write, sends, looks }, Event::Looked(there)) => {
            sought(case, polling, write, sends, looks, there)
        }
        (Phase::Conflicted { write, sends }, Event::Looked(there)) => {
            resolved(case, polling, write, sends, there)
        }
        (Phase::InJob { write, job, sends, polls, misses: _ }, Event::Job(standing)) => {
            polled(polling, write, job, sends, polls, standing)
        }
        (phase @ Phase::InJob { .. }, Event::JobUnread(unread)) => job_unread(polling, phase, unread),
        (Phase::Reading { write, id, reads }, Event::Read(found)) => {
            read_back(case, polling, write, id, reads, found)
        }
        (Phase::Reading { write, id, reads }, Event::Looked(there)) => {
            let found = case.outcome_of(&write, id.as_ref(), there);
            read_back(case, polling, write, id, reads, found)
        }
        // What was begun stays as it is.
        (
            phase @ (Phase::Sending { .. } | Phase::Conflicted { .. } | Phase::Reading { .. }),
            Event::NotRead(unread) | Event::NotLooked(unread),
        ) => Step::to(phase, Next::Leave(unread.because())),
        (phase, _) => {
            let next = resume(&phase);
            Step::to(phase, next)
        }
    }
}

/// What to do first about a policy that is found in this phase. What may have been asked for is looked for first.
pub(crate) fn resume(phase: &Phase) -> Next {
    let after = Duration::ZERO;
    match phase {
        Phase::Deciding | Phase::Sending { .. } | Phase::Conflicted { .. } => Next::Look { after },
        Phase::InJob { .. } => Next::Poll { after },
        Phase::Reading { .. } => Next::Read { after },
    }
}

fn decided(decision: Decision) -> Step {
    match decision {
        Decision::Unchanged(mark) => Step::end(Phase::Deciding, End::standing(Status::Unchanged, mark)),
        Decision::Write { write, overlapping } => {
            let is_merge = write.kind == Kind::Merge;
            let step = Step::to(Phase::Sending { write, sends: 1, looks: 0 }, Next::Send);
            if is_merge { step.noting(Note::Overlap { overlapping, merges: true }) } else { step }
        }
        Decision::Covered { mark, overlapping } => {
            Step::end(Phase::Deciding, End::standing(Status::Merged, mark))
                .noting(Note::Overlap { overlapping, merges: true })
        }
        Decision::Review { overlapping } => {
            let note = Note::Overlap { overlapping: overlapping.len(), merges: false };
            Step::end(Phase::Deciding, review(&overlapping)).noting(note)
        }
        Decision::Drift { policy_id, because } => {
            let end = End { policy_id, error: Some(because.to_owned()), ..End::new(Status::Drift) };
            Step::end(Phase::Deciding, end)
        }
        Decision::Impossible(why) => Step::end(Phase::Deciding, End::failed(why)),
    }
}

fn review(overlapping: &[String]) -> End {
    let error = match overlapping {
        [] => "Genesys Cloud says that it overlaps with another policy, and none can be seen".to_owned(),
        overlapping => format!("it overlaps with {}", overlapping.join(", ")),
    };
    End { error: Some(error), ..End::new(Status::ReviewRequired) }
}

/// Without a look nothing is asked for. Who asked for patience gets it, and what there was no time for is done later; from
/// anybody else there is nothing to wait for.
fn not_looked(unread: Unread) -> Step {
    match unread {
        Unread::NotPerformed(NotPerformed::RateLimited { .. } | NotPerformed::OutOfTime) => {
            Step::to(Phase::Deciding, Next::Leave(unread.because()))
        }
        Unread::NotPerformed(
            NotPerformed::Unavailable | NotPerformed::Rejected | NotPerformed::Redirected,
        )
        | Unread::Unreadable(_) => Step::end(Phase::Deciding, End::failed(unread.because())),
    }
}

fn answered(polling: Polling, write: Write, sends: u32, looks: u32, asked: Asked) -> Step {
    match asked {
        Asked::Job(job) => {
            let note = Note::Registered { job: job.clone() };
            let next = Next::Poll { after: polling.wait_before(1) };
            Step::to(Phase::InJob { write, job, sends, polls: 0, misses: 0 }, next).noting(note)
        }
        Asked::Done(id) => Step::to(
            Phase::Reading { id: id.or_else(|| write.target.clone()), write, reads: 0 },
            Next::Read { after: Duration::ZERO },
        ),
        Asked::Accepted(because) => {
            let next = Next::Look { after: polling.wait_before(1) };
            Step::to(Phase::Sending { write, sends: MAX_SENDS, looks: 0 }, next)
                .noting(Note::Unclear { because })
        }
        Asked::Conflict if write.is_resolution => {
            let error = "Genesys Cloud still says that it overlaps with another policy".to_owned();
            let end = End { error: Some(error), ..End::new(Status::ReviewRequired) };
            Step::end(Phase::Sending { write, sends, looks }, end)
        }
        Asked::Conflict => Step::to(Phase::Conflicted { write, sends }, Next::Look { after: Duration::ZERO }),
        Asked::Refused(why) => Step::end(Phase::Sending { write, sends, looks }, End::failed(why)),
        // It was not asked for. A resolution that was begun stays the only one.
        Asked::NotPerformed(reason @ (NotPerformed::RateLimited { .. } | NotPerformed::OutOfTime)) => {
            let sends = sends.saturating_sub(1);
            let phase =
                if write.is_resolution { Phase::Conflicted { write, sends } } else { Phase::Deciding };
            Step::to(phase, Next::Leave(reason.because()))
        }
        Asked::NotPerformed(reason) => {
            Step::end(Phase::Sending { write, sends, looks }, End::failed(reason.because()))
        }
        Asked::Unclear(because) => {
            let next = Next::Look { after: polling.wait_before(1) };
            Step::to(Phase::Sending { write, sends, looks: 0 }, next).noting(Note::Unclear { because })
        }
    }
}

/// What may have been asked for is looked for.
fn sought(case: &Case<'_>, polling: Polling, write: Write, sends: u32, looks: u32, there: &[Found]) -> Step {
    let found = case.outcome_of(&write, None, there);
    let is_as_asked = found.is_some_and(|found| found.is_as_asked(case.surface, &write.body));
    match (found, &write.target) {
        (Some(found), None) => read_back(case, polling, write, found.id.clone(), 0, Some(found)),
        (Some(found), Some(_)) if is_as_asked => {
            read_back(case, polling, write, found.id.clone(), 0, Some(found))
        }
        (None, Some(_)) => Step::end(
            Phase::Sending { write, sends, looks },
            End::failed("the policy that was to be replaced is gone"),
        ),
        (None, None) if looks < polling.attempts => {
            let after = polling.wait_before(looks + 1);
            Step::to(Phase::Sending { write, sends, looks: looks + 1 }, Next::Look { after })
        }
        // It was not replaced; but somebody else may have changed it meanwhile.
        (Some(_), Some(_)) => replaced_again(case, write, sends, there),
        // What was not registered for so long was not registered.
        (None, None) if sends < MAX_SENDS => {
            Step::to(Phase::Sending { write, sends: sends + 1, looks: 0 }, Next::Send)
        }
        (None, None) => {
            let why = "it was asked for, and what came of it could not be found out";
            Step::end(Phase::Sending { write, sends, looks }, End::failed(why))
        }
    }
}

/// What was to be replaced, and was not, is decided upon anew.
fn replaced_again(case: &Case<'_>, write: Write, sends: u32, there: &[Found]) -> Step {
    let is_resolution = write.is_resolution;
    match case.decide(there) {
        Decision::Write { write, .. } if sends < MAX_SENDS => {
            let write = Write { is_resolution: is_resolution || write.is_resolution, ..write };
            Step::to(Phase::Sending { write, sends: sends + 1, looks: 0 }, Next::Send)
        }
        Decision::Write { .. } => {
            let why = "it was asked for several times, and is not as it was asked for";
            Step::end(Phase::Sending { write, sends, looks: 0 }, End::failed(why))
        }
        decision => decided(decision),
    }
}

/// An overlap that Genesys Cloud told of is resolved, once; unless it is with what we asked for before, and got no answer.
fn resolved(case: &Case<'_>, polling: Polling, write: Write, sends: u32, there: &[Found]) -> Step {
    let is_as_asked = |found: &&Found| found.is_as_asked(case.surface, &write.body);
    if let Some(found) = case.outcome_of(&write, None, there).filter(is_as_asked) {
        return read_back(case, polling, write, found.id.clone(), 0, Some(found));
    }
    let is_known = write.kind == Kind::Merge;
    let mut step = match case.resolve(there) {
        Decision::Write { write, overlapping } if sends < MAX_SENDS => {
            Step::to(Phase::Sending { write, sends: sends + 1, looks: 0 }, Next::Send)
                .noting(Note::Overlap { overlapping, merges: true })
        }
        Decision::Write { .. } => {
            let overlapping = Vec::new();
            Step::end(Phase::Conflicted { write, sends }, review(&overlapping))
                .noting(Note::Overlap { overlapping: 0, merges: false })
        }
        decision => decided(decision),
    };
    if is_known {
        step.notes.clear();
    }
    step
}

fn polled(polling: Polling, write: Write, job: JobId, sends: u32, polls: u32, standing: JobStanding) -> Step {
    let polls = polls.saturating_add(1);
    let is_last = polls >= polling.attempts;
    match standing {
        JobStanding::Completed(id) => {
            let note = Note::JobCompleted { job };
            Step::to(Phase::Reading { write, id, reads: 0 }, Next::Read { after: Duration::ZERO })
                .noting(note)
        }
        JobStanding::Failed(why) => {
            let end = End { job: Some(job.clone()), ..End::failed(format!("its job failed: {why}")) };
            Step::end(Phase::Deciding, end).noting(Note::JobFailed { job })
        }
        // A job that nobody knows, after all polls: its policy may be there, or come to be. It is not asked for again.
        JobStanding::Unknown if is_last => {
            let next = Next::Look { after: Duration::ZERO };
            Step::to(Phase::Sending { write, sends: MAX_SENDS, looks: 0 }, next)
        }
        JobStanding::Running if is_last => {
            let error = format!("its job was looked at {polls} times, and has not come to an end");
            let end = End { job: Some(job.clone()), is_open: true, ..End::failed(error) };
            Step::end(Phase::InJob { write, job, sends, polls, misses: 0 }, end)
                .noting(Note::Unclear { because: "the job has not come to an end" })
        }
        JobStanding::Running | JobStanding::Unknown => {
            let after = polling.wait_before(polls + 1);
            Step::to(Phase::InJob { write, job, sends, polls, misses: 0 }, Next::Poll { after })
        }
    }
}

/// A look at a job that nobody answered says nothing about it, and does not count as one; but the next is the later for it,
/// and not before Genesys Cloud wants to be asked.
fn job_unread(polling: Polling, phase: Phase, unread: Unread) -> Step {
    let Phase::InJob { write, job, sends, polls, misses } = phase else {
        return Step::to(phase, Next::Leave(unread.because()));
    };
    let wait = |asked: Option<Duration>| {
        let misses = misses.saturating_add(1);
        let after = polling.wait_before(polls.saturating_add(1).saturating_add(misses));
        let after = after.max(asked.unwrap_or_default());
        (misses, Next::Poll { after })
    };
    let (misses, next) = match unread {
        Unread::NotPerformed(NotPerformed::RateLimited { retry_after }) => wait(retry_after),
        Unread::NotPerformed(NotPerformed::Unavailable) => wait(None),
        Unread::NotPerformed(NotPerformed::Rejected | NotPerformed::Redirected | NotPerformed::OutOfTime)
        | Unread::Unreadable(_) => (misses, Next::Leave(unread.because())),
    };
    Step::to(Phase::InJob { write, job, sends, polls, misses }, next)
}

/// A policy stands as it was asked for only once it was read.
fn read_back(
    case: &Case<'_>,
    polling: Polling,
    write: Write,
    id: Option<PolicyId>,
    reads: u32,
    found: Option<&Found>,
) -> Step {
    let status = match write.kind {
        Kind::Create => Status::Created,
        Kind::Update => Status::Updated,
        Kind::Merge => Status::Merged,
    };
    let Some(found) = found else {
        let reads = reads.saturating_add(1);
        if reads < polling.attempts {
            let after = polling.wait_before(reads);
            return Step::to(Phase::Reading { write, id, reads }, Next::Read { after });
        }
        let error = "it was accepted, and is not among the policies that are there";
        // A later run looks for it once more, before it asks for another.
        let is_open = reads == polling.attempts;
        let end = End { policy_id: id.clone(), is_open, ..End::failed(error) };
        return Step::end(Phase::Reading { write, id, reads }, end);
    };
    let id = found.id.clone().or(id);
    let mark = case.mark_of(&write, id.clone());
    if found.is_as_asked(case.surface, &write.body) {
        let end = End { raised: write.raised, ..End::standing(status, mark) };
        return Step::end(Phase::Deciding, end);
    }
    let kept = match found.days {
        Some(days) if days != write.days => format!("it keeps for {days} days and not for {}", write.days),
        _ => "it differs from what was asked for".to_owned(),
    };
    let error = format!("read back, {kept}");
    let end = End { policy_id: id, in_force: found.days, mark: Some(mark), ..End::failed(error) };
    Step::end(Phase::Deciding, end)
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Merged => "merged",
            Self::Drift => "drift",
            Self::ReviewRequired => "review_required",
            Self::Pending => "pending",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests;
