//! Testing that this kernel takes what the backend writes, and returns it.

use super::{Haste, Netlink, rule_decoder};
use crate::apply::attempts::repeated;
use crate::apply::{Error, Refusal, SCRATCH_TABLE};
use crate::dataplane::{
    Action, AffinityStep, Chain, ChainContents, Element, Endpoint, EndpointList, Expr, Family, Frontend, Key,
    LocalPods, Object, Operation, Options, Program, ProgramFeatures, Protocol, Rule, SetContents, SetName, SizeClass,
    TableContents,
};

/// The map that the rule looks up.
const ENDPOINTS: SetName = SetName::Endpoints(EndpointList::Any);

/// Creates a scratch table with a map, a rule that translates to the map's data, and a range; reads it back, compares, and deletes
/// it.
///
/// # Errors
///
/// If the kernel refuses, or holds something else than was written.
pub(super) async fn run(netlink: &mut Netlink, family: Family) -> Result<(), Error> {
    let doing = "testing the kernel in a scratch table";
    if !repeated(async || returns_rules(netlink, family, doing).await).await? {
        tracing::warn!(
            family = family.label(),
            "this kernel returns rules in a form that is not known: rules that other programs edit are not found while their comments stay"
        );
        rule_decoder::trust_comments();
    }
    repeated(async || holds_what_was_written(netlink, family, doing).await).await
}

async fn holds_what_was_written(netlink: &mut Netlink, family: Family, doing: &'static str) -> Result<(), Error> {
    let table = |add: fn(Family, Object) -> Operation| add(family, Object::Table);
    let slot = Expr::key_of(ENDPOINTS).random_slot(SizeClass::MAX);
    let rule = Rule::new(family, Action::DnatTo(slot, ENDPOINTS)).when(SetName::ServiceCidrs.into());
    let chain = Chain::regular("translate", vec![rule]);
    let mut elements = elements(family);

    // First delete the scratch table that a killed run may have left.
    let mut operations = vec![table(Operation::add), table(Operation::delete), table(Operation::add)];
    operations.extend([SetName::ServiceCidrs, ENDPOINTS].map(|set| Operation::add(family, Object::Set(set))));
    operations.push(Operation::add(family, Object::Chain(chain.name.clone(), chain.base)));
    operations.extend(elements.iter().cloned().map(Operation::add_element));
    let rules = chain.stamped_rules().into_iter();
    operations.extend(rules.map(|rule| Operation::add(family, Object::Rule(chain.name.clone(), Box::new(rule)))));

    netlink.commit_to(SCRATCH_TABLE, &operations, doing).await?;
    let found = netlink.read_tables(&[family], SCRATCH_TABLE, doing, Haste::InAHurry).await;
    netlink.commit_to(SCRATCH_TABLE, &[table(Operation::delete)], doing).await?;
    let mut found = found?.get(family).cloned().unwrap_or_default();

    elements.sort();
    found.elements.sort();
    let contents = ChainContents { rules: 1, fingerprint: Some(chain.fingerprint()), ..ChainContents::default() };
    let set = |set: SetName| {
        let contents = SetContents { is_map: set.definition().is_map(), recognised: true, capacity: None };
        (set.to_string(), contents)
    };
    let expected = TableContents {
        chains: [(chain.name.0.into_owned(), contents)].into(),
        sets: [SetName::ServiceCidrs, ENDPOINTS].map(set).into(),
        elements,
    };
    if found == expected {
        return Ok(());
    }
    let detail = format!("the kernel holds something else than was written: {found:?}");
    Err(Error::Refused { doing, refusal: Refusal::Other, detail })
}

/// Whether the kernel returns every kind of rule as it was written. The chains hang on no hook, so no packet comes to them.
async fn returns_rules(netlink: &mut Netlink, family: Family, doing: &'static str) -> Result<bool, Error> {
    let table = |add: fn(Family, Object) -> Operation| add(family, Object::Table);
    let networks = ["10.128.0.0/14", "fd00:10:128::/61"].into_iter().filter_map(|network| network.parse().ok());
    let options = Options { local_pods: LocalPods::Networks(networks.collect()), ..Options::default() };
    let class = SizeClass::MAX;
    let features = ProgramFeatures {
        internal: vec![class],
        classes: EndpointList::ALL.map(|list| (list, class)).to_vec(),
        affinity: EndpointList::ALL.map(|list| (list, class)).to_vec(),
        source_checks: true,
    };
    let program = Program::new(family, &options, &features);
    let frontend = Frontend::node_port(family, Protocol::Tcp, 80);
    let [recall, remember] = AffinityStep::ALL.map(|step| Chain::with_affinity(step, frontend, 60));
    let own = [recall, remember, Chain::check_sources(frontend)];
    let chains: Vec<&Chain> = program.chains.iter().chain(&own).collect();
    let mut operations = vec![table(Operation::add), table(Operation::delete), table(Operation::add)];
    operations.extend(program.sets.iter().map(|set| Operation::add(family, Object::Set(*set))));
    operations.push(Operation::add(family, Object::Clients { frontend, capacity: options.affinity_capacity }));
    operations.push(Operation::add(family, Object::Set(SetName::Sources(frontend))));
    operations.extend(chains.iter().map(|chain| Operation::add(family, Object::Chain(chain.name.clone(), None))));
    for chain in &chains {
        let rule = |rule| Operation::add(family, Object::Rule(chain.name.clone(), Box::new(rule)));
        operations.extend(chain.stamped_rules().into_iter().map(rule));
    }
    netlink.commit_to(SCRATCH_TABLE, &operations, doing).await?;
    let found = netlink.outline_of(&[family], SCRATCH_TABLE, doing).await;
    netlink.commit_to(SCRATCH_TABLE, &[table(Operation::delete)], doing).await?;
    let found = found?;
    let seen = found.get(family).map(|table| &table.contents.chains);
    let is_returned = |chain: &&Chain| {
        let fingerprint = seen.and_then(|chains| chains.get(&*chain.name.0)?.fingerprint);
        chain.rules.is_empty() || fingerprint == Some(chain.fingerprint())
    };
    Ok(chains.iter().all(is_returned))
}

/// Elements to test with: a slot with a comment, and a range.
fn elements(family: Family) -> Vec<Element> {
    let (network, addr): (ipnet::IpNet, std::net::IpAddr) = match family {
        Family::Ip => (ipnet::Ipv4Net::new_assert([192, 0, 2, 0].into(), 24).into(), [192, 0, 2, 1].into()),
        Family::Ip6 => {
            let prefix = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0];
            (ipnet::Ipv6Net::new_assert(prefix.into(), 64).into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into())
        }
    };
    let frontend = Frontend { addr, protocol: Protocol::Tcp, port: 80 };
    let slot = Element::slot(EndpointList::Any, frontend, 7, Endpoint { addr, port: 8080 });
    vec![
        Element { comment: Some("default/web:http".into()), ..slot },
        Element::member(SetName::ServiceCidrs, Key::Network(network)),
    ]
}
