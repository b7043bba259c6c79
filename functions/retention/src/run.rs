//! One invocation: the policies of an order, and whatever was begun before, each taken as far as it goes.
//!
//! The driver does what the machine says: it looks, asks, polls and reads, one call at a time, and waits for whatever is due
//! first, so that the waits for many jobs pass together. Before it asks for anything, and before it waits, it keeps how far
//! the policy is. What it has no time for is left for another invocation.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::{Value, json};
use shared::audit::Entry;
use shared::genesys::Id;
use shared::lambda::{Deadline, Invocation};
use shared::telemetry::{Metric, chain, count, millis};
use tokio::time::Instant;

use crate::App;
use crate::decide::{Decision, Kind, Mark};
use crate::machine::{self, End, Event, Next, Phase, Status, Step};
use crate::report::{self, Told};
use crate::state::{self, Kept, Last, Work};
use crate::task::{Task, as_there, invalid, made};
use crate::upstream::{Reading, Upstream};

/// What a call takes at least, with the record of it.
const A_CALL: Duration = Duration::from_secs(2);

/// For how long Genesys Cloud is left alone when it is in trouble.
pub(crate) const LEFT_ALONE: Duration = Duration::from_secs(30);

/// How old a look may be that something is decided from.
const FRESH: Duration = Duration::from_secs(30);

/// A policy that is pending for longer is stuck.
const STUCK: Duration = Duration::from_hours(1);

/// Why a policy is pending that may be carried on.
const NO_TIME: &str = "there was no time left";
const IN_TROUBLE: &str = "Genesys Cloud is in trouble, and is left alone for a while";
const HELD_UP: &str = "another policy of ours, which it comes close to, is not at its end";
const FENCED: &str = "another run is at it";
const NOT_KEPT: &str = "the store could not be used, and how far it is could not be kept";

/// Takes policies as far as they go.
#[derive(Debug)]
pub(crate) struct Driver<'a> {
    pub(crate) app: &'a App,
    pub(crate) deadline: Deadline,
    invocation: &'a Invocation,
    upstream: Upstream<'a>,
    tasks: Vec<Task>,
    /// What is remembered of policies that are not among the tasks.
    others: Vec<Mark>,
}

/// Whether Genesys Cloud may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    Closed,
    /// It was in trouble a moment ago.
    Open,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        app: &'a App,
        invocation: &'a Invocation,
        deadline: Deadline,
        (tasks, others): (Vec<Task>, Vec<Mark>),
    ) -> Self {
        let upstream = Upstream::new(app, deadline.act_by());
        Self { app, deadline, invocation, upstream, tasks, others }
    }

    /// Takes each policy as far as it goes, and says in the order of the tasks what became of them.
    pub(crate) async fn drive(&mut self, circuit: Circuit) -> Vec<Told> {
        self.refuse_invalid().await;
        while let Some(index) = self.due_next() {
            let due = self.tasks[index].due;
            if !self.deadline.has_time_at(due, A_CALL) || self.now(circuit) == Circuit::Open {
                break;
            }
            tokio::time::sleep_until(due).await;
            self.take_on(index).await;
        }
        self.leave_the_rest(self.now(circuit)).await;
        self.tasks.drain(..).filter_map(|task| task.ended).collect()
    }

    /// Whether Genesys Cloud may still be called.
    pub(crate) fn now(&self, circuit: Circuit) -> Circuit {
        if self.upstream.is_in_trouble() { Circuit::Open } else { circuit }
    }

    /// What a run would do, of each policy: in the order of a run, but told in the order of the tasks.
    pub(crate) async fn plan(&mut self) -> Vec<Told> {
        let mut planned: Vec<(usize, Told)> = Vec::new();
        let mut by_length: Vec<usize> = (0..self.tasks.len()).collect();
        by_length.sort_by_key(|index| Reverse(self.tasks[*index].days()));
        for index in by_length {
            planned.push((index, self.plan_one(index).await));
        }
        planned.sort_by_key(|(index, _)| *index);
        planned.into_iter().map(|(_, told)| told).collect()
    }

    async fn plan_one(&mut self, index: usize) -> Told {
        let now = self.app.clock.now();
        let task = &self.tasks[index];
        let phase = match &task.work {
            Ok(work) => &work.phase,
            Err(faults) => return task.told(&invalid(faults), now).planned("none"),
        };
        if *phase != Phase::Deciding {
            let error = Some("an earlier run is at it".to_owned());
            let end = End { job: task.job().cloned(), error, ..End::new(Status::Pending) };
            return task.told(&end, now).planned("carry on");
        }
        let there = match self.upstream.look_to_decide(task.due).await {
            Ok(there) => there,
            Err(unread) => return task.told(&End::failed(unread.because()), now).planned("fail"),
        };
        let surface = self.upstream.surface();
        let others = self.others_than(index);
        let task = &self.tasks[index];
        let case = task.case(surface, &others, self.upstream.cap()).expect("it is written as it must be");
        let decision = case.decide(&there);
        let (action, end) = report::planned(&decision);
        let place = there.iter().find(|found| found.id.is_some() && found.id == end.policy_id);
        let before = task.days_in(&there).or(place.and_then(|found| found.days));
        if let Decision::Write { write, .. } = &decision {
            self.upstream.note(as_there(surface, &write.body, write.target.as_ref().map(Id::as_str)));
        }
        let task = &mut self.tasks[index];
        task.before = before;
        task.told(&end, now).planned(action)
    }

    /// The task that is due first; of those that are due together, the one with the longest period: where they overlap,
    /// others are merged into it.
    fn due_next(&self) -> Option<usize> {
        let surface = self.upstream.surface();
        let open = || self.tasks.iter().enumerate().filter(|(_, task)| task.ended.is_none());
        let has_its_turn = |task: &Task| {
            !matches!(task.next, Next::Leave(_)) && !task.is_read_by_list(surface) && !self.is_held_up(task)
        };
        let first = open()
            .filter(|(_, task)| has_its_turn(task))
            .min_by_key(|(index, task)| (task.due, Reverse(task.days()), *index));
        let to_be_read = open().find(|(_, task)| task.is_read_by_list(surface));
        match (first, to_be_read) {
            // Before time runs out, what was made is read.
            (Some((_, task)), Some((index, _))) if !self.deadline.has_time_at(task.due, A_CALL * 2) => {
                Some(index)
            }
            (Some((index, _)), _) | (None, Some((index, _))) => Some(index),
            (None, None) => None,
        }
    }

    /// Whether a policy must wait for another that it comes close to: whether they overlap shows when that one is there.
    fn is_held_up(&self, task: &Task) -> bool {
        let is_at_its_end =
            |other: &Task| other.ended.as_ref().is_some_and(|told| told.status != Status::Pending);
        let is_under_way = |other: &&Task| other.is_begun() && !is_at_its_end(other);
        !task.is_begun() && self.tasks.iter().filter(is_under_way).any(|other| other.comes_close_to(task))
    }

    /// Does what is next for a task, and keeps what came of it.
    async fn take_on(&mut self, index: usize) {
        // A job is kept before it is looked at, should that have failed before.
        let Task { kept, work: Ok(work), .. } = &self.tasks[index] else { return };
        if matches!(work.phase, Phase::InJob { .. }) && kept.known.work.as_ref() != Some(work) {
            self.keep(index).await;
            let task = &mut self.tasks[index];
            if task.kept.known.work.as_ref() != task.work.as_ref().ok() {
                task.next = Next::Leave(NOT_KEPT);
                return;
            }
        }
        let Task { next, due, work: Ok(work), .. } = &self.tasks[index] else { return };
        let (phase, due, called) = (work.phase.clone(), *due, Instant::now());
        let step = match next {
            Next::Send => {
                let Phase::Sending { write, .. } = &phase else { return };
                let asked = self.upstream.send(write, &work.request_id).await;
                self.step(index, phase, Event::Asked(asked))
            }
            Next::Look { .. } => {
                let looked = match phase {
                    // Nothing is decided from what was seen long ago.
                    Phase::Deciding => {
                        let recently = called.checked_sub(FRESH).unwrap_or(due);
                        self.upstream.look_to_decide(due.max(recently)).await
                    }
                    Phase::Sending { .. }
                    | Phase::Conflicted { .. }
                    | Phase::InJob { .. }
                    | Phase::Reading { .. } => self.upstream.look(due).await,
                };
                match looked {
                    Ok(there) => {
                        let task = &mut self.tasks[index];
                        task.before = task.before.or_else(|| task.days_in(&there));
                        self.step(index, phase, Event::Looked(&there))
                    }
                    // Who was told that it is carried on is not told that it came to nothing.
                    Err(unread) if phase == Phase::Deciding && work.is_told => {
                        Step { phase, next: Next::Leave(unread.because()), notes: Vec::new() }
                    }
                    Err(unread) => self.step(index, phase, Event::NotLooked(unread)),
                }
            }
            Next::Poll { .. } => {
                let event = self.upstream.poll(&phase).await.map_or_else(Event::JobUnread, Event::Job);
                self.step(index, phase, event)
            }
            Next::Read { .. } => match self.upstream.read(&phase, due).await {
                Ok(Reading::One(found)) => self.step(index, phase, Event::Read(found.as_ref())),
                Ok(Reading::All(there)) => self.step(index, phase, Event::Looked(&there)),
                Err(unread) => self.step(index, phase, Event::NotRead(unread)),
            },
            Next::Leave(_) | Next::End(_) => return,
        };
        self.carry_out(index, step, called).await;
    }

    fn step(&self, index: usize, phase: Phase, event: Event<'_>) -> Step {
        let others = self.others_than(index);
        let case = self.tasks[index].case(self.upstream.surface(), &others, self.upstream.cap());
        let case = case.expect("only what is written as it must be is taken on");
        machine::step(&case, self.app.settings.polling, phase, event)
    }

    /// What is remembered of all policies but this one.
    fn others_than(&self, index: usize) -> Vec<&Mark> {
        let tasks = self.tasks.iter().enumerate().filter(|(other, _)| *other != index);
        let marks = tasks.filter_map(|(_, task)| task.kept.known.mark.as_ref());
        marks.chain(&self.others).collect()
    }

    /// Keeps what a step has come to, and makes what is next due.
    async fn carry_out(&mut self, index: usize, step: Step, called: Instant) {
        let now = self.app.clock.now();
        let task = &mut self.tasks[index];
        let Ok(work) = &mut task.work else { return };
        for note in &step.notes {
            task.events.push(report::noted(&task.name, note, called.elapsed(), now));
            tracing::info!(message = "retention policy", policy.name = task.name, note = ?note);
        }
        work.phase = step.phase;
        task.next = step.next;
        if !task.is_at_once(self.upstream.surface()) {
            task.due = Instant::now();
        }
        match task.next.clone() {
            Next::Send => self.intend(index).await,
            Next::Look { after } | Next::Poll { after } | Next::Read { after } => {
                task.due += after;
                // What can be read at once needs no record that it was not.
                let is_read_at_once = matches!(task.next, Next::Read { .. }) && after.is_zero();
                let is_kept = task.kept.known.work.as_ref() == task.work.as_ref().ok();
                if !is_read_at_once && !is_kept {
                    self.keep(index).await;
                }
            }
            Next::Leave(_) => {}
            Next::End(end) => self.end(index, &end).await,
        }
    }

    /// What is about to be asked for is kept, with an entry on the trail. Without that nothing is asked for.
    async fn intend(&mut self, index: usize) {
        let task = &self.tasks[index];
        let Ok(work) = &task.work else { return };
        let Phase::Sending { write, sends, .. } = &work.phase else { return };
        let asked = work.written.policy.days;
        let mut told = json!({"name": task.name, "policyId": write.target, "retentionPeriod": asked});
        if write.kind == Kind::Merge {
            told["merge"] = report::merge(asked, write.days, write.raised.as_ref());
        }
        let entry = self
            .entry(task, "policy-intended", &told)
            .with("change", if write.target.is_some() { "replace" } else { "register" })
            .with("sends", sends)
            .with("upstreamRequestId", &work.request_id);
        let (app, now, until) = (self.app, self.app.clock.now(), self.deadline.act_by());
        let task = &mut self.tasks[index];
        task.kept.known.work = task.work.as_ref().ok().cloned();
        match app.state.tell(&mut task.kept, &entry, None, now, until).await {
            Ok(()) => task.told_events = task.events.len(),
            Err(state::Error::Fenced) => {
                not_kept(&task.name, &state::Error::Fenced);
                task.next = Next::Leave(FENCED);
            }
            Err(error) => {
                not_kept(&task.name, &error);
                self.show(index, &End::failed("the store could not be used, and nothing was asked for"));
            }
        }
    }

    async fn keep(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let before = std::mem::replace(&mut task.kept.known.work, task.work.as_ref().ok().cloned());
        if !keep(self.app, &task.name, &mut task.kept, self.deadline.answer_by()).await {
            task.kept.known.work = before;
        }
    }

    /// A policy came to an end: that is kept, told and announced, all at once.
    async fn end(&mut self, index: usize, end: &End) {
        if let Some(made) = made(self.upstream.surface(), end) {
            self.upstream.note(made);
        }
        let now = self.app.clock.now();
        let task = &mut self.tasks[index];
        let known = &mut task.kept.known;
        let is_as_known = end.mark.is_none() || end.mark == known.mark;
        let is_news = end.status != Status::Unchanged || !is_as_known || known.work.is_some();
        if let Some(mark) = &end.mark {
            known.mark = Some(mark.clone());
        }
        let given_up = |work: &Work| Work { is_given_up: true, ..work.clone() };
        known.work = if end.is_open { task.work.as_ref().ok().map(given_up) } else { None };
        self.show(index, end);
        if is_news {
            self.tell(index).await;
        }
        let task = &mut self.tasks[index];
        // What was under way is done; what is written now is another matter.
        if let Some((written, rules)) = task.rewritten.take()
            && !end.is_open
        {
            task.work = Ok(Work::new(written, rules, &task.run, now));
            task.next = Next::Look { after: Duration::ZERO };
            task.ended = None;
        }
    }

    /// Puts what a task has come to on the report.
    fn show(&mut self, index: usize, end: &End) {
        let now = self.app.clock.now();
        let task = &mut self.tasks[index];
        task.end(end, now);
        report::tally(end.status);
        tracing::info!(
            message = "retention policy",
            policy.name = task.name,
            status = end.status.name(),
            policy.id = end.policy_id.as_ref().map(Id::as_str),
            reason = end.error,
            genesys.correlation_id = self.upstream.correlation_id(),
            duration_ms = millis(task.started.elapsed()),
        );
    }

    /// Tells the trail and the subscriber of an end that is on the report.
    async fn tell(&mut self, index: usize) {
        let (app, now, until) = (self.app, self.app.clock.now(), self.deadline.answer_by());
        let task = &self.tasks[index];
        let Some(told) = task.ended.as_ref().filter(|_| !task.is_silent) else { return };
        let entry = self
            .entry(task, report::action(told.status), &told.policy)
            .with("genesysCorrelationId", self.upstream.correlation_id())
            .with("durationMs", millis(task.started.elapsed()));
        let notice = report::notice(app.settings.audit_webhook_url.as_ref(), told, now);
        let last = Last { run: task.run.clone(), told: told.policy.clone(), events: told.events.clone() };
        let is_pending = told.status == Status::Pending;
        let task = &mut self.tasks[index];
        if !is_pending {
            // The end of what was written before is no end of what this run was asked for.
            task.kept.known.last = Some(last).filter(|_| task.rewritten.is_none());
        } else if let Some(work) = &mut task.kept.known.work {
            work.is_told = true;
        }
        match app.state.tell(&mut task.kept, &entry, notice.as_ref(), now, until).await {
            Ok(()) => task.told_events = task.events.len(),
            Err(error) => not_kept(&task.name, &error),
        }
    }

    fn entry(&self, task: &Task, action: &str, told: &Value) -> Entry {
        let events = &task.events[task.told_events..];
        report::entry(action, self.invocation, self.app.state.place(), &task.run, told, events)
    }

    /// Policies that are not written as they must be come to an end before anything else begins.
    async fn refuse_invalid(&mut self) {
        for index in 0..self.tasks.len() {
            let task = &self.tasks[index];
            if let (Next::End(end), None) = (&task.next, &task.ended) {
                let end = end.clone();
                self.show(index, &end);
                if Instant::now() < self.deadline.act_by() {
                    self.tell(index).await;
                }
            }
        }
    }

    /// What there was no time for, or nobody to do it with, is pending. What was begun is kept first; of the rest the order
    /// tells too, should there be no time to tell of each.
    async fn leave_the_rest(&mut self, circuit: Circuit) {
        let (act_by, answer_by) = (self.deadline.act_by(), self.deadline.answer_by());
        let is_left = |task: &Task| task.ended.is_none();
        let (begun, waiting): (Vec<usize>, Vec<usize>) = (0..self.tasks.len())
            .filter(|index| is_left(&self.tasks[*index]))
            .partition(|index| self.tasks[*index].is_begun());
        for index in begun {
            self.leave(index, circuit, answer_by).await;
        }
        for index in waiting {
            // The other half is for giving the lease back.
            self.leave(index, circuit, act_by + (answer_by - act_by) / 2).await;
        }
    }

    async fn leave(&mut self, index: usize, circuit: Circuit, until: Instant) {
        let now = self.app.clock.now();
        let is_held_up = self.is_held_up(&self.tasks[index]);
        let task = &mut self.tasks[index];
        let Ok(work) = &task.work else { return };
        let why = match (&task.next, circuit) {
            (Next::Leave(why), _) => *why,
            (_, Circuit::Open) => IN_TROUBLE,
            (_, Circuit::Closed) if is_held_up => HELD_UP,
            (_, Circuit::Closed) => NO_TIME,
        };
        let is_begun = task.is_begun();
        // Nothing was asked for, and there is nobody to ask: that is an end.
        if !is_begun && !work.is_told && circuit == Circuit::Open {
            task.rewritten = None;
            self.end(index, &End::failed(why)).await;
            return;
        }
        if work.age(now) > STUCK {
            count(Metric::PoliciesStuck);
            tracing::warn!(
                message = "a retention policy is stuck",
                policy.name = task.name,
                age_ms = millis(work.age(now))
            );
        }
        let is_told = work.is_told;
        let left = Some(work.clone());
        let is_kept = task.kept.known.work == left;
        let end = End { job: task.job().cloned(), error: Some(why.to_owned()), ..End::new(Status::Pending) };
        task.kept.known.work = left;
        self.show(index, &end);
        if why == FENCED || Instant::now() >= until {
            return;
        }
        if !is_told {
            self.tell(index).await;
        } else if !is_kept {
            let task = &mut self.tasks[index];
            keep(self.app, &task.name, &mut task.kept, until).await;
        }
    }
}

/// Whether it could be kept.
async fn keep(app: &App, name: &str, kept: &mut Kept, until: Instant) -> bool {
    let kept = app.state.keep(kept, until).await;
    kept.map_err(|error| not_kept(name, &error)).is_ok()
}

fn not_kept(name: &str, error: &state::Error) {
    count(match error {
        state::Error::Fenced => Metric::RunsFenced,
        state::Error::Store(_) | state::Error::Trail(_) | state::Error::Unreadable(_) => {
            Metric::OutcomesNotStored
        }
    });
    let error = chain(error);
    tracing::error!(message = "how far a retention policy is could not be kept", policy.name = name, error);
}
