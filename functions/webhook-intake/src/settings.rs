//! This function's settings.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use shared::config::{self, A_YEAR, Reader, Variables, bytes, list, one_of, seconds, text};
use shared::secret::{self, SecretString};
use shared::telemetry;

/// The largest body that one DynamoDB transaction (4 MB) stores, with room for everything beside it.
pub(crate) const LARGEST_BODY: usize = 3_500_000;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table_name: String,
    pub(crate) auth: Auth,
    pub(crate) event_lifetime: Duration,
    pub(crate) max_body_bytes: usize,
}

/// How a delivery over HTTP proves where it comes from.
#[derive(Debug)]
pub(crate) enum Auth {
    Signature(Place),
    Token(Place),
    None,
}

/// Where the secrets are.
#[derive(Debug)]
pub(crate) enum Place {
    Inline(Vec<SecretString>),
    SecretsManager(String),
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or malformed.
    #[error(transparent)]
    Settings(#[from] config::Error),
    /// The secrets cannot be read.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The secret's text is no list of secrets; what is wrong with it.
    #[error("the secret of WEBHOOK_SECRETS_SECRET_ID {0}")]
    MalformedSecret(String),
}

impl Settings {
    pub(crate) fn read(variables: &Variables) -> Result<Self, config::Error> {
        let mut reader = Reader::new(variables);
        telemetry::check_settings(&mut reader);
        let table_name = reader.required("TABLE_NAME", text);
        let auth = read_auth(&mut reader);
        let event_lifetime =
            reader.or("EVENT_TTL_SECONDS", Duration::from_hours(14 * 24), seconds(1..=A_YEAR));
        let max_body_bytes = reader.or("MAX_BODY_BYTES", 262_144, bytes(1..=LARGEST_BODY as u64));
        let settings = || Some(Self { table_name: table_name?, auth: auth?, event_lifetime, max_body_bytes });
        reader.finish(settings())
    }
}

fn read_auth(reader: &mut Reader<'_>) -> Option<Auth> {
    #[derive(Clone, Copy)]
    enum Kind {
        Signature,
        Token,
        None,
    }
    let kinds = [("signature", Kind::Signature), ("token", Kind::Token), ("none", Kind::None)];
    match reader.or("WEBHOOK_AUTH", Kind::Signature, one_of(&kinds)) {
        Kind::Signature => read_place(reader).map(Auth::Signature),
        Kind::Token => read_place(reader).map(Auth::Token),
        Kind::None => Some(Auth::None),
    }
}

fn read_place(reader: &mut Reader<'_>) -> Option<Place> {
    if let Some(id) = reader.optional("WEBHOOK_SECRETS_SECRET_ID", text) {
        return Some(Place::SecretsManager(id));
    }
    if !reader.has("WEBHOOK_SECRETS") {
        reader.fault("WEBHOOK_SECRETS", "is missing (or set WEBHOOK_SECRETS_SECRET_ID)");
        return None;
    }
    reader.required("WEBHOOK_SECRETS", parse_secrets).map(Place::Inline)
}

/// The secrets in a comma-separated text. The message says what is wrong without repeating any of it.
pub(crate) fn parse_secrets(value: &str) -> Result<Vec<SecretString>, String> {
    let secrets = list(value)?;
    let is_malformed = |secret: &String| {
        secret
            .strip_prefix("whsec_")
            .is_some_and(|encoded| BASE64.decode(encoded).map_or(true, |key| key.is_empty()))
    };
    if secrets.iter().any(is_malformed) {
        return Err("has an entry that begins with whsec_ and does not go on in base64".to_owned());
    }
    Ok(secrets.into_iter().map(SecretString::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(&pairs.iter().copied().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn deliveries_are_signed_unless_somebody_says_otherwise() {
        let settings = read(&[("TABLE_NAME", "t"), ("WEBHOOK_SECRETS", "one, two")]).unwrap();
        assert!(matches!(settings.auth, Auth::Signature(Place::Inline(secrets)) if secrets.len() == 2));
        let settings = read(&[("TABLE_NAME", "t"), ("WEBHOOK_AUTH", "none")]).unwrap();
        assert!(matches!(settings.auth, Auth::None));
    }

    #[test]
    fn every_bad_setting_is_named_and_no_secret_shown() {
        let error =
            read(&[("WEBHOOK_SECRETS", "whsec_%hush%"), ("EVENT_TTL_SECONDS", "-1"), ("LOG_LEVEL", "loud")]);
        let error = error.unwrap_err();
        for name in ["TABLE_NAME", "WEBHOOK_SECRETS", "EVENT_TTL_SECONDS", "LOG_LEVEL"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("hush"), "{error}");
        assert!(read(&[("TABLE_NAME", "t")]).unwrap_err().contains("WEBHOOK_SECRETS is missing"));
        assert!(read(&[("TABLE_NAME", "t"), ("WEBHOOK_SECRETS", "a,,b")]).is_err());
    }
}
