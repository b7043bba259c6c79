//! What is told of a transfer: to its caller, on the conversation's trail, and to the CRM.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::audit::{Entry, Trail};
use shared::genesys::conversations::{Destination, Moved, Progress};
use shared::genesys::{ConversationId, Id};
use shared::idempotency::{Account, Answer};
use shared::lambda::{Deadline, Invocation};
use shared::outbox::Notice;
use shared::problem::Problem;
use shared::random;
use shared::secret::{self, ExposeSecret, SecretString, Vault};
use shared::telemetry::{chain, millis};
use tokio::time::Instant;

use crate::App;
use crate::request::{Refused, Request};
use crate::run::End;
use crate::settings::PiiKey;

/// Commits to external numbers, which a trail must not hold.
#[derive(Debug)]
pub(crate) struct Confidant {
    key: Option<SecretString>,
}

impl Confidant {
    pub(crate) async fn read(key: &PiiKey, aws: &aws_config::SdkConfig) -> Result<Self, secret::Error> {
        let key = match key {
            PiiKey::None => None,
            PiiKey::Inline(key) => Some(key.clone()),
            PiiKey::SecretsManager(id) => Some(Vault::new(aws, id.clone()).read().await?),
        };
        Ok(Self { key })
    }

    /// A destination as a trail names it. Whoever has the key and a number can prove that it was this one; nobody
    /// else learns more than its last two digits.
    fn told(&self, destination: &Destination) -> Value {
        match destination {
            Destination::Queue(_) | Destination::User(_) => {
                json!({"type": destination.kind(), "id": destination.id()})
            }
            Destination::External(address) => {
                let mut told = json!({"type": destination.kind()});
                if let Some(digits) = address.last_two_digits() {
                    told["lastTwoDigits"] = json!(digits);
                }
                if let Some(key) = &self.key {
                    told["commitment"] = json!(commitment(key, address.as_str()));
                }
                told
            }
        }
    }
}

/// HMAC-SHA-256 of an address, in hex. Without a key, trying all numbers would tell which it was.
fn commitment(key: &SecretString, address: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(address.as_bytes());
    format!("hmac-sha256:{}", hex::encode(mac.finalize().into_bytes()))
}

/// What there is to know about a transfer while it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness<'a> {
    pub(crate) app: &'a App,
    pub(crate) request: &'a Request,
    pub(crate) invocation: &'a Invocation,
    /// The hash that stands for the key.
    pub(crate) key_hash: &'a str,
    pub(crate) started: Instant,
}

impl Witness<'_> {
    /// What the caller is told, now and again.
    pub(crate) fn answer(&self, moved: &Moved) -> Answer {
        let transfer = &self.request.transfer;
        let (status, word) = match moved.progress {
            Progress::Completed => (200, "completed"),
            Progress::Accepted => (202, "accepted"),
        };
        let mut body = json!({
            "conversationId": transfer.conversation.as_str(),
            // Where Genesys Cloud names none, ours, so that the transfer has a name everywhere.
            "transferId": moved.transfer_id.clone().unwrap_or_else(|| format!("patchbay-{}", random::token())),
            "transferType": transfer.kind.name(),
            "destination": {"type": transfer.destination.kind(), "id": transfer.destination.id()},
            "status": word,
            "latencyMs": self.latency_ms(),
            "timestamp": self.now(),
        });
        if let Some(participant) = &moved.destination_participant {
            body["destinationParticipantId"] = json!(participant);
        }
        let content_type = Some("application/json".to_owned());
        Answer { status, content_type, body: Bytes::from(body.to_string()) }
    }

    /// The account of what is about to be done.
    pub(crate) fn intended(&self, leg: Option<&str>) -> Account {
        self.account(self.entry("transfer-intended").with("movedParticipantId", leg), None)
    }

    /// What is told if nobody comes back from the look.
    pub(crate) fn lapsed_before_the_act(&self) -> Account {
        let entry =
            self.entry("transfer-not-performed").with("reason", "the attempt was cut off before it was sent");
        let error = "internal-error: the attempt was cut off before it was sent";
        self.account(entry, self.notice("failed", Some(error)))
    }

    /// What is told if nobody comes back from the act.
    pub(crate) fn lapsed_in_the_act(&self) -> Account {
        let entry = self.entry("transfer-unknown").with("reason", "the attempt was cut off");
        let error = "outcome-unknown: the attempt was cut off, and the call may have been transferred";
        self.account(entry, self.notice("unknown", Some(error)))
    }

    /// The account of how it ended; `found` if that was found out by a later look.
    pub(crate) fn ended(&self, end: &End, found: Found, answer: Option<&Answer>) -> Account {
        let (action, status, error) = match end {
            End::Moved(Moved { progress: Progress::Completed, .. }) => {
                ("transfer-completed", "completed", None)
            }
            End::Moved(Moved { progress: Progress::Accepted, .. }) => ("transfer-accepted", "accepted", None),
            End::Refused(problem) => ("transfer-refused", "refused", Some(told(problem))),
            End::NotPerformed(reason) => ("transfer-not-performed", "failed", Some(told(&reason.problem()))),
            End::NotSent => (
                "transfer-not-performed",
                "failed",
                Some("store-unavailable: the transfer was not sent".to_owned()),
            ),
            End::Unclear(why) => ("transfer-unknown", "unknown", Some(format!("outcome-unknown: {why}"))),
        };
        let mut entry = self
            .entry(action)
            .with("reason", &error)
            .with("foundBy", found.word())
            .with("durationMs", self.latency_ms());
        if let End::Moved(moved) = end {
            let named = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
            entry = entry
                .with("transferId", named.map(|answer| answer["transferId"].clone()))
                .with("destinationParticipantId", &moved.destination_participant);
        }
        self.account(entry, self.notice(status, error.as_deref()))
    }

    /// The account with what the upstream call itself said.
    pub(crate) fn with_call(mut account: Account, correlation_id: Option<&String>) -> Account {
        account.entry = account.entry.with("genesysCorrelationId", correlation_id);
        account
    }

    fn entry(&self, action: &str) -> Entry {
        let transfer = &self.request.transfer;
        // A derived key is a hash of the request; where that holds a telephone number, the hash would betray it.
        let hides_number = matches!(transfer.destination, Destination::External(_));
        let key_hash = (self.request.window.is_none() || !hides_number).then_some(self.key_hash);
        Entry::new(action)
            .by(self.invocation)
            .with("function", "transfers")
            .with("surface", self.app.settings.genesys.surface.name())
            .with("conversationId", transfer.conversation.as_str())
            .with("transferType", transfer.kind.name())
            .with("destination", self.app.confidant.told(&transfer.destination))
            .with("preserveCallerId", transfer.preserve_caller_id)
            .with("participantId", transfer.participant.as_ref().map(Id::as_str))
            .with("keyHash", key_hash)
    }

    fn account(&self, entry: Entry, notice: Option<Notice>) -> Account {
        let trail = Trail::of_conversation(self.request.transfer.conversation.as_str());
        Account { trail, entry, notice }
    }

    fn notice(&self, status: &str, error: Option<&str>) -> Option<Notice> {
        let subscriber = self.app.settings.crm_webhook_url.as_ref()?;
        let transfer = &self.request.transfer;
        let mut body = json!({
            "action": "transfer_initiated",
            "conversation": transfer.conversation.as_str(),
            "destination": transfer.destination.id(),
            "transferType": transfer.kind.name(),
            "status": status,
            "latencyMs": self.latency_ms(),
            "timestamp": self.now(),
        });
        if let Some(error) = error {
            body["error"] = json!(error);
        }
        Some(Notice::new(subscriber, &[("x-transfer-event", "true")], &body))
    }

    fn latency_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    fn now(&self) -> String {
        self.app.clock.now().to_string()
    }
}

/// How it was found out what became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Genesys Cloud said so.
    Told,
    /// The conversation was read after an unclear answer.
    Reading,
    /// A repeat read the conversation.
    Repeat,
}

impl Found {
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Told => None,
            Self::Reading => Some("reading the conversation"),
            Self::Repeat => Some("a repeat that read the conversation"),
        }
    }
}

/// A problem in one line: its slug, and what the caller is told.
fn told(problem: &Problem) -> String {
    format!("{}: {}", problem.kind().slug(), problem.detail())
}

/// Tells a conversation's trail of a request that did not get past the door. The caller is refused either way.
pub(crate) async fn refused_at_the_door(
    app: &App,
    conversation: &ConversationId,
    refused: &Refused,
    invocation: &Invocation,
    deadline: Deadline,
) {
    let problem = &refused.problem;
    let reason = if refused.quotes_caller { problem.kind().slug().to_owned() } else { told(problem) };
    let entry = Entry::new("transfer-refused")
        .by(invocation)
        .with("function", "transfers")
        .with("surface", app.settings.genesys.surface.name())
        .with("conversationId", conversation.as_str())
        .with("reason", reason);
    let trail = Trail::of_conversation(conversation.as_str());
    let until = deadline.answer_by();
    if let Err(error) = app.trails.append(&trail, &entry, app.clock.now(), None, Vec::new(), until).await {
        tracing::error!(
            message = "a refusal could not be told on its trail",
            conversation.id = conversation.as_str(),
            error = chain(&error),
        );
    }
}
