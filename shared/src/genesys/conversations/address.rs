//! Telephone numbers and SIP addresses.

/// Where an external call goes: a telephone number (E.164) or a SIP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a telephone number such as +4930123456 (E.164) or a SIP address such as sip:agent@example.com"
)]
pub struct BadAddress;

/// The longest address that is taken.
const MAX_BYTES: usize = 255;

impl Address {
    /// Parses an address. A number is `+` and 2–15 digits, the first not 0 (ITU-T E.164); a SIP address is
    /// `sip:` or `sips:` (or neither), a user, `@`, a host, and perhaps a port and parameters (RFC 3261, 19.1).
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let is_address = text.len() <= MAX_BYTES && (is_number(text) || is_sip(text));
        if is_address { Ok(Self(text.to_owned())) } else { Err(BadAddress) }
    }

    /// The address's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last two digits of the number, or of the user of a SIP address; nothing if it has fewer than three.
    #[must_use]
    pub fn last_two_digits(&self) -> Option<String> {
        let digits: String = self.user().chars().filter(char::is_ascii_digit).collect();
        (digits.len() > 2).then(|| digits[digits.len() - 2..].to_owned())
    }

    /// Whether Genesys Cloud, which writes a number as `tel:+49…` or `sip:+49…@host`, means this address by `text`.
    pub(super) fn is_told_as(&self, text: &str) -> bool {
        let told = essence(text);
        let told = if is_number(&self.0) { told.split('@').next().unwrap_or_default() } else { &told };
        told.eq_ignore_ascii_case(&essence(&self.0))
    }

    fn user(&self) -> &str {
        without_scheme(&self.0).split('@').next().unwrap_or_default()
    }
}

/// The address without its scheme and parameters.
fn essence(text: &str) -> String {
    let text = without_scheme(text);
    text.split([';', '?']).next().unwrap_or_default().to_owned()
}

fn without_scheme(text: &str) -> &str {
    ["sip:", "sips:", "tel:"]
        .iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map_or(text, |scheme| &text[scheme.len()..])
}

fn is_number(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (2..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

fn is_sip(text: &str) -> bool {
    let scheme = text.get(..4).filter(|start| start.eq_ignore_ascii_case("tel:"));
    let Some((user, host)) = without_scheme(text).split_once('@') else { return false };
    let (host, parameters) = host.split_once(';').unwrap_or((host, ""));
    let (host, port) = host.split_once(':').unwrap_or((host, "5060"));
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,%".contains(&byte);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_parameter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()=;%+".contains(&byte);
    scheme.is_none()
        && !user.is_empty()
        && user.bytes().all(is_user)
        && host.bytes().all(is_host)
        && host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && port.parse::<u16>().is_ok()
        && parameters.bytes().all(is_parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sip_addresses_are_addresses() {
        for good in [
            "+4930123456",
            "+12",
            "+123456789012345",
            "sip:agent@example.com",
            "SIPS:a.b%20c@10.0.0.1:5061;transport=tls",
            "agent@sip.example.com",
            "sip:+4930123456@trunk.example",
        ] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let long = format!("sip:{}@example.com", "a".repeat(300));
        for bad in [
            "",
            "+",
            "+1",
            "+0301234567",
            "4930123456",
            "+49 30 123456",
            "+1234567890123456",
            "tel:+4930123456",
            "tel:a@b",
            "sip:@host",
            "sip:user@",
            "sip:user",
            "sip:us er@host",
            "sip:user@host/../x",
            "sip:user@host:port",
            "sip:user@-host",
            "sip:user@host\r\nx: y",
            "https://example.com",
            &long,
        ] {
            assert_eq!(Address::parse(bad), Err(BadAddress), "{bad}");
        }
    }

    #[test]
    fn an_address_is_known_again_however_it_is_written() {
        let number = Address::parse("+4930123456").unwrap();
        for told in ["+4930123456", "tel:+4930123456", "sip:+4930123456@trunk.example;user=phone"] {
            assert!(number.is_told_as(told), "{told}");
        }
        assert!(!number.is_told_as("tel:+49301234567"));
        let sip = Address::parse("sip:Agent@Example.com").unwrap();
        assert!(sip.is_told_as("agent@example.com;transport=tcp"));
        assert!(!sip.is_told_as("agent@example.org"));
    }

    #[test]
    fn two_digits_are_shown_and_only_if_they_hide_something() {
        let digits = |text: &str| Address::parse(text).unwrap().last_two_digits();
        assert_eq!(digits("+4930123456").as_deref(), Some("56"));
        assert_eq!(digits("sip:+4930123478@trunk9.example").as_deref(), Some("78"));
        assert_eq!(digits("sip:agent@example.com"), None);
        assert_eq!(digits("sip:agent42@example.com"), None);
        assert_eq!(digits("+12"), None);
    }
}
