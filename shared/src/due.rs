//! What is due: items that somebody must come back to, listed by a sparse index.
//!
//! An item is on the list while it has the attributes of [`attributes`]; who has dealt with it removes them. What
//! is due are notices to be sent, events to be published, and claims whose holder may never be heard of again. The list
//! is spread over a few shards, so that no partition of the index takes all the writes.

use crate::canonical::digest;
use crate::dynamo::{AttributeValue, number, string};

/// The index's name, as `template.yaml` has it.
pub const INDEX: &str = "due";

/// How many shards there are. A shard takes about a thousand writes a second, and costs one query a sweep.
const SHARDS: u8 = 8;

/// Every shard's name.
pub fn shards() -> impl Iterator<Item = String> {
    (0..SHARDS).map(name)
}

/// The shard of the item with this partition key.
#[must_use]
pub fn shard(pk: &str) -> String {
    let hash = digest(pk.as_bytes());
    let number = u8::from_str_radix(&hash[..2], 16).expect("a digest is hexadecimal");
    name(number % SHARDS)
}

/// The attributes that put the item with this partition key on the list, from `at` (Unix milliseconds) on.
#[must_use]
pub fn attributes(pk: &str, at: i64) -> [(&'static str, AttributeValue); 2] {
    [("due_shard", string(&shard(pk))), ("due_at", number(at))]
}

fn name(number: u8) -> String {
    format!("due#{number}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn items_spread_over_every_shard_and_no_other() {
        let used: BTreeSet<String> = (0..500).map(|item| shard(&format!("notice#{item}"))).collect();
        assert_eq!(used, shards().collect());
    }
}
