//! An order, read from its file: YAML, or JSON as it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::retention::Verb;
use crate::yaml;

/// What the function is given.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) payload: String,
    /// What each policy is about, by its name: a report does not say it of every policy.
    pub(super) object_types: BTreeMap<String, String>,
}

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file, or it is no text.
    #[error("{} cannot be read", file.display())]
    File {
        /// Its name.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is written there is not what it must be.
    #[error("{}:{line}:{column}: {what}", file.display())]
    Written {
        /// Its name.
        file: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// What is wrong.
        what: String,
    },
}

impl Order {
    /// The order that somebody gives. Whatever it says itself, it is for what they ask.
    pub(super) fn read(verb: Verb) -> Result<Self, Error> {
        match verb {
            Verb::Plan(file) => Self::of_file(file, "plan"),
            Verb::Run(file) => Self::of_file(file, "run"),
            Verb::Resume => {
                let payload = json!({"run": "resume"}).to_string();
                Ok(Self { payload, object_types: BTreeMap::new() })
            }
        }
    }

    fn of_file(file: PathBuf, run: &str) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(source) => return Err(Error::File { file, source }),
        };
        let written = if is_json(&file) { from_json(&text, run) } else { from_yaml(&text, run) };
        written.map_err(|yaml::Fault { line, column, what }| Error::Written { file, line, column, what })
    }
}

fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn from_yaml(text: &str, run: &str) -> Result<Order, yaml::Fault> {
    let mut order = yaml::read(text, |_, _| None)?;
    let Some(members) = order.as_object_mut() else {
        let what = "an order has members: licenseTier, policies and others".to_owned();
        return Err(yaml::Fault { line: 1, column: 1, what });
    };
    members.insert("run".to_owned(), json!(run));
    Ok(Order { payload: order.to_string(), object_types: object_types(&order) })
}

/// The text goes as it stands, so that the function sees what no parsed value shows, such as a key that is there twice.
fn from_json(text: &str, run: &str) -> Result<Order, yaml::Fault> {
    let unreadable = |error: serde_json::Error| yaml::Fault {
        line: error.line(),
        column: error.column().max(1),
        what: without_place(&error.to_string()).to_owned(),
    };
    let Members(members) = serde_json::from_str(text).map_err(unreadable)?;
    let others = members.iter().filter(|(name, _)| name != "run");
    let others = others.map(|(name, value)| format!(",{}:{}", json!(name), value.get()));
    let payload = format!(r#"{{"run":"{run}"{}}}"#, others.collect::<Vec<_>>().concat());
    let order: Value = serde_json::from_str(text).map_err(unreadable)?;
    Ok(Order { payload, object_types: object_types(&order) })
}

/// The place is told in front.
fn without_place(error: &str) -> &str {
    error.split_once(" at line ").map_or(error, |(what, _)| what)
}

fn object_types(order: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let policies = order["policies"].as_array().into_iter().flatten();
    policies.filter_map(|policy| Some((text(&policy["name"])?, text(&policy["objectType"])?))).collect()
}

/// The members of an object, each as it stands, in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an order, which has members: licenseTier, policies and others")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_for_what_is_asked_whatever_it_says_itself() {
        let yaml = from_yaml("run: resume\nlicenseTier: STANDARD\n", "plan").unwrap();
        assert_eq!(yaml.payload, r#"{"licenseTier":"STANDARD","run":"plan"}"#);
        let json = from_json(r#"{"licenseTier": "STANDARD", "run": "resume"}"#, "run").unwrap();
        assert_eq!(json.payload, r#"{"run":"run","licenseTier":"STANDARD"}"#);
    }

    #[test]
    fn json_goes_as_it_stands() {
        let text = r#"{"policies": [{"name": "a", "name": "b"}], "onDrift": "report", "onDrift": "apply"}"#;
        let order = from_json(text, "run").unwrap();
        let others = r#""policies":[{"name": "a", "name": "b"}],"onDrift":"report","onDrift":"apply"}"#;
        assert_eq!(order.payload, format!(r#"{{"run":"run",{others}"#));
    }

    #[test]
    fn what_is_no_order_is_told_with_its_place() {
        let told = |fault: yaml::Fault| format!("{}:{}: {}", fault.line, fault.column, fault.what);
        assert_eq!(told(from_json("{\n  \"run\": \n}", "run").unwrap_err()), "3:1: expected value");
        assert!(
            told(from_json("[]", "run").unwrap_err())
                .starts_with("1:1: invalid type: sequence, expected an order")
        );
        assert!(told(from_yaml("- a\n", "run").unwrap_err()).starts_with("1:1: an order has members"));
    }
}
