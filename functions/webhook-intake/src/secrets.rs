//! The secrets that deliveries are signed with, kept fresh while they are rotated.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shared::clock::Clock;
use shared::secret::{ExposeSecret, SecretString, Vault};
use shared::telemetry::chain;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::settings::{Auth, Place, StartError, parse_secrets};

/// How old the secrets may be before they are read again.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// How often a failed signature may have them read again: a stranger must not make us hammer Secrets Manager.
const REREAD_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// The secrets, and where more recent ones are.
#[derive(Debug)]
pub(crate) struct Secrets {
    vault: Option<Vault>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    secrets: Arc<[SecretString]>,
    /// When they were last read, or reading them was last tried.
    tried_at: Timestamp,
    /// When they were last read again.
    reread_at: Option<Timestamp>,
}

impl Secrets {
    pub(crate) async fn read(
        auth: &Auth,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let place = match auth {
            Auth::Signature(place) | Auth::Token(place) => place,
            Auth::None => &Place::Inline(Vec::new()),
        };
        let (vault, secrets) = match place {
            Place::Inline(secrets) => (None, secrets.clone().into()),
            Place::SecretsManager(id) => {
                let vault = Vault::new(aws, id.clone());
                let secrets = read_from(&vault).await?;
                (Some(vault), secrets)
            }
        };
        let state = Mutex::new(State { secrets, tried_at: clock.now(), reread_at: None });
        Ok(Self { vault, clock, state })
    }

    /// The secrets, read again when they have grown old.
    pub(crate) async fn current(&self, until: Instant) -> Arc<[SecretString]> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if now.duration_since(state.tried_at) >= MAX_AGE {
            self.refresh(&mut state, now, until).await;
        }
        Arc::clone(&state.secrets)
    }

    /// Other secrets than `failed`, with which a signature could not be verified, if there are any by now.
    pub(crate) async fn other_than(
        &self,
        failed: &Arc<[SecretString]>,
        until: Instant,
    ) -> Option<Arc<[SecretString]>> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let may_reread = state.reread_at.is_none_or(|last| now.duration_since(last) >= REREAD_INTERVAL);
        if Arc::ptr_eq(&state.secrets, failed) && may_reread {
            self.refresh(&mut state, now, until).await;
        }
        (!Arc::ptr_eq(&state.secrets, failed)).then(|| Arc::clone(&state.secrets))
    }

    /// Reads them again. When that fails, the old ones stay in force.
    async fn refresh(&self, state: &mut State, now: Timestamp, until: Instant) {
        let Some(vault) = &self.vault else { return };
        (state.tried_at, state.reread_at) = (now, Some(now));
        match timeout_at(until, read_from(vault)).await {
            Ok(Ok(secrets)) => state.secrets = secrets,
            Ok(Err(error)) => {
                tracing::error!(
                    message = "the webhook secrets could not be read again",
                    error = chain(&error)
                );
            }
            Err(_) => tracing::error!(message = "the webhook secrets could not be read again in time"),
        }
    }
}

async fn read_from(vault: &Vault) -> Result<Arc<[SecretString]>, StartError> {
    let text = vault.read().await?;
    parse_secrets(text.expose_secret().trim()).map(Arc::from).map_err(StartError::MalformedSecret)
}
