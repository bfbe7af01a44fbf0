use std::sync::{Arc, LazyLock};

use super::*;
use crate::fixtures::{NODE, SliceBuilder, slice};
use crate::state::{EndpointPlace, EndpointSlice, Guards};

fn port(name: &str, protocol: &str) -> ServicePort {
    ServicePort { name: name.into(), protocol: protocol.parse().unwrap(), port: 80, node_port: None }
}

const HERE: Place<'_> = Place { node: NODE, zone: None };

/// All endpoints of these slices.
fn all(slices: &[Arc<EndpointSlice>]) -> SlicePorts<'_> {
    static NO_GUARDS: LazyLock<Guards> = LazyLock::new(Guards::default);
    SlicePorts::new(slices, 1, &NO_GUARDS)
}

/// The one list of a ClusterIP: of all endpoints, or of this node's.
fn used(selection: &ChosenEndpoints, local_only: bool) -> &[Endpoint] {
    if local_only { &selection.local } else { &selection.cluster }
}

fn needs(local_only: bool) -> Needs {
    Needs { cluster: !local_only, local: local_only }
}

fn select_http(slices: &[SliceBuilder], local_only: bool) -> ChosenEndpoints {
    let slices: Vec<_> = slices.iter().cloned().map(SliceBuilder::build).collect();
    select(&all(&slices), &port("http", "tcp"), Family::Ip, HERE, needs(local_only))
}

fn text(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The endpoints of a slice that ClusterIP traffic uses, those of them that are here, and whether there are any at all.
fn selected(endpoints: &str, local_only: bool) -> (String, String, bool) {
    let selection = select_http(&[slice("shop/web-1").endpoints(endpoints)], local_only);
    (text(used(&selection, local_only)), text(&selection.reachable_here), selection.any)
}

/// The endpoints used of several slices named `web-0`, `web-1`, …
fn merged(slices: &[&str]) -> String {
    let slices: Vec<_> =
        slices.iter().enumerate().map(|(n, text)| slice(&format!("shop/web-{n}")).endpoints(text)).collect();
    text(&select_http(&slices, false).cluster)
}

#[test]
fn the_cluster_policy_uses_ready_endpoints_and_only_without_them_those_that_still_serve() {
    for (endpoints, used) in [
        ("", ""),
        ("10.1.0.1 L r, 10.1.0.2 R r", "10.1.0.1:8080 10.1.0.2:8080"),
        ("10.1.0.1 L r, 10.1.0.2 L st, 10.1.0.3 R t", "10.1.0.1:8080"),
        ("10.1.0.2 L st, 10.1.0.3 R st, 10.1.0.4 L t", "10.1.0.2:8080 10.1.0.3:8080"),
        // Not ready and not terminating: starting, or failing its probe.
        ("10.1.0.1 L -", ""),
        ("10.1.0.1 L s", ""),
        ("10.1.0.1 L s, 10.1.0.2 R r", "10.1.0.2:8080"),
        ("10.1.0.1 L t, 10.1.0.2 R t", ""),
        // publishNotReadyAddresses makes a terminating endpoint ready.
        ("10.1.0.1 L rt, 10.1.0.2 R st", "10.1.0.1:8080"),
    ] {
        let (found, _, any) = selected(endpoints, false);
        assert_eq!((found.as_str(), any), (used, !used.is_empty()), "{endpoints}");
    }
}

#[test]
fn the_local_policy_falls_back_to_terminating_endpoints_of_this_node_whatever_others_have() {
    for (endpoints, used, any) in [
        ("10.1.0.1 L r, 10.1.0.2 R r", "10.1.0.1:8080", true),
        // Decided after the policy: a ready endpoint elsewhere does not keep the local ones from being used.
        ("10.1.0.1 L st, 10.1.0.2 R r", "10.1.0.1:8080", true),
        ("10.1.0.1 L st, 10.1.0.2 L r", "10.1.0.2:8080", true),
        ("10.1.0.1 L t, 10.1.0.2 R r", "", true),
        ("10.1.0.2 R r", "", true),
        ("10.1.0.2 R st", "", true),
        ("10.1.0.1 ? r", "", true),
        ("10.1.0.1 L -, 10.1.0.2 R t", "", false),
        ("", "", false),
    ] {
        let (found, local, found_any) = selected(endpoints, true);
        assert_eq!((found.as_str(), found_any), (used, any), "{endpoints}");
        assert_eq!(local, used, "what the local policy uses is here: {endpoints}");
    }
}

#[test]
fn endpoints_that_may_be_here_are_those_of_the_used_ones_that_name_this_node_or_none() {
    for (endpoints, local) in [
        ("10.1.0.1 L r, 10.1.0.2 R r, 10.1.0.3 ? r", "10.1.0.1:8080 10.1.0.3:8080"),
        ("10.1.0.1 L st, 10.1.0.2 R r", ""),
        ("10.1.0.1 L st, 10.1.0.2 R st", "10.1.0.1:8080"),
    ] {
        assert_eq!(selected(endpoints, false).1, local, "{endpoints}");
    }
}

#[test]
fn node_names_are_compared_exactly_and_without_one_an_endpoint_may_be_here() {
    let mut here = (*slice("shop/web-1").endpoints("10.1.0.1 L r").build()).clone();
    for (node, local) in [(Some(NODE), 1), (Some("Node-A"), 0), (Some("node-a.example"), 0), (Some(""), 0), (None, 1)] {
        let place = EndpointPlace { node: node.map(Arc::from), ..EndpointPlace::default() };
        here.endpoints[0].place = Some(place.into());
        let selection = select(&all(&[Arc::new(here.clone())]), &port("http", "tcp"), Family::Ip, HERE, needs(false));
        assert_eq!(selection.reachable_here.len(), local, "{node:?}");
    }
}

#[test]
fn slices_of_one_service_are_merged() {
    assert_eq!(merged(&["10.1.0.1 R r, 10.1.0.2 R r", "10.1.0.3 R r"]), "10.1.0.1:8080 10.1.0.2:8080 10.1.0.3:8080");
}

#[test]
fn an_endpoint_in_several_slices_counts_once() {
    assert_eq!(merged(&["10.1.0.1 R r", "10.1.0.1 R r"]), "10.1.0.1:8080");
    assert_eq!(merged(&["10.1.0.1 R r, 10.1.0.1 R r"]), "10.1.0.1:8080");
}

#[test]
fn of_one_address_the_endpoint_that_is_not_terminating_wins_in_any_order() {
    for slices in [
        ["10.1.0.1 R st", "10.1.0.1 R r", "10.1.0.1 R t"],
        ["10.1.0.1 R r", "10.1.0.1 R st", "10.1.0.1 R t"],
        ["10.1.0.1 R t", "10.1.0.1 R st", "10.1.0.1 R r"],
    ] {
        assert_eq!(merged(&slices), "10.1.0.1:8080", "{slices:?}");
    }
    // Also when it is not ready: the pod that terminates at that address is another one.
    assert_eq!(merged(&["10.1.0.1 R st", "10.1.0.1 R -"]), "");
    assert_eq!(merged(&["10.1.0.1 R -", "10.1.0.1 R st"]), "");
}

#[test]
fn what_several_slices_say_of_one_endpoint_counts_in_any_order() {
    // The entries, and then what they make together: in use, in use under the policy Local, may be here.
    for (entries, used, local, may_be_here) in [
        (&["L r", "L -"][..], true, true, true),
        (&["R r", "R -"], true, false, false),
        (&["L st", "L t"], true, true, true),
        // Ready beats not ready, wherever the other is said to be.
        (&["L -", "R r"], true, false, true),
        (&["R st", "L r"], true, true, true),
        // A known node beats none, whatever the conditions.
        (&["L r", "? r"], true, true, true),
        (&["L -", "? r"], true, true, true),
        (&["R r", "? r"], true, false, true),
        (&["R -", "? r", "L t"], true, false, true),
        (&["? r"], true, false, true),
    ] {
        for turn in 0..entries.len() {
            let mut entries = entries.to_vec();
            entries.rotate_left(turn);
            for entries in [entries.clone(), entries.iter().rev().copied().collect()] {
                let entries: Vec<&str> = entries;
                let slices = entries.iter().enumerate();
                let slices: Vec<_> = slices
                    .map(|(n, entry)| slice(&format!("shop/web-{n}")).endpoints(&format!("10.1.0.1 {entry}")))
                    .collect();
                let cluster = select_http(&slices, false);
                let found = (cluster.cluster.len() == 1, select_http(&slices, true).local.len() == 1);
                assert_eq!(found, (used, local), "{entries:?}");
                assert_eq!(cluster.reachable_here.len() == 1, may_be_here, "{entries:?}");
            }
        }
    }
}

#[test]
fn nodes_that_are_told_different_places_agree_on_one() {
    let slices =
        ["L r", "R r"].map(|entry| slice(&format!("shop/web-{}", &entry[..1])).endpoints(&format!("10.1.0.1 {entry}")));
    for slices in [slices.clone(), [slices[1].clone(), slices[0].clone()]] {
        let slices: Vec<_> = slices.into_iter().map(SliceBuilder::build).collect();
        let local = |node| {
            let place = Place { node, zone: None };
            select(&all(&slices), &port("http", "tcp"), Family::Ip, place, needs(true)).local.len()
        };
        assert_eq!([local(NODE), local("node-b")], [0, 1]);
    }
}

#[test]
fn one_address_on_different_ports_is_several_endpoints() {
    let slices = [
        slice("shop/web-1").endpoints("10.1.0.1 R r, 10.1.0.2 R r"),
        slice("shop/web-2").ports(&["http 9090/tcp"]).endpoints("10.1.0.1 R r, 10.1.0.2 R -"),
    ];
    let used = select_http(&slices, false).cluster;
    assert_eq!(text(&used), "10.1.0.1:8080 10.1.0.1:9090 10.1.0.2:8080");
}

#[test]
fn endpoints_are_ordered_by_number_and_not_as_text() {
    assert_eq!(merged(&["10.1.0.10 R r, 10.1.0.9 R r"]), "10.1.0.9:8080 10.1.0.10:8080");
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let slices = [slice("shop/web-1")
        .ports(&["http 8080/tcp", "dns 5353/tcp", "dns 53/udp", "dns 54/sctp", "- 1/tcp"])
        .endpoints("10.1.0.1 R r")
        .build()];
    for (name, protocol, used) in [
        ("http", "tcp", "10.1.0.1:8080"),
        ("http", "udp", ""),
        ("HTTP", "tcp", ""),
        ("dns", "tcp", "10.1.0.1:5353"),
        ("dns", "udp", "10.1.0.1:53"),
        ("dns", "sctp", "10.1.0.1:54"),
        ("", "tcp", "10.1.0.1:1"),
        ("", "udp", ""),
    ] {
        let selection = select(&all(&slices), &port(name, protocol), Family::Ip, HERE, needs(false));
        assert_eq!(text(&selection.cluster), used, "{name:?}/{protocol}");
    }
}

#[test]
fn a_slice_may_lack_one_of_the_ports() {
    let slices = [
        slice("shop/web-1").ports(&["http 8080/tcp", "dns 53/udp"]).endpoints("10.1.0.1 R r").build(),
        slice("shop/web-2").ports(&["http 8080/tcp"]).endpoints("10.1.0.2 R r").build(),
    ];
    let used = |port| text(&select(&all(&slices), &port, Family::Ip, HERE, needs(false)).cluster);
    assert_eq!(used(port("http", "tcp")), "10.1.0.1:8080 10.1.0.2:8080");
    assert_eq!(used(port("dns", "udp")), "10.1.0.1:53");
}

#[test]
fn each_family_takes_its_own_slices() {
    let slices = [
        slice("shop/web-1").endpoints("10.1.0.1 R r").build(),
        slice("shop/web-2").ip6().endpoints("fd00:1::1 R r").build(),
    ];
    let used = |family| text(&select(&all(&slices), &port("http", "tcp"), family, HERE, needs(false)).cluster);
    assert_eq!(used(Family::Ip), "10.1.0.1:8080");
    assert_eq!(used(Family::Ip6), "[fd00:1::1]:8080");
}

#[test]
fn at_most_as_many_endpoints_are_used_as_the_largest_class_holds() {
    let endpoints: String =
        (0..=65_536_u32).map(|n| format!("{} R r,", std::net::Ipv4Addr::from(0x0a01_0000 + n))).collect();
    assert_eq!(select_http(&[slice("shop/web-1").endpoints(&endpoints)], false).cluster.len(), 65_536);
}

#[test]
fn hints_are_followed_where_they_name_this_zone_or_this_node() {
    let hinted = |zones: &[&str], nodes: &[&str]| {
        let mut built = EndpointSlice::clone(&slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r").build());
        for (n, endpoint) in built.endpoints.iter_mut().enumerate() {
            let hints = |all: &[&str]| all.get(n).map(|hint| Arc::from(*hint)).into_iter().collect();
            let place = EndpointPlace { node: None, zone_hints: hints(zones), node_hints: hints(nodes) };
            *endpoint = SliceEndpoint::new(endpoint.addr, place);
        }
        Arc::new(built)
    };
    let chosen = |slice: &Arc<EndpointSlice>, node, zone| {
        let place = Place { node, zone };
        let slices = [Arc::clone(slice)];
        text(&select(&all(&slices), &port("http", "tcp"), Family::Ip, place, needs(false)).cluster)
    };
    let both = "10.1.0.1:8080 10.1.0.2:8080";
    let zones = hinted(&["a", "b"], &[]);
    let by_zone = [Some("a"), Some("b"), Some("c"), None].map(|zone| chosen(&zones, NODE, zone));
    assert_eq!(by_zone, ["10.1.0.1:8080", "10.1.0.2:8080", both, both]);
    let nodes = hinted(&[], &["node-1", "node-2"]);
    assert_eq!(
        ["node-1", "node-2", "node-3"].map(|node| chosen(&nodes, node, None)),
        ["10.1.0.1:8080", "10.1.0.2:8080", both]
    );
    assert_eq!(chosen(&hinted(&["a"], &[]), NODE, Some("a")), both, "one has no hint");
}
