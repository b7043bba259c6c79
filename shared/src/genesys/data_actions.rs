//! Executing a data action: one call, and an account of how it went.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use reqwest::StatusCode;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::auth::{self, Token, Tokens};
use super::connection::Connection;
use super::is_opaque_id;
use super::retry::{self, RetryPolicy};
use super::settings::{Settings, Surface};
use crate::clock::Clock;
use crate::idempotency::{Answer, Key, MAX_TEXT_BYTES, Repetition};
use crate::retry_after;
use crate::telemetry::{self, Metric, chain, millis};

/// The longest an attempt is waited for. An action may run for 60 s; then the answer still has to travel.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(75);

/// The data actions of one Genesys Cloud organisation.
#[derive(Debug)]
pub struct DataActions {
    http: reqwest::Client,
    api_url: String,
    route: Route,
    retry: RetryPolicy,
    tokens: Tokens,
    clock: Clock,
}

/// A data action's id: opaque, such as `custom_-_` and a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataActionId(String);

impl DataActionId {
    /// Parses an id, so that it can reach a path.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if is_opaque_id(text) { Ok(Self(text.to_owned())) } else { Err(BadId) }
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 letters, digits, dots, underscores, tildes or hyphens")]
pub struct BadId;

/// Which of the published and the guides' routes executes an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Platform API v2: the input is the body.
    Platform,
    /// The guides' `execute`: the input is the body, and `Idempotency-Key` is honoured.
    GuideExecute,
    /// The guides' `invoke`: the body is `{"input": …}`, and `Idempotency-Key` is honoured.
    GuideInvoke,
}

impl Route {
    /// The surface it belongs to.
    #[must_use]
    pub fn surface(self) -> Surface {
        match self {
            Self::Platform => Surface::Platform,
            Self::GuideExecute | Self::GuideInvoke => Surface::Guide,
        }
    }

    fn path(self, id: &DataActionId) -> String {
        let DataActionId(id) = id;
        match self {
            Self::Platform => format!("/api/v2/integrations/actions/{id}/execute"),
            Self::GuideExecute => format!("/api/v2/integrations/dataactions/{id}/execute"),
            Self::GuideInvoke => format!("/api/v2/dataactions/actions/{id}/invoke"),
        }
    }

    fn body(self, input: &RawValue) -> String {
        match self {
            Self::Platform | Self::GuideExecute => input.get().to_owned(),
            Self::GuideInvoke => format!("{{\"input\":{}}}", input.get()),
        }
    }
}

/// How the work went, after as many attempts as were safe and due.
#[derive(Debug)]
pub enum Attempt {
    /// It was answered for good, and this is how.
    Answered(Answer),
    /// It was done, and its answer is larger than can be kept or given.
    TooLarge,
    /// It certainly did not happen, or may be repeated without harm.
    NotPerformed(NotPerformed),
    /// It may have happened; why that is not known.
    Unclear(&'static str),
}

/// Why it did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPerformed {
    /// The upstream could not be reached, or is in trouble and may be called again without harm.
    Unavailable,
    /// The upstream refused our credentials or permissions.
    Rejected,
    /// The upstream sent us elsewhere, where we do not go.
    Redirected,
    /// The upstream asks for patience.
    RateLimited {
        /// For how long, if it said so.
        retry_after: Option<Duration>,
    },
}

/// How one attempt ended.
enum Ended {
    Answered(Answer),
    TooLarge,
    Unauthorized,
    /// The token was refused, and no other could be had.
    NoToken(NotPerformed),
    NotPerformed(NotPerformed),
    Unclear(&'static str),
}

/// Whether a refused token has been renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Due,
    Done,
}

impl DataActions {
    /// A client; connects when first used.
    pub fn new(
        settings: &Settings,
        route: Route,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let http = super::http_client()?;
        let tokens = Tokens::new(settings, aws, http.clone(), clock.clone());
        Ok(Self { http, api_url: settings.api_url.clone(), route, retry: settings.retry, tokens, clock })
    }

    /// A token for [`execute`](Self::execute): to be had before the work is claimed, because from the claim on
    /// every moment is one in which a crash leaves the outcome unknown.
    pub async fn token(&self, act_by: Instant) -> Result<Token, auth::Error> {
        self.tokens.token(act_by).await
    }

    /// Executes an action under an idempotency key, by `act_by`.
    ///
    /// What certainly did not happen is tried again; what may have happened only if `repetition` is safe. A 401
    /// renews the token once.
    pub async fn execute(
        &self,
        mut token: Token,
        id: &DataActionId,
        input: &RawValue,
        key: &Key,
        repetition: Repetition,
        act_by: Instant,
    ) -> Attempt {
        let mut renewal = Renewal::Due;
        for attempt in 1.. {
            let ended = self.attempt_renewing(&mut token, &mut renewal, id, input, key, act_by).await;
            let (end, asked) = match ended {
                Ended::Answered(answer) if answer.fits() => return Attempt::Answered(answer),
                Ended::Answered(_) | Ended::TooLarge => return Attempt::TooLarge,
                Ended::Unauthorized => return Attempt::NotPerformed(NotPerformed::Rejected),
                Ended::NoToken(reason) => return Attempt::NotPerformed(reason),
                Ended::NotPerformed(reason @ (NotPerformed::Rejected | NotPerformed::Redirected)) => {
                    return Attempt::NotPerformed(reason);
                }
                Ended::NotPerformed(reason @ NotPerformed::RateLimited { retry_after }) => {
                    telemetry::count(Metric::UpstreamRateLimited);
                    (reason, retry_after)
                }
                Ended::Unclear(why) if repetition == Repetition::Unsafe => return Attempt::Unclear(why),
                Ended::NotPerformed(NotPerformed::Unavailable) | Ended::Unclear(_) => {
                    (NotPerformed::Unavailable, None)
                }
            };
            if !self.retry.wait(attempt, asked, act_by).await {
                return Attempt::NotPerformed(end);
            }
        }
        Attempt::NotPerformed(NotPerformed::Unavailable)
    }

    /// One attempt; and when it is the first whose token is refused, another with a new token at once.
    async fn attempt_renewing(
        &self,
        token: &mut Token,
        renewal: &mut Renewal,
        id: &DataActionId,
        input: &RawValue,
        key: &Key,
        act_by: Instant,
    ) -> Ended {
        let ended = self.attempt(token, id, input, key, act_by).await;
        if !matches!(ended, Ended::Unauthorized) || *renewal == Renewal::Done {
            return ended;
        }
        *renewal = Renewal::Done;
        match self.tokens.token_after(token, act_by).await {
            Ok(renewed) => *token = renewed,
            Err(error) => {
                tracing::warn!(
                    message = "the token was refused and none other could be had",
                    error = chain(&error)
                );
                return Ended::NoToken(NotPerformed::from(&error));
            }
        }
        self.attempt(token, id, input, key, act_by).await
    }

    async fn attempt(
        &self,
        token: &Token,
        id: &DataActionId,
        input: &RawValue,
        key: &Key,
        act_by: Instant,
    ) -> Ended {
        let started = Instant::now();
        if !retry::is_time_left(started, act_by) {
            return Ended::NotPerformed(NotPerformed::Unavailable);
        }
        let request = self
            .http
            .post(format!("{}{}", self.api_url, self.route.path(id)))
            .timeout(act_by.duration_since(started).min(LONGEST_ATTEMPT))
            .bearer_auth(token.expose())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*;q=0.5")
            .header("idempotency-key", key.as_str())
            .body(self.route.body(input));
        let (sent, connection) = super::connection::observed(request.send()).await;
        let (ended, status, correlation_id) = match sent {
            Ok(response) => {
                let status = response.status().as_u16();
                let correlation_id = response.headers().get("inin-correlation-id");
                let correlation_id = correlation_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
                (self.judge(response).await, Some(status), correlation_id)
            }
            Err(error) => (failed(&error, connection), None, None),
        };
        telemetry::upstream_latency(started.elapsed());
        tracing::info!(
            message = "data action attempted",
            data_action.id = id.as_str(),
            status,
            outcome = ended.word(),
            genesys.correlation_id = correlation_id,
            duration_ms = millis(started.elapsed()),
        );
        ended
    }

    async fn judge(&self, response: reqwest::Response) -> Ended {
        match response.status() {
            status if status.is_redirection() => Ended::NotPerformed(NotPerformed::Redirected),
            StatusCode::UNAUTHORIZED => Ended::Unauthorized,
            StatusCode::FORBIDDEN => Ended::NotPerformed(NotPerformed::Rejected),
            StatusCode::TOO_MANY_REQUESTS => {
                let retry_after = retry_after::asked(response.headers(), self.clock.now());
                Ended::NotPerformed(NotPerformed::RateLimited { retry_after })
            }
            StatusCode::REQUEST_TIMEOUT => Ended::Unclear("the upstream answered 408"),
            status if status.is_success() || status.is_client_error() => read_answer(response).await,
            _ => Ended::Unclear("the upstream answered with a server error"),
        }
    }
}

impl Ended {
    /// For the log.
    fn word(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::TooLarge => "answer too large",
            Self::Unauthorized | Self::NoToken(_) => "token refused",
            Self::NotPerformed(NotPerformed::Unavailable) => "not reached",
            Self::NotPerformed(NotPerformed::Rejected) => "refused",
            Self::NotPerformed(NotPerformed::Redirected) => "redirected",
            Self::NotPerformed(NotPerformed::RateLimited { .. }) => "rate limited",
            Self::Unclear(why) => why,
        }
    }
}

impl From<&auth::Error> for NotPerformed {
    fn from(error: &auth::Error) -> Self {
        match error {
            auth::Error::Unreachable(_)
            | auth::Error::Trouble(_)
            | auth::Error::NotAToken
            | auth::Error::TimedOut
            | auth::Error::Secret(_) => Self::Unavailable,
            auth::Error::Rejected(_) | auth::Error::SecretMalformed => Self::Rejected,
            auth::Error::RateLimited { retry_after } => Self::RateLimited { retry_after: *retry_after },
        }
    }
}

/// A request for which there was never a connection was never sent, and had no effect. Of any other failure
/// nobody can say.
fn failed(error: &reqwest::Error, connection: Connection) -> Ended {
    if connection == Connection::NeverMade {
        return Ended::NotPerformed(NotPerformed::Unavailable);
    }
    Ended::Unclear(if error.is_timeout() {
        "the upstream did not answer in time"
    } else {
        "the connection was lost"
    })
}

/// Reads the answer to its end, and no further than can be kept. An answer cut short is an effect whose answer
/// is not known.
async fn read_answer(mut response: reqwest::Response) -> Ended {
    let status = response.status().as_u16();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.map(str::to_owned);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ended::Answered(Answer { status, content_type, body: Bytes::from(body) }),
            Err(error) if error.is_timeout() => return Ended::Unclear("the answer did not arrive in time"),
            Err(_) => return Ended::Unclear("the connection was lost during the answer"),
        }
        if body.len() > MAX_TEXT_BYTES {
            return Ended::TooLarge;
        }
    }
}
