//! Retention policies are deployed as they are written, once; and what takes its time is carried on.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::audit::Trail;
use simulator::{PolicyCourse, Surface};
use tokio::time::Instant;

use super::{PATIENCE, Story, answer, times, unbroken};

impl Story {
    pub(super) async fn retention(&mut self, surface: Surface) {
        // On the guides' surface a policy is there at once, unless it has a course of its own.
        self.stack.simulator.policies_go(PolicyCourse::created());
        let written = [policy("Calls", "call", 365), policy("Emails", "email", 90)];
        let mut misspelt = policy("Chats", "chat", 5);
        misspelt["schedule"] = json!({"frequency": "WEEKLY"});

        let report = self.order(&[&written[..], &[misspelt]].concat(), "report").await;
        self.row(
            "three retention policies, one of them not as it must be",
            "1 created, 1 invalid, 1 merged",
            statuses(&report),
        );
        let merge = &report["policies"][1]["merge"];
        let merge = format!("{} → {} days", merge["from"], merge["to"]);
        self.row("… one comes close to another that is there", "90 → 100 days", merge);
        let faults = report["policies"][2]["faults"].as_array().into_iter().flatten();
        let faults: Vec<&str> = faults.filter_map(|fault| fault["field"].as_str()).collect();
        self.row("… what is wrong with the third", "retentionPeriod, schedule.dayOfWeek", faults.join(", "));
        let summary = summary(&report);
        self.row("… the report's summary", "VIOLATED, success 75 %, conflicts 0.25", summary);

        let before = self.policy_writes();
        let report = self.order(&written, "report").await;
        self.row("the good ones once more", "2 unchanged", statuses(&report));
        self.row("… compliance is", "VERIFIED", compliance(&report));
        let seen = times(self.policy_writes() - before);
        self.row("… Genesys Cloud was written to", "0 times", seen);

        match surface {
            Surface::Platform => self.changed_policy().await,
            Surface::Guide => self.patient_policy().await,
        }
        self.heard_of_retention(match surface {
            Surface::Platform => "4 DEPLOYED, 2 DEPLOYMENT_FAILED",
            Surface::Guide => "3 DEPLOYED, 1 DEPLOYMENT_FAILED, 1 PENDING",
        })
        .await;
    }

    /// The published API can replace a policy, and so can somebody else.
    async fn changed_policy(&mut self) {
        let longer = [policy("Calls", "call", 730)];
        let report = self.order(&longer, "report").await;
        self.row("a longer period is written", "1 updated", statuses(&report));
        let days = self.days_in_force("Calls");
        self.row("… the same policy keeps for", "730 days", days);

        let id = report["policies"][0]["policyId"].as_str().unwrap_or_default().to_owned();
        self.stack.simulator.edit_policy(&id, |stored| stored["enabled"] = json!(false));
        let report = self.order(&longer, "report").await;
        self.row("somebody switches it off in Genesys Cloud", "1 drift", statuses(&report));
        let report = self.order(&longer, "apply").await;
        self.row("… and it is ordered all the same", "1 updated", statuses(&report));
        self.trail_of_policy("Calls", "7 entries, unbroken").await;
    }

    /// The guides' API makes a policy by a job, which may take longer than an invocation.
    async fn patient_policy(&mut self) {
        self.stack.simulator.policy_goes("Tasks", PolicyCourse::job().after_polls(2));
        let report = self.order(&[policy("Tasks", "task", 30)], "report").await;
        self.row("a policy whose job takes its time", "1 pending", statuses(&report));
        self.until(|story| story.ends_of("Tasks").last().is_some_and(|end| end != "pending")).await;
        let ends = self.ends_of("Tasks").join(", then ");
        self.row("… carried on by the schedule", "pending, then created", ends);
        let polls =
            self.stack.simulator.jobs().iter().map(|job| times(job.polls as usize)).collect::<Vec<_>>();
        self.row("… its job was looked at", "3 times", polls.join(", "));
        let days = self.days_in_force("Tasks");
        self.row("… the policy keeps for", "30 days", days);
        self.trail_of_policy("Tasks", "3 entries, unbroken").await;
    }

    async fn trail_of_policy(&mut self, name: &str, expected: &str) {
        let simulator = &self.stack.simulator;
        let place = format!("{} {}", simulator.surface(), simulator.url());
        let entries = self.entries(&Trail::of_policy(&place, name)).await;
        self.row("… its trail", expected, unbroken(&entries));
    }

    async fn heard_of_retention(&mut self, expected: &str) {
        let heard = |story: &Self| {
            let mut heard: BTreeMap<String, usize> = BTreeMap::new();
            for notice in story.retention_notices() {
                let event = notice["eventType"].as_str().unwrap_or_default();
                let event = event.trim_start_matches("RETENTION_").trim_start_matches("POLICY_");
                *heard.entry(event.to_owned()).or_default() += 1;
            }
            let heard = heard.into_iter().map(|(event, count)| format!("{count} {event}"));
            heard.collect::<Vec<_>>().join(", ")
        };
        self.until(|story| heard(story) == expected).await;
        let seen = heard(self);
        self.row("others have heard of retention", expected, seen);
    }

    /// The report on these policies. A run that is under way, such as the schedule's, is waited for.
    async fn order(&self, policies: &[Value], on_drift: &str) -> Value {
        let order = json!({"run": "run", "licenseTier": "ENTERPRISE", "onOverlap": "merge", "onDrift": on_drift,
            "policies": policies});
        let give_up = Instant::now() + PATIENCE;
        loop {
            let request = self.http.post(format!("{}/retention", self.stack.gateway.url()));
            let answer = answer(request.body(order.to_string())).await;
            if answer.status != StatusCode::CONFLICT || Instant::now() > give_up {
                return answer.body;
            }
            // A refused caller asks again after a while.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What others were told of a policy, in the order in which it happened.
    fn ends_of(&self, name: &str) -> Vec<String> {
        let mut notices = self.retention_notices();
        notices.retain(|notice| notice["payload"]["name"] == name);
        notices.sort_by_key(|notice| notice["auditReport"]["generatedAt"].to_string());
        notices.iter().filter_map(|it| Some(it["payload"]["status"].as_str()?.to_owned())).collect()
    }

    /// The notices of retention that have arrived, repeats aside.
    fn retention_notices(&self) -> Vec<Value> {
        let received = self.stack.inbox.received();
        let bodies = received.iter().filter(|notice| !notice.is_repeated).map(|notice| &notice.body);
        let read = |body: &String| serde_json::from_str::<Value>(body).ok();
        bodies.filter_map(read).filter(|body| body["eventType"].is_string()).collect()
    }

    fn policy_writes(&self) -> usize {
        self.stack.simulator.policy_writes().len()
    }

    /// For how many days the policies of this name keep what they are about.
    fn days_in_force(&self, name: &str) -> String {
        let policies = self.stack.simulator.policies();
        let days = policies.iter().filter(|policy| policy.name == name).filter_map(|it| it.retention_days);
        days.map(|days| format!("{days} days")).collect::<Vec<_>>().join(", ")
    }
}

fn policy(name: &str, object_type: &str, days: u64) -> Value {
    json!({"name": name, "objectType": object_type, "retentionPeriod": days,
        "schedule": {"frequency": "DAILY", "timezone": "Europe/Berlin"}, "tags": ["GDPR"], "dailyVolumeGb": 2.5})
}

/// How many policies came to each status.
fn statuses(report: &Value) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for policy in report["policies"].as_array().into_iter().flatten() {
        *counts.entry(policy["status"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let counts = counts.into_iter().map(|(status, count)| format!("{count} {status}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    if counts.is_empty() { report.to_string() } else { counts }
}

fn compliance(report: &Value) -> &str {
    report["summary"]["policyCompliance"].as_str().unwrap_or_default()
}

fn summary(report: &Value) -> String {
    let rate = |name: &str| report["summary"][name].as_f64().unwrap_or_default();
    let (success, conflicts) = (rate("successRate"), rate("conflictRate"));
    format!("{}, success {success} %, conflicts {conflicts}", compliance(report))
}
