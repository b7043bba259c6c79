//! Verifies that a delivery was signed with one of our secrets, over its raw bytes, in constant time; and signs
//! what we deliver.
//!
//! Two schemes are understood, and the second is the one we sign with:
//!
//! * `X-Hub-Signature-256: sha256=<HMAC-SHA256 of the body>`, in base64 (Genesys Cloud Open Messaging) or hex
//!   (as GitHub made it known). The key is the secret's bytes.
//! * [Standard Webhooks](https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp` (Unix seconds)
//!   and `webhook-signature` (space-separated `v1,<base64>`), over `id.timestamp.body`. The key of a secret
//!   written `whsec_<base64>` is what the base64 says; of any other secret its bytes, or what they decode to.
//!
//! Every secret is accepted, so that one can be rotated in while its predecessor is rotated out. A delivery
//! with both schemes needs one that verifies: neither can be forged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::{ExposeSecret, SecretSlice, SecretString};

/// How far the sender's clock and ours may be apart (Standard Webhooks' own tolerance).
pub const TIMESTAMP_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The headers of Standard Webhooks.
pub const ID: &str = "webhook-id";
/// When this attempt was made, in Unix seconds.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// Whether one of `secrets` signed `body`.
#[must_use]
pub fn is_signed(headers: &HeaderMap, body: &[u8], secrets: &[SecretString], now: Timestamp) -> bool {
    let hub = signed_by_hub(headers, body, secrets);
    let standard = signed_by_standard_webhooks(headers, body, secrets, now);
    hub | standard
}

/// Whether the `Authorization` header bears one of `secrets`.
#[must_use]
pub fn bears_token(headers: &HeaderMap, secrets: &[SecretString]) -> bool {
    let Some(token) = only(headers, "authorization").and_then(|value| strip_scheme(value, "bearer")) else {
        return false;
    };
    any_of(secrets, |secret| secret.expose_secret().as_bytes().ct_eq(token.as_bytes()).into())
}

/// The value of `webhook-signature` for a message sent at `sent_at`: what each secret makes of it, so that a
/// receiver who knows any of them can verify it. Nothing, if there are no secrets.
#[must_use]
pub fn sign(id: &str, sent_at: Timestamp, body: &[u8], secrets: &[SigningSecret]) -> Option<String> {
    let sent_at = sent_at.as_second().to_string();
    let message = standard_message(id, &sent_at, body);
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| format!("v1,{}", BASE64.encode(mac(secret.0.expose_secret(), &message).into_bytes())))
        .collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

/// A secret to sign with.
#[derive(Debug)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// The key that a secret stands for: what the base64 of `whsec_<base64>` says, of any other text its bytes.
    /// Else a clause that says what is wrong, to follow a setting's name.
    pub fn read(secret: &str) -> Result<Self, String> {
        if secret.is_empty() {
            return Err("is empty".to_owned());
        }
        let key = match encoded_key(secret) {
            Some(encoded) => BASE64
                .decode(encoded)
                .ok()
                .filter(|key| !key.is_empty())
                .ok_or("begins with whsec_, but no base64 follows")?,
            None => secret.as_bytes().to_vec(),
        };
        Ok(Self(SecretSlice::from(key)))
    }
}

fn signed_by_hub(headers: &HeaderMap, body: &[u8], secrets: &[SecretString]) -> bool {
    let Some(signature) =
        only(headers, "x-hub-signature-256").and_then(|value| value.strip_prefix("sha256="))
    else {
        return false;
    };
    let Some(claimed) = decode(signature) else { return false };
    any_of(secrets, |secret| matches(secret.expose_secret().as_bytes(), &[body], &claimed))
}

fn signed_by_standard_webhooks(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[SecretString],
    now: Timestamp,
) -> bool {
    let (Some(id), Some(sent_at), Some(signatures)) =
        (only(headers, ID), only(headers, TIMESTAMP), only(headers, SIGNATURE))
    else {
        return false;
    };
    let Some(age) = age(sent_at, now) else { return false };
    if age > TIMESTAMP_TOLERANCE {
        return false;
    }
    let signed = standard_message(id, sent_at, body);
    let claimed: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| BASE64.decode(signature).ok())
        .collect();
    any_of(secrets, |secret| {
        any_of(&standard_keys(secret), |key| any_of(&claimed, |claimed| matches(key, &signed, claimed)))
    })
}

/// How far apart the sender's clock and ours are, if the timestamp is one.
fn age(sent_at: &str, now: Timestamp) -> Option<SignedDuration> {
    let sent_at = Timestamp::from_second(sent_at.parse().ok()?).ok()?;
    Some(now.duration_since(sent_at).abs())
}

/// What Standard Webhooks signs, in parts.
fn standard_message<'a>(id: &'a str, sent_at: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", sent_at.as_bytes(), b".", body]
}

/// The base64 in a secret written as Standard Webhooks has it.
fn encoded_key(secret: &str) -> Option<&str> {
    secret.strip_prefix("whsec_")
}

fn standard_keys(secret: &SecretString) -> Vec<Vec<u8>> {
    let text = secret.expose_secret();
    if let Some(encoded) = encoded_key(text) {
        return BASE64.decode(encoded).into_iter().collect();
    }
    std::iter::once(text.as_bytes().to_vec()).chain(BASE64.decode(text)).collect()
}

fn matches(key: &[u8], message: &[&[u8]], claimed: &[u8]) -> bool {
    mac(key, message).into_bytes().ct_eq(claimed).into()
}

fn mac(key: &[u8], message: &[&[u8]]) -> CtOutput<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in message {
        mac.update(part);
    }
    mac.finalize()
}

/// Like `Iterator::any`, but looks at every item whatever it finds: which secret matched does not show.
fn any_of<T>(items: &[T], mut holds: impl FnMut(&T) -> bool) -> bool {
    items.iter().fold(false, |found, item| found | holds(item))
}

/// Decodes a signature of 32 bytes from hex (64 digits) or base64 (44 characters).
fn decode(signature: &str) -> Option<Vec<u8>> {
    let decoded =
        if signature.len() == 64 { hex::decode(signature).ok() } else { BASE64.decode(signature).ok() };
    decoded.filter(|bytes| bytes.len() == 32)
}

/// The header's value, if there is exactly one and it is text.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, credentials) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"id":"1","type":"conversation.ended"}"#;

    fn now() -> Timestamp {
        Timestamp::from_second(1_760_000_000).unwrap()
    }

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }

    fn hub(secret: &str, body: &[u8]) -> String {
        format!("sha256={}", BASE64.encode(hmac(secret.as_bytes(), body)))
    }

    fn standard(key: &[u8], sent_at: i64, body: &[u8]) -> HeaderMap {
        let message = [format!("msg_1.{sent_at}.").as_bytes(), body].concat();
        let signature = format!("v1,{} v1a,other", BASE64.encode(hmac(key, &message)));
        headers(&[
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &sent_at.to_string()),
            ("webhook-signature", &signature),
        ])
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_mac_is_hmac_sha256() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(matches(b"Jefe", &[b"what do ya ", b"want for nothing?"], &hex::decode(expected).unwrap()));
    }

    /// The example that the Standard Webhooks specification publishes with its libraries.
    #[test]
    fn the_published_standard_webhooks_example_verifies() {
        let headers = headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]);
        let sent = Timestamp::from_second(1_614_265_330).unwrap();
        let secrets = secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        assert!(is_signed(&headers, br#"{"test": 2432232314}"#, &secrets, sent));
    }

    /// The same example, from the other end.
    #[test]
    fn the_published_standard_webhooks_example_is_what_we_sign() {
        let sent = Timestamp::from_second(1_614_265_330).unwrap();
        let secret = SigningSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            sign("msg_p5jXN8AQM9LWM0D4loKWxJek", sent, br#"{"test": 2432232314}"#, &[secret]).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_signing_secret_can_be_read_and_does_not_print() {
        for bad in ["", "whsec_", "whsec_*", "whsec_a-secret-of-some-length"] {
            assert!(SigningSecret::read(bad).is_err(), "{bad}");
        }
        let printed = format!("{:?}", SigningSecret::read("hunter2-hunter2").unwrap());
        assert!(!printed.contains("hunter2") && !printed.contains("104, 117"), "{printed}");
        assert_eq!(sign("msg_1", now(), BODY, &[]), None);
    }

    #[test]
    fn a_hub_signature_verifies_in_base64_and_in_hex() {
        let secrets = secrets(&["a-secret-of-some-length"]);
        let mac = hmac(b"a-secret-of-some-length", BODY);
        for signature in [BASE64.encode(&mac), hex::encode(&mac), hex::encode_upper(&mac)] {
            let headers = headers(&[("x-hub-signature-256", &format!("sha256={signature}"))]);
            assert!(is_signed(&headers, BODY, &secrets, now()));
            assert!(!is_signed(&headers, &[BODY, b" "].concat(), &secrets, now()));
        }
    }

    #[test]
    fn during_a_rotation_both_secrets_are_accepted_and_no_third() {
        let both = secrets(&["the-new-secret-16", "the-old-secret-16"]);
        for (secret, accepted) in
            [("the-new-secret-16", true), ("the-old-secret-16", true), ("another", false)]
        {
            let hub = headers(&[("x-hub-signature-256", &hub(secret, BODY))]);
            assert_eq!(is_signed(&hub, BODY, &both, now()), accepted);
            let standard = standard(secret.as_bytes(), now().as_second(), BODY);
            assert_eq!(is_signed(&standard, BODY, &both, now()), accepted);
        }
    }

    #[test]
    fn a_standard_signature_is_good_for_five_minutes_either_way() {
        let secrets = secrets(&["whsec_c2VjcmV0LWtleS1ieXRlcw=="]);
        for (offset, accepted) in [(0, true), (-300, true), (300, true), (-301, false), (301, false)] {
            let headers = standard(b"secret-key-bytes", now().as_second() + offset, BODY);
            assert_eq!(is_signed(&headers, BODY, &secrets, now()), accepted, "{offset}");
        }
    }

    #[test]
    fn nothing_verifies_without_a_signature_or_with_two() {
        let secrets = secrets(&["a-secret-of-some-length"]);
        let good = hub("a-secret-of-some-length", BODY);
        assert!(!is_signed(&HeaderMap::new(), BODY, &secrets, now()));
        assert!(!is_signed(&headers(&[("x-hub-signature-256", "sha256=")]), BODY, &secrets, now()));
        let twice = headers(&[("x-hub-signature-256", &good), ("x-hub-signature-256", &good)]);
        assert!(!is_signed(&twice, BODY, &secrets, now()));
        assert!(!is_signed(&headers(&[("x-hub-signature-256", &good)]), BODY, &[], now()));
    }

    #[test]
    fn a_bearer_token_must_be_one_of_the_secrets() {
        let secrets = secrets(&["one", "two"]);
        for (value, accepted) in [
            ("Bearer one", true),
            ("bearer two", true),
            ("Bearer three", false),
            ("Basic one", false),
            ("one", false),
        ] {
            assert_eq!(bears_token(&headers(&[("authorization", value)]), &secrets), accepted, "{value}");
        }
    }

    proptest! {
        /// Whoever knows any one of the secrets can verify what all of them signed.
        #[test]
        fn what_we_sign_verifies_with_each_of_our_secrets(
            id in "[a-z0-9_-]{1,40}",
            body in any::<Vec<u8>>(),
            texts in prop::collection::vec("(whsec_([A-Za-z0-9+/]{4}){1,9})|[ -~]{1,40}", 1..4),
        ) {
            let signing = texts.iter().map(|text| SigningSecret::read(text));
            prop_assume!(signing.clone().all(|secret| secret.is_ok()));
            let signing: Vec<SigningSecret> = signing.map(Result::unwrap).collect();
            let signature = sign(&id, now(), &body, &signing).unwrap();
            prop_assert_eq!(signature.split(' ').count(), texts.len());
            let sent_at = now().as_second().to_string();
            let headers = headers(&[(ID, &id), (TIMESTAMP, &sent_at), (SIGNATURE, &signature)]);
            for text in &texts {
                prop_assert!(is_signed(&headers, &body, &secrets(&[text]), now()));
            }
            prop_assert!(!is_signed(&headers, &body, &secrets(&["a secret that is none of them, and longer than they"]), now()));
        }

        #[test]
        fn a_signature_of_another_body_never_verifies(body in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            prop_assume!(body != other);
            let headers = headers(&[("x-hub-signature-256", &hub("a-secret-of-some-length", &body))]);
            prop_assert!(is_signed(&headers, &body, &secrets(&["a-secret-of-some-length"]), now()));
            prop_assert!(!is_signed(&headers, &other, &secrets(&["a-secret-of-some-length"]), now()));
        }
    }
}
