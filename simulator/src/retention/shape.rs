//! What a policy looks like on each surface, and where its parts are.

use serde_json::{Map, Value, json};

use crate::surface::Surface;

/// A policy that is there already, as [`crate::Simulator::policy`] declares it.
#[derive(Debug, Clone)]
pub struct Policy {
    name: String,
    object_type: String,
    days: u64,
    members: Map<String, Value>,
}

impl Policy {
    /// In force, without filters or conditions, in the shape of the simulator's surface. The object type is one of
    /// `guide`'s; on `platform`, `sms` is for messages, `interaction` for all four media, and `task` has no place.
    #[must_use]
    pub fn new(name: &str, object_type: &str, days: u64) -> Self {
        Self { name: name.to_owned(), object_type: object_type.to_owned(), days, members: Map::new() }
    }

    /// Has this member, in the place of the usual one if there is one.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// What somebody would have sent to make it.
    pub(super) fn asked(&self, surface: Surface) -> Value {
        match surface {
            Surface::Guide => json!({
                "name": self.name,
                "description": "declared",
                "enabled": true,
                "objectType": self.object_type,
                "retentionPeriod": self.days,
                "schedule": {
                    "frequency": "DAILY",
                    "dayOfWeek": null,
                    "dayOfMonth": null,
                    "timezone": "UTC",
                },
                "filters": [],
                "metadata": { "createdBy": "somebody", "version": "1.0", "tags": [] },
            }),
            Surface::Platform => {
                let media = self.media().iter().map(|media| {
                    let retention = json!({ "deleteRetention": { "days": self.days } });
                    let actions = json!({ "deleteRecording": true, "retentionDuration": retention });
                    (format!("{media}Policy"), json!({ "actions": actions }))
                });
                json!({
                    "name": self.name,
                    "description": "declared",
                    "enabled": true,
                    "mediaPolicies": media.collect::<Map<_, _>>(),
                })
            }
        }
    }

    /// Has its own members, whatever is usual.
    pub(super) fn overrule(self, stored: &mut Value) {
        for (name, value) in self.members {
            stored[name] = value;
        }
    }

    fn media(&self) -> &'static [&'static str] {
        let all = &MEDIA;
        match self.object_type.as_str() {
            "call" => &all[..1],
            "chat" => &all[1..2],
            "email" => &all[2..3],
            "sms" | "message" => &all[3..],
            "interaction" => all,
            _ => &[],
        }
    }
}

/// The media that `platform` has policies for.
const MEDIA: [&str; 4] = ["call", "chat", "email", "message"];

/// What was asked, with what a server adds: nothing that was asked is changed. The server's own members are its own,
/// whatever was asked.
pub(super) fn completed(asked: Value, id: &str, surface: Surface, date: &str) -> Value {
    let mut stored = asked;
    stored["id"] = id.into();
    stored["createdDate"] = date.into();
    stored["modifiedDate"] = date.into();
    match surface {
        Surface::Guide => {}
        Surface::Platform => {
            stored["selfUri"] = format!("/api/v2/recording/mediaretentionpolicies/{id}").into();
            set_default(&mut stored, "order", 0);
            for media in media_policies_mut(&mut stored) {
                set_default(media, "conditions", json!({}));
                set_default(media, "actions", json!({}));
                for switch in ["retainRecording", "deleteRecording", "alwaysDelete"] {
                    set_default(&mut media["actions"], switch, false);
                }
            }
        }
    }
    stored
}

fn set_default(value: &mut Value, member: &str, default: impl Into<Value>) {
    if let Some(object) = value.as_object_mut() {
        object.entry(member).or_insert_with(|| default.into());
    }
}

/// What the policy is for.
pub(super) fn object_types(policy: &Value, surface: Surface) -> Vec<String> {
    match surface {
        Surface::Guide => policy["objectType"].as_str().map(str::to_owned).into_iter().collect(),
        Surface::Platform => {
            let has = |media: &&str| policy["mediaPolicies"][format!("{media}Policy")].is_object();
            MEDIA.iter().filter(|media| has(media)).map(ToString::to_string).collect()
        }
    }
}

/// After how many days it deletes, in each place that says so. Less than nothing counts as nothing.
pub(super) fn days(policy: &Value, surface: Surface) -> Vec<u64> {
    match surface {
        Surface::Guide => policy.get("retentionPeriod").map(whole).into_iter().collect(),
        Surface::Platform => {
            let media = policy["mediaPolicies"].as_object().into_iter().flat_map(Map::values);
            let places = media.chain([policy]).filter_map(|it| it.pointer(DAYS));
            places.map(whole).collect()
        }
    }
}

fn whole(days: &Value) -> u64 {
    days.as_u64().unwrap_or_default()
}

/// Changes the period wherever there is one.
pub(super) fn set_days(policy: &mut Value, surface: Surface, days: u64) {
    match surface {
        Surface::Guide => policy["retentionPeriod"] = days.into(),
        Surface::Platform => {
            for media in media_policies_mut(policy) {
                set_days_of_one(media, days);
            }
            set_days_of_one(policy, days);
        }
    }
}

fn set_days_of_one(policy: &mut Value, days: u64) {
    if let Some(place) = policy.pointer_mut(DAYS) {
        *place = days.into();
    }
}

/// Where the period is, in a policy of `platform` as a whole and in that of one medium.
const DAYS: &str = "/actions/retentionDuration/deleteRetention/days";

fn media_policies_mut(policy: &mut Value) -> impl Iterator<Item = &mut Value> {
    policy.get_mut("mediaPolicies").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
}
