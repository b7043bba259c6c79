//! `template.yaml`, read: what it says about the table, the routes and the settings is said nowhere else.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// The template, with `CloudFormation`'s short forms spelled out: `!Ref X` is `{"Ref": "X"}`, and any other
/// `!Y …` is `{"Fn::Y": …}`.
#[must_use]
pub fn read() -> Value {
    let documents =
        Yaml::load_from_str(include_str!("../../template.yaml")).expect("the template is valid YAML");
    documents.first().map(to_json).expect("the template is one document")
}

/// The properties of the one table.
#[must_use]
pub fn table() -> Value {
    read()["Resources"]["Table"]["Properties"].take()
}

fn to_json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(elements) => elements.iter().map(to_json).collect(),
        Yaml::Mapping(members) => {
            let member =
                |(key, value)| (to_json(key).as_str().unwrap_or_default().to_owned(), to_json(value));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        Yaml::Tagged(tag, node) if tag.suffix == "Ref" => json!({"Ref": to_json(node)}),
        Yaml::Tagged(tag, node) => json!({format!("Fn::{}", tag.suffix): to_json(node)}),
        Yaml::Value(Scalar::Null) | Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => Value::Null,
    }
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
