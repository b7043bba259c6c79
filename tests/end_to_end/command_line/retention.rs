//! `patchbay retention`: against a stack, against the deployed function, and the example that comes with it.

use std::sync::Mutex;

use harness::invoke_api::InvokeApi;
use harness::world::World;
use http::StatusCode;
use local::{Bus, Options, Stack};
use serde_json::json;
use simulator::{Operation, Policy, PolicyCourse, Surface};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use super::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/retention.yaml");

/// So long a wait for a job that there is no time for it in one invocation.
const SLOW_POLLS: (&str, &str) = ("RETENTION_POLL_BASE_MS", "60000");

const CALLS: &str = "
licenseTier: ENTERPRISE
onOverlap: merge
policies:
  - {name: Calls, objectType: call, retentionPeriod: 90, schedule: {frequency: DAILY}}
";

/// How a command ended, and what it said.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Why there is no report: one line, and nothing beside it.
    fn complaint(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        self.err.strip_prefix("patchbay: ").expect("it says who speaks")
    }
}

async fn retention(arguments: &[&str]) -> Ended {
    Ended::of(run(&[&["retention"], arguments].concat()).await)
}

/// The same, of the function that is deployed behind this API.
async fn deployed(api: &InvokeApi, arguments: &[&str]) -> Ended {
    invoked_at(&api.url(), arguments).await
}

async fn invoked_at(url: &str, arguments: &[&str]) -> Ended {
    let mut command = patchbay(&[&["retention"], arguments].concat());
    command
        .env("AWS_ENDPOINT_URL_LAMBDA", url)
        .env("AWS_ACCESS_KEY_ID", "somebody")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "eu-west-1")
        .env("NO_PROXY", "127.0.0.1");
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    Ended::of(ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).expect("it can be run"))
}

async fn api_of(world: &World) -> InvokeApi {
    InvokeApi::start("patchbay-retention", &format!("{}/retention", world.gateway.url())).await
}

/// A file in a directory of the test's own.
fn written(directory: &Directory, name: &str, text: &str) -> String {
    let file = directory.file(name);
    std::fs::write(&file, text).expect("a file can be written in the target directory");
    file
}

/// The words of the line of a table that begins so.
fn cells<'a>(ended: &'a Ended, name: &str) -> Vec<&'a str> {
    let line = ended.out.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no line begins with {name}: {ended:?}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[tokio::test]
async fn the_example_is_planned_and_deployed_on_both_surfaces() {
    for surface in ["platform", "guide"] {
        let served = Served::start(&["serve", "--port", "0", "--genesys-api", surface]).await;
        let url = served.address("gateway").to_owned();
        let promised = format!("cargo run -- retention plan examples/retention.yaml --url {url}");
        assert!(served.banner.iter().any(|line| line.ends_with(&promised)), "{:?}", served.banner);

        let plan = retention(&["plan", EXAMPLE, "--url", &url]).await;
        assert_eq!(plan.code, Some(0), "{plan:?}");
        assert_eq!(cells(&plan, "Sales calls"), ["Sales calls", "create", "call", "365", "0 → 5475", "-"]);
        assert_eq!(cells(&plan, "Support emails")[..4], ["Support emails", "merge", "email", "90 → 100"]);
        assert_eq!(cells(&plan, "compliance"), ["compliance", "PENDING"]);

        let ran = retention(&["run", EXAMPLE, "--url", &format!("{url}/")]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(cells(&ran, "Sales calls")[..5], ["Sales calls", "created", "call", "365", "5475"]);
        assert_eq!(cells(&ran, "Support emails")[..4], ["Support emails", "merged", "email", "90 → 100"]);
        assert_eq!(cells(&ran, "compliance"), ["compliance", "VERIFIED"]);
        assert_eq!(cells(&ran, "tags"), ["tags", "GDPR, MIFID-II"]);

        let again = retention(&["run", EXAMPLE, "--json", "--url", &url]).await;
        assert_eq!(again.code, Some(0), "{again:?}");
        let statuses: Vec<_> =
            again.report()["policies"].as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
        assert_eq!(statuses, ["unchanged", "unchanged"]);
        assert_eq!(served.interrupt().await.0, Some(0));
    }
}

#[tokio::test]
async fn a_report_is_given_as_it_came() {
    let world = World::start(Surface::Platform).await;
    let directory = Directory::new("report-as-it-came");
    let file = written(&directory, "order.yaml", CALLS);

    let ended = retention(&["run", &file, "--json", "--url", &world.gateway.url()]).await;

    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    let report = ended.report();
    assert_eq!(report["version"], "1.0.0");
    assert_eq!(report["policies"][0]["policyId"], world.genesys.policies()[0].id.as_str());
    assert_eq!(report["events"][0]["event"], "POLICY_CREATED");
}

#[tokio::test]
async fn the_exit_code_says_who_is_to_act() {
    let directory = Directory::new("exit-codes");
    let good = written(&directory, "good.yaml", CALLS);
    let bad = written(&directory, "bad.yaml", &CALLS.replace("90", "3").replace("DAILY", "HOURLY"));
    let reviewed = written(&directory, "reviewed.yaml", &CALLS.replace("merge", "review"));

    let world = World::with(Surface::Guide, &[SLOW_POLLS]).await;
    world.genesys.policies_go(PolicyCourse::job().after_polls(1));
    let url = world.gateway.url();
    let invalid = retention(&["plan", &bad, "--url", &url]).await;
    assert_eq!(invalid.code, Some(2), "{invalid:?}");
    assert!(invalid.out.contains("\n  retentionPeriod must be at least 7 days"), "{invalid:?}");
    assert!(invalid.out.contains("schedule.frequency must be"), "{invalid:?}");
    let pending = retention(&["run", &good, "--url", &url]).await;
    assert_eq!(pending.code, Some(3), "{pending:?}");
    assert!(pending.out.contains("\n  its job: "), "{pending:?}");
    assert_eq!(retention(&["resume", &good, "--url", &url]).await.code, Some(3), "a file is not needed");
    let created = retention(&["resume", "--url", &url]).await;
    assert_eq!(created.code, Some(0), "{created:?}");
    assert_eq!(cells(&created, "Calls")[1], "created");
    let idle = retention(&["resume", "--url", &url]).await;
    assert_eq!((idle.code, idle.out.as_str()), (Some(0), "Nothing is under way.\n"), "{idle:?}");

    let world = World::start(Surface::Platform).await;
    world.genesys.policy("other", Policy::new("Others", "call", 99));
    let review = retention(&["run", &reviewed, "--url", &world.gateway.url()]).await;
    assert_eq!(review.code, Some(2), "{review:?}");
    assert!(review.out.contains("\n  it overlaps with Others (99 days)"), "{review:?}");
    world.genesys.remove_policy("other");
    world.genesys.policies_go(PolicyCourse::refuses());
    let failed = retention(&["run", &good, "--url", &world.gateway.url()]).await;
    assert_eq!((failed.code, cells(&failed, "Calls")[1]), (Some(2), "failed"), "{failed:?}");
}

#[tokio::test]
async fn what_cannot_be_ordered_is_said_in_one_line() {
    let world = World::start(Surface::Platform).await;
    let directory = Directory::new("no-order");
    let url = world.gateway.url();
    let order = |name: &str, text: &str| written(&directory, name, text);
    let said = async |file: &str| retention(&["run", file, "--url", &url]).await.complaint().to_owned();

    let missing = said(&directory.file("missing.yaml")).await;
    assert!(missing.contains("missing.yaml cannot be read: No such file"), "{missing}");
    for (name, text, expected) in [
        ("cut.yaml", "policies:\n  - {name: a\n", "cut.yaml:3:1: "),
        ("twice.yaml", "licenseTier: STANDARD\nlicenseTier: ENTERPRISE\n", "twice.yaml:2:1: duplicated key"),
        ("list.yaml", "- a\n", "list.yaml:1:1: an order has members"),
        ("cut.json", "{\n\"policies\": [", "cut.json:2:"),
        // The function is the one that finds what is there twice.
        (
            "twice.json",
            r#"{"licenseTier": "STANDARD", "onDrift": "report", "onDrift": "apply"}"#,
            "invalid-request: ",
        ),
        (
            "none.yaml",
            "licenseTier: STANDARD\npolicies: []\n",
            "invalid-request: policies must be a list of at least",
        ),
        ("tier.yaml", "policies: []\n", "invalid-request: licenseTier is missing"),
    ] {
        let complaint = said(&order(name, text)).await;
        assert!(complaint.contains(expected), "{name}: {complaint}");
    }
    assert_eq!(world.genesys.request_count(Operation::CreatePolicy), 0);
    // Without a file there is no order.
    let ended = retention(&["plan"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("<FILE>"), "{ended:?}");
}

#[tokio::test]
async fn a_stack_that_is_not_up_or_is_none_is_named_with_the_way_out() {
    // Bound, so that nobody else gets it, and not listening.
    let unused = TcpSocket::new_v4().unwrap();
    unused.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    let nobody = retention(&["resume", "--url", &url]).await;
    let complaint = nobody.complaint();
    assert!(complaint.starts_with(&format!("nobody listens at {url}/retention; `cargo run`")), "{complaint}");

    let bus = Bus::start().await.unwrap();
    let another = retention(&["resume", "--url", &bus.url()]).await;
    assert!(another.complaint().ends_with("answered, but not with a report: nothing\n"), "{another:?}");
    let no_address = retention(&["resume", "--url", "local"]).await;
    assert!(no_address.complaint().contains("local/retention cannot be asked"), "{no_address:?}");
}

#[tokio::test]
async fn the_deployed_function_is_invoked_once_and_waited_for() {
    let world = World::start(Surface::Platform).await;
    let api = api_of(&world).await;
    let directory = Directory::new("deployed");
    let file = written(&directory, "order.yaml", CALLS);
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:patchbay-retention";

    let plan = deployed(&api, &["plan", &file, "--function", "patchbay-retention"]).await;
    let ran = deployed(&api, &["run", &file, "--function", arn, "--json"]).await;

    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert_eq!(cells(&plan, "Calls")[..4], ["Calls", "create", "call", "90"]);
    assert_eq!(ran.report()["policies"][0]["status"], "created");
    let invoked = api.invoked();
    assert_eq!(
        invoked.iter().map(|it| it.function.as_str()).collect::<Vec<_>>(),
        ["patchbay-retention", arn]
    );
    for (invoked, run) in invoked.iter().zip(["plan", "run"]) {
        assert!(invoked.is_signed);
        assert!(invoked.invocation_type.as_deref().is_none_or(|it| it == "RequestResponse"), "{invoked:?}");
        let payload: Value = serde_json::from_str(&invoked.payload).unwrap();
        assert_eq!(payload["run"], run);
        assert_eq!(payload["policies"][0]["retentionPeriod"], 90);
    }
}

#[tokio::test]
async fn a_function_that_fails_or_cannot_be_invoked_is_quoted_and_not_asked_again() {
    let world = World::start(Surface::Platform).await;
    let api = api_of(&world).await;
    let directory = Directory::new("function-error");
    let file = written(&directory, "order.yaml", "licenseTier: STANDARD\n");
    let run = async || deployed(&api, &["run", &file, "--function", "patchbay-retention"]).await;

    assert_eq!(run().await.complaint().trim(), "InvalidRequest: policies is missing.");
    let unknown = deployed(&api, &["resume", "--function", "another"]).await;
    assert!(unknown.complaint().starts_with("ResourceNotFoundException: Function not found"), "{unknown:?}");
    api.fail_with(json!({"errorMessage": "2026-11-22T12:00:00Z 4711 Task timed out after 3.00 seconds"}));
    assert!(run().await.complaint().contains("Task timed out after 3.00 seconds"));
    for (status, kind) in [(429, "TooManyRequestsException"), (500, "ServiceException")] {
        api.refuse_with(StatusCode::from_u16(status).unwrap(), kind);
        let before = api.invoked().len();
        assert_eq!(run().await.complaint().trim(), format!("{kind}: It is meant to refuse."));
        assert_eq!(api.invoked().len(), before + 1, "a run is never ordered twice");
    }
    api.answer_with(json!("done"));
    assert!(run().await.complaint().contains(r#"not with a report: "done""#));
}

#[tokio::test]
async fn without_credentials_or_a_region_nobody_is_invoked() {
    let somebody = [("AWS_ACCESS_KEY_ID", "somebody"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    for (variables, expected) in [
        (&[("AWS_REGION", "eu-west-1")][..], "patchbay-retention could not be invoked: "),
        (&somebody, "no region is known: set AWS_REGION"),
    ] {
        let mut command = patchbay(&["retention", "resume", "--function", "patchbay-retention"]);
        command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());

        let ended = Ended::of(command.output().await.unwrap());

        assert!(ended.complaint().starts_with(expected), "{ended:?}");
    }
}

/// Takes one connection, and cuts it when something was sent.
async fn cut(listener: TcpListener) {
    let (mut connection, _) = listener.accept().await.expect("somebody connects");
    assert!(connection.read(&mut [0; 1024]).await.expect("something comes") > 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_told_apart_from_nobody_there() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let arguments = ["resume", "--url", &url];
    let (lost, ()) = tokio::join!(retention(&arguments), cut(listener));
    assert!(lost.complaint().contains("/retention gave no answer; what it began, if it did, is carried on"));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let arguments = ["resume", "--function", "some"];
    let (lost, ()) = tokio::join!(invoked_at(&url, &arguments), cut(listener));
    assert!(lost.complaint().starts_with("some gave no answer; what it began"), "{lost:?}");
}

/// What a stack of this process told of retention.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Somebody was told that a policy is created.
static CREATED: Notify = Notify::const_new();

#[tokio::test]
async fn a_stack_carries_on_what_is_pending_and_tells_what_is_news() {
    let tell = |line: &str| {
        if line.starts_with("retention: ") {
            TOLD.lock().unwrap().push(line.to_owned());
        }
        if line.ends_with("created") {
            CREATED.notify_one();
        }
    };
    let options = Options {
        port: 0,
        data: None,
        surface: Surface::Guide,
        retry_base_ms: 1,
        retention_poll_base_ms: 60_000,
        notice_retry_seconds: "1",
        sweep_every: Duration::from_secs(1),
        resume_every: Duration::from_millis(10),
        tell,
    };
    let stack = Stack::start(&options).await.unwrap();
    stack.simulator.policies_go(PolicyCourse::job().after_polls(2));
    let directory = Directory::new("carried-on");
    let file = written(&directory, "order.yaml", CALLS);

    let ran = retention(&["run", &file, "--url", &stack.gateway.url()]).await;
    let created = tokio::time::timeout(PATIENCE, CREATED.notified()).await;

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(created.is_ok(), "{:?}", TOLD.lock().unwrap());
    let told = TOLD.lock().unwrap().clone();
    assert_eq!(told, ["retention: Calls is pending", "retention: Calls is created"]);
    stack.stop().await;
}
