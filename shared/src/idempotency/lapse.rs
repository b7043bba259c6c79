//! Claims whose holder was never heard of again, as the sweep finds them.

use tokio::time::Instant;

use super::Error;
use super::account::Account;
use super::claims::{Claim, Claims};
use super::record::{Record, SORT_KEY, State, Unreadable, text};
use super::writes::{self, Lapsing};
use crate::audit::Appended;
use crate::dynamo::Item;

/// Why a key whose holder lapsed is unknown.
const BECAUSE: &str = "its holder was never heard of again";

/// What became of a claim that was said to be due.
#[derive(Debug)]
pub enum Lapsed {
    /// It is UNKNOWN now, and its trail says so.
    Unknown {
        /// The hash that stands for its key.
        key_hash: String,
        /// Whether it may be run again without harm, so that nobody need look into it.
        is_retry_safe: bool,
    },
    /// It is free again: its holder had not begun to act, and its trail says so.
    Freed {
        /// The hash that stands for its key.
        key_hash: String,
    },
    /// Its lease still runs, or it has ended in the meantime.
    NotLapsed,
}

impl Claims {
    /// Turns a claim whose lease has lapsed into one that is unknown, or free if its holder had not begun to act.
    /// What the holder left to be written for this case is written with it.
    pub async fn lapse(&self, pk: &str, until: Instant) -> Result<Lapsed, Error> {
        match self.table.get(pk, SORT_KEY, until).await? {
            Some(item) => self.lapse_item(pk, &item, until).await,
            None => Ok(Lapsed::NotLapsed),
        }
    }

    /// The same, of a record that was just read.
    pub(super) async fn lapse_item(&self, pk: &str, item: &Item, until: Instant) -> Result<Lapsed, Error> {
        let record = Record::read(item)?;
        let now = self.clock.now();
        let lapsing = match record.state {
            State::Acting => Lapsing::Acting,
            State::Claimed => Lapsing::Looking,
            State::Free | State::Unknown | State::Done(_) => return Ok(Lapsed::NotLapsed),
        };
        if record.lease_until > now.as_millisecond() {
            return Ok(Lapsed::NotLapsed);
        }
        let account = if_lapsed(item)?;
        let key_hash = pk.trim_start_matches("claim#").to_owned();
        let claim = Claim::held(key_hash.clone(), &record);
        let write = self
            .table
            .updating(pk, SORT_KEY, |update| writes::lapsing(update, &claim, lapsing, BECAUSE, now));
        let is_retry_safe = item.get("retry_safe").and_then(|safe| safe.as_bool().ok()) == Some(&true);
        match (self.write(&claim, write, &account, now, until).await?, lapsing) {
            (Appended::Applied(_), Lapsing::Acting) => Ok(Lapsed::Unknown { key_hash, is_retry_safe }),
            (Appended::Applied(_), Lapsing::Looking) => Ok(Lapsed::Freed { key_hash }),
            (Appended::Refused(_), _) => Ok(Lapsed::NotLapsed),
        }
    }
}

fn if_lapsed(item: &Item) -> Result<Account, Unreadable> {
    serde_json::from_str(text(item, "if_lapsed")?).map_err(|_| Unreadable::new("if_lapsed"))
}
