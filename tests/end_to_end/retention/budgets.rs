//! Budgets: what a run costs in requests to the store and in calls to Genesys Cloud, written down.

use std::collections::BTreeMap;

use simulator::PolicyCourse;

use super::*;

/// What an order costs: requests to the store, and calls to Genesys Cloud, both by name.
struct Cost {
    store: BTreeMap<String, usize>,
    genesys: BTreeMap<String, usize>,
}

async fn cost(world: &World, order: &Value, expected: &str) -> Cost {
    world.store.reset_counts();
    let seen = world.genesys.requests().len();
    let report = report(world, order).await;
    for (name, status) in statuses(&report) {
        assert_eq!(status, expected, "{name}: {report:#}");
    }
    let mut genesys = BTreeMap::new();
    for request in &world.genesys.requests()[seen..] {
        let operation = request.operation.expect("a call that is known").to_string();
        *genesys.entry(operation).or_default() += 1;
    }
    Cost { store: world.store.counts(), genesys }
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// So many policies for as many kinds of objects.
fn policies(count: usize, days: u64) -> Vec<Value> {
    let types = ["call", "chat", "email", "sms", "interaction"];
    types[..count].iter().map(|object_type| policy(object_type, object_type, days)).collect()
}

/// A run of its own: what is known is read, the lease is taken, and given back.
const A_RUN: [(&str, usize); 2] = [("Query", 1), ("TransactWriteItems", 2)];

#[tokio::test]
async fn a_policy_that_is_as_it_was_costs_nothing_but_its_place_in_the_list() {
    for surface in SURFACES {
        for count in [1, 5] {
            let world = world(surface).await;
            let order = order("run", &policies(count, 90));
            report(&world, &order).await;

            let cost = cost(&world, &order, "unchanged").await;

            assert_eq!(cost.store, counts(A_RUN), "{surface} {count}");
            let calls = match surface {
                Surface::Platform => counts([("list-policies", 1), ("read-retention-settings", 1)]),
                Surface::Guide => counts([("list-policies", 1)]),
            };
            assert_eq!(cost.genesys, calls, "{surface} {count}");
        }
    }
}

#[tokio::test]
async fn a_policy_that_is_created_costs_two_transactions() {
    for (count, writes) in [(1, 4), (5, 12)] {
        let platform = world(Surface::Platform).await;
        let created = cost(&platform, &order("run", &policies(count, 90)), "created").await;
        // For each: the intent with its entry, and the end with its entry and notice.
        assert_eq!(created.store["TransactWriteItems"], writes, "{:?}", created.store);
        let calls = counts([
            ("create-policy", count),
            ("list-policies", 1),
            ("read-policy", count),
            ("read-retention-settings", 1),
            ("token", 1),
        ]);
        assert_eq!(created.genesys, calls);

        let guide = world(Surface::Guide).await;
        guide.genesys.policies_go(PolicyCourse::created());
        let created = cost(&guide, &order("run", &policies(count, 90)), "created").await;
        assert_eq!(created.store["TransactWriteItems"], writes, "{:?}", created.store);
        // All are read back from one list.
        assert_eq!(created.genesys, counts([("create-policy", count), ("list-policies", 2), ("token", 1)]));
    }
}

#[tokio::test]
async fn a_policy_that_is_replaced_costs_one_transaction_more_than_a_created_one() {
    let world = world(Surface::Platform).await;
    report(&world, &order("run", &policies(2, 90))).await;

    let updated = cost(&world, &order("run", &policies(2, 200)), "updated").await;

    // For each, once: where its trail stands is not known yet, and the refused intent tells.
    assert_eq!(updated.store["TransactWriteItems"], 2 + 2 * 3, "{:?}", updated.store);
    let calls = counts([
        ("list-policies", 1),
        ("read-policy", 2),
        ("read-retention-settings", 1),
        ("update-policy", 2),
    ]);
    assert_eq!(updated.genesys, calls);
}

#[tokio::test]
async fn a_look_at_a_job_costs_one_record_and_one_call() {
    for polls in [0, 3] {
        let world = world(Surface::Guide).await;
        world.genesys.policies_go(PolicyCourse::job().after_polls(polls));

        let created = cost(&world, &calls(90), "created").await;

        let looks = usize::try_from(polls).unwrap() + 1;
        let calls = counts([("create-policy", 1), ("list-policies", 2), ("read-job", looks), ("token", 1)]);
        assert_eq!(created.genesys, calls);
        assert_eq!(created.store["TransactWriteItems"], 4, "{:?}", created.store);
        assert!(created.store.get("UpdateItem").is_some_and(|it| *it <= looks), "{:?}", created.store);
    }
}

#[tokio::test]
async fn a_resume_that_finds_nothing_is_one_query() {
    for surface in SURFACES {
        let world = world(surface).await;
        report(&world, &calls(90)).await;
        world.store.reset_counts();
        let calls = world.genesys.requests().len();

        report(&world, &json!({"run": "resume"})).await;

        assert_eq!(world.store.counts(), counts([("Query", 1)]), "{surface}");
        assert_eq!(world.genesys.requests().len(), calls);
    }
}

#[tokio::test]
async fn a_plan_writes_nothing() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.store.reset_counts();

        report(&world, &order("plan", &policies(5, 90))).await;

        assert_eq!(world.store.counts(), counts([("Query", 1)]), "{surface}");
        assert_eq!(world.genesys.request_count(Operation::ListPolicies), 1);
    }
}

#[tokio::test]
async fn a_repeated_run_is_answered_from_its_record() {
    for surface in SURFACES {
        let world = world(surface).await;
        let scheduled = with(calls(90), "runId", "exec-1");
        report(&world, &scheduled).await;
        let cold = world.another_instance(&[AUDIT]).await;
        world.store.reset_counts();

        let repeated = reported(&world.retention_at(&cold, &scheduled).await);

        assert_eq!(status(&repeated), "created");
        assert!(world.store.total() <= 2, "{surface}: {:?}", world.store.counts());
    }
}
