//! `patchbay`: everything on one machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
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
    let outcome = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(ServeArgs { port, data, surface }) => {
            let options = Options {
                port,
                data,
                surface: surface.genesys_api,
                retry_base_ms: 1000,
                notice_retry_seconds: "5,300,1800,7200,18000,36000,36000",
                sweep_every: Duration::from_secs(2),
                tell: serve::say,
            };
            serve::run(&options).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Demo { surface } => demo::run(surface.genesys_api).await,
    };
    outcome.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stderr, reason = "where a command's errors belong")]
fn complain(error: &local::Error) {
    eprintln!("patchbay: {}", shared::telemetry::chain(error));
}
