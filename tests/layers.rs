//! The core stays pure, and the layers point one way.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

/// What each part of the core may not mention: layers above it, input and output, clocks, async.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("dataplane", &["crate::apply", "crate::diff", "crate::state"]),
    ("state", &["crate::apply", "crate::diff", "k8s_openapi", "kube::"]),
    ("diff", &["crate::apply", "k8s_openapi", "kube::"]),
    ("doctor/rules", &["crate::apply"]),
    ("takeover/selection", &["crate::apply"]),
];
const EVERYWHERE: [&str; 13] = [
    "crate::cli",
    "crate::metrics",
    "crate::observe",
    "crate::reconcile",
    "crate::render",
    "crate::watch",
    "tokio",
    "async fn",
    "std::fs",
    "std::net::Tcp",
    "std::time",
    "Timestamp::now",
    "tracing",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_core_knows_no_effects_and_no_layer_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (layer, forbidden) in FORBIDDEN {
        let mut files = vec![src.join(format!("{layer}.rs"))];
        sources(&src.join(layer), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            // Unit tests at the end of a file may use what they need.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for word in forbidden.iter().chain(&EVERYWHERE) {
                    assert!(!line.contains(word), "{}: {word} in {line:?}", file.display());
                }
            }
        }
    }
}
