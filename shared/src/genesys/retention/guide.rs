//! Policies as the guides' surface writes them.

use serde_json::{Value, json};

use super::found::whole;
use super::policy::{ObjectType, Policy};

pub(super) const PATH: &str = "/api/v2/datamanagement/retention/policies";

/// What a policy says of itself that says nothing: the surface wants a description.
const DESCRIPTION: &str = "Deployed by Patchbay";

/// The body that asks for a policy, kept for so many days.
pub(super) fn body(policy: &Policy, days: u64) -> Value {
    let schedule = &policy.schedule;
    json!({
        "name": policy.name,
        "description": policy.description.as_deref().unwrap_or(DESCRIPTION),
        "enabled": policy.enabled,
        "objectType": policy.object_type.name(),
        "retentionPeriod": days,
        "schedule": {
            "frequency": schedule.frequency.name(),
            "dayOfWeek": schedule.day_of_week,
            "dayOfMonth": schedule.day_of_month,
            "timezone": schedule.timezone,
        },
        "filters": policy.filters,
        "metadata": {"createdBy": "patchbay", "version": "1.0", "tags": policy.tags},
    })
}

/// Members that say little of what becomes of anybody's data. Some gateways do not show them in their lists.
const OFTEN_HIDDEN: [&str; 2] = ["description", "schedule"];

/// The members that a stored policy is held against. The metadata only tell where it comes from.
pub(super) fn essence(asked: &Value, stored: &Value) -> Value {
    let mut essence = asked.clone();
    if let Some(members) = essence.as_object_mut() {
        let is_hidden = |name: &str| OFTEN_HIDDEN.contains(&name) && stored.get(name).is_none();
        members.retain(|name, _| name != "metadata" && !is_hidden(name));
    }
    essence
}

pub(super) fn object_type(stored: &Value) -> Option<ObjectType> {
    ObjectType::named(stored["objectType"].as_str()?)
}

pub(super) fn days(stored: &Value) -> Option<u64> {
    whole(&stored["retentionPeriod"])
}
