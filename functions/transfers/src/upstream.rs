//! Genesys Cloud's side of a transfer: the look before it, and finding out what became of it.

use std::time::Duration;

use shared::genesys::auth::Token;
use shared::genesys::conversations::{
    Conflict, Finding, Kind, Moved, Progress, Reach, Reason, Refusal, Seen, Transfer,
};
use shared::genesys::{NotPerformed, ParticipantId, Surface};
use shared::problem::{self, Problem};
use shared::telemetry::chain;
use tokio::time::Instant;

use crate::App;
use crate::run::End;

/// How often the conversation is read to learn what an accepted transfer has come to, and the waits in between.
const CONFIRMATIONS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(400)];

/// How long that may take: the answer is known already.
const CONFIRMING: Duration = Duration::from_secs(2);

/// How long finding out what became of an unclear transfer may take. After that, a repeat looks again.
const PATIENCE: Duration = Duration::from_secs(8);

/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What is needed to act, after the look.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    /// What was there before.
    pub(crate) seen: Seen,
    /// The leg to move, where the surface wants one named.
    pub(crate) leg: Option<ParticipantId>,
}

/// Looks whether the conversation can be transferred, and the destination reached.
pub(crate) async fn look(app: &App, transfer: &Transfer, act_by: Instant) -> Result<Ready, End> {
    let mut token = token(app, act_by).await?;
    let mut other = token.clone();
    let (conversation, reach) = tokio::join!(
        app.conversations.conversation(&mut token, &transfer.conversation, act_by),
        app.conversations.reach(&mut other, transfer, act_by),
    );
    let refused = |kind, detail: &str| End::Refused(Problem::new(kind, detail));
    let conversation = conversation
        .map_err(End::NotPerformed)?
        .ok_or_else(|| refused(problem::Kind::ConversationNotFound, "There is no such conversation."))?;
    match reach.map_err(End::NotPerformed)? {
        Reach::Reachable => {}
        Reach::NotFound => {
            let detail = format!("There is no such {}.", transfer.destination.kind());
            return Err(refused(problem::Kind::DestinationNotFound, &detail));
        }
        Reach::Unavailable(why) => return Err(refused(problem::Kind::DestinationUnavailable, why)),
    }
    let leg = match app.conversations.surface() {
        Surface::Platform => conversation.leg_to_move(transfer).map(Some),
        Surface::Guide => conversation.is_movable().map(|()| None),
    };
    let leg = leg.map_err(|conflict| refused(problem::Kind::ConversationConflict, detail(conflict)))?;
    Ok(Ready { token, seen: conversation.seen(), leg })
}

async fn token(app: &App, act_by: Instant) -> Result<Token, End> {
    app.conversations.token(act_by).await.map_err(|error| {
        tracing::warn!(message = "no token could be had", error = chain(&error));
        End::NotPerformed(NotPerformed::from(&error))
    })
}

fn detail(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::InTransfer => "The conversation is being transferred already.",
        Conflict::NobodyConnected => "Nobody is connected to the conversation who could be transferred.",
        Conflict::SeveralAgents => {
            "More than one agent is connected to the conversation: name the one to replace with participantId."
        }
        Conflict::ParticipantNotConnected => "The participant is not connected to the conversation.",
        Conflict::ParticipantUnfit => {
            "The participant is not one that this transfer moves: a blind transfer replaces the agent, a consult transfer \
             moves the customer."
        }
    }
}

/// What a transfer that Genesys Cloud took on has come to, as far as the conversation tells within a moment.
pub(crate) async fn confirm(
    app: &App,
    transfer: &Transfer,
    ready: &mut Ready,
    moved: Moved,
    act_by: Instant,
) -> End {
    let is_told = moved.progress == Progress::Completed;
    // The guides' answer says it all; the published ones leave out the transfer's id.
    if is_told && (app.conversations.surface() == Surface::Guide || moved.transfer_id.is_some()) {
        return End::Moved(moved);
    }
    let until = act_by.min(Instant::now() + CONFIRMING);
    // What is done needs no more than its name.
    let looks = if is_told { 1 } else { CONFIRMATIONS.len() };
    let mut best = moved;
    for wait in &CONFIRMATIONS[..looks] {
        if !pause(*wait, until).await {
            break;
        }
        let read = app.conversations.conversation(&mut ready.token, &transfer.conversation, until).await;
        let Ok(Some(conversation)) = read else { continue };
        match conversation.since(&ready.seen, transfer) {
            Finding::Moved(found) => {
                best = Moved {
                    progress: best.progress.max(found.progress),
                    transfer_id: found.transfer_id.or(best.transfer_id),
                    destination_participant: best.destination_participant.or(found.destination_participant),
                };
            }
            // What was only taken on has failed; what was answered as done was done, whatever came of it.
            Finding::Failed(state) if !is_told => {
                return refused(&Refusal::of_state(&state), &transfer.kind);
            }
            Finding::Failed(_) | Finding::Nothing => {}
        }
        if best.progress == Progress::Completed && (best.transfer_id.is_some() || is_told) {
            break;
        }
    }
    End::Moved(best)
}

/// What became of a transfer whose answer never came: the conversation is read until it tells, or until there is no more
/// time. Nothing is sent again.
pub(crate) async fn reconcile(
    app: &App,
    transfer: &Transfer,
    ready: &mut Ready,
    why: &'static str,
    act_by: Instant,
) -> End {
    let until = act_by.min(Instant::now() + PATIENCE);
    for attempt in 0.. {
        let wait = if attempt == 0 { Duration::ZERO } else { Duration::from_millis(100 << attempt.min(5)) };
        if !pause(wait.min(LONGEST_WAIT), until).await {
            break;
        }
        if let Some(end) = find(app, transfer, &mut ready.token, &ready.seen, until).await {
            return end;
        }
    }
    End::Unclear(why)
}

/// What an earlier attempt has come to, after which `seen` was there; `None` if the conversation does not tell.
pub(crate) async fn look_again(app: &App, transfer: &Transfer, seen: &Seen, act_by: Instant) -> Option<End> {
    let mut token = token(app, act_by).await.ok()?;
    find(app, transfer, &mut token, seen, act_by).await
}

async fn find(app: &App, transfer: &Transfer, token: &mut Token, seen: &Seen, until: Instant) -> Option<End> {
    let conversation = app.conversations.conversation(token, &transfer.conversation, until).await.ok()??;
    match conversation.since(seen, transfer) {
        Finding::Moved(moved) => Some(End::Moved(moved)),
        Finding::Failed(state) => Some(refused(&Refusal::of_state(&state), &transfer.kind)),
        Finding::Nothing => None,
    }
}

/// What a refusal of Genesys Cloud's amounts to.
pub(crate) fn refused(refusal: &Refusal, transfer: &Kind) -> End {
    let (kind, detail) = match refusal.reason {
        Reason::DestinationNotFound => {
            (problem::Kind::DestinationNotFound, "Genesys Cloud knows no such destination.")
        }
        Reason::ConversationNotFound => {
            (problem::Kind::ConversationNotFound, "Genesys Cloud knows no such conversation or participant.")
        }
        Reason::Conflict => (
            problem::Kind::ConversationConflict,
            "The conversation is being transferred already, or the destination is offline.",
        ),
        Reason::NotConnected => {
            (problem::Kind::ConversationConflict, "The participant is not connected to the conversation.")
        }
        Reason::NotAUser => (problem::Kind::Unsupported, not_a_user(transfer)),
        Reason::Other => (problem::Kind::TransferRefused, "Genesys Cloud refused the transfer."),
    };
    End::Refused(Problem::new(kind, detail).with_upstream_code(&refusal.code))
}

fn not_a_user(transfer: &Kind) -> &'static str {
    let names_user = matches!(transfer, Kind::Consult(consult) if consult.consulting_user.is_some());
    if names_user {
        "This operation wants a user, and the OAuth client (client credentials) is none, not even with \
         consult.consultingUserId. It can be done only with a token of the user's own."
    } else {
        "This operation wants a user, and the OAuth client (client credentials) is none: name the one who consults in \
         consult.consultingUserId."
    }
}

/// Waits, unless that would be too late.
async fn pause(wait: Duration, until: Instant) -> bool {
    let wake = Instant::now() + wait;
    if wake >= until {
        return false;
    }
    tokio::time::sleep_until(wake).await;
    true
}
