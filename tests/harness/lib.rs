//! What the tests stand on: a world for each of them, and stand-ins at its edges.
//!
//! Everything here speaks HTTP and JSON and knows none of the product's types but the clock it turns.

pub mod world;
pub mod store;
pub mod trail;
pub mod secrets_manager;
pub mod runtime_api;
pub mod invoke_api;
pub mod events;
pub mod outbox;
