//! `pointsman explain` on `examples/`: the samples of docs/explain.md are what the program prints, and their exit codes fit the verdicts.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "common/samples.rs"]
mod samples;

use std::fs;
use std::path::Path;

use samples::{check_samples, pointsman};

/// How many samples the pages have at least.
const MIN_SAMPLES: usize = 11;

/// The cluster of every question here.
const CLUSTER: &str = "--manifests examples --hostname-override node-a --cluster-cidr 10.128.0.0/16,fd00:10:128::/64";

#[test]
fn the_samples_are_what_the_program_prints() {
    let exit_code = |answer: &str| i32::from(!answer.starts_with("DELIVERED"));
    let check = |page| check_samples(page, CLUSTER, "explain", exit_code);
    let samples: usize = ["docs/explain.md", "docs/at-3-am.md"].map(check).iter().sum();
    assert!(samples >= MIN_SAMPLES, "the pages have {samples} samples");
}

#[test]
fn json_has_the_verdict_the_reason_and_every_endpoint() {
    let output = pointsman(&format!("{CLUSTER} explain shop/orders-db -o json"));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["verdict"], &answer["reason"]), (&"delivered".into(), &"balanced".into()));
    let reasons: Vec<_> =
        answer["endpoints"].as_array().expect("a list").iter().map(|endpoint| endpoint["reason"].clone()).collect();
    assert_eq!(reasons, ["last-serving", "last-serving", "not-ready"]);
}

#[test]
fn a_question_that_cannot_be_answered_ends_with_2_and_says_what_to_ask() {
    for (question, expected) in [
        ("cart", "NAMESPACE/SERVICE:PORT"),
        ("shop/nothing:80", "there is no Service shop/nothing"),
        ("shop/cart", "has several ports: name one of 80/tcp, 9000/tcp"),
        ("shop/cart:80 --from nowhere", "expected an address, pod, node or outside"),
        ("shop/cart:80 -o nft", "leave out -o nft"),
    ] {
        let output = pointsman(&format!("{CLUSTER} explain {question}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{question}: {said}");
        assert!(said.contains(expected), "{question}: {said}");
    }
}

#[test]
fn a_journal_tells_what_became_of_a_packet_at_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, changed) = (folder.path().join("journal"), folder.path().join("changed"));
    let (journal, changed) = (journal.display().to_string(), changed.display().to_string());
    fs::create_dir(&changed).expect("a folder");
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("the examples") {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a manifest").replace("10.128.1.14", "10.128.1.99");
        fs::write(Path::new(&changed).join(path.file_name().expect("a name")), text).expect("a copy");
    }
    let record = |manifests: &str| {
        let output = pointsman(&format!(
            "--manifests {manifests} --hostname-override node-a --dry-run --against empty --record {journal}"
        ));
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(&journal).expect("the journal").lines().count()
    };
    let events = record("examples");
    record(&changed);
    let options = "--cluster-cidr 10.128.0.0/16,fd00:10:128::/64 explain shop/cart:80 --journal";
    let at_the_end = pointsman(&format!("{options} {journal}"));
    let before = pointsman(&format!("{options} {journal} --at {events}"));
    let now = pointsman(&format!("{CLUSTER} explain shop/cart:80"));
    let [at_the_end, before, now] =
        [at_the_end, before, now].map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    assert!(at_the_end.contains("10.128.1.99:8080") && !at_the_end.contains("10.128.1.14:8080"), "{at_the_end}");
    assert_eq!(before, now.replace("what the manifests ask for", "what the journal asks for"));
    for (options, expected) in [
        (format!("explain shop/cart:80 --journal {journal} --at 1"), "not all lists were complete"),
        (format!("--against kernel explain shop/cart:80 --journal {journal}"), "leave out --against kernel"),
        (format!("{CLUSTER} explain shop/cart:80 --journal {journal}"), "--journal and --manifests"),
        ("explain shop/cart:80 --at 3".to_owned(), "--journal"),
    ] {
        let output = pointsman(&options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options}: {said}");
        assert!(said.contains(expected), "{options}: {said}");
    }
}

#[test]
fn every_reason_is_in_the_tables_of_the_page() {
    let page = include_str!("../docs/explain.md");
    let verdicts = pointsman::explain::VerdictReason::ALL.iter().map(|reason| reason.code());
    let endpoints = pointsman::state::EndpointReason::ALL.iter().map(|reason| reason.code());
    let withheld = pointsman::explain::WithheldReason::ALL.iter().map(|reason| reason.code());
    let all = verdicts.chain(endpoints).chain(withheld);
    for code in all.chain(["stale", "kept", "marked", "to-itself", "not-translated"]) {
        assert!(page.contains(&format!("| `{code}` |")), "docs/explain.md has no line for {code}");
    }
}
