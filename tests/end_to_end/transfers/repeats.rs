//! The same request again: the same answer, and no second transfer.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use harness::world::World;
use local::Gateway;
use serde_json::{Value, json};
use simulator::{Conversation, Course, Fault, Operation, Surface};

use super::{
    CRM, KEY, SURFACES, actions, blind, claim, completed, consult, keyed, notices, posts, refused,
    to_support, told, world, world_with,
};

const WAITING: [(&str, &str); 2] = [("idempotency-key", "k"), ("prefer", "wait=20")];

/// A world whose first transfer gets stuck, and five instances.
async fn five_instances(surface: Surface) -> (World, Vec<Gateway>) {
    let world = world(surface).await;
    world.genesys.fault(Operation::Transfer, Fault::stall_after_effect());
    let instances = join_all((0..5).map(|_| world.another_instance(&[CRM]))).await;
    (world, instances)
}

#[tokio::test]
async fn an_exact_repeat_is_answered_byte_for_byte_and_nobody_is_asked() {
    for surface in SURFACES {
        for request in [to_support(), consult("user", "bob"), blind("external", "+4930654321")] {
            let world = world(surface).await;
            let first = world.transfer(&KEY, &request).await;
            let asked = world.genesys.requests().len();
            let cold = world.another_instance(&[CRM]).await;

            for gateway in [&world.gateway, &cold, &cold] {
                let again = world.transfer_at(gateway, &KEY, &request).await;
                assert_eq!((again.status, &again.body), (first.status, &first.body), "{surface} {request}");
                assert_eq!((first.is_replay(), again.is_replay()), (false, true));
                for header in ["content-type", "idempotency-key"] {
                    assert_eq!(again.header(header), first.header(header), "{header}");
                }
            }

            assert_eq!((world.genesys.requests().len(), world.genesys.transfer_count()), (asked, 1));
            assert_eq!((actions(&world).len(), notices(&world).len()), (2, 1), "replays leave none");
        }
    }
}

#[tokio::test]
async fn of_fifty_at_once_one_transfers_and_the_others_are_told_to_come_back() {
    for surface in SURFACES {
        let (world, instances) = five_instances(surface).await;
        let request = to_support();
        let call = |n: usize| world.transfer_at(&instances[n % 5], &KEY, &request);
        let mut responses: FuturesUnordered<_> = (0..50).map(call).collect();

        for _ in 0..49 {
            let response = responses.next().await.unwrap();
            assert_eq!(told(&response), refused(409, "in-progress"));
            assert_eq!(response.header("retry-after"), Some("5"));
        }
        world.genesys.wait_for_stalled(1).await;
        world.genesys.release_stalled();
        let winner = responses.next().await.unwrap();

        assert_eq!((told(&winner), winner.is_replay()), (completed(), false), "{surface}");
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
        assert_eq!(actions(&world), ["transfer-intended", "transfer-completed"]);
        assert!(call(1).await.is_replay());
    }
}

#[tokio::test]
async fn of_fifty_that_prefer_to_wait_one_transfers_and_all_get_its_answer() {
    for surface in SURFACES {
        let (world, instances) = five_instances(surface).await;
        let request = to_support();
        let responses = (0..50).map(|n| world.transfer_at(&instances[n % 5], &WAITING, &request));

        let (responses, ()) = tokio::join!(join_all(responses), async {
            world.store.wait_for("UpdateItem", 50).await;
            world.genesys.wait_for_stalled(1).await;
            world.genesys.release_stalled();
        });

        let first = &responses[0].body;
        assert!(responses.iter().all(|it| it.status == 200 && it.body == first), "{surface}");
        assert_eq!(responses.iter().filter(|it| it.is_replay()).count(), 49);
        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
        assert_eq!(notices(&world).len(), 1);
    }
}

#[tokio::test]
async fn who_waited_for_an_attempt_that_was_refused_tries_itself() {
    for surface in SURFACES {
        let world = world(surface).await;
        let other = world.another_instance(&[CRM]).await;
        world.genesys.fault(Operation::Transfer, Fault::stall_before_effect());
        let request = to_support();

        let (first, waiter) = world
            .while_stalled(world.transfer(&KEY, &request), async {
                // Once it is let go, the first attempt finds nobody to transfer.
                world.genesys.conversation("c", Conversation::ended());
                let release = async {
                    world.store.wait_for("UpdateItem", 2).await;
                    world.genesys.release_stalled();
                };
                tokio::join!(world.transfer_at(&other, &WAITING, &request), release).0
            })
            .await;

        for response in [first, waiter] {
            assert_eq!(told(&response), refused(409, "conversation-conflict"), "{surface}");
        }
        assert_eq!(actions(&world), ["transfer-intended", "transfer-refused", "transfer-refused"]);
        assert_eq!((notices(&world).len(), posts(&world)), (2, 1), "it tried itself");
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        assert_eq!(told(&world.transfer(&KEY, &request).await), completed());
    }
}

/// Every request that is not the one to the queue `support`, by one member.
fn others() -> Vec<Value> {
    let with = |name: &str, value: Value| {
        let mut request = to_support();
        request[name] = value;
        request
    };
    vec![
        blind("queue", "other"),
        blind("user", "support"),
        with("conversationId", json!("d")),
        with("preserveCallerId", json!(true)),
        with("allowUnstaffed", json!(true)),
        with("transferType", json!("consult")),
    ]
}

#[tokio::test]
async fn a_key_that_was_used_for_another_transfer_is_refused_while_it_runs_and_afterwards() {
    for surface in SURFACES {
        let (world, instances) = five_instances(surface).await;

        let (first, ()) = world
            .while_stalled(world.transfer(&KEY, &to_support()), async {
                let before = claim(&world);
                for other in others() {
                    let response = world.transfer_at(&instances[0], &WAITING, &other).await;
                    assert_eq!(told(&response), refused(422, "key-reused"), "{other}");
                }
                assert_eq!(claim(&world), before);
            })
            .await;
        let before = claim(&world);
        for other in others() {
            for gateway in [&world.gateway, &instances[1]] {
                let response = world.transfer_at(gateway, &KEY, &other).await;
                assert_eq!(told(&response), refused(422, "key-reused"), "{other}");
                assert_eq!(response.json()["idempotencyKey"], "k");
            }
        }

        assert_eq!(claim(&world), before);
        assert_eq!((told(&first), posts(&world)), (completed(), 1), "{surface}");
        assert_eq!((actions(&world).len(), notices(&world).len()), (2, 1), "refused duplicates leave none");
        assert!(world.transfer(&KEY, &to_support()).await.is_replay());
    }
}

#[tokio::test]
async fn a_key_of_a_refused_transfer_is_free_for_any() {
    for surface in SURFACES {
        let world = world(surface).await;
        assert_eq!(told(&world.transfer(&KEY, &blind("queue", "nowhere")).await).0, 404);
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), completed());
    }
}

#[tokio::test]
async fn however_it_is_spelt_the_same_request_without_a_key_is_the_same() {
    let spellings = [
        r#"{"conversationId":"c","transferType":"blind","destination":{"type":"queue","id":"support"}}"#,
        " { \"destination\" : {\"id\":\"support\",\r\n\"type\":\"queue\"},\t\"transferType\":\"blind\", \"conversationId\":\"c\" } ",
        r#"{"conversationId":"\u0063","transferType":"bl\u0069nd","destination":{"type":"queue","id":"support"}}"#,
        r#"{"conversationId":"c","transferType":"blind","destination":{"type":"queue","id":"support"},
            "allowUnstaffed":false,"participantId":null,"preserveCallerId":null,"consult":null,"idempotencyKey":null}"#,
        r#"{"conversationId":"c","transferType":"blind","destination":{"type":"queue","id":"support"},"consult":{"speakTo":"destination"}}"#,
    ];
    for surface in SURFACES {
        let world = world(surface).await;
        let url = |gateway: &Gateway| format!("{}/transfers", gateway.url());
        let first = world.post(&url(&world.gateway), &[], spellings[0]).await;
        assert_eq!(told(&first), completed(), "{surface}");
        let key = first.header("idempotency-key").unwrap().to_owned();
        assert_eq!(key.len(), 64, "a SHA-256 in hex: {key}");

        let cold = world.another_instance(&[CRM]).await;
        for spelling in spellings {
            let again = world.post(&url(&cold), &[], spelling).await;
            assert_eq!((again.is_replay(), &again.body), (true, &first.body), "{spelling}");
        }
        let given = world.transfer_at(&cold, &keyed(&key), &to_support()).await;
        assert!(given.is_replay(), "given or derived, it is the same key");

        assert_eq!((posts(&world), world.genesys.transfer_count()), (1, 1));
        assert_eq!(world.genesys.transfers("c")[0].idempotency_key.as_ref(), Some(&key));
    }
}

#[tokio::test]
async fn what_differs_without_a_key_is_another_request() {
    let world = world(Surface::Platform).await;
    world.genesys.conversation("d", Conversation::with_agent("alice"));

    let first = world.transfer(&[], &to_support()).await;
    let mut keys = vec![first.header("idempotency-key").unwrap().to_owned()];
    for other in others() {
        let response = world.transfer(&[], &other).await;
        assert!(!response.is_replay(), "{other}: {response:?}");
        let document = response.json();
        let key = response.header("idempotency-key").or(document["idempotencyKey"].as_str());
        keys.push(key.unwrap().to_owned());
    }

    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), others().len() + 1);
}

#[tokio::test]
async fn a_request_without_a_key_is_the_same_for_five_minutes() {
    for surface in SURFACES {
        let world = world(surface).await;
        let first = world.transfer(&[], &to_support()).await;
        world.genesys.conversation("c", Conversation::with_agent("alice"));

        world.let_pass(Duration::from_secs(299));
        let cold = world.another_instance(&[CRM]).await;
        for gateway in [&world.gateway, &cold] {
            let early = world.transfer_at(gateway, &[], &to_support()).await;
            assert_eq!((early.is_replay(), &early.body), (true, &first.body), "{surface}");
        }
        world.let_pass(Duration::from_secs(1));
        let late = world.transfer(&[], &to_support()).await;

        assert!(!late.is_replay(), "{surface}: {late:?}");
        assert_eq!(posts(&world), 2, "{surface}");
        assert_eq!((told(&late), world.genesys.transfer_count()), (completed(), 2));
    }
}

#[tokio::test]
async fn an_answer_is_replayed_until_it_expires() {
    for surface in SURFACES {
        for (variables, lifetime) in [(vec![CRM], 86_400), (vec![CRM, ("IDEMPOTENCY_TTL_SECONDS", "60")], 60)]
        {
            let world = world_with(surface, &variables).await;
            world.transfer(&KEY, &to_support()).await;
            world.genesys.conversation("c", Conversation::with_agent("alice"));

            world.let_pass(Duration::from_secs(lifetime - 1));
            let cold = world.another_instance(&variables).await;
            assert!(world.transfer(&KEY, &to_support()).await.is_replay());
            assert!(world.transfer_at(&cold, &KEY, &to_support()).await.is_replay());
            world.let_pass(Duration::from_secs(1));
            let late = world.transfer(&KEY, &to_support()).await;

            assert!(!late.is_replay(), "{surface} {lifetime}: {late:?}");
            assert_eq!(posts(&world), 2, "{surface} {lifetime}");
            assert_eq!((told(&late), world.genesys.transfer_count()), (completed(), 2));
        }
    }
}

#[tokio::test]
async fn an_expired_key_is_free_for_another_request() {
    let world = world_with(Surface::Platform, &[CRM, ("IDEMPOTENCY_TTL_SECONDS", "60")]).await;
    world.transfer(&KEY, &to_support()).await;
    world.genesys.conversation("c", Conversation::with_agent("alice"));

    world.let_pass(Duration::from_mins(1));

    assert_eq!(told(&world.transfer(&KEY, &blind("user", "bob")).await), completed());
}

#[tokio::test]
async fn the_same_key_on_a_data_action_is_another_key() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.data_action("a", simulator::Behaviour::echo());

        let action = world.invoke("a", &KEY, to_support().to_string()).await;
        let transfer = world.transfer(&KEY, &to_support()).await;

        assert_eq!((action.status, told(&transfer), transfer.is_replay()), (200, completed(), false));
        assert_eq!((world.genesys.effect_count(), world.genesys.transfer_count()), (1, 1));
    }
}

async fn once_more(world: &World) {
    let before = world.genesys.transfer_count();
    let again = world.transfer(&KEY, &to_support()).await;
    assert!(again.status >= 300 || world.genesys.transfer_count() == before + 1, "{again:?}");
}

/// On the guides' surface the key was bound upstream by the attempt that came to nothing.
#[tokio::test]
async fn a_transfer_that_failed_and_is_repeated_is_not_said_to_be_accepted_unless_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.genesys.transfers_go("c", Course::fails());
        assert_eq!(told(&world.transfer(&KEY, &to_support()).await), refused(422, "transfer-refused"));
        world.genesys.transfers_go("c", Course::completes());
        once_more(&world).await;
    }
}

#[tokio::test]
async fn a_transfer_whose_answer_expired_is_not_said_to_be_accepted_unless_it_is() {
    for surface in SURFACES {
        let world = world(surface).await;
        world.transfer(&KEY, &to_support()).await;
        world.genesys.conversation("c", Conversation::with_agent("alice"));
        world.let_pass(std::time::Duration::from_hours(24));
        once_more(&world).await;
    }
}
