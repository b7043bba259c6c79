//! Every history there can be, up to a length: whatever happens, in whatever order.

use std::collections::BTreeSet;

use shared::genesys::Surface;

use super::*;
use crate::decide::tests::{APPLY, MERGE, REVIEW, deployed, there, written};
use crate::order::{Rules, Written};

const POLLING: Polling = Polling { base: Duration::from_secs(2), attempts: 2 };

/// How long a history may be.
const LENGTH: usize = 7;

/// What has happened in a history, as far as it matters for what may come next.
#[derive(Clone, Debug, Default)]
struct Past {
    sends: u32,
    conflicts: u32,
    /// Since the last time it was asked for: whether one more may have been made, and how often it was looked for then.
    may_be_there: bool,
    looks: u32,
    /// Whether what was asked for last was to replace what is there.
    replaces: bool,
    /// Whether Genesys Cloud said once that it takes it on, and not how one could follow it.
    was_accepted: bool,
    events: Vec<String>,
}

struct Explorer<'a> {
    case: Case<'a>,
    surface: Surface,
    there: Vec<Vec<Found>>,
    histories: usize,
    ends: BTreeSet<&'static str>,
}

#[test]
fn whatever_happens_nothing_is_asked_for_twice_that_may_have_been_done() {
    let (now, before) = (written("Calls", 90), written("Calls", 60));
    for surface in [Surface::Platform, Surface::Guide] {
        let (mut ends, mut histories) = (BTreeSet::new(), 0);
        for rules in [MERGE, REVIEW, APPLY] {
            for mark in [None, Some(deployed(surface, &now, "a")), Some(deployed(surface, &before, "a"))] {
                let mut explorer = Explorer::new(surface, &now, rules, mark.as_ref());
                explorer.go_on(&Phase::Deciding, resume(&Phase::Deciding), &Past::default());
                histories += explorer.histories;
                ends.append(&mut explorer.ends);
            }
        }
        let all = ["created", "drift", "failed", "merged", "review_required", "unchanged", "updated"];
        assert_eq!(ends, all.into(), "{surface:?}");
        assert!(histories > 20_000, "{surface:?}: {histories}");
    }
}

impl<'a> Explorer<'a> {
    fn new(surface: Surface, written: &'a Written, rules: Rules, mark: Option<&'a Mark>) -> Self {
        let case = Case { surface, written, rules, mark, others: &[], cap: None };
        let worlds = [
            vec![],
            vec![there(surface, "a", "Calls", 90)],
            vec![there(surface, "a", "Calls", 60)],
            vec![there(surface, "o", "Other", 85)],
            vec![there(surface, "o", "Other", 95)],
        ];
        Self { case, surface, there: worlds.into(), histories: 0, ends: BTreeSet::new() }
    }

    /// Takes every event that can come next.
    fn go_on(&mut self, phase: &Phase, next: Next, past: &Past) {
        // An invocation may be cut off here: the next one looks before it asks for anything.
        assert_ne!(resume(phase), Next::Send, "{past:?}");
        let kept: Phase = serde_json::from_str(&serde_json::to_string(phase).unwrap()).unwrap();
        assert_eq!(kept, *phase);
        if past.events.len() == LENGTH {
            self.histories += 1;
            return;
        }
        let worlds = self.there.clone();
        let throttled = Unread::NotPerformed(NotPerformed::RateLimited { retry_after: None });
        let away = Unread::NotPerformed(NotPerformed::Unavailable);
        let events: Vec<Event<'_>> = match next {
            Next::Look { .. } => worlds
                .iter()
                .map(|there| Event::Looked(there))
                .chain([Event::NotLooked(throttled), Event::NotLooked(away)])
                .collect(),
            Next::Send => {
                let job = Asked::Job(JobId::parse("j").unwrap());
                let done = Asked::Done(Some(PolicyId::parse("a").unwrap()));
                [
                    job,
                    done,
                    Asked::Done(None),
                    Asked::Conflict,
                    Asked::Refused("no".to_owned()),
                    Asked::NotPerformed(NotPerformed::RateLimited { retry_after: None }),
                    Asked::NotPerformed(NotPerformed::Unavailable),
                    Asked::NotPerformed(NotPerformed::OutOfTime),
                    Asked::NotPerformed(NotPerformed::Rejected),
                    Asked::Accepted("it names no job"),
                    Asked::Unclear("lost"),
                ]
                .map(Event::Asked)
                .into()
            }
            Next::Poll { .. } => [
                Event::Job(JobStanding::Running),
                Event::Job(JobStanding::Completed(Some(PolicyId::parse("a").unwrap()))),
                Event::Job(JobStanding::Failed("no".to_owned())),
                Event::Job(JobStanding::Unknown),
                Event::JobUnread(throttled),
                Event::JobUnread(Unread::NotPerformed(NotPerformed::OutOfTime)),
            ]
            .into(),
            Next::Read { .. } => worlds
                .iter()
                .map(|there| match self.surface {
                    Surface::Platform => Event::Read(there.first()),
                    Surface::Guide => Event::Looked(there),
                })
                .chain([Event::NotRead(away)])
                .collect(),
            Next::Leave(_) => return self.is_left(phase, past),
            Next::End(end) => return self.is_ended(&end, past),
        };
        for event in events {
            self.take(phase.clone(), event, past);
        }
    }

    fn take(&mut self, phase: Phase, event: Event<'_>, past: &Past) {
        let mut past = past.clone();
        past.events.push(format!("{event:?}"));
        match &event {
            Event::Asked(asked) => {
                let may_be_done =
                    matches!(asked, Asked::Job(_) | Asked::Done(_) | Asked::Accepted(_) | Asked::Unclear(_));
                past.may_be_there = may_be_done && !past.replaces;
                past.was_accepted |= matches!(asked, Asked::Accepted(_));
                past.conflicts += u32::from(*asked == Asked::Conflict);
                past.looks = 0;
            }
            Event::Looked(_) => past.looks += 1,
            _ => {}
        }
        let step = step(&self.case, POLLING, phase, event);
        if step.next == Next::Send {
            past.sends += 1;
            let Phase::Sending { write, .. } = &step.phase else { panic!("{:?} {past:?}", step.phase) };
            // What may have been made was looked for, for as long as a job may take.
            assert!(!past.may_be_there || past.looks > POLLING.attempts, "{past:?}");
            assert!(!past.was_accepted, "it was accepted, and is asked for once more: {past:?}");
            past.replaces = write.target.is_some();
            assert!(past.conflicts < 2 && past.sends <= MAX_SENDS + 1, "{past:?}");
        }
        self.go_on(&step.phase, step.next, &past);
    }

    fn is_left(&mut self, phase: &Phase, past: &Past) {
        self.histories += 1;
        assert!(*phase == Phase::Deciding || past.sends > 0, "{past:?}");
    }

    fn is_ended(&mut self, end: &End, past: &Past) {
        self.histories += 1;
        self.ends.insert(end.status.name());
        let is_done =
            matches!(end.status, Status::Created | Status::Updated | Status::Merged | Status::Unchanged);
        assert_eq!(end.error.is_none(), is_done, "{past:?}");
        if is_done {
            let last = past.events.last().expect("something has happened");
            assert!(
                last.starts_with("Looked([F") || last.starts_with("Read(Some"),
                "it was not read: {past:?}"
            );
            let days = end.in_force.expect("what is in force is known");
            assert!(days >= 90 || end.status == Status::Unchanged, "lowered: {past:?}");
        }
    }
}

#[test]
fn the_waits_grow_as_the_setting_says() {
    let waits: Vec<u64> = (1..=4).map(|poll| POLLING.wait_before(poll).as_secs()).collect();
    assert_eq!(waits, [2, 4, 6, 8]);
}

#[test]
fn a_job_is_polled_as_often_as_it_may_be_and_then_stays_open() {
    let written = written("Calls", 90);
    let case =
        Case { surface: Surface::Guide, written: &written, rules: MERGE, mark: None, others: &[], cap: None };
    let Decision::Write { write, .. } = case.decide(&[]) else { panic!("a write") };
    let job = JobId::parse("j").unwrap();
    let mut phase = Phase::InJob { write, job, sends: 1, polls: 0, misses: 0 };
    for _ in 1..POLLING.attempts {
        let polled = step(&case, POLLING, phase, Event::Job(JobStanding::Running));
        assert!(matches!(polled.next, Next::Poll { .. }));
        phase = polled.phase;
    }
    let unread = Event::JobUnread(Unread::NotPerformed(NotPerformed::Unavailable));
    let missed = step(&case, POLLING, phase.clone(), unread);
    assert!(
        matches!(missed.phase, Phase::InJob { polls: 1, misses: 1, .. }),
        "what nobody answered is no look: {missed:?}"
    );
    assert_eq!(missed.next, Next::Poll { after: POLLING.wait_before(3) }, "but the next is later for it");
    let patience = Duration::from_secs(90);
    let asked = NotPerformed::RateLimited { retry_after: Some(patience) };
    let patient = step(&case, POLLING, phase.clone(), Event::JobUnread(Unread::NotPerformed(asked)));
    assert_eq!(patient.next, Next::Poll { after: patience }, "it is waited for as long as is asked");
    let last = step(&case, POLLING, phase, Event::Job(JobStanding::Running));
    assert!(matches!(last.next, Next::End(end) if end.is_open && end.status == Status::Failed));
}
