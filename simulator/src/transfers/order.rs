//! What a client orders, and the rules that decide whether it is done.

use http::StatusCode;
use serde_json::Value;

use crate::api::Refusal;
use crate::conversations::{Live, Participant};
use crate::directory::{Directory, not_found};
use crate::surface::Surface;
use crate::transfers::{Destination, TransferKind, UserContext};
use crate::world::State;

/// One request to transfer, as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) conversation: String,
    pub(crate) leg: Leg,
    pub(crate) kind: TransferKind,
    pub(crate) to: To,
    pub(crate) preserve_caller_id: Option<bool>,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

/// Which participant is to be replaced or moved.
#[derive(Debug, Clone)]
pub(crate) enum Leg {
    Named(String),
    /// Whoever can be.
    Fitting,
}

/// Where to, as far as the request says.
#[derive(Debug, Clone)]
pub(crate) enum To {
    User(Option<String>),
    Queue(Option<String>),
    Address(Option<String>),
    /// A queue, a user or an address: whatever has this id.
    Id(String),
}

/// An order that keeps to the rules.
pub(crate) struct Plan {
    pub(crate) participant: String,
    /// The participant who transfers, if there is one.
    pub(crate) initiator: Option<String>,
    pub(crate) destination: Destination,
}

impl Order {
    /// A text of the request's body.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        self.body.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    /// Holds the order against the rules, in the order in which the answers should be told apart.
    pub(crate) fn plan(&self, surface: Surface, state: &State) -> Result<Plan, Refusal> {
        let conversation =
            state.conversations.live(&self.conversation).ok_or_else(|| not_found("no such conversation"))?;
        if surface == Surface::Platform && self.kind == TransferKind::Consult {
            self.check_user_context(state.consult_needs)?;
        }
        let participant = self.participant(conversation)?;
        if conversation.refuses_outsiders() {
            let message = "the client is no active participant of the conversation";
            let code = "conversation.error.forbidden.not.active.participant";
            return Err(Refusal::new(StatusCode::FORBIDDEN, code, message));
        }
        if conversation.is_in_transfer() {
            return Err(conflict("the conversation is being transferred already"));
        }
        if !participant.is_connected() {
            return Err(not_connected());
        }
        let destination = self.to.resolved(self.kind, surface, &state.directory)?;
        let initiator = match self.kind {
            TransferKind::Blind => self.check_blind(conversation, participant, &destination)?,
            TransferKind::Consult => Some(self.consulting(conversation, &destination)?),
        };
        Ok(Plan { participant: participant.id.clone(), initiator, destination })
    }

    fn check_user_context(&self, needed: UserContext) -> Result<(), Refusal> {
        let is_enough = match needed {
            UserContext::NotNeeded => true,
            UserContext::Named => self.text("consultingUserId").is_some(),
            UserContext::OfToken => false,
        };
        if is_enough { Ok(()) } else { Err(bad("not.a.user", "the request needs the context of a user")) }
    }

    /// Blind replaces an agent or what waits in a queue; consult moves who called.
    fn participant<'a>(&self, conversation: &'a Live) -> Result<&'a Participant, Refusal> {
        let fitting: &[&str] = match self.kind {
            TransferKind::Blind => &["agent", "user", "acd"],
            TransferKind::Consult => &["customer", "external"],
        };
        let mut participants = conversation.participants().iter();
        match &self.leg {
            Leg::Fitting => {
                let of = |purpose: &&str| {
                    let mut participants = conversation.participants().iter();
                    participants.find(|it| it.is_connected() && it.purpose == *purpose)
                };
                fitting.iter().find_map(of).ok_or_else(not_connected)
            }
            Leg::Named(id) => {
                let participant =
                    participants.find(|it| it.id == *id).ok_or_else(|| not_found("no such participant"))?;
                if !fitting.contains(&participant.purpose.as_str()) {
                    let purpose = &participant.purpose;
                    let what = format!("a {:?} transfer is not for a leg of purpose {purpose}", self.kind);
                    return Err(Refusal::breach(StatusCode::BAD_REQUEST, what));
                }
                Ok(participant)
            }
        }
    }

    /// The participant who transfers, if it is a user.
    fn check_blind(
        &self,
        conversation: &Live,
        replaced: &Participant,
        destination: &Destination,
    ) -> Result<Option<String>, Refusal> {
        if matches!(destination, Destination::User(user) if replaced.user.as_ref() == Some(user)) {
            let message = "the destination is who is being replaced";
            return Err(bad("conversations.error.transfer.same.party", message));
        }
        let is_attended = match self.leg {
            Leg::Fitting => false,
            Leg::Named(_) => match self.text("transferType").as_deref() {
                Some("Attended") => true,
                Some("Unattended") => false,
                // What the real one takes for granted is not published.
                _ => return Err(Refusal::breach(StatusCode::BAD_REQUEST, "the transferType is missing")),
            },
        };
        if conversation.refuses_unattended() && !is_attended {
            let message = "an ACD call cannot be transferred unattended";
            return Err(bad("conversations.error.transfer.acd.call.unattended", message));
        }
        Ok(replaced.user.as_ref().map(|_| replaced.id.clone()))
    }

    /// The participant who consults: the user that is named, or any that is connected.
    fn consulting(&self, conversation: &Live, destination: &Destination) -> Result<String, Refusal> {
        let named = self.text("consultingUserId");
        let consulting = conversation.participants().iter().find(|it| {
            let is_user = it.is_connected() && it.user.is_some();
            is_user && named.as_ref().is_none_or(|named| it.user.as_ref() == Some(named))
        });
        let Some(consulting) = consulting else {
            let message = "no connected user begins this consult";
            return Err(bad("conversation.error.consult.transfer.no.initiator", message));
        };
        if matches!(destination, Destination::User(user) if consulting.user.as_ref() == Some(user)) {
            let message = "a user cannot consult with itself";
            return Err(bad("conversation.error.cannot.transfer.to.self", message));
        }
        Ok(consulting.id.clone())
    }
}

impl To {
    fn resolved(
        &self,
        kind: TransferKind,
        surface: Surface,
        directory: &Directory,
    ) -> Result<Destination, Refusal> {
        let missing = || {
            let code = match kind {
                TransferKind::Blind => "conversations.error.transfer.destination.required",
                TransferKind::Consult => "conversation.error.consult.transfer.no.destination",
            };
            bad(code, "the transfer has no destination")
        };
        let destination = match self {
            Self::User(id) => Destination::User(id.clone().ok_or_else(missing)?),
            Self::Queue(id) => Destination::Queue(id.clone().ok_or_else(missing)?),
            Self::Address(address) => Destination::Address(address.clone().ok_or_else(missing)?),
            Self::Id(id) if directory.is_queue_open(id).is_some() => Destination::Queue(id.clone()),
            Self::Id(id) if directory.is_user_there(id).is_some() => Destination::User(id.clone()),
            Self::Id(id) if is_address(id) => Destination::Address(id.clone()),
            Self::Id(_) => return Err(not_found("no such destination")),
        };
        let is_ready = match &destination {
            Destination::User(id) => directory.is_user_there(id).ok_or_else(|| not_found("no such user"))?,
            Destination::Queue(id) => directory
                .is_queue_open(id)
                .ok_or_else(|| bad("conversations.error.queue.not.found", "no such queue"))?,
            Destination::Address(_) => true,
        };
        match surface {
            Surface::Guide if !is_ready => Err(conflict("the destination is closed or offline")),
            Surface::Guide | Surface::Platform => Ok(destination),
        }
    }
}

fn is_address(id: &str) -> bool {
    id.starts_with('+') || id.starts_with("sip:") || id.starts_with("tel:") || id.contains('@')
}

fn bad(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

fn conflict(message: &str) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "conflict", message)
}

fn not_connected() -> Refusal {
    bad("conversations.error.transfer.not.connected", "only a connected participant can be transferred")
}
