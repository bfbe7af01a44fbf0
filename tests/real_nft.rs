//! The nft backend against the real kernel. Needs root and an nft of version 1.1.3 or newer.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod conformance;

use conformance::{in_namespace, nft, refuses_what_the_model_refuses, takes_random_histories};
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
fn the_kernel_takes_every_batch_of_random_histories_and_then_lists_what_the_model_holds() {
    in_namespace(backend, takes_random_histories);
}

#[test]
fn both_kernels_refuse_the_same_operations_for_the_same_reasons() {
    in_namespace(backend, refuses_what_the_model_refuses);
}

#[test]
fn both_kernels_refuse_a_range_that_overlaps_another() {
    in_namespace(|mut nft| async move {
        let mut memory = MemoryKernel::new();
        let range = |text: &str| {
            let key = Key::Network(text.parse().expect("a network"));
            Operation::add_element(Element::member(SetName::ServiceCidrs, key))
        };
        let set = Operation::add(Family::Ip, Object::Set(SetName::ServiceCidrs));
        let first = [Operation::add(Family::Ip, Object::Table), set, range("10.96.0.0/16")];
        memory.apply(&first).expect("a first range");
        nft.commit(&first).await.expect("a first range");
        for overlapping in ["10.0.0.0/8", "10.96.1.0/24", "10.96.0.0/17", "10.96.0.1/32"].map(range) {
            let refused = memory.apply(std::slice::from_ref(&overlapping)).err();
            let found = nft.commit(&[overlapping]).await.err();
            assert_eq!(refused, Some(Refusal::Exists));
            assert_eq!(found.as_ref().and_then(pointsman::apply::Error::refusal), refused, "{found:?}");
        }
        for same_or_apart in ["10.96.0.0/16", "10.97.0.0/16"].map(range) {
            assert_eq!(memory.apply(std::slice::from_ref(&same_or_apart)), Ok(()));
            nft.commit(&[same_or_apart]).await.expect("no overlap");
        }
    });
}
