//! What a person says of retention: which policies there are, how the next ones go, and how the organisation is.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::extract::{Path, State};
use bytes::Bytes;
use http::StatusCode;

use crate::control::fields::{BadInput, Fields};
use crate::retention::{Cap, NextUri, Overlaps, Pages, Policy, PolicyCourse};
use crate::world::World;

/// Of counts and of days.
const ANY: RangeInclusive<u64> = 0..=u32::MAX as u64;

/// `PUT …/policies/{id}`: a name, an object type and a period; whatever else is there is a member of the policy.
pub(super) async fn declare(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, BadInput> {
    let mut fields = Fields::read(&body)?;
    let name = fields.text("name")?.unwrap_or_else(|| id.clone());
    let object_type = fields.text("objectType")?.unwrap_or_else(|| "call".to_owned());
    let policy = Policy::new(&name, &object_type, fields.number("retentionPeriod", 90, ANY)?);
    let policy = fields.0.into_iter().fold(policy, |policy, (name, value)| policy.member(&name, value));
    let now = world.now();
    world.state().retention.declare(&id, policy, world.surface, now);
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE …/policies/{id}`.
pub(super) async fn remove(State(world): State<Arc<World>>, Path(id): Path<String>) -> StatusCode {
    let was_there = world.state().retention.remove(&id);
    if was_there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

/// `PUT …/policy-course`: of the policies of a name, if one is given, and otherwise of all others.
pub(super) async fn course(State(world): State<Arc<World>>, body: Bytes) -> Result<StatusCode, BadInput> {
    let mut fields = Fields::read(&body)?;
    let name = fields.text("name")?;
    let course = read_course(fields)?;
    let retention = &mut world.state().retention;
    match name {
        Some(name) => retention.set_course_of(&name, course),
        None => retention.set_course(course),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT …/retention`: what is not said is as usual again.
pub(super) async fn settings(State(world): State<Arc<World>>, body: Bytes) -> Result<StatusCode, BadInput> {
    let mut fields = Fields::read(&body)?;
    let cap = fields.number("capDays", Cap::default().0, ANY)?;
    let overlaps = match fields.text("overlaps")?.as_deref() {
        None | Some("refused") => Overlaps::Refused,
        Some("allowed") => Overlaps::Allowed,
        Some(_) => return Err(BadInput::field("overlaps", "must be refused or allowed")),
    };
    let pages = match fields.number("pageSize", 0, ANY)? {
        0 => Pages::default(),
        size => Pages::of(size),
    };
    let next = match fields.text("nextUri")?.as_deref() {
        None | Some("relative") => NextUri::Relative,
        Some("absolute") => NextUri::Absolute,
        Some(_) => return Err(BadInput::field("nextUri", "must be relative or absolute")),
    };
    fields.end()?;
    let retention = &mut world.state().retention;
    retention.cap = Cap(cap);
    retention.overlaps = overlaps;
    retention.pages = pages.next_uri(next);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/finish-jobs`.
pub(super) async fn finish_jobs(State(world): State<Arc<World>>) -> StatusCode {
    let now = world.now();
    world.state().retention.finish_jobs(now);
    StatusCode::NO_CONTENT
}

fn read_course(mut fields: Fields) -> Result<PolicyCourse, BadInput> {
    let mut course = match fields.text("answer")?.as_deref() {
        None | Some("job") => PolicyCourse::job(),
        Some("job-in-body") => PolicyCourse::job_in_body(),
        Some("nameless-job") => PolicyCourse::nameless_job(),
        Some("created") => PolicyCourse::created(),
        Some("conflict") => PolicyCourse::always_conflicts(),
        Some("refuse") => PolicyCourse::refuses(),
        Some(_) => {
            let what = "must be job, job-in-body, nameless-job, created, conflict or refuse";
            return Err(BadInput::field("answer", what));
        }
    };
    course = course.after_polls(fields.number("afterPolls", 0, ANY)?);
    if fields.0.contains_key("afterLists") {
        course = course.after_lists(fields.number("afterLists", 0, ANY)?);
    }
    if fields.0.contains_key("conflictsFirst") {
        course = course.conflicts_first(fields.number("conflictsFirst", 0, ANY)?);
    }
    if let Some(message) = fields.text("fails")? {
        course = course.fails(&message);
    }
    if fields.switch("neverEnds")? {
        course = course.never_ends();
    }
    if fields.switch("forgotten")? {
        course = course.forgotten();
    }
    if fields.switch("atOnce")? {
        course = course.at_once();
    }
    if fields.0.contains_key("keepsDays") {
        course = course.keeps_days(fields.number("keepsDays", 0, ANY)?);
    }
    fields.end()?;
    Ok(course)
}

#[cfg(test)]
mod tests;
