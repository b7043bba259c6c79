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

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

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
    let aws = aws_config(&variables);
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

/// The AWS SDK's configuration, from what Lambda and the template put into the environment. The SDK's own loader would
/// also look for profiles, single sign-on and metadata services, none of which Lambda has, and that is a tenth of each
/// binary.
fn aws_config(variables: &Variables) -> SdkConfig {
    let region = variables.text("AWS_REGION").or_else(|| variables.text("AWS_DEFAULT_REGION"));
    let is_on = |name: &str| variables.text(name).map(|value| value.eq_ignore_ascii_case("true"));
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.map(|region| Region::new(region.to_owned())))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .service_config(Endpoints(variables.clone()));
    builder.set_endpoint_url(variables.text("AWS_ENDPOINT_URL").map(str::to_owned));
    builder.set_use_fips(is_on("AWS_USE_FIPS_ENDPOINT"));
    builder.set_use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"));
    builder.build()
}

/// The variables that give a service an endpoint of its own, such as `AWS_ENDPOINT_URL_DYNAMODB`.
#[derive(Debug)]
struct Endpoints(Variables);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace(' ', "_");
        self.0.text(&format!("{}_{service}", key.env())).map(str::to_owned)
    }
}

fn refuse_to_start(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(message = telemetry::chain(error));
    ExitCode::FAILURE
}
