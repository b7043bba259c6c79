//! How jobs go on, and when their policies come to be.

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, ask};
use crate::retention::tests::{GUIDE, asked_of_guide};
use crate::{Fault, JobState, Operation, PolicyCourse, Surface};

/// A client, and the path of the job of a policy that goes like this.
async fn begun(course: PolicyCourse) -> (Client, String) {
    let client = Client::start(Surface::Guide).await;
    client.simulator.policies_go(course);
    client.register(GUIDE, &asked_of_guide("A", 90)).send().await.unwrap();
    let job = client.simulator.jobs()[0].id.clone();
    (client, format!("/api/v2/datamanagement/jobs/{job}"))
}

async fn status(client: &Client, job: &str) -> Value {
    ask(client.get(job)).await.1["status"].clone()
}

#[tokio::test]
async fn a_job_runs_for_so_many_polls_and_makes_its_policy_then() {
    let (client, job) = begun(PolicyCourse::job().after_polls(2)).await;
    for policies in [0, 1] {
        assert_eq!(status(&client, &job).await, "RUNNING");
        assert_eq!(client.simulator.policies().len(), policies);
    }
    assert_eq!(status(&client, &job).await, "COMPLETED");
    assert_eq!((client.simulator.policies().len(), client.simulator.jobs()[0].polls), (1, 3));
}

#[tokio::test]
async fn a_failed_job_says_why_and_makes_nothing() {
    let (client, job) = begun(PolicyCourse::job().after_polls(1).fails("the repository is locked")).await;
    assert_eq!(status(&client, &job).await, "RUNNING");
    let (_, shown) = ask(client.get(&job)).await;
    assert_eq!(shown, json!({ "status": "FAILED", "errorMessage": "the repository is locked" }));
    assert_eq!(client.simulator.jobs()[0].state, JobState::Failed("the repository is locked".to_owned()));
    assert!(client.simulator.policies().is_empty());
}

#[tokio::test]
async fn a_job_that_never_ends_is_ended_by_the_handle() {
    let (client, job) = begun(PolicyCourse::job().never_ends()).await;
    for _ in 0..5 {
        assert_eq!(status(&client, &job).await, "RUNNING");
    }
    assert!(client.simulator.policies().is_empty());
    client.simulator.finish_jobs();
    assert_eq!(status(&client, &job).await, "COMPLETED");
    client.simulator.finish_jobs();
    assert_eq!(client.names(), ["A"]);
}

#[tokio::test]
async fn a_job_nobody_asks_for_can_end_when_the_list_was_read() {
    let (client, _) = begun(PolicyCourse::job().after_lists(1)).await;
    let (_, first) = ask(client.get(GUIDE)).await;
    let (_, second) = ask(client.get(GUIDE)).await;
    assert_eq!((&first["entities"], &second["entities"][0]["name"]), (&json!([]), &json!("A")));
}

#[tokio::test]
async fn a_forgotten_job_is_not_found_and_its_policy_may_be_there_at_once() {
    let (client, job) = begun(PolicyCourse::job().forgotten().at_once().after_polls(1)).await;
    assert_eq!(client.names(), ["A"]);
    for _ in 0..2 {
        let (status, body) = ask(client.get(&job)).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not.found")));
    }
    assert_eq!((client.names().len(), client.simulator.jobs()[0].state.clone()), (1, JobState::Completed));
    assert_eq!(ask(client.get("/api/v2/datamanagement/jobs/none")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.simulator.anomalies(), []);
}

#[tokio::test]
async fn a_poll_that_was_not_answered_does_not_count() {
    let (client, job) = begun(PolicyCourse::job().after_polls(1)).await;
    client.simulator.fault(Operation::ReadJob, Fault::status(503).times(3));
    for _ in 0..3 {
        assert_eq!(ask(client.get(&job)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(status(&client, &job).await, "RUNNING");
    assert_eq!(status(&client, &job).await, "COMPLETED");
    assert_eq!(client.simulator.request_count(Operation::ReadJob), 5);
}
