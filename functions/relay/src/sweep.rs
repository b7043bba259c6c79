//! The sweep: deals with all that is due, page by page, while there is time.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use futures_util::stream::{self, StreamExt};
use shared::dynamo::{self, Item};
use shared::idempotency::{self, Lapsed};
use shared::lambda::Deadline;
use shared::telemetry::{Metric, chain, count};
use shared::{due, events as event_layout, outbox};

use crate::attempt::{Due, Seen};
use crate::breaker::Subscribers;
use crate::stream::unreadable;
use crate::tally::{Outcome, Tally};
use crate::{App, events, has_time, notices, store_failed};

/// How many notices to one subscriber are under way at once: what was due for long comes in crowds.
const AT_ONCE: usize = 10;

/// How many items of each shard are dealt with together.
const PAGE: i32 = 50;

/// How many items a read of many may ask for.
const READ_TOGETHER: usize = 100;

/// How many claims are looked at at once.
const CLAIMS_AT_ONCE: usize = 10;

/// What another round takes at least.
const A_ROUND: Duration = Duration::from_secs(6);

/// Deals with what is due. What there is no time for stays due.
///
/// What is due in all shards is dealt with in rounds, a page of each shard at a time. What cannot be read, or put
/// off, stays behind: the next page begins after it, so that nothing starves.
pub(crate) async fn sweep(app: &App, deadline: Deadline) -> Tally {
    let now = app.clock.now().as_millisecond();
    let subscribers = Subscribers::new(AT_ONCE);
    let mut tally = Tally::default();
    let mut shards: Vec<(String, Option<Item>)> = due::shards().map(|shard| (shard, None)).collect();
    while !shards.is_empty() {
        if !has_time(deadline, A_ROUND) {
            tally.add(Outcome::LeftOver);
            break;
        }
        let pages = join_all(shards.into_iter().map(|(shard, start)| async move {
            let page = app.table.due(&shard, now, PAGE, start, deadline.act_by()).await;
            (shard, page)
        }));
        shards = Vec::new();
        let mut keys = Vec::new();
        for (shard, page) in pages.await {
            match page {
                Ok(page) => {
                    keys.extend(page.keys);
                    shards.extend(page.next.map(|next| (shard, Some(next))));
                }
                Err(error) => {
                    store_failed(&error);
                    tally.add(Outcome::StoreDown);
                }
            }
        }
        deal_with(app, &subscribers, &keys, deadline, &mut tally).await;
    }
    tally
}

/// Deals the items with these keys out to who sees to their kind.
async fn deal_with(
    app: &App,
    subscribers: &Subscribers,
    keys: &[Item],
    deadline: Deadline,
    tally: &mut Tally,
) {
    let (mut claims, mut to_read) = (BTreeSet::new(), BTreeSet::new());
    for key in keys {
        let text = |name: &str| key.get(name)?.as_s().ok().cloned();
        match (text("pk"), text("sk")) {
            (Some(pk), Some(sk)) if sk == idempotency::SORT_KEY => drop(claims.insert((pk, sk))),
            (Some(pk), Some(sk)) if [outbox::SORT_KEY, event_layout::SORT_KEY].contains(&&*sk) => {
                to_read.insert((pk, sk));
            }
            _ => unreadable(),
        }
    }
    let (mut due_notices, mut due_events) = (Vec::new(), Vec::new());
    match read(app, to_read, deadline).await {
        Ok(items) => {
            for item in items {
                let is_notice =
                    item.get("sk").and_then(|sk| sk.as_s().ok()).is_some_and(|sk| sk == outbox::SORT_KEY);
                let (version, due) = if is_notice {
                    (outbox::VERSION, &mut due_notices)
                } else {
                    (event_layout::VERSION, &mut due_events)
                };
                match Seen::of(item, version, app.clock.now()) {
                    Seen::Due(seen) => due.push(seen),
                    Seen::NotDue => {}
                    Seen::Unreadable => unreadable(),
                }
            }
        }
        Err(error) => {
            store_failed(&error);
            tally.add(Outcome::StoreDown);
        }
    }
    let (delivered, published, lapsed) = join3(
        deliver_all(app, subscribers, &due_notices, deadline),
        events::publish(app, due_events, deadline),
        lapse_all(app, &claims, deadline),
    )
    .await;
    delivered.into_iter().chain(published).chain(lapsed).for_each(|outcome| tally.add(outcome));
}

/// The items as they are now: the index lags behind.
async fn read(
    app: &App,
    keys: BTreeSet<(String, String)>,
    deadline: Deadline,
) -> Result<Vec<Item>, dynamo::Error> {
    let keys: Vec<_> = keys.into_iter().collect();
    let chunks = keys.chunks(READ_TOGETHER).map(|chunk| app.table.get_all(chunk.to_vec(), deadline.act_by()));
    let chunks: Result<Vec<Vec<Item>>, _> = join_all(chunks).await.into_iter().collect();
    Ok(chunks?.concat())
}

async fn deliver_all(app: &App, subscribers: &Subscribers, due: &[Due], deadline: Deadline) -> Vec<Outcome> {
    join_all(due.iter().map(|due| notices::deliver(app, subscribers, due, deadline))).await
}

async fn lapse_all(app: &App, claims: &BTreeSet<(String, String)>, deadline: Deadline) -> Vec<Outcome> {
    let lapsing = claims.iter().map(|(pk, _)| lapse(app, pk, deadline));
    stream::iter(lapsing).buffer_unordered(CLAIMS_AT_ONCE).collect().await
}

/// Turns a claim whose holder was never heard of again into one whose outcome is unknown.
async fn lapse(app: &App, pk: &str, deadline: Deadline) -> Outcome {
    match app.claims.lapse(pk, deadline.answer_by()).await {
        Ok(Lapsed::Unknown { key_hash, is_retry_safe }) => {
            // What may be run again without harm needs nobody to look into it.
            if !is_retry_safe {
                count(Metric::OutcomeUnknown);
            }
            tracing::warn!(
                message = "a claim lapsed while it acted: its outcome is unknown",
                idempotency.key_hash = key_hash,
                retry_safe = is_retry_safe,
            );
            Outcome::Unknown
        }
        Ok(Lapsed::Freed { key_hash }) => {
            tracing::info!(
                message = "a claim lapsed before its act: its key is free again",
                idempotency.key_hash = key_hash,
            );
            Outcome::Freed
        }
        Ok(Lapsed::NotLapsed) => Outcome::NotOurs,
        Err(idempotency::Error::Store(error)) => {
            store_failed(&error);
            Outcome::StoreDown
        }
        Err(error @ (idempotency::Error::Unreadable(_) | idempotency::Error::Trail(_))) => {
            count(Metric::RecordsUnreadable);
            tracing::error!(message = "a claim that is due cannot be read", pk, error = chain(&error));
            Outcome::Unreadable
        }
    }
}
