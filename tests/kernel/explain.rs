//! `pointsman explain` says of the kernel what real packets do.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::common::netns::{Failure, Family, Transport};
use crate::world::{PORT, WEB, World, web, web_slice};

/// The answer to a question about `default/web` from the client outside.
fn explained(world: &World, family: Family) -> Value {
    let (from, to) = (family.client_ip().to_string(), format!("[{}]:{PORT}/tcp", family.cluster_ip(WEB)));
    let to = if family == Family::V4 { to.replace(['[', ']'], "") } else { to };
    let manifests = ["--manifests", world.manifests.path(), "--against", "kernel"];
    let finished = world.node.pointsman(&[&manifests[..], &["explain", "--from", &from, &to, "-o", "json"]].concat());
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stderr))
}

#[test]
fn the_endpoints_and_the_source_address_are_those_of_real_connections() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.sync();
    for family in Family::ALL {
        let answer = explained(&world, family);
        assert_eq!((&answer["verdict"], &answer["check"]), (&"delivered".into(), &0.into()), "{answer:#}");
        let used = answer["endpoints"].as_array().expect("a list").iter().filter(|it| it["used"] == true).count();
        assert_eq!(used, world.reached(family, Transport::Tcp, 100).len());
        let client = world.ask_web(family, Transport::Tcp).expect("an answer").seen_from.ip();
        assert_eq!(answer["masquerade"] == "marked", client != family.client_ip());
    }
    // The kernel still has the third one, and connections go there.
    world.set_web_endpoints(&[11, 12]);
    let answer = explained(&world, Family::V4);
    let stale = answer["endpoints"].as_array().expect("a list").iter().filter(|it| it["reason"] == "stale").count();
    assert_eq!((stale, answer["check"] == 0), (1, false), "{answer:#}");
    assert_eq!(world.reached(Family::V4, Transport::Tcp, 100), BTreeSet::from([11, 12, 13]));
}

#[test]
fn a_chain_of_another_program_that_drops_the_packet_is_named() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    assert_eq!(explained(&world, Family::V4)["foreign"], serde_json::json!([]));
    let request = || world.node.tcp(Family::V4.cluster_ip(WEB), PORT).timeout(Duration::from_millis(150)).send();
    assert!(request().is_ok());
    world.node.nft(&["add", "table", "inet", "guard"]);
    world.node.nft(&[
        "add",
        "chain",
        "inet",
        "guard",
        "forwarded",
        "{ type filter hook forward priority 0; policy drop; }",
    ]);
    world.node.nft(&["add", "chain", "inet", "guard", "sent", "{ type filter hook output priority 0; policy drop; }"]);
    assert_eq!(request(), Err(Failure::TimedOut));
    let answer = explained(&world, Family::V4);
    let expected = serde_json::json!([{"chain": "inet guard forwarded", "hook": "forward", "policyDrop": true}]);
    assert_eq!((&answer["verdict"], &answer["foreign"]), (&"delivered".into(), &expected), "{answer:#}");
}

#[test]
fn a_dropped_connection_times_out_and_a_refused_one_is_refused() {
    let Some(world) = World::with_web(&[]) else { return };
    world.sync();
    for family in Family::ALL {
        assert_eq!(explained(&world, family)["reason"], "no-endpoint");
        assert_eq!(world.ask_web(family, Transport::Tcp), Err(Failure::Refused));
        world.manifests.apply(web_slice(family).endpoint(family.pod_ip(12)).on("node-b"));
    }
    world.manifests.apply(web().internal_traffic_local());
    world.sync();
    for family in Family::ALL {
        assert_eq!(explained(&world, family)["reason"], "no-local-endpoint");
        let request = world.node.tcp(family.cluster_ip(WEB), PORT).timeout(Duration::from_millis(150));
        assert_eq!(request.send(), Err(Failure::TimedOut));
    }
}
