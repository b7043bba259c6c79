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

pub use deadline::{Deadline, Lease};
pub use event::{Event, Invocation};
pub use http::{HttpEvent, answer, completed, read_body};
pub use runtime::{Failure, MAX_RESPONSE_BYTES};
pub use sqs::{Batch, Message, Settled};

use crate::clock::Clock;
use crate::config::Variables;
use crate::telemetry;

/// Runs a function under Lambda until the process ends.
///
/// `start` makes the function's app from the environment; when it fails, its error is logged and reported to
/// Lambda, and the process ends with a failure. `handle` answers one event.
pub async fn serve<A, E: std::error::Error>(
    function: &'static str,
    start: impl AsyncFnOnce(&Variables, &aws_config::SdkConfig, Clock) -> Result<A, E>,
    handle: impl AsyncFn(&A, Event, Invocation) -> Result<Vec<u8>, Failure>,
) -> ExitCode {
    let variables = Variables::of_this_process();
    let clock = Clock::system();
    telemetry::init(function, telemetry::level_of(&variables), clock.clone());
    let runtime = match runtime::Runtime::connect(&variables, clock.clone()) {
        Ok(runtime) => runtime,
        Err(error) => return refuse_to_start(&error),
    };
    let aws = aws_config(&variables).await;
    match start(&variables, &aws, clock).await {
        Ok(app) => {
            runtime.run(async |event, invocation| Box::pin(handle(&app, event, invocation)).await).await
        }
        Err(error) => {
            runtime.report_failed_start(&telemetry::chain(&error)).await;
            refuse_to_start(&error)
        }
    }
}

/// The AWS SDK's configuration. Lambda names the region in the environment; were it not there, the SDK would go
/// and ask the network for it.
async fn aws_config(variables: &Variables) -> aws_config::SdkConfig {
    let region = variables.text("AWS_REGION").or_else(|| variables.text("AWS_DEFAULT_REGION"));
    let region = region.map(|region| aws_config::Region::new(region.to_owned()));
    aws_config::defaults(aws_config::BehaviorVersion::latest()).region(region).load().await
}

fn refuse_to_start(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(message = telemetry::chain(error));
    ExitCode::FAILURE
}
