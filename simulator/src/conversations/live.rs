//! One conversation as it stands, and how it changes.

use crate::behaviour::Behaviour;
use crate::conversations::{Conversation, Participant};
use crate::transfers::{Course, Destination, Order, Transfer, TransferKind, TransferState};

/// A declared conversation and what became of it.
pub(crate) struct Live {
    declared: Conversation,
    now: View,
    /// What is shown in the place of `now`, and for how many looks still.
    before: Option<(u32, View)>,
    unfinished: Vec<Unfinished>,
    postponed: Vec<Postponed>,
}

/// What a look can see.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) participants: Vec<Participant>,
    /// From the oldest to the latest.
    pub(crate) recent: Vec<Recent>,
}

/// An entry of `recentTransfers`.
#[derive(Clone)]
pub(crate) struct Recent {
    pub(crate) id: String,
    pub(crate) state: TransferState,
    pub(crate) kind: TransferKind,
    pub(crate) is_attended: bool,
    pub(crate) initiator: Option<String>,
    pub(crate) destination: Destination,
    /// In milliseconds since the simulator started.
    pub(crate) when: u64,
}

/// A transfer that waits for its end.
struct Unfinished {
    transfer: Transfer,
    initiator: Option<String>,
    ending: Option<TransferState>,
    reads: u32,
}

/// An order whose client was cut off before it took effect.
struct Postponed {
    order: Order,
    reads: u32,
}

/// As many transfers as a conversation shows.
const RECENT: usize = 20;

impl Live {
    pub(crate) fn new(id: &str, declared: Conversation, now: u64) -> Self {
        let mut participants = declared.participants.clone();
        for participant in &mut participants {
            participant.id = format!("{id}-{}", participant.id);
        }
        let initiator = participants.iter().find_map(|it| it.user.clone());
        let recent = declared.recent.iter().map(|(id, state, destination)| Recent {
            id: id.clone(),
            state: *state,
            kind: TransferKind::Blind,
            is_attended: false,
            initiator: initiator.clone(),
            destination: destination.clone(),
            when: now,
        });
        let now = View { recent: recent.collect(), participants };
        Self { declared, now, before: None, unfinished: Vec::new(), postponed: Vec::new() }
    }

    pub(crate) fn participants(&self) -> &[Participant] {
        &self.now.participants
    }

    /// As it is shown, which may be as it was.
    pub(crate) fn seen(&self) -> &View {
        self.before.as_ref().map_or(&self.now, |(_, before)| before)
    }

    pub(crate) fn is_in_transfer(&self) -> bool {
        self.now.recent.iter().any(|transfer| transfer.state.is_under_way())
    }

    pub(crate) fn refuses_unattended(&self) -> bool {
        self.declared.refuses_unattended
    }

    pub(crate) fn refuses_outsiders(&self) -> bool {
        self.declared.refuses_outsiders
    }

    pub(crate) fn answer(&self) -> Option<&Behaviour> {
        self.declared.answer.as_ref()
    }

    pub(crate) fn set_course(&mut self, course: Course) {
        self.declared.course = course;
    }

    /// Returns what has ended at once.
    pub(crate) fn begin(
        &mut self,
        transfer: Transfer,
        initiator: Option<String>,
    ) -> Vec<(String, TransferState)> {
        let Course { ending, reads, hidden_reads } = self.declared.course;
        if hidden_reads > 0 && self.before.is_none() {
            self.before = Some((hidden_reads, self.now.clone()));
        }
        let user_of = |id: &String| self.participants().iter().find(|it| it.id == *id)?.user.clone();
        let recent = Recent {
            id: transfer.id.clone(),
            state: transfer.state,
            kind: transfer.kind,
            is_attended: transfer.transfer_type.as_deref() == Some("Attended"),
            initiator: initiator.as_ref().and_then(user_of),
            destination: transfer.destination.clone(),
            when: transfer.when,
        };
        self.now.recent.push(recent);
        self.now.recent.drain(..self.now.recent.len().saturating_sub(RECENT));
        self.unfinished.push(Unfinished { transfer, initiator, ending, reads });
        self.end_what_is_due()
    }

    pub(crate) fn postpone(&mut self, order: Order, reads: u32) {
        self.postponed.push(Postponed { order, reads });
    }

    pub(crate) fn overdue(&mut self) -> Vec<Order> {
        let overdue = self.postponed.extract_if(.., |postponed| postponed.reads == 0);
        overdue.map(|postponed| postponed.order).collect()
    }

    /// Returns what has ended now.
    pub(crate) fn count_read(&mut self) -> Vec<(String, TransferState)> {
        self.before = self.before.take().and_then(|(reads, before)| {
            let left = reads - 1;
            (left > 0).then_some((left, before))
        });
        self.unfinished.iter_mut().for_each(|it| it.reads = it.reads.saturating_sub(1));
        self.postponed.iter_mut().for_each(|it| it.reads = it.reads.saturating_sub(1));
        self.end_what_is_due()
    }

    fn end_what_is_due(&mut self) -> Vec<(String, TransferState)> {
        let is_due = |it: &mut Unfinished| it.reads == 0 && it.ending.is_some();
        let due: Vec<_> = self.unfinished.extract_if(.., is_due).collect();
        due.into_iter().filter_map(|it| self.end(&it)).collect()
    }

    fn end(&mut self, unfinished: &Unfinished) -> Option<(String, TransferState)> {
        let Unfinished { transfer, initiator, ending, .. } = unfinished;
        let state = (*ending)?;
        let entries = self.now.recent.iter_mut().filter(|it| it.id == transfer.id);
        entries.for_each(|it| it.state = state);
        if state == TransferState::Complete {
            self.complete(transfer, initiator.as_deref());
        }
        Some((transfer.id.clone(), state))
    }

    fn complete(&mut self, transfer: &Transfer, initiator: Option<&str>) {
        for participant in &mut self.now.participants {
            let is_subject = participant.id == transfer.participant;
            match transfer.kind {
                TransferKind::Blind if is_subject => "disconnected".clone_into(&mut participant.state),
                TransferKind::Consult if is_subject => {
                    participant.held = transfer.speak_to.as_deref() == Some("DESTINATION");
                }
                TransferKind::Consult if Some(participant.id.as_str()) == initiator => {
                    participant.consult_participant = Some(transfer.destination_participant.clone());
                }
                TransferKind::Blind | TransferKind::Consult => {}
            }
        }
        let leg = match &transfer.destination {
            Destination::User(user) => Participant::new("", "user").user(user),
            Destination::Queue(queue) => Participant::new("", "acd").queue(queue),
            Destination::Address(address) => Participant::new("", "external").address(address),
        };
        let leg = Participant { id: transfer.destination_participant.clone(), ..leg };
        self.now.participants.push(leg);
    }
}
