//! What requests have in common, whatever they ask for: members, keys, and how long a caller waits.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;

use crate::canonical::canonical;
use crate::idempotency::{BadKey, Key};
use crate::problem::{Kind, Problem};

/// The members of a JSON object, as they were written.
#[derive(Debug)]
pub struct Members<'a> {
    members: BTreeMap<String, &'a RawValue>,
    /// What stands before a member's name when we speak of it.
    path: String,
}

/// A request that is not valid.
#[must_use]
pub fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

impl<'a> Members<'a> {
    /// The members of the object that `json` must be, without a duplicate key anywhere. `what` names it.
    pub fn parse(json: &'a str, what: &str) -> Result<Self, Problem> {
        canonical(json).map_err(|fault| invalid(format!("{what} {fault}.")))?;
        let members =
            serde_json::from_str(json).map_err(|_| invalid(format!("{what} is not a JSON object.")))?;
        Ok(Self { members, path: String::new() })
    }

    /// The members of the object that is the member `name`, if that is given.
    pub fn within(&self, name: &str) -> Result<Option<Self>, Problem> {
        let Some(object) = self.given(&[name])? else { return Ok(None) };
        let path = format!("{}{name}.", self.path);
        let members = Self::parse(object.get(), path.trim_end_matches('.'))?.members;
        Ok(Some(Self { members, path }))
    }

    /// A member's name in full.
    #[must_use]
    pub fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// The member that goes by one of `names`; the first of them is the one we speak of. `null` counts as a value.
    pub fn raw(&self, names: &[&str]) -> Result<Option<&'a RawValue>, Problem> {
        let mut found = names.iter().filter_map(|name| self.members.get(*name));
        let member = found.next().copied();
        if found.next().is_some() {
            let name = self.full_name(names[0]);
            return Err(invalid(format!("{name} is given more than once, under its different names.")));
        }
        Ok(member)
    }

    /// A member other than `null`: that is how workflows pass on what they do not have.
    pub fn given(&self, names: &[&str]) -> Result<Option<&'a RawValue>, Problem> {
        Ok(self.raw(names)?.filter(|value| value.get() != "null"))
    }

    /// A member that is a string.
    pub fn string(&self, names: &[&str]) -> Result<Option<String>, Problem> {
        let text = |value: &RawValue| serde_json::from_str(value.get());
        let text = self.given(names)?.map(text).transpose();
        text.map_err(|_| invalid(format!("{} must be a string.", self.full_name(names[0]))))
    }

    /// A member that is true or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        let flag = |value: &RawValue| serde_json::from_str(value.get());
        let flag = self.given(&[name])?.map(flag).transpose();
        flag.map_err(|_| invalid(format!("{} must be true or false.", self.full_name(name))))
    }

    /// The member `idempotencyKey`.
    pub fn key(&self) -> Result<Option<Key>, Problem> {
        let key = self.string(&["idempotencyKey", "idempotency_key"])?;
        let key = key.map(|key| Key::parse(&key)).transpose();
        key.map_err(|fault| invalid(format!("idempotencyKey {fault}.")))
    }

    /// The member `waitSeconds`: how long a duplicate waits for the run it met.
    pub fn wait(&self) -> Result<Duration, Problem> {
        let Some(wait) = self.given(&["waitSeconds"])? else { return Ok(Duration::ZERO) };
        let seconds: Option<f64> = serde_json::from_str(wait.get()).ok();
        let wait = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        wait.ok_or_else(|| invalid("waitSeconds must be a number of seconds, 0 or more."))
    }
}

/// The header `Idempotency-Key`.
pub fn key_header(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("Idempotency-Key is given more than once."));
    }
    let key = value.to_str().ok().and_then(|value| Key::parse_header(value.trim()).ok());
    key.map(Some).ok_or_else(|| invalid(format!("Idempotency-Key {BadKey}.")))
}

/// `Prefer: wait=N` (RFC 7240). A preference that cannot be understood is ignored, as that standard wants.
#[must_use]
pub fn preferred_wait(headers: &HeaderMap) -> Duration {
    headers
        .get_all(HeaderName::from_static("prefer"))
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|preference| preference.split(';').next().unwrap_or_default())
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map_or(Duration::ZERO, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn two_key_headers_are_one_too_many() {
        let two = headers(&[("idempotency-key", "a"), ("idempotency-key", "a")]);
        assert!(key_header(&two).is_err());
        assert!(key_header(&headers(&[("idempotency-key", "\"a\"")])).unwrap().is_some());
        assert!(key_header(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn a_preferred_wait_is_found_among_other_preferences() {
        let wait = |value| preferred_wait(&headers(&[("prefer", value)])).as_secs();
        assert_eq!(wait("wait=10"), 10);
        assert_eq!(wait("respond-async, Wait = 3; foo"), 3);
        assert_eq!(wait("foo; wait=3"), 0, "a parameter of another preference");
        assert_eq!(wait("wait=soon"), 0);
        assert_eq!(wait("return=minimal"), 0);
    }
}
