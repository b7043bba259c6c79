//! The jobs that make policies on `guide`.
//!
//! A job ends as its [`PolicyCourse`] says: at once, after so many looks at it, or after so many pages of policies.
//! Only looks that were answered count, whether or not the answer arrived. The policy comes to be when its job
//! completes, and not before, unless the course says so. A job that has ended stays as it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::directory::not_found;
use crate::faults::under_fault;
use crate::oauth::authorized;
use crate::retention::course::{Ending, PolicyCourse};
use crate::retention::{Order, Retention};
use crate::surface::{Operation, Surface};
use crate::world::World;

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The name of the policy it makes.
    pub policy_name: String,
    /// The policy it has made, or had at once.
    pub policy: Option<String>,
    /// The body of the POST that began it.
    pub asked: Value,
    /// The `X-Request-Id` that came with it.
    pub request_id: Option<String>,
    /// How it stands.
    pub state: JobState,
    /// How often it was looked at, as far as that was answered.
    pub polls: u32,
    /// When it began, in milliseconds since the simulator started.
    pub when: u64,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum JobState {
    /// Not at its end.
    Running,
    /// The policy is made.
    Completed,
    /// It is not, and this is why.
    Failed(String),
}

/// `GET …/datamanagement/jobs/{id}`.
pub(crate) async fn one(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let token = authorized(&world, &headers, Operation::ReadJob)?;
    let work = async {
        let shown = world.state().retention.poll(&id, world.now());
        shown.map_or_else(|| not_found("no such job").into_response(), |it| Json(it).into_response())
    };
    Ok(under_fault(&world, Operation::ReadJob, Some(&token), work).await)
}

/// A job and how it goes on.
pub(super) struct Running {
    pub(super) job: Job,
    order: Order,
    course: PolicyCourse,
    lists: u32,
    /// What the policy is called, or will be.
    policy: String,
}

impl Running {
    fn is_due(&self) -> bool {
        let has_polls = self.job.polls >= self.course.polls;
        has_polls || self.course.lists.is_some_and(|lists| self.lists >= lists)
    }

    fn shown(&self) -> Option<Value> {
        let Job { state, policy, .. } = &self.job;
        let shown = match state {
            JobState::Running => json!({ "status": "RUNNING" }),
            JobState::Completed => json!({ "status": "COMPLETED", "result": { "policyId": policy } }),
            JobState::Failed(message) => json!({ "status": "FAILED", "errorMessage": message }),
        };
        (!self.course.is_forgotten).then_some(shown)
    }
}

impl Retention {
    /// The job is called `id`, and its policy `policy`.
    pub(super) fn begin(&mut self, id: &str, policy: &str, order: Order, course: PolicyCourse, now: u64) {
        let is_at_once = course.is_at_once;
        let job = Job {
            id: id.to_owned(),
            policy_name: order.name().to_owned(),
            policy: is_at_once.then(|| policy.to_owned()),
            asked: order.body.clone(),
            request_id: order.request_id.clone(),
            state: JobState::Running,
            polls: 0,
            when: now,
        };
        if is_at_once {
            self.create(policy, &order, course.days, Surface::Guide, now);
        }
        self.jobs.push(Running { job, order, course, lists: 0, policy: policy.to_owned() });
        self.end_jobs(now, Running::is_due);
    }

    /// Every running job ends now, as its course says.
    pub(crate) fn finish_jobs(&mut self, now: u64) {
        self.end_jobs(now, |_| true);
    }

    /// Counts a page of policies that was answered.
    pub(super) fn count_list(&mut self, now: u64) {
        self.jobs.iter_mut().for_each(|running| running.lists = running.lists.saturating_add(1));
        self.end_jobs(now, Running::is_due);
    }

    /// What a look at the job sees, which counts afterwards.
    fn poll(&mut self, id: &str, now: u64) -> Option<Value> {
        let running = self.jobs.iter_mut().find(|running| running.job.id == id)?;
        let shown = running.shown();
        running.job.polls = running.job.polls.saturating_add(1);
        self.end_jobs(now, Running::is_due);
        shown
    }

    fn end_jobs(&mut self, now: u64, is_ending: impl Fn(&Running) -> bool) {
        let mut made = Vec::new();
        for running in &mut self.jobs {
            if running.job.state != JobState::Running || !is_ending(running) {
                continue;
            }
            match &running.course.ending {
                Ending::Failed(message) => running.job.state = JobState::Failed(message.clone()),
                Ending::Completed => {
                    running.job.state = JobState::Completed;
                    if running.job.policy.replace(running.policy.clone()).is_none() {
                        made.push((running.policy.clone(), running.order.clone(), running.course.days));
                    }
                }
            }
        }
        for (policy, order, days) in made {
            self.create(&policy, &order, days, Surface::Guide, now);
        }
    }
}

#[cfg(test)]
mod tests;
