//! One call of the API: sent with a token, tried as often as is safe, and judged by what its ending proves.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use reqwest::StatusCode;
use tokio::time::Instant;

use super::auth::{self, Token, Tokens};
use super::connection::Connection;
use super::retry::{self, RetryPolicy};
use super::settings::{Settings, Surface};
use crate::clock::Clock;
use crate::idempotency::{Answer, Key, MAX_TEXT_BYTES, Repetition};
use crate::problem::{Kind, Problem, USUAL_PATIENCE};
use crate::retry_after;
use crate::telemetry::{self, Metric, chain, millis};
use crate::trace;

/// The API of one Genesys Cloud organisation.
#[derive(Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    url: String,
    surface: Surface,
    retry: RetryPolicy,
    tokens: Tokens,
    clock: Clock,
}

/// What is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    /// The operation, for the log.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// Path and query; ids in it have been parsed.
    pub(super) path: String,
    /// JSON.
    pub(super) body: Option<String>,
    pub(super) key: Option<&'a Key>,
    /// Names the request at the other side, which does not tell repeats by it.
    pub(super) request_id: Option<&'a str>,
    pub(super) repetition: Repetition,
    /// The longest an attempt is waited for.
    pub(super) patience: Duration,
    /// The longest wait that the upstream may ask for between two attempts; what would take longer is for the caller to
    /// come back to.
    pub(super) longest_wait: Duration,
}

impl Call<'_> {
    /// A look: it changes nothing, so it may be repeated.
    pub(super) fn get(operation: &'static str, path: String) -> Self {
        let patience = Duration::from_secs(5);
        Self {
            operation,
            method: Method::GET,
            path,
            body: None,
            key: None,
            request_id: None,
            repetition: Repetition::Safe,
            patience,
            longest_wait: Duration::MAX,
        }
    }
}

/// How a call went.
#[derive(Debug)]
pub struct Called {
    /// What its ending proves.
    pub attempt: Attempt,
    /// Genesys Cloud's name for the last attempt, if it answered.
    pub correlation_id: Option<String>,
    /// The job that the answer names in its header `x-job-id`.
    pub(super) job_id: Option<String>,
    /// How many attempts in a row, up to the last, met a server error, a timeout or nobody at all.
    pub(super) failures: u32,
}

/// What the headers of an answer say, beside the answer itself.
#[derive(Default)]
struct Beside {
    correlation_id: Option<String>,
    job_id: Option<String>,
}

impl Beside {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { correlation_id: text("inin-correlation-id"), job_id: text("x-job-id") }
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
    /// There was no time left to call it.
    OutOfTime,
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

impl NotPerformed {
    /// What the caller is told.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::Unavailable => Problem::new(
                Kind::UpstreamUnavailable,
                "Genesys Cloud, or what it takes to call it, could not be reached or is in trouble. Try again.",
            )
            .retry_after(USUAL_PATIENCE),
            Self::OutOfTime => Problem::new(
                Kind::UpstreamUnavailable,
                "There was no time left to call Genesys Cloud. Try again.",
            )
            .retry_after(USUAL_PATIENCE),
            Self::Rejected => {
                Problem::new(Kind::UpstreamRejected, "Genesys Cloud refused our credentials or permissions.")
            }
            Self::Redirected => Problem::new(
                Kind::UpstreamRejected,
                "Genesys Cloud redirected the call, and redirects are not followed.",
            ),
            Self::RateLimited { retry_after } => Problem::new(
                Kind::UpstreamRateLimited,
                "Genesys Cloud limits the rate of calls. Nothing was done; try again later.",
            )
            .retry_after(retry_after.unwrap_or(USUAL_PATIENCE)),
        }
    }

    /// Why it did not happen, for the record and the log.
    #[must_use]
    pub fn because(self) -> &'static str {
        match self {
            Self::Unavailable => "the upstream could not be reached, or is in trouble where a repeat is safe",
            Self::OutOfTime => "there was no time left to call the upstream",
            Self::Rejected => "the upstream refused us",
            Self::Redirected => "the upstream redirected us",
            Self::RateLimited { .. } => "the upstream asked for patience",
        }
    }
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

impl Api {
    /// A client; connects when first used.
    pub(super) fn new(
        settings: &Settings,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let http = super::http_client()?;
        let tokens = Tokens::new(settings, aws, http.clone(), clock.clone());
        let (url, surface, retry) = (settings.api_url.clone(), settings.surface, settings.retry);
        Ok(Self { http, url, surface, retry, tokens, clock })
    }

    pub(super) fn surface(&self) -> Surface {
        self.surface
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The path and query of an address that the API gave us, whatever host it names: it is asked for at our own.
    pub(super) fn path_of<'a>(&self, address: &'a str) -> Option<&'a str> {
        let elsewhere = |address: &'a str| {
            let (scheme, rest) = address.split_once("://")?;
            let path = rest.find('/').map(|start| &rest[start..])?;
            ["http", "https"].contains(&scheme).then_some(path)
        };
        let is_path = |path: &&str| path.starts_with('/');
        let own = address.strip_prefix(self.url.as_str()).filter(is_path);
        own.or_else(|| elsewhere(address)).or(Some(address)).filter(is_path)
    }

    pub(super) async fn token(&self, act_by: Instant) -> Result<Token, auth::Error> {
        self.tokens.token(act_by).await
    }

    /// Makes a call, by `act_by`.
    ///
    /// What certainly did not happen is tried again; what may have happened only if the call may be repeated. A 401
    /// renews the token once, for whoever calls next as well.
    pub(super) async fn call(&self, token: &mut Token, call: &Call<'_>, act_by: Instant) -> Called {
        let mut renewal = Renewal::Due;
        let mut beside = Beside::default();
        let mut failures = 0;
        let mut attempts = 1..;
        let attempt = loop {
            let number = attempts.next().unwrap_or(u32::MAX);
            let ended = self.attempt_renewing(token, &mut renewal, call, &mut beside, act_by).await;
            failures = if ended.is_trouble() { failures + 1 } else { 0 };
            let (end, asked) = match ended {
                Ended::Answered(answer) if answer.fits() => break Attempt::Answered(answer),
                Ended::Answered(_) | Ended::TooLarge => break Attempt::TooLarge,
                Ended::Unauthorized => break Attempt::NotPerformed(NotPerformed::Rejected),
                Ended::NoToken(reason)
                | Ended::NotPerformed(
                    reason @ (NotPerformed::Rejected | NotPerformed::Redirected | NotPerformed::OutOfTime),
                ) => break Attempt::NotPerformed(reason),
                Ended::NotPerformed(reason @ NotPerformed::RateLimited { retry_after }) => {
                    telemetry::count(Metric::UpstreamRateLimited);
                    (reason, retry_after)
                }
                Ended::Unclear(why) if call.repetition == Repetition::Unsafe => break Attempt::Unclear(why),
                Ended::NotPerformed(NotPerformed::Unavailable) | Ended::Unclear(_) => {
                    (NotPerformed::Unavailable, None)
                }
            };
            if !self.retry.wait(number, asked, call.longest_wait, call.repetition, act_by).await {
                break Attempt::NotPerformed(end);
            }
        };
        Called { attempt, correlation_id: beside.correlation_id, job_id: beside.job_id, failures }
    }

    /// One attempt; and when it is the first whose token is refused, another with a new token at once.
    async fn attempt_renewing(
        &self,
        token: &mut Token,
        renewal: &mut Renewal,
        call: &Call<'_>,
        beside: &mut Beside,
        act_by: Instant,
    ) -> Ended {
        let ended = self.attempt(token, call, beside, act_by).await;
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
        self.attempt(token, call, beside, act_by).await
    }

    async fn attempt(&self, token: &Token, call: &Call<'_>, beside: &mut Beside, act_by: Instant) -> Ended {
        let started = Instant::now();
        if !retry::is_time_left(started, call.repetition, act_by) {
            return Ended::NotPerformed(NotPerformed::OutOfTime);
        }
        let mut request = self
            .http
            .request(call.method.clone(), format!("{}{}", self.url, call.path))
            .timeout(act_by.duration_since(started).min(call.patience))
            .bearer_auth(token.expose())
            .header(header::ACCEPT, "application/json, */*;q=0.5")
            .headers(trace::headers());
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key.as_str());
        }
        if let Some(id) = call.request_id {
            request = request.header("x-request-id", id);
        }
        let (sent, connection) = super::connection::observed(request.send()).await;
        let (ended, status) = match sent {
            Ok(response) => {
                let status = response.status().as_u16();
                *beside = Beside::read(response.headers());
                (self.judge(response).await, Some(status))
            }
            Err(error) => (failed(&error, connection), None),
        };
        telemetry::upstream_latency(started.elapsed());
        tracing::info!(
            message = "Genesys Cloud called",
            genesys.operation = call.operation,
            status,
            outcome = ended.word(),
            genesys.correlation_id = beside.correlation_id,
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
    /// Whether the upstream, or the way to it, is in trouble: as opposed to refusing us, or asking for patience.
    fn is_trouble(&self) -> bool {
        match self {
            Self::Unclear(_)
            | Self::NotPerformed(NotPerformed::Unavailable)
            | Self::NoToken(NotPerformed::Unavailable) => true,
            Self::Answered(_)
            | Self::TooLarge
            | Self::Unauthorized
            | Self::NoToken(_)
            | Self::NotPerformed(_) => false,
        }
    }

    /// For the log.
    fn word(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::TooLarge => "answer too large",
            Self::Unauthorized | Self::NoToken(_) => "token refused",
            Self::NotPerformed(NotPerformed::Unavailable) => "not reached",
            Self::NotPerformed(NotPerformed::OutOfTime) => "not sent for want of time",
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
