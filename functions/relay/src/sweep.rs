//! The sweep: deals with all that is due, page by page, while there is time.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use shared::dynamo::{self, Item};
use shared::idempotency;
use shared::lambda::Deadline;
use shared::{due, events as event_layout, outbox, telemetry};

use crate::attempt::{Due, Seen};
use crate::breaker::Subscribers;
use crate::stream::unreadable;
use crate::tally::{Outcome, Tally};
use crate::{App, claims, events, notices, store_failed};

/// How many notices to one subscriber are under way at once: what was due for long comes in crowds.
const AT_ONCE: usize = 10;

/// How many items of each shard are dealt with together. All of them are in memory at once, and one may have 400 KB.
const PAGE: i32 = 15;

/// How many items a read of many may ask for.
const READ_TOGETHER: usize = 100;

/// What another round takes at least.
const A_ROUND: Duration = Duration::from_secs(6);

/// Deals with what is due. What there is no time for stays due.
///
/// What is due in all shards is dealt with in rounds, a page of each shard at a time. What cannot be read, or put
/// off, stays behind: the next page begins after it, so that nothing starves.
pub(crate) async fn sweep(app: &App, deadline: Deadline) -> Tally {
    let now = app.clock.now().as_millisecond();
    let subscribers = Subscribers::new(AT_ONCE);
    let (mut tally, mut backlog) = (Tally::default(), Backlog::default());
    let mut shards: Vec<(String, Option<Item>)> = due::shards().map(|shard| (shard, None)).collect();
    while !shards.is_empty() {
        if !deadline.has_time_for(A_ROUND) {
            tally.add(Outcome::LeftOver);
            break;
        }
        let reading: Vec<_> = shards
            .iter()
            .map(|(shard, start)| app.table.due(shard, now, PAGE, start.clone(), deadline.act_by()))
            .collect();
        let pages = join_all(reading).await;
        let mut keys = Vec::new();
        backlog.is_known = pages.iter().all(Result::is_ok);
        for ((shard, _), page) in std::mem::take(&mut shards).into_iter().zip(pages) {
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
        backlog.count(&keys);
        deal_with(app, &subscribers, &keys, deadline, &mut tally).await;
    }
    backlog.report(now);
    tally
}

/// What was found due, as far as the pages tell.
#[derive(Debug, Default)]
struct Backlog {
    notices: u32,
    /// Since when the first of all has been due, in Unix milliseconds.
    since: Option<i64>,
    is_known: bool,
}

impl Backlog {
    fn count(&mut self, keys: &[Item]) {
        for key in keys {
            let is_notice =
                key.get("sk").and_then(|sk| sk.as_s().ok()).is_some_and(|sk| sk == outbox::SORT_KEY);
            self.notices += u32::from(is_notice);
            let due_at = key.get("due_at").and_then(|due_at| due_at.as_n().ok()?.parse().ok());
            self.since = self.since.into_iter().chain(due_at).min();
        }
    }

    /// Nothing is told of a list that could not be read: it is not known to be empty.
    fn report(&self, now: i64) {
        if self.is_known {
            let age = now.saturating_sub(self.since.unwrap_or(now));
            let longest = Duration::from_millis(u64::try_from(age).unwrap_or_default());
            telemetry::found_due(self.notices, longest);
        }
    }
}

/// Deals the items with these keys out to who sees to their kind.
async fn deal_with(
    app: &App,
    subscribers: &Subscribers,
    keys: &[Item],
    deadline: Deadline,
    tally: &mut Tally,
) {
    let (mut due_claims, mut to_read) = (BTreeSet::new(), BTreeSet::new());
    for key in keys {
        let text = |name: &str| key.get(name)?.as_s().ok().cloned();
        match (text("pk"), text("sk")) {
            (Some(pk), Some(sk)) if sk == idempotency::SORT_KEY => drop(due_claims.insert(pk)),
            (Some(pk), Some(sk)) if [outbox::SORT_KEY, event_layout::SORT_KEY].contains(&&*sk) => {
                to_read.insert((pk, sk));
            }
            (pk, _) => unreadable(&pk.unwrap_or_default()),
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
                    Seen::Unreadable(pk) => unreadable(&pk),
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
        events::publish(app, &due_events, deadline),
        claims::lapse(app, &due_claims, deadline),
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
    let chunks: Vec<_> = keys
        .chunks(READ_TOGETHER)
        .map(|chunk| app.table.get_all(chunk.to_vec(), deadline.act_by()))
        .collect();
    let chunks: Result<Vec<Vec<Item>>, _> = join_all(chunks).await.into_iter().collect();
    Ok(chunks?.concat())
}

async fn deliver_all(app: &App, subscribers: &Subscribers, due: &[Due], deadline: Deadline) -> Vec<Outcome> {
    let delivering: Vec<_> =
        due.iter().map(|due| notices::deliver(app, subscribers, due, deadline)).collect();
    join_all(delivering).await
}
