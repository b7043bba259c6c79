//! The retention function, under Lambda.

use std::process::ExitCode;

use retention::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::lambda::serve("retention", App::start, handle).await
}
