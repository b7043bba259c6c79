//! The transfers function, under Lambda.

use std::process::ExitCode;

use transfers::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::lambda::serve("transfers", App::start, handle).await
}
