//! What a request does to the table, in IAM's words.

use serde_json::Value;

/// The permission that each part of a request needs, with what it is about. What is not understood is told as such: no
/// permission covers it.
pub(super) fn of(operation: &str, body: &[u8]) -> Vec<(String, String)> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let one = |permission: &str, key: &Value| vec![(permission.to_owned(), beginning(key))];
    match operation {
        "PutItem" => one(operation, &request["Item"]),
        "GetItem" | "UpdateItem" | "DeleteItem" => one(operation, &request["Key"]),
        "Query" => match request["IndexName"].as_str() {
            Some(index) => vec![(operation.to_owned(), format!("index/{index}"))],
            None => vec![(operation.to_owned(), partition(&request["ExpressionAttributeValues"][":pk"]))],
        },
        "BatchGetItem" => {
            let keys = tables(&request).flat_map(|table| elements(&table["Keys"]));
            keys.map(|key| (operation.to_owned(), beginning(key))).collect()
        }
        "BatchWriteItem" => {
            let writes = tables(&request).flat_map(elements);
            let key = |write: &Value| match &write["PutRequest"]["Item"] {
                Value::Null => beginning(&write["DeleteRequest"]["Key"]),
                item => beginning(item),
            };
            writes.map(|write| (operation.to_owned(), key(write))).collect()
        }
        // A transaction needs the permission for each of its parts.
        "TransactWriteItems" => elements(&request["TransactItems"]).flat_map(part).collect(),
        _ => vec![(operation.to_owned(), "?".to_owned())],
    }
}

fn part(write: &Value) -> impl Iterator<Item = (String, String)> {
    let parts = write.as_object().into_iter().flatten();
    parts.map(|(kind, write)| match kind.as_str() {
        "Put" => ("PutItem".to_owned(), beginning(&write["Item"])),
        // Update, Delete and ConditionCheck.
        _ => (format!("{kind}Item"), beginning(&write["Key"])),
    })
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn tables(request: &Value) -> impl Iterator<Item = &Value> {
    request["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values())
}

/// What an item's partition key begins with.
fn beginning(item: &Value) -> String {
    partition(&item["pk"])
}

/// `claim#` of `{"S": "claim#1f…"}`.
fn partition(key: &Value) -> String {
    let key = key["S"].as_str().unwrap_or("?");
    key.split_inclusive('#').next().unwrap_or("?").to_owned()
}
