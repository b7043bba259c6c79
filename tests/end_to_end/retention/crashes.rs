//! Killed between any two steps: whoever comes afterwards finds what was done, and does the rest, once.

use serde_json::{Value, json};
use simulator::Surface;

use super::recovery::{
    At, Death, NAMES, PAST_THE_LEASE, assert_deployed_once, assert_well, carry_on, doomed, whole_order, world,
};
use super::{compliance, report, reported, statuses, with};

/// Who comes after the dead.
#[derive(Clone, Copy, Debug)]
enum Heir {
    /// The schedule, until nothing is left; then another run.
    Resume,
    /// Another run of the same order.
    Run,
    /// A second delivery of the same run.
    SameRun,
    /// The schedule, and then a second delivery of the same run.
    ResumeAndSameRun,
}

impl Heir {
    const ALL: [Self; 4] = [Self::Resume, Self::Run, Self::SameRun, Self::ResumeAndSameRun];

    fn order(self) -> Value {
        match self {
            Self::Resume | Self::Run => whole_order(),
            Self::SameRun | Self::ResumeAndSameRun => with(whole_order(), "runId", "r-1"),
        }
    }
}

/// Kills a run at this moment, lets its heir carry it on, and looks at what is left. False, if it ended before.
async fn killed(surface: Surface, death: &Death, heir: Heir) -> bool {
    let case = format!("{surface}: {death:?}, then {heir:?}");
    let world = world(surface).await;
    let order = heir.order();
    let ended = doomed(&world, &order, death).await;
    if ended.is_some() {
        return false;
    }
    let fresh = &world.gateway;

    if let Heir::Resume | Heir::ResumeAndSameRun = heir {
        for report in carry_on(&world, fresh).await {
            assert_well(&report, &case);
        }
    }
    world.let_pass(PAST_THE_LEASE);
    let late = report(&world, &order).await;
    let again = report(&world, &order).await;
    let left = carry_on(&world, fresh).await;

    for report in [&late, &again].into_iter().chain(&left) {
        assert_well(report, &case);
    }
    let names: Vec<_> = statuses(&late).into_iter().map(|(name, _)| name).collect();
    assert_eq!((names.as_slice(), compliance(&late)), (&NAMES.map(str::to_owned)[..], "VERIFIED"), "{case}");
    match heir {
        Heir::Resume | Heir::Run => {
            assert!(statuses(&again).iter().all(|(_, status)| status == "unchanged"), "{case}: {again:#}");
        }
        Heir::SameRun | Heir::ResumeAndSameRun => {
            assert!(statuses(&late).iter().all(|(_, status)| status == "created"), "{case}: {late:#}");
            assert_eq!(again, late, "{case}");
        }
    }
    assert_deployed_once(&world, &NAMES, &case);
    true
}

/// Every moment in the life of a run that matters, each with another heir; how many there are.
async fn killed_everywhere(surface: Surface) -> usize {
    let mut moments = 0;
    for (place, at) in At::writes().iter().enumerate() {
        for nth in 1.. {
            let death = at.nth(nth);
            let heir = Heir::ALL[(place + nth as usize) % Heir::ALL.len()];
            // A run that has a name takes longer: it is claimed, too.
            if !killed(surface, &death, heir).await && !killed(surface, &death, Heir::SameRun).await {
                break;
            }
            moments += 1;
        }
    }
    moments
}

#[tokio::test]
async fn killed_at_any_moment_on_the_published_surface_each_policy_is_deployed_once() {
    let moments = killed_everywhere(Surface::Platform).await;
    assert!(moments >= 24, "{moments}");
}

#[tokio::test]
async fn killed_at_any_moment_on_the_guides_surface_each_policy_is_deployed_once() {
    let moments = killed_everywhere(Surface::Guide).await;
    assert!(moments >= 34, "{moments}");
}

/// A generator with a seed, so that a failure can be played again (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits") % n
    }

    fn death(&mut self) -> Death {
        let places = At::all();
        let place = &places[self.below(places.len())];
        place.nth(u32::try_from(1 + self.below(6)).expect("a small number"))
    }
}

/// Everybody who comes dies, each at another moment, until one does not.
async fn dies_again_and_again(surface: Surface, seed: u64) {
    let world = world(surface).await;
    let mut dice = Dice(seed);
    let mut deaths = Vec::new();
    for _ in 0..4 {
        let death = dice.death();
        let order = if dice.below(2) == 0 { whole_order() } else { json!({"run": "resume"}) };
        world.let_pass(PAST_THE_LEASE);
        if let Some(response) = doomed(&world, &order, &death).await {
            assert_well(&reported(&response), &format!("{surface} {seed:x}: {deaths:?}"));
        }
        deaths.push(death);
    }
    let case = format!("{surface} {seed:x}: {deaths:?}");
    let fresh = &world.gateway;

    for report in carry_on(&world, fresh).await {
        assert_well(&report, &case);
    }
    let last = report(&world, &whole_order()).await;
    let left = carry_on(&world, fresh).await;

    assert_well(&last, &case);
    assert_eq!((compliance(&last), left.len()), ("VERIFIED", 0), "{case}");
    assert_deployed_once(&world, &NAMES, &case);
}

#[tokio::test]
async fn however_often_its_heirs_are_killed_too_each_policy_is_deployed_once() {
    for seed in 1..=4 {
        for surface in super::SURFACES {
            dies_again_and_again(surface, 0x9E37_79B9_7F4A_7C15 ^ seed << 20).await;
        }
    }
}
