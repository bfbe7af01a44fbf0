//! The nft backend against the real kernel, compared step by step with the kernel in memory.
//!
//! Every test has a network namespace of its own. Needs root and an nft of version 1.1.3 or newer.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

#[path = "../proptests/common/mod.rs"]
mod histories;

use std::collections::BTreeSet;
use std::path::PathBuf;

use histories::{Move, Proxy, history, scope};
use nix::sched::{CloneFlags, unshare};
use pointsman::apply::{Backend, MemoryKernel, Nft, Refusal};
use pointsman::dataplane::{
    Class, Element, Endpoint, Family, Frontend, Key, List, Object, Operation, Program, Protocol, SetName, Tables,
};
use pointsman::diff::{Acknowledged, diff};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The nft to test with: named by the environment, unpacked by scripts/nft.sh, or the system's.
fn nft() -> PathBuf {
    let unpacked = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/build/nft/nft"));
    match std::env::var_os("NFT") {
        Some(path) => path.into(),
        None if unpacked.exists() => unpacked,
        None => "nft".into(),
    }
}

/// Runs a test in a thread with a network namespace of its own. Without root it is skipped, unless
/// `POINTSMAN_REQUIRE_KERNEL=1` makes that a failure.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Nft) -> F + Send) {
    std::thread::scope(|threads| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let ready = unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace: {error}"));
            let ready = ready.and_then(|()| runtime.block_on(Nft::find(&nft())).map_err(|error| error.to_string()));
            match ready {
                Ok(nft) => runtime.block_on(test(nft)),
                Err(why) if std::env::var_os("POINTSMAN_REQUIRE_KERNEL").is_some_and(|v| v == "1") => panic!("{why}"),
                Err(why) => println!("skipped: {why}"),
            }
        };
        // A panic of the test is the panic of the thread.
        if let Err(panic) = threads.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Values from a strategy, the same in every run.
fn sample<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("a value").current()).collect()
}

/// What a kernel holds, in an order that can be compared.
fn sorted(tables: &Tables) -> Tables {
    let mut tables = tables.clone();
    for family in Family::ALL {
        if let Some(mut table) = tables.get(family).cloned() {
            table.elements.sort();
            tables.set(family, Some(table));
        }
    }
    tables
}

#[test]
fn the_self_test_passes_and_leaves_nothing_behind() {
    in_namespace(|mut nft| async move {
        nft.self_test().await.expect("self-test");
        assert_eq!(nft.read(&Family::ALL).await.expect("read"), Tables::default());
        let tables = std::process::Command::new(self::nft()).args(["list", "tables"]).output().expect("nft");
        assert_eq!(String::from_utf8_lossy(&tables.stdout), "");
    });
}

#[test]
fn the_kernel_takes_every_batch_of_random_histories_and_then_lists_what_the_model_holds() {
    in_namespace(|mut nft| async move {
        let mut batches = 0;
        for history in sample(history(), 25) {
            let mut proxy = Proxy::new();
            for step in history.into_iter().chain([Move::Sync]) {
                if let Move::LoseTable(family) = &step {
                    let gone = Operation::delete(*family, Object::Table);
                    let had = proxy.acknowledged.has_table(*family);
                    assert_eq!(nft.commit(&[gone]).await.is_ok(), had);
                }
                if let Some(plan) = proxy.make(step) {
                    if let Err(error) = nft.commit(&plan.operations).await {
                        panic!("refused: {error}\n{}", pointsman::render::nft(&plan));
                    }
                    batches += 1;
                    let read = nft.read(&Family::ALL).await.expect("read");
                    assert_eq!(sorted(&read), sorted(&proxy.kernel.contents(&Family::ALL)));
                    assert!(diff(&Acknowledged::from(read), &proxy.desired, &scope()).is_empty());
                }
            }
            let tables: Vec<Operation> = Family::ALL.map(|family| Operation::delete(family, Object::Table)).into();
            nft.commit(&tables).await.expect("clean up");
        }
        println!("{batches} batches accepted");
    });
}

/// An operation from a small pool: sensible and absurd ones, so that many batches are refused.
fn operation() -> impl Strategy<Value = Operation> {
    let program = Program::new(
        Family::Ip,
        &scope().options,
        &[1, 2].into_iter().filter_map(|n| Some((List::Any, Class::of(n)?))).collect(),
    );
    let chains = program.chains.clone();
    let sets = program.sets.clone();
    let chain = (0..chains.len()).prop_map(move |n| chains[n].clone());
    let rule = chain.clone().prop_filter_map("has rules", |chain| {
        let rule = chain.rules.first()?.clone();
        Some(Operation::add(Family::Ip, Object::Rule(chain.name, Box::new(rule))))
    });
    let set = (0..sets.len()).prop_map(move |n| sets[n]);
    let verb = any::<bool>();
    prop_oneof![
        1 => Just(Operation::add(Family::Ip, Object::Table)),
        1 => Just(Operation::delete(Family::Ip, Object::Table)),
        4 => (chain.clone(), verb).prop_map(|(chain, add)| {
            let object = Object::Chain(chain.name, chain.base.filter(|_| add));
            if add { Operation::add(Family::Ip, object) } else { Operation::delete(Family::Ip, object) }
        }),
        1 => chain.prop_map(|chain| Operation::flush(Family::Ip, chain.name)),
        4 => rule,
        4 => (set, verb).prop_map(|(set, add)| {
            let object = Object::Set(set);
            if add { Operation::add(Family::Ip, object) } else { Operation::delete(Family::Ip, object) }
        }),
        12 => (element(), verb).prop_map(|(element, add)| {
            if add { Operation::add_element(element) } else { Operation::delete_element(element) }
        }),
    ]
}

fn element() -> impl Strategy<Value = Element> {
    let frontend = (0u8..2).prop_map(|n| Frontend { addr: [10, 96, 0, n].into(), protocol: Protocol::Tcp, port: 80 });
    let endpoint = (0u8..2).prop_map(|n| Endpoint { addr: [10, 1, 0, n].into(), port: 8080 });
    let networks = prop_oneof![Just("10.96.0.0/16"), Just("10.96.1.0/24"), Just("10.97.0.0/16"), Just("10.98.0.1/32")];
    let gate = prop_oneof![Just(SetName::Internal), Just(SetName::RejectServices)];
    let comment = prop_oneof![Just(None), Just(Some("default/web:http".into()))];
    prop_oneof![
        (gate, frontend.clone(), comment)
            .prop_map(|(set, f, comment)| Element { comment, ..Element::member(set, Key::Frontend(f)) }),
        (frontend, 0u32..2, endpoint).prop_map(|(f, slot, to)| Element::slot(List::Any, f, slot, to)),
        networks.prop_map(|n| Element::member(SetName::ServiceCidrs, Key::Network(n.parse().expect("a network")))),
    ]
}

#[test]
fn both_kernels_refuse_the_same_operations_for_the_same_reasons() {
    in_namespace(|mut nft| async move {
        let mut memory = MemoryKernel::new();
        let mut seen: BTreeSet<Option<Refusal>> = BTreeSet::new();
        let everything: Vec<Operation> =
            diff(&Acknowledged::nothing(), &pointsman::state::Desired::default(), &scope()).operations;
        let batches = sample(prop::collection::vec(operation(), 1..4), 400);
        for (n, batch) in batches.into_iter().enumerate() {
            // From time to time a full program, so that there is something to refer to.
            if n % 25 == 0 {
                for batch in [
                    vec![Operation::add(Family::Ip, Object::Table), Operation::delete(Family::Ip, Object::Table)],
                    everything.clone(),
                ] {
                    assert_eq!(memory.apply(&batch).is_ok(), nft.commit(&batch).await.is_ok(), "{batch:?}");
                }
            }
            let expected = memory.apply(&batch).err();
            let found = nft.commit(&batch).await.err();
            let text = || batch.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert_eq!(found.is_some(), expected.is_some(), "{}\n{found:?}", text());
            // Of several mistakes in a batch nft may report any.
            if batch.len() == 1 {
                let refusal = found.as_ref().map(pointsman::apply::Error::refusal);
                assert_eq!(refusal, expected.map(Some), "{}\n{found:?}", text());
                seen.insert(expected);
            }
            let read = nft.read(&[Family::Ip]).await.expect("read");
            assert_eq!(sorted(&read), sorted(&memory.contents(&[Family::Ip])), "after\n{}", text());
        }
        let all = [None, Some(Refusal::Missing), Some(Refusal::Exists), Some(Refusal::Busy)];
        assert_eq!(seen, BTreeSet::from(all), "the pool of operations shows every refusal");
    });
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
