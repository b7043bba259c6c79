//! Genesys Cloud, in one invocation: what is there is listed once and shared, and trouble is counted.

use std::sync::Arc;
use std::time::Duration;

use shared::genesys::retention::{Asked, Change, Found, JobStanding, Line, Unread};
use shared::genesys::{NotPerformed, Surface};
use shared::telemetry::chain;
use tokio::time::Instant;

use crate::App;
use crate::decide::Write;
use crate::machine::Phase;

/// After so many failed attempts in a row, Genesys Cloud is left alone.
const BREAKER: u32 = 3;

/// With less time than this nobody can be called.
const A_MOMENT: Duration = Duration::from_millis(100);

/// Genesys Cloud, in one invocation.
#[derive(Debug)]
pub(crate) struct Upstream<'a> {
    app: &'a App,
    act_by: Instant,
    line: Option<Line>,
    /// Whether no token could be had, because whoever issues them is in trouble.
    is_tokenless: bool,
    /// The policies that are there, and since when that is known.
    there: Option<(Instant, There)>,
    cap: Cap,
}

/// The policies that are there, or why that is not known.
type There = Result<Arc<Vec<Found>>, Unread>;

/// For how many days the organisation keeps anything at most.
#[derive(Clone, Copy, Debug)]
enum Cap {
    NotAsked,
    None,
    Days(u64),
}

/// What reading a policy has brought.
pub(crate) enum Reading {
    One(Option<Found>),
    All(Arc<Vec<Found>>),
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(app: &'a App, act_by: Instant) -> Self {
        Self { app, act_by, line: None, is_tokenless: false, there: None, cap: Cap::NotAsked }
    }

    pub(crate) fn surface(&self) -> Surface {
        self.app.retention.surface()
    }

    /// For how many days the organisation keeps anything at most, as far as is known.
    pub(crate) fn cap(&self) -> Option<u64> {
        match self.cap {
            Cap::Days(days) => Some(days),
            Cap::None | Cap::NotAsked => None,
        }
    }

    /// Whether it has just been in so much trouble that it is better left alone.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.line.as_ref().map_or(self.is_tokenless, |line| line.failures() >= BREAKER)
    }

    /// Genesys Cloud's name for the last call.
    pub(crate) fn correlation_id(&self) -> Option<&str> {
        self.line.as_ref()?.correlation_id()
    }

    /// The policies that are there, as they were at `no_earlier` or later.
    pub(crate) async fn look(&mut self, no_earlier: Instant) -> There {
        if let Some((read_at, there)) = &self.there
            && *read_at >= no_earlier
        {
            return there.clone();
        }
        let (app, act_by) = (self.app, self.act_by);
        let read_at = Instant::now();
        let there = match self.line().await {
            Ok(line) => app.retention.list(line, act_by).await.map(Arc::new),
            Err(unread) => Err(unread),
        };
        self.there = Some((read_at, there.clone()));
        there
    }

    /// The same, and what the organisation keeps at most: what a decision needs.
    pub(crate) async fn look_to_decide(&mut self, no_earlier: Instant) -> There {
        let has_failed =
            self.there.as_ref().is_some_and(|(read_at, there)| *read_at >= no_earlier && there.is_err());
        if matches!(self.cap, Cap::NotAsked) && !has_failed {
            match self.read_cap().await {
                Ok(cap) => self.cap = cap.map_or(Cap::None, Cap::Days),
                Err(unread) => {
                    self.there = Some((Instant::now(), Err(unread)));
                    return Err(unread);
                }
            }
        }
        self.look(no_earlier).await
    }

    async fn read_cap(&mut self) -> Result<Option<u64>, Unread> {
        let (app, act_by) = (self.app, self.act_by);
        match app.retention.cap(self.line().await?, act_by).await {
            Ok(cap) => Ok(cap),
            // Genesys Cloud itself refuses what is over the cap; here it would only be known sooner.
            Err(
                unread @ (Unread::Unreadable(_)
                | Unread::NotPerformed(NotPerformed::Rejected | NotPerformed::Redirected)),
            ) => {
                let reason = unread.because();
                tracing::warn!(message = "what the organisation keeps at most could not be read", reason);
                Ok(None)
            }
            Err(unread) => Err(unread),
        }
    }

    /// Asks for a change.
    pub(crate) async fn send(&mut self, write: &Write, request_id: &str) -> Asked {
        let (app, act_by) = (self.app, self.act_by);
        let line = match self.line().await {
            Ok(line) => line,
            Err(Unread::NotPerformed(reason)) => return Asked::NotPerformed(reason),
            Err(Unread::Unreadable(_)) => return Asked::NotPerformed(NotPerformed::Unavailable),
        };
        let change = write.target.as_ref().map_or(Change::Register, Change::Replace);
        app.retention.ask(line, change, &write.body, request_id, act_by).await
    }

    /// Looks at the job that sees to a policy.
    pub(crate) async fn poll(&mut self, phase: &Phase) -> Result<JobStanding, Unread> {
        let Phase::InJob { job, .. } = phase else { return Err(Unread::Unreadable("there is no job")) };
        let (app, act_by) = (self.app, self.act_by);
        app.retention.job(self.line().await?, job, act_by).await
    }

    /// Reads the policy that was made, where one can be asked for; else all of them, as they were at `no_earlier` or later.
    pub(crate) async fn read(&mut self, phase: &Phase, no_earlier: Instant) -> Result<Reading, Unread> {
        let (app, act_by) = (self.app, self.act_by);
        match (self.surface(), phase) {
            (Surface::Platform, Phase::Reading { id: Some(id), .. }) => {
                app.retention.read(self.line().await?, id, act_by).await.map(Reading::One)
            }
            (Surface::Platform | Surface::Guide, _) => self.look(no_earlier).await.map(Reading::All),
        }
    }

    /// What was just made is there, for those that are decided upon after it.
    pub(crate) fn note(&mut self, made: Found) {
        let Some((_, Ok(there))) = &mut self.there else { return };
        let there = Arc::make_mut(there);
        there.retain(|found| found.id.is_none() || found.id != made.id);
        if !there.contains(&made) {
            there.push(made);
        }
    }

    async fn line(&mut self) -> Result<&mut Line, Unread> {
        if self.line.is_none() {
            match self.app.retention.line(self.act_by).await {
                Ok(line) => self.line = Some(line),
                Err(error) => {
                    tracing::warn!(message = "no token could be had", error = chain(&error));
                    // Who was waited for until there was no time left may be slow, and is not away for that.
                    let is_out_of_time = Instant::now() + A_MOMENT >= self.act_by;
                    let reason =
                        if is_out_of_time { NotPerformed::OutOfTime } else { NotPerformed::from(&error) };
                    // Whoever issues tokens was asked several times already.
                    self.is_tokenless |= reason == NotPerformed::Unavailable;
                    return Err(Unread::NotPerformed(reason));
                }
            }
        }
        self.line.as_mut().ok_or(Unread::NotPerformed(NotPerformed::Unavailable))
    }
}
