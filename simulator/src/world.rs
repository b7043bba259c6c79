//! The simulated organisation: everything that outlives a request.
//!
//! Each noun's own state lives beside its endpoints; here it is put together under one lock, which is never held
//! across an await. What somebody may wait for announces itself through [`World::saw`] and [`World::stall`].

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::conversations::Conversations;
use crate::data_actions::Actions;
use crate::directory::Directory;
use crate::faults::Faults;
use crate::oauth::Oauth;
use crate::retention::Retention;
use crate::surface::{Operation, Surface};
use crate::transfers::UserContext;

/// One organisation, shared by the server's tasks and the handles.
pub(crate) struct World {
    pub(crate) surface: Surface,
    started: Instant,
    ids: Ids,
    state: Mutex<State>,
    changed: Notify,
    released: watch::Sender<u64>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) oauth: Oauth,
    pub(crate) actions: Actions,
    pub(crate) conversations: Conversations,
    pub(crate) directory: Directory,
    pub(crate) consult_needs: UserContext,
    pub(crate) retention: Retention,
    pub(crate) faults: Faults,
    pub(crate) requests: Vec<SeenRequest>,
    pub(crate) anomalies: Vec<Anomaly>,
    pub(crate) stalled: usize,
    minute: Minute,
}

/// In milliseconds.
const MINUTE: u64 = 60_000;

/// The first of January 2026, in seconds since 1970: what the simulator's own clock says when it starts.
const START: i64 = 1_767_225_600;

/// The latest minute in which a request arrived, and how many did; token requests do not count.
#[derive(Default, Clone, Copy)]
struct Minute {
    number: u64,
    requests: u64,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// What it asked for, if that is known here.
    pub operation: Option<Operation>,
    /// The method, in capitals.
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query as sent, without its question mark; empty if there was none.
    pub query: String,
    /// Every header.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// When it had arrived whole, in milliseconds since the simulator started.
    pub when: u64,
}

impl SeenRequest {
    /// The first value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request no correct client would have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// What was wrong with it.
    pub what: String,
    /// Its method, in capitals.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
}

impl World {
    pub(crate) fn new(surface: Surface) -> Self {
        Self {
            surface,
            started: Instant::now(),
            ids: Ids::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            released: watch::Sender::new(0),
        }
    }

    /// The state, to look at or to change. A test that panicked while holding it has failed already: nobody else
    /// needs to.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A new id of the form of a random UUID.
    pub(crate) fn uuid(&self) -> String {
        self.ids.uuid()
    }

    pub(crate) fn saw(&self, request: SeenRequest) {
        let mut state = self.state();
        if request.operation != Some(Operation::Token) {
            state.minute.count(request.when);
        }
        state.requests.push(request);
        drop(state);
        self.changed.notify_waiters();
    }

    /// How many requests, token requests aside, have arrived this minute, and how many seconds are left of it.
    pub(crate) fn this_minute(&self) -> (u64, u64) {
        let now = self.now();
        let Minute { number, requests } = self.state().minute;
        let requests = if number == now / MINUTE { requests } else { 0 };
        (requests, (MINUTE - now % MINUTE).div_ceil(1_000))
    }

    pub(crate) async fn wait_until(&self, reached: impl Fn(&State) -> bool) {
        loop {
            // Taken before looking, so that a change in between is not missed.
            let changed = self.changed.notified();
            if reached(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Holds its caller until the next release. A connection whose client goes away drops what it was running, and
    /// with it this wait and all that was to come after.
    pub(crate) async fn stall(&self) {
        let mut released = self.released.subscribe();
        let _held = Held::new(self);
        // The sender lives in `self`, so this cannot fail.
        let _ = released.changed().await;
    }

    pub(crate) fn release_stalled(&self) {
        self.released.send_modify(|releases| *releases += 1);
    }
}

impl State {
    pub(crate) fn request_count(&self, operation: Operation) -> usize {
        self.requests.iter().filter(|request| request.operation == Some(operation)).count()
    }
}

impl Minute {
    fn count(&mut self, when: u64) {
        let number = when / MINUTE;
        if self.number != number {
            *self = Self { number, requests: 0 };
        }
        self.requests += 1;
    }
}

/// What the simulator's own clock said so many milliseconds after the start, in whole seconds.
pub(crate) fn date(when: u64) -> String {
    let seconds = i64::try_from(when / 1_000).unwrap_or(i64::MAX);
    let date = Timestamp::from_second(START.saturating_add(seconds)).unwrap_or(Timestamp::MAX);
    date.to_string()
}

/// Counts one stalled request for as long as it is held.
struct Held<'a>(&'a World);

impl<'a> Held<'a> {
    fn new(world: &'a World) -> Self {
        world.state().stalled += 1;
        world.changed.notify_waiters();
        Self(world)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.state().stalled -= 1;
        self.0.changed.notify_waiters();
    }
}

/// Ids that do not repeat, within a simulator or between two of them.
#[derive(Default)]
struct Ids {
    random: RandomState,
    next: AtomicU64,
}

impl Ids {
    fn uuid(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let bits =
            (u128::from(self.random.hash_one((n, 'h'))) << 64) | u128::from(self.random.hash_one((n, 'l')));
        let hex = format!("{bits:032x}");
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}
