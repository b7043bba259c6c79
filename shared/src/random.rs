//! Randomness, from the operating system, in one place.
//!
//! A generator seeded at start would repeat itself where an instance is started from a snapshot; what is
//! drawn here is drawn anew each time.

/// A name nobody else will draw: 32 lowercase hex digits (128 bits).
#[must_use]
pub fn token() -> String {
    format!("{:016x}{:016x}", word(), word())
}

/// A fraction in `0.0..1.0`, for jitter.
#[must_use]
pub fn fraction() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the 53 bits kept are those an f64 can hold")]
    let numerator = (word() >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
fn word() -> u64 {
    getrandom::u64().expect("a machine without randomness can run neither TLS nor this")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_fractions_stay_below_one() {
        assert_ne!(token(), token());
        assert_eq!(token().len(), 32);
        assert!((0..1000).map(|_| fraction()).all(|f| (0.0..1.0).contains(&f)));
    }
}
