//! Pages, and what they say of the next one.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::published::check_answer;
use crate::retention::tests::{GUIDE, PLATFORM};
use crate::{NextUri, Pages, Policy, Surface};

async fn with_policies(surface: Surface, count: usize) -> Client {
    let client = Client::start(surface).await;
    for n in 0..count {
        client.simulator.policy(&format!("p{n}"), Policy::new(&format!("P{n}"), "call", 90));
    }
    client
}

fn ids(page: &Value) -> Vec<&str> {
    page["entities"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_next_uris_lead_through_all_policies_on_both_surfaces() {
    for (surface, path) in [(Surface::Guide, GUIDE), (Surface::Platform, PLATFORM)] {
        for next in [NextUri::Relative, NextUri::Absolute] {
            let client = with_policies(surface, 5).await;
            client.simulator.policy_pages(Pages::of(2).next_uri(next));
            let (mut at, mut seen) = (path.to_owned(), Vec::new());
            loop {
                let (status, page) = ask(client.get(&at)).await;
                assert_eq!(status, StatusCode::OK);
                seen.extend(ids(&page).into_iter().map(str::to_owned));
                let Some(next) = page["nextUri"].as_str() else { break };
                at = next.trim_start_matches(&client.simulator.url()).to_owned();
            }
            assert_eq!(seen, ["p0", "p1", "p2", "p3", "p4"]);
        }
    }
}

#[tokio::test]
async fn a_page_has_as_many_as_are_asked_for_up_to_the_most() {
    let client = with_policies(Surface::Platform, 30).await;
    let (_, page) = ask(client.get(PLATFORM)).await;
    assert_eq!((ids(&page).len(), &page["pageCount"], &page["total"]), (25, &json!(2), &json!(30)));
    check_answer("PolicyEntityListing", &page);
    let (_, page) = ask(client.get(&format!("{PLATFORM}?pageSize=4&pageNumber=8"))).await;
    assert_eq!((ids(&page), &page["nextUri"]), (vec!["p28", "p29"], &json!(null)));
    assert_eq!(ids(&ask(client.get(&format!("{PLATFORM}?pageSize=500"))).await.1).len(), 30);

    client.simulator.policy_pages(Pages::of(3));
    assert_eq!(ids(&ask(client.get(&format!("{PLATFORM}?pageSize=500"))).await.1).len(), 3);
}

#[tokio::test]
async fn a_next_uri_can_lead_astray() {
    let client = with_policies(Surface::Guide, 2).await;
    let itself = format!("{GUIDE}?pageSize=1&pageNumber=1");
    let elsewhere = format!("https://example.com{GUIDE}?pageSize=1&pageNumber=2");
    let ways = [
        (NextUri::Itself, json!(itself)),
        (NextUri::Elsewhere("https://example.com".to_owned()), json!(elsewhere)),
        (NextUri::Missing, json!(null)),
    ];
    for (next, expected) in ways {
        client.simulator.policy_pages(Pages::of(1).next_uri(next));
        assert_eq!(ask(client.get(GUIDE)).await.1["nextUri"], expected);
    }
}

#[tokio::test]
async fn a_query_that_is_not_simulated_is_refused_and_recorded() {
    let client = with_policies(Surface::Platform, 1).await;
    for query in ["name=P0", "pageNumber=0", "pageSize=-1"] {
        assert_eq!(ask(client.get(&format!("{PLATFORM}?{query}"))).await.0, StatusCode::BAD_REQUEST);
    }
    assert_eq!(client.simulator.anomalies().len(), 3);
}
