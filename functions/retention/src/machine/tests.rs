//! Every history there can be, up to a length: whatever happens, in whatever order.

use shared::genesys::Surface;

use super::*;
use crate::decide::tests::{MERGE, there, written};
use crate::order::Written;

const POLLING: Polling = Polling { base: Duration::from_secs(2), attempts: 2 };

/// How long a history may be.
const LENGTH: usize = 8;

/// What has happened in a history, as far as it matters for what may come next.
#[derive(Clone, Debug, Default)]
struct Past {
    sends: u32,
    conflicts: u32,
    /// Since the last time it was asked for: whether that may have been done, and how often it was looked for then.
    may_be_there: bool,
    looks: u32,
    events: Vec<String>,
}

struct Explorer<'a> {
    case: Case<'a>,
    surface: Surface,
    there: Vec<Vec<Found>>,
    histories: usize,
    ends: std::collections::BTreeSet<&'static str>,
}

#[test]
fn whatever_happens_nothing_is_asked_for_twice_that_may_have_been_done() {
    let written = written("Calls", 90);
    for surface in [Surface::Platform, Surface::Guide] {
        let mut explorer = Explorer::new(surface, &written);
        explorer.go_on(&Phase::Deciding, resume(&Phase::Deciding), &Past::default());
        assert!(explorer.histories > 5_000, "{}", explorer.histories);
        let ends = ["created", "drift", "failed", "merged", "review_required", "unchanged"];
        for end in ends {
            assert!(explorer.ends.contains(end) || end == "drift", "{surface:?} never {end}");
        }
    }
}

impl<'a> Explorer<'a> {
    fn new(surface: Surface, written: &'a Written) -> Self {
        let case = Case { surface, written, rules: MERGE, mark: None, others: &[], cap: None };
        let worlds = [
            vec![],
            vec![there(surface, "a", "Calls", 90)],
            vec![there(surface, "a", "Calls", 60)],
            vec![there(surface, "o", "Other", 85)],
            vec![there(surface, "o", "Other", 95)],
        ];
        Self { case, surface, there: worlds.into(), histories: 0, ends: std::collections::BTreeSet::new() }
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
                past.may_be_there = matches!(asked, Asked::Job(_) | Asked::Done(_) | Asked::Unclear(_));
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
            // What may be there was looked for, for as long as a job may take; but to replace is harmless.
            let was_sought = past.looks > POLLING.attempts || write.target.is_some();
            assert!(!past.may_be_there || was_sought, "{past:?}");
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
    let mut phase = Phase::InJob { write, job, sends: 1, polls: 0 };
    for _ in 1..POLLING.attempts {
        let polled = step(&case, POLLING, phase, Event::Job(JobStanding::Running));
        assert!(matches!(polled.next, Next::Poll { .. }));
        phase = polled.phase;
    }
    let unread = Event::JobUnread(Unread::NotPerformed(NotPerformed::Unavailable));
    assert_eq!(
        step(&case, POLLING, phase.clone(), unread).phase,
        phase,
        "what nobody answered does not count"
    );
    let last = step(&case, POLLING, phase, Event::Job(JobStanding::Running));
    assert!(matches!(last.next, Next::End(end) if end.is_open && end.status == Status::Failed));
}
