//! `pointsman get` on `examples/`: the samples of its page are what the program prints.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Set to 1 to write the samples instead of comparing them.
const UPDATE: &str = "POINTSMAN_UPDATE_DOCS";

/// How many samples the pages have at least.
const MIN_SAMPLES: usize = 5;

/// The beginning of every command here.
const EXAMPLES: &str = "--manifests examples --hostname-override node-a get";

fn pointsman(command: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(command.split_whitespace())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("POINTSMAN_LOG")
        .output()
        .expect("the proxy starts")
}

#[test]
fn the_samples_are_what_the_program_prints() {
    let samples: usize = ["docs/get.md", "docs/at-3-am.md"].map(check_samples).iter().sum();
    assert!(samples >= MIN_SAMPLES, "the pages have {samples} samples");
}

/// Compares the samples of a page, or writes them. How many there are.
fn check_samples(name: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let page = fs::read_to_string(&path).expect("the page");
    let mut parts: Vec<String> = page.split("```").map(str::to_owned).collect();
    let mut samples = 0;
    for block in parts.iter_mut().skip(1).step_by(2) {
        let Some(rest) = block.strip_prefix("console\n$ pointsman … get ") else { continue };
        let (asked, _) = rest.split_once('\n').expect("a command and an answer");
        let output = pointsman(&format!("{EXAMPLES} {asked}"));
        let answer = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{asked}: {}", String::from_utf8_lossy(&output.stderr));
        *block = format!("console\n$ pointsman … get {asked}\n{answer}");
        samples += 1;
    }
    let written = parts.join("```");
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        fs::write(&path, written).expect("the page can be written");
        return samples;
    }
    assert_eq!(page, written, "{name} is out of date: run {UPDATE}=1 cargo test --test get");
    samples
}

#[test]
fn every_rule_of_a_clash_is_in_the_table_of_the_page() {
    use pointsman::state::ClaimRule;
    let page = include_str!("../docs/get.md");
    let rules = [ClaimRule::ClusterIp, ClaimRule::HasEndpoints, ClaimRule::Older, ClaimRule::FirstByName];
    for code in rules.map(ClaimRule::code).into_iter().chain(["before-node-ports"]) {
        assert!(page.contains(&format!("| `{code}` |")), "docs/get.md has no line for {code}");
    }
}

#[test]
fn a_list_that_cannot_be_made_ends_with_2_and_says_what_to_ask() {
    for (asked, expected) in [
        ("services shop/cart/80", "expected NAMESPACE or NAMESPACE/SERVICE"),
        ("services -o nft", "leave out -o nft"),
        ("clients shop/sessions", "leave out --manifests"),
        ("pods", "possible values: services, endpoints, frontends, clients, clashes"),
    ] {
        let output = pointsman(&format!("{EXAMPLES} {asked}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{asked}: {said}");
        assert!(said.contains(expected), "{asked}: {said}");
    }
}
