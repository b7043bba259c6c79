//! Genesys Cloud, as a client: two API surfaces behind one type each.
//!
//! `platform` is the published Platform API v2. `guide` is the surface that integration guides describe and
//! some gateways speak: other paths, and an `Idempotency-Key` that is honoured.
//!
//! Every attempt says which it was: the call was answered, it certainly did not happen, or it may have
//! happened. Nothing here decides to repeat a call that may have happened; its caller says whether that is
//! safe.

mod settings;
mod ids;
pub mod auth;
mod api;
pub mod data_actions;
pub mod conversations;
pub mod retention;

mod connection;
mod retry;

pub use api::{Attempt, Called, NotPerformed};
pub use ids::{BadId, ConversationId, DataActionId, Id, JobId, ParticipantId, PolicyId, QueueId, UserId};
pub use retry::RetryPolicy;
pub use settings::{REGIONS, Settings, Surface};

use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An HTTP client for Genesys Cloud.
///
/// It follows no redirect, keeps no idle connection, uses no proxy and repeats nothing on its own. An instance may be frozen
/// between two invocations while the other side closes the connection; a request written to such a connection
/// is lost without anybody knowing whether it arrived, and that costs more than a handshake.
///
/// Fails only where the machine has no certificates to trust.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .connector_layer(connection::layer())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("patchbay/", env!("CARGO_PKG_VERSION")))
        .build()
}
