//! What a conversation looks like, and what has become of it since.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Destination, Kind, Transfer};
use crate::genesys::ids::ParticipantId;

/// A conversation as it was read: its legs, and its latest transfers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conversation {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    participants: Vec<Participant>,
    #[serde(deserialize_with = "or_default")]
    recent_transfers: Vec<RecentTransfer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Participant {
    #[serde(deserialize_with = "or_default")]
    id: String,
    purpose: Option<String>,
    state: Option<String>,
    user: Option<Reference>,
    queue: Option<Reference>,
    address: Option<String>,
    consult_participant_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RecentTransfer {
    #[serde(deserialize_with = "or_default")]
    id: String,
    state: Option<String>,
    destination: Option<NamedDestination>,
}

/// Where a transfer went, as far as it is named. The published API names a user or an address, and never a queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamedDestination {
    id: Option<String>,
    user_id: Option<String>,
    queue_id: Option<String>,
    address: Option<String>,
}

/// What was there before a transfer, so that what is new can be told from it. Never by the clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    transfers: Vec<String>,
    participants: Vec<String>,
}

/// Why a conversation cannot be transferred now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A transfer is under way.
    InTransfer,
    /// Nobody is connected who could be transferred.
    NobodyConnected,
    /// More than one agent is connected, and the request does not say which of them to replace.
    SeveralAgents,
    /// The participant that the request names is not connected to the conversation.
    ParticipantNotConnected,
    /// The participant that the request names is not one that such a transfer moves.
    ParticipantUnfit,
}

/// What has become of a transfer, as the conversation tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing that was not there before.
    Nothing,
    /// It is there.
    Moved(Moved),
    /// It is there, and went wrong; in Genesys Cloud's word for it.
    Failed(String),
}

/// A transfer that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How far it has got.
    pub progress: Progress,
    /// Genesys Cloud's id of it, if it names one.
    pub transfer_id: Option<String>,
    /// The new leg, if there is one.
    pub destination_participant: Option<String>,
}

/// How far a transfer has got. In order: what is further along is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Genesys Cloud has taken it on.
    #[default]
    Accepted,
    /// It is done.
    Completed,
}

impl Conversation {
    /// The ids of what is there now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            transfers: self.recent_transfers.iter().map(|transfer| transfer.id.clone()).collect(),
            participants: self.participants.iter().map(|participant| participant.id.clone()).collect(),
        }
    }

    /// The leg that a transfer on the published surface is asked of: a blind transfer replaces the connected agent,
    /// or the leg that waits in a queue; a consult transfer moves the customer.
    pub fn leg_to_move(&self, transfer: &Transfer) -> Result<ParticipantId, Conflict> {
        self.is_free()?;
        let connected = || self.participants.iter().filter(|participant| participant.is_connected());
        if let Some(named) = &transfer.participant {
            let leg = connected().find(|participant| participant.id == named.as_str());
            let leg = leg.ok_or(Conflict::ParticipantNotConnected)?;
            // The classic mistake. Legs of other purposes are for Genesys Cloud to judge.
            let unfit: &[&str] = match transfer.kind {
                Kind::Blind => &["customer", "external"],
                Kind::Consult(_) => &["agent", "user", "acd"],
            };
            return if leg.has_purpose(unfit) { Err(Conflict::ParticipantUnfit) } else { Ok(named.clone()) };
        }
        let with = |purposes: &'static [&'static str]| {
            connected().filter(move |participant| participant.has_purpose(purposes))
        };
        let leg = match transfer.kind {
            Kind::Blind => {
                let mut agents = with(&["agent", "user"]);
                let agent = agents.next();
                if agents.next().is_some() {
                    return Err(Conflict::SeveralAgents);
                }
                agent.or_else(|| with(&["acd"]).next_back())
            }
            Kind::Consult(_) => with(&["customer", "external"]).next(),
        };
        // An id that cannot reach a path is one that was never given out.
        leg.and_then(|leg| ParticipantId::parse(&leg.id).ok()).ok_or(Conflict::NobodyConnected)
    }

    /// Whether it can be transferred on the guides' surface, which may not tell of its legs.
    pub fn is_movable(&self) -> Result<(), Conflict> {
        self.is_free()?;
        // A leg without a state says nothing against it.
        let is_over = !self.participants.is_empty()
            && self.participants.iter().all(|leg| leg.state.is_some() && !leg.is_connected());
        if is_over { Err(Conflict::NobodyConnected) } else { Ok(()) }
    }

    fn is_free(&self) -> Result<(), Conflict> {
        let is_consulting = |leg: &Participant| {
            let with = leg.consult_participant_id.as_deref().filter(|id| !id.is_empty());
            let is_over = |id| self.participants.iter().any(|other| other.id == id && other.is_gone());
            leg.is_connected() && with.is_some_and(|id| !is_over(id))
        };
        let is_in_transfer = self.recent_transfers.iter().any(RecentTransfer::is_under_way)
            || self.participants.iter().any(is_consulting);
        if is_in_transfer { Err(Conflict::InTransfer) } else { Ok(()) }
    }

    /// Whether, since `seen`, the conversation has come to a queue other than the destination, and not to that.
    fn has_new_queue(&self, seen: &Seen, destination: &Destination) -> bool {
        let new = || self.participants.iter().filter(|leg| !seen.participants.contains(&leg.id));
        new().any(|leg| leg.has_purpose(&["acd"]) && leg.queue.is_some())
            && !new().any(|leg| leg.is_of(destination))
    }

    /// What has become of a transfer before which `seen` was there: a transfer that is new and goes where it should, or
    /// a leg of its destination's that is new.
    #[must_use]
    pub fn since(&self, seen: &Seen, transfer: &Transfer) -> Finding {
        let destination = &transfer.destination;
        let leg = self
            .participants
            .iter()
            .rfind(|leg| !seen.participants.contains(&leg.id) && leg.is_of(destination) && !leg.is_gone());
        let destination_participant = leg.map(|leg| leg.id.clone());
        // A queue is not named: a transfer to another one is told from ours by that one's leg.
        let is_queue = matches!(destination, Destination::Queue(_));
        let went_elsewhere = leg.is_none() && self.has_new_queue(seen, destination);
        let new = self.recent_transfers.iter().filter(|recent| {
            !seen.transfers.contains(&recent.id)
                && (recent.names(destination) || (is_queue && recent.names_nobody() && !went_elsewhere))
        });
        let (went_wrong, under_way): (Vec<_>, Vec<_>) = new.partition(|recent| recent.went_wrong());
        let furthest = under_way.into_iter().max_by_key(|recent| recent.progress());
        match (furthest, leg, went_wrong.first()) {
            (Some(recent), _, _) => Finding::Moved(Moved {
                progress: recent.progress(),
                transfer_id: Some(recent.id.clone()),
                destination_participant,
            }),
            (None, Some(leg), _) => {
                let progress = if leg.is_connected() { Progress::Completed } else { Progress::Accepted };
                Finding::Moved(Moved { progress, transfer_id: None, destination_participant })
            }
            (None, None, Some(failed)) => Finding::Failed(failed.state.clone().unwrap_or_default()),
            (None, None, None) => Finding::Nothing,
        }
    }
}

/// What is null is as good as absent.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

impl Participant {
    fn is_connected(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("connected"))
    }

    fn is_gone(&self) -> bool {
        let gone = ["disconnected", "terminated"];
        self.state.as_deref().is_some_and(|state| gone.iter().any(|gone| state.eq_ignore_ascii_case(gone)))
    }

    fn has_purpose(&self, purposes: &[&str]) -> bool {
        let purpose = self.purpose.as_deref().unwrap_or_default();
        purposes.iter().any(|wanted| purpose.eq_ignore_ascii_case(wanted))
    }

    /// Whether this is a leg of the destination's.
    fn is_of(&self, destination: &Destination) -> bool {
        let names = |reference: &Option<Reference>, id: &str| {
            reference.as_ref().and_then(|reference| reference.id.as_deref()) == Some(id)
        };
        match destination {
            // An agent who answers for a queue has it on their leg as well; the queue's own is the one that waits.
            Destination::Queue(id) => names(&self.queue, id.as_str()),
            Destination::User(id) => names(&self.user, id.as_str()),
            Destination::External(address) => {
                self.address.as_deref().is_some_and(|of_leg| address.is_told_as(of_leg))
            }
        }
    }
}

impl RecentTransfer {
    fn is_in(&self, states: &[&str]) -> bool {
        let state = self.state.as_deref().unwrap_or_default();
        states.iter().any(|wanted| state.eq_ignore_ascii_case(wanted))
    }

    fn is_under_way(&self) -> bool {
        self.is_in(&["pending", "active"])
    }

    fn went_wrong(&self) -> bool {
        self.is_in(&["failed", "canceled", "cancelled", "timeout"])
    }

    fn progress(&self) -> Progress {
        if self.is_in(&["complete", "completed"]) { Progress::Completed } else { Progress::Accepted }
    }

    /// Whether it says that it goes to the destination.
    fn names(&self, destination: &Destination) -> bool {
        let Some(named) = &self.destination else { return false };
        let is_named = |name: &Option<String>| name.as_deref() == Some(destination.id());
        match destination {
            Destination::Queue(_) => is_named(&named.queue_id) || is_named(&named.id),
            Destination::User(_) => is_named(&named.user_id) || is_named(&named.id),
            Destination::External(address) => [&named.address, &named.id]
                .iter()
                .any(|name| name.as_deref().is_some_and(|name| address.is_told_as(name))),
        }
    }

    /// Whether it does not say where it goes, as one to a queue.
    fn names_nobody(&self) -> bool {
        self.destination.as_ref().is_none_or(|named| {
            let names = [&named.id, &named.user_id, &named.queue_id, &named.address];
            names.iter().all(|name| name.as_deref().is_none_or(str::is_empty))
        })
    }
}

#[cfg(test)]
mod tests;
