//! Why Genesys Cloud refused a transfer.

use serde::Deserialize;

use crate::genesys::settings::Surface;
use crate::idempotency::Answer;

/// A refusal: nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it amounts to.
    pub reason: Reason,
    /// Genesys Cloud's own code, or its status where it gave none.
    pub code: String,
}

/// What a refusal amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such queue or user.
    DestinationNotFound,
    /// There is no such conversation or leg.
    ConversationNotFound,
    /// The conversation is in a transfer already, or the destination is offline: the guides' surface does not say which.
    Conflict,
    /// The leg is not connected.
    NotConnected,
    /// This client is no user, and the operation wants one.
    NotAUser,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads a 4xx of this surface's.
    pub(super) fn read(answer: &Answer, surface: Surface) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct ErrorBody {
            code: Option<String>,
        }
        let body: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code =
            body.code.filter(|code| is_code(code)).unwrap_or_else(|| format!("http.{}", answer.status));
        Self { reason: reason(answer.status, &code.to_ascii_lowercase(), surface), code }
    }

    /// A transfer that Genesys Cloud took on, and that ended in this state.
    #[must_use]
    pub fn of_state(state: &str) -> Self {
        Self { reason: Reason::Other, code: format!("transfer.{}", state.to_ascii_lowercase()) }
    }
}

fn reason(status: u16, code: &str, surface: Surface) -> Reason {
    if code.ends_with("not.a.user") {
        return Reason::NotAUser;
    }
    if code.ends_with("queue.not.found") || code.ends_with("user.not.found") {
        return Reason::DestinationNotFound;
    }
    if code.ends_with("transfer.not.connected") {
        return Reason::NotConnected;
    }
    match status {
        // The guides' path names neither; the conversation has just been looked at.
        404 | 410 if surface == Surface::Guide && !code.contains("conversation") => {
            Reason::DestinationNotFound
        }
        404 | 410 => Reason::ConversationNotFound,
        409 => Reason::Conflict,
        _ => Reason::Other,
    }
}

/// A code goes to our caller, so it is one word and no more.
fn is_code(code: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&code.len()) && code.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(status: u16, body: &'static str) -> (Reason, String) {
        let answer = Answer { status, content_type: None, body: Bytes::from_static(body.as_bytes()) };
        let Refusal { reason, code } = Refusal::read(&answer, Surface::Platform);
        (reason, code)
    }

    #[test]
    fn a_code_says_more_than_a_status() {
        let of_guide = |status, code: &str| reason(status, code, Surface::Guide);
        assert_eq!(of_guide(404, "not.found"), Reason::DestinationNotFound);
        assert_eq!(of_guide(404, "conversation.not.found"), Reason::ConversationNotFound);
        let reason = |status, code: &str| reason(status, code, Surface::Platform);
        assert_eq!(reason(400, "conversations.error.queue.not.found"), Reason::DestinationNotFound);
        assert_eq!(reason(400, "conversations.error.transfer.not.connected"), Reason::NotConnected);
        assert_eq!(reason(400, "not.a.user"), Reason::NotAUser);
        assert_eq!(reason(404, "not.found"), Reason::ConversationNotFound);
        assert_eq!(reason(409, "conflict"), Reason::Conflict);
        assert_eq!(reason(400, "conversations.error.transfer.same.party"), Reason::Other);
    }

    #[test]
    fn a_refusal_without_a_code_has_its_status_and_nothing_odd_gets_through() {
        assert_eq!(read(409, ""), (Reason::Conflict, "http.409".to_owned()));
        assert_eq!(read(422, r#"{"code":7}"#), (Reason::Other, "http.422".to_owned()));
        assert_eq!(read(400, r#"{"code":"<b>\n"}"#), (Reason::Other, "http.400".to_owned()));
        assert_eq!(
            read(400, r#"{"code":"bad.request","message":"no"}"#),
            (Reason::Other, "bad.request".to_owned())
        );
    }
}
