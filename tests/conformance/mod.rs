//! What every backend must do on the real kernel, compared step by step with the kernel in memory.
//!
//! Every test has a network namespace of its own.

#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "test helpers")]

#[path = "../../proptests/common/mod.rs"]
pub mod histories;
#[path = "../common/nft.rs"]
mod nft_program;
#[path = "../common/skip.rs"]
mod skip;

use std::collections::BTreeSet;

use histories::{Move, Proxy, history, scope};
pub use nft_program::nft;
use nix::sched::{CloneFlags, unshare};
use pointsman::apply::{Backend, Error, MemoryKernel, Refusal};
use pointsman::dataplane::{
    AffinityStep, Chain, Element, Endpoint, EndpointList, Family, Frontend, Key, Object, Operation, Options, Program,
    ProgramFeatures, Protocol, SetName, SizeClass, Tables,
};
use pointsman::diff::{Acknowledged, diff};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
pub use skip::lacks;

/// Runs work in a thread with a network namespace of its own and a runtime; `None` without the right to make one.
pub fn alone<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> Option<T> {
    std::thread::scope(|threads| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET).ok()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            Some(runtime.block_on(work()))
        };
        // A panic of the work is the panic of the thread.
        threads.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a test with a backend in a network namespace of its own. Without root, or what the backend needs, it is skipped, unless
/// `POINTSMAN_REQUIRE_KERNEL=1` makes that a failure.
pub fn in_namespace<B, M, F>(make: impl FnOnce() -> M + Send, test: impl FnOnce(B) -> F + Send)
where
    M: Future<Output = Result<B, Error>>,
    F: Future<Output = ()>,
{
    let work = || async {
        let backend = make().await.map_err(|error| error.to_string())?;
        test(backend).await;
        Ok::<(), String>(())
    };
    match alone(work).unwrap_or_else(|| Err("no network namespace".to_owned())) {
        Ok(()) => {}
        Err(why) => lacks(why),
    }
}

/// Values from a strategy, the same in every run.
pub fn sample<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("a value").current()).collect()
}

/// What a kernel holds, in an order that can be compared.
pub fn sorted(tables: &Tables) -> Tables {
    let mut tables = tables.clone();
    for family in Family::ALL {
        if let Some(mut table) = tables.get(family).cloned() {
            table.elements.sort();
            tables.set(family, Some(table));
        }
    }
    tables
}

/// The kernel takes every batch of random histories, and then holds what the model holds.
pub async fn takes_random_histories(mut backend: impl Backend) {
    let mut batches = 0;
    for history in sample(history(), 25) {
        let mut proxy = Proxy::new();
        for step in history.into_iter().chain([Move::Sync]) {
            if let Move::LoseTable(family) = &step {
                let gone = Operation::delete(*family, Object::Table);
                let had = proxy.acknowledged().has_table(*family);
                assert_eq!(backend.commit(&[gone]).await.is_ok(), had);
            }
            if let Some(plan) = proxy.make(step) {
                if let Err(error) = backend.commit(&plan.operations).await {
                    panic!("refused: {error}\n{}", pointsman::render::nft(&plan));
                }
                batches += 1;
                let read = backend.read(&Family::ALL).await.expect("read");
                assert_eq!(sorted(&read), sorted(&proxy.kernel.contents(&Family::ALL)));
                assert!(diff(&Acknowledged::from(read), proxy.desired(), &scope()).is_empty());
            }
        }
        let tables: Vec<Operation> = Family::ALL.map(|family| Operation::delete(family, Object::Table)).into();
        backend.commit(&tables).await.expect("clean up");
    }
    println!("{batches} batches accepted");
}

/// Sources: one is within another, so not both can be in a set.
const SOURCES: &[&str] = &["10.96.0.0/16", "10.97.0.0/16", "10.97.8.0/21", "10.98.0.1/32"];

/// A program with every kind of part.
fn program() -> Program {
    let classes: Vec<SizeClass> = [1, 2].into_iter().filter_map(SizeClass::for_endpoints).collect();
    let parts = ProgramFeatures {
        classes: classes.iter().map(|class| (EndpointList::Any, *class)).collect(),
        affinity: classes.iter().map(|class| (EndpointList::Any, *class)).collect(),
        internal: classes,
        source_checks: true,
    };
    let mut program = Program::new(Family::Ip, &scope().options, &parts);
    // A frontend with session affinity and source ranges has these of its own.
    program.sets.extend([SetName::Clients(with_affinity()), SetName::Sources(with_affinity())]);
    program.chains.push(Chain::check_sources(with_affinity()));
    program.chains.extend(AffinityStep::ALL.map(|step| Chain::with_affinity(step, with_affinity(), 10)));
    program
}

/// A frontend with session affinity and source ranges.
fn with_affinity() -> Frontend {
    Frontend { addr: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port: 80 }
}

/// The object that creates a set.
fn creates(set: SetName) -> Object {
    match set {
        SetName::Clients(frontend) => Object::Clients { frontend, capacity: Options::KERNEL_AFFINITY_CAPACITY },
        others => Object::Set(others),
    }
}

/// What it takes to create it.
fn creation(program: &Program) -> Vec<Operation> {
    let add = |object| Operation::add(Family::Ip, object);
    let sets = program.sets.iter().map(|set| add(creates(*set)));
    let chains = program.chains.iter().map(|chain| add(Object::Chain(chain.name.clone(), chain.base)));
    let rules = program.chains.iter().flat_map(|chain| {
        let rules = chain.stamped_rules().into_iter();
        rules.map(|rule| add(Object::Rule(chain.name.clone(), Box::new(rule))))
    });
    std::iter::once(add(Object::Table)).chain(sets).chain(chains).chain(rules).collect()
}

/// An operation from a small pool: sensible and absurd ones, so that many batches are refused.
fn operation() -> impl Strategy<Value = Operation> {
    let program = program();
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
            let object = if add { creates(set) } else { Object::Set(set) };
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
    let sources = proptest::sample::select(SOURCES);
    let gate = prop_oneof![Just(SetName::External), Just(SetName::RejectServices)];
    let comment = prop_oneof![Just(None), Just(Some("default/web:http".into()))];
    let leading = [SetName::AffinityChains(AffinityStep::Recall, false), SetName::SourceChecks];
    let leads_to_own_chain =
        proptest::sample::select(leading.to_vec()).prop_map(|set| Element::member(set, Key::Frontend(with_affinity())));
    prop_oneof![
        leads_to_own_chain,
        (gate, frontend.clone(), comment)
            .prop_map(|(set, f, comment)| Element { comment, ..Element::member(set, Key::Frontend(f)) }),
        (frontend.clone(), 0u32..2, endpoint).prop_map(|(f, slot, to)| Element::slot(EndpointList::Any, f, slot, to)),
        sources.prop_map(|n| Element::source(with_affinity(), n.parse().expect("a network"))),
        networks.prop_map(|n| Element::member(SetName::ServiceCidrs, Key::Network(n.parse().expect("a network")))),
    ]
}

/// The kernel refuses the same operations as the model, for the same reasons.
pub async fn refuses_what_the_model_refuses(mut backend: impl Backend) {
    let mut memory = MemoryKernel::new();
    let mut seen: BTreeSet<Option<Refusal>> = BTreeSet::new();
    let everything = creation(&program());
    let random = sample(prop::collection::vec(operation(), 1..4), 400);
    // A slot that has another endpoint: rare by chance.
    let empty_table = vec![Operation::add(Family::Ip, Object::Table), Operation::delete(Family::Ip, Object::Table)];
    let taken = [0, 1].map(|n| {
        let frontend = Frontend { addr: [10, 96, 0, 0].into(), protocol: Protocol::Tcp, port: 80 };
        let to = Endpoint { addr: [10, 1, 0, n].into(), port: 8080 };
        vec![Operation::add_element(Element::slot(EndpointList::Any, frontend, 0, to))]
    });
    let batches = random.into_iter().chain([empty_table, everything.clone()]).chain(taken);
    for (n, batch) in batches.enumerate() {
        // From time to time a full program, so that there is something to refer to.
        if n % 25 == 0 {
            for batch in [
                vec![Operation::add(Family::Ip, Object::Table), Operation::delete(Family::Ip, Object::Table)],
                everything.clone(),
            ] {
                assert_eq!(memory.apply(&batch).is_ok(), backend.commit(&batch).await.is_ok(), "{batch:?}");
            }
        }
        let expected = memory.apply(&batch).err();
        let found = backend.commit(&batch).await.err();
        let text = || batch.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(found.is_some(), expected.is_some(), "{}\n{found:?}", text());
        // Of several mistakes in a batch a backend may report any.
        if batch.len() == 1 {
            let refusal = found.as_ref().map(pointsman::apply::Error::refusal);
            assert_eq!(refusal, expected.map(Some), "{}\n{found:?}", text());
            seen.insert(expected);
        }
        let read = backend.read(&[Family::Ip]).await.expect("read");
        // A rule that is added behind a stamped one: netlink decodes the rules, and takes the chain for an edited one.
        let [read, expected] = [read, memory.contents(&[Family::Ip])].map(|tables| without_fingerprints(&tables));
        assert_eq!(sorted(&read), sorted(&expected), "after\n{}", text());
    }
    let all = [None, Some(Refusal::Missing), Some(Refusal::Exists), Some(Refusal::Busy)];
    assert_eq!(seen, BTreeSet::from(all), "the pool of operations shows every refusal");
}

/// Ranges that overlap are refused by the backend as by the kernel in memory; the same range again is not.
pub async fn refuses_overlapping_ranges(mut backend: impl Backend) {
    let mut memory = MemoryKernel::new();
    let range = |text: &str| {
        let key = Key::Network(text.parse().expect("a network"));
        Operation::add_element(Element::member(SetName::ServiceCidrs, key))
    };
    let set = Operation::add(Family::Ip, Object::Set(SetName::ServiceCidrs));
    let first = [Operation::add(Family::Ip, Object::Table), set, range("10.96.0.0/16")];
    memory.apply(&first).expect("a first range");
    backend.commit(&first).await.expect("a first range");
    for overlapping in ["10.0.0.0/8", "10.96.1.0/24", "10.96.0.0/17", "10.96.0.1/32"].map(range) {
        let refused = memory.apply(std::slice::from_ref(&overlapping)).err();
        let found = backend.commit(&[overlapping]).await.err();
        assert_eq!(refused, Some(Refusal::Exists));
        assert_eq!(found.as_ref().and_then(pointsman::apply::Error::refusal), refused, "{found:?}");
    }
    for same_or_apart in ["10.96.0.0/16", "10.97.0.0/16"].map(range) {
        assert_eq!(memory.apply(std::slice::from_ref(&same_or_apart)), Ok(()));
        backend.commit(&[same_or_apart]).await.expect("no overlap");
    }
}

fn without_fingerprints(tables: &Tables) -> Tables {
    let mut without = Tables::default();
    for family in Family::ALL {
        let mut table = tables.get(family).cloned();
        table.iter_mut().flat_map(|table| table.chains.values_mut()).for_each(|chain| chain.fingerprint = None);
        without.set(family, table);
    }
    without
}
