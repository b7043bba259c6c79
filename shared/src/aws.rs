//! How the AWS SDK is set up: from the environment, and over the one HTTP client.
//!
//! The SDK's own loader would also look for profiles, single sign-on and metadata services, none of which Lambda has; and
//! its own HTTP client brings a second TLS set-up, and HTTP/2, which the services that are spoken to do not need. Together
//! they were a quarter of each binary.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use bytes::Bytes;

use crate::config::Variables;

/// How long a connection to AWS may take to be made. It is in the same region, or it is in trouble.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The SDK's configuration, from what Lambda and the template put into the environment.
///
/// Fails only where the machine has no certificates to trust.
pub(crate) fn config(variables: &Variables) -> Result<SdkConfig, reqwest::Error> {
    let region = variables.text("AWS_REGION").or_else(|| variables.text("AWS_DEFAULT_REGION"));
    let is_on = |name: &str| variables.text(name).map(|value| value.eq_ignore_ascii_case("true"));
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.map(|region| Region::new(region.to_owned())))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(http_client()?)
        .service_config(Endpoints(variables.clone()));
    builder.set_endpoint_url(variables.text("AWS_ENDPOINT_URL").map(str::to_owned));
    builder.set_use_fips(is_on("AWS_USE_FIPS_ENDPOINT"));
    builder.set_use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"));
    Ok(builder.build())
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

/// What carries the SDK's requests. It keeps connections: a request that is lost on one is the SDK's to repeat, and each is
/// made so that a repeat does no harm. It uses no proxy and follows no redirect. How long an answer may take is said where
/// a service's client is made.
///
/// Fails only where the machine has no certificates to trust.
pub fn http_client() -> Result<SharedHttpClient, reqwest::Error> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .build()?;
    let connector = SharedHttpConnector::new(Connector(client));
    Ok(http_client_fn(move |_settings, _components| connector.clone()))
}

/// One exchange after the other, each as a whole: what is asked of AWS here fits into memory.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new_boxed(Box::pin(exchange(client, request)))
    }
}

async fn exchange(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (head, body) = request.into_parts();
    let body = body.bytes().map(Bytes::copy_from_slice);
    let body = body.ok_or_else(|| ConnectorError::user("the body is a stream".into()))?;
    let request = http::Request::from_parts(head, body);
    let request = request.try_into().map_err(|error: reqwest::Error| ConnectorError::user(error.into()))?;
    let response = client.execute(request).await.map_err(failed)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.map_err(failed)?;
    let mut answer = http::Response::new(SdkBody::from(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
}

/// What the SDK is to think of a failure: it repeats what ran out of time, and what got lost on the way.
fn failed(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}
