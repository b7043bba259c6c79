//! The data actions function, under Lambda.

use std::process::ExitCode;

use data_actions::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::lambda::serve("data-actions", App::start, handle).await
}
