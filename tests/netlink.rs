//! The netlink backend against the real kernel, and against the nft backend. Needs root; comparing needs an nft of version 1.1.3 or
//! newer.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod conformance;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conformance::histories::{Move, Proxy, history, scope};
use conformance::{
    alone, in_namespace, nft, refuses_overlapping_ranges, refuses_what_the_model_refuses, sample, sorted,
    takes_random_histories,
};
use pointsman::apply::{Backend, Error, Netlink, Nft, Receipt, Refusal};
use pointsman::dataplane::{
    AffinityStep, Chain, Counted, Element, Endpoint, EndpointId, EndpointList, Family, Field, Frontend, Key, LocalPods,
    Object, Operation, Options, Program, ProgramFeatures, Protocol, SetName, SizeClass, TableContents, Tables, Value,
};
use pointsman::diff::{Acknowledged, diff};
use pointsman::state::Desired;

/// A backend that can read, which shows that this process has the permission.
async fn backend() -> Result<Netlink, Error> {
    let mut netlink = Netlink::open()?;
    netlink.read(&[]).await?;
    Ok(netlink)
}

#[test]
fn the_self_test_passes_and_leaves_nothing_behind() {
    in_namespace(backend, |mut backend| async move {
        backend.self_test(&Family::ALL).await.expect("self-test");
        assert_eq!(backend.read(&Family::ALL).await.expect("read"), Tables::default());
    });
}

/// The test of the kernel takes some milliseconds, and its scratch table goes with the ruleset.
#[test]
fn the_self_test_passes_while_another_program_flushes_the_ruleset() {
    in_namespace(backend, |mut backend| async move {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let flushed = Command::new(nft()).args(["flush", "ruleset"]).status().expect("nft starts");
                    assert!(flushed.success());
                    std::thread::sleep(Duration::from_millis(80));
                }
            });
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let test = threads.spawn(move || {
                let tests = async {
                    for _ in 0..30 {
                        backend.self_test(&Family::ALL).await?;
                    }
                    Ok::<(), Error>(())
                };
                runtime().block_on(tests)
            });
            let tested = test.join().expect("no panic");
            is_over.store(true, Ordering::Relaxed);
            tested.expect("each self-test passes");
        });
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

/// Both backends on one kernel. One of them writes the batches, or each in turn; both read.
struct BothBackends {
    netlink: Netlink,
    nft: Nft,
    /// Writes the next batch.
    next: BatchWriter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchWriter {
    Netlink,
    Nft,
    InTurn { netlink: bool },
}

impl BothBackends {
    async fn open(next: BatchWriter) -> Result<Self, Error> {
        Ok(Self { netlink: backend().await?, nft: Nft::find(&nft()).await?, next })
    }

    /// What the kernel holds, in nft's words.
    fn listing(&self) -> String {
        let listing = std::process::Command::new(nft()).args(["list", "ruleset"]).output().expect("nft");
        assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
        String::from_utf8(listing.stdout).expect("text")
    }
}

impl Backend for BothBackends {
    /// Both read the same.
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        let (by_netlink, by_nft) = (self.netlink.read(families), self.nft.read(families));
        async move {
            let by_netlink = by_netlink.await?;
            assert_eq!(sorted(&by_netlink), sorted(&by_nft.await?));
            Ok(by_netlink)
        }
    }

    /// Both read the same.
    async fn clients(&mut self, frontend: Frontend) -> Result<Vec<Element>, Error> {
        let mut by_netlink = self.netlink.clients(frontend).await?;
        let mut by_nft = self.nft.clients(frontend).await?;
        by_netlink.sort();
        by_nft.sort();
        assert_eq!(by_netlink, by_nft);
        Ok(by_netlink)
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        let by_netlink = match &mut self.next {
            BatchWriter::InTurn { netlink } => std::mem::replace(netlink, !*netlink),
            writer => *writer == BatchWriter::Netlink,
        };
        if by_netlink { self.netlink.commit(operations).await } else { self.nft.commit(operations).await }
    }
}

/// Programs random histories and lists the tables after each batch.
async fn listings(writer: BatchWriter) -> Vec<String> {
    let mut both = BothBackends::open(writer).await.expect("both backends");
    let mut listings = Vec::new();
    for history in sample(history(), 10) {
        let mut proxy = Proxy::new();
        for step in history.into_iter().chain([Move::Sync]) {
            if let Move::LoseTable(family) = &step
                && proxy.acknowledged().has_table(*family)
            {
                both.commit(&[Operation::delete(*family, Object::Table)]).await.expect("the table is there");
            }
            if let Some(plan) = proxy.make(step) {
                both.commit(&plan.operations).await.expect("a good batch");
                listings.push(both.listing());
            }
        }
        let tables: Vec<Operation> = Family::ALL.map(|family| Operation::delete(family, Object::Table)).into();
        both.commit(&tables).await.expect("clean up");
    }
    listings
}

#[test]
fn nft_lists_batches_of_netlink_as_it_lists_its_own() {
    in_namespace(
        || BothBackends::open(BatchWriter::InTurn { netlink: true }),
        |_| async {
            let by_netlink = alone(|| listings(BatchWriter::Netlink)).expect("a namespace");
            let by_nft = alone(|| listings(BatchWriter::Nft)).expect("a namespace");
            assert_eq!(by_netlink.len(), by_nft.len());
            for (by_netlink, by_nft) in by_netlink.iter().zip(&by_nft) {
                assert_eq!(by_netlink, by_nft);
            }
            println!("{} listings are the same", by_nft.len());
        },
    );
}

#[test]
fn each_backend_takes_over_from_the_other() {
    // The histories are read back after each batch, by both, and nothing is left to change.
    in_namespace(|| BothBackends::open(BatchWriter::InTurn { netlink: true }), takes_random_histories);
}

/// 20,000 frontends, which nft fills in as packets do. Prints what a reading takes.
#[test]
fn counts_of_both_families_and_of_node_ports_are_read_and_removed() {
    const MANY: u32 = 20_000;
    in_namespace(
        || BothBackends::open(BatchWriter::Netlink),
        |mut both| async move {
            assert_eq!(both.netlink.read_counts(Family::Ip).expect("no table"), [].into());
            let add = |family| {
                let sets = Counted::sets().map(move |set| Operation::add(family, Object::Set(set)));
                std::iter::once(Operation::add(family, Object::Table)).chain(sets)
            };
            both.commit(&Family::ALL.into_iter().flat_map(add).collect::<Vec<_>>()).await.expect("a good batch");
            let web = |n: u32| Frontend {
                addr: Ipv4Addr::from_bits(0x0a60_0000 + n).into(),
                protocol: Protocol::Tcp,
                port: 80,
            };
            let mut input = String::new();
            for n in 0..MANY {
                let (frontend, count) = (Key::Frontend(web(n)), n + 1);
                input += &format!(
                    "add element ip pointsman new-connections {{ {frontend} counter packets {count} bytes 60 }}\n"
                );
            }
            let node_port = Frontend::node_port(Family::Ip6, Protocol::Udp, 30_053);
            input +=
                "add element ip6 pointsman nodeport-refused-connections { udp . 30053 counter packets 7 bytes 60 }\n";
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            std::io::Write::write_all(&mut file, input.as_bytes()).expect("written");
            let loaded = std::process::Command::new(nft()).arg("-f").arg(file.path()).output().expect("nft");
            assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));

            let refused = [((node_port, Counted::Refused), 7)];
            assert_eq!(both.netlink.read_counts(Family::Ip6).expect("counts"), refused.into());
            let began = tokio::time::Instant::now();
            let read = both.netlink.read_counts(Family::Ip).expect("counts");
            println!("{MANY} frontends are read in {:?}", began.elapsed());
            let expected = (0..MANY).map(|n| ((web(n), Counted::New), u64::from(n) + 1));
            assert_eq!(read, expected.collect());

            let gone: Vec<_> = (0..MANY - 1).map(|n| (web(n), Counted::New)).collect();
            both.netlink.remove_counts(&gone).expect("they are there");
            let left = [((web(MANY - 1), Counted::New), u64::from(MANY))];
            assert_eq!(both.netlink.read_counts(Family::Ip).expect("counts"), left.into());
            assert!(both.netlink.remove_counts(&gone).is_err(), "they are gone");
        },
    );
}

/// The programs of different options, with elements of every set.
fn programs() -> Vec<Vec<Operation>> {
    let networks =
        |texts: &[&str]| LocalPods::Networks(texts.iter().map(|text| text.parse().expect("a network")).collect());
    let options = |local_pods, masquerade_all, masquerade_bit, every: &[Family]| Options {
        local_pods,
        masquerade_all,
        masquerade_bit,
        every_node_address: every.iter().copied().collect(),
        affinity_capacity: 65_536,
        counters: false,
    };
    let all = [
        Options { counters: true, ..options(LocalPods::Unknown, true, 14, &[]) },
        options(LocalPods::Unknown, false, 0, &[]),
        options(LocalPods::Unknown, true, 31, &Family::ALL),
        options(LocalPods::Interface("eth0".to_owned()), false, 14, &[Family::Ip]),
        options(LocalPods::Interface("a-name-of-15-by".to_owned()), false, 14, &[Family::Ip6]),
        options(LocalPods::Interface("cali*".to_owned()), true, 14, &Family::ALL),
        options(networks(&["10.16.0.0/12", "fd00:1::/61"]), false, 15, &[]),
        options(networks(&["10.1.2.3/32", "fd00:1::1/128"]), false, 15, &[]),
        options(networks(&["0.0.0.0/0", "::/0"]), false, 15, &[]),
        options(networks(&["128.0.0.0/1", "fc00::/7"]), false, 15, &[]),
    ];
    let lists = EndpointList::ALL.into_iter().flat_map(|list| [1, 2, 5].map(move |n| (list, n)));
    let affinity = EndpointList::ALL.into_iter().flat_map(|list| [3, 9].map(move |n| (list, n)));
    let parts = ProgramFeatures {
        classes: lists.clone().filter_map(|(list, n)| Some((list, SizeClass::for_endpoints(n)?))).collect(),
        affinity: affinity.clone().filter_map(|(list, n)| Some((list, SizeClass::for_endpoints(n)?))).collect(),
        internal: [5, 1, 9].into_iter().filter_map(SizeClass::for_endpoints).collect(),
        source_checks: true,
    };
    let program = |options: Options| {
        let mut operations = Vec::new();
        for family in Family::ALL {
            operations.push(Operation::add(family, Object::Table));
            let program = Program::new(family, &options, &parts);
            operations.extend(program.sets.iter().map(|set| Operation::add(family, Object::Set(*set))));
            let clients = clients(family).into_iter();
            let capacities = [9, Options::KERNEL_AFFINITY_CAPACITY].into_iter().cycle();
            operations.extend(
                clients
                    .zip(capacities)
                    .map(|(frontend, capacity)| Operation::add(family, Object::Clients { frontend, capacity })),
            );
            let sources = frontends(family, false).map(SetName::Sources);
            operations.extend(sources.map(|set| Operation::add(family, Object::Set(set))));
            for chain in program.chains.iter().chain(&own_chains(family)) {
                operations.push(Operation::add(family, Object::Chain(chain.name.clone(), chain.base)));
                let rules = chain.stamped_rules().into_iter();
                let add = |rule| Operation::add(family, Object::Rule(chain.name.clone(), Box::new(rule)));
                operations.extend(rules.map(add));
            }
            operations.extend(elements(family, &program).into_iter().map(Operation::add_element));
        }
        operations
    };
    all.map(program).into()
}

/// An address, and another one.
fn addresses(family: Family) -> [std::net::IpAddr; 2] {
    let texts = match family {
        Family::Ip => ["10.96.0.1", "10.1.0.9"],
        Family::Ip6 => ["fd00:96::1", "fd00::9"],
    };
    texts.map(|text| text.parse().expect("an address"))
}

/// Frontends of every protocol: NodePorts, or at an address.
fn frontends(family: Family, node_port: bool) -> [Frontend; 3] {
    let [addr, _] = addresses(family);
    Protocol::ALL.map(|protocol| match node_port {
        true => Frontend::node_port(family, protocol, 30_080),
        false => Frontend { addr, protocol, port: 443 },
    })
}

/// Frontends with session affinity.
fn clients(family: Family) -> Vec<Frontend> {
    [false, true].into_iter().flat_map(|node_port| frontends(family, node_port)).collect()
}

/// The chains of these frontends, and of those with source ranges.
fn own_chains(family: Family) -> Vec<Chain> {
    let steps = |frontend| AffinityStep::ALL.map(|step| Chain::with_affinity(step, frontend, 10_800));
    let checks = frontends(family, false).map(Chain::check_sources);
    clients(family).into_iter().flat_map(steps).chain(checks).collect()
}

/// Elements of every set of a program.
fn elements(family: Family, program: &Program) -> Vec<Element> {
    let networks = match family {
        Family::Ip => ["10.96.0.0/16", "10.97.0.0/16", "192.0.2.7/32", "240.0.0.0/4"],
        Family::Ip6 => ["fd00:96::/112", "fd00:96::1:0/112", "2001:db8::7/128", "ff00::/8"],
    };
    let [addr, other] = addresses(family);
    let endpoint = Endpoint { addr: other, port: 8080 };
    let networks = networks.map(|text| text.parse::<ipnet::IpNet>().expect("a network"));
    let frontends = |node_port: bool| frontends(family, node_port);
    let ids = [0x4000_0001, 0x4f3a_91c2, 0x7fff_ffff].map(EndpointId);
    let own = clients(family).into_iter().map(SetName::Clients).chain(frontends(false).map(SetName::Sources));
    let mut elements = Vec::new();
    for set in program.sets.iter().copied().chain(own) {
        let definition = set.definition();
        let node_port = definition.key.first() == Some(&Field::L4Proto);
        let keys: Vec<Key> = match set {
            SetName::EndpointsById(_) => {
                frontends(node_port).into_iter().flat_map(|f| ids.map(|id| Key::ById(f, id))).collect()
            }
            SetName::Endpoints(_) | SetName::EndpointIds(_) => {
                frontends(node_port).into_iter().flat_map(|f| (0..3).map(move |slot| Key::Slot(f, slot))).collect()
            }
            SetName::ClusterIps | SetName::NodeportIps => vec![Key::Addr(addr), Key::Addr(other)],
            SetName::ServiceCidrs | SetName::Sources(_) => networks.map(Key::Network).into(),
            // Packets fill these, and they are not read back.
            SetName::Counts(..) => Vec::new(),
            SetName::Clients(_) => [addr, other].map(Key::Client).into(),
            SetName::Hairpin => Protocol::ALL.map(|protocol| Key::Hairpin(endpoint, protocol)).into(),
            _ => frontends(node_port).map(Key::Frontend).into(),
        };
        for (n, key) in keys.into_iter().enumerate() {
            let comment = (n % 2 == 0).then(|| "default/web:http".into());
            let value = match definition.data {
                [] => None,
                [Field::Id] => Some(Value::Id(ids[n % 3])),
                _ => Some(Value::Endpoint(endpoint)),
            };
            elements.push(Element { set, key, value, comment });
        }
    }
    elements
}

/// Writes each of these programs, lists it and reads it back.
async fn listings_of_programs(writer: BatchWriter) -> Vec<String> {
    let mut both = BothBackends::open(writer).await.expect("both backends");
    let mut listings = Vec::new();
    for operations in programs() {
        both.commit(&operations).await.expect("a good batch");
        listings.push(both.listing());
        let tables = both.read(&Family::ALL).await.expect("read");
        let elements = operations.iter().filter(|operation| matches!(operation.object, Object::Element(_))).count();
        let mut held = 0;
        for family in Family::ALL {
            held += tables.get(family).map_or(0, |table| table.elements.len());
            for frontend in clients(family) {
                held += both.clients(frontend).await.expect("clients").len();
            }
        }
        assert_eq!(held, elements, "everything is read back");
        // Deletes each element, and then the tables.
        let added = operations.into_iter().filter_map(|operation| match operation.object {
            Object::Element(element) => Some(Operation::delete_element(element)),
            _ => None,
        });
        both.commit(&added.collect::<Vec<_>>()).await.expect("a good batch");
        listings.push(both.listing());
        let tables: Vec<Operation> = Family::ALL.map(|family| Operation::delete(family, Object::Table)).into();
        both.commit(&tables).await.expect("clean up");
    }
    listings
}

#[test]
fn both_backends_write_the_same_program_and_elements_for_all_options() {
    in_namespace(
        || BothBackends::open(BatchWriter::Netlink),
        |_| async {
            let by_netlink = alone(|| listings_of_programs(BatchWriter::Netlink)).expect("a namespace");
            let by_nft = alone(|| listings_of_programs(BatchWriter::Nft)).expect("a namespace");
            let in_turn = alone(|| listings_of_programs(BatchWriter::InTurn { netlink: true })).expect("a namespace");
            for ((by_netlink, by_nft), in_turn) in by_netlink.iter().zip(&by_nft).zip(&in_turn) {
                assert_eq!(by_netlink, by_nft);
                assert_eq!(in_turn, by_nft);
            }
        },
    );
}

/// `count` frontends with `endpoints` endpoints each.
fn slots(count: u32, endpoints: u32) -> Vec<Operation> {
    let frontends = (0..count).map(|n| {
        let addr = Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 0).to_bits() + n).into();
        Frontend { addr, protocol: Protocol::Tcp, port: 80 }
    });
    let slots = frontends.flat_map(|frontend| (0..endpoints).map(move |slot| (frontend, slot)));
    slots.map(|(frontend, slot)| Operation::add_element(slot_of(frontend, slot))).collect()
}

fn slot_of(frontend: Frontend, slot: u32) -> Element {
    Element::slot(EndpointList::Any, frontend, slot, Endpoint { addr: [10, 1, 0, 1].into(), port: 8080 })
}

/// The program of an empty cluster.
fn program() -> Vec<Operation> {
    diff(&Acknowledged::empty(), &Desired::default(), &scope()).operations
}

fn held(tables: &Tables) -> &TableContents {
    tables.get(Family::Ip).expect("the table")
}

#[test]
fn three_hundred_thousand_elements_are_one_batch() {
    in_namespace(backend, |mut backend| async move {
        backend.commit(&program()).await.expect("the program");
        let batch = slots(60_000, 5);
        backend.commit(&batch).await.expect("300,000 elements");
        let tables = backend.read(&[Family::Ip]).await.expect("read");
        assert_eq!(held(&tables).elements.iter().collect::<BTreeSet<_>>().len(), batch.len());
        assert_eq!(held(&tables).elements.len(), batch.len());
        let elements = held(&tables).elements.iter().cloned();
        let deletions: Vec<Operation> = elements.map(Operation::delete_element).collect();
        backend.commit(&deletions).await.expect("300,000 deletions");
        let tables = backend.read(&[Family::Ip]).await.expect("read");
        assert_eq!(held(&tables).elements.len(), 0);
    });
}

/// Frontends with their size class and endpoints: more than the backend reads by a dump.
fn large_cluster() -> Vec<Operation> {
    let (endpoints, class) = (9, SizeClass::for_endpoints(9).expect("a class"));
    let set = SetName::Internal(class);
    let slots = slots(5_000, endpoints);
    let frontends: BTreeSet<Frontend> = slots
        .iter()
        .filter_map(|operation| match &operation.object {
            Object::Element(Element { key: Key::Slot(frontend, _), .. }) => Some(*frontend),
            _ => None,
        })
        .collect();
    let member = |set| move |frontend| Operation::add_element(Element::member(set, Key::Frontend(frontend)));
    let mut operations = vec![Operation::add(Family::Ip, Object::Set(set))];
    operations.extend(frontends.iter().copied().map(member(set)));
    operations.extend(slots);
    operations
}

#[test]
fn a_large_table_is_read_completely_whatever_another_program_left_in_it() {
    in_namespace(backend, |mut backend| async move {
        backend.commit(&program()).await.expect("the program");
        let mut expected: BTreeSet<Element> = BTreeSet::new();
        let mut held_after = async |operations: Vec<Operation>| {
            backend.commit(&operations).await.expect("a good batch");
            for operation in operations {
                match (operation.verb, operation.object) {
                    (pointsman::dataplane::Verb::Add, Object::Element(element)) => drop(expected.insert(element)),
                    (_, Object::Element(element)) => drop(expected.remove(&element)),
                    _ => {}
                }
            }
            let tables = backend.read(&Family::ALL).await.expect("read");
            assert_eq!(held(&tables).elements.len(), expected.len());
            let read: BTreeSet<Element> = held(&tables).elements.iter().cloned().collect();
            assert!(read == expected, "{:?}", read.symmetric_difference(&expected).take(9).collect::<Vec<_>>());
        };
        let all = large_cluster();
        held_after(all.clone()).await;

        let frontend = |n: u8| Frontend { addr: [10, 96, 0, n].into(), protocol: Protocol::Tcp, port: 80 };
        let add = |n, slot| Operation::add_element(slot_of(frontend(n), slot));
        let delete = |n, slot| Operation::delete_element(slot_of(frontend(n), slot));
        // Slots of a frontend in its class come and go, at the end and in the middle.
        held_after(vec![delete(1, 8), add(2, 9), add(2, 10), add(2, 11)]).await;
        held_after(vec![delete(3, 1)]).await;
        held_after(vec![add(3, 1), add(4, 17)]).await;
        // A frontend that is in no class.
        let stranger = Frontend { port: 81, ..frontend(5) };
        held_after(vec![delete(4, 17), Operation::add_element(slot_of(stranger, 0))]).await;
        // In two, of which one is larger by as much as another frontend lacks.
        let two = SetName::Slots(EndpointList::Any, SizeClass::for_endpoints(17).expect("a class"));
        held_after(vec![
            Operation::delete_element(slot_of(stranger, 0)),
            Operation::add(Family::Ip, Object::Set(two)),
            Operation::add_element(Element::member(two, Key::Frontend(frontend(6)))),
        ])
        .await;
        // A member of a class without any endpoint.
        held_after(vec![
            Operation::delete_element(Element::member(two, Key::Frontend(frontend(6)))),
            Operation::add_element(Element::member(two, Key::Frontend(stranger))),
        ])
        .await;
    });
}

#[test]
fn a_refusal_names_the_operation_and_changes_nothing() {
    in_namespace(backend, |mut backend| async move {
        backend.commit(&program()).await.expect("the program");
        let batch = slots(3_000, 1);
        let Object::Element(taken) = batch[2_345].object.clone() else { panic!("an element") };
        let other =
            Element { value: Some(Value::Endpoint(Endpoint { addr: [10, 1, 0, 9].into(), port: 1 })), ..taken.clone() };
        backend.commit(&[Operation::add_element(other.clone())]).await.expect("one element");
        let before = backend.read(&Family::ALL).await.expect("read");

        let refused = |error: Error, refusal: Refusal, operation: &Operation| {
            assert_eq!(error.refusal(), Some(refusal), "{error}");
            assert!(error.to_string().contains(&operation.to_string()), "{error} does not name {operation}");
        };
        let error = backend.commit(&batch).await.expect_err("a slot is taken");
        refused(error, Refusal::Exists, &batch[2_345]);

        let deletions: Vec<Operation> = batch[2_340..]
            .iter()
            .cloned()
            .map(|operation| match operation.object {
                Object::Element(element) => Operation::delete_element(element),
                _ => operation,
            })
            .collect();
        let error = backend.commit(&deletions).await.expect_err("only one of them is there");
        refused(error, Refusal::Missing, &deletions[0]);

        let range = |text: &str| Element::member(SetName::ServiceCidrs, Key::Network(text.parse().expect("a network")));
        let ranges = ["10.0.0.0/24", "10.0.1.0/24", "240.0.0.0/4", "10.0.0.128/25", "10.0.2.0/24"]
            .map(|text| Operation::add_element(range(text)));
        let error = backend.commit(&ranges).await.expect_err("ranges overlap");
        refused(error, Refusal::Exists, &ranges[3]);

        let chain = Operation::delete(Family::Ip, Object::Chain("services".into(), None));
        let error = backend.commit(&[batch[0].clone(), chain.clone(), batch[1].clone()]).await.expect_err("in use");
        refused(error, Refusal::Busy, &chain);

        let flush = Operation { verb: pointsman::dataplane::Verb::Flush, ..batch[0].clone() };
        refused(backend.commit(std::slice::from_ref(&flush)).await.expect_err("senseless"), Refusal::Other, &flush);

        assert_eq!(sorted(&backend.read(&Family::ALL).await.expect("read")), sorted(&before));
        backend.commit(&[Operation::delete_element(other)]).await.expect("the next batch is not confused");
        backend.commit(&batch).await.expect("the next batch is not confused");
    });
}

#[test]
fn a_base_chain_whose_policy_drops_is_not_ours_and_is_made_anew() {
    in_namespace(
        || BothBackends::open(BatchWriter::Netlink),
        |mut both| async move {
            both.commit(&program()).await.expect("the program");
            let tables = both.read(&Family::ALL).await.expect("read");
            let bases: Vec<String> = held(&tables)
                .chains
                .iter()
                .filter(|(_, chain)| chain.base.is_some())
                .map(|(name, _)| name.clone())
                .collect();
            assert!(bases.len() > 2, "{bases:?}");
            for base in bases {
                let edit = format!("chain ip pointsman {base} {{ policy drop; }}");
                let edited = std::process::Command::new(nft()).args(["add", &edit]).output().expect("nft");
                assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
                assert!(both.listing().contains("policy drop"));
                let read = both.read(&Family::ALL).await.expect("read");
                assert!(held(&read).chains[&base].foreign_base, "{base}");
                let plan = diff(&Acknowledged::from(read), &Desired::default(), &scope());
                both.commit(&plan.operations).await.expect("the program");
                assert!(!both.listing().contains("policy drop"), "{base}");
                assert_eq!(sorted(&both.read(&Family::ALL).await.expect("read")), sorted(&tables));
            }
        },
    );
}

#[test]
fn an_empty_batch_sends_nothing() {
    in_namespace(backend, |mut backend| async move {
        assert_eq!(backend.commit(&[]).await.expect("nothing"), Receipt::default());
        assert_eq!(backend.read(&Family::ALL).await.expect("read"), Tables::default());
    });
}
