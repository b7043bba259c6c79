//! This function's settings.

use std::time::Duration;

use shared::config::{self, Reader, Variables, count, http_url, milliseconds, seconds, text};
use shared::genesys;
use shared::telemetry;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table_name: String,
    pub(crate) genesys: genesys::Settings,
    pub(crate) lease: Duration,
    pub(crate) polling: Polling,
    /// The subscriber of the notices.
    pub(crate) audit_webhook_url: Option<String>,
}

/// How patiently a job is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Polling {
    /// The wait before poll n is n times this.
    pub(crate) base: Duration,
    /// Polls in all, across invocations.
    pub(crate) attempts: u32,
}

impl Polling {
    /// How long to wait before the poll with this number, which counts from 1.
    pub(crate) fn wait_before(self, poll: u32) -> Duration {
        self.base.saturating_mul(poll)
    }
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or malformed.
    #[error(transparent)]
    Settings(#[from] config::Error),
    /// There are no certificates to trust.
    #[error("no client for Genesys Cloud can be made on this machine")]
    Client(#[from] reqwest::Error),
}

impl Settings {
    pub(crate) fn read(variables: &Variables) -> Result<Self, config::Error> {
        let mut reader = Reader::new(variables);
        telemetry::check_settings(&mut reader);
        let table_name = reader.required("TABLE_NAME", text);
        let genesys = genesys::Settings::read(&mut reader);
        let lease = reader.or("LEASE_SECONDS", Duration::from_mins(1), seconds(1..=900));
        let polling = Polling {
            base: reader.or("RETENTION_POLL_BASE_MS", Duration::from_secs(2), milliseconds(0..=60_000)),
            attempts: reader.or("RETENTION_POLL_ATTEMPTS", 12, count(1..=1000)),
        };
        let audit_webhook_url = reader.optional("AUDIT_WEBHOOK_URL", http_url);
        let settings =
            || Some(Self { table_name: table_name?, genesys: genesys?, lease, polling, audit_webhook_url });
        reader.finish(settings())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_setting_is_named() {
        let variables: Variables = [
            ("RETENTION_POLL_BASE_MS", "soon"),
            ("RETENTION_POLL_ATTEMPTS", "0"),
            ("AUDIT_WEBHOOK_URL", "audit"),
            ("LEASE_SECONDS", "-1"),
        ]
        .into_iter()
        .collect();
        let error = Settings::read(&variables).unwrap_err().to_string();
        for name in [
            "TABLE_NAME is missing",
            "GENESYS_REGION is missing",
            "RETENTION_POLL_BASE_MS must be",
            "RETENTION_POLL_ATTEMPTS must be",
            "AUDIT_WEBHOOK_URL must be",
            "LEASE_SECONDS must be",
        ] {
            assert!(error.contains(name), "{error}");
        }
    }
}
