//! The webhook intake function, under Lambda.

use std::process::ExitCode;

use webhook_intake::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::lambda::serve("webhook-intake", App::start, handle).await
}
