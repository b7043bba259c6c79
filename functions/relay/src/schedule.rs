//! When a failed attempt is followed by another.

use std::time::Duration;

use shared::config::list;
use shared::random;

/// The longest a subscriber can have us wait by asking for it.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// What a notice that is only ever put off may live beyond its schedule.
const GRACE: Duration = Duration::from_hours(24);

/// How far a wait may be from what the schedule says, in either direction.
const JITTER: f64 = 0.2;

/// The waits between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule(Vec<Duration>);

impl Default for Schedule {
    /// Eight attempts within about 28 hours, as Standard Webhooks proposes.
    fn default() -> Self {
        Self([5, 300, 1800, 7200, 18_000, 36_000, 36_000].map(Duration::from_secs).into())
    }
}

impl Schedule {
    /// How long to wait after the failed attempt with this number, at least as long as the other side `asked` for;
    /// nothing if it was the last.
    pub(crate) fn wait_after(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
        let jitter = 1.0 - JITTER + 2.0 * JITTER * random::fraction();
        let wait = self.0.get(index)?.mul_f64(jitter);
        Some(wait.max(asked.unwrap_or_default().min(LONGEST_ASKED)))
    }

    /// How old something may become whose attempts are put off.
    pub(crate) fn patience(&self) -> Duration {
        self.0.iter().sum::<Duration>().mul_f64(1.0 + JITTER) + GRACE
    }
}

/// A schedule as `NOTICE_RETRY_SECONDS` has it.
pub(crate) fn parse(value: &str) -> Result<Schedule, String> {
    let parse = |wait: String| wait.parse().ok().filter(|seconds| (0..=604_800).contains(seconds));
    let waits: Option<Vec<Duration>> =
        list(value)?.into_iter().map(|wait| parse(wait).map(Duration::from_secs)).collect();
    match waits {
        Some(waits) if waits.len() <= 50 => Ok(Schedule(waits)),
        _ => {
            Err("must be up to 50 whole numbers of seconds from 0 to 604800, separated by commas".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_what_the_schedule_says_give_or_take_a_fifth() {
        let schedule = parse("10, 100").unwrap();
        for _ in 0..1000 {
            let first = schedule.wait_after(1, None).unwrap();
            assert!((8.0..=12.0).contains(&first.as_secs_f64()), "{first:?}");
            let second = schedule.wait_after(2, None).unwrap();
            assert!((80.0..=120.0).contains(&second.as_secs_f64()), "{second:?}");
        }
        assert_eq!(schedule.wait_after(3, Some(Duration::from_secs(1))), None);
        assert_eq!(schedule.patience(), Duration::from_secs(132) + GRACE);
    }

    #[test]
    fn the_other_side_may_ask_for_more_and_for_a_day_at_most() {
        let schedule = parse("10").unwrap();
        let hour = Duration::from_hours(1);
        assert_eq!(schedule.wait_after(1, Some(hour)), Some(hour));
        assert!(schedule.wait_after(1, Some(Duration::from_secs(1))).unwrap() >= Duration::from_secs(8));
        assert_eq!(schedule.wait_after(1, Some(Duration::MAX)), Some(LONGEST_ASKED));
    }

    #[test]
    fn a_schedule_is_whole_seconds() {
        assert_eq!(parse("5,300,1800,7200,18000,36000,36000"), Ok(Schedule::default()));
        for odd in ["5,,6", "-1", "1.5", "soon", "604801"] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
