//! Webhooks: how a delivery proves where it comes from, and how a notice reaches its subscriber.

pub mod signature;
pub mod outbound;
