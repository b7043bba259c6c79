//! How long a request may take, on the monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// The longest a Lambda function can run; a deadline further away than this is a clock gone wrong.
pub(super) const LONGEST_INVOCATION: Duration = Duration::from_mins(15);

/// Two moments: until when the upstream may be busy, and until when the answer must be out.
///
/// What lies between them is for recording what happened. Without it, a call that used up its time would end
/// with an effect nobody wrote down.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    act_by: Instant,
    answer_by: Instant,
    time: Duration,
}

impl Deadline {
    /// A deadline `time` from now. A twentieth of it (at most 0.5 s) is left for the answer's way out, and
    /// before that a tenth (at most 1.5 s) for recording.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        let answer_by = Instant::now() + time - (time / 20).min(Duration::from_millis(500));
        Self { act_by: answer_by - (time / 10).min(Duration::from_millis(1500)), answer_by, time }
    }

    /// Until when the upstream may be busy.
    #[must_use]
    pub fn act_by(&self) -> Instant {
        self.act_by
    }

    /// Whether something that takes `wanted` can begin now and still end. Of an invocation that is short as a whole no
    /// more is asked than a quarter of its time: it would never begin anything.
    #[must_use]
    pub fn has_time_for(&self, wanted: Duration) -> bool {
        self.has_time_at(Instant::now(), wanted)
    }

    /// The same of something that begins at `start`, or now if that is past.
    #[must_use]
    pub fn has_time_at(&self, start: Instant, wanted: Duration) -> bool {
        start.max(Instant::now()) + wanted.min(self.time / 4) <= self.act_by
    }

    /// Until when the answer must be out.
    #[must_use]
    pub fn answer_by(&self) -> Instant {
        self.answer_by
    }
}

/// How long a claim holds if its holder is never heard of again.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub(super) ends_at: Option<Instant>,
    pub(super) default: Duration,
}

impl Lease {
    /// How long a claim made now holds: until Lambda ends the call, or if it does not say (or has not, though it
    /// should have), for the default time. Never nothing: a claim that has lapsed already protects nobody.
    #[must_use]
    pub fn from_now(&self) -> Duration {
        let left = self.ends_at.map(|end| end.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero()).unwrap_or(self.default)
    }
}
