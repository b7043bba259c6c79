//! `docs/openapi.yaml` says what the routes do: all of it, and nothing else.

mod answers;
mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use harness::world::World;
use http::StatusCode;
use local::template;
use serde_json::json;
use simulator::Surface;

use document::{Document, members};

/// The route that a stack on one machine has beside those of a deployment.
const ON_ONE_MACHINE: &str = "/retention";

/// A file of the repository, by its path there.
fn source(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A path in which it does not matter what its parameters are called.
fn without_names(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}" } else { segment }.to_owned();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The paths that the functions' routers serve.
fn served() -> BTreeSet<String> {
    let functions = ["webhook-intake", "data-actions", "transfers", "retention", "relay"];
    let sources = functions.map(|function| source(&format!("functions/{function}/src/lib.rs")));
    let routes = |source: &String| {
        let routes = source.split(".route(\"").skip(1);
        routes.map(|rest| without_names(rest.split('"').next().unwrap_or_default())).collect::<Vec<_>>()
    };
    sources.iter().flat_map(routes).collect()
}

#[test]
fn the_routes_of_the_document_are_those_of_the_template() {
    let resources = template::read()["Resources"].take();
    let routes =
        members(&resources).filter(|(_, it)| it["Type"] == "AWS::ApiGatewayV2::Route").map(|(_, route)| {
            let key = route["Properties"]["RouteKey"].as_str().expect("a text");
            let (method, path) = key.split_once(' ').expect("a method and a path");
            (method.to_owned(), path.to_owned())
        });

    assert_eq!(Document::read().routes(), routes.collect());
}

#[test]
fn what_the_template_lets_anybody_call_is_what_the_document_has_signed_otherwise() {
    let document = Document::read();
    let resources = template::read()["Resources"].take();
    for (_, route) in members(&resources).filter(|(_, it)| it["Type"] == "AWS::ApiGatewayV2::Route") {
        let (_, path) = route["Properties"]["RouteKey"].as_str().unwrap().split_once(' ').unwrap();
        let is_closed = route["Properties"]["AuthorizationType"] != "NONE";
        let security = document.operation(path)["security"].as_array().unwrap();
        let asks_for_iam = security.iter().any(|alternative| alternative.get("awsIam").is_some());
        assert_eq!(asks_for_iam, is_closed, "{path}");
        let schemes = security.iter().flat_map(members).map(|(scheme, _)| scheme);
        for scheme in schemes {
            document.at(&format!("/components/securitySchemes/{scheme}"));
        }
    }
}

#[tokio::test]
async fn the_gateway_answers_these_routes_and_that_of_one_machine_and_no_other() {
    let documented: BTreeSet<String> =
        Document::read().routes().into_iter().map(|(_, path)| without_names(&path)).collect();
    let mut all = documented.clone();
    all.insert(ON_ONE_MACHINE.to_owned());
    assert_eq!(served(), all);

    let world = World::start(Surface::Platform).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in &all {
        let url = format!("{}{}", world.gateway.url(), path.replace("{}", "a"));
        let response = world.post(&url, &[], "").await;
        assert!(![404, 405].contains(&response.status), "{path}: {response:?}");
        for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
            let response = http.request(method.parse().unwrap(), &url).send().await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &"POST".parse().unwrap())
            );
        }
        let response = world.post(&format!("{url}/more"), &[], "").await;
        assert_eq!((response.status, response.problem().as_str()), (404, "not-found"), "{path}");
    }
}

/// What each kind of problem is given by one of the functions of `Kind`: `value` picks it from the text behind an arrow.
fn by_kind<T: Clone>(function: &str, value: impl Fn(&str) -> T) -> BTreeMap<String, T> {
    let text = source("shared/src/problem.rs");
    let start =
        text.find(&format!("fn {function}(self)")).unwrap_or_else(|| panic!("no function {function}"));
    let body = text[start..].split("\n    }\n").next().expect("a body");
    let arms: Vec<&str> = body.split("=>").collect();
    let mut given = BTreeMap::new();
    for pair in arms.windows(2) {
        let kinds = pair[0].split("Self::").skip(1);
        for kind in kinds.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()) {
            given.insert(kind.to_owned(), value(pair[1]));
        }
    }
    given
}

/// The kinds of problem that there are.
fn kinds() -> BTreeSet<String> {
    let text = source("shared/src/problem.rs");
    let body =
        text.split("pub enum Kind {").nth(1).and_then(|rest| rest.split("\n}\n").next()).expect("an enum");
    let variants = body.lines().filter_map(|line| line.trim().strip_suffix(','));
    variants.filter(|variant| variant.chars().all(char::is_alphanumeric)).map(str::to_owned).collect()
}

/// The status that `http` gives a name like `BAD_GATEWAY`.
fn status(name: &str) -> u64 {
    let is_named = |code: &u16| {
        let reason = StatusCode::from_u16(*code).ok().and_then(|status| status.canonical_reason());
        reason.is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
    };
    (400..600).find(is_named).unwrap_or_else(|| panic!("no status {name}")).into()
}

#[test]
fn every_problem_is_in_the_document_with_its_status_and_no_other() {
    let slugs = by_kind("slug", |arm| arm.split('"').nth(1).expect("a slug").to_owned());
    let statuses = by_kind("status", |arm| {
        let name = arm.split("StatusCode::").nth(1).expect("a status");
        status(name.split(|c: char| !c.is_uppercase() && c != '_').next().unwrap_or_default())
    });
    let retryable = by_kind("is_retryable", |arm| arm.trim_start().starts_with("true"));
    assert_eq!(slugs.keys().cloned().collect::<BTreeSet<_>>(), kinds());
    let problems = slugs.iter().map(|(kind, slug)| (slug.clone(), statuses[kind], retryable[kind])).collect();

    let document = Document::read();
    assert_eq!(document.problems(), problems);

    let types = &document.at("/components/schemas/Problem/properties/type/enum").as_array().unwrap();
    let named: BTreeSet<&str> =
        types.iter().filter_map(|it| it.as_str()?.strip_prefix("urn:patchbay:problem:")).collect();
    assert_eq!(named, slugs.values().map(String::as_str).collect());
    assert_eq!(types.len(), named.len());
}

#[test]
fn the_problem_that_discriminates_is_the_one_it_is_mapped_to() {
    let document = Document::read();
    for (_, path) in document.routes() {
        for (status, response) in members(&document.operation(&path)["responses"]) {
            let schema = &document.resolve(response)["content"]["application/problem+json"]["schema"];
            let alternatives = schema["oneOf"].as_array().into_iter().flatten();
            let references: BTreeSet<&str> = alternatives.map(|it| it["$ref"].as_str().unwrap()).collect();
            let mapping = &schema["discriminator"]["mapping"];
            let mapped: BTreeSet<&str> = members(mapping).map(|(_, it)| it.as_str().unwrap()).collect();
            assert_eq!(mapped, references, "{path} {status}");
            for (urn, reference) in members(mapping) {
                let reference = json!({"$ref": reference});
                let narrowed = &document.resolve(&reference)["allOf"][1]["properties"];
                assert_eq!(narrowed["type"]["enum"][0], *urn, "{path} {status}");
            }
        }
    }
}

#[test]
fn every_example_is_what_its_schema_says() {
    let document = Document::read();
    let examples = document.examples();
    assert!(examples.len() > 20, "{}", examples.len());
    for (place, schema, example) in examples {
        document.judge_value(schema, example).unwrap_or_else(|fault| panic!("{place}: {fault}"));
    }
}
