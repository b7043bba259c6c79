//! `patchbay retention`: orders retention, on one machine or of the deployed function, and shows the report.

mod order;
mod call;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use crate::retention::order::Order;
use crate::serve;

/// Where `patchbay serve` has its gateway unless it is told otherwise.
pub const LOCAL_STACK: &str = "http://127.0.0.1:8787";

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Say what a run would do about the order in this file.
    Plan(PathBuf),
    /// Carry out the order in this file.
    Run(PathBuf),
    /// Carry on what was begun.
    Resume,
}

/// Who is asked.
#[derive(Clone, Debug)]
pub enum Target {
    /// The gateway of a local stack, at this address.
    Stack(String),
    /// The deployed function of this name or ARN.
    Function(String),
}

/// How a report is shown.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// For people.
    Table,
    /// As it came.
    Json,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file holds no order.
    #[error(transparent)]
    Order(#[from] order::Error),
    /// The function could not be asked, or refused.
    #[error(transparent)]
    Call(#[from] call::Error),
}

/// Orders, and shows the report. The exit code says what became of the policies.
pub async fn run(verb: Verb, target: &Target, form: Form) -> Result<ExitCode, Error> {
    let Order { payload, object_types } = Order::read(verb)?;
    let report = call::order(target, payload).await?;
    serve::say(&match form {
        Form::Table => table::of(&report, &object_types),
        Form::Json => format!("{report:#}"),
    });
    Ok(verdict(&report))
}

/// What is pending may yet end well; what needs somebody, or cannot be told, comes before that.
fn verdict(report: &Value) -> ExitCode {
    let verdict_on = |policy: &Value| match policy["status"].as_str() {
        Some("created" | "updated" | "unchanged" | "merged") => Verdict::Well,
        Some("pending") => Verdict::Open,
        _ => Verdict::Ill,
    };
    let worst = report["policies"].as_array().into_iter().flatten().map(verdict_on).max();
    match worst {
        None | Some(Verdict::Well) => ExitCode::SUCCESS,
        Some(Verdict::Open) => ExitCode::from(3),
        Some(Verdict::Ill) => ExitCode::from(2),
    }
}

/// What a policy means for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Well,
    Open,
    Ill,
}

/// A text from elsewhere as one line that a terminal only shows.
fn printable(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_policy_that_needs_somebody_counts_for_more_than_all_others() {
        let verdict = |statuses: &[&str]| {
            let policies = statuses.iter().map(|status| json!({"name": "a", "status": status}));
            verdict(&json!({"policies": policies.collect::<Value>()}))
        };
        assert_eq!(verdict(&[]), ExitCode::SUCCESS);
        assert_eq!(verdict(&["created", "updated", "unchanged", "merged"]), ExitCode::SUCCESS);
        assert_eq!(verdict(&["created", "pending"]), ExitCode::from(3));
        for status in ["invalid", "failed", "drift", "review_required", "a status of next year"] {
            assert_eq!(verdict(&["created", "pending", status]), ExitCode::from(2), "{status}");
        }
    }
}
