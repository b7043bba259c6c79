//! Where the compiled binaries are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A binary of this workspace, built in the profile of the running test when the first one is asked for.
///
/// # Panics
///
/// When the workspace does not build, with cargo's messages; when it has no such binary.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let profile_dir = match BUILT.get_or_init(build) {
        Ok(profile_dir) => profile_dir,
        Err(messages) => panic!("the workspace's binaries do not build:\n{messages}"),
    };
    let binary = profile_dir.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "the workspace has no binary {name}: {} is missing", binary.display());
    binary
}

/// Builds all binaries and returns the directory they are in.
fn build() -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|error| format!("the running test has no path: {error}"))?;
    // target/<profile>/deps/<test>-<hash>
    let profile_dir =
        test.ancestors().nth(2).ok_or_else(|| format!("no target directory: {}", test.display()))?;
    let target_dir =
        profile_dir.parent().ok_or_else(|| format!("no target directory: {}", test.display()))?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("this crate is in no workspace")?;

    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile_of(profile_dir)])
        // Not only the manifest: cargo looks for `.cargo/config.toml` from here.
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", target_dir);
    for variable in OF_THE_RUNNING_TEST {
        cargo.env_remove(variable);
    }
    let built = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if built.status.success() {
        Ok(profile_dir.to_owned())
    } else {
        Err(String::from_utf8_lossy(&built.stderr).into_owned())
    }
}

fn profile_of(profile_dir: &Path) -> &str {
    match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    }
}

/// cargo tells a test about its own package; a build script that watches these would run again.
const OF_THE_RUNNING_TEST: [&str; 15] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
];
