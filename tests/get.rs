//! `pointsman get` on `examples/`: the samples of its page are what the program prints.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "common/samples.rs"]
mod samples;

use samples::{check_samples, pointsman};

/// How many samples the pages have at least.
const MIN_SAMPLES: usize = 5;

/// The cluster of every command here.
const CLUSTER: &str = "--manifests examples --hostname-override node-a";

#[test]
fn the_samples_are_what_the_program_prints() {
    let check = |page| check_samples(page, CLUSTER, "get", |_| 0);
    let samples: usize = ["docs/get.md", "docs/at-3-am.md"].map(check).iter().sum();
    assert!(samples >= MIN_SAMPLES, "the pages have {samples} samples");
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
        ("endpoints shop/nope", "there is no Service shop/nope here: it does not exist, or has no ClusterIP"),
        ("clashes shop/nope", "there is no Service shop/nope here: it does not exist, or has no ClusterIP"),
        (
            "services cart",
            "there is no Service with a ClusterIP in a namespace cart; one Service is named NAMESPACE/SERVICE",
        ),
        ("pods", "possible values: services, endpoints, frontends, clients, clashes"),
    ] {
        let output = pointsman(&format!("{CLUSTER} get {asked}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{asked}: {said}");
        assert!(said.contains(expected), "{asked}: {said}");
    }
}

#[test]
fn a_service_without_rows_is_no_error() {
    for list in ["endpoints shop/recommendations", "clashes shop/cart", "clashes shop"] {
        let output = pointsman(&format!("{CLUSTER} get {list}"));
        assert_eq!(output.status.code(), Some(0), "{list}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{list}");
    }
}
