//! OAuth tokens by client credentials: kept, renewed ahead of their end, and fetched once at a time.
//!
//! A real organisation's tokens live a day, configurable from five minutes to two days; `expires_in` says how
//! long, and is believed. Issuing tokens is itself rate limited, so an instance never asks twice at once.

use std::time::Duration;

use http::header;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::retry::RetryPolicy;
use super::settings::{Credentials, Settings};
use crate::clock::Clock;
use crate::idempotency::Repetition;
use crate::retry_after;
use crate::secret::{self, ExposeSecret, SecretString, Vault};
use crate::telemetry::chain;
use crate::trace;

/// How long issuing a token may take.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a token response that are read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Hands out tokens.
#[derive(Debug)]
pub struct Tokens {
    http: reqwest::Client,
    url: String,
    source: Source,
    retry: RetryPolicy,
    clock: Clock,
    current: Mutex<State>,
}

/// An access token. Cheap to clone, never printed.
#[derive(Clone, Debug)]
pub struct Token {
    text: SecretString,
    serial: u64,
    renew_at: Timestamp,
}

impl Token {
    /// The token's text, to be sent and nothing else.
    pub(super) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

/// Why there is no token. No call was made with it, so nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The login service could not be reached, or hung up.
    #[error("the login service could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The login service is in trouble.
    #[error("the login service answered with status {0}")]
    Trouble(u16),
    /// The login service's answer is no token.
    #[error("the login service's answer is not a token")]
    NotAToken,
    /// The time for it ran out.
    #[error("the time for getting a token ran out")]
    TimedOut,
    /// It refused our credentials.
    #[error("the login service refused our credentials with status {0}")]
    Rejected(u16),
    /// It asks for patience.
    #[error("the login service limits our rate")]
    RateLimited {
        /// For how long, if it said so.
        retry_after: Option<Duration>,
    },
    /// Our credentials cannot be read.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The secret is not `{"client_id","client_secret"}`.
    #[error("the secret with our credentials is not a JSON object with client_id and client_secret")]
    SecretMalformed,
}

#[derive(Debug)]
enum Source {
    Inline(Client),
    Vault(Vault),
}

#[derive(Clone, Debug, Deserialize)]
struct Client {
    #[serde(rename = "client_id")]
    id: String,
    #[serde(rename = "client_secret", deserialize_with = "secret_text")]
    secret: SecretString,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// The credentials last read from Secrets Manager.
    client: Option<Client>,
    issued: u64,
}

impl Tokens {
    /// A source of tokens; the first is fetched when it is first asked for.
    #[must_use]
    pub fn new(
        settings: &Settings,
        aws: &aws_config::SdkConfig,
        http: reqwest::Client,
        clock: Clock,
    ) -> Self {
        let source = match &settings.credentials {
            Credentials::Inline { id, secret } => {
                Source::Inline(Client { id: id.clone(), secret: secret.clone() })
            }
            Credentials::SecretsManager(id) => Source::Vault(Vault::new(aws, id.clone())),
        };
        let url = format!("{}/oauth/token", settings.login_url);
        Self { http, url, source, retry: settings.retry, clock, current: Mutex::default() }
    }

    /// A token that is good now, fetched if need be. Whoever comes while one is fetched waits for that one.
    pub async fn token(&self, act_by: Instant) -> Result<Token, Error> {
        let mut state = self.lock(act_by).await?;
        if let Some(token) = state.token.as_ref().filter(|token| self.clock.now() < token.renew_at) {
            return Ok(token.clone());
        }
        self.renew(&mut state, act_by).await
    }

    /// A token other than `refused`, which the API did not accept.
    pub async fn token_after(&self, refused: &Token, act_by: Instant) -> Result<Token, Error> {
        let mut state = self.lock(act_by).await?;
        match &state.token {
            Some(token) if token.serial != refused.serial => Ok(token.clone()),
            _ => self.renew(&mut state, act_by).await,
        }
    }

    /// Whoever fetches a token may have more time for it than the one who waits for it here.
    async fn lock(&self, act_by: Instant) -> Result<MutexGuard<'_, State>, Error> {
        let locked = tokio::time::timeout_at(act_by, self.current.lock()).await;
        locked.map_err(|_| Error::TimedOut)
    }

    async fn renew(&self, state: &mut State, act_by: Instant) -> Result<Token, Error> {
        state.token = None;
        let client = self.client(state, act_by).await?;
        let issued = match self.issue(&client, act_by).await {
            Err(Error::Rejected(status)) => {
                let Some(client) = self.client_after_rejection(state, &client, act_by).await? else {
                    return Err(Error::Rejected(status));
                };
                self.issue(&client, act_by).await?
            }
            other => other?,
        };
        state.issued += 1;
        let token = Token {
            renew_at: self.clock.now() + issued.renew_after(),
            text: issued.access_token,
            serial: state.issued,
        };
        state.token = Some(token.clone());
        Ok(token)
    }

    async fn client(&self, state: &mut State, act_by: Instant) -> Result<Client, Error> {
        match (&self.source, &state.client) {
            (Source::Inline(client), _) | (Source::Vault(_), Some(client)) => Ok(client.clone()),
            (Source::Vault(vault), None) => {
                let client = read_client(vault, act_by).await?;
                state.client = Some(client.clone());
                Ok(client)
            }
        }
    }

    /// Credentials that were rotated since they were read, if there are any.
    async fn client_after_rejection(
        &self,
        state: &mut State,
        refused: &Client,
        act_by: Instant,
    ) -> Result<Option<Client>, Error> {
        let Source::Vault(vault) = &self.source else { return Ok(None) };
        let client = read_client(vault, act_by).await?;
        let is_same =
            client.id == refused.id && client.secret.expose_secret() == refused.secret.expose_secret();
        state.client = Some(client.clone());
        Ok((!is_same).then_some(client))
    }

    /// Asks for a token, again if that may help: issuing one has no effect that could be repeated.
    async fn issue(&self, client: &Client, act_by: Instant) -> Result<Issued, Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.issue_once(client, act_by).await {
                Ok(issued) => return Ok(issued),
                Err(error) => error,
            };
            let asked = match &error {
                Error::RateLimited { retry_after } => *retry_after,
                Error::Unreachable(_) | Error::Trouble(_) | Error::NotAToken => None,
                Error::TimedOut | Error::Rejected(_) | Error::Secret(_) | Error::SecretMalformed => {
                    return Err(error);
                }
            };
            tracing::warn!(message = "no token yet", attempt, error = chain(&error));
            if !self.retry.wait(attempt, asked, Duration::MAX, Repetition::Safe, act_by).await {
                return Err(error);
            }
        }
    }

    async fn issue_once(&self, client: &Client, act_by: Instant) -> Result<Issued, Error> {
        let limit = act_by.saturating_duration_since(Instant::now()).min(TOKEN_TIMEOUT);
        let response = self
            .http
            .post(&self.url)
            .timeout(limit)
            .basic_auth(&client.id, Some(client.secret.expose_secret()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .headers(trace::headers())
            .body("grant_type=client_credentials")
            .send()
            .await
            .map_err(|error| Error::Unreachable(error.without_url()))?;
        match response.status() {
            StatusCode::OK => read_issued(response).await,
            StatusCode::TOO_MANY_REQUESTS => Err(Error::RateLimited {
                retry_after: retry_after::asked(response.headers(), self.clock.now()),
            }),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Err(Error::Trouble(status.as_u16()))
            }
            status => Err(Error::Rejected(status.as_u16())),
        }
    }
}

async fn read_issued(mut response: Response) -> Result<Issued, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Error::Unreachable(error.without_url()))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(Error::NotAToken);
        }
    }
    serde_json::from_slice(&body).map_err(|_| Error::NotAToken)
}

#[derive(Deserialize)]
struct Issued {
    #[serde(deserialize_with = "secret_text")]
    access_token: SecretString,
    /// Seconds.
    expires_in: u32,
}

impl Issued {
    /// The earlier of two minutes before the end and nine tenths of the life.
    fn renew_after(&self) -> SignedDuration {
        let life = SignedDuration::from_secs(i64::from(self.expires_in));
        let early = life - SignedDuration::from_mins(2);
        early.min(life * 9 / 10).max(SignedDuration::ZERO)
    }
}

async fn read_client(vault: &Vault, act_by: Instant) -> Result<Client, Error> {
    let secret = tokio::time::timeout_at(act_by, vault.read()).await;
    parse_client(&secret.map_err(|_| Error::TimedOut)??)
}

fn parse_client(secret: &SecretString) -> Result<Client, Error> {
    serde_json::from_str(secret.expose_secret()).map_err(|_| Error::SecretMalformed)
}

fn secret_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_two_minutes_or_a_tenth_of_its_life_ahead() {
        let renew_after =
            |expires_in| Issued { access_token: SecretString::from(""), expires_in }.renew_after().as_secs();
        assert_eq!(renew_after(86_400), 77_760);
        assert_eq!(renew_after(300), 180);
        assert_eq!(renew_after(1200), 1080);
        assert_eq!(renew_after(60), 0);
    }

    #[test]
    fn tokens_and_credentials_do_not_print() {
        let client =
            parse_client(&SecretString::from(r#"{"client_id":"me","client_secret":"hush-hush"}"#)).unwrap();
        assert!(!format!("{client:?}").contains("hush"));
        assert!(matches!(parse_client(&SecretString::from("{}")), Err(Error::SecretMalformed)));
    }
}
