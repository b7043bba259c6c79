//! Trace context: which trace a request belongs to, carried along with all the work that it causes.
//!
//! It is read in both spellings that callers use, [W3C's](https://www.w3.org/TR/trace-context/) `traceparent` and
//! [AWS X-Ray's](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader) trace
//! header, which say the same. What is neither is no trace, and no reason to fail. None is ever made up.
//!
//! A trace goes with a task, like the fields of its log lines: [`within`] sets it, [`current`] is it. Nothing here
//! starts a task of its own, so nothing loses it. The parent's id is passed on as it came, because no span of ours is
//! reported anywhere: an id of our own would be a parent that nobody ever finds.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument;

/// The header, the message attribute and the table's attribute that W3C's spelling is found in.
pub const TRACEPARENT: &str = "traceparent";

/// The header that X-Ray's spelling is found in.
const X_RAY: &str = "x-amzn-trace-id";

/// Whether the trace is being recorded.
const SAMPLED: u8 = 0b01;

/// Whether the trace's id is random. Like the other, it is passed on; flags of no known meaning are not.
const RANDOM: u8 = 0b10;

/// Where in which trace a request stands. It displays as W3C's `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: NonZeroU128,
    parent: NonZeroU64,
    flags: u8,
}

tokio::task_local! {
    static CURRENT: Option<Trace>;
}

/// Lets `work` belong to a trace, or to none. Its log lines bear the trace's id as `trace.id`.
pub async fn within<T>(trace: Option<Trace>, work: impl Future<Output = T>) -> T {
    let span = match &trace {
        Some(trace) => tracing::info_span!("trace", trace.id = trace.id()),
        None => tracing::Span::none(),
    };
    CURRENT.scope(trace, work).instrument(span).await
}

/// The trace that the running work belongs to.
#[must_use]
pub fn current() -> Option<Trace> {
    CURRENT.try_with(|trace| *trace).unwrap_or_default()
}

/// The headers that tell others of the current trace: one, or none.
pub(crate) fn headers() -> HeaderMap {
    let trace = current().map(|trace| {
        let value = HeaderValue::try_from(trace.to_string()).expect("it is hexadecimal and hyphens");
        (HeaderName::from_static(TRACEPARENT), value)
    });
    trace.into_iter().collect()
}

impl Trace {
    /// Reads W3C's spelling, of version 00 or, as far as they are to be understood, later ones.
    #[must_use]
    pub fn from_w3c(text: &str) -> Option<Self> {
        let mut fields = text.splitn(5, '-');
        let mut field = |digits| hex(fields.next()?, digits);
        let (version, id, parent, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let known = match version {
            0 if fields.next().is_some() => return None,
            0 => SAMPLED | RANDOM,
            0xff => return None,
            _ => SAMPLED,
        };
        Self::new(id, parent, u8::try_from(flags).ok()? & known)
    }

    /// Reads X-Ray's spelling. One without a parent is not enough: it was made by a gateway that takes no part in the
    /// trace.
    #[must_use]
    pub fn from_x_ray(text: &str) -> Option<Self> {
        let field = |name| text.split(';').find_map(|it| it.trim().strip_prefix(name)?.strip_prefix('='));
        let (time, rest) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
        let id = (hex(time, 8)? << 96) | hex(rest, 24)?;
        let flags = if field("Sampled") == Some("1") { SAMPLED } else { 0 };
        Self::new(id, hex(field("Parent")?, 16)?, flags)
    }

    /// What a caller over HTTP says, in the one spelling or the other. Where one is given twice, nobody knows which is
    /// meant.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let only = |name| {
            let mut values = headers.get_all(name).into_iter();
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        let w3c = only(TRACEPARENT).and_then(Self::from_w3c);
        w3c.or_else(|| only(X_RAY).and_then(Self::from_x_ray))
    }

    /// X-Ray's spelling.
    #[must_use]
    pub fn x_ray(&self) -> String {
        let id = self.id();
        let (time, rest) = id.split_at(8);
        format!("Root=1-{time}-{rest};Parent={:016x};Sampled={}", self.parent, self.flags & SAMPLED)
    }

    /// The trace's id: 32 lowercase hex digits.
    fn id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// An id that is all zero is none.
    fn new(id: u128, parent: u128, flags: u8) -> Option<Self> {
        let parent = NonZeroU64::new(u64::try_from(parent).ok()?)?;
        Some(Self { id: NonZeroU128::new(id)?, parent, flags })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.id, self.parent, self.flags)
    }
}

/// A number of so many lowercase hex digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_digit)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const AS_X_RAY: &str = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";

    #[test]
    fn both_spellings_say_the_same() {
        let trace = Trace::from_w3c(W3C).unwrap();
        assert_eq!(trace.x_ray(), AS_X_RAY);
        assert_eq!(Trace::from_x_ray(AS_X_RAY), Some(trace));
        assert_eq!(trace.to_string(), W3C);
        let unsampled = Trace::from_w3c(&W3C.replace("-01", "-00")).unwrap();
        assert_eq!(unsampled.x_ray(), AS_X_RAY.replace("Sampled=1", "Sampled=0"));
    }

    #[test]
    fn what_lambda_and_load_balancers_write_is_read() {
        for text in [
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1;Lineage=1:a87bd80c:0",
            "Self=1-67891234-12456789abcdef012345678a;Parent=b7ad6b7169203331; Sampled=1; \
             Root=1-0af76519-16cd43dd8448eb211c80319c",
        ] {
            assert_eq!(Trace::from_x_ray(text).unwrap().to_string(), W3C, "{text}");
        }
        let undecided = AS_X_RAY.replace("Sampled=1", "Sampled=?");
        assert_eq!(Trace::from_x_ray(&undecided).unwrap().to_string(), W3C.replace("-01", "-00"));
    }

    #[test]
    fn flags_that_are_not_known_are_not_passed_on() {
        let passed_on = |text: &str| Trace::from_w3c(text).unwrap().to_string();
        assert_eq!(passed_on(&W3C.replace("-01", "-ff")), W3C.replace("-01", "-03"));
        let later = format!("{}-what-the-future-brings", W3C.replace("00-", "cc-").replace("-01", "-ff"));
        assert_eq!(passed_on(&later), W3C);
    }

    #[test]
    fn what_is_malformed_is_no_trace() {
        let w3c = [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            AS_X_RAY,
        ];
        for text in w3c {
            assert_eq!(Trace::from_w3c(text), None, "{text}");
        }
        let x_ray = [
            "",
            "Root=1-0af76519-16cd43dd8448eb211c80319c",
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=1",
            "Root=2-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1",
            "Root=1-0af76519-16cd43dd8448eb211c80319;Parent=b7ad6b7169203331;Sampled=1",
            "Root=1-00000000-000000000000000000000000;Parent=b7ad6b7169203331;Sampled=1",
            "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=0000000000000000;Sampled=1",
            "Parent=b7ad6b7169203331;Sampled=1",
            W3C,
        ];
        for text in x_ray {
            assert_eq!(Trace::from_x_ray(text), None, "{text}");
        }
    }

    #[test]
    fn of_headers_w3cs_comes_first_and_one_given_twice_says_nothing() {
        let read = |given: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            Trace::from_headers(&headers).map(|trace| trace.to_string())
        };
        let other = "00-11111111111111111111111111111111-2222222222222222-00";
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(TRACEPARENT, other), (X_RAY, AS_X_RAY)]).as_deref(), Some(other));
        assert_eq!(read(&[(TRACEPARENT, "odd"), (X_RAY, AS_X_RAY)]).as_deref(), Some(W3C));
        assert_eq!(read(&[(TRACEPARENT, other), (TRACEPARENT, W3C)]), None);
        assert_eq!(read(&[(TRACEPARENT, "\u{e4}")]), None);
    }

    #[tokio::test]
    async fn a_trace_goes_with_its_work_and_no_other() {
        let trace = Trace::from_w3c(W3C);
        let inner = within(trace, async {
            let none = within(None, async { (current(), headers()) }).await;
            (none, current(), headers())
        });
        let ((none, no_headers), same, with_header) = inner.await;
        assert_eq!((none, same, current()), (None, trace, None));
        assert!(no_headers.is_empty());
        assert_eq!(with_header[TRACEPARENT], W3C);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(id in 1_u128.., parent in 1_u64.., flags in 0..=3_u8) {
            let trace = Trace::new(id, u128::from(parent), flags).unwrap();
            prop_assert_eq!(Trace::from_w3c(&trace.to_string()), Some(trace));
            let by_x_ray = Trace::from_x_ray(&trace.x_ray()).unwrap();
            prop_assert_eq!(by_x_ray, Trace { flags: flags & SAMPLED, ..trace });
        }

        #[test]
        fn whatever_is_read_is_written_in_the_one_form(text in "(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|.{0,80})") {
            if let Some(trace) = Trace::from_w3c(&text) {
                prop_assert_eq!(trace.to_string().len(), 55);
                prop_assert_eq!(Trace::from_w3c(&trace.to_string()), Some(trace));
            }
        }

        #[test]
        fn hostile_x_ray_headers_do_no_harm(
            text in "((Root|Parent|Sampled|Self|R|=|;|1|-|[0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{24}|.){0,12})"
        ) {
            if let Some(trace) = Trace::from_x_ray(&text) {
                prop_assert_eq!(Trace::from_x_ray(&trace.x_ray()), Some(trace));
            }
        }
    }
}
