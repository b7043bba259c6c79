//! The embedded DynamoDB-compatible engine, with the table as the template defines it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_credential_types::Credentials;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use dynoxide::Database;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{Error, template};

/// What the table is called on this machine.
pub const TABLE_NAME: &str = "patchbay";

/// A running engine. Clones share it; it stops with the last of them.
#[derive(Clone)]
pub struct Engine {
    address: SocketAddr,
    database: Database,
    _server: Arc<JoinSet<()>>,
}

impl Engine {
    /// Starts an engine on a free port: in memory, or in `file`, whose table is created if it is not there.
    pub async fn start(file: Option<&Path>) -> Result<Self, Error> {
        let database = match file {
            Some(file) => {
                let name = file.to_str().ok_or_else(|| refused("the file's name is not UTF-8"))?;
                Database::new(name).map_err(refused)?
            }
            None => Database::memory().map_err(refused)?,
        };
        if database.table_count().map_err(refused)? == 0 {
            create_table(&database)?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut server = JoinSet::new();
        server.spawn(dynoxide::server::serve_on(listener, database.clone()));
        Ok(Self { address, database, _server: Arc::new(server) })
    }

    /// Where it listens: an endpoint for any AWS SDK.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything in the table, each item in DynamoDB's JSON.
    pub fn items(&self) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        let mut scan = json!({"TableName": TABLE_NAME});
        // A scan reads one megabyte at a time.
        loop {
            let page = serde_json::from_value(scan.clone()).map_err(refused)?;
            let page = self.database.scan(page).map_err(refused)?;
            let mut page = serde_json::to_value(page).map_err(refused)?;
            items.extend(page["Items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match page["LastEvaluatedKey"].take() {
                Value::Null => return Ok(items),
                last => scan["ExclusiveStartKey"] = last,
            }
        }
    }

    /// Puts an item, in DynamoDB's JSON, behind everybody's back.
    pub fn put(&self, item: &Value) -> Result<(), Error> {
        let put = json!({"TableName": TABLE_NAME, "Item": item});
        let put = serde_json::from_value(put).map_err(refused)?;
        self.database.put_item(put).map(drop).map_err(refused)
    }

    /// What is new on the table's stream since `place`, each record as Lambda hands it over; and moves the place to its
    /// end. Nowhere is its beginning.
    pub fn stream(&self, place: &mut Option<String>) -> Result<Vec<Value>, Error> {
        let mut records = Vec::new();
        let mut iterator = match place.take() {
            Some(iterator) => iterator,
            None => self.beginning_of_stream()?,
        };
        loop {
            let request = serde_json::from_value(json!({"ShardIterator": iterator})).map_err(refused)?;
            let page = self.database.get_records(request).map_err(refused)?;
            let next = page.next_shard_iterator.clone().unwrap_or_default();
            let mut page = serde_json::to_value(page).map_err(refused)?;
            let new = page["Records"].as_array_mut().map(std::mem::take).unwrap_or_default();
            iterator = next;
            if new.is_empty() {
                *place = Some(iterator);
                return Ok(records);
            }
            records.extend(new);
        }
    }

    /// The engine's stream has one shard.
    fn beginning_of_stream(&self) -> Result<String, Error> {
        let request = serde_json::from_value(json!({"TableName": TABLE_NAME})).map_err(refused)?;
        let streams = self.database.list_streams(request).map_err(refused)?;
        let stream = streams.streams.first().ok_or_else(|| refused("the table has no stream"))?;
        let request = serde_json::from_value(json!({"StreamArn": stream.stream_arn})).map_err(refused)?;
        let shards = self.database.describe_stream(request).map_err(refused)?.stream_description.shards;
        let shard = shards.first().ok_or_else(|| refused("the stream has no shard"))?;
        let request = json!({"StreamArn": stream.stream_arn, "ShardId": shard.shard_id,
            "ShardIteratorType": "TRIM_HORIZON"});
        let request = serde_json::from_value(request).map_err(refused)?;
        let iterator = self.database.get_shard_iterator(request).map_err(refused)?.shard_iterator;
        iterator.ok_or_else(|| refused("the shard has no beginning"))
    }
}

/// The SDK configuration that reaches an engine at `url`, whatever proxy the machine uses. Its credentials are as
/// good as any other.
pub(crate) async fn sdk_config(url: &str) -> aws_config::SdkConfig {
    anywhere().endpoint_url(url).load().await
}

/// A configuration that says nothing of endpoints.
fn anywhere() -> aws_config::ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "patchbay"))
        .http_client(shared::aws::http_client().expect("this machine has certificates to trust"))
}

/// The same, with another endpoint for EventBridge, if there is a bus.
pub(crate) async fn sdk_config_with_bus(url: &str, bus_url: Option<&str>) -> aws_config::SdkConfig {
    let Some(bus) = bus_url else { return sdk_config(url).await };
    let endpoints = Endpoints { store: url.to_owned(), bus: bus.to_owned() };
    // One endpoint for all, if it were set, would go before those that a service has to itself.
    anywhere().load().await.into_builder().service_config(endpoints).build()
}

/// What `AWS_ENDPOINT_URL_EVENTBRIDGE` is for a process.
#[derive(Debug)]
struct Endpoints {
    store: String,
    bus: String,
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        match (key.env(), key.service_id()) {
            ("AWS_ENDPOINT_URL", "EventBridge") => Some(self.bus.clone()),
            ("AWS_ENDPOINT_URL", _) => Some(self.store.clone()),
            _ => None,
        }
    }
}

fn create_table(database: &Database) -> Result<(), Error> {
    let properties = template::table();
    let mut create = json!({"TableName": TABLE_NAME});
    // The properties of a CloudFormation table that its CreateTable request has too.
    for name in ["AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"] {
        if let Some(value) = properties.get(name) {
            create[name] = value.clone();
        }
    }
    if let Some(stream) = properties.pointer("/StreamSpecification/StreamViewType") {
        create["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": stream});
    }
    let request = serde_json::from_value(create).map_err(refused)?;
    database.create_table(request).map_err(refused)?;
    let live: Value =
        json!({"TableName": TABLE_NAME, "TimeToLiveSpecification": properties["TimeToLiveSpecification"]});
    let request = serde_json::from_value(live).map_err(refused)?;
    database.update_time_to_live(request).map_err(refused)?;
    Ok(())
}

fn refused(fault: impl std::fmt::Display) -> Error {
    Error::Engine(fault.to_string())
}
