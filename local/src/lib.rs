//! Patchbay on one machine: the same functions, behind a gateway, on an embedded DynamoDB engine, with the
//! simulator in the place of Genesys Cloud.
//!
//! Nothing here is a second implementation: the gateway serves the routers that Lambda serves, and the table is
//! created from `template.yaml`.

pub mod serve;
pub mod demo;
pub mod retention;
mod stack;
mod gateway;
mod engine;
mod inbox;
mod bus;
mod relay;
pub mod template;
pub mod yaml;
mod rule;
mod signing;

pub use self::relay::Relay;
pub use bus::{Bus, Published};
pub use engine::{Engine, TABLE_NAME};
pub use gateway::Gateway;
pub use inbox::{Inbox, Received};
pub use rule::Rule;
pub use shared::clock::{Clock, ManualClock};
pub use signing::hub_signature;
pub use stack::{Options, Stack, WEBHOOK_SECRET};

/// Why the stack, or a part of it, could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens at the port.
    #[error(
        "port {port} is taken: stop what listens there, or choose another with --port (0 takes any free one)"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A socket could not be opened.
    #[error("cannot listen on this machine")]
    Network(#[from] std::io::Error),
    /// The embedded engine refused; why.
    #[error("the embedded DynamoDB engine refused: {0}")]
    Engine(String),
    /// A function refused its settings.
    #[error("a function cannot start")]
    Function(#[source] Box<dyn std::error::Error + Send + Sync>),
}
