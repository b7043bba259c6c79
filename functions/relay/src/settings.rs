//! This function's settings.

use shared::config::{self, Reader, Variables, list, one_of, text};
use shared::telemetry;
use shared::webhook::outbound;
use shared::webhook::signature::SigningSecret;

use crate::schedule::{self, Schedule};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table_name: String,
    pub(crate) outbound: outbound::Settings,
    pub(crate) schedule: Schedule,
    pub(crate) event_bus_name: Option<String>,
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or malformed.
    #[error(transparent)]
    Settings(#[from] config::Error),
    /// There are no certificates to trust.
    #[error("no client for subscribers can be made on this machine")]
    Client(#[from] reqwest::Error),
}

impl Settings {
    pub(crate) fn read(variables: &Variables) -> Result<Self, config::Error> {
        let mut reader = Reader::new(variables);
        telemetry::check_settings(&mut reader);
        let table_name = reader.required("TABLE_NAME", text);
        let signing_secrets = reader.or("NOTICE_SIGNING_SECRETS", Vec::new(), signing_secrets);
        let schedule = reader.or("NOTICE_RETRY_SECONDS", Schedule::default(), schedule::parse);
        let choices = [("true", true), ("false", false)];
        let allow_private = reader.or("NOTICE_ALLOW_PRIVATE", false, one_of(&choices));
        let event_bus_name = reader.optional("EVENT_BUS_NAME", event_bus_name);
        let outbound = outbound::Settings { signing_secrets, allow_private };
        let settings = || Some(Self { table_name: table_name?, outbound, schedule, event_bus_name });
        reader.finish(settings())
    }
}

/// The message says what is wrong without repeating any secret.
fn signing_secrets(value: &str) -> Result<Vec<SigningSecret>, String> {
    let read =
        |secret: String| SigningSecret::read(&secret).map_err(|what| format!("has an entry that {what}"));
    list(value)?.into_iter().map(read).collect()
}

/// A name, or the ARN of a bus elsewhere.
fn event_bus_name(value: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_:".contains(&byte);
    if value.len() > 1600 || !value.bytes().all(is_allowed) {
        return Err(format!("must be the name or the ARN of an event bus, not {value:?}"));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(&pairs.iter().copied().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_is_all_it_needs() {
        let settings = read(&[("TABLE_NAME", "t"), ("EVENT_BUS_NAME", " ")]).unwrap();
        assert!(!settings.outbound.allow_private && settings.outbound.signing_secrets.is_empty());
        assert_eq!(settings.event_bus_name, None);
        let secrets = [("TABLE_NAME", "t"), ("NOTICE_SIGNING_SECRETS", "new, whsec_b2xk")];
        assert_eq!(read(&secrets).unwrap().outbound.signing_secrets.len(), 2);
    }

    #[test]
    fn every_bad_setting_is_named_and_no_secret_shown() {
        let bad = [
            ("NOTICE_SIGNING_SECRETS", "whsec_%hush%"),
            ("NOTICE_RETRY_SECONDS", "5,soon"),
            ("NOTICE_ALLOW_PRIVATE", "perhaps"),
            ("EVENT_BUS_NAME", "a bus"),
            ("LOG_LEVEL", "loud"),
        ];
        let error = read(&bad).unwrap_err();
        for (name, _) in bad.iter().chain(&[("TABLE_NAME", "")]) {
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(!error.contains("hush"), "{error}");
    }
}
