//! The nft backend against the real kernel. Needs root and an nft of version 1.1.3 or newer.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod conformance;

use conformance::{
    in_namespace, nft, refuses_overlapping_ranges, refuses_what_the_model_refuses, takes_random_histories,
};
use pointsman::apply::{Backend, Nft};
use pointsman::dataplane::{Family, Tables};

async fn backend() -> Result<Nft, pointsman::apply::Error> {
    Nft::find(&nft()).await
}

#[test]
fn the_self_test_passes_and_leaves_nothing_behind() {
    in_namespace(backend, |mut backend| async move {
        backend.self_test().await.expect("self-test");
        assert_eq!(backend.read(&Family::ALL).await.expect("read"), Tables::default());
        let tables = std::process::Command::new(nft()).args(["list", "tables"]).output().expect("nft");
        assert_eq!(String::from_utf8_lossy(&tables.stdout), "");
    });
}

#[test]
fn after_every_batch_of_a_random_history_the_kernel_holds_what_the_model_holds() {
    in_namespace(backend, takes_random_histories);
}

#[test]
fn both_kernels_refuse_the_same_operations_for_the_same_reasons() {
    in_namespace(backend, refuses_what_the_model_refuses);
}

#[test]
fn both_kernels_refuse_a_range_that_overlaps_another() {
    in_namespace(backend, refuses_overlapping_ranges);
}
