//! The stack: all of it, running here.

use std::path::PathBuf;

use shared::clock::Clock;
use simulator::{Behaviour, Simulator, Surface};

use crate::{Engine, Error, Gateway, TABLE_NAME};

/// What deliveries are signed with on this machine.
pub const WEBHOOK_SECRET: &str = "a-secret-for-this-machine-only";

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the gateway listens; 0 takes any free port.
    pub port: u16,
    /// Where the database is kept; in memory if nowhere.
    pub data: Option<PathBuf>,
    /// Which API surface is spoken and simulated.
    pub surface: Surface,
    /// The wait after a first failed attempt, in milliseconds.
    pub retry_base_ms: u64,
}

/// A running stack. It stops when this is dropped.
pub struct Stack {
    /// The database.
    pub engine: Engine,
    /// In the place of Genesys Cloud.
    pub simulator: Simulator,
    /// The functions' routes.
    pub gateway: Gateway,
}

/// The data action that every simulated organisation has: it answers with what it was given.
pub(crate) const ECHO_ACTION: &str = "echo";

impl Stack {
    /// Starts everything.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let engine = Engine::start(options.data.as_deref()).await?;
        let simulator = Simulator::start(options.surface).await?;
        simulator.data_action(ECHO_ACTION, Behaviour::echo());
        let variables = variables(&simulator, options.retry_base_ms);
        let gateway = Gateway::start(&variables, &engine.url(), Clock::system(), options.port).await?;
        Ok(Self { engine, simulator, gateway })
    }
}

/// The functions' environment on this machine.
fn variables(simulator: &Simulator, retry_base_ms: u64) -> Vec<(String, String)> {
    let (client_id, client_secret) = simulator.credentials();
    [
        ("TABLE_NAME", TABLE_NAME.to_owned()),
        ("WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("GENESYS_API", simulator.surface().to_string()),
        ("GENESYS_API_URL", simulator.url()),
        ("GENESYS_LOGIN_URL", simulator.url()),
        ("GENESYS_CLIENT_ID", client_id),
        ("GENESYS_CLIENT_SECRET", client_secret),
        ("RETRY_BASE_MS", retry_base_ms.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
