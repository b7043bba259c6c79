//! This function's settings.

use std::time::Duration;

use shared::config::{self, A_YEAR, Reader, Variables, bytes, list, one_of, seconds, text};
use shared::genesys::data_actions::Route;
use shared::genesys::{self, DataActionId, Surface};
use shared::idempotency::Repetition;
use shared::telemetry;

/// The largest request that Lambda passes to a function.
const LARGEST_PAYLOAD: u64 = 6 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table_name: String,
    pub(crate) genesys: genesys::Settings,
    pub(crate) route: Route,
    pub(crate) answer_lifetime: Duration,
    pub(crate) lease: Duration,
    pub(crate) max_body_bytes: usize,
    pub(crate) http_timeout: Duration,
    retry_safe: RetrySafe,
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

/// Which actions do no harm when they run twice.
#[derive(Debug)]
enum RetrySafe {
    All,
    These(Vec<DataActionId>),
}

impl Settings {
    pub(crate) fn read(variables: &Variables) -> Result<Self, config::Error> {
        let mut reader = Reader::new(variables);
        telemetry::check_settings(&mut reader);
        let table_name = reader.required("TABLE_NAME", text);
        let genesys = genesys::Settings::read(&mut reader);
        let guide_routes = [("execute", Route::GuideExecute), ("invoke", Route::GuideInvoke)];
        let guide_route = reader.or("GENESYS_DATA_ACTION_ROUTE", Route::GuideExecute, one_of(&guide_routes));
        let retry_safe = reader.or("RETRY_SAFE_DATA_ACTIONS", RetrySafe::These(Vec::new()), retry_safe);
        let answer_lifetime =
            reader.or("IDEMPOTENCY_TTL_SECONDS", Duration::from_hours(24), seconds(1..=A_YEAR));
        let lease = reader.or("LEASE_SECONDS", Duration::from_mins(1), seconds(1..=900));
        let max_body_bytes = reader.or("MAX_BODY_BYTES", 262_144, bytes(1..=LARGEST_PAYLOAD));
        let http_timeout = reader.or("HTTP_TIMEOUT_SECONDS", Duration::from_secs(28), seconds(1..=900));
        let settings = || {
            let genesys = genesys?;
            let route = match genesys.surface {
                Surface::Platform => Route::Platform,
                Surface::Guide => guide_route,
            };
            let table_name = table_name?;
            Some(Self {
                table_name,
                genesys,
                route,
                answer_lifetime,
                lease,
                max_body_bytes,
                http_timeout,
                retry_safe,
            })
        };
        reader.finish(settings())
    }

    /// Whether the action may be sent again after an unclear outcome. The guides' surface recognises a repeated
    /// key; the published one does not, and there the operator knows best.
    pub(crate) fn repetition(&self, id: &DataActionId) -> Repetition {
        let is_safe = self.is_declared_safe(id) || self.route.surface() == Surface::Guide;
        if is_safe { Repetition::Safe } else { Repetition::Unsafe }
    }

    /// Who recognises a repeat, if that alone makes it safe: what was begun on another surface is not known there.
    pub(crate) fn recognised_by(&self, id: &DataActionId) -> Option<&'static str> {
        let surface = self.route.surface();
        (surface == Surface::Guide && !self.is_declared_safe(id)).then(|| surface.name())
    }

    fn is_declared_safe(&self, id: &DataActionId) -> bool {
        match &self.retry_safe {
            RetrySafe::All => true,
            RetrySafe::These(ids) => ids.contains(id),
        }
    }
}

fn retry_safe(value: &str) -> Result<RetrySafe, String> {
    if value == "*" {
        return Ok(RetrySafe::All);
    }
    let parse =
        |id: String| DataActionId::parse(&id).map_err(|fault| format!("has {id:?} as an id, which {fault}"));
    list(value)?.into_iter().map(parse).collect::<Result<_, _>>().map(RetrySafe::These)
}
