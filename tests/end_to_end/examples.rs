//! The examples do what they say: what their files would send is sent to the functions, and what their files say about
//! errors is what the functions say.
//!
//! Where AWS or Genesys Cloud would stand between the two, a stand-in here knows as much of their rules as the files use,
//! and refuses the rest.

mod step_functions;
mod expressions;
mod event_bridge;
mod fifo;
mod genesys;
mod open_messaging;

use std::collections::BTreeSet;
use std::path::Path;

use harness::runtime_api::{Lambda, binary};
use harness::world::World;
use local::template;
use serde_json::Value;
use simulator::{Conversation, Queue, Surface, User};

/// The conversation that the examples are about.
const CONVERSATION: &str = "8c0f5a52-6f1e-4d0b-b1a3-5d2e9f7c4b60";

/// The queue that their transfers go to.
const QUEUE: &str = "1d2c3b4a-5f6e-4d7c-8b9a-0f1e2d3c4b5a";

/// A file of the repository.
fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json_file(path: &str) -> Value {
    serde_json::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn template_file(path: &str) -> Value {
    template::parse(&file(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// A value that must be a text.
#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The members of a value that must be an object.
#[track_caller]
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).iter()
}

/// The elements of a value that must be a list.
#[track_caller]
fn elements(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// A world with a call in it that can be transferred to a queue.
async fn world() -> World {
    let world = World::start(Surface::Platform).await;
    world.genesys.conversation(CONVERSATION, Conversation::with_agent("alice"));
    world.genesys.user("alice", User::available());
    world.genesys.queue(QUEUE, Queue::open().joined(3));
    world
}

/// The compiled function of this name. An attempt is enough: whoever calls it repeats.
async fn function(world: &World, name: &str) -> Lambda {
    Lambda::start(&binary(name), &world.variables(&[("RETRY_ATTEMPTS", "1")])).await
}

/// The templates of the examples, by their paths.
fn templates() -> Vec<String> {
    [
        "step-functions/template.yaml",
        "eventbridge/template.yaml",
        "fifo/template.yaml",
        "genesys/web-services/template.yaml",
    ]
    .map(|path| format!("examples/{path}"))
    .into()
}

#[test]
fn what_the_templates_ask_of_the_stack_it_puts_out() {
    let outputs: BTreeSet<String> =
        members(&template::read()["Outputs"]).map(|(name, _)| name.clone()).collect();
    let mut asked_for = BTreeSet::new();
    for path in templates() {
        for (_, parameter) in members(&template_file(&path)["Parameters"]) {
            let description = text(&parameter["Description"]);
            if let Some(rest) = description.strip_prefix("Output ") {
                let (output, _) = rest.split_once(' ').expect("a sentence");
                assert!(outputs.contains(output), "{path}: the stack has no output {output}");
                asked_for.insert(output.to_owned());
            }
        }
    }
    let named = ["DataActionsFunctionArn", "EventBusName", "TransfersFunctionArn"].map(str::to_owned);
    assert_eq!(asked_for, named.into());
}

#[test]
fn each_folder_of_examples_says_what_it_is_for() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("examples");
    let folders =
        std::fs::read_dir(examples).expect("there are examples").map(|entry| entry.expect("an entry").path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), 6, "{folders:?}");
    for folder in folders {
        assert!(folder.join("README.md").is_file(), "{} has no README.md", folder.display());
    }
}
