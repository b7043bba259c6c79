//! Runs a compiled Lambda binary the way AWS does: a process, and the Runtime API it polls.
//!
//! One `Lambda` is one execution environment: it has one invocation in hand at a time, and those that wait
//! behind it are handed over in order. A binary that asks for the next invocation without having answered
//! the one before has given that one up; one that exits has given up everything. Either is `Answer::Died`.
//! Dropping a `Lambda` kills its process.
//!
//! The protocol: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

mod answer;
mod binary;
mod server;

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use answer::{Answer, HttpAnswer};
pub use binary::binary;
use server::Api;

/// Starts the same binary `n` times: as many invocations can then run at once.
pub async fn fleet(binary: &Path, variables: &[(String, String)], n: usize) -> Vec<Lambda> {
    let mut fleet = Vec::with_capacity(n);
    for _ in 0..n {
        fleet.push(Lambda::start(binary, variables).await);
    }
    fleet
}

/// One running binary and its Runtime API.
#[derive(Debug)]
pub struct Lambda {
    api: Arc<Api>,
    output: Arc<Output>,
    kill: Arc<Notify>,
    exited: watch::Receiver<Option<ExitStatus>>,
    _tasks: JoinSet<()>,
}

impl Lambda {
    /// Starts the process, with nothing in its environment but what AWS sets and `variables` (which win).
    /// Does not wait for its first poll: an invocation does.
    ///
    /// # Panics
    ///
    /// When the process cannot be started.
    pub async fn start(binary: &Path, variables: &[(String, String)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let name = binary.file_stem().map_or_else(|| "function".into(), |name| name.to_string_lossy());

        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(server::environment(&name, address))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = Instant::now();
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));

        let api = Arc::new(Api::new(&name, started));
        let output = Arc::new(Output::default());
        let kill = Arc::new(Notify::new());
        let (exit, exited) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, Arc::clone(&api)));
        tasks.spawn(attend(child, Arc::clone(&output), Arc::clone(&kill), Arc::clone(&api), exit));
        Self { api, output, kill, exited, _tasks: tasks }
    }

    /// Invokes the function with 30 s to go, and waits for the answer.
    ///
    /// # Panics
    ///
    /// After a minute without an answer, with the output of the process.
    pub async fn invoke(&self, payload: impl Into<Vec<u8>>) -> Answer {
        self.invoke_with(Invocation::new(payload)).await
    }

    /// Invokes the function and waits for the answer.
    ///
    /// # Panics
    ///
    /// After a minute without an answer, with the output of the process.
    pub async fn invoke_with(&self, invocation: Invocation) -> Answer {
        self.begin(invocation).await
    }

    /// Queues the invocation right away; the future, which may outlive the `Lambda`, resolves to the answer.
    ///
    /// # Panics
    ///
    /// The future does, after a minute without an answer, with the output of the process.
    pub fn begin(&self, invocation: Invocation) -> impl Future<Output = Answer> + Send + use<> {
        let answer = self.api.enqueue(invocation);
        let output = Arc::clone(&self.output);
        async move {
            let Ok(answer) = tokio::time::timeout(PATIENCE, answer).await else {
                panic!("no answer within {PATIENCE:?}; the process said:\n{}", output.text())
            };
            answer.unwrap_or(Answer::Died)
        }
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub async fn kill(&self) {
        self.kill.notify_one();
        self.exit().await;
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    ///
    /// When it is still there after a minute, with its output.
    pub async fn exit(&self) -> ExitStatus {
        let mut exited = self.exited.clone();
        let ended = tokio::time::timeout(PATIENCE, exited.wait_for(Option::is_some)).await;
        let Ok(ended) = ended else {
            panic!("still running after {PATIENCE:?}; the process said:\n{}", self.output())
        };
        let status = *ended.expect("the task that watches over the process tells its end before it ends");
        status.expect("it was waited for until there was one")
    }

    /// Whether the process has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exited.borrow().is_none()
    }

    /// What the process has written so far, standard output and error as they came, line by line.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// What the process reported to `/runtime/init/error`, if it did.
    #[must_use]
    pub fn init_error(&self) -> Option<Value> {
        self.api.init_error()
    }

    /// The time from the start of the process to its first poll, if it has polled.
    #[must_use]
    pub fn first_poll_after(&self) -> Option<Duration> {
        self.api.first_poll_after()
    }

    /// Resolves to `first_poll_after` when the process has polled; to nothing when it ends before.
    ///
    /// # Panics
    ///
    /// When it has done neither after a minute, with its output.
    pub async fn ready(&self) -> Option<Duration> {
        let Ok(first_poll) = tokio::time::timeout(PATIENCE, self.api.polled()).await else {
            panic!("no poll within {PATIENCE:?}; the process said:\n{}", self.output())
        };
        first_poll
    }
}

/// One event for the function, and what the Runtime API says about it.
#[derive(Clone, Debug)]
pub struct Invocation {
    payload: Vec<u8>,
    request_id: Option<String>,
    deadline: Deadline,
    client_context: Option<String>,
    trace: Option<String>,
}

impl Invocation {
    /// An invocation with 30 s to go, an id of its own, a trace that is not sampled, and no client context.
    #[must_use]
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            payload: payload.into(),
            request_id: None,
            deadline: Deadline::In(Duration::from_secs(30)),
            client_context: None,
            trace: Some(NOT_SAMPLED.to_owned()),
        }
    }

    /// Sets the AWS request id: a retry of an asynchronous invocation repeats it.
    #[must_use]
    pub fn request_id(self, id: impl Into<String>) -> Self {
        Self { request_id: Some(id.into()), ..self }
    }

    /// Sets the deadline.
    #[must_use]
    pub fn deadline(self, deadline: Deadline) -> Self {
        Self { deadline, ..self }
    }

    /// Sets the client context header, as it is.
    #[must_use]
    pub fn client_context(self, raw: impl Into<String>) -> Self {
        Self { client_context: Some(raw.into()), ..self }
    }

    /// Sets the trace header, as it is.
    #[must_use]
    pub fn trace(self, raw: impl Into<String>) -> Self {
        Self { trace: Some(raw.into()), ..self }
    }

    /// Leaves the trace header out.
    #[must_use]
    pub fn without_trace(self) -> Self {
        Self { trace: None, ..self }
    }
}

impl From<&Value> for Invocation {
    fn from(event: &Value) -> Self {
        Self::new(event.to_string())
    }
}

/// When the function's time is up, in the header `Lambda-Runtime-Deadline-Ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// That long after the binary is handed the invocation.
    In(Duration),
    /// At so many milliseconds since 1970.
    At(u64),
    /// The header is left out.
    Missing,
}

/// What Lambda says in `Lambda-Runtime-Trace-Id` of a function that is not traced.
const NOT_SAMPLED: &str = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0";

/// How long anything here may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the pipes of a process may stay open after its end, should a child of its own hold them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Watches over the process: collects what it says, kills it when told, and tells its end.
async fn attend(
    mut child: Child,
    output: Arc<Output>,
    kill: Arc<Notify>,
    api: Arc<Api>,
    exit: watch::Sender<Option<ExitStatus>>,
) {
    let mut readers = JoinSet::new();
    readers.spawn(collect(child.stdout.take(), Arc::clone(&output)));
    readers.spawn(collect(child.stderr.take(), output));

    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = kill.notified() => {
            // It fails only when the process has just ended by itself.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, readers.join_all()).await;
    exit.send_replace(Some(ended.expect("a child of ours can be waited for")));
    api.end();
}

async fn collect(pipe: Option<impl AsyncRead + Unpin>, output: Arc<Output>) {
    let mut pipe = BufReader::new(pipe.expect("both pipes were asked for"));
    loop {
        let mut line = Vec::new();
        match pipe.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => output.push(&line),
        }
    }
}

#[derive(Debug, Default)]
struct Output(Mutex<String>);

impl Output {
    fn push(&self, line: &[u8]) {
        self.0
            .lock()
            .expect("nothing panics while it holds the output")
            .push_str(&String::from_utf8_lossy(line));
    }

    fn text(&self) -> String {
        self.0.lock().expect("nothing panics while it holds the output").clone()
    }
}
