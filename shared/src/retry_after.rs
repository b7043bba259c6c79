//! `Retry-After`: how long the other side of a call asks to be left alone
//! ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jiff::Timestamp;

/// The wait that an answer asks for: seconds, decimals of them (which the RFC does not know and servers send),
/// or one of HTTP's dates. It may be aeons long.
pub(crate) fn asked(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::from(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str) -> Option<Duration> {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, value.parse().unwrap())]);
        asked(&headers, now)
    }

    #[test]
    fn retry_after_is_seconds_decimals_or_a_date() {
        assert_eq!(wait("3"), Some(Duration::from_secs(3)));
        assert_eq!(wait(" 0.25 "), Some(Duration::from_millis(250)));
        assert_eq!(wait("Sun, 22 Nov 2026 12:00:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sunday, 22-Nov-26 12:00:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 22 Nov 2026 11:59:00 GMT"), Some(Duration::ZERO));
        for odd in ["", "-1", "soon", "NaN", "inf", "1e300"] {
            assert_eq!(wait(odd), None, "{odd}");
        }
    }
}
