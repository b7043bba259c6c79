//! What can go wrong between a client and the backend, and where in a request it does.
//!
//! A queued [`Fault`] is met by the next requests of its operation that pass the door. It then decides whether the
//! work behind the door happens, and what becomes of its answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;

use crate::api::Refusal;
use crate::surface::Operation;
use crate::world::World;

/// One way for a request to go wrong, for one request unless [`Fault::times`] says otherwise.
#[derive(Debug, Clone)]
pub struct Fault {
    kind: Kind,
    retry_after: Option<HeaderValue>,
    times: u32,
}

/// The ways.
#[derive(Debug, Clone)]
enum Kind {
    Status(StatusCode),
    StallBeforeEffect,
    StallAfterEffect,
    DropBeforeEffect,
    EffectThenDrop,
    DropThenEffect(u32),
    EffectThenStatus(StatusCode),
    CutBody,
    SlowBody(Duration),
    Redirect(HeaderValue),
    ExpiredToken,
}

impl Fault {
    /// Answers with this error status, without effect.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::once(Kind::Status(error_status(code)))
    }

    /// Holds the request until it is released, and only then does what was asked. A client that goes away meanwhile
    /// takes its request with it: nothing happens then, not even on release.
    #[must_use]
    pub fn stall_before_effect() -> Self {
        Self::once(Kind::StallBeforeEffect)
    }

    /// Does what was asked and holds the answer until it is released or the client goes away.
    #[must_use]
    pub fn stall_after_effect() -> Self {
        Self::once(Kind::StallAfterEffect)
    }

    /// Closes the connection without an answer and without effect.
    #[must_use]
    pub fn drop_before_effect() -> Self {
        Self::once(Kind::DropBeforeEffect)
    }

    /// Does what was asked and closes the connection without an answer.
    #[must_use]
    pub fn effect_then_drop() -> Self {
        Self::once(Kind::EffectThenDrop)
    }

    /// Closes the connection without an answer, and does what was asked only when the conversation has been looked at
    /// so often: `reads` looks see the state before. The rules are held against what is then. A transfer can be late
    /// like this; any other operation has no effect at all.
    #[must_use]
    pub fn drop_then_effect(reads: u32) -> Self {
        Self::once(Kind::DropThenEffect(reads))
    }

    /// Does what was asked and answers with this error status, as a gateway that gave up waiting does.
    #[must_use]
    pub fn effect_then_status(code: u16) -> Self {
        Self::once(Kind::EffectThenStatus(error_status(code)))
    }

    /// Does what was asked, sends the head of the answer and half of its body, and closes the connection.
    #[must_use]
    pub fn cut_body() -> Self {
        Self::once(Kind::CutBody)
    }

    /// Does what was asked and sends the answer's body in small pieces, each after this delay.
    #[must_use]
    pub fn slow_body(chunk_delay: Duration) -> Self {
        Self::once(Kind::SlowBody(chunk_delay))
    }

    /// Answers 302 with this location, without effect.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::once(Kind::Redirect(header(location)))
    }

    /// Answers 401, without effect, and does not know the presented token any more.
    #[must_use]
    pub fn expired_token() -> Self {
        Self::once(Kind::ExpiredToken)
    }

    /// Says when to come back: whole or fractional seconds, or an HTTP date. Only an error status carries it.
    #[must_use]
    pub fn retry_after(self, when: &str) -> Self {
        Self { retry_after: Some(header(when)), ..self }
    }

    /// Befalls this many requests, one after another.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn once(kind: Kind) -> Self {
        Self { kind, retry_after: None, times: 1 }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Status(status) => write!(f, "status {}", status.as_u16()),
            Kind::StallBeforeEffect => f.write_str("stall-before-effect"),
            Kind::StallAfterEffect => f.write_str("stall-after-effect"),
            Kind::DropBeforeEffect => f.write_str("drop-before-effect"),
            Kind::EffectThenDrop => f.write_str("effect-then-drop"),
            Kind::DropThenEffect(reads) => write!(f, "drop-then-effect {reads}"),
            Kind::EffectThenStatus(status) => write!(f, "effect-then-status {}", status.as_u16()),
            Kind::CutBody => f.write_str("cut-body"),
            Kind::SlowBody(delay) => write!(f, "slow-body {delay:?}"),
            Kind::Redirect(location) => write!(f, "redirect {location:?}"),
            Kind::ExpiredToken => f.write_str("expired-token"),
        }
    }
}

/// Does `work` under the next fault queued for `operation`, if there is one. `token` is the one presented, if any.
pub(crate) async fn under_fault(
    world: &World,
    operation: Operation,
    token: Option<&str>,
    work: impl Future<Output = Response>,
) -> Response {
    let Some(Fault { kind, retry_after, .. }) = world.state().faults.take(operation) else {
        return work.await;
    };
    let refusal = |status| Refusal::of_status(status).retry_after(retry_after).into_response();
    match kind {
        Kind::Status(status) => refusal(status),
        Kind::StallBeforeEffect => {
            world.stall().await;
            work.await
        }
        Kind::StallAfterEffect => {
            let answer = work.await;
            world.stall().await;
            answer
        }
        Kind::DropBeforeEffect => Delivery::Dropped.of(Response::default()),
        Kind::EffectThenDrop => Delivery::Dropped.of(work.await),
        Kind::DropThenEffect(reads) => {
            let mut response = Delivery::Dropped.of(Response::default());
            response.extensions_mut().insert(Late { reads });
            response
        }
        Kind::EffectThenStatus(status) => {
            work.await;
            refusal(status)
        }
        Kind::CutBody => Delivery::CutShort.of(work.await),
        Kind::SlowBody(delay) => Delivery::Dribbled(delay).of(work.await),
        Kind::Redirect(location) => (StatusCode::FOUND, [(LOCATION, location)]).into_response(),
        Kind::ExpiredToken => {
            if let Some(token) = token {
                world.state().oauth.forget(token);
            }
            refusal(StatusCode::UNAUTHORIZED)
        }
    }
}

/// The faults that are to come.
#[derive(Default)]
pub(crate) struct Faults {
    queue: VecDeque<(Operation, Fault)>,
    shares: Vec<Share>,
}

/// A fault that befalls every so many-th request, for as long as nobody clears it.
struct Share {
    operation: Operation,
    every: u32,
    fault: Fault,
    /// The requests it has let through since it last struck.
    spared: u32,
    has_struck: bool,
}

impl Faults {
    pub(crate) fn push(&mut self, operation: Operation, fault: Fault) {
        if fault.times > 0 {
            self.queue.push_back((operation, fault));
        }
    }

    /// Replaces the operation's share, if it has one.
    pub(crate) fn share(&mut self, operation: Operation, every: u32, fault: Fault) {
        self.shares.retain(|share| share.operation != operation);
        self.shares.push(Share { operation, every, fault, spared: 0, has_struck: false });
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.shares.clear();
    }

    /// What is pending, and for how many requests each. A share that has struck is not: it has been met.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (Operation, &Fault, u32)> {
        let queued = self.queue.iter().map(|(operation, fault)| (*operation, fault, fault.times));
        let shares = self.shares.iter().filter(|share| !share.has_struck);
        queued.chain(shares.map(|share| (share.operation, &share.fault, 1)))
    }

    /// The next one of the queue, and the operation's share only if there is none: what is queued is not counted.
    fn take(&mut self, operation: Operation) -> Option<Fault> {
        let Some(at) = self.queue.iter().position(|(of, _)| *of == operation) else {
            return self.shares.iter_mut().find(|share| share.operation == operation)?.take();
        };
        let (_, fault) = self.queue.get_mut(at)?;
        fault.times -= 1;
        let taken = fault.clone();
        if taken.times == 0 {
            self.queue.remove(at);
        }
        Some(taken)
    }
}

impl Share {
    fn take(&mut self) -> Option<Fault> {
        self.spared += 1;
        if self.spared < self.every {
            return None;
        }
        self.spared = 0;
        self.has_struck = true;
        Some(self.fault.clone())
    }
}

/// What was asked is still to be done, when the conversation has been looked at so often: an extension of the
/// response, for whoever can.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    pub(crate) reads: u32,
}

/// How an answer goes wrong on its way out: an extension of the response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delivery {
    /// Not at all: the connection closes instead.
    Dropped,
    /// Half of the body, then the connection closes.
    CutShort,
    /// Whole, in pieces, with this delay before each.
    Dribbled(Duration),
}

impl Delivery {
    fn of(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

/// Sends the finished answer the way its [`Delivery`] says. [`Delivery::Dropped`] is left to the accept loop.
pub(crate) async fn deliver(response: Response) -> Response {
    match response.extensions().get() {
        Some(Delivery::CutShort) => cut_short(response).await,
        Some(Delivery::Dribbled(delay)) => dribbled(*delay, response).await,
        Some(Delivery::Dropped) | None => response,
    }
}

async fn cut_short(response: Response) -> Response {
    let (response, body) = taken_apart(response).await;
    let sent = body.slice(..body.len() / 2);
    // An empty body could not be cut: one byte is announced that never comes.
    let announced = body.len().max(1);
    let cut = stream::once(async {
        // The server flushes what it has when it has to wait, so the first half is out before the end.
        tokio::task::yield_now().await;
        Err(Dropped)
    });
    announcing(announced, response, Body::from_stream(stream::iter([Ok(sent)]).chain(cut)))
}

/// The fault is its slowness: the body comes in pieces, `delay` apart.
async fn dribbled(delay: Duration, response: Response) -> Response {
    const PIECES: usize = 8;
    let (response, body) = taken_apart(response).await;
    let size = body.len().div_ceil(PIECES).max(1);
    let pieces: Vec<Bytes> = body.chunks(size).map(|piece| body.slice_ref(piece)).collect();
    let slowly = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(delay).await;
        Ok::<_, Infallible>(piece)
    });
    announcing(body.len(), response, Body::from_stream(slowly))
}

async fn taken_apart(response: Response) -> (Response, Bytes) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("answers are made in memory here").to_bytes();
    (Response::from_parts(parts, Body::empty()), body)
}

fn announcing(length: usize, response: Response, body: Body) -> Response {
    let mut response = response.map(|_| body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Why a connection was closed without the rest of its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropped;

impl Display for Dropped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a fault closed the connection")
    }
}

impl std::error::Error for Dropped {}

fn error_status(code: u16) -> StatusCode {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| status.as_u16() >= 300)
        .expect("the status of a fault is one of 300 to 999: the caller wrote it down")
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("a header's value is visible ASCII: the caller wrote it down")
}

#[cfg(test)]
mod tests;
