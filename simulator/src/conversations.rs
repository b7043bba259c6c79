//! Conversations: who takes part, which transfers they have seen, and how a look at them is answered.
//!
//! `platform` shows one conversation by its id, `guide` a page of all of them, in the order of their ids. A look that
//! was answered counts for every conversation it showed, whether or not the answer arrived; so a transfer can be made
//! to show, or to end, only after so many of them. `dateIssued` is in whole seconds of a clock of the simulator's
//! own, which starts at a fixed date. Only calls are simulated, and nobody hangs up.

mod shown;
mod live;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

pub(crate) use crate::conversations::live::Live;
pub(crate) use crate::conversations::shown::{all, one};

use crate::behaviour::{Answer, Behaviour};
use crate::surface::Surface;
use crate::transfers::{Course, Destination, Order, Transfer, TransferState};

/// A conversation, as [`crate::Simulator::conversation`] declares it.
#[derive(Debug, Clone)]
pub struct Conversation {
    participants: Vec<Participant>,
    recent: Vec<(String, TransferState, Destination)>,
    course: Course,
    refuses_unattended: bool,
    refuses_outsiders: bool,
    answer: Option<Behaviour>,
}

impl Conversation {
    /// Of nobody.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            participants: Vec::new(),
            recent: Vec::new(),
            course: Course::completes(),
            refuses_unattended: false,
            refuses_outsiders: false,
            answer: None,
        }
    }

    /// Of a connected `customer` and a connected `agent`, who is this user.
    #[must_use]
    pub fn with_agent(user: &str) -> Self {
        Self::empty().participant(customer()).participant(Participant::new("agent", "agent").user(user))
    }

    /// Of a connected `customer` and an `acd` leg that waits in this queue.
    #[must_use]
    pub fn waiting_in(queue: &str) -> Self {
        Self::empty().participant(customer()).participant(Participant::new("acd", "acd").queue(queue))
    }

    /// Of a `customer` and an `agent` who have hung up.
    #[must_use]
    pub fn ended() -> Self {
        let agent = Participant::new("agent", "agent").user("former-agent");
        let participants = [customer(), agent].map(|it| it.state("disconnected"));
        Self { participants: participants.to_vec(), ..Self::empty() }
    }

    /// And of this one.
    #[must_use]
    pub fn participant(mut self, participant: Participant) -> Self {
        self.participants.push(participant);
        self
    }

    /// Has seen this transfer before, which is no effect of anybody's here. One under way stays so, and is in the way
    /// of others.
    #[must_use]
    pub fn recent_transfer(mut self, id: &str, state: TransferState, destination: Destination) -> Self {
        self.recent.push((id.to_owned(), state, destination));
        self
    }

    /// Its transfers go this way, and not [`Course::completes`].
    #[must_use]
    pub fn transfers_go(self, course: Course) -> Self {
        Self { course, ..self }
    }

    /// Refuses a blind transfer that is not attended, as an ACD call can.
    #[must_use]
    pub fn refuses_unattended(self) -> Self {
        Self { refuses_unattended: true, ..self }
    }

    /// Refuses every transfer with 403, because the client is no active participant.
    #[must_use]
    pub fn refuses_outsiders(self) -> Self {
        Self { refuses_outsiders: true, ..self }
    }

    /// A transfer that would be accepted is answered like this, and not as usual; with a status of 400 or more it
    /// is no effect. The input of an echo is the request's body, read and written again.
    #[must_use]
    pub fn answers_transfers(self, behaviour: Behaviour) -> Self {
        Self { answer: Some(behaviour), ..self }
    }
}

fn customer() -> Participant {
    Participant::new("customer", "customer").address("tel:+4930123456")
}

/// One leg of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Its id. Where it is declared, that is the conversation's id, a hyphen and its role.
    pub id: String,
    /// `customer`, `external`, `agent`, `user`, `acd`, or any other published purpose.
    pub purpose: String,
    /// `connected`, `disconnected`, or any other published state.
    pub state: String,
    /// The user it is.
    pub user: Option<String>,
    /// The queue it waits in.
    pub queue: Option<String>,
    /// The number or address it is reached at.
    pub address: Option<String>,
    /// Whom it consults.
    pub consult_participant: Option<String>,
    /// Whether it hears music.
    pub held: bool,
}

impl Participant {
    /// A connected one. Its id will be the conversation's, a hyphen and this role: `c1-agent`.
    #[must_use]
    pub fn new(role: &str, purpose: &str) -> Self {
        Self {
            id: role.to_owned(),
            purpose: purpose.to_owned(),
            state: "connected".to_owned(),
            user: None,
            queue: None,
            address: None,
            consult_participant: None,
            held: false,
        }
    }

    /// Is in this published state, such as `alerting`.
    #[must_use]
    pub fn state(self, state: &str) -> Self {
        Self { state: state.to_owned(), ..self }
    }

    /// Is this user.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self }
    }

    /// Waits in this queue.
    #[must_use]
    pub fn queue(self, queue: &str) -> Self {
        Self { queue: Some(queue.to_owned()), ..self }
    }

    /// Is reached at this number or address.
    #[must_use]
    pub fn address(self, address: &str) -> Self {
        Self { address: Some(address.to_owned()), ..self }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state == "connected"
    }
}

/// The declared conversations and all that came of them.
#[derive(Default)]
pub(crate) struct Conversations {
    declared: BTreeMap<String, Live>,
    /// Every transfer that took effect, in order.
    log: Vec<Transfer>,
    /// The body and the answer that each key is bound to, on `guide`.
    pub(crate) bound: HashMap<String, (Value, Answer)>,
}

impl Conversations {
    /// What has been transferred already stays so, and shows no longer.
    pub(crate) fn declare(&mut self, id: &str, conversation: Conversation, now: u64) {
        self.declared.insert(id.to_owned(), Live::new(id, conversation, now));
    }

    /// Changes how its next transfers go. A conversation nobody declared has none.
    pub(crate) fn set_course(&mut self, id: &str, course: Course) {
        if let Some(live) = self.declared.get_mut(id) {
            live.set_course(course);
        }
    }

    pub(crate) fn live(&self, id: &str) -> Option<&Live> {
        self.declared.get(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.declared.keys().map(String::as_str)
    }

    pub(crate) fn transfers(&self, id: &str) -> impl Iterator<Item = &Transfer> {
        self.log.iter().filter(move |transfer| transfer.conversation == id)
    }

    pub(crate) fn log(&self) -> &[Transfer] {
        &self.log
    }

    /// What it answers to a transfer, if that is not as usual.
    pub(crate) fn answer(&self, id: &str) -> Option<Behaviour> {
        self.declared.get(id)?.answer().cloned()
    }

    /// `initiator` is the participant who transfers, if there is one.
    pub(crate) fn begin(&mut self, transfer: Transfer, initiator: Option<String>) {
        if let Some(live) = self.declared.get_mut(&transfer.conversation) {
            self.log.push(transfer.clone());
            let ended = live.begin(transfer, initiator);
            record(&mut self.log, ended);
        }
    }

    pub(crate) fn postpone(&mut self, order: Order, reads: u32) {
        if let Some(live) = self.declared.get_mut(&order.conversation) {
            live.postpone(order, reads);
        }
    }

    /// The postponed orders whose time has come, taken out.
    pub(crate) fn overdue(&mut self, id: &str) -> Vec<Order> {
        self.declared.get_mut(id).map(Live::overdue).unwrap_or_default()
    }

    pub(crate) fn count_read(&mut self, id: &str) {
        if let Some(live) = self.declared.get_mut(id) {
            record(&mut self.log, live.count_read());
        }
    }

    /// As a client sees it now.
    pub(crate) fn shown(&self, id: &str, surface: Surface) -> Option<Value> {
        self.declared.get(id).map(|live| shown::conversation(id, live.seen(), surface))
    }
}

fn record(log: &mut [Transfer], ended: Vec<(String, TransferState)>) {
    for (id, state) in ended {
        log.iter_mut().filter(|transfer| transfer.id == id).for_each(|transfer| transfer.state = state);
    }
}

#[cfg(test)]
mod tests;
