//! What a run leaves on the trail of its key: one entry, written with its outcome.

use shared::audit::{Entry, Trail};
use shared::genesys::{Attempt, Called, Surface};
use shared::idempotency::Account;
use shared::lambda::Invocation;
use shared::telemetry::millis;
use tokio::time::Instant;

use crate::request::Request;

/// What there is to know about a run while it goes on.
#[derive(Debug)]
pub(crate) struct Witness<'a> {
    pub(crate) request: &'a Request,
    pub(crate) invocation: &'a Invocation,
    pub(crate) surface: Surface,
    /// The hash that stands for the key.
    pub(crate) key_hash: String,
    pub(crate) started: Instant,
}

impl Witness<'_> {
    /// The account of an attempt that ended.
    pub(crate) fn ended(&self, called: &Called) -> Account {
        let (action, status, reason) = match &called.attempt {
            Attempt::Answered(answer) => ("data-action-performed", Some(answer.status), None),
            Attempt::TooLarge => ("data-action-performed", None, Some("its answer is too large to be kept")),
            Attempt::NotPerformed(reason) => ("data-action-not-performed", None, Some(reason.because())),
            Attempt::Unclear(why) => ("data-action-unknown", None, Some(*why)),
        };
        let entry = self.entry(action).with("upstreamStatus", status).with("reason", reason);
        let entry = entry.with("genesysCorrelationId", &called.correlation_id);
        self.account(entry.with("durationMs", millis(self.started.elapsed())))
    }

    /// What is told if nobody comes back to tell how it ended.
    pub(crate) fn lapsed(&self) -> Account {
        self.account(self.entry("data-action-unknown").with("reason", "the run was cut off"))
    }

    fn entry(&self, action: &str) -> Entry {
        Entry::new(action)
            .by(self.invocation)
            .with("function", "data-actions")
            .with("surface", self.surface.name())
            .with("dataActionId", self.request.id.as_str())
            .with("keyHash", &self.key_hash)
    }

    fn account(&self, entry: Entry) -> Account {
        Account { trail: Trail::of_key(&self.key_hash), entry, notice: None }
    }
}
