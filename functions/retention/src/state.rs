//! What is known of an organisation's policies, as it lies in the table: one item a policy, one for each order that is not
//! carried out, and the lease.
//!
//! The lease keeps invocations from meeting. Should two meet all the same, because one outlived its lease: a policy's
//! item is written under the condition that it is still as it was read, so one of them stops before it asks for anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::audit::{self, Appended, Entry, Head, Trail, Trails};
use shared::canonical::digest;
use shared::dynamo::{
    self, AttributeValue, Item, Table, Transacted, UpdateBuilder, Written as Put, number, string,
};
use shared::outbox::Notice;
use shared::random;
use shared::telemetry::chain;
use tokio::time::Instant;

use crate::decide::Mark;
use crate::machine::Phase;
use crate::order::{Rules, Written};

/// The version of the layout of both items.
const VERSION: u32 = 1;

/// The sort key of the lease.
const LEASE: &str = "lease";

/// How long the place of an order is kept that was carried out.
const LEFTOVER: Duration = Duration::from_hours(14 * 24);

/// How long withdrawing a lease may take: the caller waits for it, and the store is in trouble.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// How many orders are forgotten at once: a transaction has room for a hundred writes.
const MAX_FORGOTTEN: usize = 90;

/// What is known of the policies at one place.
#[derive(Debug)]
pub(crate) struct State {
    table: Table,
    trails: Trails,
    place: String,
    pk: String,
}

/// What is known of one policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) known: Known,
    /// The writes of which one was the last: the one that was read, and ours of which nobody knows whether they were
    /// applied.
    written_by: Vec<String>,
    head: Option<Head>,
}

/// What is kept of one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) name: String,
    /// How it was deployed.
    pub(crate) mark: Option<Mark>,
    /// What is under way.
    pub(crate) work: Option<Work>,
    /// What its last run came to, unless nothing had to be done.
    pub(crate) last: Option<Last>,
}

/// Work that was begun, with all that it takes to carry it on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) written: Written,
    pub(crate) rules: Rules,
    pub(crate) phase: Phase,
    /// The run that began it.
    pub(crate) run: String,
    /// Names the request at the other side.
    pub(crate) request_id: String,
    /// Since when, in Unix milliseconds.
    pub(crate) since: i64,
    /// Whether somebody has heard that it is pending.
    pub(crate) is_told: bool,
    /// Whether its job was looked at as often as it may be: a later run looks once more.
    pub(crate) is_given_up: bool,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// Which run.
    pub(crate) run: String,
    /// What its report says of the policy.
    pub(crate) told: Value,
    /// What happened.
    pub(crate) events: Vec<Value>,
}

/// What is known besides the policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// The orders that are not carried out, in the order in which they came.
    pub(crate) orders: Vec<KeptOrder>,
    /// Until when Genesys Cloud is left alone, in Unix milliseconds.
    pub(crate) left_alone_until: Option<i64>,
}

/// An order that is not carried out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptOrder {
    /// The run it is of.
    pub(crate) run: String,
    pub(crate) text: String,
    /// The policies that a later order names: they are no longer this one's.
    pub(crate) superseded: BTreeSet<String>,
    came_at: i64,
}

/// What is kept when a run ends.
#[derive(Debug)]
pub(crate) struct Closing<'a> {
    /// The runs whose orders are carried out.
    pub(crate) carried_out: &'a [&'a str],
    /// By run, the policies of orders that are not, and that a later order names.
    pub(crate) superseded: &'a [(String, BTreeSet<String>)],
    /// Until when Genesys Cloud is left alone, in Unix milliseconds.
    pub(crate) left_alone_until: Option<i64>,
}

/// The lease of a run, while it is ours.
#[derive(Debug)]
pub(crate) struct Lease {
    owner: String,
}

/// What came of beginning a run.
#[derive(Debug)]
pub(crate) enum Begun {
    Ours(Lease),
    /// Somebody is at it, for at most this long.
    Held(Duration),
}

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] dynamo::Error),
    #[error(transparent)]
    Trail(#[from] audit::Error),
    #[error("{0} of a retention policy on record cannot be read")]
    Unreadable(&'static str),
    #[error("another run is at the policy")]
    Fenced,
}

impl State {
    pub(crate) fn new(table: Table, place: String) -> Self {
        let pk = format!("retention#{}", digest(place.as_bytes()));
        Self { trails: Trails::new(table.clone()), table, place, pk }
    }

    /// Surface and address.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Everything that is known, in one request for each megabyte of it.
    pub(crate) async fn load(&self, until: Instant) -> Result<(Standing, BTreeMap<String, Kept>), Error> {
        let mut standing = Standing::default();
        let mut policies = BTreeMap::new();
        for item in self.table.partition(&self.pk, until).await? {
            if item.get("v") != Some(&number(VERSION)) {
                return Err(Error::Unreadable("the version"));
            }
            match text(&item, "sk") {
                Some(LEASE) => standing.left_alone_until = integer(&item, "left_alone_until"),
                Some(sk) if sk.starts_with("order#") => standing.orders.extend(KeptOrder::read(&item)),
                _ => {
                    let kept = Kept::read(&item)?;
                    policies.insert(kept.known.name.clone(), kept);
                }
            }
        }
        standing.orders.sort_by_key(|order| order.came_at);
        Ok((standing, policies))
    }

    /// Takes the lease for a run, which begins with this order; without one, it carries on what was begun.
    pub(crate) async fn begin(
        &self,
        order: Option<(&str, &str)>,
        now: Timestamp,
        lasting: Duration,
        until: Instant,
    ) -> Result<Begun, Error> {
        let owner = random::token();
        let (at, now) = (now, now.as_millisecond());
        let lease_until = now.saturating_add(i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX));
        let taking = self.table.updating(&self.pk, LEASE, |update| {
            update
                .update_expression("SET v = :v, #owner = :owner, lease_until = :lease_until, place = :place")
                .condition_expression(
                    "attribute_not_exists(pk) OR (v = :v AND (attribute_not_exists(lease_until) OR lease_until <= :now))",
                )
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":v", number(VERSION))
                .expression_attribute_values(":owner", string(&owner))
                .expression_attribute_values(":lease_until", number(lease_until))
                .expression_attribute_values(":place", string(&self.place))
                .expression_attribute_values(":now", number(now))
        });
        let keeping = order.map(|(run, text)| {
            let keeping = |update| keeping_order(update, run, text, now);
            self.table.updating(&self.pk, &order_key(run), keeping)
        });
        let writes = std::iter::once(taking).chain(keeping).collect();
        let standing = match self.table.transact(writes, until).await {
            Ok(Transacted::Applied) => return Ok(Begun::Ours(Lease { owner })),
            Ok(Transacted::Refused(standing)) => standing,
            Err(error) => {
                self.withdraw(&Lease { owner }, order, at, until).await;
                return Err(error.into());
            }
        };
        let held = standing.into_iter().flatten().next().unwrap_or_default();
        if text(&held, "owner") == Some(&owner) {
            // The first response was lost.
            return Ok(Begun::Ours(Lease { owner }));
        }
        if held.get("v") != Some(&number(VERSION)) {
            return Err(Error::Unreadable("the version"));
        }
        let left = integer(&held, "lease_until").unwrap_or_default().saturating_sub(now);
        Ok(Begun::Held(Duration::from_millis(u64::try_from(left).unwrap_or_default())))
    }

    /// Keeps an order for the next resume, because somebody else is at it.
    pub(crate) async fn keep_order(
        &self,
        run: &str,
        text: &str,
        now: Timestamp,
        until: Instant,
    ) -> Result<(), Error> {
        let keeping = |update| keeping_order(update, run, text, now.as_millisecond());
        let order = self.table.updating(&self.pk, &order_key(run), keeping);
        self.table.transact(vec![order], until).await.map(drop).map_err(Error::from)
    }

    /// Takes back a lease of which nobody knows whether it was taken, and the order: who gave it hears that nothing was
    /// done. If this fails too, the lease lapses, and the order is carried out by the next resume.
    async fn withdraw(&self, lease: &Lease, order: Option<(&str, &str)>, now: Timestamp, until: Instant) {
        let carried_out: Vec<&str> = order.into_iter().map(|(run, _)| run).collect();
        let closing = Closing { carried_out: &carried_out, superseded: &[], left_alone_until: None };
        let until = until.min(Instant::now() + WITHDRAWAL);
        if let Err(error) = self.end(lease, &closing, now, until).await {
            tracing::warn!(
                message = "the lease of a retention run could not be withdrawn",
                error = chain(&error)
            );
        }
    }

    /// Gives the lease back. An order that is carried out need not be kept.
    pub(crate) async fn end(
        &self,
        lease: &Lease,
        closing: &Closing<'_>,
        now: Timestamp,
        until: Instant,
    ) -> Result<(), Error> {
        let giving_back = self.table.updating(&self.pk, LEASE, |update| {
            let update = update
                .condition_expression("#owner = :owner")
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":owner", string(&lease.owner));
            match closing.left_alone_until {
                Some(until) => update
                    .update_expression("SET left_alone_until = :until REMOVE #owner, lease_until")
                    .expression_attribute_values(":until", number(until)),
                None => update.update_expression("REMOVE #owner, lease_until, left_alone_until"),
            }
        });
        let expires_at = now.as_second() + i64::try_from(LEFTOVER.as_secs()).unwrap_or_default();
        // What a later order has taken over stays so, also for an order that comes once more.
        let names_of = |run: &str| {
            let names = closing.superseded.iter().find(|(of, _)| of == run).map(|(_, names)| names);
            names.filter(|names| !names.is_empty()).map(|names| names.iter().cloned().collect::<Vec<_>>())
        };
        let superseding = closing.superseded.iter().filter_map(|(run, _)| {
            let names = names_of(run).filter(|_| !closing.carried_out.contains(&run.as_str()))?;
            Some(self.table.updating(&self.pk, &order_key(run), |update| {
                update
                    .update_expression("ADD superseded :names")
                    .expression_attribute_values(":names", AttributeValue::Ss(names))
            }))
        });
        let forgetting = closing.carried_out.iter().map(|run| {
            self.table.updating(&self.pk, &order_key(run), |update| {
                let forget = "SET v = :v, expires_at = :expires REMOVE #order";
                let update = update
                    .expression_attribute_names("#order", "order")
                    .expression_attribute_values(":v", number(VERSION))
                    .expression_attribute_values(":expires", number(expires_at));
                match names_of(run) {
                    Some(names) => update
                        .update_expression(format!("{forget} ADD superseded :names"))
                        .expression_attribute_values(":names", AttributeValue::Ss(names)),
                    None => update.update_expression(forget),
                }
            })
        });
        // An order that is not forgotten now is carried out once more, to no effect, and forgotten then.
        let orders = superseding.chain(forgetting).take(MAX_FORGOTTEN);
        let writes = std::iter::once(giving_back).chain(orders).collect();
        // Refused, it is somebody else's now; or a repeat of the SDK's finds that it was given back.
        self.table.transact(writes, until).await.map(drop).map_err(Error::from)
    }

    /// Keeps what is known of a policy.
    pub(crate) async fn keep(&self, kept: &mut Kept, until: Instant) -> Result<(), Error> {
        let writing = Writing::of(kept);
        let sk = sort_key(&kept.known.name);
        let written = self.table.update(&self.pk, &sk, until, |update| {
            update
                .update_expression(SET)
                .condition_expression(writing.condition())
                .expression_attribute_names("#known", "known")
                .set_expression_attribute_values(Some(writing.values(&self.place)))
        });
        match written.await {
            Ok(Put::Applied(_)) => {}
            Ok(Put::Refused(item)) if text(&item, "written_by") == Some(&writing.by) => {}
            Ok(Put::Refused(_)) => return Err(Error::Fenced),
            Err(error) => {
                kept.written_by.push(writing.by);
                return Err(error.into());
            }
        }
        kept.written_by = vec![writing.by];
        Ok(())
    }

    /// Keeps what is known of a policy, in one transaction with an entry on its trail and what others must hear.
    pub(crate) async fn tell(
        &self,
        kept: &mut Kept,
        entry: &Entry,
        notice: Option<&Notice>,
        now: Timestamp,
        until: Instant,
    ) -> Result<(), Error> {
        let writing = Writing::of(kept);
        let updating = |update: UpdateBuilder| {
            update
                .update_expression(SET)
                .condition_expression(writing.condition())
                .expression_attribute_names("#known", "known")
                .set_expression_attribute_values(Some(writing.values(&self.place)))
        };
        let item = self.table.updating(&self.pk, &sort_key(&kept.known.name), updating);
        let notice = notice.map(|notice| notice.putting(&self.table, now));
        let writes = std::iter::once(item).chain(notice).collect();
        let trail = self.trail(&kept.known.name);
        match self.trails.append(&trail, entry, now, kept.head.as_ref(), writes, until).await {
            Ok(Appended::Applied(head)) => kept.head = Some(head),
            Ok(Appended::Refused(_)) => return Err(Error::Fenced),
            Err(error) => {
                kept.written_by.push(writing.by);
                return Err(error.into());
            }
        }
        kept.written_by = vec![writing.by];
        Ok(())
    }

    /// The trail of a policy.
    pub(crate) fn trail(&self, name: &str) -> Trail {
        Trail::of_policy(&self.place, name)
    }
}

fn keeping_order(update: UpdateBuilder, run: &str, text: &str, now: i64) -> UpdateBuilder {
    update
        .update_expression(
            "SET v = :v, run_id = :run, #order = :order, came_at = if_not_exists(came_at, :now) REMOVE expires_at",
        )
        .expression_attribute_names("#order", "order")
        .expression_attribute_values(":v", number(VERSION))
        .expression_attribute_values(":run", string(run))
        .expression_attribute_values(":order", string(text))
        .expression_attribute_values(":now", number(now))
}

const SET: &str = "SET v = :v, place = :place, policy_name = :name, standing = :standing, #known = :known, \
                   written_by = :by";

/// One write of what is known of a policy.
struct Writing {
    by: String,
    after: Vec<String>,
    name: String,
    standing: &'static str,
    known: String,
}

impl Writing {
    fn of(kept: &Kept) -> Self {
        let known = serde_json::to_string(&kept.known).expect("strings, numbers and JSON always serialise");
        let standing = match &kept.known {
            Known { work: Some(_), .. } => "UNDER_WAY",
            Known { mark: Some(_), .. } => "DEPLOYED",
            Known { work: None, mark: None, .. } => "NOT_DEPLOYED",
        };
        let (after, name) = (kept.written_by.clone(), kept.known.name.clone());
        Self { by: random::token(), after, name, standing, known }
    }

    /// Nobody else has written since.
    fn condition(&self) -> String {
        let after: Vec<String> = (0..self.after.len()).map(|index| format!(":after{index}")).collect();
        match self.after.first() {
            Some(_) => format!("written_by IN ({})", after.join(", ")),
            None => "attribute_not_exists(pk)".to_owned(),
        }
    }

    fn values(&self, place: &str) -> HashMap<String, AttributeValue> {
        let values = [
            (":v", number(VERSION)),
            (":place", string(place)),
            (":name", string(&self.name)),
            (":standing", string(self.standing)),
            (":known", string(&self.known)),
            (":by", string(&self.by)),
        ];
        let after = self.after.iter().enumerate();
        let after = after.map(|(index, by)| (format!(":after{index}"), string(by)));
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(after).collect()
    }
}

impl Kept {
    /// A policy of which nothing is known.
    pub(crate) fn new(name: &str) -> Self {
        Self { known: Known { name: name.to_owned(), ..Known::default() }, ..Self::default() }
    }

    fn read(item: &Item) -> Result<Self, Error> {
        let known = text(item, "known").ok_or(Error::Unreadable("known"))?;
        let known = serde_json::from_str(known).map_err(|_| Error::Unreadable("known"))?;
        let written_by = text(item, "written_by").ok_or(Error::Unreadable("written_by"))?;
        Ok(Self { known, written_by: vec![written_by.to_owned()], head: None })
    }
}

impl Known {
    /// Whether something was begun, and another invocation can carry it on.
    pub(crate) fn is_under_way(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.is_given_up)
    }
}

impl KeptOrder {
    /// An order that is there; one that was carried out leaves its place empty for a while.
    fn read(item: &Item) -> Option<Self> {
        let (run, text) = (text(item, "run_id")?.to_owned(), text(item, "order")?.to_owned());
        let names = item.get("superseded").and_then(|names| names.as_ss().ok());
        let superseded = names.into_iter().flatten().cloned().collect();
        Some(Self { run, text, superseded, came_at: integer(item, "came_at").unwrap_or_default() })
    }
}

/// The sort key of a run's order.
fn order_key(run: &str) -> String {
    format!("order#{}", digest(run.as_bytes()))
}

/// The sort key of a policy's item.
fn sort_key(name: &str) -> String {
    format!("policy#{}", digest(name.as_bytes()))
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn integer(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
