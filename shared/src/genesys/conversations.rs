//! Transferring a call: what is asked on either surface, how it is looked at before, and found again after.
//!
//! On the published surface a transfer is asked of one leg: a blind transfer replaces the agent, a consult transfer
//! moves the customer. An accepted transfer is not a done one, and no key makes a repeat harmless: what became of
//! an attempt is read from the conversation. The guides' surface takes one request for every transfer.

mod address;
mod conversation;
mod moves;
mod refusal;

pub use address::{Address, BadAddress};
pub use conversation::{Conflict, Conversation, Finding, Moved, Progress, Seen};
pub use refusal::{Reason, Refusal};

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::api::{Api, Attempt, Call, Called, NotPerformed};
use super::auth::{self, Token};
use super::ids::{ConversationId, ParticipantId, QueueId, UserId};
use super::settings::{Settings, Surface};
use crate::clock::Clock;
use crate::idempotency::{Answer, Key, Repetition};

/// The longest a transfer's answer is waited for: what is left after it is needed to find out what happened.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(10);

/// How many pages of conversations are read on the guides' surface, which has no way to ask for one.
const MAX_PAGES: u32 = 20;

/// The conversations of one Genesys Cloud organisation, and whom they can be transferred to.
#[derive(Debug)]
pub struct Conversations {
    api: Api,
}

/// A transfer, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The conversation.
    pub conversation: ConversationId,
    /// How it is done.
    pub kind: Kind,
    /// Where it goes.
    pub destination: Destination,
    /// Whether the destination shall see the customer's number; `None` if it was not said.
    pub preserve_caller_id: Option<bool>,
    /// The leg to move, if it was named.
    pub participant: Option<ParticipantId>,
    /// Whether a queue that nobody has joined will do.
    pub allow_unstaffed: bool,
}

/// How a call is transferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whoever transfers leaves at once.
    Blind,
    /// Whoever transfers speaks to the destination first.
    Consult(Consult),
}

/// The particulars of a consult transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consult {
    /// To whom the consulting user speaks at first.
    pub speak_to: SpeakTo,
    /// Who consults, for a client that is no user itself.
    pub consulting_user: Option<UserId>,
}

/// To whom the consulting user speaks at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeakTo {
    /// The destination alone.
    Destination,
    /// The party that is transferred, alone.
    Object,
    /// Both, who do not hear each other.
    Both,
    /// Everybody hears everybody.
    Conference,
}

/// Where a call is transferred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A queue.
    Queue(QueueId),
    /// A user.
    User(UserId),
    /// A telephone number or SIP address.
    External(Address),
}

/// Whether a destination can take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as one can tell.
    Reachable,
    /// There is no such queue or user.
    NotFound,
    /// There is, and nobody can answer there; why.
    Unavailable(&'static str),
}

/// How the sending of a transfer went.
#[derive(Debug)]
pub enum Sent {
    /// Genesys Cloud took it.
    Taken(Moved),
    /// Genesys Cloud refused it, and nothing happened.
    Refused(Refusal),
    /// It certainly was not sent, or refused before anybody looked at it.
    NotPerformed(NotPerformed),
    /// It may have happened; why that is not known.
    Unclear(&'static str),
}

impl Conversations {
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

    /// A token for the calls below.
    pub async fn token(&self, act_by: Instant) -> Result<Token, auth::Error> {
        self.api.token(act_by).await
    }

    /// Whether a transfer's destination can take a call now.
    pub async fn reach(
        &self,
        token: &mut Token,
        transfer: &Transfer,
        act_by: Instant,
    ) -> Result<Reach, NotPerformed> {
        match (&transfer.destination, self.surface()) {
            (Destination::Queue(id), _) => {
                self.reach_queue(token, id, transfer.allow_unstaffed, act_by).await
            }
            (Destination::User(id), Surface::Platform) => self.reach_user(token, id, act_by).await,
            // Nobody can be asked: the guides' surface has no users, and a telephone network tells when it is called.
            (Destination::User(_), Surface::Guide) | (Destination::External(_), _) => Ok(Reach::Reachable),
        }
    }

    async fn reach_queue(
        &self,
        token: &mut Token,
        id: &QueueId,
        allow_unstaffed: bool,
        act_by: Instant,
    ) -> Result<Reach, NotPerformed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Queue {
            status: Option<String>,
            joined_member_count: Option<i64>,
        }
        let path = format!("/api/v2/routing/queues/{}", id.as_str());
        let Some(queue) = self.get::<Queue>(token, "read queue", path, act_by).await? else {
            return Ok(Reach::NotFound);
        };
        let is_open = queue.status.is_some_and(|status| status.eq_ignore_ascii_case("open"));
        Ok(match self.surface() {
            Surface::Guide if is_open => Reach::Reachable,
            Surface::Guide => Reach::Unavailable("The queue is not open."),
            Surface::Platform
                if allow_unstaffed || queue.joined_member_count.is_none_or(|count| count > 0) =>
            {
                Reach::Reachable
            }
            Surface::Platform => Reach::Unavailable(
                "Nobody has joined the queue (send \"allowUnstaffed\": true to transfer all the same).",
            ),
        })
    }

    async fn reach_user(
        &self,
        token: &mut Token,
        id: &UserId,
        act_by: Instant,
    ) -> Result<Reach, NotPerformed> {
        #[derive(Deserialize)]
        struct User {
            state: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Presence {
            presence_definition: Option<Definition>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Definition {
            system_presence: Option<String>,
        }
        let path = format!("/api/v2/users/{}", id.as_str());
        let Some(user) = self.get::<User>(token, "read user", path.clone(), act_by).await? else {
            return Ok(Reach::NotFound);
        };
        if user.state.is_some_and(|state| !state.eq_ignore_ascii_case("active")) {
            return Ok(Reach::Unavailable("The user is not active."));
        }
        let path = format!("{path}/presences/purecloud");
        let presence = self.get::<Presence>(token, "read presence", path, act_by).await?;
        let presence = presence.and_then(|presence| presence.presence_definition?.system_presence);
        let is_offline = presence.is_some_and(|presence| presence.eq_ignore_ascii_case("offline"));
        Ok(if is_offline { Reach::Unavailable("The user is offline.") } else { Reach::Reachable })
    }

    /// A conversation as it is now, if there is one.
    pub async fn conversation(
        &self,
        token: &mut Token,
        id: &ConversationId,
        act_by: Instant,
    ) -> Result<Option<Conversation>, NotPerformed> {
        match self.surface() {
            Surface::Platform => {
                let path = format!("/api/v2/conversations/calls/{}", id.as_str());
                self.get(token, "read conversation", path, act_by).await
            }
            Surface::Guide => self.find_conversation(token, id, act_by).await,
        }
    }

    /// The guides' surface has no way to ask for one conversation: they are listed, page by page.
    async fn find_conversation(
        &self,
        token: &mut Token,
        id: &ConversationId,
        act_by: Instant,
    ) -> Result<Option<Conversation>, NotPerformed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listing {
            entities: Vec<Conversation>,
            next_uri: Option<String>,
        }
        let mut path = "/api/v2/conversations".to_owned();
        for _ in 0..MAX_PAGES {
            let page = self.get::<Listing>(token, "list conversations", path.clone(), act_by).await?;
            let Some(Listing { entities, next_uri }) = page else { return Ok(None) };
            if let Some(conversation) = entities.into_iter().find(|found| found.id == id.as_str()) {
                return Ok(Some(conversation));
            }
            let Some(next) = next_uri.filter(|next| !next.is_empty()) else { return Ok(None) };
            // Only an address of the API's own is followed: the token goes with it.
            match self.api.path_of(&next).filter(|path| path.starts_with("/api/v2/conversations")) {
                Some(next) => next.clone_into(&mut path),
                None => break,
            }
        }
        tracing::warn!(
            message =
                "the list of conversations goes on, and the conversation was not found in what was read",
            pages = MAX_PAGES
        );
        Err(NotPerformed::Unavailable)
    }

    /// Asks for a transfer, of the leg `of` where the surface wants one named. Never asked again after an unclear
    /// answer.
    pub async fn transfer(
        &self,
        token: &mut Token,
        transfer: &Transfer,
        of: Option<&ParticipantId>,
        key: &Key,
        act_by: Instant,
    ) -> (Sent, Option<String>) {
        let (path, body) = match (self.surface(), of) {
            (Surface::Platform, Some(leg)) => moves::platform(transfer, leg),
            (Surface::Guide, _) | (Surface::Platform, None) => moves::guide(transfer),
        };
        let call = Call {
            operation: "transfer",
            method: Method::POST,
            path,
            body: Some(body.to_string()),
            key: Some(key),
            request_id: None,
            repetition: Repetition::Unsafe,
            // Half of the time: the rest is for finding out what happened, should the answer not come.
            patience: (act_by.saturating_duration_since(Instant::now()) / 2).min(LONGEST_ATTEMPT),
            longest_wait: Duration::MAX,
        };
        let Called { attempt, correlation_id, .. } = self.api.call(token, &call, act_by).await;
        let sent = match attempt {
            Attempt::Answered(answer) if answer.status < 300 => self.taken(&answer),
            Attempt::Answered(answer) => Sent::Refused(Refusal::read(&answer, self.surface())),
            // It was answered with something enormous, and that is no refusal.
            Attempt::TooLarge => Sent::Unclear("the answer was too large to be read"),
            Attempt::NotPerformed(reason) => Sent::NotPerformed(reason),
            Attempt::Unclear(why) => Sent::Unclear(why),
        };
        (sent, correlation_id)
    }

    /// What a 2xx says. Any is a transfer taken on, whatever its body looks like, unless that says in so many words that
    /// it failed; it is done only where that is said.
    fn taken(&self, answer: &Answer) -> Sent {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Body {
            status: Option<String>,
            transfer_id: Option<String>,
            destination_participant_id: Option<String>,
        }
        let body = serde_json::from_slice::<Body>(&answer.body).ok();
        if let Some(status) =
            body.as_ref().and_then(|body| body.status.as_deref()).filter(|it| has_failed(it))
        {
            return Sent::Refused(Refusal::of_state(status));
        }
        let is_done = match self.surface() {
            Surface::Platform => answer.status == 200,
            Surface::Guide => {
                answer.status != 202 && body.as_ref().is_some_and(|body| !is_pending(body.status.as_deref()))
            }
        };
        let Body { transfer_id, destination_participant_id: destination_participant, .. } =
            body.unwrap_or_default();
        let progress = if is_done { Progress::Completed } else { Progress::Accepted };
        Sent::Taken(Moved { progress, transfer_id, destination_participant })
    }

    /// Reads something; what is not there is `None`.
    async fn get<T: DeserializeOwned>(
        &self,
        token: &mut Token,
        operation: &'static str,
        path: String,
        act_by: Instant,
    ) -> Result<Option<T>, NotPerformed> {
        let Called { attempt, .. } = self.api.call(token, &Call::get(operation, path), act_by).await;
        match attempt {
            Attempt::Answered(answer) if answer.status < 300 => {
                serde_json::from_slice(&answer.body).map(Some).map_err(|_| {
                    tracing::warn!(message = "an answer of Genesys Cloud cannot be read", operation);
                    NotPerformed::Unavailable
                })
            }
            // An id of a form that this organisation does not give out is answered with 400.
            Attempt::Answered(answer) if matches!(answer.status, 400 | 404 | 410) => Ok(None),
            Attempt::Answered(_) | Attempt::TooLarge | Attempt::Unclear(_) => Err(NotPerformed::Unavailable),
            Attempt::NotPerformed(reason) => Err(reason),
        }
    }
}

fn is_pending(status: Option<&str>) -> bool {
    let pending = ["accepted", "pending", "active", "initiated", "queued", "in_progress"];
    status.is_some_and(|status| pending.iter().any(|it| status.eq_ignore_ascii_case(it)))
}

fn has_failed(status: &str) -> bool {
    let failed = ["failed", "failure", "error", "rejected", "refused", "canceled", "cancelled", "timeout"];
    failed.iter().any(|it| status.eq_ignore_ascii_case(it))
}

impl Destination {
    /// The id or address, as Genesys Cloud takes it.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Queue(id) => id.as_str(),
            Self::User(id) => id.as_str(),
            Self::External(address) => address.as_str(),
        }
    }

    /// What kind of destination it is, as in a request.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::User(_) => "user",
            Self::External(_) => "external",
        }
    }
}

impl Kind {
    /// Its name, as in a request.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blind => "blind",
            Self::Consult(_) => "consult",
        }
    }
}

impl SpeakTo {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Destination, Self::Object, Self::Both, Self::Conference];

    /// Its published name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Destination => "DESTINATION",
            Self::Object => "OBJECT",
            Self::Both => "BOTH",
            Self::Conference => "CONFERENCE",
        }
    }
}
