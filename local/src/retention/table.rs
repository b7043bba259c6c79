//! A report as a table: a line for each policy, what is wrong with it below, and what it all comes to.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::retention::printable;

/// Cells of one line.
type Line = [String; 6];

/// What is shown of a policy.
struct Row {
    line: Line,
    /// In full, below the line.
    remarks: Vec<String>,
}

pub(super) fn of(report: &Value, object_types: &BTreeMap<String, String>) -> String {
    let policies = report["policies"].as_array().map(Vec::as_slice).unwrap_or_default();
    if policies.is_empty() {
        return "Nothing is under way.".to_owned();
    }
    let is_plan = report["run"] == "plan";
    let what = if is_plan { "action" } else { "status" };
    let headings = ["policy", what, "objects", "days", "storage (GB)", "policy id"].map(str::to_owned);
    let rows: Vec<Row> = policies.iter().map(|policy| Row::of(policy, what, object_types)).collect();
    let lines = std::iter::once(&headings).chain(rows.iter().map(|row| &row.line));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        lines.clone().map(|line| line[column].chars().count()).max().unwrap_or_default()
    });
    let mut text = vec![aligned(&headings, widths)];
    for row in &rows {
        text.push(aligned(&row.line, widths));
        text.extend(row.remarks.iter().map(|remark| format!("  {remark}")));
    }
    text.push(String::new());
    text.extend(totals(report));
    text.join("\n")
}

fn aligned(line: &Line, widths: [usize; 6]) -> String {
    let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

impl Row {
    fn of(policy: &Value, what: &str, object_types: &BTreeMap<String, String>) -> Self {
        let name = policy["name"].as_str().unwrap_or_default();
        let storage = &policy["storageImpact"];
        let object_type = storage["objectType"].as_str().or(object_types.get(name).map(String::as_str));
        let (asked, in_force) = (&policy["retentionPeriod"], &policy["retentionDaysInForce"]);
        let line = [
            printable(name),
            text(&policy[what]),
            object_type.map_or_else(|| text(&Value::Null), printable),
            if in_force.is_null() || in_force == asked { text(asked) } else { change(asked, in_force) },
            match (&policy["currentStorageGB"], &storage["projectedStorageGB"]) {
                (Value::Null, after) => text(after),
                (before, after) => change(before, after),
            },
            text(&policy["policyId"]),
        ];
        let error = policy["error"].as_str().map(printable);
        let job = policy["jobId"].as_str().map(|job| format!("its job: {}", printable(job)));
        Self { line, remarks: error.into_iter().chain(job).collect() }
    }
}

/// What the report says of all policies together.
fn totals(report: &Value) -> Vec<String> {
    let (before, after) = (&report["currentStorageImpact"], &report["storageImpact"]);
    let amount = |impact: &Value| {
        let (gb, tb) = (&impact["projectedStorageGB"], &impact["projectedStorageTB"]);
        format!("{} GB ({} TB), risk {}", text(gb), text(tb), text(&impact["riskLevel"]))
    };
    let storage = match (before, after) {
        (_, Value::Null) => None,
        (Value::Null, after) => Some(amount(after)),
        (before, after) => Some(change(&amount(before).into(), &amount(after).into())),
    };
    let summary = &report["summary"];
    let events = summary["totalEvents"].as_u64().filter(|events| *events > 0);
    let events = events.map(|events| {
        let (success, conflicts) = (text(&summary["successRate"]), text(&summary["conflictRate"]));
        format!("{events}, success rate {success} %, conflict rate {conflicts}")
    });
    let tags = report["regulatoryTags"].as_array().into_iter().flatten();
    let tags = tags.map(text).collect::<Vec<_>>().join(", ");
    [
        ("compliance", Some(text(&summary["policyCompliance"]))),
        ("storage", storage),
        ("events", events),
        ("tags", Some(tags).filter(|tags| !tags.is_empty())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(format!("{name:10}  {}", value?)))
    .collect()
}

fn change(before: &Value, after: &Value) -> String {
    format!("{} → {}", text(before), text(after))
}

/// A number or a text; a dash if there is neither.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
        }
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => printable(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_shows_what_would_change_and_what_is_wrong() {
        let report = json!({
            "run": "plan",
            "summary": {"totalEvents": 0, "successRate": 0.0, "conflictRate": 0.0, "policyCompliance": "VIOLATED"},
            "policies": [
                {"name": "Emails", "status": "merged", "action": "merge", "retentionPeriod": 90,
                    "retentionDaysInForce": 100, "policyId": "p-1", "currentStorageGB": 135.0,
                    "storageImpact": {"objectType": "email", "projectedStorageGB": 150.5}},
                {"name": "Chats\u{1b}[2J", "status": "invalid", "action": "none", "error": "retentionPeriod is missing"},
                {"name": "Calls", "status": "unchanged", "action": "unchanged", "retentionPeriod": 365,
                    "retentionDaysInForce": 365},
            ],
            "storageImpact": {"projectedStorageGB": 150.5, "projectedStorageTB": 0.15, "riskLevel": "LOW"},
            "currentStorageImpact": {"projectedStorageGB": 135.0, "projectedStorageTB": 0.13, "riskLevel": "LOW"},
            "regulatoryTags": ["GDPR", "PCI"],
        });
        let object_types = [("Calls".to_owned(), "call".to_owned())].into();
        let expected = "\
policy     action     objects  days      storage (GB)  policy id
Emails     merge      email    90 → 100  135 → 150.5   p-1
Chats [2J  none       -        -         -             -
  retentionPeriod is missing
Calls      unchanged  call     365       -             -

compliance  VIOLATED
storage     135 GB (0.13 TB), risk LOW → 150.5 GB (0.15 TB), risk LOW
tags        GDPR, PCI";
        assert_eq!(of(&report, &object_types), expected);
    }

    #[test]
    fn a_run_shows_what_became_of_each_policy() {
        let report = json!({
            "run": "run",
            "summary": {"totalEvents": 3, "successRate": 66.67, "conflictRate": 0.33, "policyCompliance": "PENDING"},
            "policies": [{"name": "Calls", "status": "pending", "retentionPeriod": 90, "jobId": "job-1",
                "error": "there was no time left"}],
            "events": [],
            "regulatoryTags": [],
        });
        let expected = "\
policy  status   objects  days  storage (GB)  policy id
Calls   pending  -        90    -             -
  there was no time left
  its job: job-1

compliance  PENDING
events      3, success rate 66.67 %, conflict rate 0.33";
        assert_eq!(of(&report, &BTreeMap::new()), expected);
    }
}
