//! How the making of a policy goes.

use http::StatusCode;

use crate::api::Refusal;

/// How the next policies go. `platform` knows no jobs: there only a refusal and [`PolicyCourse::keeps_days`] count.
///
/// A refusal that was ordered comes before the rules; without one they still hold.
#[derive(Debug, Clone)]
pub struct PolicyCourse {
    pub(super) reply: Reply,
    refusal: Option<(StatusCode, Option<u32>)>,
    pub(super) ending: Ending,
    pub(super) polls: u32,
    pub(super) lists: Option<u32>,
    pub(super) is_forgotten: bool,
    pub(super) is_at_once: bool,
    pub(super) days: Option<u64>,
}

/// What a POST is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// 202 and `x-job-id`.
    JobInHeader,
    /// 202 and `{"jobId"}`.
    JobInBody,
    /// 202 and nothing else.
    NamelessJob,
    /// 201 and the policy.
    Policy,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Completed,
    Failed(String),
}

impl Default for PolicyCourse {
    fn default() -> Self {
        Self::job()
    }
}

impl PolicyCourse {
    /// 202 with the job's id in the header `x-job-id`, and no body. The job completes at once, and makes the policy.
    #[must_use]
    pub fn job() -> Self {
        Self {
            reply: Reply::JobInHeader,
            refusal: None,
            ending: Ending::Completed,
            polls: 0,
            lists: None,
            is_forgotten: false,
            is_at_once: false,
            days: None,
        }
    }

    /// The same, and nobody is told what the job is called.
    #[must_use]
    pub fn nameless_job() -> Self {
        Self { reply: Reply::NamelessJob, ..Self::job() }
    }

    /// The same with the job's id in the body, as `{"jobId"}`, and not in a header.
    #[must_use]
    pub fn job_in_body() -> Self {
        Self { reply: Reply::JobInBody, ..Self::job() }
    }

    /// 201 with the policy, and no job.
    #[must_use]
    pub fn created() -> Self {
        Self { reply: Reply::Policy, ..Self::job() }
    }

    /// 409 for each POST, whatever is there.
    #[must_use]
    pub fn always_conflicts() -> Self {
        Self { refusal: Some((StatusCode::CONFLICT, None)), ..Self::job() }
    }

    /// 400 for each POST.
    #[must_use]
    pub fn refuses() -> Self {
        Self { refusal: Some((StatusCode::BAD_REQUEST, None)), ..Self::job() }
    }

    /// 409 for the first so many POSTs, and then as it would have been.
    #[must_use]
    pub fn conflicts_first(self, posts: u32) -> Self {
        Self { refusal: Some((StatusCode::CONFLICT, Some(posts))), ..self }
    }

    /// The job fails with this message, and makes no policy.
    #[must_use]
    pub fn fails(self, message: &str) -> Self {
        Self { ending: Ending::Failed(message.to_owned()), ..self }
    }

    /// The job never ends, unless [`crate::Simulator::finish_jobs`] ends it.
    #[must_use]
    pub fn never_ends(self) -> Self {
        Self { polls: u32::MAX, lists: None, ..self }
    }

    /// The job ends when it has been looked at so often: `polls` looks see it running, and the next one its end.
    #[must_use]
    pub fn after_polls(self, polls: u32) -> Self {
        Self { polls, ..self }
    }

    /// The job ends, whether it was looked at or not, when so many pages of policies have been read. For a job whose
    /// id was lost on its way; if it was not, whichever comes first counts.
    #[must_use]
    pub fn after_lists(self, lists: u32) -> Self {
        let polls = if self.polls == 0 { u32::MAX } else { self.polls };
        Self { polls, lists: Some(lists), ..self }
    }

    /// A look at the job answers 404. It goes on all the same, and the look counts.
    #[must_use]
    pub fn forgotten(self) -> Self {
        Self { is_forgotten: true, ..self }
    }

    /// The policy is there when the POST is answered, whatever becomes of the job.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { is_at_once: true, ..self }
    }

    /// Keeps this period and not the one that was asked, and says nothing of it. On `platform` a PUT is kept so too.
    #[must_use]
    pub fn keeps_days(self, days: u64) -> Self {
        Self { days: Some(days), ..self }
    }

    /// What was ordered, of which there may be one less now.
    pub(super) fn take_refusal(&mut self) -> Result<(), Refusal> {
        let Some((status, left)) = &mut self.refusal else { return Ok(()) };
        match left {
            None => {}
            Some(0) => return Ok(()),
            Some(left) => *left -= 1,
        }
        Err(Refusal::of_status(*status))
    }
}
