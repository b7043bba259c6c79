//! A world's outbox and who empties it: notices put by hand, subscribers, and a relay that is driven by hand.

use local::{Bus, Inbox, Relay, TABLE_NAME};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::World;

/// The secret that notices are signed with.
pub const SIGNING_SECRET: &str = "whsec_bm90aWNlcyBhcmUgc2lnbmVkIHdpdGggdGhpcw==";

impl World {
    /// A relay on this world's clock and store that may call this machine. Nothing happens until it is told to.
    pub async fn relay(&self, variables: &[(&str, &str)]) -> Relay {
        self.relay_of(variables, None).await
    }

    /// The same, with a bus.
    pub async fn relay_with_bus(&self, bus: &Bus, variables: &[(&str, &str)]) -> Relay {
        let with_name: Vec<_> = [("EVENT_BUS_NAME", "events")].iter().chain(variables).copied().collect();
        self.relay_of(&with_name, Some(bus.url().as_str())).await
    }

    async fn relay_of(&self, variables: &[(&str, &str)], bus_url: Option<&str>) -> Relay {
        let usual = [
            ("TABLE_NAME", TABLE_NAME),
            ("NOTICE_SIGNING_SECRETS", SIGNING_SECRET),
            ("NOTICE_ALLOW_PRIVATE", "true"),
        ];
        let all = usual.iter().chain(variables);
        let all: Vec<_> = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let relay = Relay::start(&all, &self.engine, &self.store.url(), bus_url, self.clock.clock()).await;
        relay.expect("the relay starts")
    }

    /// A subscriber that knows the secret.
    pub async fn inbox(&self) -> Inbox {
        Inbox::start(SIGNING_SECRET, self.clock.clock()).await.expect("loopback has a free port")
    }

    /// Puts a notice into the outbox, due at once, behind everybody's back.
    pub fn put_notice(&self, id: &str, subscriber: &str) {
        let now = self.clock.clock().now().as_millisecond().to_string();
        let pk = format!("notice#{id}");
        self.engine
            .put(&json!({
                "pk": {"S": pk},
                "sk": {"S": "notice"},
                "v": {"N": "1"},
                "state": {"S": "PENDING"},
                "attempts": {"N": "0"},
                "notice_id": {"S": id},
                "subscriber": {"S": subscriber},
                "headers": {"S": r#"[["X-Transfer-Event","true"]]"#},
                "body": {"S": r#"{"status":"completed"}"#},
                "created_at": {"N": now},
                "due_shard": {"S": due_shard(&pk)},
                "due_at": {"N": now},
            }))
            .expect("the notice is an item");
    }

    /// The notice with this id, as it lies in the table.
    #[must_use]
    pub fn notice(&self, id: &str) -> Value {
        let pk = format!("notice#{id}");
        let notice = self.items("notice").into_iter().find(|item| item["pk"]["S"] == pk.as_str());
        notice.unwrap_or_else(|| panic!("there is no notice {id}"))
    }

    /// Everything that was ever written to the table, as its stream tells it.
    #[must_use]
    pub fn stream(&self) -> Vec<Value> {
        self.engine.stream(&mut None).expect("the table has a stream")
    }
}

/// The shard of the list of what is due on which the item with this partition key lies.
#[must_use]
pub fn due_shard(pk: &str) -> String {
    format!("due#{}", Sha256::digest(pk)[0] % 8)
}
