//! What the upstream is sent, on each of its routes.

use harness::world::World;
use simulator::{Behaviour, Operation, SeenRequest, Surface};

use super::KEY;

const INPUT: &str = r#"{ "n": 1.0, "name": "Zo\u00eb", "account": 9007199254740993 }"#;

/// The one execution that the upstream was asked for.
async fn asked(surface: Surface, variables: &[(&str, &str)]) -> SeenRequest {
    let world = World::with(surface, variables).await;
    world.genesys.data_action("custom_-_1", Behaviour::echo());
    let response = world.invoke("custom_-_1", &KEY, INPUT).await;
    assert_eq!(response.status, 200, "{response:?}");
    let mut seen = world.genesys.requests();
    seen.retain(|request| request.operation == Some(Operation::ExecuteDataAction));
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

#[tokio::test]
async fn the_published_route_is_sent_the_input_as_it_was_written() {
    let request = asked(Surface::Platform, &[]).await;

    assert_eq!(request.path, "/api/v2/integrations/actions/custom_-_1/execute");
    assert_eq!(request.body, INPUT);
    assert_eq!(request.header("idempotency-key"), Some("k"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("authorization").unwrap().starts_with("Bearer "));
}

#[tokio::test]
async fn the_guides_execute_is_sent_the_input_as_it_was_written() {
    for variables in [&[][..], &[("GENESYS_DATA_ACTION_ROUTE", "execute")][..]] {
        let request = asked(Surface::Guide, variables).await;

        assert_eq!(request.path, "/api/v2/integrations/dataactions/custom_-_1/execute");
        assert_eq!(request.body, INPUT);
        assert_eq!(request.header("idempotency-key"), Some("k"));
    }
}

#[tokio::test]
async fn the_guides_invoke_is_sent_the_input_in_an_envelope() {
    let request = asked(Surface::Guide, &[("GENESYS_DATA_ACTION_ROUTE", "invoke")]).await;

    assert_eq!(request.path, "/api/v2/dataactions/actions/custom_-_1/invoke");
    assert_eq!(request.body, format!(r#"{{"input":{INPUT}}}"#));
    assert_eq!(request.header("idempotency-key"), Some("k"));
}

#[tokio::test]
async fn the_guides_route_makes_no_difference_to_the_published_surface() {
    let request = asked(Surface::Platform, &[("GENESYS_DATA_ACTION_ROUTE", "invoke")]).await;

    assert_eq!(request.path, "/api/v2/integrations/actions/custom_-_1/execute");
    assert_eq!(request.body, INPUT);
}

#[tokio::test]
async fn a_repeat_is_replayed_on_the_guides_invoke_too() {
    let world = World::with(Surface::Guide, &[("GENESYS_DATA_ACTION_ROUTE", "invoke")]).await;
    world.genesys.data_action("a", Behaviour::echo());

    let first = world.invoke("a", &KEY, INPUT).await;
    let cold = world.another_instance(&[("GENESYS_DATA_ACTION_ROUTE", "invoke")]).await;
    let again = world.invoke_at(&cold, "a", &KEY, INPUT).await;

    assert_eq!((again.is_replay(), &again.body), (true, &first.body));
    assert_eq!(world.genesys.effects("a").len(), 1);
}
