//! What is taken from this node's object, and which of its changes matter.

use super::check::{Unit, change, given};
use super::docs::{node, simple};

/// Section V. Unlike kube-proxy, addresses that change are followed.
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
        given("V1", [web()]).node_port_addresses(&[]),
        given("V3", [web(), at(&[])]).node_port_addresses(&[]),
        change("V4", [web(), at(&[])], [web(), at(&["192.168.0.2"])]).node_port_addresses(&["192.168.0.2"]),
        change("V8", [web(), plain()], [web(), plain()]).touches(&[]).sends_nothing(),
        change("V9", [web(), at(&["192.168.0.2"])], [web(), at(&["192.168.0.3"])])
            .node_port_addresses(&["192.168.0.3"]),
        change("V12", [web(), at(&["192.168.0.2"])], [web()]).node_port_addresses(&["192.168.0.2"]).touches(&[]),
        change("V13", [web(), at(&["192.168.0.2"])], [web(), at(&["192.168.0.2", "2001:db8::2"])])
            .node_port_addresses(&["192.168.0.2", "2001:db8::2"]),
        change("V14", [web(), plain()], [web(), labelled("{kubernetes.io/os: linux}")]).touches(&[]),
        change("V15", [web(), plain()], [web(), labelled("{topology.kubernetes.io/region: r}")]).touches(&[]),
        change("V16", [web(), plain()], [web(), zone("a")]).touches(&["ns/web"]),
        change("V16b", [web(), zone("a")], [web(), zone("b")]).touches(&["ns/web"]).sends_nothing(),
        change("V17", [web(), zone("a")], [web(), labelled("{topology.kubernetes.io/zone: a, other: changed}")])
            .touches(&[]),
        // The first address, and the first of the other family; internal ones come before external ones.
        given("V18", [at(&["192.168.0.2", "192.168.0.3", "2001:db8::1", "2001:db8::2"])])
            .node_port_addresses(&["192.168.0.2", "2001:db8::1"]),
        given("V18b", [at(&["2001:db8::1", "192.168.0.2"])]).node_port_addresses(&["192.168.0.2", "2001:db8::1"]),
        given("V18c", [outside(&["203.0.113.2", "2001:db8::2"])]).node_port_addresses(&["192.168.0.2", "2001:db8::2"]),
        // NodePorts are never on loopback addresses.
        given("V19", [at(&["127.0.0.1", "2001:db8::1"])]).node_port_addresses(&["2001:db8::1"]),
    ]
}

fn addresses(kind: &str, addrs: &[&str]) -> String {
    let list: Vec<String> = addrs.iter().map(|addr| format!("{{type: {kind}, address: \"{addr}\"}}")).collect();
    format!("[{}]", list.join(", "))
}
