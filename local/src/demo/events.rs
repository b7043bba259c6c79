//! Genesys Cloud delivers, more than once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Answer, Story, answer, tally};
use crate::{WEBHOOK_SECRET, hub_signature};

impl Story {
    pub(super) async fn events(&mut self) {
        let event = json!({"id": "evt-1", "type": "conversation.ended", "createdTime": 1_763_800_000_000_i64,
            "data": {"conversationId": "c-1"}});
        let answer = self.deliver(&event.to_string(), WEBHOOK_SECRET).await;
        self.row("an event is delivered", "200 ACKNOWLEDGED", answer.told());
        let text = event.to_string();
        let repeats = join_all((0..5).map(|_| self.deliver(&text, WEBHOOK_SECRET))).await;
        self.row("… and five times more at once", "5 × 200 DUPLICATE", tally(&repeats));

        let notification = json!({"topicName": "v2.detail.events.conversation.c-1.customer.end", "version": "2",
            "eventBody": {"eventTime": 1_763_800_000_500_i64, "conversationId": "c-1", "participantId": "p-1",
                "mediaType": "VOICE", "direction": "INBOUND"}, "metadata": {"CorrelationId": "x-1"}});
        let envelope = json!({"version": "0", "id": "0f5a-envelope", "source": "aws.partner/genesys.com/cloud/org/1",
            "detail-type": "v2.detail.events.conversation.{id}.customer.end", "account": "123456789012",
            "time": "2025-11-22T08:26:40Z", "region": "eu-west-1", "resources": [], "detail": notification});
        let answer = self.stack.gateway.deliver_from_event_bridge(&envelope.to_string()).await;
        self.row("another comes through EventBridge", "ACKNOWLEDGED", status_of(answer));
        let answer = self.deliver(&notification.to_string(), WEBHOOK_SECRET).await;
        self.row("… and the same one over HTTP", "200 DUPLICATE", answer.told());

        let answer = self.deliver(&event.to_string(), "another-secret-altogether").await;
        self.row("a stranger signs an event", "401 unauthenticated", answer.told());
        let answer = self.deliver("this is no event", WEBHOOK_SECRET).await;
        self.row("a body that is no event", "400 invalid-request", answer.told());
        let kept = self.kept();
        self.row("what is in the table now", "2 event, 1 quarantine", kept);
    }

    async fn deliver(&self, body: &str, secret: &str) -> Answer {
        let request = self
            .http
            .post(format!("{}/webhooks/genesys", self.stack.gateway.url()))
            .header("x-hub-signature-256", hub_signature(secret, body.as_bytes()))
            .body(body.to_owned());
        answer(request).await
    }

    fn kept(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for item in self.stack.engine.items().unwrap_or_default() {
            *kinds.entry(item["sk"]["S"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        kinds.join(", ")
    }
}

fn status_of(answer: Result<String, String>) -> String {
    let answer =
        answer.and_then(|answer| serde_json::from_str::<Value>(&answer).map_err(|fault| fault.to_string()));
    answer.map_or_else(|fault| fault, |answer| answer["status"].as_str().unwrap_or_default().to_owned())
}
