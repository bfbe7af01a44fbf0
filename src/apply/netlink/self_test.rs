//! Does this kernel take what we write, and give it back?

use super::{Netlink, read_tables};
use crate::apply::{Error, Refusal};
use crate::dataplane::{
    Action, Chain, ChainContents, Element, Endpoint, EndpointList, Expr, Family, Frontend, Key, Object, Operation,
    Protocol, Rule, SetContents, SetName, SizeClass, TableContents,
};

/// The name of the scratch table.
const SCRATCH: &str = "pointsman-self-test";

/// The map that the rule translates by.
const ENDPOINTS: SetName = SetName::Endpoints(EndpointList::Any);

/// Creates a scratch table with a map, a rule that translates to what the map holds, and a range; reads it back, compares, and
/// deletes it again.
pub(super) async fn run(netlink: &mut Netlink, family: Family) -> Result<(), Error> {
    let doing = "testing the kernel in a scratch table";
    let table = |add: fn(Family, Object) -> Operation| add(family, Object::Table);
    let slot = Expr::key_of(ENDPOINTS).random_slot(SizeClass::MAX);
    let rule = Rule::new(family, Action::DnatTo(slot, ENDPOINTS)).when(SetName::ServiceCidrs.into());
    let chain = Chain::regular("chain", vec![rule]);
    let mut elements = elements(family);

    // A scratch table left by a killed run goes first.
    let mut operations = vec![table(Operation::add), table(Operation::delete), table(Operation::add)];
    operations.extend([SetName::ServiceCidrs, ENDPOINTS].map(|set| Operation::add(family, Object::Set(set))));
    operations.push(Operation::add(family, Object::Chain(chain.name.clone(), chain.base)));
    operations.extend(elements.iter().cloned().map(Operation::add_element));
    let rules = chain.stamped_rules().into_iter();
    operations.extend(rules.map(|rule| Operation::add(family, Object::Rule(chain.name.clone(), Box::new(rule)))));

    netlink.commit_to(SCRATCH, &operations, doing).await?;
    let found = read_tables(&[family], SCRATCH, doing).await;
    netlink.commit_to(SCRATCH, &[table(Operation::delete)], doing).await?;
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
    let detail = format!("what the kernel holds is not what was written: {found:?}");
    Err(Error::Refused { doing, refusal: Refusal::Other, detail })
}

/// A slot with a comment, and a range.
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
