//! `patchbay demo`: the whole story, told with what was expected and what was seen.

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{Behaviour, Fault, Operation, Surface};

use crate::{Error, Options, Stack, WEBHOOK_SECRET, hub_signature};

/// The data action of the story.
const ACTION: &str = "custom_-_3f2c9a50-create-ticket";

/// Plays the story and prints it. The exit code is a failure if anything was not as it must be.
pub async fn run(surface: Surface) -> Result<ExitCode, Error> {
    let options = Options { port: 0, data: None, surface, retry_base_ms: 20 };
    let mut story = Story::begin(Stack::start(&options).await?);
    story.events().await;
    story.data_actions().await;
    story.cut_off(surface).await;
    story.nothing_unknown();
    story.print(surface);
    let verdict = verdict(&story.rows);
    story.stack.gateway.stop().await;
    Ok(verdict)
}

/// One line that differs fails the whole story.
fn verdict(rows: &[Row]) -> ExitCode {
    if rows.iter().all(Row::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Story {
    stack: Stack,
    http: reqwest::Client,
    rows: Vec<Row>,
}

/// One line of the story.
struct Row {
    what: &'static str,
    expected: String,
    seen: String,
}

impl Row {
    fn holds(&self) -> bool {
        self.expected == self.seen
    }
}

/// What the gateway answered.
struct Answer {
    status: StatusCode,
    replayed: bool,
    body: Value,
}

impl Answer {
    /// The status, with what tells one answer of that status from another.
    fn told(&self) -> String {
        let status = self.status.as_u16();
        let word = self.body["status"].as_str().or_else(|| slug(&self.body)).unwrap_or_default();
        let replayed = if self.replayed { " replayed" } else { "" };
        format!("{status} {word}{replayed}").trim().replace("  ", " ")
    }
}

fn slug(body: &Value) -> Option<&str> {
    body["type"].as_str()?.rsplit(':').next()
}

impl Story {
    fn begin(stack: Stack) -> Self {
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.expect("a client for plain http on loopback needs nothing of the machine");
        Self { stack, http, rows: Vec::new() }
    }

    /// Genesys Cloud delivers, more than once.
    async fn events(&mut self) {
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

    /// A workflow runs a data action, and runs it again.
    async fn data_actions(&mut self) {
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
    async fn cut_off(&mut self, surface: Surface) {
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

    /// Whatever the simulator did not know, or found wrong with a request.
    fn nothing_unknown(&mut self) {
        let anomalies = self.stack.simulator.anomalies();
        let seen = if anomalies.is_empty() { "none".to_owned() } else { format!("{anomalies:?}") };
        self.row("calls that are not in the API", "none", seen);
    }

    async fn deliver(&self, body: &str, secret: &str) -> Answer {
        let request = self
            .http
            .post(format!("{}/webhooks/genesys", self.stack.gateway.url()))
            .header("x-hub-signature-256", hub_signature(secret, body.as_bytes()))
            .body(body.to_owned());
        answer(request).await
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
        match self.stack.simulator.effects(ACTION).len() {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        }
    }

    fn kept(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for item in self.stack.engine.items().unwrap_or_default() {
            *kinds.entry(item["sk"]["S"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        kinds.join(", ")
    }

    fn row(&mut self, what: &'static str, expected: &str, seen: impl Into<String>) {
        self.rows.push(Row { what, expected: expected.to_owned(), seen: seen.into() });
    }

    #[expect(clippy::print_stdout, reason = "this is what the command prints")]
    fn print(&self, surface: Surface) {
        let width =
            |text: fn(&Row) -> &str| self.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let (what, expected) = (width(|row| row.what), width(|row| &row.expected));
        println!("\npatchbay demo, on the {surface} surface\n");
        println!("    {:what$}   {:expected$}   seen", "", "expected");
        for row in &self.rows {
            let mark = if row.holds() { "ok" } else { "NO" };
            println!(" {mark} {:what$}   {:expected$}   {}", row.what, row.expected, row.seen);
        }
        let failed = self.rows.iter().filter(|row| !row.holds()).count();
        match failed {
            0 => println!("\nEverything held."),
            _ => println!("\n{failed} of {} did not hold.", self.rows.len()),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let failed = |error: reqwest::Error| Answer {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        replayed: false,
        body: json!({"status": error.to_string()}),
    };
    match request.send().await {
        Ok(response) => {
            let status = response.status();
            let replayed = response.headers().contains_key("idempotent-replayed");
            match response.bytes().await {
                Ok(body) => {
                    Answer { status, replayed, body: serde_json::from_slice(&body).unwrap_or_default() }
                }
                Err(error) => failed(error),
            }
        }
        Err(error) => failed(error),
    }
}

fn status_of(answer: Result<String, String>) -> String {
    let answer =
        answer.and_then(|answer| serde_json::from_str::<Value>(&answer).map_err(|fault| fault.to_string()));
    answer.map_or_else(|fault| fault, |answer| answer["status"].as_str().unwrap_or_default().to_owned())
}

/// How many answers of each kind there were: `1 × 200, 19 × 200 replayed`.
fn tally(answers: &[Answer]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.told()).or_default() += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(told, count)| format!("{count} × {told}")).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(expected: &str, seen: &str) -> Row {
        Row { what: "something", expected: expected.to_owned(), seen: seen.to_owned() }
    }

    #[test]
    fn one_line_that_differs_fails_the_story() {
        assert_eq!(verdict(&[row("once", "once"), row("200", "200")]), ExitCode::SUCCESS);
        assert_eq!(verdict(&[row("once", "once"), row("once", "2 times")]), ExitCode::FAILURE);
    }
}
