//! Secrets: values that cannot be printed, and AWS Secrets Manager, where they are kept.
//!
//! A secret is a [`SecretString`]: its `Debug` shows nothing, it has no `Display`, and it is wiped when
//! dropped. Only the code that signs, compares or sends it may expose it.

use aws_sdk_secretsmanager::Client;
pub use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// One secret in AWS Secrets Manager.
#[derive(Clone, Debug)]
pub struct Vault {
    client: Client,
    id: String,
}

impl Vault {
    /// Names a secret; nothing is read yet.
    #[must_use]
    pub fn new(aws: &aws_config::SdkConfig, id: String) -> Self {
        let timeouts = aws_config::timeout::TimeoutConfig::builder()
            .operation_timeout(std::time::Duration::from_secs(5))
            .build();
        let config = aws_sdk_secretsmanager::config::Builder::from(aws).timeout_config(timeouts).build();
        Self { client: Client::from_conf(config), id }
    }

    /// The secret's current text.
    pub async fn read(&self) -> Result<SecretString, Error> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.id)
            .send()
            .await
            .map_err(|source| Error::Unreadable { id: self.id.clone(), source: Box::new(source) })?;
        let text = answer.secret_string.ok_or_else(|| Error::NotText { id: self.id.clone() })?;
        Ok(SecretString::from(text))
    }
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Secrets Manager could not be reached, or refused.
    #[error("the secret {id} cannot be read")]
    Unreadable {
        /// The secret's name or ARN.
        id: String,
        /// What the SDK said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The secret holds bytes where text is expected.
    #[error("the secret {id} is not text")]
    NotText {
        /// The secret's name or ARN.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = SecretString::from("hunter2-hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
