//! Endpoints come and go while connections are open.

use crate::common::netns::Family;
use crate::world::{World, assert_unbroken, web_slice};

#[test]
fn open_connections_survive_added_endpoints_and_new_ones_use_them() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let _proxy = world.follow();
    let mut open = world.connections_to(&[11, 12]);
    for pods in [&[11, 12, 13][..], &[11, 12, 13, 14], &[11, 12, 13, 14, 15]] {
        world.serve(&pods[pods.len() - 1..]);
        world.set_web_endpoints(pods);
        world.settle();
        world.assert_web_reaches(pods);
        assert_unbroken(&mut open);
    }
}

#[test]
fn open_connections_survive_removed_endpoints_and_new_ones_avoid_them() {
    let Some(world) = World::with_web(&[11, 12, 13, 14, 15]) else { return };
    let _proxy = world.follow();
    let mut open = world.connections_to(&[11, 12, 13, 14, 15]);
    for pods in [&[11, 13, 14, 15][..], &[13, 15], &[15]] {
        world.set_web_endpoints(pods);
        world.settle();
        world.assert_web_reaches(pods);
        // Also the connections to removed endpoints: their pods may finish what they began.
        assert_unbroken(&mut open);
    }
}

#[test]
fn open_connections_survive_a_rollout_that_replaces_every_endpoint() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let _proxy = world.follow();
    world.serve(&[21, 22, 23]);
    let mut open = world.connections_to(&[11, 12, 13]);
    let steps: [(&[u16], &[u16]); 4] =
        [(&[11, 12, 21], &[13]), (&[11, 21, 22], &[12, 13]), (&[21, 22, 23], &[11, 12, 13]), (&[21, 22, 23], &[])];
    for (ready, ending) in steps {
        for family in Family::ALL {
            let mut slice = web_slice(family).endpoints(ready.iter().map(|pod| family.pod_ip(*pod)));
            for pod in ending {
                slice = slice.endpoint(family.pod_ip(*pod)).terminating();
            }
            world.manifests.apply(slice);
        }
        world.settle();
        world.assert_web_reaches(ready);
        assert_unbroken(&mut open);
    }
}

#[test]
fn new_services_and_slices_appear_and_disappear_beside_an_undisturbed_one() {
    let Some(world) = World::with_web(&[11]) else { return };
    let _proxy = world.follow();
    let mut open = world.connections_to(&[11]);
    for number in [30, 31] {
        let name = format!("default/other-{number}");
        world.manifests.apply(crate::common::manifests::service(&name).dual_stack(number).port("tcp", 80));
        for family in Family::ALL {
            let slice = crate::common::manifests::slice_of(&name, family);
            world.manifests.apply(slice.port("tcp", 8080).endpoint(family.pod_ip(11)));
        }
        world.settle();
        for family in Family::ALL {
            let answer = world.node.tcp(family.cluster_ip(number), 80).send().expect("the new Service answers");
            assert_eq!(answer.server.ip(), family.pod_ip(11));
        }
        world.manifests.delete("Service", &name);
        world.settle();
    }
    world.assert_web_reaches(&[11]);
    assert_unbroken(&mut open);
}
