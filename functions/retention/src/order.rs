//! Orders, parsed at the door: what is wrong with a policy is found here, all of it, before anything is asked of anybody.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use shared::canonical::canonical;
use shared::genesys::retention::{Filter, Frequency, ObjectType, Policy, Schedule, time_zone};
use shared::idempotency::Key;
use shared::problem::{Kind, Problem};
use shared::request::{Members, invalid};

/// The longest order: it is kept in one item until it is carried out.
const MAX_BYTES: usize = 350_000;

/// The most policies of an order: each takes a few calls, and an invocation lasts minutes.
const MAX_POLICIES: usize = 1000;

/// The longest name of a policy.
const MAX_NAME: usize = 256;

/// The longest description.
const MAX_DESCRIPTION: usize = 4096;

/// The largest policy: what is known of one is kept in one item, some of it more than once.
const MAX_POLICY: usize = 32 * 1024;

/// The longest period: what the published API has a number for.
const MAX_DAYS: u64 = 2_147_483_647;

/// The days of the week by their names, as numbers: 0 is Sunday.
const DAYS: [&str; 7] = ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];

/// What somebody asks for.
#[derive(Debug)]
pub(crate) enum Order {
    /// Say what a run would do.
    Plan(Deployment),
    /// Deploy.
    Run(Deployment),
    /// Carry on what was begun.
    Resume,
}

/// Policies, and what to do where they meet others.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// The name of the run, if it has one: a run of the same name is the same run.
    pub(crate) run_id: Option<Key>,
    pub(crate) rules: Rules,
    pub(crate) policies: Vec<Entry>,
    /// The order as it was given, in its one spelling: it is kept until it is carried out.
    pub(crate) text: String,
}

/// What to do where a policy meets others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) on_overlap: OnOverlap,
    pub(crate) on_drift: OnDrift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnOverlap {
    /// Keep everything for the longest of the periods.
    Merge,
    /// Leave it to somebody to decide.
    Review,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnDrift {
    /// Say so.
    Report,
    /// Deploy what is written all the same.
    Apply,
}

/// One policy of an order.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name, or its place in the order if it has none.
    pub(crate) name: String,
    pub(crate) written: Result<Written, Vec<Fault>>,
}

/// A policy that is written as it must be, and what is known about it besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    pub(crate) policy: Policy,
    /// How much of it there is each day, in GB.
    pub(crate) daily_volume_gb: Option<f64>,
}

/// Something wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Fault {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}

impl Order {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(payload).map_err(|_| invalid("The order is not UTF-8 text."))?;
        let members = Members::parse(text, "The order")?;
        let run = members.string(&["run"])?.ok_or_else(|| invalid("run is missing: plan, run or resume."))?;
        match run.as_str() {
            "plan" => Deployment::read(&members, text).map(Self::Plan),
            "run" => Deployment::read(&members, text).map(Self::Run),
            "resume" => Ok(Self::Resume),
            _ => Err(invalid("run must be plan, run or resume.")),
        }
    }
}

impl Deployment {
    /// An order that was kept.
    pub(crate) fn kept(text: &str) -> Result<Self, Problem> {
        Self::read(&Members::parse(text, "The order")?, text)
    }

    /// Those of its policies that are among these names.
    pub(crate) fn names_in(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        self.policies.iter().map(|entry| &entry.name).filter(|name| names.contains(*name)).cloned().collect()
    }

    fn read(members: &Members<'_>, text: &str) -> Result<Self, Problem> {
        let text = canonical(text).map_err(|fault| invalid(format!("The order {fault}.")))?;
        if text.len() > MAX_BYTES {
            let detail = format!("The order is larger than {MAX_BYTES} bytes: divide it into several.");
            return Err(Problem::new(Kind::PayloadTooLarge, detail));
        }
        let shortest = shortest_period(members)?;
        let on_overlap =
            one_of(members, "onOverlap", &[("review", OnOverlap::Review), ("merge", OnOverlap::Merge)])?;
        let on_drift = one_of(members, "onDrift", &[("report", OnDrift::Report), ("apply", OnDrift::Apply)])?;
        let run_id = members.string(&["runId", "run_id"])?.map(|id| Key::parse(&id)).transpose();
        let run_id = run_id.map_err(|fault| invalid(format!("runId {fault}.")))?;
        let policies = read_policies(members.given(&["policies"])?, shortest)?;
        Ok(Self { run_id, rules: Rules { on_overlap, on_drift }, policies, text })
    }
}

/// The shortest period that the licence allows, in days. A tier that is not known allows nothing.
fn shortest_period(members: &Members<'_>) -> Result<(u64, &'static str), Problem> {
    let tier = members.string(&["licenseTier"])?;
    match tier.as_deref().map(str::to_ascii_uppercase).as_deref() {
        Some("STANDARD") => Ok((30, "STANDARD")),
        Some("ENTERPRISE") => Ok((7, "ENTERPRISE")),
        Some(_) => Err(invalid("licenseTier must be STANDARD or ENTERPRISE.")),
        None => Err(invalid("licenseTier is missing: STANDARD or ENTERPRISE.")),
    }
}

/// A member that has one of these values; the first of them if it is not there.
fn one_of<T: Copy>(members: &Members<'_>, name: &str, choices: &[(&str, T); 2]) -> Result<T, Problem> {
    let Some(given) = members.string(&[name])? else { return Ok(choices[0].1) };
    let choice = choices.iter().find(|(name, _)| *name == given);
    let fault = || invalid(format!("{name} must be {} or {}.", choices[0].0, choices[1].0));
    choice.map(|(_, value)| *value).ok_or_else(fault)
}

fn read_policies(list: Option<&RawValue>, shortest: (u64, &'static str)) -> Result<Vec<Entry>, Problem> {
    let list = list.ok_or_else(|| invalid("policies is missing."))?;
    let list: Vec<Value> =
        serde_json::from_str(list.get()).map_err(|_| invalid("policies must be a list."))?;
    if list.is_empty() {
        return Err(invalid("policies must be a list of at least one policy."));
    }
    if list.len() > MAX_POLICIES {
        return Err(invalid(format!("policies must be a list of at most {MAX_POLICIES} policies.")));
    }
    let mut entries: Vec<Entry> =
        list.iter().enumerate().map(|(index, policy)| read_policy(index, policy, shortest)).collect();
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    for (index, entry) in entries.iter_mut().enumerate() {
        let twin = (0..names.len()).find(|other| *other != index && names[*other] == names[index]);
        if let Some(twin) = twin {
            let fault = Fault::new("name", format!("is that of policies[{twin}] too"));
            match &mut entry.written {
                Ok(_) => entry.written = Err(vec![fault]),
                Err(faults) => faults.push(fault),
            }
        }
    }
    Ok(entries)
}

fn read_policy(index: usize, policy: &Value, shortest: (u64, &'static str)) -> Entry {
    let place = format!("policies[{index}]");
    let Some(members) = policy.as_object() else {
        return Entry { name: place.clone(), written: Err(vec![Fault::new(&place, "must be an object")]) };
    };
    let mut reader = Reader { faults: Vec::new() };
    if policy.to_string().len() > MAX_POLICY {
        reader.faults.push(Fault::new(&place, format!("is larger than {MAX_POLICY} bytes")));
    }
    let written = reader.policy(members, shortest);
    let name = members.get("name").and_then(Value::as_str).filter(|name| is_name(name));
    let written = match written {
        Some(written) if reader.faults.is_empty() => Ok(written),
        _ => Err(reader.faults),
    };
    Entry { name: name.map_or(place, str::to_owned), written }
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control)
}

/// Reads a policy's members, and takes note of everything that is wrong with them.
struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn policy(&mut self, members: &Map<String, Value>, shortest: (u64, &'static str)) -> Option<Written> {
        let known = [
            "name",
            "description",
            "enabled",
            "objectType",
            "retentionPeriod",
            "schedule",
            "filters",
            "tags",
            "dailyVolumeGb",
            "dailyVolumeGB",
        ];
        self.refuse_others(members, "", &known);
        let name = self.required(members, "", "name", |value| {
            let name = value.as_str().filter(|name| is_name(name)).map(str::to_owned);
            name.ok_or_else(|| format!("must be a text of 1 to {MAX_NAME} bytes without control characters"))
        });
        let description = self.optional(members, "", "description", |value| {
            let description = value.as_str().filter(|text| text.len() <= MAX_DESCRIPTION).map(str::to_owned);
            description.ok_or_else(|| format!("must be a text of at most {MAX_DESCRIPTION} bytes"))
        });
        let enabled = self.optional(members, "", "enabled", |value| {
            value.as_bool().ok_or_else(|| "must be true or false".to_owned())
        });
        let object_type = self.required(members, "", "objectType", |value| {
            let names = ObjectType::ALL.map(ObjectType::name).join(", ");
            value.as_str().and_then(ObjectType::named).ok_or_else(|| format!("must be one of {names}"))
        });
        let days = self.required(members, "", "retentionPeriod", |value| period(value, shortest));
        let schedule = self.schedule(members);
        let filters = self.list(members, "filters", Self::filter);
        let tags = self.list(members, "tags", |reader, place, value| {
            let tag = value.as_str().filter(|tag| !tag.trim().is_empty()).map(str::to_owned);
            if tag.is_none() {
                reader.faults.push(Fault::new(place, "must be a text"));
            }
            tag
        });
        let volume = if members.contains_key("dailyVolumeGb") { "dailyVolumeGb" } else { "dailyVolumeGB" };
        let daily_volume_gb = self.optional(members, "", volume, |value| {
            let volume = value.as_f64().filter(|volume| (0.0..=1e12).contains(volume));
            volume.ok_or_else(|| "must be a number of GB, 0 or more".to_owned())
        });
        let policy = Policy {
            name: name?,
            description,
            enabled: enabled.unwrap_or(true),
            object_type: object_type?,
            days: days?,
            schedule: schedule?,
            filters,
            tags,
        };
        Some(Written { policy, daily_volume_gb })
    }

    fn schedule(&mut self, members: &Map<String, Value>) -> Option<Schedule> {
        let members = self.required(members, "", "schedule", |value| {
            value.as_object().cloned().ok_or_else(|| "must be an object".to_owned())
        })?;
        self.refuse_others(&members, "schedule.", &["frequency", "dayOfWeek", "dayOfMonth", "timezone"]);
        let frequency = self.required(&members, "schedule.", "frequency", |value| {
            let all = [Frequency::Daily, Frequency::Weekly, Frequency::Monthly];
            let named = value.as_str().and_then(|name| all.into_iter().find(|it| it.name() == name));
            named.ok_or_else(|| "must be DAILY, WEEKLY or MONTHLY".to_owned())
        });
        let day_of_week = self.optional(&members, "schedule.", "dayOfWeek", day_of_week);
        let day_of_month = self.optional(&members, "schedule.", "dayOfMonth", |value| {
            let day =
                integer(value).filter(|day| (1..=31).contains(day)).and_then(|day| u8::try_from(day).ok());
            day.ok_or_else(|| "must be a day of the month, 1 to 31".to_owned())
        });
        let timezone = self.optional(&members, "schedule.", "timezone", |value| {
            let zone = value.as_str().and_then(time_zone);
            zone.ok_or_else(|| "must be a time zone of the IANA database, such as Europe/Berlin".to_owned())
        });
        let is_given = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
        if frequency == Some(Frequency::Weekly) && !is_given("dayOfWeek") {
            self.faults.push(Fault::new("schedule.dayOfWeek", "is missing: a WEEKLY schedule has one"));
        }
        if frequency == Some(Frequency::Monthly) && !is_given("dayOfMonth") {
            self.faults.push(Fault::new("schedule.dayOfMonth", "is missing: a MONTHLY schedule has one"));
        }
        let timezone = timezone.unwrap_or_else(|| "UTC".to_owned());
        Some(Schedule { frequency: frequency?, day_of_week, day_of_month, timezone })
    }

    fn filter(&mut self, place: &str, value: &Value) -> Option<Filter> {
        let Some(members) = value.as_object() else {
            self.faults.push(Fault::new(place, "must be an object"));
            return None;
        };
        let place = format!("{place}.");
        self.refuse_others(members, &place, &["attribute", "operator", "value"]);
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
            text.ok_or_else(|| "must be a text".to_owned())
        };
        let attribute = self.required(members, &place, "attribute", text);
        let operator = self.required(members, &place, "operator", text);
        let value = self.required(members, &place, "value", |value| Ok(value.clone()));
        Some(Filter { attribute: attribute?, operator: operator?, value: value? })
    }

    fn list<T>(
        &mut self,
        members: &Map<String, Value>,
        name: &str,
        read: impl Fn(&mut Self, &str, &Value) -> Option<T>,
    ) -> Vec<T> {
        let items = self.optional(members, "", name, |value| {
            value.as_array().cloned().ok_or_else(|| "must be a list".to_owned())
        });
        let items = items.unwrap_or_default();
        let items = items.iter().enumerate();
        items.filter_map(|(index, item)| read(self, &format!("{name}[{index}]"), item)).collect()
    }

    /// A member that nobody knows may be one that was misspelt: what was meant by it would not be deployed.
    fn refuse_others(&mut self, members: &Map<String, Value>, path: &str, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.faults.push(Fault::new(&format!("{path}{name}"), "is not known"));
        }
    }

    /// A member that must be there. `path` is what stands before its name when we speak of it.
    fn required<T>(
        &mut self,
        members: &Map<String, Value>,
        path: &str,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if members.get(name).is_none_or(Value::is_null) {
            self.faults.push(Fault::new(&format!("{path}{name}"), "is missing"));
            return None;
        }
        self.optional(members, path, name, read)
    }

    /// `null` is how templates say that there is nothing.
    fn optional<T>(
        &mut self,
        members: &Map<String, Value>,
        path: &str,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = members.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        read.map_err(|message| self.faults.push(Fault::new(&format!("{path}{name}"), message))).ok()
    }
}

fn period(value: &Value, (shortest, tier): (u64, &str)) -> Result<u64, String> {
    let days = integer(value).and_then(|days| u64::try_from(days).ok());
    match days {
        Some(days) if days < shortest => {
            Err(format!("must be at least {shortest} days with a {tier} licence"))
        }
        Some(days) if days <= MAX_DAYS => Ok(days),
        _ => Err(format!("must be a whole number of days from {shortest} to {MAX_DAYS}")),
    }
}

fn day_of_week(value: &Value) -> Result<u8, String> {
    let named = value.as_str().and_then(|name| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name)));
    let number = integer(value).filter(|day| (0..=6).contains(day));
    let day = named.and_then(|day| u8::try_from(day).ok()).or(number.and_then(|day| u8::try_from(day).ok()));
    day.ok_or_else(|| "must be a day of the week, 0 (Sunday) to 6 or SUNDAY to SATURDAY".to_owned())
}

/// A whole number, also where it is spelled `7.0`.
fn integer(value: &Value) -> Option<i64> {
    let whole = |number: f64| {
        let is_whole = number.fract() == 0.0 && number.abs() <= 9e15;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        is_whole.then_some(number as i64)
    };
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

#[cfg(test)]
mod tests;
