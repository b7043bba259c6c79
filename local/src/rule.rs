//! The template's example rule, played on this machine: which events it takes, and what it makes of them.
//!
//! Of EventBridge's patterns it knows what the template uses: members that must be one of several strings.

use serde_json::Value;

use crate::template;

/// The rule that runs a data action for each conversation that a customer ended.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Value,
    paths: Vec<(String, String)>,
    input: String,
}

impl Rule {
    /// The rule as the template has it, for this data action.
    #[must_use]
    pub fn of_template(data_action: &str) -> Self {
        let mut rule = template::read()["Resources"]["ConversationEndedRule"]["Properties"].take();
        let transformer = &rule["Targets"][0]["InputTransformer"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let paths = transformer["InputPathsMap"].as_object().into_iter().flatten();
        let paths = paths.map(|(name, path)| (format!("<{name}>"), pointer(&text(path)))).collect();
        let input = text(&transformer["InputTemplate"]["Fn::Sub"])
            .replace("${ConversationEndedDataActionId}", data_action);
        Self { paths, input, pattern: rule["EventPattern"].take() }
    }

    /// What the rule's target is given for this event, if the rule takes it.
    #[must_use]
    pub fn input(&self, event: &Value) -> Option<String> {
        let members = self.pattern.as_object()?;
        let is_taken = members.iter().all(|(name, allowed)| {
            allowed.as_array().is_some_and(|allowed| event.get(name).is_some_and(|it| allowed.contains(it)))
        });
        let fill = |input: String, (name, path): &(String, String)| {
            let value = event.pointer(path).cloned().unwrap_or_default();
            input.replace(name, &value.to_string())
        };
        is_taken.then(|| self.paths.iter().fold(self.input.clone(), fill))
    }
}

/// `$.a.b` as a JSON pointer.
fn pointer(path: &str) -> String {
    path.trim_start_matches('$').replace('.', "/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_templates_rule_makes_one_run_of_one_event() {
        let rule = Rule::of_template("close-ticket");
        let mut event = json!({
            "source": "patchbay",
            "detail-type": "v2.detail.events.conversation.{id}.customer.end",
            "detail": {"event_id": "e-1", "detail": {"eventBody": {"conversationId": "c-1"}}},
        });
        let input: Value = serde_json::from_str(&rule.input(&event).unwrap()).unwrap();
        assert_eq!(
            input,
            json!({"dataActionId": "close-ticket", "input": {"conversationId": "c-1"}, "idempotencyKey": "e-1"})
        );
        event["detail-type"] = json!("v2.detail.events.conversation.{id}.customer.start");
        assert_eq!(rule.input(&event), None);
    }
}
