//! The state machine, played: its requests reach the functions, and their errors reach its `Retry` and `Catch`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::runtime_api::{Answer, Deadline, Invocation, Lambda};
use harness::world::World;
use serde_json::{Value, json};
use simulator::{Behaviour, Conversation, Fault, Operation, Queue};

use super::expressions::filled_in;
use super::{CONVERSATION, QUEUE, elements, file, function, json_file, members, template_file, text, world};

/// Where the machine sends a call that the experts cannot take.
const OTHERS: &str = "others";

/// What Step Functions itself and Lambda call their failures.
const OF_AWS: [&str; 4] = ["Lambda.", "Sandbox.", "Runtime.", "States."];

/// The errors that the functions can give, by name, and whether a repeat can help: as `problem.rs` has it.
fn problems() -> BTreeMap<String, bool> {
    let source = file("shared/src/problem.rs");
    let kinds_in = |text: &str| {
        let words = text.split("Self::").skip(1);
        let kind =
            |word: &str| word.split(|it: char| !it.is_ascii_alphanumeric()).next().unwrap_or("").to_owned();
        words.map(kind).collect::<BTreeSet<_>>()
    };
    let body = |name: &str| {
        let (_, after) = source.split_once(&format!("fn {name}(")).expect("the function is there");
        after.split_once("\n    }\n").expect("it ends").0.to_owned()
    };
    let (yes, _) = body("is_retryable")
        .split_once("=> true")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("an arm");
    let retryable = kinds_in(&yes);
    let in_pascal_case = |slug: &str| {
        let capitalised = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        slug.split('-').map(capitalised).collect::<String>()
    };
    let slugs = body("slug");
    let arms = slugs.lines().filter_map(|line| line.split_once("=> \""));
    arms.map(|(kinds, slug)| {
        let is_retryable = kinds_in(kinds).iter().any(|kind| retryable.contains(kind));
        (in_pascal_case(slug.trim_end_matches(['"', ','])), is_retryable)
    })
    .collect()
}

/// The definition, with what the template puts into it.
fn definition() -> Value {
    let substitutions = &template_file("examples/step-functions/template.yaml")["Resources"]["HandOver"]["Properties"]
        ["DefinitionSubstitutions"];
    let mut text = file("examples/step-functions/hand-over.asl.json");
    for (name, value) in members(substitutions) {
        let value = match super::text(&value["Ref"]) {
            "AWS::Partition" => "aws",
            "DataActionsFunctionArn" => "data-actions",
            "TransfersFunctionArn" => "transfers",
            "OpenTicketDataActionId" => "open-ticket",
            other => panic!("nothing is known of {other}"),
        };
        let placeholder = format!("${{{name}}}");
        assert!(text.contains(&placeholder), "{placeholder} is not used");
        text = text.replace(&placeholder, value);
    }
    assert!(!text.contains("${"), "a placeholder is left");
    serde_json::from_str(&text).expect("a definition is JSON")
}

/// The states that invoke a function, by name.
fn tasks(definition: &Value) -> Vec<(String, Value)> {
    let states = members(&definition["States"]).filter(|(_, state)| state["Type"] == "Task");
    states.map(|(name, state)| (name.clone(), state.clone())).collect()
}

/// The errors that the handlers in a state's `Retry` or `Catch` name.
fn named(state: &Value, handlers: &str) -> BTreeSet<String> {
    let handlers = elements(&state[handlers]).iter();
    let names = handlers.flat_map(|handler| elements(&handler["ErrorEquals"]));
    names.map(|name| text(name).to_owned()).collect()
}

/// Those that are ours.
fn ours(names: BTreeSet<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| !OF_AWS.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[test]
fn every_error_that_is_handled_is_one_that_can_happen() {
    let problems = problems();
    assert_eq!(problems.len(), 20, "{problems:?}");
    for (name, state) in tasks(&definition()) {
        for error in ours(named(&state, "Retry")).union(&ours(named(&state, "Catch"))) {
            assert!(problems.contains_key(error), "{name} handles {error}, which nobody gives");
        }
    }
}

#[test]
fn what_a_wait_can_help_is_retried_and_nothing_else() {
    let helped: BTreeSet<String> =
        problems().into_iter().filter(|(_, is_retryable)| *is_retryable).map(|(name, _)| name).collect();
    for (name, state) in tasks(&definition()) {
        let mut expected = helped.clone();
        // A transfer's repeat looks again, and sends nothing; a data action's could only be told the same.
        if state["Arguments"]["FunctionName"] == "transfers" {
            expected.insert("OutcomeUnknown".to_owned());
        }
        assert_eq!(ours(named(&state, "Retry")), expected, "{name}");
        assert!(named(&state, "Catch").contains("OutcomeUnknown"), "{name}: somebody has to find out");
        for error in
            ["Lambda.Unknown", "Lambda.TooManyRequestsException", "Sandbox.Timedout", "States.Timeout"]
        {
            assert!(named(&state, "Retry").contains(error), "{name}: {error}");
        }
        for of_all in ["States.ALL", "States.TaskFailed"] {
            assert!(!named(&state, "Retry").contains(of_all), "{name} would retry what no repeat helps");
        }
    }
}

#[test]
fn a_step_waits_for_longer_than_its_function_may_run() {
    let timeouts =
        BTreeMap::from([("data-actions", "DataActionsFunction"), ("transfers", "TransfersFunction")]);
    let stack = local::template::read();
    for (name, state) in tasks(&definition()) {
        let function = timeouts[text(&state["Arguments"]["FunctionName"])];
        let timeout = stack["Resources"][function]["Properties"]["Timeout"].as_i64().expect("a timeout");
        assert!(state["TimeoutSeconds"].as_i64().expect("a timeout") > timeout, "{name}");
        // Who is told that the first attempt is still running must not give up before it has ended.
        let in_progress = elements(&state["Retry"])
            .iter()
            .find(|retrier| elements(&retrier["ErrorEquals"]).contains(&json!("InProgress")))
            .expect("a retrier");
        let attempts = in_progress["MaxAttempts"].as_i64().expect("attempts");
        let wait = state["Arguments"]["Payload"]["waitSeconds"].as_i64().expect("a wait");
        assert!(attempts * wait > timeout, "{name}: {attempts} times {wait} s");
    }
}

#[test]
fn a_key_names_machine_execution_and_step_and_is_never_too_long() {
    let longest = "n".repeat(80);
    for (name, state) in tasks(&definition()) {
        assert!(name.len() <= 80);
        let context = json!({"context": {"StateMachine": {"Name": longest}, "Execution": {"Name": longest},
            "State": {"Name": longest}}});
        let key = filled_in(&state["Arguments"]["Payload"]["idempotencyKey"], &context);
        assert_eq!(text(&key).len(), 242, "{name}: a key has up to 255 characters");
    }
}

/// How an execution ended.
#[derive(Debug)]
struct Ended {
    state: String,
    /// `Error` of a state `Fail`, or of a failure that nobody caught.
    error: Option<String>,
    output: Value,
    /// Each request that was sent, by the state that sent it, and the error it met.
    sent: Vec<(String, Value, Option<String>)>,
}

impl Ended {
    fn errors(&self) -> Vec<&str> {
        self.sent.iter().filter_map(|(_, _, error)| error.as_deref()).collect()
    }
}

struct Machine {
    definition: Value,
    functions: BTreeMap<&'static str, Lambda>,
    /// How long each invocation has.
    limit: Duration,
}

impl Machine {
    async fn of(world: &World) -> Self {
        let functions = BTreeMap::from([
            ("data-actions", function(world, "data-actions").await),
            ("transfers", function(world, "transfers").await),
        ]);
        Self { definition: definition(), functions, limit: Duration::from_secs(30) }
    }

    /// Plays an execution of this name. Nobody waits between two attempts.
    async fn play(&self, name: &str) -> Ended {
        let mut data = json!({"conversationId": CONVERSATION, "subject": "A \"late\" parcel\n",
            "expertsQueueId": QUEUE, "otherQueueId": OTHERS});
        let mut at = text(&self.definition["StartAt"]).to_owned();
        let mut sent = Vec::new();
        loop {
            let state = &self.definition["States"][&at];
            let states = json!({"input": data, "context": {"StateMachine": {"Name": "HandOver-1a2b"},
                "Execution": {"Name": name}, "State": {"Name": at}}});
            let failed = |error, output, sent| Ended { state: at.clone(), error: Some(error), output, sent };
            let next = match text(&state["Type"]) {
                "Task" => match self.attempt(state, &at, states, &mut sent).await {
                    Ok(next) => next,
                    Err(error) => return failed(error, data, sent),
                },
                "Choice" => {
                    let is_so = |choice: &&Value| filled_in(&choice["Condition"], &states) == true;
                    let chosen = elements(&state["Choices"]).iter().find(is_so);
                    (chosen.map_or(&state["Default"], |choice| &choice["Next"]).clone(), data)
                }
                "Succeed" => return Ended { state: at, error: None, output: data, sent },
                "Fail" => {
                    let error = text(&filled_in(&state["Error"], &states)).to_owned();
                    return failed(error, filled_in(&state["Cause"], &states), sent);
                }
                other => panic!("a state {other} is not known here"),
            };
            (at, data) = (text(&next.0).to_owned(), next.1);
        }
    }

    /// The next state and its input, or the error that nobody caught.
    async fn attempt(
        &self,
        state: &Value,
        name: &str,
        mut states: Value,
        sent: &mut Vec<(String, Value, Option<String>)>,
    ) -> Result<(Value, Value), String> {
        assert_eq!(state["Resource"], "arn:aws:states:::lambda:invoke");
        let mut counts: BTreeMap<usize, i64> = BTreeMap::new();
        loop {
            let arguments = filled_in(&state["Arguments"], &states);
            let payload = arguments["Payload"].clone();
            let invocation = Invocation::new(payload.to_string()).deadline(Deadline::In(self.limit));
            let answer = self.functions[text(&arguments["FunctionName"])].invoke_with(invocation).await;
            let error = matches!(answer, Answer::Error { .. }).then(|| answer.error_type());
            sent.push((name.to_owned(), payload, error.clone()));
            let Some(error) = error else {
                states["result"] = json!({"StatusCode": 200, "Payload": answer.json()});
                return Ok((state["Next"].clone(), filled_in(&state["Output"], &states)));
            };
            let handles = |handler: &&Value| elements(&handler["ErrorEquals"]).contains(&json!(error));
            let retrier = elements(&state["Retry"]).iter().position(|retrier| handles(&retrier));
            if let Some(place) = retrier {
                let count = counts.entry(place).or_default();
                *count += 1;
                if *count <= state["Retry"][place]["MaxAttempts"].as_i64().expect("attempts") {
                    continue;
                }
            }
            let Some(catcher) = elements(&state["Catch"]).iter().find(handles) else { return Err(error) };
            // The cause is the whole failure, as text.
            let cause = json!({"errorType": error, "errorMessage": answer.error_message(), "stackTrace": []});
            states["errorOutput"] = json!({"Error": error, "Cause": cause.to_string()});
            return Ok((catcher["Next"].clone(), filled_in(&catcher["Output"], &states)));
        }
    }
}

async fn stage() -> (World, Machine) {
    let world = world().await;
    world.genesys.data_action("open-ticket", Behaviour::json(json!({"ticket": 4711})));
    world.genesys.queue(OTHERS, Queue::open().joined(0));
    let machine = Machine::of(&world).await;
    (world, machine)
}

#[tokio::test]
async fn a_call_is_handed_over_with_one_ticket_and_one_transfer_however_often_the_execution_is_redriven() {
    let (world, machine) = stage().await;

    let first = machine.play("case-4711").await;
    let again = machine.play("case-4711").await;

    for ended in [&first, &again] {
        assert_eq!((ended.state.as_str(), &ended.error), ("HandedOver", &None), "{ended:?}");
        assert_eq!(ended.output["answer"]["body"], json!({"ticket": 4711}));
        assert_eq!(ended.output["transfer"]["status"], "completed");
    }
    assert_eq!(first.output["transfer"]["transferId"], again.output["transfer"]["transferId"]);
    assert_eq!(
        (&again.output["answer"]["replayed"], &again.output["transfer"]["replayed"]),
        (&json!(true), &json!(true))
    );
    let effects = world.genesys.effects("open-ticket");
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0].input, json!({"conversationId": CONVERSATION, "subject": "A \"late\" parcel\n"}));
    assert_eq!(world.genesys.transfer_count(), 1);

    // Another execution is another case.
    machine.play("case-4712").await;
    assert_eq!(world.genesys.effects("open-ticket").len(), 2);
}

#[tokio::test]
async fn a_call_that_the_experts_cannot_take_goes_to_the_others() {
    for queue in [Some(Queue::open().joined(0)), None] {
        let (world, mut machine) = stage().await;
        let mut experts = "nowhere";
        if let Some(queue) = queue {
            world.genesys.queue("away", queue);
            experts = "away";
        }
        let destination =
            &mut machine.definition["States"]["TransferToExperts"]["Arguments"]["Payload"]["destination"];
        destination["id"] = json!(experts);

        let ended = machine.play("case").await;

        assert_eq!((ended.state.as_str(), &ended.error), ("HandedOver", &None), "{ended:?}");
        assert_eq!(ended.output["transfer"]["destination"], json!({"type": "queue", "id": OTHERS}));
        assert_eq!((world.genesys.transfer_count(), ended.errors().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_caller_who_has_hung_up_leaves_a_ticket_and_no_failure() {
    let (world, machine) = stage().await;
    world.genesys.conversation(CONVERSATION, Conversation::ended());

    let ended = machine.play("case").await;

    assert_eq!((ended.state.as_str(), &ended.error), ("NothingToTransfer", &None), "{ended:?}");
    assert_eq!((world.genesys.effects("open-ticket").len(), world.genesys.transfer_count()), (1, 0));
}

#[tokio::test]
async fn a_ticket_of_which_nobody_knows_is_not_opened_again() {
    let (world, machine) = stage().await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::effect_then_drop());

    for _ in 0..2 {
        let ended = machine.play("case").await;
        assert_eq!((ended.state.as_str(), ended.error.as_deref()), ("FindOut", Some("OutcomeUnknown")));
        assert!(text(&ended.output).starts_with("Whether OpenTicket happened is not known. "), "{ended:?}");
        assert_eq!((ended.sent.len(), ended.errors()), (1, vec!["OutcomeUnknown"]));
    }
    assert_eq!((world.genesys.effects("open-ticket").len(), world.genesys.transfer_count()), (1, 0));
}

#[tokio::test]
async fn a_refused_ticket_ends_the_execution_and_says_so() {
    let (world, machine) = stage().await;
    world
        .genesys
        .data_action("open-ticket", Behaviour::status(422, "application/json", r#"{"code":"closed"}"#));

    let ended = machine.play("case").await;

    assert_eq!(ended.error.as_deref(), Some("TicketRefused"));
    assert_eq!(ended.output, "The data action answered with status 422.");
    assert_eq!(world.genesys.transfer_count(), 0);
}

#[tokio::test]
async fn what_passes_by_itself_is_waited_for_with_the_same_key() {
    let (world, machine) = stage().await;
    world.genesys.fault(Operation::ExecuteDataAction, Fault::status(429).retry_after("1").times(3));
    world.genesys.fault(Operation::Transfer, Fault::status(429).retry_after("1").times(2));

    let ended = machine.play("case").await;

    assert_eq!((ended.state.as_str(), &ended.error), ("HandedOver", &None), "{ended:?}");
    assert_eq!(ended.errors(), ["UpstreamRateLimited"; 5]);
    let keys: BTreeSet<&str> =
        ended.sent.iter().map(|(_, payload, _)| text(&payload["idempotencyKey"])).collect();
    assert_eq!(keys, ["HandOver-1a2b/case/OpenTicket", "HandOver-1a2b/case/TransferToExperts"].into());
    assert_eq!((world.genesys.effects("open-ticket").len(), world.genesys.transfer_count()), (1, 1));
}

#[tokio::test]
async fn a_store_that_is_away_for_good_fails_the_execution_by_its_name() {
    let (world, machine) = stage().await;
    world.store.down();

    let ended = machine.play("case").await;

    assert_eq!((ended.state.as_str(), ended.error.as_deref()), ("OpenTicket", Some("StoreUnavailable")));
    assert_eq!((ended.sent.len(), world.genesys.effect_count()), (11, 0));
}

#[tokio::test]
async fn a_transfer_that_shows_only_later_is_found_by_a_retry_or_a_redrive_and_not_sent_again() {
    let (world, mut machine) = stage().await;
    machine.limit = Duration::from_secs(3);
    world.genesys.fault(Operation::Transfer, Fault::drop_then_effect(12));

    let mut ended = machine.play("case").await;
    assert_eq!(ended.errors()[0], "OutcomeUnknown", "{ended:?}");
    while ended.error.is_some() {
        assert_eq!((ended.state.as_str(), ended.errors()), ("FindOut", vec!["OutcomeUnknown"; 4]));
        ended = machine.play("case").await;
    }

    assert_eq!(ended.state, "HandedOver");
    assert_eq!((world.genesys.transfer_count(), world.genesys.request_count(Operation::Transfer)), (1, 1));
}

#[test]
fn the_machine_may_invoke_the_two_functions_and_nothing_else_of_ours() {
    let template = template_file("examples/step-functions/template.yaml");
    let role =
        &template["Resources"]["HandOverRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"];
    let invoke = &elements(role)[0];
    assert_eq!(invoke["Action"], "lambda:InvokeFunction");
    assert_eq!(
        invoke["Resource"],
        json!([{"Ref": "DataActionsFunctionArn"}, {"Ref": "TransfersFunctionArn"}])
    );
    let logging = &template["Resources"]["HandOver"]["Properties"]["Logging"];
    assert_eq!(logging["IncludeExecutionData"], false, "what goes through names people");
    assert_eq!(json_file("examples/step-functions/hand-over.asl.json")["QueryLanguage"], "JSONata");
}
