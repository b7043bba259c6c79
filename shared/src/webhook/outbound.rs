//! Sends one notice to one subscriber, once, and says how that went.
//!
//! A notice is a POST of JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com) has it. Its id is
//! the same in every attempt, so that a subscriber can tell a repetition; the timestamp is the attempt's own.
//! Whether to try again, and when, is the caller's to decide.
//!
//! A subscriber is whatever somebody wrote into a setting, and what it resolves to is up to whoever owns the
//! name. So nothing is called but the public internet:
//!
//! * an address written in the URL is judged when the URL is read, however it is spelt (`subscriber`);
//! * a name is resolved once, by a resolver that lets only judged addresses through, and the connection is made
//!   to one of those (`resolver`). There is no second lookup that could say something else.
//!
//! The address at the other end of the connection is not looked at again: the connector takes an address from
//! these two places and from no third, as there is no proxy and no redirect is followed, and by the time it could
//! be looked at the notice would be on its way.

mod subscriber;
mod resolver;
mod address;
#[cfg(test)]
mod tests;

pub use subscriber::{Refusal, shown};

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::{Client, Response};
use tokio::time::{Instant, timeout_at};

use super::signature::{self, SigningSecret};
use crate::retry_after;
use crate::telemetry::chain;
use resolver::{Forbidden, Resolver};

/// How long an attempt may take in all: finding the address, connecting, sending, and reading the answer.
pub const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);

/// How much of an answer is read. Nobody looks at it; but a subscriber that cannot finish its answer may take
/// the notice for lost.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Headers that are ours to set, or the connection's; a notice cannot bring its own.
const RESERVED: [HeaderName; 11] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
    HeaderName::from_static(signature::ID),
    HeaderName::from_static(signature::TIMESTAMP),
    HeaderName::from_static(signature::SIGNATURE),
];

/// The sender of notices.
#[derive(Debug)]
pub struct Outbound {
    client: Client,
    reach: Reach,
    signing_secrets: Vec<SigningSecret>,
}

/// What notices are signed with, and where they may go.
#[derive(Debug)]
pub struct Settings {
    /// Each of them signs every notice; without any, notices go unsigned.
    pub signing_secrets: Vec<SigningSecret>,
    /// Permits plain http, and every address there is. For one machine and for tests.
    pub allow_private: bool,
}

/// Which addresses may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Those of the public internet, over TLS.
    Public,
    /// All, in plain text too.
    Everything,
}

/// One notice to one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The notice's id, the same in every attempt.
    pub id: &'a str,
    /// The subscriber.
    pub url: &'a str,
    /// The notice's own headers. They cannot take the place of ours.
    pub headers: &'a [(String, String)],
    /// The notice, in JSON.
    pub body: &'a [u8],
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The subscriber has it: any 2xx.
    Delivered {
        /// Which one.
        status: u16,
    },
    /// The subscriber wants no more of this: 410.
    Gone,
    /// It did not work this time. The subscriber may have it all the same.
    Failed(Failure),
    /// Nothing was sent, and nothing will be until the settings or the notice change.
    Refused(Refusal),
}

/// Why an attempt failed that may go better another time. The text is for logs and records; it names no more of
/// the subscriber than a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An answer that is neither 2xx nor 410. A redirect is one of them: it is not followed.
    #[error("the subscriber answered {status}")]
    Answered {
        /// The answer's status.
        status: u16,
        /// How long the subscriber asks to be left alone. It may be aeons.
        retry_after: Option<Duration>,
    },
    /// The subscriber's name leads to an address that may not be called. Nothing was sent; the name may lead
    /// elsewhere tomorrow.
    #[error("the subscriber's name leads to {address}, {purpose}")]
    Forbidden {
        /// The address.
        address: IpAddr,
        /// What it is set aside for, as a noun.
        purpose: &'static str,
    },
    /// There was no connection: no such name, nobody listening, a certificate that is not trusted. Nothing was
    /// sent.
    #[error("the subscriber cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended, or what came over it was not HTTP.
    #[error("the subscriber did not answer: {0}")]
    Broken(String),
    /// The time ran out, at whatever point.
    #[error("the subscriber did not answer in time")]
    TimedOut,
}

impl Failure {
    /// The answer's status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::Forbidden { .. } | Self::Unreachable(_) | Self::Broken(_) | Self::TimedOut => None,
        }
    }

    /// How long the subscriber asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            Self::Forbidden { .. } | Self::Unreachable(_) | Self::Broken(_) | Self::TimedOut => None,
        }
    }
}

impl Outbound {
    /// A sender. Like the client for Genesys Cloud it keeps no idle connection, uses no proxy, follows no redirect
    /// and repeats nothing on its own.
    ///
    /// Fails only where the machine has no certificates to trust.
    pub fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        let reach = if settings.allow_private { Reach::Everything } else { Reach::Public };
        let client = Client::builder()
            .dns_resolver(Resolver::new(reach))
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("patchbay/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, reach, signing_secrets: settings.signing_secrets })
    }

    /// Sends a notice. It ends after [`LONGEST_ATTEMPT`] and never beyond `limit`; `now` is what the attempt is
    /// dated.
    pub async fn send(&self, delivery: Delivery<'_>, now: Timestamp, limit: Instant) -> Sent {
        let url = match subscriber::read(delivery.url, self.reach) {
            Ok(url) => url,
            Err(refusal) => return Sent::Refused(refusal),
        };
        let headers = match self.headers(&delivery, now) {
            Ok(headers) => headers,
            Err(refusal) => return Sent::Refused(refusal),
        };
        let until = limit.min(Instant::now() + LONGEST_ATTEMPT);
        if until <= Instant::now() {
            return Sent::Failed(Failure::TimedOut);
        }
        let request = self.client.post(url).headers(headers).body(delivery.body.to_vec());
        match timeout_at(until, request.send()).await {
            Ok(Ok(answer)) => {
                let sent = judge(&answer, now);
                // The status has said it all, whether or not the rest arrives.
                let _ = timeout_at(until, discard(answer)).await;
                sent
            }
            Ok(Err(error)) => Sent::Failed(failure(error)),
            Err(_) => Sent::Failed(Failure::TimedOut),
        }
    }

    fn headers(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<HeaderMap, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in delivery.headers {
            let bad = || Refusal::Header(name.clone());
            let name = HeaderName::try_from(name).map_err(|_| bad())?;
            let value = HeaderValue::try_from(value).map_err(|_| bad())?;
            if !RESERVED.contains(&name) {
                headers.append(name, value);
            }
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let id = HeaderValue::try_from(delivery.id).map_err(|_| Refusal::Header(signature::ID.to_owned()))?;
        headers.insert(signature::ID, id);
        headers.insert(signature::TIMESTAMP, HeaderValue::from(now.as_second()));
        if let Some(signatures) = signature::sign(delivery.id, now, delivery.body, &self.signing_secrets) {
            let signatures = HeaderValue::try_from(signatures)
                .expect("base64, commas and spaces are what a header may hold");
            headers.insert(signature::SIGNATURE, signatures);
        }
        Ok(headers)
    }
}

fn judge(answer: &Response, now: Timestamp) -> Sent {
    let status = answer.status();
    if status.is_success() {
        return Sent::Delivered { status: status.as_u16() };
    }
    if status == StatusCode::GONE {
        return Sent::Gone;
    }
    let retry_after = retry_after::asked(answer.headers(), now);
    Sent::Failed(Failure::Answered { status: status.as_u16(), retry_after })
}

/// Reads what follows the status, up to [`MAX_ANSWER_BYTES`].
async fn discard(mut answer: Response) {
    let mut read = 0;
    while read < MAX_ANSWER_BYTES
        && let Ok(Some(part)) = answer.chunk().await
    {
        read += part.len();
    }
}

fn failure(error: reqwest::Error) -> Failure {
    if let Some(Forbidden { address, purpose }) = forbidden(&error) {
        return Failure::Forbidden { address: *address, purpose };
    }
    // The client's text would repeat the URL, with whatever secrets it holds.
    let error = error.without_url();
    if error.is_connect() {
        return Failure::Unreachable(chain(&error));
    }
    Failure::Broken(chain(&error))
}

/// The resolver's verdict, beneath what the client made of it.
fn forbidden(error: &reqwest::Error) -> Option<&Forbidden> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref() {
            return Some(forbidden);
        }
        cause = error.source();
    }
    None
}
