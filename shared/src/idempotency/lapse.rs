//! Claims whose holder was never heard of again, as the sweep finds them.

use tokio::time::Instant;

use super::Error;
use super::account::Account;
use super::claims::{Claim, Claims};
use super::record::{Record, SORT_KEY, State, Unreadable, text};
use super::writes;
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
    /// Its lease still runs, or it has ended in the meantime.
    NotLapsed,
}

impl Claims {
    /// Turns a claim that acts into one that is unknown, if its lease has lapsed. What its holder left to be
    /// written for this case is written with it.
    pub async fn lapse(&self, pk: &str, until: Instant) -> Result<Lapsed, Error> {
        let Some(item) = self.table.get(pk, SORT_KEY, until).await? else { return Ok(Lapsed::NotLapsed) };
        let record = Record::read(&item)?;
        let now = self.clock.now();
        if !matches!(record.state, State::Acting) || record.lease_until > now.as_millisecond() {
            return Ok(Lapsed::NotLapsed);
        }
        let account = if_lapsed(&item)?;
        let key_hash = pk.trim_start_matches("claim#").to_owned();
        let claim = Claim::held(key_hash.clone(), &record);
        let lapsing =
            self.table.updating(pk, SORT_KEY, |update| writes::lapsing(update, &claim, BECAUSE, now));
        let is_retry_safe = item.get("retry_safe").and_then(|safe| safe.as_bool().ok()) == Some(&true);
        match self.write(&claim, lapsing, &account, now, until).await? {
            Appended::Applied(_) => Ok(Lapsed::Unknown { key_hash, is_retry_safe }),
            Appended::Refused(_) => Ok(Lapsed::NotLapsed),
        }
    }
}

fn if_lapsed(item: &Item) -> Result<Account, Unreadable> {
    serde_json::from_str(text(item, "if_lapsed")?).map_err(|_| Unreadable::new("if_lapsed"))
}
