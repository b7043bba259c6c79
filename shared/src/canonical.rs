//! One spelling for one JSON value: RFC 8785 (JCS), with two rules of our own.
//!
//! Two requests are the same request when their canonical texts are equal, so this decides what is a repeat.
//! RFC 8785 sorts keys by UTF-16 code unit, drops white space, and spells numbers as ECMAScript does. Beyond it:
//!
//! * an integer literal outside ±(2^53−1) keeps its digits. As a double it would round, and two different
//!   account numbers would become one;
//! * duplicate object keys are refused (RFC 8785 demands I-JSON), at every depth: which of the two counts is
//!   anybody's guess, and the upstream may guess differently.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deeply arrays and objects may nest.
const MAX_DEPTH: usize = 128;

/// The largest integer below which every integer is exact as a double (2^53 − 1).
const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// The canonical text of `json`.
pub fn canonical(json: &str) -> Result<String, Error> {
    let value = raw(json)?;
    let mut text = String::with_capacity(json.len());
    write_value(value.get(), &mut text, 0)?;
    Ok(text)
}

/// The text as one JSON value, which it must be.
pub fn raw(json: &str) -> Result<&RawValue, Error> {
    parse(json)
}

/// Refuses a value in which an object has the same key twice, however deep, as far as [`canonical`] would go.
pub fn refuse_duplicate_keys(json: &RawValue) -> Result<(), Error> {
    let mut left = vec![(json, 0)];
    while let Some((value, depth)) = left.pop() {
        let values: Vec<&RawValue> = match value.get().as_bytes().first() {
            Some(b'{') => sorted_members(value.get())?.into_iter().map(|(_, value)| value).collect(),
            Some(b'[') => parse(value.get())?,
            _ => continue,
        };
        if depth < MAX_DEPTH {
            left.extend(values.into_iter().map(|value| (value, depth + 1)));
        }
    }
    Ok(())
}

/// Lowercase hex SHA-256 of `text`: how keys are derived and fingerprints taken.
#[must_use]
pub fn digest(text: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text))
}

/// Why a text has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("is not valid JSON (line {line}, column {column})")]
    Malformed {
        /// Counts from 1.
        line: usize,
        /// Counts from 1.
        column: usize,
    },
    /// An object has the same key twice.
    #[error("has the object key {0:?} twice")]
    DuplicateKey(String),
    /// A number is too large for a double and not an integer literal.
    #[error("has the number {0}, which is out of range")]
    NumberOutOfRange(String),
    /// Arrays and objects nest too deeply.
    #[error("nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

fn write_value(json: &str, text: &mut String, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep);
    }
    match json.as_bytes().first() {
        Some(b'{') => write_object(json, text, depth),
        Some(b'[') => write_array(json, text, depth),
        Some(b'"') => write_string(&parse::<String>(json)?, text),
        Some(b'-' | b'0'..=b'9') => write_number(json, text),
        _ => {
            text.push_str(json);
            Ok(())
        }
    }
}

fn write_object(json: &str, text: &mut String, depth: usize) -> Result<(), Error> {
    let members = sorted_members(json)?;
    text.push('{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(key, text)?;
        text.push(':');
        write_value(value.get(), text, depth + 1)?;
    }
    text.push('}');
    Ok(())
}

/// An object's members by key, each key once.
fn sorted_members(json: &str) -> Result<Vec<(String, &RawValue)>, Error> {
    let Members(mut members) = parse(json)?;
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    match members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Error::DuplicateKey(excerpt(&pair[0].0))),
        None => Ok(members),
    }
}

fn write_array(json: &str, text: &mut String, depth: usize) -> Result<(), Error> {
    let elements: Vec<&RawValue> = parse(json)?;
    text.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_value(element.get(), text, depth + 1)?;
    }
    text.push(']');
    Ok(())
}

/// `serde_json` escapes exactly what RFC 8785 section 3.2.2.2 wants escaped, the same way.
fn write_string(value: &str, text: &mut String) -> Result<(), Error> {
    text.push_str(&serde_json::to_string(value).map_err(malformed)?);
    Ok(())
}

fn write_number(literal: &str, text: &mut String) -> Result<(), Error> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_safe = digits.parse::<u64>().is_ok_and(|magnitude| magnitude <= MAX_SAFE_INTEGER);
    if is_integer && !is_safe {
        text.push_str(literal);
        return Ok(());
    }
    let number: f64 = literal.parse().map_err(|_| Error::NumberOutOfRange(excerpt(literal)))?;
    if !number.is_finite() {
        return Err(Error::NumberOutOfRange(excerpt(literal)));
    }
    text.push_str(ryu_js::Buffer::new().format_finite(number));
    Ok(())
}

/// So much of a text as may stand in a message: whoever sent it decides how long it is.
fn excerpt(text: &str) -> String {
    text[..text.floor_char_boundary(64)].to_owned()
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(malformed)
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn malformed(fault: serde_json::Error) -> Error {
    Error::Malformed { line: fault.line(), column: fault.column() }
}

/// An object's members in the order they were written, duplicates included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn text(json: &str) -> String {
        canonical(json).unwrap()
    }

    /// The example of RFC 8785, section 3.2.2 to 3.2.4.
    #[test]
    fn the_example_of_the_standard() {
        let json = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        assert_eq!(
            text(json),
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
    }

    /// The sorting example of RFC 8785, section 3.2.3: UTF-16 code units, not code points.
    #[test]
    fn keys_sort_by_utf16_code_unit() {
        let json = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(text(json), "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}");
    }

    /// Number samples of RFC 8785, appendix B.
    #[test]
    fn numbers_are_spelled_as_ecmascript_does() {
        for (literal, expected) in [
            ("-0", "0"),
            ("-0.0", "0"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740991", "9007199254740991"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("999999999999999900000.0", "999999999999999900000"),
            ("1e-7", "1e-7"),
            ("0.000001", "0.000001"),
            ("333333333.3333332", "333333333.3333332"),
            ("1424953923781206.25", "1424953923781206.2"),
        ] {
            assert_eq!(text(literal), expected, "{literal}");
        }
    }

    #[test]
    fn one_is_one_however_it_is_written() {
        for literal in ["1", "1.0", "1e0", "10e-1", "0.1E+1"] {
            assert_eq!(text(&format!("{{\"n\":{literal}}}")), r#"{"n":1}"#);
        }
    }

    #[test]
    fn integers_beyond_the_safe_range_keep_their_digits() {
        assert_ne!(text("9007199254740992"), text("9007199254740993"));
        assert_eq!(text("-123456789012345678901234567890"), "-123456789012345678901234567890");
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_depth_and_in_every_spelling() {
        for json in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(matches!(canonical(json), Err(Error::DuplicateKey(key)) if key == "a"), "{json}");
        }
    }

    #[test]
    fn duplicate_keys_are_found_beside_whatever_else_is_wrong() {
        let check = |json: &str| refuse_duplicate_keys(raw(json).unwrap());
        assert!(check(r#"{"a":1e400,"b":{"x":1,"x":2}}"#).is_err());
        assert!(check(r#"[1e400,{"a":{"a":1}},"\ud800"]"#).is_ok());
        assert!(check(&("[".repeat(5000) + &"]".repeat(5000))).is_ok());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in ["", "{", "nul", "01", "1.", "+1", "NaN", "\"\\ud800\"", "[1] 2", "'a'", "{\"a\":1,}"] {
            assert!(matches!(canonical(json), Err(Error::Malformed { .. })), "{json}");
        }
        assert!(matches!(canonical("1e400"), Err(Error::NumberOutOfRange(_))));
    }

    #[test]
    fn hostile_nesting_is_refused_without_harm() {
        let bomb = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(canonical(&bomb).is_err());
        let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert_eq!(text(&deep), deep);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn white_space_does_not_matter_and_the_result_is_a_fixed_point(value in any_json()) {
            let once = text(&serde_json::to_string(&value).unwrap());
            prop_assert_eq!(&once, &text(&serde_json::to_string_pretty(&value).unwrap()));
            prop_assert_eq!(&once, &text(&once));
        }

        #[test]
        fn arbitrary_bytes_never_panic(json in ".*") {
            let _ = canonical(&json);
        }
    }
}
