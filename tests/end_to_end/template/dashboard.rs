//! The dashboard: it is JSON, and shows what is counted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::alarms::{Watched, assert_filled};
use super::{as_text, resources};

fn dashboard() -> Value {
    let dashboard = resources("AWS::CloudWatch::Dashboard").into_values().next().expect("a dashboard");
    let body = dashboard["Properties"]["DashboardBody"]["Fn::Sub"].as_str().expect("a text").to_owned();
    serde_json::from_str(&body).unwrap_or_else(|fault| panic!("{fault}: {body}"))
}

/// A metric as a widget names it: namespace, name, dimensions by turns, and how it is shown.
fn read(metric: &Value) -> Watched {
    let words: Vec<_> =
        metric.as_array().expect("a list").iter().filter(|it| it.is_string()).map(as_text).collect();
    let (pairs, []) = words[2..].as_chunks::<2>() else { panic!("a dimension without a value: {metric}") };
    let dimensions = pairs.iter().map(|[name, value]| {
        let reference = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        (name.clone(), reference.map_or_else(|| json!(value), |id| json!({"Ref": id})))
    });
    (words[0].clone(), words[1].clone(), dimensions.collect())
}

fn shown() -> Vec<Watched> {
    let dashboard = dashboard();
    let widgets = dashboard["widgets"].as_array().expect("widgets").iter();
    widgets
        .flat_map(|widget| widget["properties"]["metrics"].as_array().expect("metrics"))
        .map(read)
        .collect()
}

#[test]
fn every_metric_of_the_dashboard_is_emitted() {
    let shown = shown();
    assert!(shown.len() > 40, "{shown:?}");
    shown.iter().for_each(assert_filled);
}

#[test]
fn the_dashboard_shows_what_the_product_is_for() {
    let shown: BTreeSet<_> = shown().into_iter().map(|(_, name, _)| name).collect();
    for metric in [
        "EventsNew",
        "EventsDuplicate",
        "EventsQuarantined",
        "RunsPerformed",
        "RunsReplayed",
        "RunsInProgress",
        "OutcomeUnknown",
        "TransferLatency",
        "UpstreamRateLimited",
        "NoticesPending",
        "NoticesDead",
        "OldestDueAge",
        "PoliciesPending",
        "PoliciesFailed",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    ] {
        assert!(shown.contains(metric), "{metric}");
    }
    let latency = dashboard()["widgets"].to_string();
    for percentile in ["p50", "p99"] {
        assert!(latency.contains(&format!(r#""stat":"{percentile}""#)), "{percentile}");
    }
}

#[test]
fn no_two_widgets_lie_on_each_other() {
    let dashboard = dashboard();
    let widgets: Vec<_> = dashboard["widgets"].as_array().expect("widgets").iter().collect();
    let number = |widget: &Value, name: &str| widget[name].as_u64().expect("a number");
    let mut cells = BTreeSet::new();
    for widget in widgets {
        let (x, y) = (number(widget, "x"), number(widget, "y"));
        assert!(x + number(widget, "width") <= 24, "{widget}");
        for column in x..x + number(widget, "width") {
            for row in y..y + number(widget, "height") {
                assert!(cells.insert((column, row)), "{widget}");
            }
        }
    }
}
