//! Changes that mean nothing to the dataplane send nothing.

use serde_json::{Value, json};

use crate::common::manifests::service;
use crate::common::netns::{Family, Monitor};
use crate::world::{World, web, web_slice};

#[test]
fn labels_annotations_and_versions_of_objects_change_nothing_in_the_kernel() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let proxy = world.follow();
    let monitor = Monitor::new(&world.node);
    for n in 0..10 {
        let mut objects: Vec<Value> = vec![web().into()];
        for family in Family::ALL {
            objects.push(web_slice(family).endpoints([11, 12].map(|pod| family.pod_ip(pod))).into());
        }
        for mut object in objects {
            object["metadata"]["resourceVersion"] = json!(n.to_string());
            object["metadata"]["annotations"] =
                json!({"endpoints.kubernetes.io/last-change-trigger-time": n.to_string()});
            object["metadata"]["labels"]["tier"] = json!(format!("tier-{n}"));
            object["metadata"]["generation"] = json!(n);
            world.manifests.apply(object);
        }
    }
    // A change that does mean something comes last: when it is programmed, the others were read.
    world.manifests.apply(service("default/other").dual_stack(40).port("http", 80));
    world.settle();
    let changes = monitor.changes();
    let addresses = Family::ALL.map(|family| family.cluster_ip(40).to_string());
    let of_other = |change: &String| addresses.iter().any(|addr| change.contains(addr));
    assert!(changes.iter().all(of_other), "{changes:#?}\n{}", proxy.log());
    // In each family the address, and the port that is refused.
    assert_eq!(changes.len(), 4, "{changes:#?}");
}
