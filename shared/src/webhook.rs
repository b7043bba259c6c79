//! Webhooks: how a delivery proves where it comes from.

pub mod signature;
