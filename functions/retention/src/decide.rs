//! What is to be done about a policy, given what is there. Nothing here asks anybody anything.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::canonical::digest;
use shared::genesys::retention::{self, Found, Policy};
use shared::genesys::{PolicyId, Surface};

use crate::order::{OnDrift, OnOverlap, Rules, Written};

/// Two policies for the same objects whose periods are closer than this, in days, overlap: the guides' figure.
const OVERLAP: u64 = 15;

/// What is remembered of a policy that was deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) policy_id: Option<PolicyId>,
    /// The hash of what was desired.
    pub(crate) desired: String,
    /// What was asked for in the end; nothing if the policy that was there did as it stood.
    pub(crate) body: Option<Value>,
    /// For how many days its objects are kept.
    pub(crate) days: u64,
    pub(crate) whose: Whose,
    /// Our own policy, which stays there though ours was merged into another.
    pub(crate) own: Option<Box<Mark>>,
}

/// Whose policy it is that keeps the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Whose {
    /// It bears our policy's name.
    Ours,
    /// Ours was merged into another.
    Another,
}

/// A change that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) kind: Kind,
    /// The policy that is replaced; without one, a policy is registered.
    pub(crate) target: Option<PolicyId>,
    pub(crate) whose: Whose,
    pub(crate) body: Value,
    pub(crate) days: u64,
    /// Whether the one resolution of an overlap is spent.
    pub(crate) is_resolution: bool,
    /// The policies of this name that were there before.
    pub(crate) before: Vec<PolicyId>,
    /// Whose period is raised by it, if it is not our policy's.
    pub(crate) raised: Option<Raised>,
}

/// A policy of another name that is kept for longer, so that ours can be merged into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Raised {
    pub(crate) name: String,
    pub(crate) policy_id: Option<PolicyId>,
    /// For how many days it kept its objects; the shortest, where media differ.
    pub(crate) from: Option<u64>,
    pub(crate) to: u64,
}

/// What a change amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Create,
    Update,
    Merge,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Nothing: it is deployed, and this is how it is to be remembered.
    Unchanged(Mark),
    /// This.
    Write { write: Write, overlapping: usize },
    /// Nothing: another policy keeps the objects for the longest period already.
    Covered { mark: Mark, overlapping: usize },
    /// Somebody must say what is to be done about an overlap.
    Review { overlapping: Vec<String> },
    /// Somebody else has changed it.
    Drift { policy_id: Option<PolicyId>, because: &'static str },
    /// It cannot be deployed; why.
    Impossible(String),
}

/// What a decision is made from, besides what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) surface: Surface,
    pub(crate) written: &'a Written,
    pub(crate) rules: Rules,
    /// What was deployed before.
    pub(crate) mark: Option<&'a Mark>,
    /// What is remembered of all other policies.
    pub(crate) others: &'a [&'a Mark],
    /// For how many days the organisation keeps anything at most.
    pub(crate) cap: Option<u64>,
}

impl Case<'_> {
    /// What is to be done where these policies are.
    pub(crate) fn decide(&self, there: &[Found]) -> Decision {
        if let Some(fault) = self.fault() {
            return Decision::Impossible(fault);
        }
        let mark = match self.mark {
            Some(mark) if mark.whose == Whose::Another => {
                if let Some(decision) = self.decide_merged(mark, there) {
                    return decision;
                }
                mark.own.as_deref()
            }
            mark => mark,
        };
        let asked = self.body(self.written.policy.days);
        let Some(own) = self.own(mark, there) else { return self.place(None, there) };
        if own.is_as_asked(self.surface, &asked) {
            // What was asked for before may look the same, because the surface does not show where they differ.
            let is_changed_unseen =
                |before: &Value| *before != asked && own.is_as_asked(self.surface, before);
            return match mark.and_then(|mark| mark.body.as_ref()) {
                Some(before) if is_changed_unseen(before) => self.place(Some(own), there),
                _ => Decision::Unchanged(self.ours(own, asked)),
            };
        }
        let raised = self.raised_for_another(own);
        // What is written otherwise now, or for longer, is not what it was raised from.
        let is_as_written = mark.is_none_or(|mark| mark.desired == self.desired());
        if let Some(body) = raised.filter(|_| is_as_written && self.keeps(own, self.written.policy.days)) {
            return Decision::Unchanged(self.ours(own, body.clone()));
        }
        let is_as_left = |mark: &Mark| {
            let is_as_deployed = |body| own.is_as_asked(self.surface, body);
            raised.is_some() || mark.body.as_ref().is_some_and(is_as_deployed)
        };
        let because = match mark {
            Some(mark) if is_as_left(mark) => {
                if mark.desired == self.desired() && self.is_still_merged(own, there) {
                    return Decision::Unchanged(mark.clone());
                }
                return self.place(Some(own), there);
            }
            Some(_) => "it was changed since it was deployed",
            None => "there is one of this name that was not deployed from here, and it says something else",
        };
        match self.rules.on_drift {
            OnDrift::Report => Decision::Drift { policy_id: own.id.clone(), because },
            OnDrift::Apply => self.place(Some(own), there),
        }
    }

    /// What is to be done about a policy that was merged into another. `None` if that is no longer so.
    fn decide_merged(&self, mark: &Mark, there: &[Found]) -> Option<Decision> {
        let other = there.iter().find(|found| found.id.is_some() && found.id == mark.policy_id)?;
        if mark.desired != self.desired() {
            return None;
        }
        let is_as_left = match &mark.body {
            Some(body) => other.is_as_asked(self.surface, body),
            None => self.keeps(other, mark.days),
        };
        // It may be ours as well, and written otherwise now.
        let is_as_we_left_it = || {
            let is_its = |its: &&Mark| its.policy_id == mark.policy_id;
            let others = self.others.iter().copied();
            let mut bodies = others.filter(is_its).filter_map(|its| its.body.as_ref());
            bodies.any(|body| other.is_as_asked(self.surface, body))
        };
        match (is_as_left, &mark.body, self.rules.on_drift) {
            (true, _, _) => Some(Decision::Unchanged(mark.clone())),
            // What we raised for this policy, somebody has changed.
            (false, Some(_), OnDrift::Report) if !is_as_we_left_it() => Some(Decision::Drift {
                policy_id: other.id.clone(),
                because: "the policy that it was merged into was changed since",
            }),
            (false, Some(_), OnDrift::Report | OnDrift::Apply) | (false, None, _) => None,
        }
    }

    /// What our policy was asked to be when another one was merged into it, if that is how it stands.
    fn raised_for_another(&self, own: &Found) -> Option<&Value> {
        let is_into =
            |mark: &&Mark| mark.whose == Whose::Another && own.id.is_some() && mark.policy_id == own.id;
        let others = self.others.iter().copied();
        let mut bodies = others.filter(is_into).filter_map(|mark| mark.body.as_ref());
        bodies.find(|body| own.is_as_asked(self.surface, body))
    }

    /// Whether our policy, which is not as written because it was merged, would be merged so again.
    fn is_still_merged(&self, own: &Found, there: &[Found]) -> bool {
        let longest = self.overlapping(Some(own), there).iter().filter_map(|found| found.longest).max();
        longest.is_some_and(|longest| own.days == Some(longest.max(self.written.policy.days)))
    }

    /// What is to be done about an overlap that the surface told of, once.
    pub(crate) fn resolve(&self, there: &[Found]) -> Decision {
        let can_be_changed = self.surface == Surface::Platform;
        // Our own, where there is one that can be changed, stands in nobody's way; nor does one that is off, which is not
        // switched on by being changed.
        let own = self.own(self.own_mark().as_deref(), there).filter(|_| can_be_changed);
        let is_other = |found: &&Found| own.is_none_or(|own| own.id.is_none() || own.id != found.id);
        let is_in_the_way = |found: &&Found| self.is_close(found) && (found.is_enabled || !can_be_changed);
        let overlapping: Vec<&Found> = there.iter().filter(is_in_the_way).filter(is_other).collect();
        match self.rules.on_overlap {
            OnOverlap::Review => {
                Decision::Review { overlapping: overlapping.iter().map(|it| self.told(it)).collect() }
            }
            OnOverlap::Merge => match self.merge(own, &overlapping, there) {
                Decision::Write { write, overlapping } => {
                    Decision::Write { write: Write { is_resolution: true, ..write }, overlapping }
                }
                decision => decision,
            },
        }
    }

    /// The policy that a change was to bring about, if it is there.
    pub(crate) fn outcome_of<'f>(
        &self,
        write: &Write,
        id: Option<&PolicyId>,
        there: &'f [Found],
    ) -> Option<&'f Found> {
        let named = id.or(write.target.as_ref());
        let found = named.and_then(|id| there.iter().find(|found| found.id.as_ref() == Some(id)));
        if found.is_some() || write.target.is_some() {
            return found;
        }
        let is_before = |found: &Found| found.id.as_ref().is_some_and(|id| write.before.contains(id));
        let is_as_asked = |found: &&Found| found.is_as_asked(self.surface, &write.body);
        let is_new = |found: &&Found| found.name == self.written.policy.name && !is_before(found);
        let candidates = there.iter().filter(is_new);
        // Of one that shows no id nobody can say whether it was there before, unless it is what was asked for.
        candidates.clone().find(is_as_asked).or_else(|| candidates.clone().find(|found| found.id.is_some()))
    }

    /// How a change is to be remembered that has come about.
    pub(crate) fn mark_of(&self, write: &Write, policy_id: Option<PolicyId>) -> Mark {
        let body = Some(write.body.clone());
        let own = match write.whose {
            Whose::Ours => None,
            Whose::Another => self.own_mark(),
        };
        Mark { policy_id, desired: self.desired(), body, days: write.days, whose: write.whose, own }
    }

    /// What is remembered of a policy that bears our name.
    fn own_mark(&self) -> Option<Box<Mark>> {
        let mark = self.mark?;
        match mark.whose {
            Whose::Ours => Some(Box::new(mark.clone())),
            Whose::Another => mark.own.clone(),
        }
    }

    /// What stands in the way of the policy itself, whatever else is there.
    fn fault(&self) -> Option<String> {
        let unsupported = retention::unsupported(self.surface, &self.written.policy);
        if !unsupported.is_empty() {
            return Some(format!("unsupported: {}", unsupported.join("; ")));
        }
        self.over_the_cap(self.written.policy.days)
    }

    fn over_the_cap(&self, days: u64) -> Option<String> {
        let cap = self.cap.filter(|cap| days > *cap)?;
        Some(format!(
            "retentionPeriod {days} is over the {cap} days that the organisation keeps anything at most"
        ))
    }

    /// The policy that is ours: the one we remember, else the one of its name.
    fn own<'f>(&self, mark: Option<&Mark>, there: &'f [Found]) -> Option<&'f Found> {
        let id = mark.and_then(|mark| mark.policy_id.as_ref());
        let remembered = id.and_then(|id| there.iter().find(|found| found.id.as_ref() == Some(id)));
        let asked = self.body(self.written.policy.days);
        let namesakes = there.iter().filter(|found| found.name == self.written.policy.name);
        let as_asked = |found: &&Found| found.is_as_asked(self.surface, &asked);
        remembered.or_else(|| namesakes.clone().find(as_asked)).or_else(|| namesakes.clone().next())
    }

    /// The policy is to be put where `own` is, or nothing is yet.
    fn place(&self, own: Option<&Found>, there: &[Found]) -> Decision {
        let policy = &self.written.policy;
        // What overlaps now has overlapped before, unless it is about other objects or another period.
        let moves = own.is_none_or(|own| {
            own.object_type != Some(policy.object_type) || own.days != Some(policy.days) || !own.is_enabled
        });
        let overlapping = if moves { self.overlapping(own, there) } else { Vec::new() };
        match (overlapping.is_empty(), self.rules.on_overlap) {
            (true, _) => {
                let kind = if own.is_some() { Kind::Update } else { Kind::Create };
                self.write(kind, own, policy.days, 0, there)
            }
            (false, OnOverlap::Merge) => self.merge(own, &overlapping, there),
            (false, OnOverlap::Review) => {
                Decision::Review { overlapping: overlapping.iter().map(|it| self.told(it)).collect() }
            }
        }
    }

    /// A policy that stands in the way, in words.
    fn told(&self, found: &Found) -> String {
        let days = found.days.unwrap_or_default();
        if found.name == self.written.policy.name {
            return format!("an older version of itself ({days} days)");
        }
        format!("{} ({days} days)", found.name)
    }

    /// The policies in force that ours overlaps with, our own aside.
    fn overlapping<'f>(&self, own: Option<&Found>, there: &'f [Found]) -> Vec<&'f Found> {
        let policy = &self.written.policy;
        let is_other = |found: &Found| {
            found.name != policy.name && own.is_none_or(|own| own.id.is_none() || own.id != found.id)
        };
        let overlaps =
            |found: &&Found| policy.enabled && found.is_enabled && self.is_close(found) && is_other(found);
        there.iter().filter(overlaps).collect()
    }

    /// Everything is kept for the longest of the periods.
    fn merge(&self, own: Option<&Found>, overlapping: &[&Found], there: &[Found]) -> Decision {
        let asked = self.written.policy.days;
        let longest = overlapping.iter().max_by_key(|found| found.longest);
        let days = longest.and_then(|longest| longest.longest).unwrap_or_default().max(asked);
        // Our own policy, where it can be changed, does not stay as it was beside the one that is in force.
        let is_changed = self.surface == Surface::Platform && own.is_some();
        // An older version of ours is not what was asked for because it keeps for as long.
        let is_as_asked = |found: &Found| {
            found.name != self.written.policy.name
                || found.is_as_asked(self.surface, &self.body(found.days.unwrap_or(days)))
        };
        let is_in_force = |found: &&&Found| !is_changed && self.keeps(found, days) && is_as_asked(found);
        let in_force = overlapping.iter().find(is_in_force);
        if let Some(other) = in_force {
            let whose = if other.name == self.written.policy.name { Whose::Ours } else { Whose::Another };
            // As it stands, it does: nothing was asked of it.
            let body = match whose {
                Whose::Ours => Some(self.body(days)),
                Whose::Another => None,
            };
            let own = match whose {
                Whose::Ours => None,
                Whose::Another => self.own_mark(),
            };
            let mark = Mark { policy_id: other.id.clone(), desired: self.desired(), body, days, whose, own };
            return Decision::Covered { mark, overlapping: overlapping.len() };
        }
        let other = longest.filter(|other| own.is_none() && other.name != self.written.policy.name);
        match (self.surface, other) {
            (Surface::Platform, Some(other)) if other.id.is_some() => {
                if let Some(fault) = self.over_the_cap(days) {
                    return Decision::Impossible(fault);
                }
                let write = Write {
                    kind: Kind::Merge,
                    target: other.id.clone(),
                    whose: Whose::Another,
                    body: retention::raised(other, days),
                    days,
                    is_resolution: false,
                    before: Vec::new(),
                    raised: Some(Raised {
                        name: other.name.clone(),
                        policy_id: other.id.clone(),
                        from: other.days,
                        to: days,
                    }),
                };
                Decision::Write { write, overlapping: overlapping.len() }
            }
            (Surface::Platform | Surface::Guide, _) => {
                self.write(Kind::Merge, own, days, overlapping.len(), there)
            }
        }
    }

    fn write(
        &self,
        kind: Kind,
        own: Option<&Found>,
        days: u64,
        overlapping: usize,
        there: &[Found],
    ) -> Decision {
        if let Some(fault) = self.over_the_cap(days) {
            return Decision::Impossible(fault);
        }
        let target = match self.surface {
            Surface::Platform => own.and_then(|own| own.id.clone()),
            // A policy cannot be changed there: it is registered once more.
            Surface::Guide => None,
        };
        let namesakes = there.iter().filter(|found| found.name == self.written.policy.name);
        let before = namesakes.filter_map(|found| found.id.clone()).collect();
        let (body, whose) = (self.body(days), Whose::Ours);
        let write = Write { kind, target, whose, body, days, is_resolution: false, before, raised: None };
        Decision::Write { write, overlapping }
    }

    /// Whether a policy is about the same objects, for a period that is close.
    fn is_close(&self, found: &Found) -> bool {
        let policy = &self.written.policy;
        found.object_type == Some(policy.object_type)
            && [found.days, found.longest]
                .into_iter()
                .flatten()
                .any(|days| days.abs_diff(policy.days) < OVERLAP)
    }

    /// Whether a policy keeps these objects for so many days.
    fn keeps(&self, found: &Found, days: u64) -> bool {
        found.is_enabled
            && found.object_type == Some(self.written.policy.object_type)
            && found.days.is_some_and(|kept| kept >= days)
    }

    fn body(&self, days: u64) -> Value {
        retention::body(self.surface, &self.written.policy, days)
    }

    /// How our own policy is to be remembered, which stands as this body asks for it.
    fn ours(&self, own: &Found, body: Value) -> Mark {
        Mark {
            policy_id: own.id.clone(),
            desired: self.desired(),
            body: Some(body),
            days: own.days.unwrap_or(self.written.policy.days),
            whose: Whose::Ours,
            own: None,
        }
    }

    fn desired(&self) -> String {
        digest(self.body(self.written.policy.days).to_string().as_bytes())
    }
}

/// Whether two policies that are both in force would overlap.
pub(crate) fn are_close(one: &Policy, other: &Policy) -> bool {
    let are_in_force = one.enabled && other.enabled;
    are_in_force && one.object_type == other.object_type && one.days.abs_diff(other.days) < OVERLAP
}

#[cfg(test)]
pub(crate) mod tests;
