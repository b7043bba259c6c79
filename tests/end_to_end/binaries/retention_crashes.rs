//! The compiled retention function, killed by signal 9 at each of its requests; and another process that carries it on.

use futures_util::stream::{self, StreamExt};
use harness::runtime_api::{Answer, Invocation};
use harness::world::World;
use simulator::Surface;

use super::retention::{let_lease_lapse, resume, retention};
use crate::retention::recovery::{self, At, Death, NAMES, assert_deployed_once, assert_well, whole_order};

/// So many worlds at once.
const AT_ONCE: usize = 4;

/// Kills a process at this moment; false, if it had ended before.
async fn is_killed(world: &World, death: &Death) -> bool {
    let lambda = retention(world, &[]).await;
    lambda.ready().await.expect("it starts");
    death.prepare(world);
    let mut running = Box::pin(lambda.begin(Invocation::new(whole_order().to_string())));
    let is_dying = tokio::select! {
        answer = &mut running => { assert_well(&answer.json(), &format!("{death:?}")); false }
        () = death.comes(world) => true,
    };
    lambda.kill().await;
    if is_dying {
        assert_eq!(running.await, Answer::Died, "{death:?}");
    }
    world.genesys.wait_for_stalled(0).await;
    world.store.clear_faults();
    world.genesys.clear_faults();
    is_dying
}

/// Kills a process at this moment, and lets others carry on; false, if it had ended before.
async fn killed(surface: Surface, death: Death) -> bool {
    let case = format!("{surface}: {death:?}");
    let world = recovery::world(surface).await;
    if !is_killed(&world, &death).await {
        return false;
    }
    let_lease_lapse(&world);
    let heir = retention(&world, &[]).await;
    assert_well(&heir.invoke(resume()).await.json(), &case);
    let last = heir.invoke(whole_order().to_string()).await.json();
    assert_well(&last, &case);
    assert_eq!(last["summary"]["policyCompliance"], "VERIFIED", "{case}");
    // An order that was cut off before it was repeated is found done.
    assert_well(&heir.invoke(resume()).await.json(), &case);
    assert_deployed_once(&world, &NAMES, &case);
    true
}

/// At the first request of each kind, and at the first few writes: the rest is killed in process.
async fn killed_here_and_there(surface: Surface) {
    let kills = At::all().into_iter().flat_map(|at| {
        let moments = if matches!(at, At::Store(_)) { 5 } else { 1 };
        (1..=moments).map(move |nth| at.nth(nth))
    });
    let kills = kills.map(|death| async move {
        let is_asked = killed(surface, death.clone()).await;
        let name = format!("{death:?}");
        let is_of_the_other = match surface {
            Surface::Platform => name.contains("ReadJob"),
            Surface::Guide => name.contains("ReadPolicy") || name.contains("ReadRetentionSettings"),
        };
        assert_eq!(is_asked, !is_of_the_other, "{surface}: {name}");
    });
    stream::iter(kills).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn killed_by_a_signal_on_the_published_surface_each_policy_is_deployed_once() {
    killed_here_and_there(Surface::Platform).await;
}

#[tokio::test]
async fn killed_by_a_signal_on_the_guides_surface_each_policy_is_deployed_once() {
    killed_here_and_there(Surface::Guide).await;
}
