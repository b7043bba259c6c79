//! The writes of the protocol, as expressions: what each takes for granted, and what it changes.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::Timestamp;

use super::answer::Finished;
use super::claims::{Begin, Claim, Intent, Outcome, Repetition, Work};
use super::record::VERSION;
use crate::due;
use crate::dynamo::{AttributeValue, Item, UpdateBuilder, binary, number, string};

/// How long a key is kept whose work may have happened: as long as dead-letter queues keep what may repeat it.
pub(super) const UNCLEAR_LIFETIME: Duration = Duration::from_hours(14 * 24);

/// What every record of a run that is over leaves behind, and a new claim must not inherit.
const LEFTOVERS: &str =
    "finished_at, because, looked, answer, answer_status, answer_type, answer_body, answer_bytes";

/// What a record under way has, and one that is over must not keep: its place on the list of what is due, and what
/// would be written if its holder were never heard of again.
const UNDER_WAY: &str = "due_shard, due_at, if_lapsed";

/// The claim: its condition is the protocol's first half.
pub(super) fn claiming(
    update: UpdateItemFluentBuilder,
    pk: &str,
    work: &Work,
    owner: &str,
    now: Timestamp,
) -> UpdateItemFluentBuilder {
    let mut may_repeat = "";
    let lease_until = after(now, work.lease.from_now()).as_millisecond();
    let is_safe = work.repetition == Repetition::Safe;
    let mut values = Values::default();
    let mut assign = vec![
        values.assign("v", number(VERSION)),
        values.assign("fingerprint", string(&work.fingerprint)),
        values.assign("lease_until", number(lease_until)),
        values.assign("expires_at", number(after(now, UNCLEAR_LIFETIME).as_second())),
        values.assign("claimed_at", number(now.as_millisecond())),
        values.assign("operation_name", string(&work.scope.operation)),
        values.assign("idempotency_key", string(work.key.as_str())),
        values.assign("retry_safe", AttributeValue::Bool(is_safe)),
        "#state = :begun".to_owned(),
        "#owner = :owner".to_owned(),
        "epoch = if_not_exists(epoch, :zero) + :one".to_owned(),
    ];
    if is_safe {
        may_repeat = match work.recognised_by {
            Some(_) => {
                " OR (fingerprint = :fingerprint AND #state = :unknown AND recognised_by = :recognised_by)"
            }
            None => " OR (fingerprint = :fingerprint AND #state = :unknown)",
        };
        values.set("unknown", string("UNKNOWN"));
    }
    let remove = match work.recognised_by {
        Some(whom) => {
            assign.push(values.assign("recognised_by", string(whom)));
            LEFTOVERS.to_owned()
        }
        None => format!("{LEFTOVERS}, recognised_by"),
    };
    if let Some(caller) = &work.scope.caller {
        assign.push(values.assign("caller", string(caller)));
    }
    let begun = match work.begin {
        Begin::Acting => "ACTING",
        Begin::Looking => "CLAIMED",
    };
    values.set("begun", string(begun));
    assign.push(values.assign("if_lapsed", string(&json(&work.if_lapsed))));
    assign.extend(due::attributes(pk, lease_until).map(|(name, value)| values.assign(name, value)));
    values.set("free", string("FREE"));
    values.set("owner", string(owner));
    values.set("zero", number(0));
    values.set("one", number(1));
    values.set("now_s", number(now.as_second()));
    update
        .condition_expression(format!(
            "attribute_not_exists(pk) OR (v = :v AND (expires_at <= :now_s OR #state = :free{may_repeat}))"
        ))
        .update_expression(format!("SET {} REMOVE {remove}", assign.join(", ")))
        .return_values(ReturnValue::UpdatedNew)
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#owner", "owner")
        .set_expression_attribute_values(Some(values.0))
}

/// Taking back a claim under which nothing was done. Its epoch may not be known.
pub(super) fn withdrawing(update: UpdateItemFluentBuilder, owner: &str) -> UpdateItemFluentBuilder {
    let because = "the store did not say whether the claim was applied";
    update
        .condition_expression("#owner = :owner AND #state IN (:claimed, :acting)")
        .update_expression(format!("SET #state = :free, because = :because REMOVE {UNDER_WAY}"))
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#owner", "owner")
        .expression_attribute_values(":owner", string(owner))
        .expression_attribute_values(":claimed", string("CLAIMED"))
        .expression_attribute_values(":acting", string("ACTING"))
        .expression_attribute_values(":free", string("FREE"))
        .expression_attribute_values(":because", string(because))
}

/// The act begins.
pub(super) fn acting(
    update: UpdateBuilder,
    pk: &str,
    claim: &Claim,
    intent: &Intent<'_>,
    now: Timestamp,
) -> UpdateBuilder {
    let lease_until = after(now, intent.lease.from_now()).as_millisecond();
    let mut values = Values::default();
    let [shard, at] = due::attributes(pk, lease_until);
    let assign = [
        "#state = :acting".to_owned(),
        values.assign("lease_until", number(lease_until)),
        values.assign("looked", string(intent.looked)),
        values.assign("if_lapsed", string(&json(intent.if_lapsed))),
        values.assign(shard.0, shard.1),
        values.assign(at.0, at.1),
    ];
    values.set("acting", string("ACTING"));
    values.set("claimed", string("CLAIMED"));
    let update = update.update_expression(format!("SET {}", assign.join(", ")));
    fenced(update, claim, "#state = :claimed", values)
}

/// The end of a run: a state that is no longer under way belongs to the past.
pub(super) fn finishing(
    update: UpdateBuilder,
    claim: &Claim,
    outcome: &Outcome<'_>,
    now: Timestamp,
    expires_at: i64,
) -> UpdateBuilder {
    let mut values = Values::default();
    let mut assign = vec![
        "#state = :next".to_owned(),
        values.assign("finished_at", number(now.as_millisecond())),
        values.assign("expires_at", number(expires_at)),
    ];
    let next = match outcome {
        Outcome::Done(Finished::Answered(answer)) => {
            assign.push(values.assign("answer_status", number(answer.status)));
            if let Some(content_type) = &answer.content_type {
                assign.push(values.assign("answer_type", string(content_type)));
            }
            if answer.is_large() {
                assign.push(values.assign("answer", string("parts")));
                assign.push(values.assign("answer_bytes", number(answer.body.len() as u64)));
            } else {
                assign.push(values.assign("answer", string("inline")));
                assign.push(values.assign("answer_body", binary(&answer.body)));
            }
            "DONE"
        }
        Outcome::Done(Finished::TooLarge) => {
            assign.push(values.assign("answer", string("too-large")));
            "DONE"
        }
        Outcome::NotDone(because) => {
            assign.push(values.assign("because", string(because)));
            "FREE"
        }
        Outcome::Unknown(because) => {
            assign.push(values.assign("because", string(because)));
            "UNKNOWN"
        }
    };
    // A run that ended as unknown may still be completed by its own holder, and by nobody else.
    let under_way = match outcome {
        Outcome::Unknown(_) => "#state IN (:claimed, :acting)",
        Outcome::Done(_) | Outcome::NotDone(_) => {
            values.set("unknown", string("UNKNOWN"));
            "#state IN (:claimed, :acting, :unknown)"
        }
    };
    values.set("next", string(next));
    values.set("claimed", string("CLAIMED"));
    values.set("acting", string("ACTING"));
    let update = update.update_expression(format!("SET {} REMOVE {UNDER_WAY}", assign.join(", ")));
    fenced(update, claim, under_way, values)
}

/// The holder was never heard of again. What it did may have happened, if it had begun to act.
pub(super) fn lapsing(
    update: UpdateBuilder,
    claim: &Claim,
    lapsed: Lapsing,
    because: &str,
    now: Timestamp,
) -> UpdateBuilder {
    let (from, to) = match lapsed {
        Lapsing::Looking => ("CLAIMED", "FREE"),
        Lapsing::Acting => ("ACTING", "UNKNOWN"),
    };
    let mut values = Values::default();
    let assign = [
        "#state = :next".to_owned(),
        values.assign("finished_at", number(now.as_millisecond())),
        values.assign("expires_at", number(after(now, UNCLEAR_LIFETIME).as_second())),
        values.assign("because", string(because)),
    ];
    values.set("from", string(from));
    values.set("next", string(to));
    values.set("now_ms", number(now.as_millisecond()));
    let update = update.update_expression(format!("SET {} REMOVE {UNDER_WAY}", assign.join(", ")));
    fenced(update, claim, "#state = :from AND lease_until <= :now_ms", values)
}

/// What a holder was at who was never heard of again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lapsing {
    Looking,
    Acting,
}

/// Only while the key is this claim's, and in a state that `condition` names.
fn fenced(update: UpdateBuilder, claim: &Claim, condition: &str, mut values: Values) -> UpdateBuilder {
    values.set("owner", string(&claim.owner));
    values.set("epoch", number(claim.epoch));
    update
        .condition_expression(format!("#owner = :owner AND epoch = :epoch AND {condition}"))
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#owner", "owner")
        .set_expression_attribute_values(Some(values.0))
}

pub(super) fn after(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and JSON always serialise")
}

/// The values of an expression, by their placeholder.
#[derive(Default)]
struct Values(Item);

impl Values {
    fn set(&mut self, name: &str, value: AttributeValue) {
        self.0.insert(format!(":{name}"), value);
    }

    /// An assignment to an attribute whose name is no reserved word.
    fn assign(&mut self, name: &str, value: AttributeValue) -> String {
        self.set(name, value);
        format!("{name} = :{name}")
    }
}
