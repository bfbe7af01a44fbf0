//! ServiceCIDRs that come and go: addresses in them that no Service has are dropped. A pod's address among them shows it.

use serde_json::{Value, json};

use crate::common::netns::Family;
use crate::given::{local, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::Dropped;
use crate::words::Place::{self, Cluster};
use crate::words::Source::Client;
use crate::words::{Row, kept, masqueraded, row};

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    let cidr = |name: &str, cidrs: &[&str]| -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": name},
            "spec": {"cidrs": cidrs},
        })
    };
    let group = |variant, cidrs: Vec<Value>, rows: Vec<Row>| {
        Group::new(Section::ServiceCidrs, [web("svc1", 41).endpoints([local(11)])], rows)
            .named(variant)
            .instead("ServiceCIDR", cidrs)
    };
    let direct = |name, pod, expected| row(name, Client, Place::Pod(pod), 8080, expected);
    let reached = |name| row(name, Client, Cluster(41), 80, masqueraded(&[11]));
    let both = || cidr("one", &["10.128.0.24/30", "fd00:10:128::18/126"]);
    let v4 = |name, expected| direct(name, 20, expected).only(&[Family::V4]);
    let v6 = |name, expected| direct(name, 20, expected).only(&[Family::V6]);
    vec![
        group(
            "none",
            vec![],
            vec![
                direct("an address that no ServiceCIDR contains is not dropped", 24, kept(&[24])),
                direct("another address that no ServiceCIDR contains is not dropped", 16, kept(&[16])),
                reached("a Service is reached without ServiceCIDRs"),
            ],
        ),
        group(
            "one",
            vec![both()],
            vec![
                direct("an unused address of a ServiceCIDR is dropped", 24, Dropped),
                direct("an address beside a ServiceCIDR is not dropped", 16, kept(&[16])),
                reached("a Service is reached beside a ServiceCIDR"),
            ],
        ),
        group(
            "a second that overlaps",
            vec![both(), cidr("two", &["10.128.0.16/28", "fd00:10:128::10/124"])],
            vec![
                direct("an unused address of two ServiceCIDRs that overlap is dropped", 24, Dropped),
                direct("an unused address of the wider ServiceCIDR only is dropped", 16, Dropped),
                reached("a Service is reached beside ServiceCIDRs that overlap"),
            ],
        ),
        group(
            "the first gone",
            vec![cidr("two", &["10.128.0.16/30", "fd00:10:128::10/126"])],
            vec![
                direct("an address of a removed ServiceCIDR is not dropped", 24, kept(&[24])),
                direct("an unused address of the ServiceCIDR that is left is dropped", 16, Dropped),
            ],
        ),
        group(
            "one family",
            vec![cidr("one", &["10.128.0.20/32"])],
            vec![
                v4("a ServiceCIDR of IPv4 drops an unused IPv4 address", Dropped),
                v6("a ServiceCIDR of IPv4 drops no IPv6 address", kept(&[20])),
            ],
        ),
        group(
            "the other",
            vec![cidr("one", &["fd00:10:128::14/128"])],
            vec![
                v6("a ServiceCIDR of IPv6 drops an unused IPv6 address", Dropped),
                v4("a ServiceCIDR of IPv6 drops no IPv4 address", kept(&[20])),
            ],
        ),
        group(
            "two of each",
            vec![cidr("one", &["10.128.0.20/32", "10.128.0.21/32", "fd00:10:128::14/128", "fd00:10:128::15/128"])],
            vec![
                direct("the first of two networks of a family drops an unused address", 20, Dropped),
                direct("the second of two networks of a family drops an unused address", 21, Dropped),
                direct("an address beside two networks of a family is not dropped", 22, kept(&[22])),
            ],
        ),
    ]
}
