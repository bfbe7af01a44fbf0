//! What an operator does not let Services ask for.

use crate::given::{local, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Refused, Untouched};
use crate::words::Place::{Cluster, External, Vip};
use crate::words::Source::{Client, Pod};
use crate::words::{Row, masqueraded, row};

/// The first external IP and not the second; pod 12.
const FLAGS: &[&str] = &[
    "--external-ip-networks",
    "203.0.114.1/32,fd00:203:114::1/128",
    "--refused-endpoint-networks",
    "10.128.0.12/32,fd00:10:128::c/128",
    "--warn-local-endpoints",
];

/// The group of this file.
pub fn groups() -> Vec<Group> {
    let apps = [
        web("n1", 71).vip(1).external_ip(External(1)).external_ip(External(2)).endpoints([local(11), local(12)]),
        web("n2", 72).external_ip(External(1)).endpoints([local(12)]),
    ];
    vec![Group::new(Section::Guards, apps, ROWS).flags(FLAGS)]
}

const ROWS: [Row; 6] = [
    row("an external IP inside the networks is served", Client, External(1), 80, masqueraded(&[11])),
    row("an external IP outside the networks is not captured", Client, External(2), 80, Untouched),
    row("nor from a pod", Pod, External(2), 80, Untouched),
    row("the networks do not restrict load-balancer IPs", Client, Vip(1), 80, masqueraded(&[11])),
    row("endpoints in refused networks are not used", Client, Cluster(71), 80, masqueraded(&[11])),
    row("a Service with no other endpoints is refused", Client, Cluster(72), 80, Refused),
];
