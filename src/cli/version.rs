//! The version of this program, and the commit that it was built from.

/// The version of the crate.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit and its date, which `scripts/release.sh` gives to the compiler. Other builds do not ask git: each commit would compile the
/// crate again.
pub(super) const COMMIT: &str = match option_env!("POINTSMAN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What `--version` prints, in one line. It begins with the name and the version.
pub(super) fn line() -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let machine = std::env::consts::ARCH;
    format!("pointsman {VERSION} (commit {COMMIT}, {profile} build for {machine})\n")
}
