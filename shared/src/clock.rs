//! Wall-clock time, handed in.
//!
//! Everything that is written down or compared with something written down (leases, expiry, signatures,
//! token life) asks a [`Clock`]. How long a call may still take is a matter of
//! [`Deadline`](crate::lambda::Deadline), which runs on the monotonic clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Tells the time. Cheap to clone; clones of one clock agree.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
            Source::System => Timestamp::now(),
            Source::Manual(millis) => Timestamp::from_millisecond(millis.load(Ordering::SeqCst))
                .expect("a manual clock is only ever set from a timestamp"),
        }
    }
}

/// A clock that stands still until it is moved: how tests let a day pass.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_millisecond())))
    }

    /// The clock to hand to the code under test; it follows [`advance`](Self::advance).
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the clock, backwards if `by` is negative.
    pub fn advance(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).expect("a test moves its clock by less than an aeon");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}
