//! Idempotency keys, and whose they are.

use crate::canonical::digest;

/// A key as the caller gave it, or as it was derived: 1–255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters, bare or as a quoted string")]
pub struct BadKey;

impl Key {
    /// A key as it stands, as in a JSON member.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let is_key = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key { Ok(Self(text.to_owned())) } else { Err(BadKey) }
    }

    /// A key from an `Idempotency-Key` header: bare, or as a string of RFC 8941 (section 3.3.3). Both spellings
    /// of one key are the same key.
    pub fn parse_header(value: &str) -> Result<Self, BadKey> {
        let Some(rest) = value.strip_prefix('"') else { return Self::parse(value) };
        let quoted = rest.strip_suffix('"').ok_or(BadKey)?;
        let mut key = String::with_capacity(quoted.len());
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => return Err(BadKey),
                '\\' => {
                    let escaped = characters.next().filter(|escaped| matches!(escaped, '"' | '\\'));
                    key.push(escaped.ok_or(BadKey)?);
                }
                other => key.push(other),
            }
        }
        Self::parse(&key)
    }

    /// The key that stands for a request without one: two requests with the same content are the same.
    #[must_use]
    pub fn derived(content: &str) -> Self {
        Self(digest(content.as_bytes()))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a key belongs to: one operation, and the caller when one was authenticated. The same key elsewhere is
/// another key, and nobody gets another caller's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The operation and its object, such as `data-action:custom_-_1234`.
    pub operation: String,
    /// Who calls, as [`Invocation`](crate::lambda::Invocation) names them.
    pub caller: Option<String>,
}

impl Scope {
    /// The hash that stands for `key` here: in partition keys, so that load spreads, and in logs.
    #[must_use]
    pub fn hash(&self, key: &Key) -> String {
        digest(serde_json::json!([self.operation, self.caller, key.0]).to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bare_and_quoted_spellings_are_one_key() {
        for (header, key) in
            [("abc", "abc"), ("\"abc\"", "abc"), (r#""a\"b\\c""#, r#"a"b\c"#), ("0", "0"), ("false", "false")]
        {
            assert_eq!(Key::parse_header(header).map(|key| key.0), Ok(key.to_owned()));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for bad in
            ["", "\"\"", "a b", "\"a b\"", "é", "a\tb", "\"a", r#""a"b""#, r#""a\x""#, "\"a\";p=1", &long]
        {
            assert_eq!(Key::parse_header(bad), Err(BadKey), "{bad}");
        }
        assert!(Key::parse(&"k".repeat(255)).is_ok());
    }

    #[test]
    fn a_key_elsewhere_is_another_key() {
        let scope = |operation: &str, caller: Option<&str>| Scope {
            operation: operation.to_owned(),
            caller: caller.map(str::to_owned),
        };
        let key = Key::parse("k").unwrap();
        let hashes = [
            scope("data-action:a", None).hash(&key),
            scope("data-action:b", None).hash(&key),
            scope("data-action:a", Some("jwt:u")).hash(&key),
            scope("data-action:a", Some("iam:u")).hash(&key),
        ];
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }

    proptest! {
        #[test]
        fn every_key_survives_being_quoted(text in "[!-~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(Key::parse_header(&quoted), Key::parse(&text));
        }
    }
}
