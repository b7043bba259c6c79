//! Retention policies: who declared or made which, how they are changed, and the jobs that make them on `guide`.
//!
//! On `platform` a policy is there when its POST is answered; it can be replaced, switched on or off and deleted, and
//! policies may overlap. One that would keep anything for longer than the organisation's cap is refused. On `guide` a
//! policy is made by a job, as a [`PolicyCourse`] says, and can never be changed: the same name again makes another
//! policy. A POST that comes close to an existing policy of another name is refused there with 409 (see
//! [`Simulator::refuse_overlaps`](crate::Simulator::refuse_overlaps)); a job that ends asks nobody again.
//!
//! What is stored is what was asked and what a server adds: an id, dates, and defaults. Nothing is ever archived or
//! deleted on account of a policy. Bulk deletion, the filters and sorting of the published list, recording jobs,
//! divisions and the policies' own errors are not simulated.

mod platform;
mod guide;
mod course;
mod jobs;
mod pages;
mod shape;

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};

pub use crate::retention::course::PolicyCourse;
pub use crate::retention::jobs::{Job, JobState};
pub use crate::retention::pages::{NextUri, Pages};
pub use crate::retention::shape::Policy;

pub(crate) use crate::retention::guide::create as create_on_guide;
pub(crate) use crate::retention::jobs::one as job;
pub(crate) use crate::retention::pages::list;
pub(crate) use crate::retention::platform::{create as create_on_platform, one as one_on_platform, settings};

use crate::api::Refusal;
use crate::directory::not_found;
use crate::retention::jobs::Running;
use crate::surface::Surface;
use crate::world::date;

/// A policy as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredPolicy {
    /// Its id.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// What it is for: the `objectType` of `guide`, or `call`, `chat`, `email` and `message` as far as `platform`'s
    /// `mediaPolicies` have them.
    pub object_types: Vec<String>,
    /// After how many days it deletes; the longest, if they differ.
    pub retention_days: Option<u64>,
    /// Where it comes from.
    pub origin: Origin,
    /// As a client reads it.
    pub stored: Value,
}

/// Where a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// A client made it.
    Created,
    /// It was there already.
    Declared,
}

/// A change that a client made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyWrite {
    /// Which.
    pub change: Change,
    /// The policy's id.
    pub policy: String,
    /// The policy's name, after the change.
    pub name: String,
    /// The body of the request; null for a deletion.
    pub asked: Value,
    /// The `X-Request-Id` that came with it, if it was text.
    pub request_id: Option<String>,
    /// When it happened, in milliseconds since the simulator started. That of a job is when the policy came to be.
    pub when: u64,
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A new policy.
    Created,
    /// All of it: PUT.
    Replaced,
    /// On or off: PATCH.
    Switched,
    /// Gone.
    Deleted,
}

/// What a client asks for, and how it is known.
#[derive(Debug, Clone)]
struct Order {
    body: Value,
    request_id: Option<String>,
}

impl Order {
    fn name(&self) -> &str {
        self.body["name"].as_str().unwrap_or_default()
    }
}

/// The policies, the jobs, and all that came of them.
#[derive(Default)]
pub(crate) struct Retention {
    /// In the order in which they came to be.
    policies: Vec<Kept>,
    jobs: Vec<Running>,
    writes: Vec<PolicyWrite>,
    pub(crate) pages: Pages,
    pub(crate) cap: Cap,
    pub(crate) overlaps: Overlaps,
    courses: Courses,
}

struct Kept {
    id: String,
    origin: Origin,
    stored: Value,
}

/// For how many days the organisation keeps anything at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cap(pub(crate) u64);

impl Default for Cap {
    fn default() -> Self {
        Self(36_500)
    }
}

/// What `guide` does about a policy that comes close to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Overlaps {
    #[default]
    Refused,
    Allowed,
}

/// Closer than this, in days, is an overlap.
const OVERLAP: u64 = 15;

/// How the next policies go: by their name, and otherwise.
#[derive(Default)]
struct Courses {
    usual: PolicyCourse,
    named: HashMap<String, PolicyCourse>,
}

impl Courses {
    fn of(&mut self, name: &str) -> &mut PolicyCourse {
        self.named.get_mut(name).unwrap_or(&mut self.usual)
    }
}

impl Retention {
    /// One of the same id is no more.
    pub(crate) fn declare(&mut self, id: &str, policy: Policy, surface: Surface, now: u64) {
        let mut stored = shape::completed(policy.asked(surface), id, surface, &date(now));
        policy.overrule(&mut stored);
        self.remove(id);
        self.policies.push(Kept { id: id.to_owned(), origin: Origin::Declared, stored });
    }

    /// Somebody else's change. There must be such a policy.
    pub(crate) fn edit(&mut self, id: &str, edit: impl FnOnce(&mut Value), now: u64) {
        let stored = self.stored_mut(id).expect("the policy is there: the caller named it");
        edit(stored);
        stored["modifiedDate"] = date(now).into();
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let count = self.policies.len();
        self.policies.retain(|kept| kept.id != id);
        self.policies.len() < count
    }

    pub(crate) fn policies(&self, surface: Surface) -> Vec<StoredPolicy> {
        self.policies.iter().map(|kept| kept.told(surface)).collect()
    }

    pub(crate) fn writes(&self) -> &[PolicyWrite] {
        &self.writes
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().map(|running| &running.job)
    }

    pub(crate) fn set_course(&mut self, course: PolicyCourse) {
        self.courses.usual = course;
    }

    pub(crate) fn set_course_of(&mut self, name: &str, course: PolicyCourse) {
        self.courses.named.insert(name.to_owned(), course);
    }

    fn stored(&self, id: &str) -> Result<&Value, Refusal> {
        let kept = self.policies.iter().find(|kept| kept.id == id);
        kept.map(|kept| &kept.stored).ok_or_else(|| not_found("no such policy"))
    }

    fn stored_mut(&mut self, id: &str) -> Result<&mut Value, Refusal> {
        let kept = self.policies.iter_mut().find(|kept| kept.id == id);
        kept.map(|kept| &mut kept.stored).ok_or_else(|| not_found("no such policy"))
    }

    /// The policy that comes to be now, as it is stored.
    fn create(&mut self, id: &str, order: &Order, days: Option<u64>, surface: Surface, now: u64) -> &Value {
        let mut stored = shape::completed(order.body.clone(), id, surface, &date(now));
        if let Some(days) = days {
            shape::set_days(&mut stored, surface, days);
        }
        self.record(Change::Created, id, order, now);
        self.policies.push(Kept { id: id.to_owned(), origin: Origin::Created, stored });
        self.policies.last().map_or(&Value::Null, |kept| &kept.stored)
    }

    fn record(&mut self, change: Change, id: &str, order: &Order, when: u64) {
        let name = match self.stored(id) {
            Ok(stored) => stored["name"].as_str().unwrap_or_default().to_owned(),
            Err(_) => order.name().to_owned(),
        };
        self.writes.push(PolicyWrite {
            change,
            policy: id.to_owned(),
            name,
            asked: order.body.clone(),
            request_id: order.request_id.clone(),
            when,
        });
    }

    /// An existing policy for the same objects under another name whose period comes close.
    fn overlapping(&self, order: &Order) -> Option<&str> {
        let asked = &order.body;
        let overlaps = |kept: &&Kept| {
            let stored = &kept.stored;
            let distance = stored["retentionPeriod"].as_u64().unwrap_or_default();
            let distance = distance.abs_diff(asked["retentionPeriod"].as_u64().unwrap_or_default());
            stored["objectType"] == asked["objectType"]
                && stored["name"] != asked["name"]
                && distance < OVERLAP
        };
        self.policies.iter().find(overlaps).map(|kept| kept.id.as_str())
    }
}

impl Kept {
    fn told(&self, surface: Surface) -> StoredPolicy {
        StoredPolicy {
            id: self.id.clone(),
            name: self.stored["name"].as_str().unwrap_or_default().to_owned(),
            is_enabled: self.stored["enabled"] == json!(true),
            object_types: shape::object_types(&self.stored, surface),
            retention_days: shape::days(&self.stored, surface).into_iter().max(),
            origin: self.origin,
            stored: self.stored.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
