//! What must be true in every Patchbay function.
//!
//! A thing is here because two functions need it, or because it must hold everywhere. Reading order is the
//! way of a request: settings are read, an event comes through the door, a key is claimed, Genesys Cloud is
//! called, the answer is recorded, and a refusal is shown as a problem.

pub mod clock;
pub mod config;
pub mod random;
pub mod secret;
pub mod telemetry;

pub mod canonical;
pub mod lambda;
pub mod problem;
pub mod webhook;

pub mod dynamo;
pub mod genesys;
pub mod idempotency;
