//! Retention policies, as an organisation writes them down: the same on both surfaces.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A policy that is written as it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its name, by which it is known again.
    pub name: String,
    /// What it says of itself.
    pub description: Option<String>,
    /// Whether it is in force.
    pub enabled: bool,
    /// What it is about.
    pub object_type: ObjectType,
    /// For how many days that is kept.
    #[serde(rename = "retentionPeriod")]
    pub days: u64,
    /// When it is seen to.
    pub schedule: Schedule,
    /// Which of them it is about; all, if there are none.
    pub filters: Vec<Filter>,
    /// What it is for, such as the regulations it serves.
    pub tags: Vec<String>,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectType {
    /// Recordings of calls.
    Call,
    /// Chats.
    Chat,
    /// E-mails.
    Email,
    /// Tasks.
    Task,
    /// Whatever the medium.
    Interaction,
    /// Text messages.
    Sms,
}

impl ObjectType {
    /// Every one of them.
    pub const ALL: [Self; 6] =
        [Self::Call, Self::Chat, Self::Email, Self::Task, Self::Interaction, Self::Sms];

    /// Its name, as in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Chat => "chat",
            Self::Email => "email",
            Self::Task => "task",
            Self::Interaction => "interaction",
            Self::Sms => "sms",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A condition on what a policy is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Of what, such as `direction`.
    pub attribute: String,
    /// How, such as `EQ`.
    pub operator: String,
    /// Against what.
    pub value: Value,
}

/// When a policy is seen to: at the first moment of a day in its time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// How often.
    pub frequency: Frequency,
    /// On which day of the week: 0 is Sunday. A weekly schedule has one.
    pub day_of_week: Option<u8>,
    /// On which day of the month, from 1. A monthly schedule has one.
    pub day_of_month: Option<u8>,
    /// Where that day is: a name of the IANA time zone database.
    pub timezone: String,
}

/// How often a policy is seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Frequency {
    /// On each day.
    Daily,
    /// On one day of the week.
    Weekly,
    /// On one day of the month.
    Monthly,
}

impl Frequency {
    /// Its name, as in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "DAILY",
            Self::Weekly => "WEEKLY",
            Self::Monthly => "MONTHLY",
        }
    }
}

/// The name of a time zone as the IANA database spells it, whatever the case it was written in. The database is
/// compiled in: a function's machine may have none.
#[must_use]
pub fn time_zone(name: &str) -> Option<String> {
    TimeZone::get(name).ok()?.iana_name().map(str::to_owned)
}

/// Two months and a day: whatever the schedule, one of its days is among so many.
const LONGEST_GAP: i64 = 63;

impl Schedule {
    /// The first moment after `now` at which the policy is to be seen to.
    ///
    /// A month that lacks the day is seen to on its last. A day begins at midnight; where the clocks are put forward
    /// at midnight, at the first moment there is. `None` if the time zone is not known.
    #[must_use]
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = TimeZone::get(&self.timezone).ok()?;
        let today = now.to_zoned(zone.clone()).date();
        (0..=LONGEST_GAP).find_map(|days| {
            let date = today.checked_add(days.days()).ok().filter(|date| self.falls_on(*date))?;
            let start = date.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
            // A day that a time zone left out altogether begins on the next one.
            (start.date() == date && start.timestamp() > now).then(|| start.timestamp())
        })
    }

    fn falls_on(&self, date: Date) -> bool {
        match self.frequency {
            Frequency::Daily => true,
            Frequency::Weekly => self.day_of_week.is_some_and(|day| weekday(day) == Some(date.weekday())),
            Frequency::Monthly => self.day_of_month.is_some_and(|day| {
                let last = date.last_of_month().day();
                i8::try_from(day).is_ok_and(|day| date.day() == day.min(last))
            }),
        }
    }

    /// How long it is from `now` until then.
    #[must_use]
    pub fn wait_from(&self, now: Timestamp) -> Option<SignedDuration> {
        Some(self.next_after(now)?.duration_since(now))
    }
}

fn weekday(day: u8) -> Option<Weekday> {
    Weekday::from_sunday_zero_offset(i8::try_from(day).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(frequency: Frequency, week: Option<u8>, month: Option<u8>, timezone: &str) -> Schedule {
        Schedule { frequency, day_of_week: week, day_of_month: month, timezone: timezone.to_owned() }
    }

    fn next(schedule: &Schedule, now: &str) -> String {
        schedule.next_after(now.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_policy_lives() {
        let daily = schedule(Frequency::Daily, None, None, "America/New_York");
        assert_eq!(next(&daily, "2026-01-15T12:00:00Z"), "2026-01-16T05:00:00Z");
        assert_eq!(next(&daily, "2026-07-15T12:00:00Z"), "2026-07-16T04:00:00Z", "summer time");
        assert_eq!(next(&daily, "2026-01-16T05:00:00Z"), "2026-01-17T05:00:00Z", "not the same moment again");
    }

    #[test]
    fn sunday_is_a_day() {
        let sundays = schedule(Frequency::Weekly, Some(0), None, "UTC");
        assert_eq!(next(&sundays, "2026-11-23T00:00:00Z"), "2026-11-29T00:00:00Z");
        let saturdays = schedule(Frequency::Weekly, Some(6), None, "UTC");
        assert_eq!(next(&saturdays, "2026-11-23T00:00:00Z"), "2026-11-28T00:00:00Z");
    }

    #[test]
    fn a_month_that_lacks_the_day_is_seen_to_on_its_last() {
        let on = |day| schedule(Frequency::Monthly, None, Some(day), "UTC");
        assert_eq!(next(&on(31), "2026-02-01T00:00:00Z"), "2026-02-28T00:00:00Z");
        assert_eq!(next(&on(31), "2028-02-01T00:00:00Z"), "2028-02-29T00:00:00Z");
        assert_eq!(next(&on(30), "2026-04-30T00:00:00Z"), "2026-05-30T00:00:00Z");
        assert_eq!(next(&on(31), "2026-04-30T00:00:00Z"), "2026-05-31T00:00:00Z");
        assert_eq!(next(&on(1), "2026-01-31T23:59:59Z"), "2026-02-01T00:00:00Z");
    }

    #[test]
    fn a_midnight_that_the_clocks_skip_is_the_first_moment_after_it() {
        // Egypt put its clocks forward at midnight on 26 April 2024, and Samoa left out 30 December 2011.
        let cairo = schedule(Frequency::Daily, None, None, "Africa/Cairo");
        assert_eq!(next(&cairo, "2024-04-25T12:00:00Z"), "2024-04-25T22:00:00Z");
        let apia = schedule(Frequency::Daily, None, None, "Pacific/Apia");
        assert_eq!(next(&apia, "2011-12-29T12:00:00Z"), "2011-12-30T10:00:00Z");
        let fridays = schedule(Frequency::Weekly, Some(5), None, "Pacific/Apia");
        assert_eq!(next(&fridays, "2011-12-29T12:00:00Z"), "2012-01-05T10:00:00Z", "that Friday never was");
    }

    #[test]
    fn time_zones_are_those_of_the_iana_database() {
        assert_eq!(time_zone("europe/berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(time_zone("UTC").as_deref(), Some("UTC"));
        for unknown in ["", "Mars/Olympus", "EST5EDT4,M3.2.0,M11.1.0", "../etc/passwd", "+02:00"] {
            assert_eq!(time_zone(unknown), None, "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn every_schedule_comes_round_within_two_months(
            frequency in prop_oneof![Just(Frequency::Daily), Just(Frequency::Weekly), Just(Frequency::Monthly)],
            week in 0u8..=6,
            month in 1u8..=31,
            zone in prop_oneof![Just("UTC"), Just("Africa/Cairo"), Just("America/Santiago"), Just("Pacific/Apia")],
            now in 0i64..4_000_000_000,
        ) {
            let now = Timestamp::from_second(now).unwrap();
            let schedule = schedule(frequency, Some(week), Some(month), zone);
            let wait = schedule.wait_from(now);
            prop_assert!(wait.is_some_and(|wait| wait.is_positive() && wait.as_hours() <= 63 * 24), "{wait:?}");
        }
    }
}
