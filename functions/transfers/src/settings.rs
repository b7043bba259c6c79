//! This function's settings.

use std::time::Duration;

use shared::config::{self, A_YEAR, Reader, Variables, bytes, http_url, seconds, text};
use shared::genesys;
use shared::secret::{self, SecretString};
use shared::telemetry;

/// The largest request that Lambda passes to a function.
const LARGEST_PAYLOAD: u64 = 6 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table_name: String,
    pub(crate) genesys: genesys::Settings,
    pub(crate) answer_lifetime: Duration,
    pub(crate) lease: Duration,
    pub(crate) max_body_bytes: usize,
    pub(crate) http_timeout: Duration,
    pub(crate) pii_key: PiiKey,
    /// The subscriber of the notices.
    pub(crate) crm_webhook_url: Option<String>,
}

/// Where the key is that commits to external numbers.
#[derive(Debug)]
pub(crate) enum PiiKey {
    None,
    Inline(SecretString),
    /// In Secrets Manager, under this name or ARN.
    SecretsManager(String),
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or malformed.
    #[error(transparent)]
    Settings(#[from] config::Error),
    /// The key of the commitments cannot be read.
    #[error(transparent)]
    Secret(#[from] secret::Error),
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
        let answer_lifetime =
            reader.or("IDEMPOTENCY_TTL_SECONDS", Duration::from_hours(24), seconds(1..=A_YEAR));
        let lease = reader.or("LEASE_SECONDS", Duration::from_mins(1), seconds(1..=900));
        let max_body_bytes = reader.or("MAX_BODY_BYTES", 262_144, bytes(1..=LARGEST_PAYLOAD));
        let http_timeout = reader.or("HTTP_TIMEOUT_SECONDS", Duration::from_secs(28), seconds(1..=900));
        let pii_key = read_pii_key(&mut reader);
        let crm_webhook_url = reader.optional("CRM_WEBHOOK_URL", http_url);
        let settings = || {
            Some(Self {
                table_name: table_name?,
                genesys: genesys?,
                answer_lifetime,
                lease,
                max_body_bytes,
                http_timeout,
                pii_key,
                crm_webhook_url,
            })
        };
        reader.finish(settings())
    }
}

fn read_pii_key(reader: &mut Reader<'_>) -> PiiKey {
    if let Some(id) = reader.optional("AUDIT_PII_KEY_SECRET_ID", text) {
        return PiiKey::SecretsManager(id);
    }
    reader.optional("AUDIT_PII_KEY", text).map_or(PiiKey::None, |key| PiiKey::Inline(SecretString::from(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_setting_is_named_and_no_secret_shown() {
        let variables: Variables =
            [("GENESYS_CLIENT_ID", "id"), ("GENESYS_CLIENT_SECRET", "hush"), ("CRM_WEBHOOK_URL", "crm")]
                .into_iter()
                .collect();
        let error = Settings::read(&variables).unwrap_err().to_string();
        for name in ["TABLE_NAME is missing", "GENESYS_REGION is missing", "CRM_WEBHOOK_URL must be"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("hush"), "{error}");
    }
}
