//! The local gateway: serves the functions' own routers, as API Gateway would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use shared::clock::Clock;
use shared::config::Variables;
use shared::lambda::{self, Failure, Invocation};
use shared::problem::{Kind, Problem};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::{Error, engine};

/// A running gateway. It stops when this is dropped; [`stop`](Self::stop) lets requests end first.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    webhook_intake: Arc<webhook_intake::App>,
    stop: oneshot::Sender<()>,
    server: JoinSet<()>,
}

impl Gateway {
    /// Starts the functions with these environment variables, against the store at `store_url`, and serves
    /// their routes on `port` of the loopback address.
    pub async fn start(
        variables: &[(String, String)],
        store_url: &str,
        clock: Clock,
        port: u16,
    ) -> Result<Self, Error> {
        let variables: Variables = variables.iter().cloned().collect();
        let aws = engine::sdk_config(store_url).await;
        let webhook_intake = webhook_intake::App::start(&variables, &aws, clock.clone()).await;
        let webhook_intake = webhook_intake.map_err(|error| Error::Function(Box::new(error)))?;
        let data_actions = data_actions::App::start(&variables, &aws, clock).await;
        let data_actions = data_actions.map_err(|error| Error::Function(Box::new(error)))?;
        let routes = Router::new()
            .merge(webhook_intake::router(Arc::clone(&webhook_intake)))
            .merge(data_actions::router(data_actions));
        let listener = listen(port).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let routes = lambda::with_fallbacks(routes).layer(middleware::from_fn(to_its_end));
            let serving = axum::serve(listener, routes);
            let stopped = async {
                // The sender's end says the same as its word.
                let _ = stopped.await;
            };
            // Accepting goes on through errors; serving ends by its shutdown alone.
            let _ = serving.with_graceful_shutdown(stopped).await;
        });
        Ok(Self { address, webhook_intake, stop, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Hands an event to the webhook intake as EventBridge does: its answer, or its function error.
    pub async fn deliver_from_event_bridge(&self, envelope: &str) -> Result<String, String> {
        let event = lambda::Event::read(envelope.to_owned().into());
        let answer = webhook_intake::handle(&self.webhook_intake, event, Invocation::local()).await;
        answer
            .map(|answer| String::from_utf8_lossy(&answer).into_owned())
            .map_err(|failure: Failure| format!("{failure:?}"))
    }

    /// Stops taking requests and lets those under way end.
    pub async fn stop(mut self) {
        // A receiver that is gone has stopped already.
        let _ = self.stop.send(());
        while self.server.join_next().await.is_some() {}
    }
}

/// Lets a request run to its end though its caller hangs up, as Lambda does.
async fn to_its_end(request: Request, next: Next) -> Response {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is awaited; only a caller that hangs up leaves it alone"
    )]
    let run = tokio::spawn(next.run(request));
    run.await.unwrap_or_else(|_| Problem::new(Kind::InternalError, "A function panicked.").into_response())
}

async fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortTaken { port },
        _ => Error::Network(error),
    })
}
