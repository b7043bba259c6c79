//! Claiming and finishing.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Error;
use super::account::Account;
use super::answer::{Answer, Finished, read_parts, write_parts};
use super::key::{Key, Scope};
use super::memory::{Memory, Remembered};
use super::record::{Kept, Record, SORT_KEY, State, Unreadable, partition_key};
use super::writes::{self, UNCLEAR_LIFETIME, after};
use crate::audit::{Appended, Head, Trails};
use crate::clock::Clock;
use crate::dynamo::{Item, Table, TransactWriteItem, Written};
use crate::lambda::{Deadline, Lease};
use crate::random;
use crate::telemetry::chain;

/// How long withdrawing a claim may take: the caller waits for it, and the store is in trouble.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// How many holders in a row may be found never to have come back, before it is somebody else's turn to ask.
const MAX_LAPSED: u32 = 4;

/// The keys of one function.
#[derive(Debug)]
pub struct Claims {
    pub(super) table: Table,
    pub(super) trails: Trails,
    pub(super) clock: Clock,
    memory: Memory,
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
    /// Who recognises a repeat, if that alone is why it does no harm. What was begun with somebody else is not repeated.
    pub recognised_by: Option<&'static str>,
    /// How long the claim holds if its holder is never heard of again.
    pub lease: Lease,
    /// How it begins.
    pub begin: Begin,
    /// What shall be written if the holder is never heard of again.
    pub if_lapsed: Account,
    /// How long the end of it is replayed.
    pub answer_lifetime: Duration,
}

/// What a key's record says once it is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// ACTING, because nothing lies between the claim and the act.
    Acting,
    /// CLAIMED, because a look comes first. [`Claims::act`] says when the act begins.
    Looking,
}

/// What is made durable before an act that a look precedes.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// What shall be done.
    pub account: &'a Account,
    /// What shall be written if the holder is never heard of again, now that it may have happened.
    pub if_lapsed: &'a Account,
    /// What was seen before the act, for whoever must find out later whether it happened.
    pub looked: &'a str,
    /// How long the act may take.
    pub lease: Lease,
}

/// What came of saying that the act begins.
#[derive(Debug)]
pub enum Begun {
    /// It may begin; from here on it may have happened.
    Acting(Claim),
    /// Somebody else has taken the key over.
    Fenced,
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
    /// The key is ours.
    Won(Claim),
    /// It is not ours; why.
    Lost(Lost),
}

/// What came of one try.
enum Tried {
    Claimed(Claimed),
    /// The holder of this record was never heard of again, and the key could be ours.
    Lapsed(Item),
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
    Unknown(Unresolved),
}

/// Work that may have happened. Nobody may do it again; but whoever finds out what became of it may finish it.
#[derive(Debug)]
pub struct Unresolved {
    /// The claim under which it may have happened.
    pub claim: Claim,
    /// What was seen before the act, if there was a look.
    pub looked: Option<String>,
}

/// A key that is ours. Only its holder can finish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub(super) key_hash: String,
    pub(super) fingerprint: String,
    pub(super) owner: String,
    pub(super) epoch: u64,
    answer_lifetime: Duration,
    /// Where the trail ended when the act began.
    head: Option<Head>,
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
    /// Whether a record in this state says the same. Of answers there is one, and it is the recorded one.
    fn is_said_by(&self, state: &State) -> bool {
        match self {
            Self::Done(_) => false,
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
    /// The keys kept in `table`.
    #[must_use]
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { trails: Trails::new(table.clone()), table, clock, memory: Memory::default() }
    }

    /// What this instance itself knows of the work, without asking the store.
    #[must_use]
    pub fn recall(&self, work: &Work) -> Option<Remembered> {
        self.memory.recall(&work.scope.hash(&work.key), &work.fingerprint, self.clock.now())
    }

    /// Claims the key: one request, won or lost.
    ///
    /// A claim whose holder was never heard of again is told of first, as the sweep would; then it is asked once more.
    pub async fn claim(&self, work: &Work, deadline: Deadline) -> Result<Claimed, Error> {
        let key_hash = work.scope.hash(&work.key);
        let pk = partition_key(&key_hash);
        for _ in 0..MAX_LAPSED {
            match self.try_to_claim(work, &key_hash, deadline).await? {
                Tried::Claimed(claimed) => return Ok(claimed),
                Tried::Lapsed(standing) => drop(self.lapse_item(&pk, &standing, deadline.act_by()).await?),
            }
        }
        Ok(Claimed::Lost(Lost::InFlight(Duration::ZERO)))
    }

    async fn try_to_claim(&self, work: &Work, key_hash: &str, deadline: Deadline) -> Result<Tried, Error> {
        let until = deadline.act_by();
        let owner = random::token();
        let now = self.clock.now();
        let pk = partition_key(key_hash);
        let claiming = |update| writes::claiming(update, &pk, work, &owner, now);
        let written = self.table.update(&pk, SORT_KEY, until, claiming).await;
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
                    if is_claimable(&record, work, now) {
                        return Ok(Tried::Lapsed(standing));
                    }
                    let lost = self.judge(work, key_hash, record, now, until).await?;
                    return Ok(Tried::Claimed(Claimed::Lost(lost)));
                }
                // The first response was lost, and the SDK's repeat met what the first try had written.
                record.epoch
            }
        };
        Ok(Tried::Claimed(Claimed::Won(Claim::of(work, key_hash.to_owned(), owner, epoch))))
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

    /// Says, before the act, that it begins: one transaction with the intent on the trail.
    pub async fn act(&self, claim: Claim, intent: Intent<'_>, until: Instant) -> Result<Begun, Error> {
        let pk = partition_key(&claim.key_hash);
        let now = self.clock.now();
        let acting =
            self.table.updating(&pk, SORT_KEY, |update| writes::acting(update, &pk, &claim, &intent, now));
        match self.write(&claim, acting, intent.account, now, until).await? {
            Appended::Applied(head) => Ok(Begun::Acting(Claim { head: Some(head), ..claim })),
            Appended::Refused(_) => Ok(Begun::Fenced),
        }
    }

    /// Records how the work ended, and the account of it, if the key is still ours. Large answers are written
    /// first.
    pub async fn finish(
        &self,
        claim: &Claim,
        outcome: Outcome<'_>,
        account: &Account,
        until: Instant,
    ) -> Result<Finish, Error> {
        let pk = partition_key(&claim.key_hash);
        let now = self.clock.now();
        let lifetime = match outcome {
            Outcome::Done(_) | Outcome::NotDone(_) => claim.answer_lifetime,
            Outcome::Unknown(_) => UNCLEAR_LIFETIME,
        };
        let expires_at = after(now, lifetime).as_second();
        if let Outcome::Done(Finished::Answered(answer)) = &outcome
            && answer.is_large()
        {
            write_parts(&self.table, &pk, &claim.owner, &answer.body, expires_at, until).await?;
        }
        let finishing = self
            .table
            .updating(&pk, SORT_KEY, |update| writes::finishing(update, claim, &outcome, now, expires_at));
        if let Appended::Refused(standing) = self.write(claim, finishing, account, now, until).await? {
            let standing = standing.into_iter().next().flatten().unwrap_or_default();
            let record = if standing.is_empty() { None } else { Some(Record::read(&standing)?) };
            // Somebody has said the same under this claim: the sweep, that it is unknown; a repeat that looked, that
            // it did not happen.
            let is_said = record.as_ref().is_some_and(|record| {
                record.owner == claim.owner
                    && record.epoch == claim.epoch
                    && outcome.is_said_by(&record.state)
            });
            if !is_said {
                return self.fenced(&claim.key_hash, record, until).await;
            }
        }
        if let Outcome::Done(finished) = outcome {
            self.memory.keep(&claim.key_hash, &claim.fingerprint, finished, expires_at);
        }
        Ok(Finish::Recorded)
    }

    /// A write to the key's record, in one transaction with the account of it.
    pub(super) async fn write(
        &self,
        claim: &Claim,
        record: TransactWriteItem,
        account: &Account,
        now: Timestamp,
        until: Instant,
    ) -> Result<Appended, Error> {
        let notice = account.notice.as_ref().map(|notice| notice.putting(&self.table, now));
        let writes = std::iter::once(record).chain(notice).collect();
        let (trail, entry) = (&account.trail, &account.entry);
        Ok(self.trails.append(trail, entry, now, claim.head.as_ref(), writes, until).await?)
    }

    /// Takes back a claim of which nobody knows whether it was applied. Nothing was done under it, and left
    /// standing it would have to be taken for a call that may have happened. If this fails too, it is.
    async fn withdraw(&self, pk: &str, owner: &str, until: Instant) {
        let until = until.min(Instant::now() + WITHDRAWAL);
        let withdrawn = self.table.update(pk, SORT_KEY, until, |update| writes::withdrawing(update, owner));
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
            (State::Acting | State::Unknown, _) => {
                let claim = Claim::of(work, key_hash.to_owned(), record.owner, record.epoch);
                Ok(Lost::Unknown(Unresolved { claim, looked: record.looked }))
            }
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
}

impl Claim {
    fn of(work: &Work, key_hash: String, owner: String, epoch: u64) -> Self {
        let (fingerprint, answer_lifetime) = (work.fingerprint.clone(), work.answer_lifetime);
        Self { key_hash, fingerprint, owner, epoch, answer_lifetime, head: None }
    }

    /// The claim that a record tells of.
    pub(super) fn held(key_hash: String, record: &Record) -> Self {
        let (fingerprint, owner) = (record.fingerprint.clone(), record.owner.clone());
        Self {
            key_hash,
            fingerprint,
            owner,
            epoch: record.epoch,
            answer_lifetime: UNCLEAR_LIFETIME,
            head: None,
        }
    }

    /// The key to send upstream for a run under `key`: another for each run that follows one which came to nothing, or
    /// whose answer has expired. An upstream that remembers keys would answer for that one.
    #[must_use]
    pub fn upstream_key(&self, key: &Key) -> Key {
        if self.epoch == 1 { key.clone() } else { Key::derived(&format!("{}:{}", key.as_str(), self.epoch)) }
    }

    /// The hash that stands for its key, as in the log.
    #[must_use]
    pub fn key_hash(&self) -> &str {
        &self.key_hash
    }
}

/// Whether the key that `record` is of can be ours: at once, as the condition of [`writes::claiming`] has it, or once
/// it has been told of a holder who was never heard of again.
fn is_claimable(record: &Record, work: &Work, now: Timestamp) -> bool {
    let is_expired = record.expires_at <= now.as_second();
    let is_lapsed = record.lease_until <= now.as_millisecond();
    let is_the_same = record.fingerprint == work.fingerprint;
    let is_recognised = work.recognised_by.is_none() || record.recognised_by.as_deref() == work.recognised_by;
    let may_repeat = work.repetition == Repetition::Safe && is_recognised;
    is_expired
        || match record.state {
            State::Free => true,
            State::Claimed => is_the_same && is_lapsed,
            State::Acting => is_the_same && is_lapsed && may_repeat,
            State::Unknown => is_the_same && may_repeat,
            State::Done(_) => false,
        }
}

/// How long to wait before asking again whether a run has ended: 50 ms, doubling up to half a second.
fn poll_interval(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(4)).min(Duration::from_millis(500))
}
