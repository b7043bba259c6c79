//! The door: how Lambda's events come in and answers go out, in one place.
//!
//! [`serve`] runs a function under Lambda. [`Event::read`] tells an HTTP proxy event (API Gateway payload 1.0 and
//! 2.0, function URL) from an SQS batch and from a direct invocation; [`Invocation`] carries what Lambda says
//! about the call, with a deadline that can be relied on.

mod runtime;
mod event;
mod http;
mod sqs;
mod deadline;

use std::process::ExitCode;

use aws_config::SdkConfig;

pub use deadline::{Deadline, Lease};
pub use event::{Event, Invocation};
pub use http::{HttpEvent, answer, completed, read_body};
pub use runtime::{Failure, MAX_RESPONSE_BYTES};
pub use sqs::{Batch, Message, Settled};

use crate::aws;
use crate::clock::Clock;
use crate::config::Variables;
use crate::telemetry;

/// Runs a function under Lambda until the process ends.
///
/// `start` makes the function's app from the environment; when it fails, its error is logged and reported to
/// Lambda, and the process ends with a failure. `handle` answers one event.
pub async fn serve<A, E: std::error::Error>(
    function: &'static str,
    start: impl AsyncFnOnce(&Variables, &SdkConfig, Clock) -> Result<A, E>,
    handle: impl AsyncFn(&A, Event, Invocation) -> Result<Vec<u8>, Failure>,
) -> ExitCode {
    let variables = Variables::of_this_process();
    let clock = Clock::system();
    telemetry::init(function, telemetry::level_of(&variables), clock.clone());
    let runtime = match runtime::Runtime::connect(&variables, clock.clone()) {
        Ok(runtime) => runtime,
        Err(error) => return refuse_to_start(&error),
    };
    let aws = match aws::config(&variables) {
        Ok(aws) => aws,
        Err(error) => return report_failed_start(&runtime, &error).await,
    };
    match start(&variables, &aws, clock).await {
        Ok(app) => {
            runtime.run(async |event, invocation| Box::pin(handle(&app, event, invocation)).await).await
        }
        Err(error) => report_failed_start(&runtime, &error).await,
    }
}

async fn report_failed_start(runtime: &runtime::Runtime, error: &dyn std::error::Error) -> ExitCode {
    runtime.report_failed_start(&telemetry::chain(error)).await;
    refuse_to_start(error)
}

fn refuse_to_start(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(message = telemetry::chain(error));
    ExitCode::FAILURE
}
