//! Whether a request ever had a connection.
//!
//! A request that failed without one was never sent, whatever its error looks like: when the time for the whole
//! exchange runs out while the connection is still being made, the client's error says no more than "timed out".
//! So the connector itself tells. This relies on [`http_client`](super::http_client) keeping no idle connections:
//! each request makes its own, within its own task.

use std::cell::Cell;

use tower::util::MapResponseLayer;

/// Whether there was a connection, TLS included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// There never was: nothing was sent.
    NeverMade,
    /// There was: something may have been sent.
    Made,
}

tokio::task_local! {
    static CONNECTION: Cell<Connection>;
}

/// Sends a request and tells whether it had a connection.
pub(super) async fn observed<T>(request: impl Future<Output = T>) -> (T, Connection) {
    let watch = async {
        let outcome = request.await;
        (outcome, CONNECTION.with(Cell::get))
    };
    CONNECTION.scope(Cell::new(Connection::NeverMade), watch).await
}

/// The layer around a client's connector that makes [`observed`] see.
pub(super) fn layer<C>() -> MapResponseLayer<fn(C) -> C> {
    MapResponseLayer::new(note::<C>)
}

fn note<C>(connection: C) -> C {
    // Outside `observed` (a token is being fetched) nobody asks.
    let _ = CONNECTION.try_with(|made| made.set(Connection::Made));
    connection
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    async fn connection_of(url: String) -> Connection {
        let client = crate::genesys::http_client().unwrap();
        let request = client.post(url).timeout(Duration::from_millis(200)).body("x").send();
        let (sent, connection) = observed(request).await;
        assert!(sent.is_err());
        connection
    }

    #[tokio::test]
    async fn a_refused_connection_was_never_made_and_a_silent_one_was() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        assert_eq!(connection_of(url.clone()).await, Connection::Made);
        drop(listener);
        assert_eq!(connection_of(url).await, Connection::NeverMade);
    }

    #[tokio::test]
    async fn time_that_runs_out_during_the_handshake_is_time_before_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        assert_eq!(connection_of(url).await, Connection::NeverMade);
    }
}
