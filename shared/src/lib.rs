//! What must be true in every Patchbay function.
//!
//! A thing is here because two functions need it, or because it must hold everywhere. Reading order is the
//! way of a request: settings are read, an event comes through the door, a key is claimed, Genesys Cloud is
//! called, the answer is recorded, and a refusal is shown as a problem.

pub mod config;
pub mod secret;
pub mod clock;
pub mod random;
pub mod telemetry;
pub mod trace;

pub mod lambda;
pub mod problem;
pub mod canonical;
pub mod request;
mod retry_after;
pub mod webhook;

pub mod aws;
pub mod dynamo;
pub mod due;
pub mod audit;
pub mod outbox;
pub mod events;
pub mod idempotency;
pub mod genesys;
