//! One policy on its way, in one invocation.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use shared::genesys::retention::Found;
use shared::genesys::{Id, JobId, Surface};
use shared::random;
use tokio::time::Instant;

use crate::decide::{Case, Mark, are_close};
use crate::machine::{self, End, Next, Phase, Status};
use crate::order::{Entry, Fault, Rules, Written};
use crate::report::{self, Told};
use crate::state::{Kept, Work};

/// One policy on its way.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    /// The run it belongs to.
    pub(crate) run: String,
    /// What is under way, or what is wrong with how it is written.
    pub(crate) work: Result<Work, Vec<Fault>>,
    pub(crate) kept: Kept,
    pub(crate) next: Next,
    /// When that is to be done.
    pub(crate) due: Instant,
    pub(crate) started: Instant,
    pub(crate) events: Vec<Value>,
    /// How many of them the trail has been told of.
    pub(crate) told_events: usize,
    /// For how many days its objects were kept before.
    pub(crate) before: Option<u64>,
    /// What is written now, if what is under way was written otherwise.
    pub(crate) rewritten: Option<(Written, Rules)>,
    /// Whether the trail and others hear nothing of it.
    pub(crate) is_silent: bool,
    pub(crate) ended: Option<Told>,
}

impl Task {
    /// A policy of an order. What was begun for it before is carried on first; and what an earlier invocation of the same
    /// run has come to is not done again.
    pub(crate) fn ordered(
        entry: &Entry,
        rules: Rules,
        kept: Kept,
        run: &str,
        started: Instant,
        now: Timestamp,
    ) -> Self {
        let last = kept.known.last.as_ref().filter(|last| last.run == run);
        let ended = last.and_then(|last| Told::again(last, entry.written.as_ref().ok()));
        let (work, rewritten) = match (&entry.written, kept.known.work.clone()) {
            (Err(faults), _) => (Err(faults.clone()), None),
            (Ok(written), None) => (Ok(Work::new(written.clone(), rules, run, now)), None),
            // Nothing was asked for yet: what is written now is what counts.
            (Ok(written), Some(begun)) if begun.phase == Phase::Deciding => {
                (Ok(Work { written: written.clone(), rules, run: run.to_owned(), ..begun }), None)
            }
            (Ok(written), Some(begun)) => {
                let is_same = begun.written.policy == written.policy && begun.rules == rules;
                (Ok(begun), (!is_same).then(|| (written.clone(), rules)))
            }
        };
        Self { rewritten, ended, ..Self::new(entry.name.clone(), work, kept, run, started) }
    }

    /// A policy that was begun, and that no order names.
    pub(crate) fn begun(kept: Kept, started: Instant) -> Option<Self> {
        let work = kept.known.work.clone()?;
        let run = work.run.clone();
        Some(Self::new(kept.known.name.clone(), Ok(work), kept, &run, started))
    }

    /// The same, of which the trail and others hear nothing.
    pub(crate) fn silent(self) -> Self {
        Self { is_silent: true, ..self }
    }

    fn new(name: String, work: Result<Work, Vec<Fault>>, kept: Kept, run: &str, started: Instant) -> Self {
        let next = match &work {
            Ok(work) => machine::resume(&work.phase),
            Err(faults) => Next::End(Box::new(invalid(faults))),
        };
        Self {
            name,
            run: run.to_owned(),
            work,
            kept,
            next,
            due: started,
            started,
            events: Vec::new(),
            told_events: 0,
            before: None,
            rewritten: None,
            is_silent: false,
            ended: None,
        }
    }

    pub(crate) fn written(&self) -> Option<&Written> {
        self.work.as_ref().ok().map(|work| &work.written)
    }

    /// For how many days its objects are to be kept.
    pub(crate) fn days(&self) -> u64 {
        self.written().map_or(0, |written| written.policy.days)
    }

    /// What is decided from, besides what is there. `None` if it is not written as it must be.
    pub(crate) fn case<'c>(
        &'c self,
        surface: Surface,
        others: &'c [&'c Mark],
        cap: Option<u64>,
    ) -> Option<Case<'c>> {
        let Work { written, rules, .. } = self.work.as_ref().ok()?;
        Some(Case { surface, written, rules: *rules, mark: self.kept.known.mark.as_ref(), others, cap })
    }

    /// Whether something was asked for, or may have been.
    pub(crate) fn is_begun(&self) -> bool {
        self.work.as_ref().is_ok_and(|work| work.phase != Phase::Deciding)
    }

    /// Whether it is about the same objects as another, for a period that is close.
    pub(crate) fn comes_close_to(&self, other: &Self) -> bool {
        let (Some(one), Some(other)) = (self.written(), other.written()) else { return false };
        are_close(&one.policy, &other.policy)
    }

    /// The job that sees to it, if one does.
    pub(crate) fn job(&self) -> Option<&JobId> {
        match &self.work.as_ref().ok()?.phase {
            Phase::InJob { job, .. } => Some(job),
            Phase::Deciding | Phase::Sending { .. } | Phase::Conflicted { .. } | Phase::Reading { .. } => {
                None
            }
        }
    }

    /// Reading is put off until nothing else is to be done, where one list shows all policies.
    pub(crate) fn is_read_by_list(&self, surface: Surface) -> bool {
        surface == Surface::Guide && matches!(self.next, Next::Read { .. })
    }

    /// Whether what is next is done before another policy's turn comes, so that that one's look shows what came of it.
    pub(crate) fn is_at_once(&self, surface: Surface) -> bool {
        match self.next {
            Next::Send => true,
            Next::Read { after } => after.is_zero() && !self.is_read_by_list(surface),
            Next::Look { .. } | Next::Poll { .. } | Next::Leave(_) | Next::End(_) => false,
        }
    }

    /// For how many days a policy of this name keeps its objects as things are.
    pub(crate) fn days_in(&self, there: &[Found]) -> Option<u64> {
        let id = self.kept.known.mark.as_ref().and_then(|mark| mark.policy_id.as_ref());
        let remembered = id.and_then(|id| there.iter().find(|found| found.id.as_ref() == Some(id)));
        remembered.or_else(|| there.iter().find(|found| found.name == self.name))?.days
    }

    /// What the report says of it, ended so.
    pub(crate) fn told(&self, end: &End, now: Timestamp) -> Told {
        let faults = self.work.as_ref().err().map(Vec::as_slice).unwrap_or_default();
        Told::ended(&self.name, self.written(), faults, end, self.before, now)
    }

    /// Puts an end on the report.
    pub(crate) fn end(&mut self, end: &End, now: Timestamp) -> &Told {
        let told = self.told(end, now);
        let latency = self.started.elapsed();
        self.events.push(report::outcome(&self.name, &told.policy, end.status, latency, now));
        self.ended.insert(told.with(&self.run, self.events.clone()))
    }
}

impl Work {
    /// Work that nothing was done for.
    pub(crate) fn new(written: Written, rules: Rules, run: &str, since: Timestamp) -> Self {
        Self {
            written,
            rules,
            run: run.to_owned(),
            phase: Phase::Deciding,
            request_id: random::token(),
            since: since.as_millisecond(),
            is_told: false,
            is_given_up: false,
        }
    }

    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        let age = now.as_millisecond().saturating_sub(self.since);
        Duration::from_millis(u64::try_from(age).unwrap_or_default())
    }
}

/// A policy that was asked for, as it will be found.
pub(crate) fn as_there(surface: Surface, body: &Value, id: Option<&str>) -> Found {
    let mut stored = body.clone();
    if let Some(id) = id {
        stored["id"] = Value::from(id);
    }
    Found::of(surface, stored)
}

/// The policy that was changed by a task that ended so, as it is there now.
pub(crate) fn made(surface: Surface, end: &End) -> Option<Found> {
    let is_made = matches!(end.status, Status::Created | Status::Updated | Status::Merged);
    let Mark { policy_id, body, .. } = end.mark.as_ref().filter(|_| is_made)?;
    Some(as_there(surface, body.as_ref()?, policy_id.as_ref().map(Id::as_str)))
}

/// The end of a policy that is not written as it must be.
pub(crate) fn invalid(faults: &[Fault]) -> End {
    let faults: Vec<String> =
        faults.iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect();
    End { error: Some(faults.join("; ")), ..End::new(Status::Invalid) }
}
