//! `template.yaml`, read: what it says about the table, the routes and the settings is said nowhere else.

use serde_json::{Value, json};

use crate::yaml;

/// The template, as [`parse`] reads it.
#[must_use]
pub fn read() -> Value {
    parse(include_str!("../../template.yaml")).expect("the template is valid YAML")
}

/// A template, with `CloudFormation`'s short forms spelled out: `!Ref X` is `{"Ref": "X"}`, and any other `!Y …` is
/// `{"Fn::Y": …}`. What is wrong with it is told with its place.
pub fn parse(text: &str) -> Result<Value, String> {
    let spelled_out = |form: &str, value: Value| {
        let name = if ["Ref", "Condition"].contains(&form) { form.to_owned() } else { format!("Fn::{form}") };
        Some(json!({name: value}))
    };
    yaml::read(text, spelled_out)
        .map_err(|fault| format!("line {}, column {}: {}", fault.line, fault.column, fault.what))
}

/// The properties of the one table.
#[must_use]
pub fn table() -> Value {
    read()["Resources"]["Table"]["Properties"].take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_spelled_out() {
        let template = read();
        assert_eq!(template["Globals"]["Function"]["Architectures"], json!([{"Ref": "Architecture"}]));
        assert_eq!(
            template["Resources"]["WebhookIntakeFunction"]["Properties"]["Role"],
            json!({"Fn::GetAtt": "WebhookIntakeRole.Arn"})
        );
        assert_eq!(table()["TimeToLiveSpecification"]["AttributeName"], "expires_at");
    }
}
