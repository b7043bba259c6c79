//! Finished answers in a warm instance's memory: a repeat costs no request at all.
//!
//! Only what can no longer change is kept here; a claim under way never is. The fingerprint lies beside the
//! answer, so a changed request is refused from memory too.

use std::sync::Arc;

use jiff::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::answer::Finished;

/// How many bytes of answers an instance keeps.
const CAPACITY_BYTES: u64 = 16 * 1024 * 1024;

/// Roughly how many answers that is.
const EXPECTED_ANSWERS: usize = 4096;

/// What an entry weighs beside its body.
const OVERHEAD_BYTES: u64 = 512;

/// Answers this instance has given, by key hash.
#[derive(Debug)]
pub struct Memory(Cache<String, Arc<Entry>, ByBytes>);

/// What memory knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It is done, and this is how.
    Finished(Finished),
    /// It is done, for another request.
    KeyReused,
}

#[derive(Debug)]
struct Entry {
    fingerprint: String,
    finished: Finished,
    expires_at: i64,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Cache::with_weighter(EXPECTED_ANSWERS, CAPACITY_BYTES, ByBytes))
    }
}

impl Memory {
    /// What is remembered of a key, unless it has expired.
    #[must_use]
    pub fn recall(&self, key_hash: &str, fingerprint: &str, now: Timestamp) -> Option<Remembered> {
        let entry = self.0.get(key_hash)?;
        if entry.expires_at <= now.as_second() {
            self.0.remove(key_hash);
            return None;
        }
        let is_same = entry.fingerprint == fingerprint;
        Some(if is_same { Remembered::Finished(entry.finished.clone()) } else { Remembered::KeyReused })
    }

    pub(super) fn keep(&self, key_hash: &str, fingerprint: &str, finished: &Finished, expires_at: i64) {
        let entry = Entry { fingerprint: fingerprint.to_owned(), finished: finished.clone(), expires_at };
        self.0.insert(key_hash.to_owned(), Arc::new(entry));
    }
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<String, Arc<Entry>> for ByBytes {
    fn weight(&self, _: &String, entry: &Arc<Entry>) -> u64 {
        let body = match &entry.finished {
            Finished::Answered(answer) => answer.body.len() as u64,
            Finished::TooLarge => 0,
        };
        body + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::Answer;

    fn now() -> Timestamp {
        Timestamp::from_second(1_760_000_000).unwrap()
    }

    fn answered(bytes: usize) -> Finished {
        Finished::Answered(Answer { status: 200, content_type: None, body: vec![7; bytes].into() })
    }

    #[test]
    fn an_answer_is_given_to_its_own_request_until_it_expires() {
        let memory = Memory::default();
        memory.keep("key", "request", &answered(3), now().as_second() + 10);
        assert_eq!(memory.recall("key", "request", now()), Some(Remembered::Finished(answered(3))));
        assert_eq!(memory.recall("key", "another", now()), Some(Remembered::KeyReused));
        let later = now() + jiff::SignedDuration::from_secs(10);
        assert_eq!(memory.recall("key", "request", later), None);
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        let memory = Memory::default();
        for index in 0..100 {
            memory.keep(&index.to_string(), "request", &answered(1024 * 1024), i64::MAX);
        }
        assert!(memory.0.weight() <= CAPACITY_BYTES);
    }
}
