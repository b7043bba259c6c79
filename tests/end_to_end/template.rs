//! `template.yaml` and the code say the same.

mod settings;
mod routes;
mod table;
mod permissions;
mod roles;
mod resources;
mod alarms;
mod dashboard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

/// The template, read once.
static TEMPLATE: LazyLock<Value> = LazyLock::new(local::template::read);

/// The functions, by the name of their binary, as their resources are called.
const FUNCTIONS: [(&str, &str); 5] = [
    ("webhook-intake", "WebhookIntake"),
    ("data-actions", "DataActions"),
    ("transfers", "Transfers"),
    ("retention", "Retention"),
    ("relay", "Relay"),
];

/// The secret that stands in for all whole ARNs.
const SECRET: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:patchbay-a1B2c3";

/// A file of the repository, by its path there.
fn source(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The resources of a type, by their logical ids.
fn resources(kind: &str) -> BTreeMap<String, Value> {
    let resources = TEMPLATE["Resources"].as_object().expect("resources").iter();
    let of_kind = resources.filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(name, resource)| (name.clone(), resource.clone())).collect()
}

/// The functions' properties by the name of their binary.
fn functions() -> BTreeMap<String, Value> {
    let named = |function: Value| {
        let name = function["Metadata"]["BuildProperties"]["Binary"].as_str().expect("a binary");
        (name.to_owned(), function["Properties"].clone())
    };
    resources("AWS::Serverless::Function").into_values().map(named).collect()
}

/// The events of a kind that invoke functions, each with the binary's name.
fn events(kind: &str) -> Vec<(String, Value)> {
    let of = |(name, function): (String, Value)| {
        let events = function["Events"].as_object().cloned().unwrap_or_default().into_values();
        events.map(move |event| (name.clone(), event))
    };
    functions()
        .into_iter()
        .flat_map(of)
        .filter(|(_, event)| event["Type"] == kind)
        .map(|(name, event)| (name, event["Properties"].clone()))
        .collect()
}

/// The parameters as they are when only those are given that have no default.
fn defaults() -> BTreeMap<String, String> {
    let default = |(name, parameter): (&String, &Value)| {
        let given = match name.as_str() {
            "WebhookSecretsSecretArn" | "GenesysCredentialsSecretArn" => Some(SECRET.to_owned()),
            "GenesysRegion" => Some("mypurecloud.ie".to_owned()),
            _ => None,
        };
        let default = parameter.get("Default").map(as_text);
        (name.clone(), given.or(default).unwrap_or_else(|| panic!("{name} has no default")))
    };
    TEMPLATE["Parameters"].as_object().expect("parameters").iter().map(default).collect()
}

/// The defaults, but for these parameters.
fn with(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut parameters = defaults();
    for (name, value) in changes {
        assert!(parameters.insert((*name).to_owned(), (*value).to_owned()).is_some(), "{name}");
    }
    parameters
}

/// A part of the template with its parameters and conditions in their place; nothing, where it is left out.
fn resolved(part: &Value, parameters: &BTreeMap<String, String>) -> Option<Value> {
    if let Some(name) = part["Ref"].as_str() {
        if name == "AWS::NoValue" {
            return None;
        }
        return Some(parameters.get(name).map_or_else(|| part.clone(), |value| Value::String(value.clone())));
    }
    if let Some(members) = part["Fn::If"].as_array() {
        let [condition, then, otherwise] = members.as_slice() else {
            panic!("an If with other than three members: {part}")
        };
        let holds = holds(condition.as_str().expect("a name"), parameters);
        return resolved(if holds { then } else { otherwise }, parameters);
    }
    Some(match part {
        Value::Array(elements) => elements.iter().filter_map(|it| resolved(it, parameters)).collect(),
        Value::Object(members) => {
            let members =
                members.iter().filter_map(|(name, it)| Some((name.clone(), resolved(it, parameters)?)));
            Value::Object(members.collect())
        }
        plain => plain.clone(),
    })
}

/// Whether a condition of the template holds.
fn holds(condition: &str, parameters: &BTreeMap<String, String>) -> bool {
    let condition = &TEMPLATE["Conditions"][condition];
    assert!(condition.is_object(), "{condition}");
    is_true(condition, parameters)
}

fn is_true(expression: &Value, parameters: &BTreeMap<String, String>) -> bool {
    if let Some(name) = expression["Condition"].as_str() {
        return holds(name, parameters);
    }
    if let Some(all) = expression["Fn::And"].as_array() {
        return all.iter().all(|it| is_true(it, parameters));
    }
    if let Some(inner) = expression["Fn::Not"].as_array() {
        return !is_true(&inner[0], parameters);
    }
    let sides = expression["Fn::Equals"].as_array().unwrap_or_else(|| panic!("{expression}"));
    resolved(&sides[0], parameters) == resolved(&sides[1], parameters)
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A list, or the one thing that stands for a list of it.
fn as_list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// The texts of a list.
fn texts(value: &Value) -> BTreeSet<String> {
    as_list(value).iter().map(as_text).collect()
}
