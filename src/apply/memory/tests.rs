use super::*;
use crate::dataplane::{Endpoint, EndpointList, Protocol, SizeClass};
use crate::fixtures::{World, frontend, ip, service, slice};

/// A kernel with a table, the sets `external`, `service-cidrs` and the map `endpoints`, and the chains `a`, which goes to `b` if
/// a packet is in `external`, and `b`.
fn kernel() -> MemoryKernel {
    let mut kernel = MemoryKernel::new();
    let sets = [SetName::External, SetName::ServiceCidrs, SetName::Endpoints(EndpointList::Any)]
        .map(|set| add(Object::Set(set)));
    let chains = [add(chain("b")), add(chain("a")), add(rule("a", Action::Goto("b".into())))];
    assert_eq!(kernel.apply(&[&[add(Object::Table)], &sets[..], &chains[..]].concat()), Ok(()));
    kernel
}

fn add(object: Object) -> Operation {
    Operation::add(Family::Ip, object)
}

fn delete(object: Object) -> Operation {
    Operation::delete(Family::Ip, object)
}

fn chain(name: &'static str) -> Object {
    Object::Chain(name.into(), None)
}

fn rule(chain: &'static str, action: Action) -> Object {
    Object::Rule(chain.into(), Box::new(Rule::new(Family::Ip, action).when(SetName::External.into())))
}

fn member(comment: Option<&str>) -> Element {
    let element = Element::member(SetName::External, Key::Frontend(frontend("10.96.0.1 80/tcp")));
    Element { comment: comment.map(Into::into), ..element }
}

fn slot(last_byte: u8) -> Element {
    Element::slot(
        EndpointList::Any,
        frontend("10.96.0.1 80/tcp"),
        0,
        Endpoint { addr: [10, 1, 0, last_byte].into(), port: 8080 },
    )
}

fn network(text: &str) -> Operation {
    Operation::add_element(Element::member(SetName::ServiceCidrs, Key::Network(text.parse().unwrap())))
}

#[test]
fn a_missing_object_is_refused() {
    for operation in [
        delete(chain("c")),
        delete(Object::Set(SetName::Hairpin)),
        delete(Object::UnknownSet { name: "old".to_owned(), is_map: false }),
        Operation::flush(Family::Ip, "c".into()),
        add(rule("c", Action::Drop)),
        add(rule("a", Action::Jump("c".into()))),
        add(Object::Rule("a".into(), Box::new(Rule::new(Family::Ip, Action::Drop).when(SetName::Hairpin.into())))),
        Operation::delete_element(member(None)),
        Operation::add_element(Element::member(SetName::ClusterIps, Key::Addr(ip("10.96.0.1")))),
        Operation::delete(Family::Ip6, Object::Table),
        Operation::add(Family::Ip6, chain("a")),
    ] {
        assert_eq!(kernel().apply(std::slice::from_ref(&operation)), Err(Refusal::Missing), "{operation}");
    }
}

#[test]
fn an_object_that_a_rule_refers_to_is_busy() {
    assert_eq!(kernel().apply(&[delete(chain("b"))]), Err(Refusal::Busy));
    assert_eq!(kernel().apply(&[delete(Object::Set(SetName::External))]), Err(Refusal::Busy));
    let freed = [Operation::flush(Family::Ip, "a".into()), delete(chain("b")), delete(Object::Set(SetName::External))];
    assert_eq!(kernel().apply(&freed), Ok(()));
    assert_eq!(kernel().apply(&[delete(chain("a")), delete(chain("b"))]), Ok(()), "a chain goes with its rules");
}

#[test]
fn an_object_that_exists_with_other_contents_is_refused() {
    let base = BaseChain { kind: crate::dataplane::ChainType::Nat, hook: crate::dataplane::Hook::Output, priority: 0 };
    assert_eq!(kernel().apply(&[add(Object::Chain("a".into(), Some(base)))]), Err(Refusal::Exists));
    let other_data = [slot(1), slot(2)].map(Operation::add_element);
    assert_eq!(kernel().apply(&other_data), Err(Refusal::Exists));
    for overlapping in ["10.96.1.0/24", "10.0.0.0/8", "10.96.0.1/32"] {
        assert_eq!(kernel().apply(&[network("10.96.0.0/16"), network(overlapping)]), Err(Refusal::Exists));
    }
    assert_eq!(kernel().apply(&[network("10.96.0.0/16"), network("10.97.0.0/16")]), Ok(()));
}

#[test]
fn an_object_that_is_added_again_stays_as_it_was() {
    let mut kernel = kernel();
    kernel.apply(&[Operation::add_element(member(Some("first"))), Operation::add_element(slot(1))]).unwrap();
    let before = kernel.contents(&[Family::Ip]);
    let again = [
        add(Object::Table),
        add(chain("a")),
        add(Object::Set(SetName::External)),
        Operation::add_element(member(Some("second"))),
        Operation::add_element(slot(1)),
        network("10.96.0.0/16"),
        network("10.96.0.0/16"),
        Operation::delete_element(Element::member(
            SetName::ServiceCidrs,
            Key::Network("10.96.0.0/16".parse().unwrap()),
        )),
    ];
    assert_eq!(kernel.apply(&again), Ok(()));
    assert_eq!(kernel.contents(&[Family::Ip]), before);
}

#[test]
fn an_element_with_the_wrong_fields_is_refused() {
    let frontend = Key::Frontend(frontend("10.96.0.1 80/tcp"));
    let hairpin = Key::Hairpin(Endpoint { addr: ip("10.1.0.1"), port: 80 }, Protocol::Tcp);
    for element in [
        Element::member(SetName::Endpoints(EndpointList::Any), frontend),
        Element::member(SetName::External, hairpin),
        Element { value: slot(1).value, ..member(None) },
        Element { value: None, ..slot(1) },
    ] {
        assert_eq!(kernel().apply(&[Operation::add_element(element.clone())]), Err(Refusal::Other), "{element:?}");
    }
}

#[test]
fn a_refused_batch_changes_nothing() {
    let mut kernel = kernel();
    let before = kernel.contents(&Family::ALL);
    let batch = [Operation::add_element(member(None)), delete(Object::Table), delete(chain("a"))];
    assert_eq!(kernel.apply(&batch), Err(Refusal::Missing));
    assert_eq!(kernel.contents(&Family::ALL), before);
}

#[test]
fn a_table_is_deleted_with_all_its_contents() {
    let mut kernel = kernel();
    kernel.apply(&[delete(Object::Table)]).unwrap();
    assert_eq!(kernel.contents(&Family::ALL), Tables::default());
    assert_eq!(kernel.apply(&[Operation::add_element(member(None))]), Err(Refusal::Missing));
}

#[test]
fn operations_are_applied_in_their_order() {
    let mut kernel = kernel();
    let class = SetName::Slots(EndpointList::Any, SizeClass::MAX);
    let in_class = Element::member(class, Key::Frontend(frontend("10.96.0.1 80/tcp")));
    let (set, element) = (add(Object::Set(class)), Operation::add_element(in_class));
    assert_eq!(kernel.apply(&[element.clone(), set.clone()]), Err(Refusal::Missing));
    assert_eq!(kernel.apply(&[set, element]), Ok(()));
}

#[tokio::test]
async fn a_refused_commit_names_the_cause() {
    let mut kernel = MemoryKernel::new();
    let error = kernel.commit(&[delete(Object::Table)]).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Missing));
    assert_eq!(
        error.to_string(),
        "refused while committing a batch to Pointsman's tables; the batch changed nothing: Missing. If this goes on, look \
         for another program that changes the same objects"
    );
}

#[tokio::test]
async fn only_the_requested_families_are_read() {
    let mut world = World::with([service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1"]).into()]);
    let tables = world.kernel.read(&[Family::Ip6]).await.unwrap();
    assert_eq!((tables.get(Family::Ip), tables.get(Family::Ip6).is_some()), (None, true));
    world.kernel.remove_table(Family::Ip6);
    assert_eq!(world.kernel.read(&[Family::Ip6]).await.unwrap(), Tables::default());
}
