//! Retention policies: how they are asked for, listed and read back on either surface.
//!
//! On the guides' surface a policy is registered, and a job makes it; it cannot be changed after that, so a changed one
//! is registered once more. On the published surface it is there when it is answered, and can be replaced.

mod policy;
mod found;
mod guide;
mod platform;

pub use found::Found;
pub use policy::{Filter, Frequency, ObjectType, Policy, Schedule, time_zone};

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use self::found::{id_text, policy_id, whole};
use super::api::{Api, Attempt, Call, Called, NotPerformed};
use super::auth::{self, Token};
use super::ids::{JobId, PolicyId};
use super::settings::{Settings, Surface};
use crate::clock::Clock;
use crate::idempotency::{Answer, Repetition};

/// How many pages of policies are read at most.
const MAX_PAGES: u64 = 500;

/// How long the answer to a change is waited for.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(15);

/// The longest wait for which Genesys Cloud is waited for within a call: others have their turn meanwhile, or the
/// invocation ends.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How much of the other side's words is repeated.
const LONGEST_MESSAGE: usize = 300;

/// The retention policies of one Genesys Cloud organisation.
#[derive(Debug)]
pub struct Retention {
    api: Api,
}

/// The line to Genesys Cloud in one invocation: its token, and how it has been going.
#[derive(Debug)]
pub struct Line {
    token: Token,
    failures: u32,
    correlation_id: Option<String>,
    /// Until when Genesys Cloud asked for patience. It counts by the token, which all calls bear.
    patient_until: Option<Instant>,
}

impl Line {
    /// How many attempts in a row, up to the last, met a server error, a timeout or nobody at all.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Genesys Cloud's name for the last attempt, if it answered.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A new policy.
    Register,
    /// Another form of this one. Only the published surface knows that.
    Replace(&'a PolicyId),
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A job sees to it.
    Job(JobId),
    /// It is done; the policy's id, if that was told.
    Done(Option<PolicyId>),
    /// It was taken on, and what came of it must be looked for; why. It is never asked for again.
    Accepted(&'static str),
    /// It overlaps with another policy.
    Conflict,
    /// It was refused; what was said.
    Refused(String),
    /// It was certainly not done, or may be asked for again without harm.
    NotPerformed(NotPerformed),
    /// It may have been done; why that is not known.
    Unclear(&'static str),
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum JobStanding {
    /// Not at its end.
    Running,
    /// The policy is made; its id, if that was told.
    Completed(Option<PolicyId>),
    /// It is not, and what was said.
    Failed(String),
    /// Nobody knows such a job.
    Unknown,
}

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The call did not come about.
    NotPerformed(NotPerformed),
    /// What was answered cannot be understood.
    Unreadable(&'static str),
}

impl Unread {
    /// Why, for the report and the log.
    #[must_use]
    pub fn because(self) -> &'static str {
        match self {
            Self::NotPerformed(reason) => reason.because(),
            Self::Unreadable(what) => what,
        }
    }
}

impl Retention {
    /// A client; connects when first used.
    pub fn new(
        settings: &Settings,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self { api: Api::new(settings, aws, clock)? })
    }

    /// The surface that is spoken.
    #[must_use]
    pub fn surface(&self) -> Surface {
        self.api.surface()
    }

    /// The organisation's place: surface and address. What is known of policies is known of those there.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{} {}", self.surface().name(), self.api.url())
    }

    /// A line for the calls below.
    pub async fn line(&self, act_by: Instant) -> Result<Line, auth::Error> {
        Ok(Line {
            token: self.api.token(act_by).await?,
            failures: 0,
            correlation_id: None,
            patient_until: None,
        })
    }

    /// Every policy there is, page by page.
    pub async fn list(&self, line: &mut Line, act_by: Instant) -> Result<Vec<Found>, Unread> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            entities: Vec<Value>,
            next_uri: Option<String>,
            #[serde(rename = "pageCount")]
            count: Option<u64>,
        }
        let own = self.path();
        let mut next = match self.surface() {
            Surface::Platform => format!("{own}?pageSize=100&pageNumber=1"),
            Surface::Guide => own.to_owned(),
        };
        let mut found = Vec::new();
        let mut read = BTreeSet::new();
        for number in 1..=MAX_PAGES {
            if !read.insert(next.clone()) {
                return Err(Unread::Unreadable("the list of policies leads back to itself"));
            }
            let page = self.get::<Page>(line, "list retention policies", next, act_by).await?;
            let page = page.ok_or(Unread::Unreadable("there is no list of policies"))?;
            found.extend(page.entities.into_iter().map(|stored| Found::of(self.surface(), stored)));
            next = match page.next_uri.filter(|next| !next.is_empty()) {
                // Of an address only the path counts: gateways are known by names of their own, and the token goes
                // nowhere else.
                Some(uri) => match self.api.path_of(&uri).filter(|path| path.starts_with(own)) {
                    Some(path) => path.to_owned(),
                    None => return Err(Unread::Unreadable("the list of policies goes on as another list")),
                },
                None if self.surface() == Surface::Platform
                    && page.count.is_some_and(|count| number < count) =>
                {
                    format!("{own}?pageSize=100&pageNumber={}", number + 1)
                }
                None => return Ok(found),
            };
        }
        Err(Unread::Unreadable("the list of policies does not end"))
    }

    /// For how many days the organisation keeps anything at most, if it says so. The guides' surface knows no such thing.
    pub async fn cap(&self, line: &mut Line, act_by: Instant) -> Result<Option<u64>, Unread> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cap {
            #[serde(default)]
            retention_days: Value,
        }
        if self.surface() == Surface::Guide {
            return Ok(None);
        }
        let path = "/api/v2/analytics/dataretention/settings".to_owned();
        let cap = self.get::<Cap>(line, "read retention settings", path, act_by).await?;
        Ok(cap.and_then(|cap| whole(&cap.retention_days)).filter(|days| *days > 0))
    }

    /// Asks for a policy. It is not asked for again after an unclear answer: neither surface knows a repeat, and what came of
    /// it is for the caller to find out.
    pub async fn ask(
        &self,
        line: &mut Line,
        change: Change<'_>,
        body: &Value,
        request_id: &str,
        act_by: Instant,
    ) -> Asked {
        let (operation, method, path, repetition) = match change {
            Change::Register => {
                ("register retention policy", Method::POST, self.path().to_owned(), Repetition::Unsafe)
            }
            Change::Replace(id) => (
                "replace retention policy",
                Method::PUT,
                format!("{}/{}", self.path(), id.as_str()),
                // A repeat would do no harm; but one that is given up must not pass for not done.
                Repetition::Unsafe,
            ),
        };
        let call = Call {
            operation,
            method,
            path,
            body: Some(body.to_string()),
            key: None,
            request_id: Some(request_id),
            repetition,
            patience: LONGEST_ATTEMPT,
            longest_wait: LONGEST_WAIT,
        };
        let (attempt, job_id) = self.call(line, &call, act_by).await;
        match attempt {
            Attempt::Answered(answer) if answer.status < 300 => taken(&answer, job_id.as_deref()),
            Attempt::Answered(answer) if answer.status == 409 => Asked::Conflict,
            Attempt::Answered(answer) => Asked::Refused(refusal(&answer)),
            Attempt::TooLarge => Asked::Accepted("the answer was too large to be read"),
            Attempt::NotPerformed(reason) => Asked::NotPerformed(reason),
            Attempt::Unclear(why) => Asked::Unclear(why),
        }
    }

    /// How a job stands. The guides' surface has jobs. It is asked once: who waits for many jobs asks for each when it is due.
    pub async fn job(&self, line: &mut Line, id: &JobId, act_by: Instant) -> Result<JobStanding, Unread> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Job {
            status: String,
            result: Option<Value>,
            #[serde(default)]
            error_message: Value,
        }
        let path = format!("/api/v2/datamanagement/jobs/{}", id.as_str());
        let call = Call { longest_wait: Duration::ZERO, ..Call::get("read retention job", path) };
        let job = self.read_as::<Job>(line, &call, act_by).await?;
        let Some(Job { status, result, error_message }) = job else { return Ok(JobStanding::Unknown) };
        Ok(match status.to_ascii_uppercase().as_str() {
            "COMPLETED" | "SUCCEEDED" | "FULFILLED" => {
                JobStanding::Completed(result.as_ref().and_then(policy_id))
            }
            "FAILED" | "CANCELLED" | "CANCELED" | "ERROR" => {
                JobStanding::Failed(shown(error_message.as_str().unwrap_or("it does not say why")))
            }
            _ => JobStanding::Running,
        })
    }

    /// A policy as it stands, if there is one. Only the published surface can be asked for one.
    pub async fn read(
        &self,
        line: &mut Line,
        id: &PolicyId,
        act_by: Instant,
    ) -> Result<Option<Found>, Unread> {
        let path = format!("{}/{}", self.path(), id.as_str());
        let stored = self.get::<Value>(line, "read retention policy", path, act_by).await?;
        Ok(stored.map(|stored| Found::of(self.surface(), stored)))
    }

    /// Makes a call, and takes note of how the line is; with the name of the job that the answer's headers bear. Who was
    /// asked for patience by the last answer has it.
    async fn call(&self, line: &mut Line, call: &Call<'_>, act_by: Instant) -> (Attempt, Option<String>) {
        if let Some(until) = line.patient_until.take_if(|until| *until > Instant::now()) {
            let left = until.duration_since(Instant::now());
            if left > LONGEST_WAIT || until > act_by {
                line.patient_until = Some(until);
                let reason = NotPerformed::RateLimited { retry_after: Some(left) };
                return (Attempt::NotPerformed(reason), None);
            }
            tokio::time::sleep_until(until).await;
        }
        let Called { attempt, correlation_id, job_id, failures } =
            self.api.call(&mut line.token, call, act_by).await;
        line.failures = if failures == 0 { 0 } else { line.failures + failures };
        line.correlation_id = correlation_id;
        if let Attempt::NotPerformed(NotPerformed::RateLimited { retry_after: Some(asked) }) = attempt {
            line.patient_until = Instant::now().checked_add(asked);
        }
        (attempt, job_id)
    }

    fn path(&self) -> &'static str {
        match self.surface() {
            Surface::Platform => platform::PATH,
            Surface::Guide => guide::PATH,
        }
    }

    /// Reads something; what is not there is `None`.
    async fn get<T: DeserializeOwned>(
        &self,
        line: &mut Line,
        operation: &'static str,
        path: String,
        act_by: Instant,
    ) -> Result<Option<T>, Unread> {
        let call = Call { longest_wait: LONGEST_WAIT, ..Call::get(operation, path) };
        self.read_as(line, &call, act_by).await
    }

    async fn read_as<T: DeserializeOwned>(
        &self,
        line: &mut Line,
        call: &Call<'_>,
        act_by: Instant,
    ) -> Result<Option<T>, Unread> {
        let (attempt, _) = self.call(line, call, act_by).await;
        let unreadable = Err(Unread::Unreadable("an answer of Genesys Cloud cannot be read"));
        match attempt {
            Attempt::Answered(answer) if answer.status < 300 => {
                serde_json::from_slice(&answer.body).map_or(unreadable, |read| Ok(Some(read)))
            }
            Attempt::Answered(answer) if matches!(answer.status, 404 | 410) => Ok(None),
            Attempt::Answered(_) | Attempt::TooLarge => unreadable,
            Attempt::Unclear(_) => Err(Unread::NotPerformed(NotPerformed::Unavailable)),
            Attempt::NotPerformed(reason) => Err(Unread::NotPerformed(reason)),
        }
    }
}

/// What a 2xx says: with a job's name that a job sees to it, and else that it is done.
fn taken(answer: &Answer, named: Option<&str>) -> Asked {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let named = named.map(str::to_owned).or_else(|| id_text(&body["jobId"])).filter(|job| !job.is_empty());
    match named.map(|job| JobId::parse(&job)) {
        Some(Ok(job)) => Asked::Job(job),
        Some(Err(_)) => Asked::Accepted("the job has a name that cannot be asked for"),
        None if answer.status == 202 => Asked::Accepted("it was accepted, and no job was named"),
        None => Asked::Done(policy_id(&body)),
    }
}

/// What a 4xx says, as far as it may be repeated.
fn refusal(answer: &Answer) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct ErrorBody {
        code: Option<String>,
        message: Option<String>,
    }
    let body: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said: Vec<String> = body.code.into_iter().chain(body.message).map(|it| shown(&it)).collect();
    format!(
        "Genesys Cloud refused it with {}{}{}",
        answer.status,
        if said.is_empty() { "" } else { ": " },
        said.join(", ")
    )
}

/// Somebody else's words, in one line and not too many.
fn shown(words: &str) -> String {
    words.chars().map(|it| if it.is_control() { ' ' } else { it }).take(LONGEST_MESSAGE).collect()
}

/// What a surface has no place for in a policy, by the name of the member.
#[must_use]
pub fn unsupported(surface: Surface, policy: &Policy) -> Vec<String> {
    match surface {
        Surface::Platform => platform::unsupported(policy),
        Surface::Guide => Vec::new(),
    }
}

/// What a surface is asked for, so that a policy keeps its objects for `days`.
#[must_use]
pub fn body(surface: Surface, policy: &Policy, days: u64) -> Value {
    match surface {
        Surface::Platform => platform::body(policy, days),
        Surface::Guide => guide::body(policy, days),
    }
}

/// What the published surface is asked for, so that a policy that is there keeps its objects for `days` at least and
/// stays what it is otherwise.
#[must_use]
pub fn raised(found: &Found, days: u64) -> Value {
    platform::raised(&found.stored, days)
}

#[cfg(test)]
mod tests;
