//! A policy as it stands, and whether that is what was asked for.

use serde_json::Value;

use super::{ObjectType, guide, platform};
use crate::genesys::{PolicyId, Surface};

/// A policy as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its id, if it shows one.
    pub id: Option<PolicyId>,
    /// Its name, which others may have too.
    pub name: String,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// What it is about, if it is about what one of ours could be.
    pub object_type: Option<ObjectType>,
    /// For how many days it keeps that, if it deletes at all: the shortest, where media differ.
    pub days: Option<u64>,
    /// The longest, where media differ.
    pub longest: Option<u64>,
    /// All of it.
    pub stored: Value,
}

impl Found {
    /// What a policy of this surface says.
    #[must_use]
    pub fn of(surface: Surface, stored: Value) -> Self {
        let (object_type, days) = match surface {
            Surface::Platform => (platform::object_type(&stored), platform::days(&stored)),
            Surface::Guide => (guide::object_type(&stored), guide::days(&stored).into_iter().collect()),
        };
        Self {
            id: policy_id(&stored),
            name: stored["name"].as_str().unwrap_or_default().to_owned(),
            is_enabled: stored["enabled"] != Value::Bool(false),
            object_type,
            days: days.iter().min().copied(),
            longest: days.iter().max().copied(),
            stored,
        }
    }

    /// Whether it is as it was asked for: all that was asked is there, and nothing that would make it do something else.
    #[must_use]
    pub fn is_as_asked(&self, surface: Surface, asked: &Value) -> bool {
        match surface {
            Surface::Platform => covers(asked, &self.stored) && platform::adds_nothing(asked, &self.stored),
            Surface::Guide => covers(&guide::essence(asked, &self.stored), &self.stored),
        }
    }
}

/// Whether everything that was asked is in what is stored, which may hold more. What is nothing need not be there;
/// lists are compared whatever their order.
pub(super) fn covers(asked: &Value, stored: &Value) -> bool {
    match (asked, stored) {
        (Value::Object(asked), Value::Object(_)) => {
            asked.iter().all(|(name, asked)| covers(asked, &stored[name.as_str()]))
        }
        (Value::Array(asked), Value::Array(stored)) => {
            let mut left: Vec<&Value> = stored.iter().collect();
            let takes = |asked: &Value| {
                let place = left.iter().position(|stored| covers(asked, stored));
                place.map(|place| left.swap_remove(place)).is_some()
            };
            asked.len() == stored.len() && asked.iter().all(takes)
        }
        (Value::Number(asked), Value::Number(stored)) => asked.as_f64() == stored.as_f64(),
        (asked, Value::Null) => is_nothing(asked),
        (asked, stored) => asked == stored,
    }
}

/// Whether a value says no more than its absence would.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
    }
}

/// A number of days, however it is spelled.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=9e15).contains(number))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, positive and small"
    )]
    let days = number as u64;
    Some(days)
}

pub(super) fn policy_id(value: &Value) -> Option<PolicyId> {
    let id = id_text(&value["id"]).or_else(|| id_text(&value["policyId"]))?;
    PolicyId::parse(&id).ok()
}

/// An id, also where it is spelled as a number.
pub(super) fn id_text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
}
