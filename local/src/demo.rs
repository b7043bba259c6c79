//! `patchbay demo`: the whole story, told with what was expected and what was seen.

mod events;
mod data_actions;
mod transfers;
mod retention;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::audit::{Trail, Trails, verify};
use shared::dynamo::Table;
use simulator::Surface;
use tokio::time::Instant;

use crate::{Error, Options, Stack, TABLE_NAME, engine};

/// How long anything may take that the stack does by itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// Plays the story and prints it. The exit code is a failure if anything was not as it must be.
pub async fn run(surface: Surface) -> Result<ExitCode, Error> {
    let options = Options {
        port: 0,
        data: None,
        surface,
        retry_base_ms: 20,
        // A job that is not done at once is left for the next invocation, and nobody waits.
        retention_poll_base_ms: 60_000,
        notice_retry_seconds: "1,1,1,1,1",
        sweep_every: Duration::from_millis(300),
        resume_every: Duration::from_millis(300),
        tell: |_| {},
    };
    let mut story = Story::begin(Stack::start(&options).await?);
    story.events().await;
    story.data_actions().await;
    story.cut_off(surface).await;
    story.transfers().await;
    story.notices().await;
    story.published().await;
    story.retention(surface).await;
    story.trail().await;
    story.nothing_unknown();
    story.print(surface);
    let verdict = verdict(&story.rows);
    story.stack.stop().await;
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
    /// The entries of a trail, to be shown.
    trail: Vec<Value>,
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
        Self { stack, http, rows: Vec::new(), trail: Vec::new() }
    }

    /// Whatever the simulator did not know, or found wrong with a request.
    fn nothing_unknown(&mut self) {
        let anomalies = self.stack.simulator.anomalies();
        let seen = if anomalies.is_empty() { "none".to_owned() } else { format!("{anomalies:?}") };
        self.row("calls that are not in the API", "none", seen);
    }

    fn row(&mut self, what: &'static str, expected: &str, seen: impl Into<String>) {
        self.rows.push(Row { what, expected: expected.to_owned(), seen: seen.into() });
    }

    /// The entries of a trail, if it is as it was written.
    async fn entries(&self, trail: &Trail) -> Result<Vec<Value>, String> {
        let aws = engine::sdk_config(&self.stack.engine.url()).await;
        let trails = Trails::new(Table::connect(&aws, TABLE_NAME.to_owned()));
        let read = trails.read(trail, Instant::now() + PATIENCE).await;
        let (entries, head) = read.map_err(|error| error.to_string())?;
        let verified = verify(trail, &entries, head.as_ref()).map_err(|fault| fault.to_string())?;
        Ok(verified.entries)
    }

    /// Waits for something that the stack does by itself; not for ever.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !holds(self) && Instant::now() < give_up {
            // The stack is watched from outside, as a person would: nothing tells when it has done its part.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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
        println!("\nthe trail of the call that was cut off");
        for entry in &self.trail {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let previous = text("previous").get(..12).unwrap_or("nothing");
            let found =
                if text("foundBy").is_empty() { String::new() } else { format!(", by {}", text("foundBy")) };
            println!(
                "    {} {}  {}{found}  (after {previous})",
                entry["sequence"],
                text("at"),
                text("action"),
            );
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

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// How long a trail is, or what is wrong with it.
fn unbroken(entries: &Result<Vec<Value>, String>) -> String {
    match entries {
        Ok(entries) => format!("{} entries, unbroken", entries.len()),
        Err(fault) => fault.clone(),
    }
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
