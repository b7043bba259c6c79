//! `patchbay`: everything on one machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use local::retention::{self, Form, Target, Verb};
use local::{Options, demo, serve};
use simulator::Surface;

/// Patchbay on one machine.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until Ctrl-C: gateway, simulator and database (the default)
    Serve(ServeArgs),
    /// Plays the whole story and says what held; fails if anything did not
    Demo {
        #[command(flatten)]
        surface: SurfaceArg,
    },
    /// Orders retention: of a stack on this machine, or of the deployed function
    #[command(subcommand)]
    Retention(RetentionCommand),
}

#[derive(Debug, Subcommand)]
enum RetentionCommand {
    /// Says what a run would do, and does nothing
    #[command(after_help = EXIT_CODES)]
    Plan {
        #[command(flatten)]
        order: OrderArg,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Deploys the policies of an order; what is deployed as it is written is left alone
    #[command(after_help = EXIT_CODES)]
    Run {
        #[command(flatten)]
        order: OrderArg,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Carries on what was begun and not ended, as the schedule does every few minutes
    #[command(after_help = EXIT_CODES)]
    Resume {
        /// Not needed and not read: what was begun is on record
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        call: CallArgs,
    },
}

/// What the exit codes of retention say.
const EXIT_CODES: &str = "\
Exit codes:
  0  every policy is created, updated, unchanged or merged, or would be
  1  there is no report: no order can be read, nobody answers, or the function refuses
  2  a policy is invalid or failed, has drifted or must be reviewed (also: the command line is not understood)
  3  nothing of that, but a policy is pending: resume, or the schedule, carries it on";

#[derive(Args, Debug)]
struct OrderArg {
    /// The order, without `run`: YAML, or JSON. See examples/retention.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Debug)]
struct CallArgs {
    /// Prints the report as it came, and no table
    #[arg(long)]
    json: bool,
    /// The address of a stack on this machine
    #[arg(long, value_name = "URL", default_value = retention::LOCAL_STACK)]
    url: String,
    /// Invokes this deployed function instead: its name or ARN, with the region and credentials of the AWS CLI
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    function: Option<String>,
}

impl CallArgs {
    fn target(self) -> Target {
        self.function.map_or(Target::Stack(self.url), Target::Function)
    }

    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Table }
    }
}

#[derive(Args, Debug)]
struct ServeArgs {
    /// The port of the gateway on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Keeps the database in this file, across restarts
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    surface: SurfaceArg,
}

#[derive(Args, Debug)]
struct SurfaceArg {
    /// The API surface that is spoken and simulated
    #[arg(long, value_name = "SURFACE", default_value = "platform", value_parser = surface())]
    genesys_api: Surface,
}

fn surface() -> impl TypedValueParser<Value = Surface> {
    PossibleValuesParser::new(["platform", "guide"]).try_map(|name| name.parse::<Surface>())
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(ServeArgs { port, data, surface }) => {
            let options = Options {
                port,
                data,
                surface: surface.genesys_api,
                retry_base_ms: 1000,
                retention_poll_base_ms: 200,
                notice_retry_seconds: "5,300,1800,7200,18000,36000,36000",
                sweep_every: Duration::from_secs(2),
                resume_every: Duration::from_secs(5),
                tell: serve::say,
            };
            told(serve::run(&options).await.map(|()| ExitCode::SUCCESS))
        }
        Command::Demo { surface } => told(demo::run(surface.genesys_api).await),
        Command::Retention(command) => {
            let (verb, call) = match command {
                RetentionCommand::Plan { order, call } => (Verb::Plan(order.file), call),
                RetentionCommand::Run { order, call } => (Verb::Run(order.file), call),
                RetentionCommand::Resume { file: _, call } => (Verb::Resume, call),
            };
            let form = call.form();
            told(retention::run(verb, &call.target(), form).await)
        }
    }
}

/// The exit code of a command; one that did not come about says why.
#[expect(clippy::print_stderr, reason = "where a command's errors belong")]
fn told<E: std::error::Error>(outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        // Some libraries say why in several lines.
        let why = shared::telemetry::chain(&error);
        eprintln!("patchbay: {}", why.lines().map(str::trim).collect::<Vec<_>>().join(" "));
        ExitCode::FAILURE
    })
}
