//! A notice: one attempt to deliver it, and what is on record afterwards.

use std::time::Duration;

use shared::dynamo::{number, string};
use shared::lambda::Deadline;
use shared::outbox::Notice;
use shared::random;
use shared::telemetry::{self, Metric, count, millis};
use shared::trace;
use shared::webhook::outbound::{Delivery, LONGEST_ATTEMPT, Sent, shown};
use tokio::time::Instant;

use crate::attempt::{Attempt, Changes, Due, after, because};
use crate::breaker::{Admission, Subscribers, Verdict};
use crate::tally::Outcome;
use crate::{App, store_failed, stream};

/// How long a delivered notice is kept, so that whatever brings it up again finds that it is delivered.
const DELIVERED_LIFETIME: Duration = Duration::from_hours(14 * 24);

/// How long a dead notice is kept for somebody to look at, and to send it after all.
const DEAD_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// Notices that were put off together do not all come back at once.
const SPREAD: Duration = Duration::from_secs(5);

/// Delivers a notice that is due, unless its subscriber is to be left alone or somebody else delivers it.
pub(crate) async fn deliver(app: &App, subscribers: &Subscribers, due: &Due, deadline: Deadline) -> Outcome {
    let Some(notice) = Notice::read(&due.item) else {
        stream::unreadable(&due.pk);
        return Outcome::Unreadable;
    };
    let delivering = Box::pin(deliver_read(app, subscribers, due, &notice, deadline));
    trace::within(notice.trace(), delivering).await
}

async fn deliver_read(
    app: &App,
    subscribers: &Subscribers,
    due: &Due,
    notice: &Notice,
    deadline: Deadline,
) -> Outcome {
    let subscriber = subscribers.of(&notice.subscriber);
    let Some(_turn) = subscriber.turn().await else { return Outcome::LeftOver };
    // Asked before the breaker is, because who is elected to probe must not find that there is no time.
    if !deadline.has_time_for(LONGEST_ATTEMPT) {
        return Outcome::LeftOver;
    }
    let admission = match subscriber.admit(app, deadline).await {
        Ok(Admission::LeaveAlone { until }) => return defer(app, due, notice, until, deadline).await,
        Ok(admission) => admission,
        Err(error) => {
            store_failed(&error);
            return Outcome::StoreDown;
        }
    };
    if !deadline.has_time_for(LONGEST_ATTEMPT) {
        return Outcome::LeftOver;
    }
    let attempt = match due.claim(app, deadline.act_by()).await {
        Ok(Some(attempt)) => attempt,
        Ok(None) => return Outcome::NotOurs,
        Err(error) => {
            store_failed(&error);
            return Outcome::StoreDown;
        }
    };
    let started = Instant::now();
    if started >= deadline.act_by() {
        // Nothing was sent: the claim lapses, and the notice is due again.
        return Outcome::LeftOver;
    }
    let delivery = Delivery {
        id: &notice.id,
        url: &notice.subscriber,
        headers: &notice.headers,
        body: notice.body.as_bytes(),
    };
    let sent = app.outbound.send(delivery, app.clock.now(), deadline.act_by()).await;
    let took = started.elapsed();
    let decision = Decision::on(app, due, &attempt, &sent);
    let is_recorded = attempt.record(app, &decision.changes, deadline.answer_by()).await;
    subscriber.heard(app, admission, verdict(&sent), deadline).await;
    decision.report(notice, &attempt, took, is_recorded);
    decision.outcome
}

/// What follows from how an attempt went.
struct Decision {
    outcome: Outcome,
    changes: Changes,
    said: &'static str,
    reason: Option<String>,
    metrics: &'static [Metric],
}

impl Decision {
    fn on(app: &App, due: &Due, attempt: &Attempt, sent: &Sent) -> Self {
        match sent {
            Sent::Delivered { .. } => Self::delivered(app, due),
            Sent::Gone => {
                let reason = "the subscriber answered 410: it wants no more of this".to_owned();
                Self::dead(app, reason, Some(410), &[Metric::NoticesDead])
            }
            Sent::Refused(refusal) => {
                let metrics = &[Metric::NoticesRefused, Metric::NoticesDead];
                Self::dead(app, refusal.to_string(), None, metrics)
            }
            Sent::Failed(failure) => {
                let (text, status) = (failure.to_string(), failure.status());
                if let Some(wait) = app.schedule.wait_after(attempt.number, failure.retry_after()) {
                    return Self::again(app, text, status, wait);
                }
                let reason = format!("given up after {} attempts: {text}", attempt.number);
                Self::dead(app, reason, status, &[Metric::NoticesFailed, Metric::NoticesDead])
            }
        }
    }

    fn delivered(app: &App, due: &Due) -> Self {
        let now = app.clock.now();
        if let Some(created) = due.moment("created_at") {
            let age = u64::try_from(now.as_millisecond().saturating_sub(created)).unwrap_or_default();
            telemetry::notice_latency(Duration::from_millis(age));
        }
        let changes = Changes::default()
            .set("state", string("DELIVERED"))
            .set("delivered_at", number(now.as_millisecond()))
            .set("expires_at", number(after(now, DELIVERED_LIFETIME) / 1000))
            .remove("last_error")
            .remove("last_status")
            // What an operator sent once more may have been dead.
            .remove("reason")
            .remove("dead_at")
            .off_the_list();
        let metrics = &[Metric::NoticesDelivered];
        Self { outcome: Outcome::Delivered, changes, said: "delivered", reason: None, metrics }
    }

    fn again(app: &App, reason: String, status: Option<u16>, wait: Duration) -> Self {
        let changes =
            failed(Changes::default(), &reason, status).set("due_at", number(after(app.clock.now(), wait)));
        let metrics = &[Metric::NoticesFailed];
        Self { outcome: Outcome::Failed, changes, said: "failed", reason: Some(reason), metrics }
    }

    fn dead(app: &App, reason: String, status: Option<u16>, metrics: &'static [Metric]) -> Self {
        let now = app.clock.now();
        let changes = failed(Changes::default(), &reason, status)
            .set("state", string("DEAD"))
            .set("reason", because(&reason))
            .set("dead_at", number(now.as_millisecond()))
            .set("expires_at", number(after(now, DEAD_LIFETIME) / 1000))
            .off_the_list();
        Self { outcome: Outcome::Dead, changes, said: "dead", reason: Some(reason), metrics }
    }

    /// One line per decision.
    fn report(&self, notice: &Notice, attempt: &Attempt, took: Duration, is_recorded: bool) {
        self.metrics.iter().copied().for_each(count);
        tracing::info!(
            message = "notice attempted",
            notice.id = notice.id,
            subscriber = shown(&notice.subscriber),
            attempt = attempt.number,
            outcome = self.said,
            reason = self.reason,
            recorded = is_recorded,
            duration_ms = millis(took),
        );
    }
}

fn failed(changes: Changes, reason: &str, status: Option<u16>) -> Changes {
    let changes = changes.set("last_error", because(reason));
    match status {
        Some(status) => changes.set("last_status", number(status)),
        None => changes.remove("last_status"),
    }
}

/// What an attempt says about the subscriber, not about the notice.
fn verdict(sent: &Sent) -> Verdict {
    match sent {
        Sent::Delivered { .. } | Sent::Gone => Verdict::Well,
        Sent::Failed(_) => Verdict::Ill,
        Sent::Refused(_) => Verdict::Nothing,
    }
}

/// Puts a notice off, which costs it no attempt; but not for ever.
async fn defer(app: &App, due: &Due, notice: &Notice, until: i64, deadline: Deadline) -> Outcome {
    let since = due.moment("redriven_at").or_else(|| due.moment("created_at")).unwrap_or(until);
    let age = u64::try_from(app.clock.now().as_millisecond().saturating_sub(since)).unwrap_or_default();
    let is_too_old = Duration::from_millis(age) > app.schedule.patience();
    let (outcome, said, metric, changes) = if is_too_old {
        let reason = "given up because its subscriber has not been well for too long".to_owned();
        (Outcome::Dead, "dead", Metric::NoticesDead, Decision::dead(app, reason, None, &[]).changes)
    } else {
        let spread = millis(SPREAD.mul_f64(random::fraction()));
        let changes = Changes::default().set("due_at", number(until.saturating_add_unsigned(spread)));
        (Outcome::Deferred, "deferred", Metric::NoticesDeferred, changes)
    };
    match due.change(app, &changes, deadline.answer_by()).await {
        Ok(true) => {
            count(metric);
            tracing::info!(
                message = "notice put off",
                notice.id = notice.id,
                subscriber = shown(&notice.subscriber),
                outcome = said,
            );
            outcome
        }
        Ok(false) => Outcome::NotOurs,
        Err(error) => {
            store_failed(&error);
            Outcome::StoreDown
        }
    }
}
