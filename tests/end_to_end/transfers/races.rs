//! Many at once, with everything going wrong that can: never two transfers for one key, and no trail that forks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use harness::world::{Response, World};
use local::Gateway;
use serde_json::{Value, json};
use simulator::{Conversation, Fault, Operation, Surface};

use super::{CRM, PAST_THE_LEASE, SURFACES, keyed, posts, told, world, world_with};

/// A generator with a seed, so that a failure can be played again (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits") % n
    }

    /// How a transfer goes wrong, or does not.
    fn ending(&mut self) -> Fault {
        match self.below(8) {
            0 | 1 => Fault::effect_then_drop(),
            2 | 3 => Fault::drop_before_effect(),
            4 => Fault::effect_then_status(503),
            5 => Fault::status(502),
            6 => Fault::cut_body(),
            _ => unharmed(),
        }
    }

    /// How a look goes wrong, or does not.
    fn stumble(&mut self) -> Fault {
        match self.below(4) {
            0 => Fault::drop_before_effect(),
            1 => Fault::status(500),
            2 => Fault::effect_then_drop(),
            _ => unharmed(),
        }
    }
}

/// So many rounds are played side by side that they meet each other's faults, and few enough that no time runs out.
const ROUNDS_AT_ONCE: usize = 25;

/// In the place of a fault: an answer in pieces, without a pause between them.
fn unharmed() -> Fault {
    Fault::slow_body(Duration::ZERO)
}

fn request(round: usize) -> Value {
    json!({"conversationId": format!("c-{round:03}"), "transferType": "blind",
        "destination": {"type": "queue", "id": "support"}})
}

/// One of the requests of a round, at an instance of its own choosing; every other one waits for whoever is at it.
async fn send(world: &World, instances: &[Gateway], round: usize, nth: usize) -> Response {
    let key = format!("k-{round}");
    let headers = [("idempotency-key", key.as_str()), ("prefer", "wait=1")];
    let headers = if nth.is_multiple_of(2) { &headers[..] } else { &headers[..1] };
    world.transfer_at(&instances[(round + nth) % instances.len()], headers, &request(round)).await
}

/// Repeats a round until there is nothing more to say.
async fn repeat_to_the_end(world: &World, instances: &[Gateway], round: usize) -> Vec<Response> {
    let mut responses = Vec::new();
    for nth in 0..10 {
        let response = send(world, instances, round, nth).await;
        let is_final = response.status < 300 || told(&response) == (409, "outcome-unknown".to_owned());
        responses.push(response);
        if is_final {
            return responses;
        }
    }
    panic!("no end of it: {responses:?}");
}

fn assert_consistent(world: &World, round: usize, responses: &[Response]) {
    let conversation = format!("c-{round:03}");
    let transfers = world.genesys.transfers(&conversation);
    let moved: Vec<_> = responses.iter().filter(|response| response.status < 300).collect();
    assert!(transfers.len() <= 1, "{conversation}: {transfers:?}");
    assert_eq!(moved.is_empty(), transfers.is_empty(), "{conversation}: {responses:?}");
    for response in &moved {
        assert_eq!(response.json()["transferId"], transfers[0].id, "{conversation}: {response:?}");
    }
    // What is on record is one answer, byte for byte; only what could not be recorded may differ from it.
    let recorded = moved.iter().filter(|response| response.header("idempotency-stored").is_none());
    let recorded: BTreeSet<_> = recorded.map(|response| &response.body).collect();
    assert!(recorded.len() <= 1, "{conversation}: {recorded:?}");
    for response in responses.iter().filter(|response| response.status >= 300) {
        let told = told(response);
        let honest = ["in-progress", "outcome-unknown", "upstream-unavailable", "store-unavailable"];
        assert!(honest.contains(&told.1.as_str()), "{conversation}: {told:?}");
    }
    let trail = world.trail(&format!("conversation:{conversation}"));
    let actions: Vec<_> = trail.iter().map(|entry| entry["action"].as_str().expect("an action")).collect();
    let last = *actions.last().expect("a trail with entries");
    let ends: &[_] = if transfers.is_empty() {
        // The claim of a holder that had no time left to say so is for the sweep to tell of.
        &["transfer-unknown", "transfer-intended"]
    } else {
        &["transfer-completed", "transfer-accepted"]
    };
    assert!(ends.contains(&last), "{conversation}: {actions:?}");
}

async fn play(surface: Surface, rounds: usize, seed: u64) {
    let variables = [CRM, ("HTTP_TIMEOUT_SECONDS", "8")];
    let world = world_with(surface, &variables).await;
    let instances = join_all((0..4).map(|_| world.another_instance(&variables))).await;
    let (world, instances) = (&world, &instances);
    let mut dice = Dice(seed);
    for round in 0..rounds {
        world.genesys.conversation(&format!("c-{round:03}"), Conversation::with_agent("alice"));
        world.genesys.fault(Operation::Transfer, dice.ending());
        world.genesys.fault(Operation::GetConversation, dice.stumble());
        world.genesys.fault(Operation::GetQueue, dice.stumble());
    }

    let races: Vec<_> = (0..rounds).map(|round| (round, 3 + dice.below(3))).collect();
    let races = races.into_iter().map(|(round, racers)| {
        join_all((0..).take(racers).map(move |nth| send(world, instances, round, nth)))
    });
    let races: Vec<_> = stream::iter(races).buffered(ROUNDS_AT_ONCE).collect().await;
    // Whoever had no time left to record how it ended is succeeded when its lease ends.
    world.let_pass(PAST_THE_LEASE);
    let repeats = (0..rounds).map(|round| repeat_to_the_end(world, instances, round));
    let repeats: Vec<_> = stream::iter(repeats).buffered(ROUNDS_AT_ONCE).collect().await;

    // On a busy machine an attempt may have no time left to send anything; none is ever sent twice.
    assert!((rounds * 9 / 10..=rounds).contains(&posts(world)), "{surface}: {}", posts(world));
    world.genesys.clear_faults();
    for (round, (race, repeats)) in races.into_iter().zip(repeats).enumerate() {
        assert_consistent(world, round, &[race, repeats].concat());
    }
    assert_eq!(world.trails().len(), rounds);
    let transferred = world.genesys.transfer_count();
    assert!(
        (rounds / 3..rounds).contains(&transferred),
        "some were cut off before, some after: {transferred}"
    );
}

#[tokio::test]
async fn in_many_rounds_of_racers_on_the_published_surface_no_key_transfers_twice() {
    play(Surface::Platform, 140, 0x9E37_79B9_7F4A_7C15).await;
}

#[tokio::test]
async fn in_many_rounds_of_racers_on_the_guides_surface_no_key_transfers_twice() {
    play(Surface::Guide, 60, 0xBF58_476D_1CE4_E5B9).await;
}

/// How many race for one trail. Each must find its end anew whenever another was faster: the effort is quadratic.
const AT_ONCE: usize = 25;

#[tokio::test]
async fn many_transfers_of_one_conversation_at_once_leave_one_trail_without_a_gap() {
    for surface in SURFACES {
        let world = world(surface).await;
        let instances = join_all((0..5).map(|_| world.another_instance(&[CRM]))).await;
        let keys: Vec<_> = (0..AT_ONCE).map(|n| format!("k-{n}")).collect();
        let bodies: Vec<_> =
            (0..AT_ONCE).map(|n| super::blind(["queue", "user"][n % 2], ["support", "bob"][n % 2])).collect();
        let headers: Vec<_> = keys.iter().map(|key| keyed(key)).collect();

        let calls = (0..AT_ONCE).map(|n| world.transfer_at(&instances[n % 5], &headers[n], &bodies[n]));
        let responses = join_all(calls).await;

        for response in responses.iter().filter(|response| response.status >= 300) {
            // The second to transfer to the agent who has the call by then is refused for that.
            let told = told(response).1;
            assert!(["conversation-conflict", "transfer-refused"].contains(&told.as_str()), "{told}");
        }
        let moved = responses.iter().filter(|response| response.status < 300).count();
        assert_eq!(moved, world.genesys.transfer_count(), "{surface}");
        assert!(moved >= 1, "{surface}: {responses:?}");
        let mut attempts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in world.trail("conversation:c") {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            attempts.entry(text("keyHash")).or_default().push(text("action"));
        }
        assert_eq!(
            (attempts.len(), world.items("claim").len(), world.items("notice").len()),
            (AT_ONCE, AT_ONCE, AT_ONCE)
        );
        for actions in attempts.values() {
            let is_whole = match actions.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [end] => end == "transfer-refused",
                ["transfer-intended", end] => end != "transfer-intended",
                _ => false,
            };
            assert!(is_whole, "{surface}: {actions:?}");
        }
    }
}

#[tokio::test]
async fn fifty_writers_on_one_trail_leave_an_entry_each() {
    let world = world(Surface::Platform).await;
    let instances = join_all((0..5).map(|_| world.another_instance(&[CRM]))).await;

    let body = json!({"conversationId": "c", "transferType": "neither"});
    let calls = (0..50).map(|n| world.transfer_at(&instances[n % 5], &[], &body));
    let responses = join_all(calls).await;

    assert!(responses.iter().all(|response| response.status == 400), "{responses:?}");
    assert_eq!(world.trail("conversation:c").len(), 50);
}
