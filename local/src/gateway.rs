//! The local gateway: serves the functions' own routers, as API Gateway would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
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
    data_actions: Arc<data_actions::App>,
    retention: Arc<retention::App>,
    runs: Runs,
    stop: Option<oneshot::Sender<()>>,
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
        let data_actions = data_actions::App::start(&variables, &aws, clock.clone()).await;
        let data_actions = data_actions.map_err(|error| Error::Function(Box::new(error)))?;
        let transfers = transfers::App::start(&variables, &aws, clock.clone()).await;
        let transfers = transfers.map_err(|error| Error::Function(Box::new(error)))?;
        let retention = retention::App::start(&variables, &aws, clock).await;
        let retention = retention.map_err(|error| Error::Function(Box::new(error)))?;
        let routes = Router::new()
            .merge(webhook_intake::router(Arc::clone(&webhook_intake)))
            .merge(data_actions::router(Arc::clone(&data_actions)))
            .merge(transfers::router(transfers))
            .merge(retention::router(Arc::clone(&retention)));
        let runs = Runs::default();
        let routes = lambda::completed(routes).layer(middleware::from_fn_with_state(runs.clone(), Runs::run));
        let listener = listen(port).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let serving = axum::serve(listener, routes);
            let stopped = async {
                // The sender's end says the same as its word.
                let _ = stopped.await;
            };
            // Accepting goes on through errors; serving ends by its shutdown alone.
            let _ = serving.with_graceful_shutdown(stopped).await;
        });
        Ok(Self { address, webhook_intake, data_actions, retention, runs, stop: Some(stop), server })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Hands an event to the webhook intake as EventBridge does: its answer, or its function error.
    pub async fn deliver_from_event_bridge(&self, envelope: &str) -> Result<String, String> {
        let event = lambda::Event::read(envelope.to_owned().into());
        text(webhook_intake::handle(&self.webhook_intake, event, Invocation::local()).await)
    }

    /// Invokes the data actions function directly, as a rule's target: its answer, or its function error.
    pub async fn invoke_data_action(&self, payload: &str) -> Result<String, String> {
        let event = lambda::Event::read(payload.to_owned().into());
        text(data_actions::handle(&self.data_actions, event, Invocation::local()).await)
    }

    /// Invokes the retention function directly, as a schedule does: its answer, or its function error.
    pub async fn order_retention(&self, order: &str) -> Result<String, String> {
        let event = lambda::Event::read(order.to_owned().into());
        text(retention::handle(&self.retention, event, Invocation::local()).await)
    }

    /// Stops taking requests and lets those under way end.
    pub async fn stop(mut self) {
        // A receiver that is gone has stopped already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        while self.server.join_next().await.is_some() {}
    }
}

fn text(answer: Result<Vec<u8>, Failure>) -> Result<String, String> {
    answer
        .map(|answer| String::from_utf8_lossy(&answer).into_owned())
        .map_err(|failure| format!("{failure:?}"))
}

/// The requests under way. They run to their end though their callers hang up, as under Lambda; but not though
/// their gateway is dropped: that is how an instance dies.
#[derive(Clone, Debug, Default)]
struct Runs(Arc<Mutex<JoinSet<()>>>);

impl Runs {
    async fn run(State(runs): State<Self>, request: Request, next: Next) -> Response {
        let (answer, answered) = oneshot::channel();
        {
            let mut under_way = runs.lock();
            while under_way.try_join_next().is_some() {}
            under_way.spawn(async move {
                // A caller that hung up does not read it.
                let _ = answer.send(next.run(request).await);
            });
        }
        let broken = |_| Problem::new(Kind::InternalError, "A function panicked.").into_response();
        answered.await.unwrap_or_else(broken)
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.runs.lock().abort_all();
    }
}

async fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortTaken { port },
        _ => Error::Network(error),
    })
}
