//! When to try again: as long as the upstream asked, else exponential backoff with full jitter; never past the
//! deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::idempotency::Repetition;
use crate::random;

/// The longest backoff, whatever the attempt.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// How much time an attempt needs at least that may be repeated; with less left it is not begun.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// How much time an attempt needs at least that may not be: cut off, it would be an outcome nobody knows.
const SHORTEST_UNREPEATABLE_ATTEMPT: Duration = Duration::from_millis(500);

/// How often and how patiently a call is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all.
    pub attempts: u32,
    /// The longest wait after the first attempt; it doubles with each further one.
    pub base: Duration,
}

impl RetryPolicy {
    /// Waits before the attempt after `attempt` (which counts from 1): as long as the upstream asked, else a
    /// random part of the backoff. False, at once, if no further attempt is due, none could end in time, or the upstream
    /// asked for a longer wait than `longest`.
    pub(super) async fn wait(
        &self,
        attempt: u32,
        asked: Option<Duration>,
        longest: Duration,
        repetition: Repetition,
        act_by: Instant,
    ) -> bool {
        if attempt >= self.attempts {
            return false;
        }
        if asked.is_some_and(|asked| asked > longest) {
            return false;
        }
        let wait = asked.unwrap_or_else(|| self.jittered(attempt, random::fraction()));
        let Some(wake) = Instant::now().checked_add(wait) else { return false };
        if !is_time_left(wake, repetition, act_by) {
            return false;
        }
        tokio::time::sleep_until(wake).await;
        true
    }

    /// Full jitter: any part of the backoff, so that those who failed together do not come back together.
    fn jittered(&self, attempt: u32, fraction: f64) -> Duration {
        self.backoff(attempt).mul_f64(fraction)
    }

    fn backoff(&self, attempt: u32) -> Duration {
        self.base.saturating_mul(1 << (attempt - 1).min(16)).min(MAX_BACKOFF)
    }
}

/// Whether an attempt that begins at `start` can end by `act_by`.
pub(super) fn is_time_left(start: Instant, repetition: Repetition, act_by: Instant) -> bool {
    let shortest = match repetition {
        Repetition::Safe => SHORTEST_ATTEMPT,
        Repetition::Unsafe => SHORTEST_UNREPEATABLE_ATTEMPT,
    };
    start + shortest <= act_by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_and_is_capped() {
        let policy = RetryPolicy { attempts: 9, base: Duration::from_secs(1) };
        let waits: Vec<u64> = (1..=8).map(|attempt| policy.backoff(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(RetryPolicy { attempts: 99, base: Duration::MAX }.backoff(90), MAX_BACKOFF);
    }

    #[test]
    fn jitter_is_full() {
        let policy = RetryPolicy { attempts: 4, base: Duration::from_secs(1) };
        assert_eq!(policy.jittered(3, 0.0), Duration::ZERO);
        assert_eq!(policy.jittered(3, 0.5), Duration::from_secs(2));
        assert_eq!(policy.jittered(3, 1.0), Duration::from_secs(4));
    }

    #[tokio::test]
    async fn no_attempt_begins_that_cannot_end_in_time() {
        let policy = RetryPolicy { attempts: 3, base: Duration::from_secs(1) };
        let act_by = Instant::now() + Duration::from_secs(10);
        let wait = async |attempt, asked, repetition| {
            policy.wait(attempt, Some(asked), Duration::MAX, repetition, act_by).await
        };
        assert!(wait(1, Duration::ZERO, Repetition::Unsafe).await);
        assert!(!wait(2, Duration::from_millis(9950), Repetition::Safe).await, "50 ms would be left");
        assert!(!wait(2, Duration::from_millis(9550), Repetition::Unsafe).await, "450 ms would be left");
        assert!(!wait(2, Duration::MAX, Repetition::Safe).await, "an upstream may ask for aeons");
        assert!(!wait(3, Duration::ZERO, Repetition::Safe).await, "three attempts in all");
    }
}
