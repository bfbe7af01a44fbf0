//! Connections that lead to no endpoint are refused at once, or dropped.

use std::time::Duration;

use crate::common::manifests::service;
use crate::common::netns::{Failure, Family, Request, Transport};
use crate::world::{PORT, WEB, World, web};

/// How long to wait for an answer that must not come.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(150);

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let Some(world) = World::new() else { return };
    world.manifests.apply(web());
    world.sync();
    assert_refused(&world, WEB, PORT);
}

#[test]
fn a_service_whose_last_endpoint_leaves_refuses_and_recovers() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    world.assert_web_reaches(&[11]);
    world.set_web_endpoints(&[]);
    world.sync();
    assert_refused(&world, WEB, PORT);
    world.set_web_endpoints(&[11]);
    world.sync();
    world.assert_web_reaches(&[11]);
}

#[test]
fn a_port_that_the_service_does_not_have_is_refused() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    assert_refused(&world, WEB, PORT + 1);
}

#[test]
fn a_port_of_the_other_protocol_is_refused() {
    let Some(world) = World::new() else { return };
    world.manifests.apply(service("default/dns").dual_stack(20).udp_port("dns", 53));
    world.manifests.apply(service("default/web").dual_stack(21).port("http", 80));
    world.sync();
    for family in Family::ALL {
        assert_eq!(world.node.tcp(family.cluster_ip(20), 53).send(), Err(Failure::Refused), "{family}");
        assert_eq!(world.node.udp(family.cluster_ip(21), 80).send(), Err(Failure::Refused), "{family}");
    }
}

#[test]
fn an_address_that_no_service_holds_is_dropped() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let request = world.node.request(transport, family.cluster_ip(200), PORT).timeout(SILENCE_TIMEOUT);
            assert_eq!(request.send(), Err(Failure::TimedOut), "{family} {transport}");
        }
    }
}

#[test]
fn a_deleted_service_answers_no_more() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    world.assert_web_reaches(&[11]);
    world.manifests.delete("Service", "default/web");
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let request = world.node.request(transport, family.cluster_ip(WEB), PORT).timeout(SILENCE_TIMEOUT);
            assert_eq!(request.send(), Err(Failure::TimedOut), "{family} {transport}");
        }
    }
}

#[test]
fn the_node_itself_is_refused_as_well() {
    let Some(world) = World::new() else { return };
    world.manifests.apply(web());
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let to = (family.cluster_ip(WEB), PORT).into();
            assert_eq!(
                Request::new(&world.node.host, transport, to).send(),
                Err(Failure::Refused),
                "{family} {transport}"
            );
        }
    }
}

#[test]
fn twenty_connections_in_a_second_are_each_refused_at_once_under_the_kernels_icmp_limit() {
    let Some(world) = World::new() else { return };
    world.manifests.apply(web());
    world.sync();
    // The defaults.
    world.node.host.sysctl("ipv4/icmp_ratelimit", "1000");
    world.node.host.sysctl("ipv6/icmp/ratelimit", "1000");
    for family in Family::ALL {
        for n in 0..20 {
            let answer = world.node.tcp(family.cluster_ip(WEB), PORT).send();
            assert_eq!(answer, Err(Failure::Refused), "{family}, connection {n}");
        }
    }
    assert_eq!(world.node.client.repeated_syns(), 0, "a refusal was lost to the limit");
}

/// A refusal comes at once, not after the client has asked again.
fn assert_refused(world: &World, number: u16, port: u16) {
    for family in Family::ALL {
        for transport in Transport::ALL {
            let answer = world.node.request(transport, family.cluster_ip(number), port).send();
            assert_eq!(answer, Err(Failure::Refused), "{family} {transport}");
        }
    }
    assert_eq!(world.node.client.repeated_syns(), 0, "a client asked again");
}
