//! Claims whose holder was never heard of again.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};
use shared::idempotency::{self, Lapsed};
use shared::lambda::Deadline;
use shared::telemetry::{Metric, chain, count};

use crate::tally::Outcome;
use crate::{App, store_failed};

/// How many are looked at at once.
const AT_ONCE: usize = 10;

/// Ends the claims with these partition keys whose lease has lapsed, and tells their trails.
pub(crate) async fn lapse(app: &App, pks: &BTreeSet<String>, deadline: Deadline) -> Vec<Outcome> {
    let lapsing: Vec<_> = pks.iter().map(|pk| lapse_one(app, pk, deadline)).collect();
    stream::iter(lapsing).buffer_unordered(AT_ONCE).collect().await
}

async fn lapse_one(app: &App, pk: &str, deadline: Deadline) -> Outcome {
    match app.claims.lapse(pk, deadline.answer_by()).await {
        Ok(Lapsed::Unknown { key_hash, is_retry_safe }) => {
            // What may be run again without harm needs nobody to look into it.
            if !is_retry_safe {
                count(Metric::OutcomeUnknown);
            }
            tracing::warn!(
                message = "a claim lapsed while it acted: its outcome is unknown",
                idempotency.key_hash = key_hash,
                retry_safe = is_retry_safe,
            );
            Outcome::Unknown
        }
        Ok(Lapsed::Freed { key_hash }) => {
            count(Metric::RunsNotPerformed);
            tracing::warn!(
                message = "a claim lapsed before its act: its key is free",
                idempotency.key_hash = key_hash,
            );
            Outcome::Freed
        }
        Ok(Lapsed::NotLapsed) => Outcome::NotOurs,
        Err(idempotency::Error::Store(error)) => {
            store_failed(&error);
            Outcome::StoreDown
        }
        Err(error @ (idempotency::Error::Unreadable(_) | idempotency::Error::Trail(_))) => {
            count(Metric::RecordsUnreadable);
            tracing::error!(message = "a claim that is due cannot be read", pk, error = chain(&error));
            Outcome::Unreadable
        }
    }
}
