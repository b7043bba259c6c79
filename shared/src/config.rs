//! Settings: read once, from the environment, with every fault named in one message.
//!
//! A function that started with half its settings would fail in the middle of somebody's call; so it does
//! not start, and says everything that is wrong at once. An empty variable counts as absent, because that is
//! how a template's optional parameter arrives.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Reads settings one by one and keeps what is wrong with them until [`finish`](Self::finish).
#[derive(Debug)]
pub struct Reader<'a> {
    variables: &'a Variables,
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Starts reading.
    #[must_use]
    pub fn new(variables: &'a Variables) -> Self {
        Self { variables, faults: Vec::new() }
    }

    /// A setting without which the function cannot work.
    pub fn required<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Some(text) = self.variables.text(name) else {
            self.fault(name, "is missing");
            return None;
        };
        self.parsed(name, text, parse)
    }

    /// A setting that may be left out.
    pub fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.variables.text(name)?;
        self.parsed(name, text, parse)
    }

    /// A setting with a default.
    pub fn or<T>(&mut self, name: &str, default: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.optional(name, parse).unwrap_or(default)
    }

    /// Whether the variable is there and not empty.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.variables.text(name).is_some()
    }

    /// Records a fault that concerns more than one value; `what` follows the variable's name in the message.
    pub fn fault(&mut self, name: &str, what: &str) {
        self.faults.push(format!("{name} {what}"));
    }

    /// The settings, if nothing was wrong with any of them.
    pub fn finish<T>(self, settings: Option<T>) -> Result<T, Error> {
        match settings {
            Some(settings) if self.faults.is_empty() => Ok(settings),
            _ => Err(Error { faults: self.faults }),
        }
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.fault(name, &what);
                None
            }
        }
    }
}

/// Every setting that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    faults: Vec<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start with these settings: {}", self.faults.join("; "))
    }
}

impl std::error::Error for Error {}

/// The environment as it was at start. Some of it is secret, so only its names print.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Variables {
    /// This process's environment. Values that are not UTF-8 are left out.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_this_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable's value, unless it is absent or blank.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A year, in seconds: as long as anybody may want something remembered.
pub const A_YEAR: u64 = 365 * 24 * 60 * 60;

/// Any text.
pub fn text(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

/// A whole number of seconds within `range`.
pub fn seconds(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<Duration, String> {
    |value| whole(range, "a whole number of seconds")(value).map(Duration::from_secs)
}

/// A whole number of milliseconds within `range`.
pub fn milliseconds(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<Duration, String> {
    |value| whole(range, "a whole number of milliseconds")(value).map(Duration::from_millis)
}

/// A whole number of bytes within `range`.
pub fn bytes(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<usize, String> {
    |value| {
        let bytes = whole(range, "a whole number of bytes")(value)?;
        usize::try_from(bytes).map_err(|_| "is more than this machine can count".to_owned())
    }
}

/// A whole number within `range`.
pub fn count(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<u32, String> {
    |value| {
        let count = whole(range, "a whole number")(value)?;
        u32::try_from(count).map_err(|_| "is more than this machine can count".to_owned())
    }
}

/// One of the values that `choices` names.
pub fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |value| {
        choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            format!("must be one of {}, not {value:?}", names.join(", "))
        })
    }
}

/// An `http` or `https` URL to which a path can be appended: its trailing slashes are dropped.
pub fn base_url(value: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(value).map_err(|fault| format!("must be a URL ({fault})"))?;
    let fits = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    if !fits || !url.username().is_empty() || url.password().is_some() {
        return Err("must be an http or https URL without user, query and fragment".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Any `http` or `https` URL.
pub fn http_url(value: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(value).map_err(|fault| format!("must be a URL ({fault})"))?;
    let is_http = matches!(url.scheme(), "http" | "https");
    if is_http { Ok(value.to_owned()) } else { Err("must be an http or https URL".to_owned()) }
}

/// Entries separated by commas; blanks around them are dropped, an empty one is a fault.
pub fn list(value: &str) -> Result<Vec<String>, String> {
    let entries: Vec<String> = value.split(',').map(|entry| entry.trim().to_owned()).collect();
    if entries.iter().any(String::is_empty) {
        return Err("must be a comma-separated list without empty entries".to_owned());
    }
    Ok(entries)
}

fn whole(range: RangeInclusive<u64>, what: &str) -> impl FnOnce(&str) -> Result<u64, String> {
    move |value| {
        value
            .parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("must be {what} from {} to {}, not {value:?}", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_in_one_message() {
        let variables: Variables =
            [("LEASE_SECONDS", "soon"), ("TABLE_NAME", " "), ("MODE", "c")].into_iter().collect();
        let mut reader = Reader::new(&variables);
        let table = reader.required("TABLE_NAME", text);
        let lease = reader.or("LEASE_SECONDS", Duration::from_mins(1), seconds(1..=900));
        let mode = reader.or("MODE", 1, one_of(&[("a", 1), ("b", 2)]));

        let error =
            reader.finish(table.map(|table| (table, lease, mode))).expect_err("three settings are wrong");

        assert_eq!(
            error.to_string(),
            "cannot start with these settings: TABLE_NAME is missing; LEASE_SECONDS must be a whole number of \
             seconds from 1 to 900, not \"soon\"; MODE must be one of a, b, not \"c\""
        );
    }

    #[test]
    fn variables_print_their_names_and_not_what_they_hold() {
        let variables: Variables = [("GENESYS_CLIENT_SECRET", "hush")].into_iter().collect();
        assert_eq!(format!("{variables:?}"), r#"{"GENESYS_CLIENT_SECRET"}"#);
    }

    #[test]
    fn a_base_url_loses_its_trailing_slash_and_refuses_what_is_not_one() {
        assert_eq!(base_url("http://127.0.0.1:8080/"), Ok("http://127.0.0.1:8080".to_owned()));
        assert_eq!(
            base_url("https://gateway.example/genesys/"),
            Ok("https://gateway.example/genesys".to_owned())
        );
        for wrong in ["api.mypurecloud.com", "ftp://x", "https://x/?a=1", "https://user:pass@x"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }
}
