//! What must hold once everybody who was cut off has been carried on, and where a process can die before that.

use std::time::Duration;

use harness::store::StoreFault;
use harness::trail;
use harness::world::{Response, World};
use local::Gateway;
use serde_json::{Value, json};
use simulator::{Change, Fault, JobState, Operation, PolicyCourse, Surface};

use super::{AUDIT, notices, order, policy, reported, statuses};

/// What a lease holds for when Lambda says nothing of a deadline, and a moment more.
pub(crate) const PAST_THE_LEASE: Duration = Duration::from_millis(60_001);

/// How long a wait may take before the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The names of the policies of the story: on `guide` the first takes a job of several looks, the second none, and the
/// third a job that is done at once.
pub(crate) const NAMES: [&str; 3] = ["Calls", "Chats", "Emails"];

/// Whatever a run asks of Genesys Cloud.
pub(crate) const CALLS: [Operation; 6] = [
    Operation::Token,
    Operation::ReadRetentionSettings,
    Operation::ListPolicies,
    Operation::CreatePolicy,
    Operation::ReadPolicy,
    Operation::ReadJob,
];

/// A world in which the policies of the story can be deployed.
pub(crate) async fn world(surface: Surface) -> World {
    let world = World::with(surface, &[AUDIT]).await;
    // A job whose id was lost with the process that asked for it still comes to its end.
    world.genesys.policy_goes("Calls", PolicyCourse::job().after_polls(3).after_lists(6));
    world.genesys.policy_goes("Chats", PolicyCourse::created());
    world.genesys.policy_goes("Emails", PolicyCourse::job_in_body());
    world
}

/// An order for the policies of the story.
pub(crate) fn whole_order() -> Value {
    order("run", &[policy("Calls", "call", 90), policy("Chats", "chat", 60), policy("Emails", "email", 30)])
}

/// A moment at which a process dies.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    at: At,
    nth: u32,
}

/// What it was waiting for.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// The store.
    Store(StoreFault),
    /// Genesys Cloud.
    Genesys(Operation, Fault),
}

impl At {
    /// Every place that leaves something else behind than the one before it: before and after each write, and before and
    /// after the making of a policy.
    pub(crate) fn writes() -> Vec<Self> {
        let store = [StoreFault::Stall, StoreFault::ApplyThenStall].map(Self::Store);
        let stalls = [Fault::stall_before_effect(), Fault::stall_after_effect()];
        let making = stalls.map(|stall| Self::Genesys(Operation::CreatePolicy, stall));
        store.into_iter().chain(making).collect()
    }

    /// The same, and each look.
    pub(crate) fn all() -> Vec<Self> {
        let looks = CALLS.into_iter().filter(|call| *call != Operation::CreatePolicy);
        let looks = looks.map(|call| Self::Genesys(call, Fault::stall_after_effect()));
        Self::writes().into_iter().chain(looks).collect()
    }

    /// At its request with this number, which counts from 1.
    pub(crate) fn nth(&self, nth: u32) -> Death {
        Death { at: self.clone(), nth }
    }
}

impl Death {
    /// Lies in wait for the next process.
    pub(crate) fn prepare(&self, world: &World) {
        let before = self.nth - 1;
        match &self.at {
            At::Store(fault) => {
                world.store.reset_counts();
                world.store.fault_times("*", StoreFault::Pass, before as usize);
                world.store.fault("*", *fault);
            }
            At::Genesys(call, fault) => {
                world.genesys.fault(*call, unharmed().times(before));
                world.genesys.fault(*call, fault.clone());
            }
        }
    }

    /// Resolves when the moment has come.
    pub(crate) async fn comes(&self, world: &World) {
        match self.at {
            At::Store(StoreFault::ApplyThenStall) => world.store.wait_for("*", self.nth as usize).await,
            At::Store(_) => world.store.wait_for_arrivals("*", self.nth as usize).await,
            At::Genesys(..) => world.genesys.wait_for_stalled(1).await,
        }
    }
}

/// In the place of a fault: an answer in pieces, without a pause between them.
pub(crate) fn unharmed() -> Fault {
    Fault::slow_body(Duration::ZERO)
}

/// Gives an order to an instance of its own, which dies at this moment; the answer, if it ends before.
pub(crate) async fn doomed(world: &World, order: &Value, death: &Death) -> Option<Response> {
    let dying = world.another_instance(&[AUDIT]).await;
    death.prepare(world);
    let end = async {
        tokio::select! {
            response = world.retention_at(&dying, order) => Some(response),
            () = death.comes(world) => None,
        }
    };
    let end = tokio::time::timeout(PATIENCE, end).await.expect("it dies, or ends");
    drop(dying);
    let gone = world.genesys.wait_for_stalled(0);
    tokio::time::timeout(PATIENCE, gone).await.expect("a stall ends with its client");
    world.store.clear_faults();
    world.genesys.clear_faults();
    end
}

/// Resumes, after each lease, until nothing is left to be carried on; what was reported.
pub(crate) async fn carry_on(world: &World, gateway: &Gateway) -> Vec<Value> {
    let mut reports = Vec::new();
    for _ in 0..10 {
        world.let_pass(PAST_THE_LEASE);
        let report = reported(&world.retention_at(gateway, &json!({"run": "resume"})).await);
        if report["policies"] == json!([]) {
            return reports;
        }
        reports.push(report);
    }
    panic!("there is no end to it: {reports:#?}");
}

/// What a report says is what an undisturbed run would say, now or later.
#[track_caller]
pub(crate) fn assert_well(report: &Value, case: &str) {
    let is_well = |status: &str| ["created", "unchanged"].contains(&status);
    assert!(statuses(report).iter().all(|(_, status)| is_well(status)), "{case}: {report:#}");
}

/// Each of these policies is there once, by one request, and everybody was told of it once; and nothing is left.
#[track_caller]
pub(crate) fn assert_deployed_once(world: &World, names: &[&str], case: &str) {
    assert_there_once(world, names, case);
    let (items, deployed) = (world.items(""), told_of(world, "RETENTION_POLICY_DEPLOYED"));
    for name in names {
        let told = deployed.iter().filter(|told| told == name).count();
        assert_eq!(told, 1, "{case}: notices of {name}");
        let trail = format!("policy:{} {}:{name}", world.genesys.surface(), world.genesys.url());
        let trail = trail::verified(&items, &trail).expect("the trail verifies");
        let ends = trail.iter().filter(|entry| entry["action"] == "policy-created").count();
        assert_eq!(ends, 1, "{case}: {name}: {trail:#?}");
    }
    assert_settled(world, case);
}

/// Each of these policies is there once, by one request that took effect, and no job was lost.
#[track_caller]
pub(crate) fn assert_there_once(world: &World, names: &[&str], case: &str) {
    let (there, writes, jobs) =
        (world.genesys.policies(), world.genesys.policy_writes(), world.genesys.jobs());
    for name in names {
        let there: Vec<_> = there.iter().filter(|policy| policy.name == *name).collect();
        let writes: Vec<_> = writes.iter().filter(|write| write.name == *name).collect();
        assert_eq!((there.len(), writes.len()), (1, 1), "{case}: {name}: {there:#?} {writes:#?}");
        assert_eq!(writes[0].change, Change::Created, "{case}: {name}");
        let jobs: Vec<_> = jobs.iter().filter(|job| job.policy_name == *name).collect();
        assert!(jobs.len() <= 1, "{case}: {name}: {jobs:#?}");
        assert!(jobs.iter().all(|job| job.state == JobState::Completed), "{case}: {name}: {jobs:#?}");
    }
}

/// Every trail verifies, nobody holds the lease, no order waits, and no policy is under way.
#[track_caller]
pub(crate) fn assert_settled(world: &World, case: &str) {
    let items = world.items("");
    for name in trail::names(&items) {
        let fault = trail::verified(&items, &name).err();
        assert_eq!(fault, None, "{case}: {name}");
    }
    let under_way = |item: &&Value| item["standing"]["S"] == "UNDER_WAY" || item.get("order").is_some();
    let left: Vec<&Value> = items.iter().filter(under_way).collect();
    assert!(left.is_empty(), "{case}: {left:#?}");
    let lease = world.items("lease");
    assert!(lease.iter().all(|lease| lease.get("owner").is_none()), "{case}: {lease:#?}");
}

/// The names of the policies that notices of this kind tell of.
pub(crate) fn told_of(world: &World, kind: &str) -> Vec<String> {
    let notices = notices(world);
    let of_kind = notices.iter().filter(|notice| notice["eventType"] == kind);
    of_kind.map(|notice| notice["payload"]["name"].as_str().expect("a name").to_owned()).collect()
}

/// How many requests of any kind have reached Genesys Cloud.
pub(crate) fn asked(world: &World) -> usize {
    world.genesys.requests().len()
}
