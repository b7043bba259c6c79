//! Executing a data action: one call, and an account of how it went.

use std::time::Duration;

use http::Method;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::api::{Api, Call, Called};
use super::auth::{self, Token};
use super::ids::DataActionId;
use super::settings::{Settings, Surface};
use crate::clock::Clock;
use crate::idempotency::{Key, Repetition};

/// The longest an attempt is waited for. An action may run for 60 s; then the answer still has to travel.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(75);

/// The data actions of one Genesys Cloud organisation.
#[derive(Debug)]
pub struct DataActions {
    api: Api,
    route: Route,
}

impl DataActions {
    /// A client; connects when first used.
    pub fn new(
        settings: &Settings,
        route: Route,
        aws: &aws_config::SdkConfig,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self { api: Api::new(settings, aws, clock)?, route })
    }

    /// A token for [`execute`](Self::execute): to be had before the work is claimed, because from the claim on
    /// every moment is one in which a crash leaves the outcome unknown.
    pub async fn token(&self, act_by: Instant) -> Result<Token, auth::Error> {
        self.api.token(act_by).await
    }

    /// Executes an action under an idempotency key, by `act_by`.
    ///
    /// What certainly did not happen is tried again; what may have happened only if `repetition` is safe. A 401
    /// renews the token once.
    pub async fn execute(
        &self,
        mut token: Token,
        id: &DataActionId,
        input: &RawValue,
        key: &Key,
        repetition: Repetition,
        act_by: Instant,
    ) -> Called {
        let call = Call {
            operation: "execute data action",
            method: Method::POST,
            path: self.route.path(id),
            body: Some(self.route.body(input)),
            key: Some(key),
            request_id: None,
            repetition,
            patience: LONGEST_ATTEMPT,
            longest_wait: Duration::MAX,
        };
        self.api.call(&mut token, &call, act_by).await
    }
}

/// Which of the published and the guides' routes executes an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Platform API v2: the input is the body.
    Platform,
    /// The guides' `execute`: the input is the body, and `Idempotency-Key` is honoured.
    GuideExecute,
    /// The guides' `invoke`: the body is `{"input": …}`, and `Idempotency-Key` is honoured.
    GuideInvoke,
}

impl Route {
    /// The surface it belongs to.
    #[must_use]
    pub fn surface(self) -> Surface {
        match self {
            Self::Platform => Surface::Platform,
            Self::GuideExecute | Self::GuideInvoke => Surface::Guide,
        }
    }

    fn path(self, id: &DataActionId) -> String {
        let id = id.as_str();
        match self {
            Self::Platform => format!("/api/v2/integrations/actions/{id}/execute"),
            Self::GuideExecute => format!("/api/v2/integrations/dataactions/{id}/execute"),
            Self::GuideInvoke => format!("/api/v2/dataactions/actions/{id}/invoke"),
        }
    }

    fn body(self, input: &RawValue) -> String {
        match self {
            Self::Platform | Self::GuideExecute => input.get().to_owned(),
            Self::GuideInvoke => format!("{{\"input\":{}}}", input.get()),
        }
    }
}
