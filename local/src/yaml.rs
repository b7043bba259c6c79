//! YAML, read as JSON: the template, and what people write for the command.

use saphyr::{LoadableYamlNode, MarkedYaml, Marker, Scalar, YamlData};
use serde_json::{Map, Number, Value, json};

/// What is wrong with a text, and where.
#[derive(Debug)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// A clause.
    pub what: String,
}

impl Fault {
    fn at(place: Marker, what: impl Into<String>) -> Self {
        Self { line: place.line(), column: place.col() + 1, what: what.into() }
    }
}

/// The one document of a text. `tagged` says what a tag makes of its node, if it means anything; YAML's own tags are
/// known.
pub fn read(text: &str, tagged: impl Fn(&str, Value) -> Option<Value>) -> Result<Value, Fault> {
    let documents =
        MarkedYaml::load_from_str(text).map_err(|error| Fault::at(*error.marker(), error.info()))?;
    match documents.as_slice() {
        [] => Err(Fault { line: 1, column: 1, what: "there is nothing in it".to_owned() }),
        [document] => to_json(document, &tagged),
        [_, second, ..] => Err(Fault::at(second.span.start, "a second document begins")),
    }
}

fn to_json(node: &MarkedYaml<'_>, tagged: &dyn Fn(&str, Value) -> Option<Value>) -> Result<Value, Fault> {
    let fault = |what: &str| Fault::at(node.span.start, what);
    match &node.data {
        YamlData::Value(Scalar::Null) => Ok(Value::Null),
        YamlData::Value(Scalar::Boolean(value)) => Ok(json!(value)),
        YamlData::Value(Scalar::Integer(value)) => Ok(json!(value)),
        YamlData::Value(Scalar::FloatingPoint(value)) => Number::from_f64(value.into_inner())
            .map(Value::Number)
            .ok_or_else(|| fault("JSON has no such number")),
        YamlData::Value(Scalar::String(value)) => Ok(json!(value)),
        YamlData::Sequence(elements) => elements.iter().map(|it| to_json(it, tagged)).collect(),
        YamlData::Mapping(members) => {
            let mut object = Map::new();
            for (name, value) in members {
                let Value::String(name) = to_json(name, tagged)? else {
                    return Err(Fault::at(name.span.start, "the name of a member must be a text"));
                };
                object.insert(name, to_json(value, tagged)?);
            }
            Ok(Value::Object(object))
        }
        YamlData::Tagged(tag, node) => {
            let value = to_json(node, tagged)?;
            tagged(&tag.suffix, value)
                .ok_or_else(|| fault(&format!("the tag !{} means nothing here", tag.suffix)))
        }
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            Err(fault("there is no value here, or one that does not fit its tag"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Result<Value, String> {
        read(text, |_, _| None).map_err(|fault| format!("{}:{}: {}", fault.line, fault.column, fault.what))
    }

    #[test]
    fn values_are_those_of_yaml_1_2() {
        let text = "a: 1\nb: [1.5, true, no, ~, 2026-11-22]\nc: &c {d: '7'}\ne: *c\n";
        let expected =
            json!({"a": 1, "b": [1.5, true, "no", null, "2026-11-22"], "c": {"d": "7"}, "e": {"d": "7"}});
        assert_eq!(plain(text), Ok(expected.clone()));
        assert_eq!(plain(&expected.to_string()), Ok(expected), "JSON is YAML too");
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        for (text, place) in [
            ("", "1:1: there is nothing"),
            ("a: 1\nb: [1\n", "3:1: "),
            ("a: 1\nb: 2\na: 3\n", "3:1: duplicated key"),
            ("a: 1\n---\nb: 2\n", "3:1: a second document"),
            ("a:\n  1: b\n", "2:3: the name of a member"),
            ("a: !days 30\n", "1:4: the tag !days"),
            ("a: .nan\n", "1:4: JSON has no such number"),
            ("a: !!int many\n", "1:4: there is no value"),
            ("a: *nowhere\n", "1:4: "),
        ] {
            let fault = plain(text).unwrap_err();
            assert!(fault.starts_with(place), "{text:?}: {fault}");
        }
    }
}
