//! What is read from this node's object, and which of its changes matter.

use super::check::{Unit, change, given};
use super::docs::{node, simple};

/// The rows. Unlike kube-proxy, addresses that change are followed.
pub fn rows() -> Vec<Unit> {
    let web = || simple("ns/web", "10.96.0.1", "http:TCP:80");
    let internal = |addrs: &[&str]| addresses("InternalIP", addrs);
    let labelled = |labels: &str| node(labels, &internal(&["192.168.0.2"]), "[]");
    let plain = || labelled("{}");
    let zone = |zone: &str| labelled(&format!("{{topology.kubernetes.io/zone: {zone}}}"));
    let at = |addrs: &[&str]| node("{}", &internal(addrs), "[]");
    let outside = |addrs: &[&str]| {
        let all =
            [internal(&["192.168.0.2"]), addresses("ExternalIP", addrs)].map(|list| list[1..list.len() - 1].to_owned());
        node("{}", &format!("[{}]", all.join(", ")), "[]")
    };
    vec![
        given("without a Node object no address accepts NodePorts", [web()]).node_port_addresses(&[]),
        given("a Node object without addresses accepts no NodePorts", [web(), at(&[])]).node_port_addresses(&[]),
        change(
            "the first address that a Node object gets accepts NodePorts",
            [web(), at(&[])],
            [web(), at(&["192.168.0.2"])],
        )
        .node_port_addresses(&["192.168.0.2"]),
        change("a Node object that is listed again changes nothing", [web(), plain()], [web(), plain()])
            .touches(&[])
            .sends_nothing(),
        change("an address that changes is followed", [web(), at(&["192.168.0.2"])], [web(), at(&["192.168.0.3"])])
            .node_port_addresses(&["192.168.0.3"]),
        change("the addresses stay when the Node object is removed", [web(), at(&["192.168.0.2"])], [web()])
            .node_port_addresses(&["192.168.0.2"])
            .touches(&[]),
        change(
            "an address of the other family that is added accepts NodePorts",
            [web(), at(&["192.168.0.2"])],
            [web(), at(&["192.168.0.2", "2001:db8::2"])],
        )
        .node_port_addresses(&["192.168.0.2", "2001:db8::2"]),
        change(
            "a label of no meaning to the proxy concerns no Service",
            [web(), plain()],
            [web(), labelled("{kubernetes.io/os: linux}")],
        )
        .touches(&[]),
        change(
            "the label of the region concerns no Service",
            [web(), plain()],
            [web(), labelled("{topology.kubernetes.io/region: r}")],
        )
        .touches(&[]),
        change("the label of the zone concerns every Service", [web(), plain()], [web(), zone("a")])
            .touches(&["ns/web"]),
        change(
            "another zone concerns every Service and asks nothing of the kernel without hints",
            [web(), zone("a")],
            [web(), zone("b")],
        )
        .touches(&["ns/web"])
        .sends_nothing(),
        change(
            "another label beside that of the zone concerns no Service",
            [web(), zone("a")],
            [web(), labelled("{topology.kubernetes.io/zone: a, other: changed}")],
        )
        .touches(&[]),
        // The first address, and the first of the other family; internal ones come before external ones.
        given(
            "the first address of each family accepts NodePorts",
            [at(&["192.168.0.2", "192.168.0.3", "2001:db8::1", "2001:db8::2"])],
        )
        .node_port_addresses(&["192.168.0.2", "2001:db8::1"]),
        given("the order of the families does not matter", [at(&["2001:db8::1", "192.168.0.2"])])
            .node_port_addresses(&["192.168.0.2", "2001:db8::1"]),
        given(
            "an internal address goes before an external one of the same family",
            [outside(&["203.0.113.2", "2001:db8::2"])],
        )
        .node_port_addresses(&["192.168.0.2", "2001:db8::2"]),
        // NodePorts are never on loopback addresses.
        given("a loopback address accepts no NodePorts", [at(&["127.0.0.1", "2001:db8::1"])])
            .node_port_addresses(&["2001:db8::1"]),
    ]
}

fn addresses(kind: &str, addrs: &[&str]) -> String {
    let list: Vec<String> = addrs.iter().map(|addr| format!("{{type: {kind}, address: \"{addr}\"}}")).collect();
    format!("[{}]", list.join(", "))
}
