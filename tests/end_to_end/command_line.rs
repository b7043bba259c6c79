//! The compiled `patchbay` command, as a person runs it.

mod retention;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use harness::runtime_api::binary;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long anything here may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

fn patchbay(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("patchbay"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Output {
    let ended = tokio::time::timeout(PATIENCE, patchbay(arguments).output()).await;
    ended.unwrap_or_else(|_| panic!("patchbay {arguments:?} does not end")).expect("it can be run")
}

/// `patchbay serve`, up.
struct Served {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    banner: Vec<String>,
}

impl Served {
    async fn start(arguments: &[&str]) -> Self {
        let mut child = patchbay(arguments).stdout(Stdio::piped()).spawn().expect("it can be run");
        let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let mut banner = Vec::new();
        while banner.last().is_none_or(|line: &String| !line.contains("Ctrl-C")) {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it comes up");
            banner.push(line.expect("its output can be read").expect("it says how it is stopped"));
        }
        Self { child, lines, banner }
    }

    /// The address in the line that begins with `name`.
    fn address(&self, name: &str) -> &str {
        let line = self.banner.iter().find(|line| line.trim_start().starts_with(name));
        let mut words = line.unwrap_or_else(|| panic!("{name}: {:?}", self.banner)).split_whitespace();
        words.find(|word| word.starts_with("http://")).expect("an address")
    }

    /// Does what the line says that begins with `prefix`, as curl would.
    async fn follow(&self, prefix: &str) -> reqwest::Response {
        let line = self.banner.iter().find_map(|line| line.strip_prefix(prefix)).expect("there is a line");
        let words = shell_words(line);
        let mut words = words.iter().map(String::as_str);
        assert_eq!((words.next(), words.next()), (Some("curl"), Some("-isS")), "{line}");
        let mut request = reqwest::Client::new().post(words.next().expect("an address"));
        while let Some(option) = words.next() {
            let value = words.next().expect("each of the options has a value").to_owned();
            request = match option {
                "-d" => request.body(value),
                "-H" => {
                    let (name, value) = value.split_once(": ").expect("a header");
                    request.header(name, value)
                }
                _ => panic!("an option that this test does not know: {option} in {line}"),
            };
        }
        request.send().await.expect("the gateway answers")
    }

    /// Ctrl-C: the exit code, and what it said last.
    async fn interrupt(mut self) -> (Option<i32>, String) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().await.expect("there is a kill");
        assert!(sent.success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops when told to");
        let mut said = String::new();
        while let Some(line) = self.lines.next_line().await.expect("its output can be read") {
            said.push_str(&line);
        }
        (ended.expect("it is a child of ours").code(), said)
    }
}

/// Splits a line at spaces, as `sh` does where there are no quotes but single ones.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (nth, piece) in line.split('\'').enumerate() {
        let is_quoted = nth % 2 == 1;
        let mut parts = if is_quoted { vec![piece] } else { piece.split(' ').collect() }.into_iter();
        words.last_mut().expect("there is a word").push_str(parts.next().unwrap_or_default());
        words.extend(parts.map(str::to_owned));
    }
    words
}

/// A directory for one test, empty now and gone afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).expect("a directory can be made in the target directory");
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the target directory has a name in UTF-8").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind is only untidy.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_demo_holds_on_both_surfaces() {
    for arguments in
        [&["demo"][..], &["demo", "--genesys-api", "platform"], &["demo", "--genesys-api", "guide"]]
    {
        let output = run(arguments).await;

        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.trim_end().ends_with("Everything held."), "{said}");
        assert!(!said.contains(" NO "), "{said}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_way_out() {
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();

    for arguments in [&["--port", &port][..], &["serve", "--port", &port]] {
        let output = run(arguments).await;

        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code().is_some_and(|code| code != 0), "{said}");
        assert!(said.contains(&port) && said.contains("--port"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn an_argument_nobody_knows_is_refused_and_named() {
    for (arguments, named) in [
        (&["--prot", "1"][..], "--prot"),
        (&["--genesys-api", "both"], "both"),
        (&["serve", "--port", "http"], "http"),
        (&["dmeo"], "dmeo"),
    ] {
        let output = run(arguments).await;

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
}

#[tokio::test]
async fn every_printed_address_answers() {
    let served = Served::start(&["--port", "0", "--genesys-api", "guide"]).await;
    let http = reqwest::Client::new();

    let gateway = http.post(format!("{}/webhooks/genesys", served.address("gateway"))).send().await.unwrap();
    assert_eq!(gateway.status(), 401);
    let panel = http.get(format!("{}/_simulator", served.address("simulator"))).send().await.unwrap();
    assert_eq!(panel.status(), 200);
    let tables = http
        .post(served.address("database"))
        .header("x-amz-target", "DynamoDB_20120810.ListTables")
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
        .header("x-amz-date", "20260101T000000Z")
        .body("{}");
    let tables: Value = tables.send().await.unwrap().json().await.unwrap();
    assert_eq!(tables["TableNames"], serde_json::json!(["patchbay"]));
    assert_eq!(served.interrupt().await.0, Some(0));
}

#[tokio::test]
async fn the_printed_lines_do_what_they_promise() {
    let served = Served::start(&["serve", "--port", "0"]).await;
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();

    for _ in 0..2 {
        let run = served.follow("try: ").await;
        assert_eq!(run.status(), 200);
        let replayed = run.headers().contains_key("idempotent-replayed").to_string();
        let answer: Value = run.json().await.unwrap();
        assert_eq!(answer, serde_json::json!({"echo": {"customer": 42}, "execution": 1}));
        told.entry("try").or_default().push(replayed);
        let event: Value = served.follow("and: ").await.json().await.unwrap();
        told.entry("and").or_default().push(event["status"].as_str().unwrap().to_owned());
    }

    assert_eq!(told["try"], ["false", "true"]);
    assert_eq!(told["and"], ["ACKNOWLEDGED", "DUPLICATE"]);
}

#[tokio::test]
async fn what_is_kept_in_a_file_is_known_after_a_restart() {
    let directory = Directory::new("restart");
    let file = directory.file("patchbay.db");
    let arguments = ["serve", "--port", "0", "--data", file.as_str()];

    let served = Served::start(&arguments).await;
    assert!(served.banner.iter().any(|line| line.contains(&file)), "{:?}", served.banner);
    let event: Value = served.follow("and: ").await.json().await.unwrap();
    assert_eq!(event["status"], "ACKNOWLEDGED");
    assert!(!served.follow("try: ").await.headers().contains_key("idempotent-replayed"));
    let (code, said) = served.interrupt().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("stopping"), "{said}");

    let served = Served::start(&arguments).await;
    let event: Value = served.follow("and: ").await.json().await.unwrap();
    assert_eq!(event["status"], "DUPLICATE");
    assert!(served.follow("try: ").await.headers().contains_key("idempotent-replayed"));
    assert_eq!(served.interrupt().await.0, Some(0));
}
