//! Policies as the handle declares, changes and tells them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::published::check_answer;
use crate::{Change, Origin, Policy, Surface};

pub(crate) const GUIDE: &str = "/api/v2/datamanagement/retention/policies";
pub(crate) const PLATFORM: &str = "/api/v2/recording/mediaretentionpolicies";

/// A policy as `guide` has it, which keeps calls for so many days.
pub(crate) fn asked_of_guide(name: &str, days: u64) -> Value {
    json!({
        "name": name,
        "description": "",
        "enabled": true,
        "objectType": "call",
        "retentionPeriod": days,
        "schedule": { "frequency": "WEEKLY", "dayOfWeek": 0, "dayOfMonth": null, "timezone": "UTC" },
        "filters": [{ "attribute": "direction", "operator": "EQ", "value": "INBOUND" }],
        "metadata": { "createdBy": "tests", "version": "1.0", "tags": ["gdpr"] },
    })
}

/// A policy as `platform` has it, which keeps calls for so many days.
pub(crate) fn asked_of_platform(name: &str, days: i64) -> Value {
    json!({
        "name": name,
        "enabled": true,
        "mediaPolicies": { "callPolicy": {
            "conditions": { "directions": ["INBOUND"], "forQueues": [{ "id": "q" }] },
            "actions": { "deleteRecording": true, "retentionDuration": { "deleteRetention": { "days": days } } },
        } },
    })
}

impl Client {
    /// A POST under a request id.
    pub(crate) fn register(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.post(path, &body.to_string()).header("x-request-id", "r-1")
    }

    /// The names of all policies.
    pub(crate) fn names(&self) -> Vec<String> {
        self.simulator.policies().into_iter().map(|policy| policy.name).collect()
    }
}

#[tokio::test]
async fn a_declared_policy_has_the_shape_of_its_surface() {
    let guide = Client::start(Surface::Guide).await;
    guide.simulator.policy("p", Policy::new("Mails", "email", 40).member("filters", json!([1])));
    let (_, listed) = ask(guide.get(GUIDE)).await;
    let entity = &listed["entities"][0];
    assert_eq!((&entity["objectType"], &entity["retentionPeriod"]), (&json!("email"), &json!(40)));
    assert_eq!((&entity["id"], &entity["filters"]), (&json!("p"), &json!([1])));

    let platform = Client::start(Surface::Platform).await;
    platform.simulator.policy("all", Policy::new("All", "interaction", 40));
    platform.simulator.policy("sms", Policy::new("Texts", "sms", 41).member("enabled", false));
    let (_, listed) = ask(platform.get(PLATFORM)).await;
    check_answer("PolicyEntityListing", &listed);
    let [all, sms] = platform.simulator.policies().try_into().unwrap();
    assert_eq!((all.object_types.len(), all.retention_days), (4, Some(40)));
    assert_eq!((sms.object_types.as_slice(), sms.retention_days), (&["message".to_owned()][..], Some(41)));
    assert_eq!((all.is_enabled, sms.is_enabled, all.origin), (true, false, Origin::Declared));
    assert!(platform.simulator.policy_writes().is_empty());
}

#[tokio::test]
async fn somebody_else_can_change_a_policy_and_take_it_away() {
    for surface in [Surface::Guide, Surface::Platform] {
        let client = Client::start(surface).await;
        client.simulator.policy("a", Policy::new("A", "call", 90));
        client.simulator.policy("b", Policy::new("B", "call", 30));
        client.simulator.edit_policy("a", |policy| policy["description"] = json!("mine"));
        client.simulator.remove_policy("b");
        client.simulator.remove_policy("nobody");
        let [policy] = client.simulator.policies().try_into().unwrap();
        assert_eq!((policy.name.as_str(), &policy.stored["description"]), ("A", &json!("mine")));
        assert!(client.simulator.policy_writes().is_empty());
    }
}

#[tokio::test]
async fn a_write_says_what_was_asked_and_what_came_of_it() {
    let client = Client::start(Surface::Platform).await;
    let asked = asked_of_platform("Calls", 90);
    let (status, stored) = ask(client.register(PLATFORM, &asked)).await;
    assert_eq!(status, StatusCode::OK);
    let [write] = client.simulator.policy_writes().try_into().unwrap();
    assert_eq!((write.change, &json!(write.policy)), (Change::Created, &stored["id"]));
    assert_eq!((write.asked, write.request_id.as_deref()), (asked, Some("r-1")));
    assert_eq!(client.simulator.policies()[0].origin, Origin::Created);
}
