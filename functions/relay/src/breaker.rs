//! Breakers: a subscriber that has failed several times in a row is left alone for a while.
//!
//! ```text
//!            5 failures in a row              the time is up: one is elected to probe
//!  closed ─────────────────────────► open ◄──────────────────────────────────────────► probing
//!     ▲                                                 it fails: open for twice as long   │
//!     └────────────────────────────────────────────────────────────────────────────────────┘ it is well
//! ```
//!
//! A subscriber is a URL. What is known of it lies in the table, and is read once in an invocation, if the
//! invocation has anything for it. A breaker spares subscribers and us; it protects no invariant, so what cannot be
//! recorded about it is logged and forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use shared::canonical::digest;
use shared::dynamo::{self, Item, Written, number, string};
use shared::lambda::Deadline;
use shared::random;
use shared::telemetry::{Metric, chain, count};
use shared::webhook::outbound::shown;
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::App;
use crate::attempt::{Changes, after};

/// How long a notice waits for others to its subscriber; then it is left for the next sweep.
const LONGEST_TURN: Duration = Duration::from_secs(6);

/// How many failures in a row open a breaker.
const THRESHOLD: u32 = 5;

/// How long it is open the first time; twice as long after every probe that failed.
const FIRST_REST: Duration = Duration::from_secs(30);

/// The longest it is open between two probes.
const LONGEST_REST: Duration = Duration::from_mins(10);

/// How long a probe may take: whoever was elected and is never heard of again holds up nobody for longer.
const PROBE_LEASE: Duration = Duration::from_secs(30);

/// How long a subscriber is remembered of whom nothing was heard.
const LIFETIME: Duration = Duration::from_hours(30 * 24);

const SORT_KEY: &str = "breaker";

/// The subscribers that one invocation has to do with.
#[derive(Debug)]
pub(crate) struct Subscribers {
    known: Mutex<HashMap<String, Arc<Subscriber>>>,
    at_once: usize,
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pk: String,
    shown: String,
    turns: Semaphore,
    standing: Arc<tokio::sync::Mutex<Standing>>,
}

/// What this invocation knows of a subscriber's breaker.
#[derive(Debug)]
enum Standing {
    Unread,
    Closed {
        failures: u32,
    },
    Open {
        /// Unix milliseconds.
        until: i64,
        /// How often it has been opened since the subscriber was last well.
        trips: u32,
    },
    /// We may probe.
    Elected {
        owner: String,
        until: i64,
        trips: u32,
    },
}

/// Whether a notice may be sent.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It may.
    Send,
    /// It may, and while it is under way nothing else of ours goes to its subscriber.
    Probe(Probe),
    /// It may not, until then (Unix milliseconds).
    LeaveAlone { until: i64 },
}

#[derive(Debug)]
pub(crate) struct Probe(OwnedMutexGuard<Standing>);

/// What an attempt says about its subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    Ill,
    /// Nothing was sent, for a reason of our own.
    Nothing,
}

impl Subscribers {
    /// None yet; to each of them at most so many notices are under way at once.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { known: Mutex::default(), at_once }
    }

    pub(crate) fn of(&self, url: &str) -> Arc<Subscriber> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Subscriber {
                pk: format!("subscriber#{}", digest(url.as_bytes())),
                shown: shown(url),
                turns: Semaphore::new(self.at_once),
                standing: Arc::new(tokio::sync::Mutex::new(Standing::Unread)),
            })
        };
        Arc::clone(known.entry(url.to_owned()).or_insert_with(new))
    }
}

impl Subscriber {
    /// Waits until few enough notices are under way to this subscriber. Not for long: while a slow one is waited for,
    /// what is due to others is not looked at.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = tokio::time::timeout(LONGEST_TURN, self.turns.acquire()).await.ok()?;
        Some(turn.expect("nobody closes the semaphore"))
    }

    /// Whether a notice may be sent now. While a probe of ours is under way, waits for what it finds.
    pub(crate) async fn admit(&self, app: &App, deadline: Deadline) -> Result<Admission, dynamo::Error> {
        let mut standing = Arc::clone(&self.standing).lock_owned().await;
        if matches!(*standing, Standing::Unread) {
            let item = app.table.get(&self.pk, SORT_KEY, deadline.act_by()).await?;
            *standing = Standing::read(&item.unwrap_or_default());
        }
        if let Standing::Open { until, trips } = *standing
            && until <= app.clock.now().as_millisecond()
        {
            *standing = self.stand_for_election(app, until, trips, deadline.act_by()).await?;
        }
        match *standing {
            Standing::Unread | Standing::Closed { .. } => Ok(Admission::Send),
            Standing::Open { until, .. } => Ok(Admission::LeaveAlone { until }),
            Standing::Elected { .. } => Ok(Admission::Probe(Probe(standing))),
        }
    }

    /// Takes note of how an attempt went that was admitted so.
    pub(crate) async fn heard(&self, app: &App, admission: Admission, verdict: Verdict, deadline: Deadline) {
        let until = deadline.answer_by();
        let noted = match (admission, verdict) {
            (Admission::Send, Verdict::Well) => self.is_well(app, until).await,
            (Admission::Send, Verdict::Ill) => self.is_ill(app, until).await,
            (Admission::Probe(Probe(mut standing)), verdict) => {
                self.probed(app, &mut standing, verdict, until).await
            }
            (Admission::Send, Verdict::Nothing) | (Admission::LeaveAlone { .. }, _) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(
                message = "a subscriber's breaker could not be recorded",
                subscriber = self.shown,
                error = chain(&error),
            );
        }
    }

    /// Of all that find the time up, one is elected to probe.
    async fn stand_for_election(
        &self,
        app: &App,
        seen: i64,
        trips: u32,
        until: Instant,
    ) -> Result<Standing, dynamo::Error> {
        let owner = random::token();
        let lease = after(app.clock.now(), PROBE_LEASE);
        let changes = Changes::default().set("open_until", number(lease)).set("probe_owner", string(&owner));
        let elect = |update| {
            changes
                .describe(update)
                .condition_expression("open_until = :seen")
                .expression_attribute_values(":seen", number(seen))
        };
        let elected = Standing::Elected { owner: owner.clone(), until: lease, trips };
        match app.table.update(&self.pk, SORT_KEY, until, elect).await? {
            Written::Applied(_) => Ok(elected),
            Written::Refused(standing) if standing.get("probe_owner") == Some(&string(&owner)) => Ok(elected),
            Written::Refused(standing) => Ok(Standing::read(&standing)),
        }
    }

    async fn is_well(&self, app: &App, until: Instant) -> Result<(), dynamo::Error> {
        let mut standing = self.standing.lock().await;
        match *standing {
            Standing::Closed { failures } if failures > 0 => {
                *standing = Standing::Closed { failures: 0 };
                let changes = self.about(app).set("failures", number(0));
                let closed = |update| while_closed(changes.describe(update));
                app.table.update(&self.pk, SORT_KEY, until, closed).await.map(drop)
            }
            // Opened meanwhile by others of its notices: whoever probes will find out.
            Standing::Unread | Standing::Closed { .. } | Standing::Open { .. } | Standing::Elected { .. } => {
                Ok(())
            }
        }
    }

    async fn is_ill(&self, app: &App, until: Instant) -> Result<(), dynamo::Error> {
        let mut standing = self.standing.lock().await;
        let Standing::Closed { failures } = *standing else { return Ok(()) };
        let changes = self.about(app);
        let one_more = |update| {
            let update: UpdateItemFluentBuilder = while_closed(changes.describe(update));
            let set = update.get_update_expression().clone().unwrap_or_default();
            update
                .update_expression(format!("{set} ADD failures :one"))
                .expression_attribute_values(":one", number(1))
                .return_values(ReturnValue::UpdatedNew)
        };
        let failures = match app.table.update(&self.pk, SORT_KEY, until, one_more).await? {
            Written::Applied(now) => count_of(&now, "failures").unwrap_or(failures + 1),
            Written::Refused(opened) => {
                *standing = Standing::read(&opened);
                return Ok(());
            }
        };
        *standing = Standing::Closed { failures };
        if failures >= THRESHOLD {
            self.open(app, &mut standing, until).await?;
        }
        Ok(())
    }

    async fn open(&self, app: &App, standing: &mut Standing, until: Instant) -> Result<(), dynamo::Error> {
        let open_until = after(app.clock.now(), FIRST_REST);
        let changes = self.about(app).set("open_until", number(open_until)).set("trips", number(1));
        let opening = |update| while_closed(changes.describe(update));
        *standing = match app.table.update(&self.pk, SORT_KEY, until, opening).await? {
            Written::Applied(_) => {
                count(Metric::BreakersOpened);
                tracing::warn!(
                    message = "breaker opened: its subscriber is left alone",
                    subscriber = self.shown
                );
                Standing::Open { until: open_until, trips: 1 }
            }
            Written::Refused(opened) => Standing::read(&opened),
        };
        Ok(())
    }

    /// Closes the breaker or opens it anew.
    async fn probed(
        &self,
        app: &App,
        standing: &mut Standing,
        verdict: Verdict,
        until: Instant,
    ) -> Result<(), dynamo::Error> {
        let Standing::Elected { owner, until: lease, trips } = &*standing else { return Ok(()) };
        let (owner, trips) = (owner.clone(), trips.saturating_add(1));
        let (next, changes) = match verdict {
            Verdict::Well => {
                let changes = self.about(app).set("failures", number(0));
                let changes = changes.remove("open_until").remove("trips").remove("probe_owner");
                (Standing::Closed { failures: 0 }, changes)
            }
            Verdict::Ill => {
                let open_until = after(app.clock.now(), rest(trips));
                let changes =
                    self.about(app).set("open_until", number(open_until)).set("trips", number(trips));
                (Standing::Open { until: open_until, trips }, changes)
            }
            Verdict::Nothing => {
                *standing = Standing::Open { until: *lease, trips: trips - 1 };
                return Ok(());
            }
        };
        *standing = next;
        let ours = |update| {
            changes
                .describe(update)
                .condition_expression("probe_owner = :owner")
                .expression_attribute_values(":owner", string(&owner))
        };
        if let Written::Applied(_) = app.table.update(&self.pk, SORT_KEY, until, ours).await? {
            match verdict {
                Verdict::Well => {
                    count(Metric::BreakersClosed);
                    tracing::info!(
                        message = "breaker closed: its subscriber is well",
                        subscriber = self.shown
                    );
                }
                Verdict::Ill | Verdict::Nothing => {
                    tracing::warn!(message = "breaker stays open: a probe failed", subscriber = self.shown);
                }
            }
        }
        Ok(())
    }

    /// What every write leaves: whose breaker it is, and when it may be forgotten.
    fn about(&self, app: &App) -> Changes {
        Changes::default()
            .set("v", number(1))
            .set("subscriber", string(&self.shown))
            .set("expires_at", number(after(app.clock.now(), LIFETIME) / 1000))
    }
}

impl Standing {
    fn read(item: &Item) -> Self {
        let until = item.get("open_until").and_then(|until| until.as_n().ok()?.parse().ok());
        match until {
            Some(until) => Self::Open { until, trips: count_of(item, "trips").unwrap_or(1) },
            None => Self::Closed { failures: count_of(item, "failures").unwrap_or(0) },
        }
    }
}

fn while_closed(update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
    update.condition_expression("attribute_not_exists(open_until)")
}

fn count_of(item: &Item, name: &str) -> Option<u32> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// How long a breaker is open that was opened for the `trips`th time.
fn rest(trips: u32) -> Duration {
    let doublings = trips.saturating_sub(1).min(10);
    FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_rests_twice_as_long_each_time_and_ten_minutes_at_most() {
        let rests: Vec<u64> = (1..=7).map(|trips| rest(trips).as_secs()).collect();
        assert_eq!(rests, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }
}
