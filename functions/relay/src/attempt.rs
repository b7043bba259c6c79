//! Attempts: one is claimed before it is made, and its end is recorded by whoever claimed it.
//!
//! An item says since when it is due, and every change to it changes that. So whoever claims an attempt at what it
//! saw, under the condition that it is still due since then, is the only one. The claim moves the moment to the end
//! of a lease: an attempt that is never heard of again is due once more.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use jiff::Timestamp;
use shared::dynamo::{self, AttributeValue, Item, Table, Written, number, string};
use shared::random;
use shared::telemetry::{Metric, chain, count};
use tokio::time::Instant;

use crate::App;

/// How long an attempt and its recording may take: 5 s to send, and all the tries of the store.
const LEASE: Duration = Duration::from_secs(30);

/// How far the clocks of whoever wrote an item and whoever reads it from the stream may be apart.
const SKEW: Duration = Duration::from_secs(1);

/// Something that is due, as it was seen.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) item: Item,
    pub(crate) pk: String,
    sk: String,
    /// Since when it is due, in Unix milliseconds.
    since: i64,
    attempts: u32,
}

/// What an item is, as far as what is due is concerned.
#[derive(Debug)]
pub(crate) enum Seen {
    Due(Due),
    /// It is not due, or not yet.
    NotDue,
    /// It is not one of ours, or of a later version; its partition key.
    Unreadable(String),
}

/// An attempt that is ours to make.
#[derive(Debug)]
pub(crate) struct Attempt {
    pk: String,
    sk: String,
    owner: String,
    /// Which one it is, from 1.
    pub(crate) number: u32,
}

impl Seen {
    /// What `item` is, if its layout is of this version.
    pub(crate) fn of(item: Item, version: u32, now: Timestamp) -> Self {
        if !item.contains_key("due_at") || !item.contains_key("due_shard") {
            return Self::NotDue;
        }
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        let read = || {
            (item.get("v") == Some(&number(version))).then_some(())?;
            let attempts = item.get("attempts")?.as_n().ok()?.parse().ok()?;
            let since = item.get("due_at")?.as_n().ok()?.parse().ok()?;
            Some((text("pk")?, text("sk")?, since, attempts))
        };
        let Some((pk, sk, since, attempts)) = read() else {
            return Self::Unreadable(text("pk").unwrap_or_default());
        };
        if since > after(now, SKEW) {
            return Self::NotDue;
        }
        Self::Due(Due { item, pk, sk, since, attempts })
    }
}

impl Due {
    /// An attribute's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.item.get(name)?.as_s().ok().map(String::as_str)
    }

    /// An attribute that is a moment, in Unix milliseconds.
    pub(crate) fn moment(&self, name: &str) -> Option<i64> {
        self.item.get(name)?.as_n().ok()?.parse().ok()
    }

    /// Claims the next attempt; nothing if somebody else has it, or it is dealt with. One request.
    pub(crate) async fn claim(&self, app: &App, until: Instant) -> Result<Option<Attempt>, dynamo::Error> {
        let owner = random::token();
        let number_of_this = self.attempts.saturating_add(1);
        let changes = Changes::default()
            .set("attempts", number(number_of_this))
            .set("due_at", number(after(app.clock.now(), LEASE)))
            .set("attempt_owner", string(&owner));
        let is_ours = match self.write(&app.table, &changes, until).await? {
            Written::Applied(_) => true,
            // The response to our own claim was lost, and the SDK's repeat met what the first try had written.
            Written::Refused(standing) => standing.get("attempt_owner") == Some(&string(&owner)),
        };
        let attempt = Attempt { pk: self.pk.clone(), sk: self.sk.clone(), owner, number: number_of_this };
        Ok(is_ours.then_some(attempt))
    }

    /// Changes it without an attempt. False if somebody else was there before.
    pub(crate) async fn change(
        &self,
        app: &App,
        changes: &Changes,
        until: Instant,
    ) -> Result<bool, dynamo::Error> {
        Ok(matches!(self.write(&app.table, changes, until).await?, Written::Applied(_)))
    }

    async fn write(
        &self,
        table: &Table,
        changes: &Changes,
        until: Instant,
    ) -> Result<Written, dynamo::Error> {
        let still_as_seen = |update| {
            changes
                .describe(update)
                .condition_expression("due_at = :seen_due_at AND attempts = :seen_attempts")
                .expression_attribute_values(":seen_due_at", number(self.since))
                .expression_attribute_values(":seen_attempts", number(self.attempts))
        };
        table.update(&self.pk, &self.sk, until, still_as_seen).await
    }
}

impl Attempt {
    /// Records how it ended, unless it has lapsed and somebody else makes another. True if that is on record. What
    /// cannot be recorded is left to the lease: it is attempted once more, under the same name.
    pub(crate) async fn record(&self, app: &App, changes: &Changes, until: Instant) -> bool {
        let still_ours = |update| {
            changes
                .describe(update)
                .condition_expression("attempt_owner = :owner")
                .expression_attribute_values(":owner", string(&self.owner))
        };
        match app.table.update(&self.pk, &self.sk, until, still_ours).await {
            Ok(Written::Applied(_)) => true,
            Ok(Written::Refused(_)) => {
                tracing::warn!(
                    message = "an attempt ended after its lease, and another was begun",
                    pk = self.pk
                );
                false
            }
            Err(error) => {
                count(Metric::AttemptsNotRecorded);
                tracing::error!(
                    message = "the end of an attempt could not be recorded; it is made once more",
                    pk = self.pk,
                    error = chain(&error),
                );
                false
            }
        }
    }
}

/// What is changed in an item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    set: Vec<(&'static str, AttributeValue)>,
    remove: Vec<&'static str>,
}

impl Changes {
    pub(crate) fn set(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.set.push((name, value));
        self
    }

    pub(crate) fn remove(mut self, name: &'static str) -> Self {
        self.remove.push(name);
        self
    }

    /// Nobody need come back to it.
    pub(crate) fn off_the_list(self) -> Self {
        self.remove("due_shard").remove("due_at")
    }

    pub(crate) fn describe(&self, mut update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        for name in self.set.iter().map(|(name, _)| name).chain(&self.remove) {
            update = update.expression_attribute_names(format!("#{name}"), *name);
        }
        for (name, value) in &self.set {
            update = update.expression_attribute_values(format!(":{name}"), value.clone());
        }
        let set: Vec<String> = self.set.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        let remove: Vec<String> = self.remove.iter().map(|name| format!("#{name}")).collect();
        let clauses = [("SET", set), ("REMOVE", remove)];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        let clauses: Vec<String> =
            clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect();
        update.update_expression(clauses.join(" "))
    }
}

/// The moment `time` after `now`, in Unix milliseconds.
pub(crate) fn after(now: Timestamp, time: Duration) -> i64 {
    now.checked_add(time).unwrap_or(Timestamp::MAX).as_millisecond()
}

/// Text that is kept for whoever looks into it.
pub(crate) fn because(text: &str) -> AttributeValue {
    string(&text[..text.floor_char_boundary(500)])
}
