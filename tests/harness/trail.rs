//! Audit trails, read from the table and verified by hand: what the product says of its own trails is not asked.

use std::collections::BTreeSet;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The names of the trails that these items, in DynamoDB's JSON, hold.
#[must_use]
pub fn names(items: &[Value]) -> Vec<String> {
    let heads = items.iter().filter(|item| item["sk"]["S"] == "head");
    let names: BTreeSet<String> =
        heads.filter_map(|head| head["trail"]["S"].as_str()).map(str::to_owned).collect();
    names.into_iter().collect()
}

/// The entries of a trail, in order, if each follows from the one before it and the head from the last.
pub fn verified(items: &[Value], name: &str) -> Result<Vec<Value>, String> {
    let key = sha256(name);
    let in_partition = |prefix: &str| {
        let pk = format!("{prefix}#{key}");
        let mut found: Vec<&Value> = items.iter().filter(|item| item["pk"]["S"] == pk).collect();
        found.sort_by_key(|item| item["sk"]["S"].as_str().map(str::to_owned));
        found
    };
    let mut entries = Vec::new();
    let mut previous = Value::Null;
    for (sequence, item) in (1..).zip(in_partition("trail")) {
        let text = item["entry"]["S"].as_str().ok_or("an entry without text")?;
        let entry: Value = serde_json::from_str(text).map_err(|fault| fault.to_string())?;
        let expected = format!("entry#{sequence:012}");
        let holds = item["sk"]["S"] == expected.as_str()
            && entry["sequence"] == sequence
            && entry["previous"] == previous
            && entry["trail"] == name;
        if !holds {
            return Err(format!("entry {sequence} does not follow: {entry}"));
        }
        previous = Value::String(sha256(text));
        entries.push(entry);
    }
    match in_partition("head").as_slice() {
        [] if entries.is_empty() => Ok(entries),
        [head]
            if head["hash"]["S"] == previous
                && head["sequence"]["N"].as_str() == Some(&entries.len().to_string()) =>
        {
            Ok(entries)
        }
        heads => Err(format!("{} entries, and the head says otherwise: {heads:?}", entries.len())),
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
