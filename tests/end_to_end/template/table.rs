//! The table: its keys, its index, and what keeps it.

use local::template;
use serde_json::json;

use super::{TEMPLATE, defaults, resolved, with};

#[test]
fn the_table_has_the_keys_and_the_time_to_live_that_the_code_uses() {
    let table = template::table();
    let key =
        json!([{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]);
    assert_eq!(table["KeySchema"], key);
    let due = json!([{
        "IndexName": "due",
        "KeySchema": [
            {"AttributeName": "due_shard", "KeyType": "HASH"},
            {"AttributeName": "due_at", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }]);
    assert_eq!(table["GlobalSecondaryIndexes"], due);
    let types = table["AttributeDefinitions"].as_array().expect("a list").iter();
    let types: Vec<_> = types
        .map(|it| {
            (
                it["AttributeName"].as_str().unwrap_or_default(),
                it["AttributeType"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(types, [("pk", "S"), ("sk", "S"), ("due_shard", "S"), ("due_at", "N")]);
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "expires_at", "Enabled": true}));
}

#[test]
fn the_table_outlives_its_stack_and_mistakes() {
    let table = TEMPLATE["Resources"]["Table"].clone();
    assert_eq!(
        (&table["DeletionPolicy"], &table["UpdateReplacePolicy"]),
        (&json!("Retain"), &json!("Retain"))
    );
    let table = template::table();
    assert_eq!(table["DeletionProtectionEnabled"], true);
    assert_eq!(table["PointInTimeRecoverySpecification"], json!({"PointInTimeRecoveryEnabled": true}));
    assert_eq!(table["StreamSpecification"], json!({"StreamViewType": "NEW_AND_OLD_IMAGES"}));
}

#[test]
fn the_table_is_encrypted_with_the_key_that_is_given_or_with_the_accounts_own() {
    let encryption = &template::table()["SSESpecification"];
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    assert_eq!(resolved(encryption, &defaults()), Some(json!({"SSEEnabled": true, "SSEType": "KMS"})));
    assert_eq!(
        resolved(encryption, &with(&[("KmsKeyArn", key)])),
        Some(json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": key}))
    );
}
