use serde_json::json;
use shared::genesys::retention::{Frequency, ObjectType, Policy, Schedule};

use super::*;

const SURFACES: [Surface; 2] = [Surface::Platform, Surface::Guide];

pub(crate) fn written(name: &str, days: u64) -> Written {
    let schedule = Schedule {
        frequency: Frequency::Daily,
        day_of_week: None,
        day_of_month: None,
        timezone: "UTC".to_owned(),
    };
    let policy = Policy {
        name: name.to_owned(),
        description: None,
        enabled: true,
        object_type: ObjectType::Call,
        days,
        schedule,
        filters: Vec::new(),
        tags: Vec::new(),
    };
    Written { policy, daily_volume_gb: None }
}

/// A policy that is there.
pub(crate) fn there(surface: Surface, id: &str, name: &str, days: u64) -> Found {
    let mut stored = retention::body(surface, &written(name, days).policy, days);
    stored["id"] = json!(id);
    Found::of(surface, stored)
}

fn changed(found: &Found, surface: Surface, change: impl FnOnce(&mut Value)) -> Found {
    let mut stored = found.stored.clone();
    change(&mut stored);
    Found::of(surface, stored)
}

pub(crate) const MERGE: Rules = Rules { on_overlap: OnOverlap::Merge, on_drift: OnDrift::Report };
pub(crate) const REVIEW: Rules = Rules { on_overlap: OnOverlap::Review, on_drift: OnDrift::Report };
pub(crate) const APPLY: Rules = Rules { on_overlap: OnOverlap::Review, on_drift: OnDrift::Apply };

fn case<'a>(surface: Surface, written: &'a Written, rules: Rules, mark: Option<&'a Mark>) -> Case<'a> {
    Case { surface, written, rules, mark, others: &[], cap: None }
}

fn id(text: &str) -> PolicyId {
    PolicyId::parse(text).unwrap()
}

/// How a policy of ours is remembered that was deployed as written.
pub(crate) fn deployed(surface: Surface, written: &Written, policy_id: &str) -> Mark {
    let case = case(surface, written, REVIEW, None);
    let asked = case.body(written.policy.days);
    case.ours(&there(surface, policy_id, &written.policy.name, written.policy.days), asked)
}

#[test]
fn what_is_nowhere_is_created_and_what_is_there_as_written_is_left_alone() {
    for surface in SURFACES {
        let written = written("Calls", 90);
        let case = case(surface, &written, REVIEW, None);
        let Decision::Write { write, overlapping: 0 } = case.decide(&[]) else { panic!("a write") };
        assert_eq!((write.kind, write.target, write.days), (Kind::Create, None, 90));
        let mark = deployed(surface, &written, "a");
        assert_eq!(case.decide(&[there(surface, "a", "Calls", 90)]), Decision::Unchanged(mark));
    }
}

#[test]
fn what_is_written_otherwise_now_is_updated_where_it_stands_as_it_was_deployed() {
    for surface in SURFACES {
        let (before, now) = (written("Calls", 90), written("Calls", 120));
        let mark = deployed(surface, &before, "a");
        let decision = case(surface, &now, REVIEW, Some(&mark)).decide(&[there(surface, "a", "Calls", 90)]);
        let Decision::Write { write, .. } = decision else { panic!("{decision:?}") };
        let target = (surface == Surface::Platform).then(|| id("a"));
        assert_eq!((write.kind, write.target, write.days), (Kind::Update, target, 120));
        assert_eq!(write.before, [id("a")]);
    }
}

#[test]
fn what_somebody_else_changed_is_drift_and_overwritten_only_where_that_was_ordered() {
    for surface in SURFACES {
        let written = written("Calls", 90);
        let mark = deployed(surface, &written, "a");
        let meddled = changed(&there(surface, "a", "Calls", 90), surface, |it| it["enabled"] = json!(false));
        for mark in [Some(&mark), None] {
            let report = case(surface, &written, REVIEW, mark).decide(std::slice::from_ref(&meddled));
            assert!(
                matches!(&report, Decision::Drift { policy_id, .. } if *policy_id == Some(id("a"))),
                "{report:?}"
            );
            let apply = case(surface, &written, APPLY, mark).decide(std::slice::from_ref(&meddled));
            assert!(
                matches!(&apply, Decision::Write { write, .. } if write.kind == Kind::Update),
                "{apply:?}"
            );
        }
    }
}

#[test]
fn what_is_gone_is_created_again() {
    for surface in SURFACES {
        let written = written("Calls", 90);
        let mark = deployed(surface, &written, "a");
        let decision =
            case(surface, &written, REVIEW, Some(&mark)).decide(&[there(surface, "b", "Else", 400)]);
        assert!(matches!(decision, Decision::Write { write, .. } if write.kind == Kind::Create));
    }
}

#[test]
fn an_overlap_is_less_than_fifteen_days_and_of_the_same_objects() {
    for surface in SURFACES {
        let written = written("Calls", 90);
        let decide = |found: Found| case(surface, &written, REVIEW, None).decide(&[found]);
        for (days, overlaps) in [(75, false), (76, true), (90, true), (104, true), (105, false)] {
            let decision = decide(there(surface, "o", "Other", days));
            assert_eq!(matches!(decision, Decision::Review { .. }), overlaps, "{days}: {decision:?}");
        }
        let mut chat = super::tests::written("Other", 90);
        chat.policy.object_type = ObjectType::Chat;
        let chat = Found::of(surface, retention::body(surface, &chat.policy, 90));
        assert!(matches!(decide(chat), Decision::Write { .. }));
        let off = changed(&there(surface, "o", "Other", 90), surface, |it| it["enabled"] = json!(false));
        assert!(matches!(decide(off), Decision::Write { .. }), "what is not in force overlaps with nothing");
    }
}

#[test]
fn a_merge_takes_the_longest_period_and_writes_nothing_that_is_in_force() {
    for surface in SURFACES {
        let written = written("Calls", 90);
        let others = [there(surface, "x", "Shorter", 80), there(surface, "y", "Longer", 100)];
        let decision = case(surface, &written, MERGE, None).decide(&others);
        let Decision::Covered { mark, overlapping: 2 } = decision else { panic!("{decision:?}") };
        assert_eq!((mark.policy_id.clone(), mark.days, mark.whose), (Some(id("y")), 100, Whose::Another));
        let again = case(surface, &written, MERGE, Some(&mark)).decide(&others);
        assert_eq!(again, Decision::Unchanged(mark.clone()), "and nothing the next time");
        let gone = case(surface, &written, MERGE, Some(&mark)).decide(&others[..1]);
        assert!(matches!(gone, Decision::Write { .. }), "what covered it is gone: {gone:?}");
    }
}

#[test]
fn a_merge_raises_what_is_there_where_that_can_be_and_registers_once_more_where_it_cannot() {
    let written = written("Calls", 90);
    let other = there(Surface::Platform, "x", "Shorter", 80);
    let decision = case(Surface::Platform, &written, MERGE, None).decide(std::slice::from_ref(&other));
    let Decision::Write { write, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((write.kind, write.target.clone(), write.days), (Kind::Merge, Some(id("x")), 90));
    assert_eq!(write.body["name"], "Shorter");
    let mark = case(Surface::Platform, &written, MERGE, None).mark_of(&write, Some(id("x")));
    let raised = there(Surface::Platform, "x", "Shorter", 90);
    let again = case(Surface::Platform, &written, MERGE, Some(&mark)).decide(std::slice::from_ref(&raised));
    assert_eq!(again, Decision::Unchanged(mark.clone()));
    let lowered = case(Surface::Platform, &written, MERGE, Some(&mark)).decide(&[other]);
    assert!(matches!(lowered, Decision::Drift { .. }), "somebody lowered it: {lowered:?}");

    let other = there(Surface::Guide, "x", "Shorter", 80);
    let decision = case(Surface::Guide, &written, MERGE, None).decide(&[other]);
    let Decision::Write { write, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((write.kind, write.target, write.body["name"].as_str()), (Kind::Merge, None, Some("Calls")));
}

#[test]
fn a_conflict_is_resolved_by_what_is_there_or_by_asking_once_more() {
    let written = written("Calls", 90);
    let case = case(Surface::Guide, &written, MERGE, None);
    let Decision::Write { write, overlapping: 0 } = case.resolve(&[]) else { panic!("a write") };
    assert!(write.is_resolution && write.days == 90);
    let covered = case.resolve(&[there(Surface::Guide, "y", "Longer", 100)]);
    assert!(matches!(covered, Decision::Covered { .. }), "{covered:?}");
    let off = changed(&there(Surface::Guide, "y", "Longer", 100), Surface::Guide, |it| {
        it["enabled"] = json!(false);
    });
    let Decision::Write { write, .. } = case.resolve(&[off]) else { panic!("a write") };
    assert_eq!(write.days, 100, "it is asked for as long as the one that is not in force");
}

#[test]
fn what_is_over_the_cap_or_has_no_place_is_never_written() {
    let mut written = written("Calls", 90);
    let capped = Case { cap: Some(60), ..case(Surface::Platform, &written, REVIEW, None) };
    assert!(matches!(capped.decide(&[]), Decision::Impossible(why) if why.contains("60 days")));
    let at_the_cap = Case { cap: Some(90), ..case(Surface::Platform, &written, REVIEW, None) };
    assert!(matches!(at_the_cap.decide(&[]), Decision::Write { .. }));
    written.policy.object_type = ObjectType::Task;
    let task = case(Surface::Platform, &written, REVIEW, None).decide(&[]);
    assert!(
        matches!(&task, Decision::Impossible(why) if why.starts_with("unsupported: objectType task")),
        "{task:?}"
    );
    assert!(matches!(case(Surface::Guide, &written, REVIEW, None).decide(&[]), Decision::Write { .. }));
}

#[test]
fn a_policy_that_another_was_merged_into_follows_its_own_text_when_that_changes() {
    let (before, longer) = (written("Calls", 60), written("Calls", 120));
    let mark = deployed(Surface::Platform, &before, "a");
    let raised = there(Surface::Platform, "a", "Calls", 70);
    let other = written("Talks", 70);
    let body = retention::body(Surface::Platform, &before.policy, 70);
    let talks = Mark {
        policy_id: Some(id("a")),
        desired: case(Surface::Platform, &other, MERGE, None).desired(),
        body: Some(body),
        days: 70,
        whose: Whose::Another,
        own: None,
    };
    let others = [&talks];
    let decide = |written: &Written| {
        let case = Case { others: &others, ..case(Surface::Platform, written, MERGE, Some(&mark)) };
        case.decide(std::slice::from_ref(&raised))
    };
    assert!(
        matches!(decide(&before), Decision::Unchanged(mark) if mark.days == 70),
        "we raised it ourselves"
    );
    let decision = decide(&longer);
    assert!(matches!(&decision, Decision::Write { write, .. } if write.days == 120), "{decision:?}");
}

#[test]
fn a_conflict_about_a_policy_that_can_be_replaced_makes_no_second_one() {
    let (before, now) = (written("Calls", 60), written("Calls", 70));
    let mark = deployed(Surface::Platform, &before, "a");
    let own = there(Surface::Platform, "a", "Calls", 60);
    let decision = case(Surface::Platform, &now, MERGE, Some(&mark)).resolve(&[own]);
    let Decision::Write { write, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((write.target, write.days), (Some(id("a")), 70));
}
