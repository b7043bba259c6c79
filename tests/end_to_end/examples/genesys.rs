//! The data actions for Genesys Cloud: their request templates rendered and sent, their response templates rendered and
//! held against their contracts.

use harness::runtime_api::Invocation;
use harness::world::World;
use serde_json::{Map, Value, json};
use simulator::{Behaviour, Fault, Operation};

use super::{CONVERSATION, QUEUE, elements, function, json_file, members, text, world};

/// Written to break a template that does not escape it.
const HOSTILE: &str = "He said \"no\" \\ and\n{left} ${input.step} é";

fn definition(path: &str) -> Value {
    json_file(&format!("examples/genesys/{path}-once.custom.json"))
}

/// What a flow gives to the action that closes a ticket.
fn closing() -> Value {
    json!({"conversationId": CONVERSATION, "step": "close", "ticketId": "t-1", "resolution": HOSTILE})
}

/// What a flow gives to the action that transfers a call.
fn transferring() -> Value {
    json!({"conversationId": CONVERSATION, "step": "to-experts", "destinationType": "queue", "destinationId": QUEUE})
}

/// A template, by those of Velocity's rules that are used: `${x.y}`, and `$esc.jsonString(${x.y})`.
fn rendered(template: &str, variables: &Value) -> String {
    let mut rest = template;
    let mut rendered = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        rendered += before;
        let (is_escaped, after) = match after.strip_prefix("esc.jsonString($") {
            Some(after) => (true, after),
            None => (false, after),
        };
        let (name, after) =
            after.strip_prefix('{').and_then(|after| after.split_once('}')).expect("a reference");
        let value = variables.pointer(&format!("/{}", name.replace('.', "/")));
        let value = value.unwrap_or_else(|| panic!("nothing is called {name}"));
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if is_escaped {
            let quoted = json!(value).to_string();
            rendered += &quoted[1..quoted.len() - 1];
            rest = after.strip_prefix(')').expect("a closing parenthesis");
        } else {
            rendered += &value;
            rest = after;
        }
    }
    rendered + rest
}

/// The body of the request that an action sends for this input, after checking the input against its contract.
fn request(definition: &Value, input: &Value) -> String {
    let schema = &definition["contract"]["input"]["inputSchema"];
    for (name, value) in members(input) {
        assert_eq!(schema["properties"][name]["type"], "string", "{name}");
        assert!(value.is_string(), "{name}");
    }
    for required in elements(&schema["required"]) {
        assert!(input.get(text(required)).is_some(), "{required} is not given");
    }
    let request = &definition["config"]["request"];
    assert_eq!(request["requestType"], "POST");
    rendered(text(&request["requestTemplate"]), &json!({"input": input}))
}

/// What a flow gets of this answer, after checking it against the contract.
fn outcome(definition: &Value, answer: &Value) -> Value {
    let response = &definition["config"]["response"];
    let mut variables = Map::new();
    for (name, path) in members(&response["translationMap"]) {
        let pointer = text(path).strip_prefix('$').expect("a JSONPath").replace('.', "/");
        let default = response["translationMapDefaults"].get(name).map(|it| text(it).to_owned());
        let value = answer.pointer(&pointer).map(Value::to_string).or(default);
        variables
            .insert(name.clone(), json!(value.unwrap_or_else(|| panic!("{path} leads nowhere: {answer}"))));
    }
    let outcome = rendered(text(&response["successTemplate"]), &variables.into());
    let outcome: Value = serde_json::from_str(&outcome).unwrap_or_else(|_| panic!("no JSON: {outcome}"));
    let schema = &definition["contract"]["output"]["successSchema"];
    for (name, property) in members(&schema["properties"]) {
        let has_type = match text(&property["type"]) {
            "string" => outcome[name].is_string(),
            "integer" => outcome[name].is_i64(),
            "boolean" => outcome[name].is_boolean(),
            other => panic!("{other} is not known here"),
        };
        assert!(has_type, "{name}: {outcome}");
    }
    outcome
}

async fn stage() -> World {
    let world = world().await;
    world.genesys.data_action("CLOSE-TICKET-DATA-ACTION-ID", Behaviour::json(json!({"ticketId": "t-1"})));
    world
}

fn ticket_was_closed_once(world: &World) {
    let effects = world.genesys.effects("CLOSE-TICKET-DATA-ACTION-ID");
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0].input, json!({"ticketId": "t-1", "resolution": HOSTILE}));
}

#[tokio::test]
async fn a_lambda_data_action_that_a_flow_repeats_closes_one_ticket() {
    let world = stage().await;
    let lambda = function(&world, "data-actions").await;
    let definition = definition("aws-lambda/Close-ticket");
    let request = request(&definition, &closing());
    let context = r#"{"ININ-Correlation-Id":"of-the-flow"}"#;

    let first = lambda.invoke_with(Invocation::new(request.clone()).client_context(context)).await;
    let first = outcome(&definition, &first.json());
    let again = outcome(&definition, &lambda.invoke(request).await.json());

    let key = format!("{CONVERSATION}/close");
    assert_eq!(first, json!({"status": 200, "replayed": false, "idempotencyKey": key}));
    assert_eq!(again, json!({"status": 200, "replayed": true, "idempotencyKey": key}));
    ticket_was_closed_once(&world);
    let trails = world.trails();
    assert_eq!(trails.len(), 1);
    assert_eq!(world.trail(&trails[0])[0]["correlationId"], "of-the-flow");
}

#[tokio::test]
async fn a_lambda_data_action_transfers_a_call_once_though_the_answer_got_lost() {
    let world = stage().await;
    let lambda = function(&world, "transfers").await;
    let definition = definition("aws-lambda/Transfer-call");
    let request = request(&definition, &transferring());
    world.genesys.fault(Operation::Transfer, Fault::effect_then_drop());

    let first = outcome(&definition, &lambda.invoke(request.clone()).await.json());
    let again = outcome(&definition, &lambda.invoke(request).await.json());

    assert_eq!(first["status"], "completed");
    assert_eq!(first, again);
    assert_eq!(world.genesys.transfer_count(), 1);
}

/// The answer to what a web services data action sends for this input.
async fn posted(world: &World, definition: &Value, input: &Value) -> harness::world::Response {
    let request_of = &definition["config"]["request"];
    let url = text(&request_of["requestUrlTemplate"]);
    let path =
        url.strip_prefix("https://API-ID.execute-api.REGION.amazonaws.com").expect("the API's address");
    let variables = json!({"input": input, "authResponse": {"access_token": "a-token"}});
    let headers: Vec<(String, String)> = members(&request_of["headers"])
        .map(|(name, value)| (name.clone(), rendered(text(value), &variables)))
        .collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(headers.contains(&("Authorization", "Bearer a-token")));
    world.post(&format!("{}{path}", world.gateway.url()), &headers, request(definition, input)).await
}

#[tokio::test]
async fn a_web_services_data_action_does_the_same_over_http() {
    let world = stage().await;
    let (close, transfer) =
        (definition("web-services/Close-ticket"), definition("web-services/Transfer-call"));

    for is_repeat in [false, true] {
        let closed = posted(&world, &close, &closing()).await;
        assert_eq!((closed.status, closed.is_replay()), (200, is_repeat), "{closed:?}");
        assert_eq!(closed.header("idempotency-key"), Some(format!("{CONVERSATION}/close").as_str()));
        assert_eq!(outcome(&close, &closed.json()), json!({"ticketId": "t-1"}));
        let transferred = posted(&world, &transfer, &transferring()).await;
        assert_eq!((transferred.status, transferred.is_replay()), (200, is_repeat), "{transferred:?}");
        assert_eq!(
            transferred.header("idempotency-key"),
            Some(format!("{CONVERSATION}/to-experts").as_str())
        );
        assert_eq!(outcome(&transfer, &transferred.json())["status"], "completed");
    }

    ticket_was_closed_once(&world);
    assert_eq!(world.genesys.transfer_count(), 1);
}

#[tokio::test]
async fn another_step_of_the_flow_is_another_request() {
    let world = stage().await;
    let lambda = function(&world, "data-actions").await;
    let definition = definition("aws-lambda/Close-ticket");
    let mut other = closing();
    other["step"] = json!("close-again");

    for input in [closing(), other] {
        let answer = lambda.invoke(request(&definition, &input)).await.json();
        assert_eq!(answer["replayed"], false);
    }

    assert_eq!(world.genesys.effects("CLOSE-TICKET-DATA-ACTION-ID").len(), 2);
}
