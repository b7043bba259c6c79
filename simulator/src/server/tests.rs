//! The end of a simulator.

use crate::client::Client;
use crate::{Behaviour, Fault, Operation, Simulator, Surface};

#[tokio::test]
async fn stopping_cuts_what_is_open_and_frees_the_port() {
    let client = Client::start(Surface::Guide).await;
    client.simulator.data_action("a", Behaviour::echo());
    client.simulator.fault(Operation::ExecuteDataAction, Fault::stall_after_effect());
    let stop = async {
        client.simulator.wait_for_stalled(1).await;
        client.simulator.clone().stop().await;
    };
    let (answer, ()) = tokio::join!(client.execute("a", "{}").send(), stop);
    answer.unwrap_err();
    assert!(client.execute("a", "{}").send().await.unwrap_err().is_connect());
    assert_eq!(client.simulator.effect_count(), 1, "what was seen can still be told");
    client.simulator.clone().stop().await;

    let address = client.simulator.url().trim_start_matches("http://").parse().unwrap();
    let again = Simulator::start_at(Surface::Platform, address).await.unwrap();
    assert_eq!(again.url(), client.simulator.url());
}
