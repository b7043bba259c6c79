//! Holds requests against the published shapes of the Platform API.
//!
//! The shapes are an `OpenAPI` 3.0 document of more operations than are simulated; the check is the same for all:
//! path and method exist, path parameters are not empty, query parameters are known and of their type, and the body
//! is one JSON document of the published schema. A member that the schema does not name is a breach too: the real API
//! may drop it in silence, and then something was asked that did not happen.

use std::sync::{LazyLock, OnceLock};

use http::StatusCode;
use jsonschema::{Draft, Validator};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::api::Refusal;
use crate::oauth::has_content_type;
use crate::world::SeenRequest;

/// Whether this request is one the published API has, in its published shape.
pub(crate) fn check(request: &SeenRequest) -> Result<(), Refusal> {
    let Some(operation) = find(&request.method, &request.path) else {
        return Err(Refusal::breach(StatusCode::NOT_FOUND, "the published API has no such path and method"));
    };
    operation.check_path(&request.path)?;
    operation.check_query(&request.query)?;
    operation.check_body(request)
}

static OPERATIONS: LazyLock<Vec<Published>> = LazyLock::new(|| {
    let paths = DOCUMENT["paths"].as_object().expect("an OpenAPI document has paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path item is an object");
        let methods = item.iter().filter(|(method, _)| METHODS.contains(&method.as_str()));
        methods
            .map(move |(method, operation)| Published::new(path, method, item.get("parameters"), operation))
    });
    operations.collect()
});

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../published/genesys-platform-api.json");
    let mut document = serde_json::from_str(text).expect("the published document is JSON");
    close(&mut document);
    spell_out_nullable(&mut document);
    document
});

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// The operation this is; of two templates that fit, the one with fewer parameters, as the specification has it.
fn find(method: &str, path: &str) -> Option<&'static Published> {
    let fitting = OPERATIONS.iter().filter(|operation| operation.method == method && operation.fits(path));
    fitting.min_by_key(|operation| operation.path.iter().filter(|segment| is_parameter(segment)).count())
}

/// One operation of the document.
struct Published {
    /// In capitals.
    method: String,
    /// The segments of the template.
    path: Vec<String>,
    query: Vec<QueryParameter>,
    body: Option<Body>,
}

struct QueryParameter {
    name: String,
    is_required: bool,
    kind: Option<String>,
}

struct Body {
    is_required: bool,
    schema: Value,
    /// Compiled when the first request needs it.
    validator: OnceLock<Validator>,
}

impl Published {
    fn new(path: &str, method: &str, shared: Option<&'static Value>, operation: &'static Value) -> Self {
        let own = operation.get("parameters").and_then(Value::as_array);
        let shared = shared.and_then(Value::as_array);
        let parameters = own.into_iter().chain(shared).flatten().map(resolved);
        let in_query = parameters.filter(|parameter| parameter["in"] == "query");
        Self {
            method: method.to_uppercase(),
            path: path.split('/').map(str::to_owned).collect(),
            query: in_query.map(QueryParameter::new).collect(),
            body: operation.get("requestBody").map(resolved).and_then(Body::new),
        }
    }

    fn fits(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let all_fit = self.path.iter().all(|template| {
            segments.next().is_some_and(|segment| is_parameter(template) || segment == template)
        });
        all_fit && segments.next().is_none()
    }

    fn check_path(&self, path: &str) -> Result<(), Refusal> {
        let empty = self
            .path
            .iter()
            .zip(path.split('/'))
            .find(|(name, given)| is_parameter(name) && given.is_empty());
        match empty {
            None => Ok(()),
            Some((name, _)) => Err(breach("bad.request", format!("the path parameter {name} is empty"))),
        }
    }

    fn check_query(&self, query: &str) -> Result<(), Refusal> {
        let decoded =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let mut missing: Vec<_> = self.query.iter().filter(|it| it.is_required).map(|it| &it.name).collect();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name), decoded(value));
            let Some(parameter) = self.query.iter().find(|it| it.name == name) else {
                return Err(breach("bad.request", format!("the query parameter {name} is not published")));
            };
            if !parameter.admits(&value) {
                return Err(breach(
                    "invalid.value",
                    format!("{value:?} is no value of the query parameter {name}"),
                ));
            }
            missing.retain(|it| **it != name);
        }
        match missing.first() {
            None => Ok(()),
            Some(name) => Err(breach("bad.request", format!("the query parameter {name} is missing"))),
        }
    }

    fn check_body(&self, request: &SeenRequest) -> Result<(), Refusal> {
        let Some(expected) = &self.body else {
            return if request.body.is_empty() {
                Ok(())
            } else {
                Err(breach("bad.request", "the operation has no body".to_owned()))
            };
        };
        if request.body.is_empty() && !expected.is_required {
            return Ok(());
        }
        if !has_content_type(&request.headers, "application/json") {
            return Err(breach("bad.request", "the content type must be application/json".to_owned()));
        }
        let body = serde_json::from_slice(&request.body)
            .map_err(|e| breach("bad.request", format!("the body is not one JSON document: {e}")))?;
        expected.validator().validate(&body).map_err(|e| {
            breach(
                "invalid.schema",
                format!("the body breaks the published schema at {:?}: {e}", e.instance_path().as_str()),
            )
        })
    }
}

impl QueryParameter {
    fn new(parameter: &Value) -> Self {
        Self {
            name: parameter["name"].as_str().expect("a parameter has a name").to_owned(),
            is_required: parameter["required"] == true,
            kind: parameter["schema"]["type"].as_str().map(str::to_owned),
        }
    }

    fn admits(&self, value: &str) -> bool {
        match self.kind.as_deref() {
            Some("integer") => value.parse::<i64>().is_ok(),
            Some("boolean") => value == "true" || value == "false",
            _ => true,
        }
    }
}

impl Body {
    /// None if it is something else than JSON.
    fn new(declared: &'static Value) -> Option<Self> {
        let schema = declared["content"]["application/json"].get("schema")?.clone();
        Some(Self { is_required: declared["required"] == true, schema, validator: OnceLock::new() })
    }

    fn validator(&self) -> &Validator {
        self.validator.get_or_init(|| {
            // References point into the document, so the schemas they name come along.
            let schema = json!({ "allOf": [self.schema], "components": DOCUMENT["components"] });
            // `OpenAPI` 3.0 has the keywords of a draft between 4 and 5.
            let options = jsonschema::options().with_draft(Draft::Draft4);
            options.build(&schema).expect("the published schemas compile: a test does it for each")
        })
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// What a parameter or a body stands for, if it is a reference.
fn resolved(value: &'static Value) -> &'static Value {
    let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
        return value;
    };
    let pointer = reference.strip_prefix('#').expect("the document refers to itself only");
    DOCUMENT.pointer(pointer).expect("the document's references lead somewhere")
}

/// Says in JSON Schema's words what `OpenAPI` 3.0 calls `nullable`, everywhere below.
fn spell_out_nullable(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(spell_out_nullable),
        Value::Object(object) => {
            object.values_mut().for_each(spell_out_nullable);
            if object.get("nullable") == Some(&Value::Bool(true)) {
                let schema = std::mem::take(object);
                *object = Map::from_iter([("anyOf".to_owned(), json!([schema, { "type": "null" }]))]);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Admits no other members to an object whose members are published, everywhere below.
fn close(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(object) => {
            object.values_mut().for_each(close);
            let names_members = object.get("properties").is_some_and(Value::is_object);
            // Of a schema it is text; in a list of members it would be the schema of one called `type`.
            let is_schema = object.get("type").is_some_and(Value::is_string);
            if names_members && is_schema {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn breach(code: &'static str, what: String) -> Refusal {
    Refusal::breach(StatusCode::BAD_REQUEST, what).code(code)
}

/// Holds an answer of ours against the published schema of this name.
#[cfg(test)]
pub(crate) fn check_answer(schema: &str, answer: &Value) {
    use std::collections::HashMap;
    use std::sync::Mutex;

    // To compile a schema takes longer than all else in a test.
    static COMPILED: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

    let compile = || {
        let reference = format!("#/components/schemas/{schema}");
        let schema = json!({ "allOf": [{ "$ref": reference }], "components": DOCUMENT["components"] });
        jsonschema::options().with_draft(Draft::Draft4).build(&schema).unwrap()
    };
    let mut compiled = COMPILED.lock().unwrap();
    let validator = compiled.entry(schema.to_owned()).or_insert_with(compile);
    let is_fit = validator.validate(answer).map_err(|e| e.to_string());
    drop(compiled);
    is_fit.unwrap();
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn every_published_schema_compiles() {
        assert!(OPERATIONS.len() > 20);
        for operation in OPERATIONS.iter() {
            operation.body.iter().for_each(|body| assert!(body.validator().draft() == Draft::Draft4));
        }
    }

    #[test]
    fn a_query_parameter_must_be_published_and_of_its_type() {
        let get = |query: &str| {
            check(&request("GET", "/api/v2/recording/mediaretentionpolicies", query, "")).is_ok()
        };
        assert!(get(""));
        assert!(get("pageSize=100&pageNumber=2&summary=true"));
        assert!(!get("pageSize=many"));
        assert!(!get("pagesize=100"));
    }

    #[test]
    fn a_body_is_held_against_the_schema_its_references_lead_to() {
        let path = "/api/v2/conversations/c/participants/p/replace/queue";
        let post = |body: &str| check(&request("POST", path, "", body)).is_ok();
        assert!(post(r#"{"transferType":"Unattended","queueId":"q"}"#));
        assert!(!post(r#"{"transferType":"Sideways","queueId":"q"}"#));
        assert!(!post(r#"{"transferType":"Unattended","queueId":"q"} "#.repeat(2).as_str()));
        assert!(!post(""));
    }

    #[test]
    fn a_body_where_none_is_published_is_refused() {
        assert!(check(&request("GET", "/api/v2/users/u", "", "")).is_ok());
        assert!(check(&request("GET", "/api/v2/users/u", "", "{}")).is_err());
        assert!(check(&request("GET", "/api/v2/users/", "", "")).is_err());
        assert!(check(&request("PUT", "/api/v2/users/u", "", "")).is_err());
    }

    #[test]
    fn nullable_admits_null_beside_what_the_schema_says() {
        let mut schema =
            json!({ "properties": { "nullable": { "type": "string", "nullable": true, "enum": ["a"] } } });
        spell_out_nullable(&mut schema);
        let admits = |value: Value| jsonschema::is_valid(&schema, &json!({ "nullable": value }));
        assert!(admits(Value::Null));
        assert!(admits(json!("a")));
        assert!(!admits(json!("b")));
    }

    #[test]
    fn a_member_that_is_not_published_is_refused_at_any_depth() {
        let post = |body: &str| {
            check(&request("POST", "/api/v2/recording/mediaretentionpolicies", "", body)).is_ok()
        };
        let of_chats = |conditions: &str| {
            post(&format!(r#"{{"name":"n","mediaPolicies":{{"chatPolicy":{{"conditions":{conditions}}}}}}}"#))
        };
        assert!(of_chats(r#"{"forQueues":[{"id":"q","anything":1}]}"#));
        assert!(!of_chats(r#"{"directions":["INBOUND"]}"#));
        assert!(!post(r#"{"name":"n","version":1}"#));
    }

    fn request(method: &str, path: &str, query: &str, body: &str) -> SeenRequest {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json; charset=utf-8".parse().unwrap());
        SeenRequest {
            operation: None,
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.to_owned().into(),
            when: 0,
        }
    }
}
