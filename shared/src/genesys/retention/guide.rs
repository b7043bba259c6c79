//! Policies as the guides' surface writes them.

use serde_json::{Value, json};

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

/// The members that make a policy what it is. The metadata tell where it comes from, and some gateways do not show them.
pub(super) fn essence(asked: &Value) -> Value {
    let mut essence = asked.clone();
    if let Some(members) = essence.as_object_mut() {
        members.remove("metadata");
    }
    essence
}

pub(super) fn object_type(stored: &Value) -> Option<ObjectType> {
    ObjectType::named(stored["objectType"].as_str()?)
}

pub(super) fn days(stored: &Value) -> Option<u64> {
    super::whole(&stored["retentionPeriod"])
}
