//! `docs/openapi.yaml`, read: what it says of an answer.

use std::collections::BTreeSet;

use harness::world::Response;
use jsonschema::{Draft, Validator};
use local::yaml;
use serde_json::{Value, json};

use super::source;

/// What the type of every problem begins with.
const URN: &str = "urn:patchbay:problem:";

const PROBLEM: &str = "application/problem+json";

/// The document.
pub(super) struct Document(Value);

/// An answer as the document tells it from others: the route, the status as it stands there (`4XX` is one), and the slug of
/// a problem or the media type of anything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub(super) path: String,
    pub(super) status: String,
    pub(super) what: String,
}

impl Document {
    pub(super) fn read() -> Self {
        Self(yaml::read(&source("docs/openapi.yaml"), |_, _| None).expect("the document is valid YAML"))
    }

    /// What stands at a JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("the document has nothing at {pointer}"))
    }

    /// Every path with each of its methods, in capitals.
    pub(super) fn routes(&self) -> BTreeSet<(String, String)> {
        let paths = members(self.at("/paths"));
        let methods = |(path, item): (&String, &Value)| {
            members(item).map(|(method, _)| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        paths.flat_map(methods).collect()
    }

    /// The one operation of a path.
    pub(super) fn operation(&self, path: &str) -> &Value {
        &self.at("/paths")[path]["post"]
    }

    /// What a reference refers to, and anything else itself.
    pub(super) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.map_or(value, |pointer| self.at(pointer))
    }

    /// The problems, as their schemas have them: slug, status, and whether a repeat can help.
    pub(super) fn problems(&self) -> BTreeSet<(String, u64, bool)> {
        let schemas = members(self.at("/components/schemas"));
        schemas.filter_map(|(_, schema)| self.problem(schema)).collect()
    }

    fn problem(&self, schema: &Value) -> Option<(String, u64, bool)> {
        let narrowed = &self.resolve(schema)["allOf"][1]["properties"];
        let slug = narrowed["type"]["enum"][0].as_str()?.strip_prefix(URN)?;
        let fixed = |member: &str| &narrowed[member]["enum"][0];
        Some((slug.to_owned(), fixed("status").as_u64()?, fixed("retryable").as_bool()?))
    }

    /// Every answer there can be, but those of API Gateway's.
    pub(super) fn answers(&self) -> BTreeSet<Told> {
        let mut answers = BTreeSet::new();
        for (_, path) in self.routes() {
            for (status, response) in members(&self.operation(&path)["responses"]) {
                for (media_type, content) in members(&self.resolve(response)["content"]) {
                    let alternatives = match content["schema"]["oneOf"].as_array() {
                        Some(alternatives) if media_type == PROBLEM => alternatives.as_slice(),
                        _ => std::slice::from_ref(&content["schema"]),
                    };
                    for schema in alternatives {
                        let what = self.problem(schema).map_or(media_type.clone(), |(slug, _, _)| slug);
                        answers.insert(Told { path: path.clone(), status: status.clone(), what });
                    }
                }
            }
        }
        let of_gateway = self.at("/components/schemas/GatewayMessage");
        answers.retain(|told| {
            let response = self.resolve(&self.operation(&told.path)["responses"][&told.status]);
            self.resolve(&response["content"][&told.what]["schema"]) != of_gateway
        });
        answers
    }

    /// Holds an answer against the document: which one it is, or what is wrong with it.
    pub(super) fn judge(&self, path: &str, response: &Response) -> Result<Told, String> {
        let responses = &self.operation(path)["responses"];
        let (exact, range) = (response.status.to_string(), format!("{}XX", response.status / 100));
        let status = [exact, range].into_iter().find(|status| responses.get(status).is_some());
        let status = status.ok_or("the status is not documented")?;
        let documented = self.resolve(&responses[&status]);
        self.judge_headers(documented, response)?;
        let media_type = response.header("content-type").unwrap_or_default();
        let contents = &documented["content"];
        let media_type = [media_type, "*/*"].into_iter().find(|it| contents.get(it).is_some());
        let media_type = media_type.ok_or("the content type is not documented")?;
        // Whatever a data action answers with is in no schema.
        if media_type == "*/*" {
            let bears_key = response.header("idempotency-key").is_some();
            let what = media_type.to_owned();
            return if bears_key {
                Ok(Told { path: path.to_owned(), status, what })
            } else {
                Err("neither a problem nor an answer with its key".to_owned())
            };
        }
        self.judge_value(&contents[media_type]["schema"], &response.json())?;
        if media_type != PROBLEM {
            return Ok(Told { path: path.to_owned(), status, what: media_type.to_owned() });
        }
        let known = &self.at("/components/schemas/Problem/properties");
        for (member, _) in members(&response.json()) {
            known.get(member).ok_or_else(|| format!("the member {member} is not documented"))?;
        }
        Ok(Told { path: path.to_owned(), status, what: response.problem() })
    }

    fn judge_headers(&self, documented: &Value, response: &Response) -> Result<(), String> {
        let mut known = BTreeSet::from(["content-type", "content-length", "date"].map(str::to_owned));
        for (name, header) in members(&documented["headers"]) {
            let header = self.resolve(header);
            known.insert(name.to_lowercase());
            let Some(text) = response.header(name) else {
                if header["required"] == true {
                    return Err(format!("the header {name} is missing"));
                }
                continue;
            };
            let is_number = header["schema"]["type"] == "integer";
            let number = is_number.then(|| text.parse::<u64>().ok()).flatten();
            let value = number.map_or_else(|| json!(text), |number| json!(number));
            self.judge_value(&header["schema"], &value).map_err(|fault| format!("{name}: {fault}"))?;
        }
        let stranger = response.headers.keys().find(|name| !known.contains(name.as_str()));
        stranger.map_or(Ok(()), |name| Err(format!("the header {name} is not documented")))
    }

    /// Holds a value against a schema.
    pub(super) fn judge_value(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.validator(schema).validate(value).map_err(|error| format!("{error}: {value}"))
    }

    fn validator(&self, schema: &Value) -> Validator {
        // References point into the document, so what they point to comes along.
        let schema = json!({"allOf": [schema], "components": self.at("/components")});
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        options.build(&schema).unwrap_or_else(|error| panic!("no schema: {error}"))
    }

    /// The examples of a media type's values, with the schema that each must meet, and where they stand.
    pub(super) fn examples(&self) -> Vec<(String, &Value, &Value)> {
        let mut found = Vec::new();
        collect(&self.0, "", &mut found);
        found
    }
}

fn collect<'a>(node: &'a Value, place: &str, found: &mut Vec<(String, &'a Value, &'a Value)>) {
    if let (Some(schema), Some(examples)) = (node.get("schema"), node["examples"].as_object()) {
        let examples = examples.iter();
        found.extend(examples.map(|(name, it)| (format!("{place}/examples/{name}"), schema, &it["value"])));
    }
    if let (Some(schema), Some(example)) = (node.get("schema"), node.get("example")) {
        found.push((format!("{place}/example"), schema, example));
    }
    match node {
        Value::Object(members) => {
            members.iter().for_each(|(name, it)| collect(it, &format!("{place}/{name}"), found));
        }
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(nth, it)| collect(it, &format!("{place}/{nth}"), found));
        }
        _ => {}
    }
}

/// The members of an object; none, if it is none.
pub(super) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
