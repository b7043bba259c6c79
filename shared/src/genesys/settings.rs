//! The settings that every function which calls Genesys Cloud has.

use std::time::Duration;

use super::retry::RetryPolicy;
use crate::config::{Reader, base_url, count, milliseconds, one_of, text};
use crate::secret::SecretString;

/// The published region domains. The API's host is `api.` and the login's `login.` before the domain.
pub const REGIONS: [&str; 18] = [
    "mypurecloud.com",
    "use2.us-gov-pure.cloud",
    "usw2.pure.cloud",
    "cac1.pure.cloud",
    "mxc1.pure.cloud",
    "sae1.pure.cloud",
    "mypurecloud.ie",
    "euw2.pure.cloud",
    "mec1.pure.cloud",
    "mypurecloud.jp",
    "apne2.pure.cloud",
    "apne3.pure.cloud",
    "aps1.pure.cloud",
    "apse1.pure.cloud",
    "mypurecloud.com.au",
    "mypurecloud.de",
    "euc2.pure.cloud",
    "edee1.eusc-pure.cloud",
];

/// Which API is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The published Platform API v2.
    Platform,
    /// The surface of the integration guides.
    Guide,
}

impl Surface {
    /// Its name, as in `GENESYS_API`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Guide => "guide",
        }
    }
}

/// How to reach Genesys Cloud and how long to try.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `GENESYS_API`.
    pub surface: Surface,
    /// Where the API is, without a trailing slash.
    pub api_url: String,
    /// Where tokens are issued, without a trailing slash.
    pub login_url: String,
    /// Who we are.
    pub credentials: Credentials,
    /// `RETRY_ATTEMPTS` and `RETRY_BASE_MS`.
    pub retry: RetryPolicy,
}

/// Where the OAuth client's credentials are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// In the environment.
    Inline {
        /// `GENESYS_CLIENT_ID`.
        id: String,
        /// `GENESYS_CLIENT_SECRET`.
        secret: SecretString,
    },
    /// In Secrets Manager, as `{"client_id","client_secret"}`, under this name or ARN.
    SecretsManager(String),
}

impl Settings {
    /// Reads them. `None` if something is wrong, which `reader` then knows.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let surfaces = [("platform", Surface::Platform), ("guide", Surface::Guide)];
        let surface = reader.or("GENESYS_API", Surface::Platform, one_of(&surfaces));
        let urls = read_urls(reader, surface);
        let credentials = read_credentials(reader);
        let retry = RetryPolicy {
            attempts: reader.or("RETRY_ATTEMPTS", 4, count(1..=20)),
            base: reader.or("RETRY_BASE_MS", Duration::from_secs(1), milliseconds(0..=60_000)),
        };
        let (api_url, login_url) = urls?;
        Some(Self { surface, api_url, login_url, credentials: credentials?, retry })
    }
}

/// The guides' surface issues tokens where its API is; the published one has a host of its own for that.
fn read_urls(reader: &mut Reader<'_>, surface: Surface) -> Option<(String, String)> {
    let api_url = reader.optional("GENESYS_API_URL", base_url);
    let login_url = reader.optional("GENESYS_LOGIN_URL", base_url);
    let region = reader.optional("GENESYS_REGION", region);
    let from_region = |host: &str| region.as_ref().map(|domain| format!("https://{host}.{domain}"));
    let api = api_url.or_else(|| from_region("api"));
    let login = login_url.or_else(|| match surface {
        Surface::Platform => from_region("login"),
        Surface::Guide => api.clone(),
    });
    let is_complete = reader.has("GENESYS_REGION")
        || (reader.has("GENESYS_API_URL") && (reader.has("GENESYS_LOGIN_URL") || surface == Surface::Guide));
    if !is_complete {
        reader.fault("GENESYS_REGION", "is missing (or set GENESYS_API_URL and GENESYS_LOGIN_URL)");
    }
    Some((api?, login?))
}

fn read_credentials(reader: &mut Reader<'_>) -> Option<Credentials> {
    if let Some(id) = reader.optional("GENESYS_CREDENTIALS_SECRET_ID", text) {
        return Some(Credentials::SecretsManager(id));
    }
    if !reader.has("GENESYS_CLIENT_ID") && !reader.has("GENESYS_CLIENT_SECRET") {
        reader.fault(
            "GENESYS_CLIENT_ID",
            "is missing (with GENESYS_CLIENT_SECRET, or set GENESYS_CREDENTIALS_SECRET_ID)",
        );
        return None;
    }
    let id = reader.required("GENESYS_CLIENT_ID", text);
    let secret = reader.required("GENESYS_CLIENT_SECRET", |secret| Ok(SecretString::from(secret)));
    Some(Credentials::Inline { id: id?, secret: secret? })
}

fn region(value: &str) -> Result<String, String> {
    if REGIONS.contains(&value) {
        return Ok(value.to_owned());
    }
    Err(format!("must be a Genesys Cloud region's domain such as mypurecloud.ie, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let variables: Variables = pairs.iter().copied().collect();
        let mut reader = Reader::new(&variables);
        let settings = Settings::read(&mut reader);
        reader.finish(settings).map_err(|error| error.to_string())
    }

    const CLIENT: [(&str, &str); 2] =
        [("GENESYS_CLIENT_ID", "id"), ("GENESYS_CLIENT_SECRET", "s3cret-s3cret")];

    #[test]
    fn a_region_gives_both_hosts() {
        let settings = read(&[CLIENT[0], CLIENT[1], ("GENESYS_REGION", "mypurecloud.ie")]).unwrap();
        assert_eq!(settings.api_url, "https://api.mypurecloud.ie");
        assert_eq!(settings.login_url, "https://login.mypurecloud.ie");
        assert_eq!(settings.surface, Surface::Platform);
    }

    #[test]
    fn urls_override_the_region_and_the_guides_surface_logs_in_where_its_api_is() {
        let url = ("GENESYS_API_URL", "http://127.0.0.1:9/");
        let settings = read(&[CLIENT[0], CLIENT[1], url, ("GENESYS_API", "guide")]).unwrap();
        assert_eq!(
            (settings.api_url.as_str(), settings.login_url.as_str()),
            ("http://127.0.0.1:9", "http://127.0.0.1:9")
        );
        assert!(
            read(&[CLIENT[0], CLIENT[1], url])
                .is_err_and(|error| error.contains("GENESYS_REGION is missing"))
        );
    }

    #[test]
    fn what_is_wrong_is_named_without_showing_a_secret() {
        let error =
            read(&[("GENESYS_REGION", "example.com"), CLIENT[1], ("RETRY_ATTEMPTS", "0")]).unwrap_err();
        for name in ["GENESYS_REGION must be", "GENESYS_CLIENT_ID is missing", "RETRY_ATTEMPTS must be"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("s3cret"));
    }
}
