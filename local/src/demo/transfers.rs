//! Calls are transferred, once each; the CRM hears of them, and the trail tells.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::audit::Trail;
use simulator::{Conversation, Fault, Operation};

use super::{Answer, Story, answer, times, unbroken};
use crate::stack::WRAP_UP_ACTION;

impl Story {
    /// Somebody on the phone is transferred, and not twice.
    pub(super) async fn transfers(&mut self) {
        let answer = self.transfer("call-1", "blind", "queue", "support").await;
        self.row("a call is transferred to a queue", "200 completed", answer.told());
        let answer = self.transfer("call-1", "blind", "queue", "support").await;
        self.row("… and the same request comes again", "200 completed replayed", answer.told());
        let answer = self.transfer("call-2", "consult", "user", "bob").await;
        self.row("a consult transfer to a user", "200 completed", answer.told());
        let answer = self.transfer("call-3", "blind", "queue", "night-shift").await;
        self.row("a transfer to a queue where nobody answers", "409 destination-unavailable", answer.told());

        self.stack.simulator.fault(Operation::Transfer, Fault::effect_then_drop());
        let answer = self.transfer("call-4", "blind", "queue", "support").await;
        self.row("the connection is cut after a transfer", "200 completed", answer.told());
        let seen = times(self.stack.simulator.transfers("call-4").len());
        self.row("… found by looking: it was transferred", "once", seen);
    }

    /// What others hear of it, though they are away for a while.
    pub(super) async fn notices(&mut self) {
        self.until(|story| story.heard().values().sum::<usize>() >= 4).await;
        let heard = self.heard().into_iter().map(|(status, count)| format!("{count} {status}"));
        let heard = heard.collect::<Vec<_>>().join(", ");
        self.row("the CRM has heard of", "3 completed, 1 refused", heard);

        self.stack.inbox.go_down().await;
        let answer = self.transfer("call-5", "blind", "user", "bob").await;
        self.row("the CRM is down during a transfer", "200 completed", answer.told());
        self.until(|story| story.attempts("call-5") >= 2).await;
        let back = self.stack.inbox.come_back().await;
        self.until(|story| story.deliveries("call-5") > 0).await;
        let seen = back.map_or_else(|error| error.to_string(), |()| times(self.deliveries("call-5")));
        self.row("… it is back, and hears of it", "once", seen);
        let unsigned = self.stack.inbox.received().iter().filter(|notice| !notice.is_verified).count();
        self.row("notices that nobody of ours signed", "0", unsigned.to_string());
    }

    /// What was recorded is published, and a rule makes something of it.
    pub(super) async fn published(&mut self) {
        self.until(|story| story.wrapped_up() > 0).await;
        let published = self.stack.bus.published().len().to_string();
        self.row("events published to the bus", "2", published);
        let seen = times(self.wrapped_up());
        self.row("… a rule runs a data action for the one that ended", "once", seen);
    }

    /// The trail of the transfer whose answer was lost.
    pub(super) async fn trail(&mut self) {
        let entries = self.entries(&Trail::of_conversation("call-4")).await;
        let seen = unbroken(&entries);
        self.trail = entries.unwrap_or_default();
        self.row("the trail of the call that was cut off", "2 entries, unbroken", seen);
    }

    async fn transfer(&self, conversation: &str, transfer: &str, kind: &str, id: &str) -> Answer {
        self.stack.simulator.conversation(conversation, Conversation::with_agent("alice"));
        let url = format!("{}/transfers", self.stack.gateway.url());
        let body = json!({"conversationId": conversation, "transferType": transfer,
            "destination": {"type": kind, "id": id}});
        let key = format!("transfer-{conversation}");
        answer(self.http.post(url).header("idempotency-key", key).body(body.to_string())).await
    }

    /// How many notices of transfers of each status have arrived, repeats aside.
    fn heard(&self) -> BTreeMap<String, usize> {
        let mut heard = BTreeMap::new();
        for notice in self.stack.inbox.received().iter().filter(|notice| !notice.is_repeated) {
            let body: Value = serde_json::from_str(&notice.body).unwrap_or_default();
            // Those of retention have no status of their own.
            if let Some(status) = body["status"].as_str() {
                *heard.entry(status.to_owned()).or_default() += 1;
            }
        }
        heard
    }

    fn deliveries(&self, conversation: &str) -> usize {
        let is_of = |body: &str| {
            serde_json::from_str::<Value>(body).is_ok_and(|body| body["conversation"] == conversation)
        };
        self.stack.inbox.received().iter().filter(|notice| is_of(&notice.body)).count()
    }

    /// How often a notice about this conversation was tried.
    fn attempts(&self, conversation: &str) -> u64 {
        let items = self.stack.engine.items().unwrap_or_default();
        let is_of = |item: &&Value| {
            let body = item["body"]["S"].as_str().unwrap_or_default();
            item["sk"]["S"] == "notice" && body.contains(&format!("\"{conversation}\""))
        };
        let notice = items.iter().find(is_of);
        notice.and_then(|item| item["attempts"]["N"].as_str()?.parse().ok()).unwrap_or_default()
    }

    fn wrapped_up(&self) -> usize {
        self.stack.simulator.effects(WRAP_UP_ACTION).len()
    }
}
