//! Claiming and finishing.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Error;
use super::answer::{Answer, Finished, read_parts, write_parts};
use super::key::{Key, Scope};
use super::memory::{Memory, Remembered};
use super::record::{Kept, Record, SORT_KEY, State, Unreadable, VERSION, partition_key};
use crate::clock::Clock;
use crate::dynamo::{Item, Table, Written, binary, number, string};
use crate::lambda::{Deadline, Lease};
use crate::random;
use crate::telemetry::chain;

/// How long a key is kept whose work may have happened: as long as dead-letter queues keep what may repeat it.
const UNCLEAR_LIFETIME: Duration = Duration::from_hours(14 * 24);

/// How long withdrawing a claim may take: the caller waits for it, and the store is in trouble.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// What every record of a run that is over leaves behind, and a new claim must not inherit.
const LEFTOVERS: &str = "finished_at, because, answer, answer_status, answer_type, answer_body, answer_bytes";

/// The keys of one function.
#[derive(Debug)]
pub struct Claims {
    table: Table,
    memory: Memory,
    clock: Clock,
    answer_lifetime: Duration,
}

/// A piece of work that shall happen once.
#[derive(Clone, Debug)]
pub struct Work {
    /// The operation and caller the key belongs to.
    pub scope: Scope,
    /// The key.
    pub key: Key,
    /// What is asked for, hashed: the same key with another fingerprint is refused.
    pub fingerprint: String,
    /// Whether doing it twice does harm.
    pub repetition: Repetition,
    /// How long the claim holds if its holder is never heard of again.
    pub lease: Lease,
}

/// Whether an operation may be sent again after an unclear outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// The upstream recognises the key, or the operator says that twice does no harm.
    Safe,
    /// Once is all there may be.
    Unsafe,
}

/// What came of trying to claim a key.
#[derive(Debug)]
pub enum Claimed {
    /// The key is ours, and says that we act.
    Won(Claim),
    /// It is not ours; why.
    Lost(Lost),
}

/// Why a key cannot be claimed.
#[derive(Debug)]
pub enum Lost {
    /// The work is done.
    Finished(Finished),
    /// Somebody is at it, for at most this long.
    InFlight(Duration),
    /// The key belongs to another request.
    KeyReused,
    /// The work may have happened.
    Unknown,
}

/// A key that is ours. Only its holder can finish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    key_hash: String,
    fingerprint: String,
    owner: String,
    epoch: u64,
}

/// How the work ended.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It was done.
    Done(&'a Finished),
    /// It certainly did not happen; why.
    NotDone(&'a str),
    /// It may have happened; why that is not known.
    Unknown(&'a str),
}

impl Outcome<'_> {
    /// Whether a record in this state says the same.
    fn is(&self, state: &State) -> bool {
        match self {
            Self::Done(_) => matches!(state, State::Done(_)),
            Self::NotDone(_) => matches!(state, State::Free),
            Self::Unknown(_) => matches!(state, State::Unknown),
        }
    }
}

/// What came of recording it.
#[derive(Debug)]
pub enum Finish {
    /// It is on record.
    Recorded,
    /// Somebody else took the key over in the meantime; what they finished with, if they did.
    Fenced(Option<Finished>),
}

impl Claims {
    /// The keys kept in `table`; a finished answer is replayed for `answer_lifetime`.
    #[must_use]
    pub fn new(table: Table, clock: Clock, answer_lifetime: Duration) -> Self {
        Self { table, memory: Memory::default(), clock, answer_lifetime }
    }

    /// What this instance itself knows of the work, without asking the store.
    #[must_use]
    pub fn recall(&self, work: &Work) -> Option<Remembered> {
        self.memory.recall(&work.scope.hash(&work.key), &work.fingerprint, self.clock.now())
    }

    /// Claims the key, to act at once: one request, won or lost.
    pub async fn claim(&self, work: &Work, deadline: Deadline) -> Result<Claimed, Error> {
        let until = deadline.act_by();
        let key_hash = work.scope.hash(&work.key);
        let owner = random::token();
        let now = self.clock.now();
        let pk = partition_key(&key_hash);
        let written =
            self.table.update(&pk, SORT_KEY, until, |update| claiming(update, work, &owner, now)).await;
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.withdraw(&pk, &owner, deadline.answer_by()).await;
                return Err(error.into());
            }
        };
        let epoch = match written {
            Written::Applied(returned) => {
                let epoch = returned.get("epoch").and_then(|epoch| epoch.as_n().ok()?.parse().ok());
                epoch.ok_or_else(|| Unreadable::new("epoch"))?
            }
            Written::Refused(standing) => {
                let record = Record::read(&standing)?;
                if record.owner != owner {
                    return self.judge(work, &key_hash, record, now, until).await.map(Claimed::Lost);
                }
                // The first response was lost, and the SDK's repeat met what the first try had written.
                record.epoch
            }
        };
        Ok(Claimed::Won(Claim { key_hash, fingerprint: work.fingerprint.clone(), owner, epoch }))
    }

    /// Like [`claim`](Self::claim), but while somebody is at it, waits up to `patience` for what they find.
    pub async fn claim_or_wait(
        &self,
        work: &Work,
        patience: Duration,
        deadline: Deadline,
    ) -> Result<Claimed, Error> {
        let until = deadline.act_by();
        let give_up = Instant::now().checked_add(patience).map_or(until, |end| end.min(until));
        let pk = partition_key(&work.scope.hash(&work.key));
        loop {
            let claimed = self.claim(work, deadline).await?;
            let Claimed::Lost(Lost::InFlight(_)) = claimed else { return Ok(claimed) };
            if !self.settles(&pk, give_up, until).await {
                return Ok(claimed);
            }
        }
    }

    /// Why the key cannot be claimed, found without claiming it. `None` if a claim would win.
    pub async fn look(&self, work: &Work, until: Instant) -> Result<Option<Lost>, Error> {
        let key_hash = work.scope.hash(&work.key);
        let Some(item) = self.table.get(&partition_key(&key_hash), SORT_KEY, until).await? else {
            return Ok(None);
        };
        let record = Record::read(&item)?;
        let now = self.clock.now();
        if is_claimable(&record, work, now) {
            return Ok(None);
        }
        self.judge(work, &key_hash, record, now, until).await.map(Some)
    }

    /// Records how the work ended, if the key is still ours. Large answers are written first.
    pub async fn finish(&self, claim: &Claim, outcome: Outcome<'_>, until: Instant) -> Result<Finish, Error> {
        let pk = partition_key(&claim.key_hash);
        let now = self.clock.now();
        let expires_at = self.expiry(&outcome, now);
        if let Outcome::Done(Finished::Answered(answer)) = &outcome
            && answer.is_large()
        {
            write_parts(&self.table, &pk, &claim.owner, &answer.body, expires_at, until).await?;
        }
        let written = self
            .table
            .update(&pk, SORT_KEY, until, |update| finishing(update, claim, &outcome, now, expires_at))
            .await?;
        if let Written::Refused(standing) = written {
            let record = if standing.is_empty() { None } else { Some(Record::read(&standing)?) };
            // What we meant to write is there: an earlier try was applied, and its response lost.
            let is_applied = record.as_ref().is_some_and(|record| {
                record.owner == claim.owner && record.epoch == claim.epoch && outcome.is(&record.state)
            });
            if !is_applied {
                return self.fenced(&claim.key_hash, record, until).await;
            }
        }
        if let Outcome::Done(finished) = outcome {
            self.memory.keep(&claim.key_hash, &claim.fingerprint, finished, expires_at);
        }
        Ok(Finish::Recorded)
    }

    /// Takes back a claim of which nobody knows whether it was applied. Nothing was done under it, and left
    /// standing it would have to be taken for a call that may have happened. If this fails too, it is.
    async fn withdraw(&self, pk: &str, owner: &str, until: Instant) {
        let until = until.min(Instant::now() + WITHDRAWAL);
        let withdrawn = self.table.update(pk, SORT_KEY, until, |update| {
            update
                .condition_expression("#owner = :owner AND #state = :acting")
                .update_expression("SET #state = :free, because = :because")
                .expression_attribute_names("#state", "state")
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":owner", string(owner))
                .expression_attribute_values(":acting", string("ACTING"))
                .expression_attribute_values(":free", string("FREE"))
                .expression_attribute_values(
                    ":because",
                    string("the store did not say whether the claim was applied"),
                )
        });
        if let Err(error) = withdrawn.await {
            tracing::warn!(message = "a claim could not be withdrawn", error = chain(&error));
        }
    }

    /// What the work is told that lost to `record`.
    async fn judge(
        &self,
        work: &Work,
        key_hash: &str,
        record: Record,
        now: Timestamp,
        until: Instant,
    ) -> Result<Lost, Error> {
        if record.fingerprint != work.fingerprint {
            return Ok(Lost::KeyReused);
        }
        let lease_left = record.lease_until.saturating_sub(now.as_millisecond());
        let lease_left = u64::try_from(lease_left).ok().filter(|left| *left > 0);
        match (record.state, lease_left) {
            (State::Done(kept), _) => {
                let finished = self.load(key_hash, &record.owner, kept, until).await?;
                self.memory.keep(key_hash, &record.fingerprint, &finished, record.expires_at);
                Ok(Lost::Finished(finished))
            }
            (State::Acting | State::Claimed, Some(left)) => Ok(Lost::InFlight(Duration::from_millis(left))),
            (State::Acting | State::Unknown, _) => Ok(Lost::Unknown),
            // Both are claimable, so they stand in nobody's way for longer than it takes to ask again.
            (State::Claimed | State::Free, _) => Ok(Lost::InFlight(Duration::ZERO)),
        }
    }

    async fn fenced(&self, key_hash: &str, record: Option<Record>, until: Instant) -> Result<Finish, Error> {
        let Some(Record { state: State::Done(kept), owner, .. }) = record else {
            return Ok(Finish::Fenced(None));
        };
        Ok(Finish::Fenced(Some(self.load(key_hash, &owner, kept, until).await?)))
    }

    /// Whether the key's run ends before `give_up`, asked at growing intervals and once more at the end. A store
    /// that does not answer says nothing about the run.
    async fn settles(&self, pk: &str, give_up: Instant, until: Instant) -> bool {
        for attempt in 0.. {
            if Instant::now() >= give_up {
                break;
            }
            tokio::time::sleep_until((Instant::now() + poll_interval(attempt)).min(give_up)).await;
            let item = match self.table.get(pk, SORT_KEY, until).await {
                Ok(item) => item,
                Err(error) => {
                    tracing::warn!(message = "a run under way could not be looked at", error = chain(&error));
                    continue;
                }
            };
            let is_under_way = item.as_ref().is_some_and(|item| self.is_under_way(item));
            if !is_under_way {
                return true;
            }
        }
        false
    }

    /// Whether somebody is at it. An unreadable record is for the next claim to complain about.
    fn is_under_way(&self, item: &Item) -> bool {
        Record::read(item).is_ok_and(|record| {
            let is_held = record.lease_until > self.clock.now().as_millisecond();
            is_held && matches!(record.state, State::Claimed | State::Acting)
        })
    }

    async fn load(&self, key_hash: &str, owner: &str, kept: Kept, until: Instant) -> Result<Finished, Error> {
        match kept {
            Kept::Inline(answer) => Ok(Finished::Answered(answer)),
            Kept::TooLarge => Ok(Finished::TooLarge),
            Kept::InParts { status, content_type, length } => {
                let body = read_parts(&self.table, &partition_key(key_hash), owner, length, until).await?;
                Ok(Finished::Answered(Answer { status, content_type, body }))
            }
        }
    }

    fn expiry(&self, outcome: &Outcome<'_>, now: Timestamp) -> i64 {
        let lifetime = match outcome {
            Outcome::Done(_) | Outcome::NotDone(_) => self.answer_lifetime,
            Outcome::Unknown(_) => UNCLEAR_LIFETIME,
        };
        after(now, lifetime).as_second()
    }
}

/// Whether a claim would win against `record`: what the condition of [`claiming`] says, said of a record.
fn is_claimable(record: &Record, work: &Work, now: Timestamp) -> bool {
    let is_expired = record.expires_at <= now.as_second();
    let is_lapsed = record.lease_until <= now.as_millisecond();
    let is_the_same = record.fingerprint == work.fingerprint;
    let may_repeat = work.repetition == Repetition::Safe;
    is_expired
        || match record.state {
            State::Free => true,
            State::Claimed => is_the_same && is_lapsed,
            State::Acting => is_the_same && is_lapsed && may_repeat,
            State::Unknown => is_the_same && may_repeat,
            State::Done(_) => false,
        }
}

/// The claim: its condition is the protocol's first half.
fn claiming(
    update: UpdateItemFluentBuilder,
    work: &Work,
    owner: &str,
    now: Timestamp,
) -> UpdateItemFluentBuilder {
    let lapsed = "fingerprint = :fingerprint AND lease_until <= :now_ms AND #state";
    let may_repeat = match work.repetition {
        Repetition::Safe => {
            format!(" OR ({lapsed} = :acting) OR (fingerprint = :fingerprint AND #state = :unknown)")
        }
        Repetition::Unsafe => String::new(),
    };
    let condition = format!(
        "attribute_not_exists(pk) OR (v = :version AND (expires_at <= :now_s OR #state = :free \
         OR ({lapsed} = :claimed){may_repeat}))"
    );
    let caller = if work.scope.caller.is_some() { ", caller = :caller" } else { "" };
    let assignments = format!(
        "SET v = :version, #state = :acting, #owner = :owner, epoch = if_not_exists(epoch, :zero) + :one, \
         fingerprint = :fingerprint, lease_until = :lease_until, expires_at = :expires_at, \
         claimed_at = :now_ms, operation_name = :operation, idempotency_key = :key, retry_safe = :safe{caller} \
         REMOVE {LEFTOVERS}"
    );
    let is_safe = work.repetition == Repetition::Safe;
    let mut update = update
        .condition_expression(condition)
        .update_expression(assignments)
        .return_values(ReturnValue::UpdatedNew)
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#owner", "owner")
        .expression_attribute_values(":version", number(VERSION))
        .expression_attribute_values(":acting", string("ACTING"))
        .expression_attribute_values(":claimed", string("CLAIMED"))
        .expression_attribute_values(":free", string("FREE"))
        .expression_attribute_values(":owner", string(owner))
        .expression_attribute_values(":zero", number(0))
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":fingerprint", string(&work.fingerprint))
        .expression_attribute_values(
            ":lease_until",
            number(after(now, work.lease.from_now()).as_millisecond()),
        )
        .expression_attribute_values(":expires_at", number(after(now, UNCLEAR_LIFETIME).as_second()))
        .expression_attribute_values(":now_ms", number(now.as_millisecond()))
        .expression_attribute_values(":now_s", number(now.as_second()))
        .expression_attribute_values(":operation", string(&work.scope.operation))
        .expression_attribute_values(":key", string(work.key.as_str()))
        .expression_attribute_values(":safe", aws_sdk_dynamodb::types::AttributeValue::Bool(is_safe));
    if is_safe {
        update = update.expression_attribute_values(":unknown", string("UNKNOWN"));
    }
    if let Some(caller) = &work.scope.caller {
        update = update.expression_attribute_values(":caller", string(caller));
    }
    update
}

/// The end of a run, fenced: a state that is no longer under way belongs to the past.
fn finishing(
    update: UpdateItemFluentBuilder,
    claim: &Claim,
    outcome: &Outcome<'_>,
    now: Timestamp,
    expires_at: i64,
) -> UpdateItemFluentBuilder {
    let mut values = Item::from([
        (":finished_at".to_owned(), number(now.as_millisecond())),
        (":expires_at".to_owned(), number(expires_at)),
    ]);
    let mut assignments =
        vec!["SET #state = :next, finished_at = :finished_at, expires_at = :expires_at".to_owned()];
    let mut assign = |name: &str, value| {
        assignments.push(format!("{name} = :{name}"));
        values.insert(format!(":{name}"), value);
    };
    let next = match outcome {
        Outcome::Done(Finished::Answered(answer)) => {
            assign("answer_status", number(answer.status));
            if let Some(content_type) = &answer.content_type {
                assign("answer_type", string(content_type));
            }
            if answer.is_large() {
                assign("answer", string("parts"));
                assign("answer_bytes", number(answer.body.len() as u64));
            } else {
                assign("answer", string("inline"));
                assign("answer_body", binary(&answer.body));
            }
            "DONE"
        }
        Outcome::Done(Finished::TooLarge) => {
            assign("answer", string("too-large"));
            "DONE"
        }
        Outcome::NotDone(because) => {
            assign("because", string(because));
            "FREE"
        }
        Outcome::Unknown(because) => {
            assign("because", string(because));
            "UNKNOWN"
        }
    };
    // A run that ended as unknown may still be completed by its own holder, and by nobody else.
    let under_way = match outcome {
        Outcome::Unknown(_) => "#state IN (:claimed, :acting)",
        Outcome::Done(_) | Outcome::NotDone(_) => {
            values.insert(":unknown".to_owned(), string("UNKNOWN"));
            "#state IN (:claimed, :acting, :unknown)"
        }
    };
    values.insert(":next".to_owned(), string(next));
    update
        .condition_expression(format!("#owner = :owner AND epoch = :epoch AND {under_way}"))
        .update_expression(assignments.join(", "))
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#owner", "owner")
        .set_expression_attribute_values(Some(values))
        .expression_attribute_values(":owner", string(&claim.owner))
        .expression_attribute_values(":epoch", number(claim.epoch))
        .expression_attribute_values(":claimed", string("CLAIMED"))
        .expression_attribute_values(":acting", string("ACTING"))
}

/// How long to wait before asking again whether a run has ended: 50 ms, doubling up to half a second.
fn poll_interval(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(4)).min(Duration::from_millis(500))
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}
