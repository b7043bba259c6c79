//! A workflow runs data actions, and runs them again.

use futures_util::future::join_all;
use serde_json::{Value, json};
use simulator::{Behaviour, Fault, Operation, Surface};

use super::{Answer, Story, answer, tally, times};

/// The data action of the story.
const ACTION: &str = "custom_-_3f2c9a50-create-ticket";

impl Story {
    pub(super) async fn data_actions(&mut self) {
        self.stack.simulator.data_action(ACTION, Behaviour::json(json!({"ticket": 4711})));
        let input = json!({"customer": "c-9", "reason": "callback"});
        let callers = join_all((0..20).map(|_| self.invoke("order-1", &input, Some(10)))).await;
        self.row("20 callers run one data action at once", "1 × 200, 19 × 200 replayed", tally(&callers));
        let answers: std::collections::BTreeSet<String> =
            callers.iter().map(|answer| answer.body.to_string()).collect();
        self.row(
            "… every caller has the same answer",
            r#"{"ticket":4711}"#,
            Vec::from_iter(answers).join(" "),
        );
        let seen = self.effects();
        self.row("… it ran", "once", seen);
        let reordered: Value = json!({"reason": "callback", "customer": "c-9"});
        let answer = self.invoke("order-1", &reordered, None).await;
        self.row("the same, its members in another order", "200 replayed", answer.told());
        let answer = self.invoke("order-1", &json!({"customer": "c-10"}), None).await;
        self.row("the same key, another payload", "422 key-reused", answer.told());
        self.stack.simulator.fault(Operation::ExecuteDataAction, Fault::status(429).retry_after("0.05"));
        let answer = self.invoke("order-2", &json!({"customer": "c-11"}), None).await;
        self.row("Genesys asks for patience, then answers", "200", answer.told());
        let seen = self.effects();
        self.row("… altogether it ran", "2 times", seen);
    }

    /// The effect happens, and its answer is lost on the way.
    pub(super) async fn cut_off(&mut self, surface: Surface) {
        self.stack.simulator.fault(Operation::ExecuteDataAction, Fault::effect_then_drop());
        let input = json!({"customer": "c-12"});
        let first = self.invoke("order-3", &input, None).await;
        let again = self.invoke("order-3", &input, None).await;
        let (first_must, again_must) = match surface {
            // The published API does not recognise a repeated key: what may have happened is not sent again.
            Surface::Platform => ("504 outcome-unknown", "409 outcome-unknown"),
            // The guides' API does, so it is asked again, and knows the answer.
            Surface::Guide => ("200", "200 replayed"),
        };
        self.row("the connection is cut after the effect", first_must, first.told());
        self.row("… and the caller asks again", again_must, again.told());
        let seen = self.effects();
        self.row("… altogether it ran", "3 times", seen);
    }

    async fn invoke(&self, key: &str, input: &Value, wait: Option<u32>) -> Answer {
        let url = format!("{}/data-actions/{ACTION}/invocations", self.stack.gateway.url());
        let mut request = self.http.post(url).header("idempotency-key", key).body(input.to_string());
        if let Some(seconds) = wait {
            request = request.header("prefer", format!("wait={seconds}"));
        }
        answer(request).await
    }

    fn effects(&self) -> String {
        times(self.stack.simulator.effects(ACTION).len())
    }
}
