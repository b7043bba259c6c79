//! Reads a subscriber's URL: what may be called is told from what may not, as far as the URL itself can tell.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

use super::Reach;
use super::address::purpose;

/// Why a notice is not sent and will not be, until somebody changes the settings or the notice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no URL, or names no host.
    #[error("the subscriber is not a URL")]
    NotAUrl,
    /// Neither https nor, where that is permitted, http.
    #[error("the subscriber's URL begins with {0}:, which is not called")]
    Scheme(String),
    /// A user name or a password in the URL. Somebody would read it in a log one day.
    #[error("the subscriber's URL has credentials in it")]
    Credentials,
    /// An address is written in the URL that may not be called.
    #[error("the subscriber's URL leads to {address}, {purpose}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What it is set aside for, as a noun.
        purpose: &'static str,
    },
    /// A header of the notice, or its id, that HTTP has no way to say.
    #[error("the notice's header {0:?} cannot be sent")]
    Header(String),
}

/// A subscriber's URL, if it may be called. Where it holds a name, the resolver has the last word.
pub(super) fn read(text: &str, reach: Reach) -> Result<Url, Refusal> {
    let url = Url::parse(text).map_err(|_| Refusal::NotAUrl)?;
    let is_called = match reach {
        Reach::Public => url.scheme() == "https",
        Reach::Everything => matches!(url.scheme(), "https" | "http"),
    };
    if !is_called {
        return Err(Refusal::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::Credentials);
    }
    let host = url.host_str().ok_or(Refusal::NotAUrl)?;
    match (reach, literal(host)) {
        (Reach::Everything, _) | (Reach::Public, None) => Ok(url),
        (Reach::Public, Some(address)) => match purpose(address) {
            Some(purpose) => Err(Refusal::Address { address, purpose }),
            None => Ok(url),
        },
    }
}

/// A subscriber as logs and records may show it: scheme, host and port. What follows them may be a token, in the
/// query as in the path.
#[must_use]
pub fn shown(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "(not a URL)".to_owned() };
    let origin = url.origin();
    if !origin.is_tuple() {
        return format!("{}:…", url.scheme());
    }
    let rest = if url.path() == "/" && url.query().is_none() { "" } else { "/…" };
    format!("{}{rest}", origin.ascii_serialization())
}

/// The address that a host is, if it is one. The URL's parser has brought every spelling of an IPv4 address into
/// the usual one, and the client too takes an address for one only in that form.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => host.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(url: &str) -> Refusal {
        read(url, Reach::Public).expect_err(url)
    }

    fn address(url: &str) -> String {
        match refusal(url) {
            Refusal::Address { address, .. } => address.to_string(),
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn an_address_is_recognised_however_it_is_spelt() {
        for loopback in [
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://127.1/",
            "https://127.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0X7F.0x0.0x0.0x1/",
            "https://017700000001/",
            "https://0177.0.0.1/",
            "https://0177.0.0.01./",
            "https://%31%32%37.0.0.1/",
            "https://127%2E0%2E0%2E1/",
            "https://１２７.０.０.１/",
            "https://127。0。0。1/",
            "https://①②⑦.0.0.1/",
            "  https://127.0.0.1/  ",
            "https://127.0.\t0.1/",
            "https:127.0.0.1",
            "https:\\\\127.0.0.1\\",
            "HTTPS://127.0.0.1:8443/hook",
            "https://127.0.0.1#@example.com/",
            "https://127.0.0.1?@example.com/",
            "https://127.0.0.1\\@example.com/",
        ] {
            assert_eq!(address(loopback), "127.0.0.1", "{loopback}");
        }
        for (url, expected) in [
            ("https://0/", "0.0.0.0"),
            ("https://10.1/", "10.0.0.1"),
            ("https://127.0.0.0x/", "127.0.0.0"),
            ("https://169.254.169.254/latest/meta-data/", "169.254.169.254"),
            ("https://2852039166/", "169.254.169.254"),
            ("https://0xa9.0xfe.0xa9.0xfe/", "169.254.169.254"),
            ("https://[::]/", "::"),
            ("https://[::1]/", "::1"),
            ("https://[0:0:0:0:0:0:0:1]:443/", "::1"),
            ("https://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1"),
            ("https://[::ffff:a00:1]/", "::ffff:10.0.0.1"),
            ("https://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
            ("https://[2002:7f00:1::]/", "2002:7f00:1::"),
            ("https://[fd00:ec2::254]/", "fd00:ec2::254"),
            ("https://[fe80::1]/", "fe80::1"),
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_for_its_reason() {
        let scheme = |scheme: &str| Refusal::Scheme(scheme.to_owned());
        for (url, expected) in [
            ("", Refusal::NotAUrl),
            ("example.com/hook", Refusal::NotAUrl),
            ("https://", Refusal::NotAUrl),
            ("https://[fe80::1%25eth0]/", Refusal::NotAUrl),
            ("https://[127.0.0.1]/", Refusal::NotAUrl),
            ("https://256.0.0.1/", Refusal::NotAUrl),
            ("https://example.com:99999/", Refusal::NotAUrl),
            ("https://exa mple.com/", Refusal::NotAUrl),
            ("http://example.com/", scheme("http")),
            ("file:///etc/passwd", scheme("file")),
            ("unix:/run/socket", scheme("unix")),
            ("gopher://example.com/", scheme("gopher")),
            ("https://user@example.com/", Refusal::Credentials),
            ("https://:password@example.com/", Refusal::Credentials),
            ("https://example.com@127.0.0.1/", Refusal::Credentials),
            ("https://example.com:443@10.0.0.1/", Refusal::Credentials),
        ] {
            assert_eq!(refusal(url), expected, "{url}");
        }
    }

    #[test]
    fn names_and_public_addresses_are_called() {
        for url in [
            "https://example.com/hook?token=1#part",
            "https://example.com:8443/",
            "https://xn--bcher-kva.example/",
            "https://93.184.215.14/",
            "https://[2606:4700:4700::1111]/",
            "https://[::ffff:93.184.215.14]/",
            // The resolver says no to these.
            "https://localhost/",
            "https://localhost./",
            "https://127.0.0.1.example.com/",
        ] {
            assert!(read(url, Reach::Public).is_ok(), "{url}");
        }
    }

    #[test]
    fn everything_is_http_and_every_address_but_never_credentials() {
        for url in ["http://127.0.0.1:9/", "https://10.0.0.1/", "http://[::1]/", "http://localhost/"] {
            assert!(read(url, Reach::Everything).is_ok(), "{url}");
        }
        assert_eq!(read("http://u:p@127.0.0.1/", Reach::Everything), Err(Refusal::Credentials));
        assert_eq!(read("ftp://127.0.0.1/", Reach::Everything), Err(Refusal::Scheme("ftp".to_owned())));
    }

    #[test]
    fn no_token_is_shown() {
        for (url, expected) in [
            ("https://user:hush@example.com:8443/hush?token=hush#hush", "https://example.com:8443/…"),
            ("https://example.com?hush", "https://example.com/…"),
            ("https://example.com", "https://example.com"),
            ("https://example.com:443/", "https://example.com"),
            ("http://[::1]:8080/hush", "http://[::1]:8080/…"),
            ("data:text/plain,hush", "data:…"),
            ("hush", "(not a URL)"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    proptest! {
        /// Whatever is let through as a public URL, the client's connector sees the address that was judged.
        #[test]
        fn no_text_gets_a_special_address_past(text in "https://[0-9a-fxA-FX.:\\[\\]%@/]{1,24}") {
            if let Ok(url) = read(&text, Reach::Public) {
                let host = url.host_str().unwrap().trim_matches(['[', ']']);
                let connected: Option<IpAddr> = host.parse().ok();
                prop_assert_eq!(connected.and_then(purpose), None, "{}", url);
            }
        }

        #[test]
        fn a_number_is_the_address_it_stands_for(bits in any::<u32>()) {
            let address = std::net::Ipv4Addr::from_bits(bits);
            let is_called = purpose(address.into()).is_none();
            for spelt in [format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}"), address.to_string()] {
                prop_assert_eq!(read(&format!("https://{spelt}/"), Reach::Public).is_ok(), is_called);
            }
        }
    }
}
