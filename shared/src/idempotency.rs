//! Exactly one effect: keys are claimed, worked under, and finished, and nobody else works under them.
//!
//! ```text
//!             claim                 act begins              answered
//!  (absent) ─────────► CLAIMED ─────────────► ACTING ─────────────────► DONE        replayed until it expires
//!                         │                      │  certainly nothing happened
//!                         │ lease lapses         ├───────────────────► FREE        may be claimed again
//!                         ▼                      │  lease lapses, or the answer is unclear
//!                      (claimable)               └───────────────────► UNKNOWN     never repeated, unless that is safe
//! ```
//!
//! * **One conditional update claims.** It takes a key that is absent, expired or free, and of a safe operation one
//!   that is unknown. It sets a random owner, drawn anew for every claim, and counts the epoch up. When it fails, DynamoDB returns the record that stood in its way: losing costs no
//!   read, and finding our own owner there means that we won and only the response was lost.
//! * **A holder that was never heard of again** is told of before its key is taken over: its trail says that it was
//!   cut off, and whoever it meant to notify hears of it. The sweep does that, or the next claim if it comes first.
//! * **Everything after the claim is fenced** by owner, epoch and state. A holder that comes back late, after
//!   its lease lapsed and somebody else took over, changes nothing.
//! * **The fingerprint is always checked**, also while a run is under way: one key, one request.
//! * **What may have happened is never repeated**, unless the operation is [safe](Repetition) to repeat. A
//!   lapsed `ACTING` is as good as `UNKNOWN`; that is decided where the record is read, so it holds before any
//!   sweep has come by. Leases carry no margin for skewed clocks: `ACTING` is not run again by another anyway.
//! * **A record nobody can read is an error**, never a miss, and never a reason to run.
//!
//! Time to live is compared here, not left to DynamoDB, which deletes days late. Budget: a first run costs two
//! requests (claim, finish), a repeat one, and a repeat in a warm instance none: finished answers, and only
//! those, are kept in [memory](Memory).

mod claims;
mod account;
mod writes;
mod lapse;
mod key;
mod record;
mod answer;
mod memory;

pub use account::Account;
pub use answer::{Answer, Finished, MAX_OTHER_BYTES, MAX_TEXT_BYTES};
pub use claims::{
    Begin, Begun, Claim, Claimed, Claims, Finish, Intent, Lost, Outcome, Repetition, Unresolved, Work,
};
pub use key::{BadKey, Key, Scope};
pub use lapse::Lapsed;
pub use memory::{Memory, Remembered};
pub use record::{SORT_KEY, Unreadable};

use crate::audit;

/// Why the protocol could not say what is the case.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] crate::dynamo::Error),
    /// A record is not one of ours, or of a later version.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The trail that goes with a record cannot be read.
    #[error(transparent)]
    Trail(audit::Error),
}

impl From<audit::Error> for Error {
    fn from(error: audit::Error) -> Self {
        match error {
            audit::Error::Store(error) => Self::Store(error),
            audit::Error::Unreadable(_) => Self::Trail(error),
        }
    }
}
