//! What the tests stand on: a world for each of them, and stand-ins at its edges.
//!
//! Everything here speaks HTTP and JSON and knows none of the product's types.

pub mod events;
pub mod runtime_api;
pub mod secrets_manager;
pub mod store;
pub mod world;
