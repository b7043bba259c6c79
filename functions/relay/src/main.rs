//! The relay function, under Lambda.

use std::process::ExitCode;

use relay::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::lambda::serve("relay", App::start, handle).await
}
