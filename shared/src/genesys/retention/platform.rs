//! Policies as the published API writes them: one part for each medium, and none for schedules and tags.

use serde_json::{Map, Value, json};

use super::found::{is_nothing, whole};
use super::policy::{Filter, ObjectType, Policy};

pub(super) const PATH: &str = "/api/v2/recording/mediaretentionpolicies";

/// What the server says of a policy, and nobody asks for.
const ITS_OWN: [&str; 7] =
    ["id", "selfUri", "createdDate", "modifiedDate", "createdBy", "modifiedBy", "policyErrors"];

/// Where the period is, in the part of one medium.
const DAYS: &str = "/actions/retentionDuration/deleteRetention/days";

/// After how many days it is archived, which nobody here asks for.
const ARCHIVED: &str = "/actions/retentionDuration/archiveRetention/days";

/// The parts of a policy about these objects; none, if there is no place for them.
fn parts(object_type: ObjectType) -> &'static [&'static str] {
    match object_type {
        ObjectType::Call => &["callPolicy"],
        ObjectType::Chat => &["chatPolicy"],
        ObjectType::Email => &["emailPolicy"],
        ObjectType::Sms => &["messagePolicy"],
        ObjectType::Interaction => &["callPolicy", "chatPolicy", "emailPolicy", "messagePolicy"],
        ObjectType::Task => &[],
    }
}

/// What the published API has no place for, by the name of the member.
pub(super) fn unsupported(policy: &Policy) -> Vec<String> {
    let mut unsupported = Vec::new();
    if parts(policy.object_type).is_empty() {
        unsupported
            .push(format!("objectType {} has no place in the published API", policy.object_type.name()));
    }
    for (index, filter) in policy.filters.iter().enumerate() {
        let is_repeated = policy.filters[..index].iter().any(|other| other.attribute == filter.attribute);
        if let Some(why) = unsupported_filter(filter, policy.object_type, is_repeated) {
            unsupported.push(format!("filters[{index}] {why}"));
        }
    }
    unsupported
}

fn unsupported_filter(filter: &Filter, object_type: ObjectType, is_repeated: bool) -> Option<String> {
    let Filter { attribute, operator, value } = filter;
    if !["direction", "queueId"].contains(&attribute.as_str()) {
        return Some(format!(
            "({attribute}) has no place in the published API, which knows direction and queueId"
        ));
    }
    if attribute == "direction" && object_type != ObjectType::Call {
        return Some("(direction) has a place in the published API for calls only".to_owned());
    }
    if is_repeated {
        return Some(format!("({attribute}) is there twice, and the published API cannot demand both"));
    }
    match (operator.as_str(), value) {
        ("EQ", Value::String(text)) if !text.is_empty() => None,
        _ => Some(format!("({attribute}) must be EQ and a text: the published API knows nothing else")),
    }
}

/// The body that asks for a policy, kept for so many days.
pub(super) fn body(policy: &Policy, days: u64) -> Value {
    let mut conditions = Map::new();
    for filter in &policy.filters {
        match filter.attribute.as_str() {
            "direction" => conditions.insert("directions".to_owned(), json!([filter.value])),
            _ => conditions.insert("forQueues".to_owned(), json!([{"id": filter.value}])),
        };
    }
    let part = json!({
        "conditions": conditions,
        "actions": {
            "deleteRecording": true,
            "retentionDuration": {"deleteRetention": {"days": days}},
        },
    });
    let parts = parts(policy.object_type).iter().map(|name| ((*name).to_owned(), part.clone()));
    let mut body = json!({
        "name": policy.name,
        "enabled": policy.enabled,
        "mediaPolicies": parts.collect::<Map<_, _>>(),
    });
    if let Some(description) = &policy.description {
        body["description"] = json!(description);
    }
    body
}

/// The body that asks for a stored policy as it is, but kept for so many days at least.
pub(super) fn raised(stored: &Value, days: u64) -> Value {
    let mut body = stored.clone();
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !ITS_OWN.contains(&name.as_str()));
    }
    let media = body.get_mut("mediaPolicies").and_then(Value::as_object_mut);
    for part in media.into_iter().flat_map(Map::values_mut) {
        if let Some(place) = part.pointer_mut(DAYS) {
            *place = json!(whole(place).unwrap_or_default().max(days));
        }
    }
    body
}

/// Whether a stored policy does nothing that was not asked: no medium, condition or action of its own.
pub(super) fn adds_nothing(asked: &Value, stored: &Value) -> bool {
    let has_no_more = |asked: &Value, stored: &Value| {
        let members = stored.as_object().into_iter().flatten();
        members.into_iter().all(|(name, value)| asked.get(name).is_some() || is_nothing(value))
    };
    let media = stored["mediaPolicies"].as_object().into_iter().flatten();
    let parts = media.into_iter().all(|(name, part)| match asked["mediaPolicies"].get(name) {
        Some(asked) => {
            let archives = |part: &Value| part.pointer(ARCHIVED).and_then(whole).is_some_and(|it| it > 0);
            let same = ["conditions", "actions"].iter().all(|it| has_no_more(&asked[it], &part[it]));
            same && (archives(asked) || !archives(part))
        }
        None => part.is_null(),
    });
    parts && ["conditions", "actions"].iter().all(|it| has_no_more(&asked[it], &stored[it]))
}

/// What a policy is about, if it is about what one of ours could be.
pub(super) fn object_type(stored: &Value) -> Option<ObjectType> {
    let media = stored["mediaPolicies"].as_object()?;
    let present: Vec<&str> =
        media.iter().filter(|(_, part)| part.is_object()).map(|(name, _)| name.as_str()).collect();
    let is_about = |it: &ObjectType| {
        let parts = parts(*it);
        parts.len() == present.len() && parts.iter().all(|part| present.contains(part))
    };
    ObjectType::ALL.into_iter().filter(|it| !parts(*it).is_empty()).find(is_about)
}

/// For how many days it keeps them, in each medium that it deletes.
pub(super) fn days(stored: &Value) -> Vec<u64> {
    let media = stored["mediaPolicies"].as_object().into_iter().flat_map(Map::values);
    media.filter_map(|part| whole(part.pointer(DAYS)?)).collect()
}
