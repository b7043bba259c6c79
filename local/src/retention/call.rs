//! Asks the function: the route of a local stack, or the deployed one through AWS.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use serde_json::Value;

use crate::retention::{Target, printable};

/// The longest that a function runs.
const PATIENCE: Duration = Duration::from_mins(15);

/// How much of an answer is repeated that nobody understands.
const SHOWN: usize = 200;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no certificates to trust, or the address is none.
    #[error("{place} cannot be asked")]
    Unaskable {
        /// Who.
        place: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Nobody listens there.
    #[error("nobody listens at {place}; `cargo run` starts a stack, and --url says where it is")]
    NobodyThere {
        /// Where.
        place: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer came. It may be at work.
    #[error("{place} gave no answer; what it began, if it did, is carried on by `patchbay retention resume`")]
    Unanswered {
        /// Who.
        place: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody was asked: there may be a function of this name in every region.
    #[error("no region is known: set AWS_REGION, or a region in the AWS profile")]
    NoRegion,
    /// Nobody was asked.
    #[error("{function} could not be invoked")]
    NotInvoked {
        /// The function.
        function: String,
        /// Why.
        source: Box<SdkError<InvokeError>>,
    },
    /// The function refused, or Lambda did; in their words.
    #[error("{kind}: {detail}")]
    Refused {
        /// What kind of refusal it is.
        kind: String,
        /// Why.
        detail: String,
    },
    /// Somebody else answered.
    #[error("{place} answered, but not with a report: {shown}")]
    NoReport {
        /// Who.
        place: String,
        /// What, or its beginning.
        shown: String,
    },
}

/// The report that an order is answered with. The order goes out once, whatever happens.
pub(super) async fn order(target: &Target, payload: String) -> Result<Value, Error> {
    match target {
        Target::Stack(url) => post(url, payload).await,
        Target::Function(name) => invoke(name, payload).await,
    }
}

async fn post(url: &str, payload: String) -> Result<Value, Error> {
    let place = format!("{}/retention", url.trim_end_matches('/'));
    // A stack on this machine is not behind the machine's proxy.
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let http = http.map_err(|source| Error::Unaskable { place: place.clone(), source })?;
    let request = http.post(&place).header("content-type", "application/json").body(payload);
    let failed = |source: reqwest::Error| {
        let (place, source) = (place.clone(), source.without_url());
        if source.is_builder() {
            Error::Unaskable { place, source }
        } else if source.is_connect() {
            Error::NobodyThere { place, source }
        } else {
            Error::Unanswered { place, source: source.into() }
        }
    };
    let response = request.send().await.map_err(failed)?;
    let is_answered = response.status().is_success();
    let body = response.bytes().await.map_err(failed)?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (is_answered, problem(&answer)) {
        (true, _) => report(&place, answer, &body),
        (false, Some(problem)) => Err(problem),
        (false, None) => Err(no_report(&place, &body)),
    }
}

/// The refusal that a problem document is.
fn problem(document: &Value) -> Option<Error> {
    let kind = document["type"].as_str()?.rsplit(':').next()?;
    Some(refused(kind, document["detail"].as_str()?))
}

async fn invoke(function: &str, payload: String) -> Result<Value, Error> {
    let aws = once_and_patiently().load().await;
    if aws.region().is_none() {
        return Err(Error::NoRegion);
    }
    let invoked = aws_sdk_lambda::Client::new(&aws)
        .invoke()
        .function_name(function)
        .payload(Blob::new(payload))
        .send()
        .await;
    let output = invoked.map_err(|error| not_invoked(function, error))?;
    let body = output.payload().map(AsRef::as_ref).unwrap_or_default();
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match function_error(&output, &answer) {
        Some(error) => Err(error),
        None => report(function, answer, body),
    }
}

/// Whoever may invoke the function from here. An order that is sent again is ordered again; and until its report there
/// is nothing to hear of a run for minutes, which is no stall.
fn once_and_patiently() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

fn not_invoked(function: &str, error: SdkError<InvokeError>) -> Error {
    let function = function.to_owned();
    match error {
        SdkError::ServiceError(error) => {
            let (status, error) = (error.raw().status().as_u16(), error.err());
            let kind = error.code().map_or_else(|| format!("Lambda answered {status}"), str::to_owned);
            refused(&kind, error.message().unwrap_or("it does not say why"))
        }
        SdkError::ConstructionFailure(_) => Error::NotInvoked { function, source: Box::new(error) },
        _ if is_about_credentials(&error) => Error::NotInvoked { function, source: Box::new(error) },
        _ => Error::Unanswered { place: function, source: Box::new(error) },
    }
}

/// The SDK tells of credentials that it could not have as it tells of a connection that was lost.
fn is_about_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(<dyn std::error::Error>::is::<CredentialsError>)
}

/// The function error that an answer is, if it is one.
fn function_error(output: &InvokeOutput, answer: &Value) -> Option<Error> {
    let unnamed = output.function_error()?;
    let kind = answer["errorType"].as_str().unwrap_or(unnamed);
    Some(refused(kind, answer["errorMessage"].as_str().unwrap_or("it does not say why")))
}

fn refused(kind: &str, detail: &str) -> Error {
    Error::Refused { kind: printable(kind), detail: printable(detail) }
}

/// The report that an answer must be.
fn report(place: &str, answer: Value, body: &[u8]) -> Result<Value, Error> {
    if answer["policies"].is_array() { Ok(answer) } else { Err(no_report(place, body)) }
}

fn no_report(place: &str, body: &[u8]) -> Error {
    let text = printable(&String::from_utf8_lossy(body));
    let shown = if text.is_empty() { "nothing".to_owned() } else { text.chars().take(SHOWN).collect() };
    Error::NoReport { place: place.to_owned(), shown }
}
